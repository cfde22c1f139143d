"""A PostgreSQL database as the place where servers' data lies (`storage.Storage`), which any number of them serve together."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import datetime

from seatkeeper_server.apps.examining import Finding
from seatkeeper_server.apps.examining_postgres import of_postgres
from seatkeeper_server.apps.reading import SnapshotReader
from seatkeeper_server.apps.storage import AnyStore
from seatkeeper_server.store import postgres_health
from seatkeeper_server.store.postgres import PostgresStore, public_name


class PostgresStorage:
    """A PostgreSQL database, which any number of servers serve together."""

    is_shared = True

    def __init__(self, url: str, *, prepare: bool = True) -> None:
        self._url = url
        self._prepare = prepare

    @property
    def name(self) -> str:
        """The database and its host."""
        return public_name(self._url)

    @property
    def address(self) -> str:
        """The URL, with what it has of a password."""
        return self._url

    def store(self) -> PostgresStore:
        """Give a store of its own to a thread or a process."""
        return PostgresStore(self._url, prepare=self._prepare)

    def reader(self) -> SnapshotReader:
        """Give what reads one moment of the database at a time."""
        return SnapshotReader(self.store())

    def is_there(self) -> bool:
        """Tell whether the database has our tables."""
        with closing(self.store()) as store:
            return postgres_health.has_schema(store)

    def claimed(self) -> AbstractContextManager[object]:
        """Nothing is to be claimed: rows are locked, and time is the database's."""
        return nullcontext()

    def bring_up_to_date(self, store: AnyStore, now: datetime) -> None:
        """Apply the steps that older servers can go on beside."""
        store.migrate(now)

    def is_served(self) -> None:
        """Nobody but its beat says so."""
        return

    def examined(self) -> Iterator[Finding]:
        """Examine the server, its durability, its schema, and its clock."""
        return of_postgres(self.store(), self.name)
