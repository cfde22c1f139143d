"""SQLite: the embedded store, with nothing to install.

Durable means: WAL, `synchronous=FULL`, so that a transaction that ended without an error is on disk. One process serves a
directory (`locking.py`); command-line verbs write beside it in short transactions; nobody opens one that was moved to another
database (`moved.py`). What a store promises: `contract.md`.
Nobody but the owner can read its files, whatever directory they lie in.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from shutil import disk_usage
from threading import RLock
from typing import Any

import apsw

from seatkeeper_server.service.ports import PoolKey, StorageFull, StorageUnavailable
from seatkeeper_server.store import migrations, moved, queries
from seatkeeper_server.store.migrations import Phase, SchemaTooNew, Step
from seatkeeper_server.store.rows import Row, micros
from seatkeeper_server.store.transaction import SqlTransaction

MILLISECOND = timedelta(milliseconds=1)
BUSY_TIMEOUT = timedelta(seconds=5)  # how long a transaction waits for another process's
PAGE = 4096  # bytes
LOG_PAGES = 4_000  # in the log before it is folded into the file: a page that is written again meanwhile is folded once
LOG_SHARE = 8  # the log takes no more than one part in so many of what is free on the disk
CACHE_KIB = 64 * 1024
SQL_FILES = ("sqlite.sql", *queries.COMMON)

_OUR_OWN_FAULT = (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, apsw.MisuseError, apsw.BindingsError)
_CONNECTION_IS_SUSPECT = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)


class SqliteTransaction(SqlTransaction):
    """One `BEGIN IMMEDIATE … COMMIT`: nobody else writes meanwhile."""

    def __init__(self, connection: apsw.Connection, sql: Mapping[str, str]) -> None:
        super().__init__()
        self._connection = connection
        self._sql = sql

    def query(self, name: str, /, **parameters: Any) -> Sequence[Row]:  # any value the schema's column takes
        """Give the rows of a named query."""
        return self._connection.execute(self._sql[name], parameters).fetchall()

    def execute(self, name: str, /, **parameters: Any) -> int:  # any value the schema's column takes
        """Run a named statement; the number of rows it changed."""
        self._connection.execute(self._sql[name], parameters)
        return self._connection.changes()

    def _save(self, name: str, values: list[list[object]]) -> None:
        """Write rows by one prepared statement: without a network between, that is half the work of taking JSON apart."""
        if values:
            self._connection.executemany(self._sql[name], values)

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        """Nothing is left to be locked: nobody else writes."""
        return timedelta(0)

    def lock_chains(self, chains: Collection[PoolKey]) -> None:
        """Nothing is left to be locked: nobody else writes."""


class SqliteStore:
    """A SQLite database, on disk or (None) in memory. Safe to use from several threads, one transaction at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._directory = None if path is None else str(path.parent)
        self._lock = RLock()
        self._sql = queries.load(*SQL_FILES)
        self._connection: apsw.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Open a write transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            StorageFull: the disk is full; nothing was recorded.
            StorageUnavailable: any other trouble with the file; nothing was recorded.
            DirectoryMoved: the data are in another database; nothing was recorded.
        """
        with self._lock:
            with self._told():
                connection = self._connected()
                connection.execute("BEGIN IMMEDIATE")
            try:
                with self._told():
                    if self._directory is not None:
                        moved.refuse(self._directory)  # it may have been while we waited for our turn
                    yield SqliteTransaction(connection, self._sql)
                    connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back(connection)
                if isinstance(error, StorageFull):
                    self._fold(connection)
                raise

    def was_committed(self, batch_id: str) -> bool:
        """Tell whether the transaction that marked this batch alive has been committed."""
        with self.transaction() as tx:
            return any(row[0] == batch_id for row in tx.query("last_batch"))

    def migrate(self, now: datetime) -> None:
        """Bring a new or older database to this code's schema, as far as older code can go on beside it.

        Each step is a transaction of its own.

        Raises:
            SchemaTooNew: the database was written by newer code.
        """
        self._apply(Phase.PRE, now)

    def finish_migration(self, now: datetime) -> None:
        """Take away what only older code needed. No older server or verb may work with this database any more.

        Raises:
            SchemaTooNew: the database was written by newer code.
        """
        self._apply(Phase.POST, now)

    def steps(self) -> dict[int, str]:
        """Give the steps of the schema that this database has, by number."""
        with self._lock, self._told():
            connection = self._connected()
            is_new = not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone()
            return {} if is_new else _done(connection)

    def waiting(self) -> list[Step]:
        """Give the steps that this database lacks: those that add, then those that take away.

        Raises:
            SchemaTooNew: the database was written by newer code.
        """
        done = self.steps()
        return [step for phase in Phase for step in migrations.missing("sqlite", done, phase)]

    def _apply(self, phase: Phase, now: datetime) -> None:
        with self._lock, self._told():
            connection = self._connected()
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migration (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
                " applied_at INTEGER NOT NULL) STRICT"
            )
            for step in self._missing(connection, phase):
                noted = f"INSERT INTO migration VALUES ({step.number}, '{step.recorded}', {micros(now)})"  # noqa: S608  our own
                try:
                    connection.execute(f"BEGIN IMMEDIATE;\n{step.script};\n{noted};\nCOMMIT;")
                except apsw.SQLError:
                    self._roll_back(connection)
                    if step.number not in _done(connection):
                        raise
                    # else a process that started at the same moment (`cloud & sell`) was faster

    def _missing(self, connection: apsw.Connection, phase: Phase) -> list[Step]:
        try:
            return migrations.missing("sqlite", _done(connection), phase)
        except SchemaTooNew as error:
            raise SchemaTooNew(f"{self._path} has {error}") from error

    def found(self, database_id: str, now: datetime) -> tuple[str, int]:
        """Give this database's id and epoch, which a new one gets now."""
        with self.transaction() as tx:
            if not tx.query("history"):
                tx.execute("found_history", database_id=database_id, epoch=1, created_at=micros(now))
            row = tx.query("history")[0]
            return row[0], row[1]

    def close(self) -> None:
        """Let go of the file; the write-ahead log is folded into it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> apsw.Connection:
        if self._path is not None:
            moved.refuse(str(self._path.parent))
            _keep_private(self._path)
        connection = apsw.Connection(":memory:" if self._path is None else str(self._path), statementcachesize=256)
        connection.set_busy_timeout(BUSY_TIMEOUT // MILLISECOND)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # no statement is planned anew for each value it is given
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={self._log_pages()}",
            f"cache_size={-CACHE_KIB}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _roll_back(self, connection: apsw.Connection) -> None:
        if connection is self._connection and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error:
                self._forget()

    def _log_pages(self) -> int:
        """Tell at how many pages the log is folded: a small disk must not be filled by it."""
        free = LOG_PAGES * PAGE * LOG_SHARE if self._directory is None else disk_usage(self._directory).free
        return max(1, min(LOG_PAGES, free // PAGE // LOG_SHARE))

    def _fold(self, connection: apsw.Connection) -> None:
        """Fold the log into the file, so that it begins anew: on a full disk that may be all the room there is."""
        if connection is self._connection:
            with suppress(apsw.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _forget(self) -> None:
        """Drop a connection that can't be trusted any more; the next transaction opens a new one. Memory has only one."""
        if self._path is not None and self._connection is not None:
            broken, self._connection = self._connection, None
            broken.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell trouble in our own words."""
        try:
            yield
        except _OUR_OWN_FAULT:
            raise
        except apsw.Error as error:
            if isinstance(error, _CONNECTION_IS_SUSPECT):
                self._forget()
            if isinstance(error, apsw.FullError):
                raise StorageFull(f"{self._path}: {error}") from error
            raise StorageUnavailable(f"{self._path}: {error}") from error


def _keep_private(path: Path) -> None:
    """See that only the owner reads the database and the files SQLite keeps beside it, which take their mode from it.

    A file that is there is never opened here: closing it would let go of the locks that this process has on it through other
    connections (SQLite, "How To Corrupt An SQLite Database File", 2.2).
    """
    with suppress(OSError):  # it is there, or can't be made; then SQLite says why
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):  # it isn't there, or is somebody else's
            file.chmod(0o600)


def _done(connection: apsw.Connection) -> dict[int, str]:
    """Give the steps of the schema that were applied."""
    return dict(connection.execute("SELECT number, name FROM migration"))
