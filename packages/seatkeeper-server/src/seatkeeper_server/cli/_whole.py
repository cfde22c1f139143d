"""Opens a database as a whole, for the verbs that copy or move all of it: a data directory, or PostgreSQL.

`--database` names PostgreSQL; then the data directory is only where the sealing key lies, unless that is named too.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from seatkeeper_server.apps.backing_up import Source
from seatkeeper_server.apps.restoring import DirectoryTarget, PostgresTarget, Target
from seatkeeper_server.cli._failures import Mistyped, Unusable, wrong_values_told
from seatkeeper_server.database_urls import check_database_url, is_postgres
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.copying import PostgresSource, SqliteSource, address
from seatkeeper_server.store.postgres import PostgresStore

PATIENCE = timedelta(minutes=10)  # how long the commit of a whole database may take a standby


def settings_of(data: Path | None, database: str | None = None) -> Settings:
    """Read the settings.

    Raises:
        Mistyped: one of them has a value that can't be.
    """
    given = {"data": data, "database": database}
    with wrong_values_told():
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def there_is_data(settings: Settings) -> None:
    """See that the data directory has a database.

    Raises:
        Unusable: it hasn't.
    """
    if not settings.database_path.exists():
        raise Unusable(f"there is no Seatkeeper data in {settings.data}: name its directory with --data or SEATKEEPER_DATA")


def check_place(url: str) -> None:
    """See that a place to move to is named as one.

    Raises:
        Mistyped: it isn't.
    """
    if url.startswith("sqlite:"):
        raise Mistyped("to: back to a data directory it is seatkeeper backup FILE --database …, then seatkeeper restore FILE")
    if not is_postgres(url):
        raise Mistyped("to: write postgresql://USER@HOST/NAME")
    with wrong_values_told():
        check_database_url(url)


@contextmanager
def connected(url: str) -> Iterator[PostgresStore]:
    """Open a PostgreSQL database."""
    with closing(PostgresStore(url, patience=PATIENCE)) as store:
        yield store


@contextmanager
def source(settings: Settings) -> Iterator[Source]:
    """Give what is to be copied.

    Raises:
        Unusable: there is none.
    """
    if settings.database is not None:
        with connected(settings.database.get_secret_value()) as store:
            yield PostgresSource(store)
        return
    there_is_data(settings)
    yield SqliteSource(settings.database_path)


@contextmanager
def target(settings: Settings) -> Iterator[tuple[Target, str]]:
    """Give where something is to be put, and what that is called."""
    if settings.database is None:
        yield DirectoryTarget(settings.data), str(settings.data)
        return
    with connected(settings.database.get_secret_value()) as store:
        yield PostgresTarget(store), address(store)
