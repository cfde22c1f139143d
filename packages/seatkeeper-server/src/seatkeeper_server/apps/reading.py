"""Reads the database beside the desk: one consistent snapshot a read, which can't write and waits for nobody.

Whoever only wants to know something must not queue behind the desk's commits. What is read here is for keys, reports and
metrics. No seat is ever decided from it.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import apsw

from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.store import queries
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sqlite import BUSY_TIMEOUT, MILLISECOND, SQL_FILES, SqliteTransaction

if TYPE_CHECKING:
    from seatkeeper_server.store.postgres import PostgresStore

Result = TypeVar("Result")


class SnapshotReader:
    """Reads a PostgreSQL database, from any thread: each read is a transaction, REPEATABLE READ and READ ONLY."""

    def __init__(self, store: "PostgresStore") -> None:
        self._store = store

    def read(self, question: Callable[[Catalogue], Result]) -> Result:
        """Have a question answered from one snapshot.

        Raises:
            StorageUnavailable: the database can't be read.
        """
        with self._store.snapshot() as tx:
            return question(Catalogue(tx))

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()


class Reader:
    """Reads a SQLite file: one connection, for one read at a time from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = queries.load(*SQL_FILES)
        self._lock = Lock()
        self._connection: apsw.Connection | None = None

    def read(self, question: Callable[[Catalogue], Result]) -> Result:
        """Have a question answered from one snapshot.

        Raises:
            StorageUnavailable: the database can't be read.
        """
        with self._lock:
            try:
                connection = self._connected()
                connection.execute("BEGIN")
                try:
                    return question(Catalogue(SqliteTransaction(connection, self._sql)))
                finally:
                    connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._forget()
                raise StorageUnavailable(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._forget()

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_TIMEOUT // MILLISECOND)
            connection.execute("PRAGMA query_only=ON")
            self._connection = connection
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
