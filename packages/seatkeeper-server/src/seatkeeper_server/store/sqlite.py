"""SQLite: the embedded store, with nothing to install.

Durable means: WAL, `synchronous=FULL`, so that a transaction that ended without an error is on disk. One process serves a
directory (`locking.py`); command-line verbs write beside it in short transactions. What a store promises: `contract.md`.
Nobody but the owner can read its files, whatever directory they lie in.
"""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from threading import RLock
from typing import Any

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.refusals import Window
from seatkeeper_server.domain.timekeeping import MICROSECOND, Alive
from seatkeeper_server.service.calls import HolderView
from seatkeeper_server.service.ports import (
    Changes,
    HolderRecord,
    HoldingRecord,
    KeyedRecord,
    LedgerRecord,
    PoolKey,
    PoolRecord,
    StorageFull,
    StorageUnavailable,
)
from seatkeeper_server.store import queries, rows
from seatkeeper_server.store.rows import Row, json_text, maybe_moment, micros, moment

BUSY_TIMEOUT = timedelta(seconds=5)  # how long a transaction waits for another process's
OLDEST_SQLITE = (3, 38, 0)  # STRICT tables and the ->> operator
SQL_FILES = ("common.sql", "sqlite.sql", "catalogue.sql", "pruning.sql")

_FULL = {sqlite3.SQLITE_FULL}
_PRIMARY_CODE = 0xFF  # the low byte of an extended error code
_OUR_OWN_FAULT = {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE}
_CONNECTION_IS_SUSPECT = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}


class SchemaTooNew(Exception):
    """The data was written by a newer Seatkeeper. Upgrade this one, or point it at another data directory."""


