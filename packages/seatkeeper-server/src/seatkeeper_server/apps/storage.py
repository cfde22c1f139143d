"""Where a server's data lies, and how it is opened: a SQLite file in the data directory, or a PostgreSQL database.

Everything else in `apps` and `cli` is handed a `Storage` and knows no more. What differs is said here: who may serve at the
same time, who brings the schema up to date, and what a physician looks at.

>>> storage_at("postgresql://seat:secret@db.example/seats").name
'PostgreSQL seats at db.example'
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from seatkeeper_server.apps.examining import Finding, of_sqlite
from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.database_urls import is_postgres
from seatkeeper_server.service.ports import Store
from seatkeeper_server.store import health
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.locking import DirectoryInUse, DirectoryLock, is_served
from seatkeeper_server.store.migrations import Step
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.transaction import SqlTransaction

if TYPE_CHECKING:
    from seatkeeper_server.settings import Settings

UPDATED_WITHIN = timedelta(seconds=3)  # how long a server that has just been started may take to bring its data up to date
LOOK_EVERY = 0.05  # seconds

Result = TypeVar("Result")


class AnyStore(Store, Protocol):
    """A store of whichever database."""

    def transaction(self) -> AbstractContextManager[SqlTransaction]:
        """Open a write transaction, as `Store` says."""
        ...

    def migrate(self, now: datetime) -> None:
        """Bring a new or older database to this code's schema, as far as older code can go on beside it."""
        ...

    def finish_migration(self, now: datetime) -> None:
        """Take away what only older code needed. No older server or verb may work with this database any more."""
        ...

    def steps(self) -> dict[int, str]:
        """Give the steps of the schema that this database has, by number."""
        ...

    def waiting(self) -> list[Step]:
        """Give the steps that this database lacks: those that add, then those that take away."""
        ...

    def found(self, database_id: str, now: datetime) -> tuple[str, int]:
        """Give the database's id and epoch, which a new one gets now."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Reads(Protocol):
    """Reads beside the desk: one consistent snapshot a read."""

    def read(self, question: Callable[[Catalogue], Result]) -> Result:
        """Have a question answered from one snapshot."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Storage(Protocol):
    """A place for the data of one server, or of several."""

    @property
    def name(self) -> str:
        """What it is called in sentences; no password is ever in it."""
        ...

    @property
    def address(self) -> str:
        """How `storage_at` finds it again; a password may be in it."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether several servers may serve it at once."""
        ...

    def store(self) -> AnyStore:
        """Give a store of its own to a thread or a process."""
        ...

    def reader(self) -> Reads:
        """Give what reads beside the desk."""
        ...

    def is_there(self) -> bool:
        """Tell whether there is any data yet.

        Raises:
            StorageUnavailable: it can't be known.
        """
        ...

    def claimed(self) -> AbstractContextManager[object]:
        """Have the data for this server alone, where only one may serve it.

        Raises:
            DirectoryInUse: another one has it.
        """
        ...

    def bring_up_to_date(self, store: AnyStore, now: datetime) -> None:
        """Apply the steps that the schema lacks, on behalf of a verb.

        Raises:
            SchemaTooNew: it was written by newer code.
            OlderServer: an older server serves it, which the steps would break.
        """
        ...

    def is_served(self) -> bool | None:
        """Tell whether a server has the data now; None where only its beat says so."""
        ...

    def examined(self) -> Iterator[Finding]:
        """Examine the database as a physician: nothing is changed."""
        ...


class OlderServer(Exception):
    """The data is older than this Seatkeeper, and an older server serves it: stop that one and start this version."""


def storage_of(settings: "Settings") -> Storage:
    """Give the storage that the settings name."""
    if settings.database is None:
        return SqliteStorage(settings.database_path)
    return storage_at(settings.database.get_secret_value(), prepare=settings.database_prepare)


def storage_at(address: str, *, prepare: bool = True) -> Storage:
    """Give the storage at an address: a PostgreSQL URL, or the path of a SQLite file."""
    if not is_postgres(address):
        return SqliteStorage(Path(address))
    from seatkeeper_server.apps.postgres_storage import PostgresStorage  # whose driver takes a verb on a file 65 ms to import

    return PostgresStorage(address, prepare=prepare)


class SqliteStorage:
    """A SQLite file in a directory that one server has to itself; verbs work beside it."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    @property
    def address(self) -> str:
        """The file."""
        return str(self._path)

    def store(self) -> SqliteStore:
        """Give a store of its own to a thread or a process."""
        return SqliteStore(self._path)

    def reader(self) -> Reader:
        """Give a connection that can't write."""
        return Reader(self._path)

    def is_there(self) -> bool:
        """Tell whether there is a file."""
        return self._path.exists()

    def claimed(self) -> DirectoryLock:
        """Have the directory for this server alone."""
        return DirectoryLock(self._path.parent)

    def bring_up_to_date(self, store: AnyStore, now: datetime) -> None:
        """Apply the steps that are missing, with the directory to oneself; who has it does so too, or is an older server.

        Raises:
            OlderServer: it is an older one.
        """
        assert isinstance(store, SqliteStore)
        deadline = time.monotonic() + UPDATED_WITHIN.total_seconds()
        while health.is_behind(store):
            try:
                with self.claimed():
                    store.migrate(now)
            except DirectoryInUse as error:
                if time.monotonic() >= deadline:
                    raise OlderServer(
                        f"the data in {self._path.parent} is older than this Seatkeeper, and an older server is serving it:"
                        " stop that server and start it with this version, which brings the data up to date"
                    ) from error
                time.sleep(LOOK_EVERY)
        store.migrate(now)  # a new database gets its tables; one of newer code is refused

    def is_served(self) -> bool:
        """Tell whether a server has the directory now."""
        return is_served(self._path.parent)

    def examined(self) -> Iterator[Finding]:
        """Examine the file, its durability and its disk."""
        return of_sqlite(self._path)
