"""Opens a database as a whole, for the verbs that copy, move or change all of it: a data directory, or PostgreSQL.

`--database` names PostgreSQL; then the data directory is only where the sealing key lies, unless that is named too.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from seatkeeper_server.apps.backing_up import Source
from seatkeeper_server.apps.restoring import DirectoryTarget, PostgresTarget, Target
from seatkeeper_server.cli._failures import Mistyped, Unusable, wrong_values_told
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.copying import PostgresSource, SqliteSource, address
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore

PATIENCE = timedelta(minutes=10)  # how long the commit of a whole database may take a standby


def settings_of(data: Path | None) -> Settings:
    """Read the settings.

    Raises:
        Mistyped: one of them has a value that can't be.
    """
    with wrong_values_told():
        return Settings() if data is None else Settings(data=data)


def there_is_data(settings: Settings) -> None:
    """See that the data directory has a database.

    Raises:
        Unusable: it hasn't.
    """
    if not settings.database_path.exists():
        raise Unusable(f"there is no Seatkeeper data in {settings.data}: name its directory with --data or SEATKEEPER_DATA")


@contextmanager
def connected(database: str) -> Iterator[PostgresStore]:
    """Open a PostgreSQL database.

    Raises:
        Mistyped: it isn't named as one.
    """
    if database.startswith("sqlite:"):
        raise Mistyped(
            "to go back to a data directory: seatkeeper backup FILE --database …, then seatkeeper restore FILE --data …"
        )
    try:
        store = PostgresStore(database, patience=PATIENCE)
    except psycopg.ProgrammingError as error:
        raise Mistyped(f"a database is named like postgresql://user@host/name ({str(error).strip()})") from error
    with closing(store):
        yield store


@contextmanager
def source(settings: Settings, database: str | None) -> Iterator[Source]:
    """Give what is to be copied.

    Raises:
        Unusable: there is none.
    """
    if database is not None:
        with connected(database) as store:
            yield PostgresSource(store)
        return
    there_is_data(settings)
    yield SqliteSource(settings.database_path)


@contextmanager
def target(settings: Settings, database: str | None) -> Iterator[tuple[Target, str]]:
    """Give where something is to be put, and what that is called."""
    if database is None:
        yield DirectoryTarget(settings.data), str(settings.data)
        return
    with connected(database) as store:
        yield PostgresTarget(store), address(store)


@contextmanager
def to_be_finished(
    settings: Settings, database: str | None, *, finish: bool
) -> Iterator[tuple[SqliteStore | PostgresStore, str]]:
    """Give a store, and its name among the schema's files; to finish it, have it to oneself and up to date.

    Raises:
        DirectoryInUse: a server has the data directory, and would be changed under its hands.
    """
    now = datetime.now(UTC)
    if database is not None:
        with connected(database) as store:
            if finish:
                store.migrate(now)
            yield store, "postgres"
        return
    there_is_data(settings)
    alone: AbstractContextManager[object] = DirectoryLock(settings.data) if finish else nullcontext()
    with alone, closing(SqliteStore(settings.database_path)) as sqlite:
        if finish:
            sqlite.migrate(now)
        yield sqlite, "sqlite"