class SqliteTransaction:
    """One `BEGIN IMMEDIATE … COMMIT`. Sets of rows go in and out as JSON, a handful of statements for a whole batch."""

    def __init__(self, connection: sqlite3.Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    def query(self, name: str, /, **parameters: Any) -> list[Row]:  # any value the schema's column takes
        """Give the rows of a named query."""
        return self._connection.execute(self._sql[name], parameters).fetchall()

    def execute(self, name: str, /, **parameters: Any) -> int:  # any value the schema's column takes
        """Run a named statement; the number of rows it changed."""
        return self._connection.execute(self._sql[name], parameters).rowcount

    def alive(self) -> Alive | None:
        """Give the last alive moment; None in a new database."""
        for row in self.query("alive"):
            return Alive(moment(row[0]), row[1], rows.span(row[2]), rows.span(row[3]), rows.span(row[4]))
        return None

    def mark_alive(self, alive: Alive, batch_id: str) -> None:
        """Record that the database is served now, and which batch said so."""
        self.execute(
            "mark_alive",
            at=micros(alive.at),
            boot_id=alive.boot_id,
            boot_at=alive.boot_at // MICROSECOND,
            drift=alive.drift // MICROSECOND,
            offset=alive.offset // MICROSECOND,
            batch_id=batch_id,
        )

    def extend_leases(self, alive_at: datetime, gap: timedelta, now: datetime) -> int:
        """Give every place, and every idempotency key, the time back that nobody could use; the number of places."""
        self.execute("extend_keyed", alive_at=micros(alive_at), gap=gap // MICROSECOND)
        return self.execute("extend_leases", alive_at=micros(alive_at), gap=gap // MICROSECOND, now=micros(now))

    def shift_leases(self, by: timedelta) -> None:
        """Move every lease and place by this much: the recorded time itself was wrong."""
        self.execute("shift_leases", by=by // MICROSECOND)

    def tenants(self) -> list[str]:
        """Give the ids of all tenants."""
        return [row[0] for row in self.query("tenants")]

    def pools_for_codes(
        self, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        found: dict[tuple[str, str, str], list[PoolKey]] = defaultdict(list)
        for tenant_id, code_hash, product_id, entitlement_id in self.query("pools_for_codes", asked=json_text(asked)):
            found[tenant_id, code_hash, product_id].append((tenant_id, entitlement_id))
        return found

    def pools(self, keys: Sequence[PoolKey]) -> list[PoolRecord]:
        """Give these pools, in one sorted order."""
        asked = json_text(keys)
        tallies: dict[PoolKey, dict[str, Tally]] = defaultdict(dict)
        for row in self.query("rights", asked=asked):
            tallies[row[0], row[1]][row[2]] = rows.to_tally(row[2:])
        return [rows.to_pool(row, tallies[row[0], row[1]]) for row in self.query("pools", asked=asked)]

    def ledgers(self, tenant_ids: Sequence[str]) -> list[LedgerRecord]:
        """Give these tenants' own chains; unknown tenants are left out."""
        return [rows.to_ledger(row) for row in self.query("ledgers", asked=json_text(tenant_ids))]

    def holdings(self, asked: Sequence[tuple[str, str]]) -> list[HoldingRecord]:
        """Give the present holdings of these (tenant, activation)."""
        return [
            HoldingRecord(
                tenant_id=row[0],
                entitlement_id=row[1],
                holding=rows.to_holding(row[2:21]),
                who=rows.to_who(row[21:30]),
                blocked_until=maybe_moment(row[30]),
            )
            for row in self.query("holdings", asked=json_text(asked))
        ]

    def seats(self, asked: Sequence[tuple[str, str, str]]) -> list[tuple[HolderRecord, Holding | None]]:
        """Give the holders known under these (tenant, chain, seat id), and what they hold."""
        return [
            (
                HolderRecord(
                    tenant_id=row[0],
                    chain_id=row[1],
                    number=row[2],
                    who=rows.to_who(row[4:13]),
                    blocked_until=maybe_moment(row[3]),
                ),
                None if row[13] is None else rows.to_holding(row[13:]),
            )
            for row in self.query("seats", asked=json_text(asked))
        ]

    def due(self, key: PoolKey, now: datetime, limit: int, skip: int = 0) -> list[Holding]:
        """Give the places of a pool that time has ended, oldest first, but for the first `skip` of them."""
        found = self.query("due", tenant_id=key[0], entitlement_id=key[1], now=micros(now), most=limit, skip=skip)
        return [rows.to_holding(row) for row in found]

    def pools_with_due(self, now: datetime, limit: int) -> list[PoolKey]:
        """Find pools in which time has ended places."""
        return [(row[0], row[1]) for row in self.query("pools_with_due", now=micros(now), most=limit)]

    def roster(self, key: PoolKey, limit: int) -> tuple[list[HolderView], datetime | None]:
        """Give the first holders of a pool by the end of their lease, and the earliest moment a place comes back."""
        found = self.query("roster", tenant_id=key[0], entitlement_id=key[1], most=limit)
        views = [HolderView(name=row[0], since=moment(row[1]), lease_ends_at=moment(row[2])) for row in found]
        earliest = self.query("next_free", tenant_id=key[0], entitlement_id=key[1])
        return views, maybe_moment(earliest[0][0])

    def keyed(self, asked: Sequence[tuple[str, str, str]]) -> list[KeyedRecord]:
        """Give the successes kept under these (tenant, scope, key)."""
        return [rows.to_keyed(row) for row in self.query("keyed", asked=json_text(asked))]

    def windows(self, asked: Sequence[tuple[str, str, int]]) -> list[tuple[PoolKey, Window]]:
        """Give the refusal windows of these (tenant, chain, holder)."""
        return [rows.to_window(row) for row in self.query("windows", asked=json_text(asked))]

    def windows_ended(self, before: datetime, limit: int) -> list[tuple[PoolKey, Window]]:
        """Give refusal windows that began before a moment."""
        return [rows.to_window(row) for row in self.query("windows_ended", before=micros(before), most=limit)]

    def save(self, changes: Changes) -> None:
        """Write all of it, set-wise: holders before the places and facts that name them."""
        self._save("save_holders", [rows.from_holder(record) for record in changes.holders])
        self._save("save_pools", [rows.from_pool(record) for record in changes.pools])
        self._save("save_rights", [row for record in changes.pools for row in rows.from_tallies(record)])
        self._save("save_ledgers", [rows.from_ledger(record) for record in changes.ledgers])
        self._save("remove_holdings", [list(key) for key in changes.removed])
        self._save("save_holdings", [rows.from_holding(record) for record in changes.holdings])
        self._save("save_keyed", [rows.from_keyed(record) for record in changes.keyed])
        self._save("close_windows", [[*key, holder] for key, holder in changes.closed])
        self._save("save_windows", [rows.from_window(key, window) for key, window in changes.windows])
        self._save("add_facts", [rows.from_fact(record) for record in changes.facts])

    def _save(self, name: str, values: list[list[object]]) -> None:
        if values:
            self.execute(name, rows=json_text(values))


class SqliteStore:
    """A SQLite database, on disk or (None) in memory. Safe to use from several threads, one transaction at a time."""

    def __init__(self, path: Path | None) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.38 or newer is needed")
        self._path = path
        self._lock = RLock()
        self._sql = queries.load(*SQL_FILES)
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Open a write transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            StorageFull: the disk is full; nothing was recorded.
            StorageUnavailable: any other trouble with the file; nothing was recorded.
        """
        with self._lock:
            with self._told():
                connection = self._connected()
                connection.execute("BEGIN IMMEDIATE")
            try:
                with self._told():
                    yield SqliteTransaction(connection, self._sql)
                    connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    def was_committed(self, batch_id: str) -> bool:
        """Tell whether the transaction that marked this batch alive has been committed."""
        with self.transaction() as tx:
            return any(row[0] == batch_id for row in tx.query("last_batch"))

    def migrate(self, now: datetime) -> None:
        """Bring a new or older database to this code's schema; each step is a transaction of its own.

        Raises:
            SchemaTooNew: the database was written by newer code.
        """
        steps = _migrations()
        with self._lock, self._told():
            connection = self._connected()
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migration (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
                " applied_at INTEGER NOT NULL) STRICT"
            )
            done = _done(connection)
            if done - set(steps):
                raise SchemaTooNew(
                    f"{self._path} has schema {max(done)}, this Seatkeeper knows {max(steps)}: upgrade this Seatkeeper"
                )
            for number in sorted(set(steps) - done):
                name, script = steps[number]
                noted = f"INSERT INTO migration VALUES ({number}, '{name}', {micros(now)})"  # noqa: S608  our own names
                try:
                    connection.executescript(f"BEGIN IMMEDIATE;\n{script};\n{noted};\nCOMMIT;")
                except sqlite3.OperationalError:
                    self._roll_back(connection)
                    if number not in _done(connection):
                        raise
                    # else a process that started at the same moment (`cloud & sell`) was faster

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

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            _keep_private(self._path)
        connection = sqlite3.connect(
            self._path or ":memory:",
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT.total_seconds(),
            cached_statements=256,
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection is self._connection and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._forget()

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
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE
            if code in _OUR_OWN_FAULT:
                raise
            if code in _CONNECTION_IS_SUSPECT:
                self._forget()
            if code in _FULL:
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


def _done(connection: sqlite3.Connection) -> set[int]:
    """Give the steps of the schema that were applied."""
    return {row[0] for row in connection.execute("SELECT number FROM migration")}


def _migrations() -> dict[int, tuple[str, str]]:
    """Find the steps of the schema: `0001_seats.sqlite.sql` is number 1, named `seats`."""
    steps: dict[int, tuple[str, str]] = {}
    for file in (files(__package__) / "schema").iterdir():
        if file.name.endswith(".sqlite.sql"):
            number, _, name = file.name.removesuffix(".sqlite.sql").partition("_")
            steps[int(number)] = (name, file.read_text(encoding="utf-8"))
    return steps
