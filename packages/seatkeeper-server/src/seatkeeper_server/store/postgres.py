"""PostgreSQL: the store for several server processes, synchronous replicas and fail-over.

Durable means: `synchronous_commit=on` in every transaction, so that one that ended without an error is on the disk of the
primary, and of the standby where there is a synchronous one. What a store promises: `contract.md`; how transactions keep out of
each other's way, and how time is kept for several servers: `docs/decisions/0010`.

A transaction is READ COMMITTED and locks the rows that it decides by, in one order: the alive moment, pools, tenants' own
chains. What would have to be locked out of order is not waited for: the transaction fails with `Conflict`, and is done again.
So transactions never wait for each other in a circle.
"""

import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from selectors import EVENT_READ, DefaultSelector
from threading import Lock
from typing import Any

import psycopg
from psycopg import Connection, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service.ports import (
    Changes,
    CommitUnknown,
    Conflict,
    PoolKey,
    StorageFull,
    StorageUnavailable,
)
from seatkeeper_server.store import migrations, queries, rows
from seatkeeper_server.store.migrations import Phase, SchemaTooNew, Step
from seatkeeper_server.store.rows import Row, json_text, moment
from seatkeeper_server.store.transaction import SqlTransaction

SQL_FILES = ("postgres.sql", *queries.COMMON)
NOTHING = timedelta(0)
PATIENCE = timedelta(seconds=20)
TAKES_STOCK_AT = 8  # transactions, and at every doubling of them
MOST_IDLE = 4  # connections that are kept open for the next transaction
LOST_WITHIN: Mapping[str, str | int] = {  # how soon a host that doesn't answer any more is given up
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}

_OUR_OWN_FAULT = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError)
_NOT_ITS_OWN_CONNECTION = (errors.DuplicatePreparedStatement, errors.InvalidSqlStatementName)  # a pooler lends it to others
_IN_THE_WAY = (errors.DeadlockDetected, errors.SerializationFailure)


class _Connection(Connection[tuple[Any, ...]]):
    """A connection, and how many transactions it has seen."""

    transactions = 0


class PostgresTransaction(SqlTransaction):
    """One transaction: what it locked, nobody else changes meanwhile."""

    def __init__(self, connection: _Connection, sql: Mapping[str, str], began: Row) -> None:
        super().__init__()
        self._connection = connection
        self._sql = sql
        self._began = began
        self._locked: set[PoolKey] = set()
        self._alive_said: dict[str, Any] | None = None  # with `mark_alive`, and not written yet
        self._reached: tuple[int, PoolKey] | None = None  # the last thing that was locked: pools come before tenants

    def query(self, name: str, /, **parameters: Any) -> list[Row]:  # any value the schema's column takes
        """Give the rows of a named query."""
        return list(self._connection.execute(self._sql[name], _sent(parameters)).fetchall())

    def execute(self, name: str, /, **parameters: Any) -> int:  # any value the schema's column takes
        """Run a named statement; the number of rows it changed."""
        return self._connection.execute(self._sql[name], _sent(parameters)).rowcount

    def save(self, changes: Changes) -> None:
        """Write all of it, set-wise, and wait once for all the statements instead of once for each."""
        with self._connection.pipeline():
            self.finish()
            super().save(changes)

    def query_both(self, first: str, second: str, /, **parameters: Any) -> tuple[list[Row], list[Row]]:
        """Give the rows of two named queries that take the same parameters, and wait once."""
        sent = _sent(parameters)
        with self._connection.pipeline():
            one, other = (self._connection.execute(self._sql[name], sent) for name in (first, second))
            return list(one.fetchall()), list(other.fetchall())

    def clock(self) -> datetime | None:
        """Give the time this transaction began by the database's own clock."""
        return moment(self._began[0])

    def alive(self) -> Alive | None:
        """Give the last alive moment; None in a new database."""
        return None if self._began[1] is None else rows.to_alive(self._began[1:])

    def alone(self) -> Alive | None:
        """Have the alive moment to oneself until the transaction ends, and give it as it is now.

        Raises:
            Conflict: others may be waiting already for what this transaction has locked.
        """
        for row in self._locking("lock_alive", out_of_order=self._reached is not None):
            self._began = (self._began[0], *row)
        return self.alive()

    def mark_alive(self, alive: Alive, batch_id: str) -> None:
        """Record which batch this is, and at most once a second that the database is served.

        It is said with what is written at the end: nothing before that waits for it, and nobody waits for the row so long.
        """
        said = {**rows.from_alive(alive), "batch_id": batch_id}
        if self.alive() is None:
            self.execute("first_alive", **said)
        else:
            self._alive_said = said

    def finish(self) -> None:
        """Write what is still to be written before a commit."""
        if self._alive_said is not None:
            said, self._alive_said = self._alive_said, None
            self.execute("mark_alive", **said)

    def extend_leases(self, alive_at: datetime, gap: timedelta, now: datetime) -> int:
        """Give every place, and every idempotency key, the time back that nobody could use; the number of places."""
        self._lock_all()
        return super().extend_leases(alive_at, gap, now)

    def shift_leases(self, by: timedelta) -> None:
        """Move every lease and place by this much: the recorded time itself was wrong."""
        self._lock_all()
        super().shift_leases(by)

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        """Have these pools, and those of these (tenant, activation), to oneself; the time since the transaction began.

        Raises:
            Conflict: others may be waiting already for what this transaction has locked.
        """
        wanted = sorted(set(pools) - self._locked)
        if not wanted and not activations:
            return NOTHING
        first = (0, wanted[0]) if wanted and not activations else (0, ("", ""))
        found = self._locking(
            "lock_pools",
            out_of_order=self._reached is not None and first <= self._reached,
            asked=json_text(wanted),
            activations=json_text(sorted(activations)),
        )
        self._note(0, [(row[0], row[1]) for row in found])
        return rows.span(found[-1][2] - self._began[0]) if found else NOTHING

    def lock_chains(self, chains: Collection[PoolKey]) -> None:
        """Have these chains of facts to oneself: entitlements' pools, and (tenant id twice) tenants' own."""
        self.lock([key for key in chains if key[0] != key[1]], ())
        wanted = sorted({key for key in chains if key[0] == key[1]} - self._locked)
        if wanted:
            found = self._locking(
                "lock_ledgers",
                out_of_order=self._reached is not None and (1, wanted[0]) <= self._reached,
                asked=json_text([tenant_id for tenant_id, _ in wanted]),
            )
            self._note(1, [(row[0], row[0]) for row in found])

    def _lock_all(self) -> None:
        """Have every pool to oneself; this takes as long as it takes."""
        self.execute("take_time")
        self._locking("lock_all_pools", out_of_order=self._reached is not None)
        self._reached = (0, (_LAST, _LAST))

    def _locking(self, name: str, *, out_of_order: bool, **parameters: Any) -> list[Row]:  # as `query` takes them
        """Run a query that locks rows; what is out of order is not waited for.

        Raises:
            Conflict: another transaction has them.
        """
        if not out_of_order:
            return self.query(name, **parameters)
        try:
            return self.query(f"{name}_now", **parameters)
        except errors.LockNotAvailable as error:
            raise Conflict("what would have to be locked out of order is in use") from error

    def _note(self, rank: int, keys: list[PoolKey]) -> None:
        self._locked.update(keys)
        if keys:
            reached = (rank, keys[-1])
            self._reached = reached if self._reached is None else max(self._reached, reached)


class PostgresSnapshot(PostgresTransaction):
    """A look at one moment of the database, for reports: it locks nothing and changes nothing."""

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        """Lock nothing."""
        return NOTHING

    def lock_chains(self, chains: Collection[PoolKey]) -> None:
        """Lock nothing."""


class PostgresStore:
    """A PostgreSQL database. Safe to use from several threads; each transaction has a connection to itself.

    `conninfo` is a URI or a connection string, as libpq takes it; of several hosts the one that can be written to is found.
    With `prepare` statements are prepared by the server once per connection. That saves a third of its work and needs
    connections that stay the same, or a PgBouncer of 1.21 or newer with `max_prepared_statements`. `patience` is how long a
    commit is waited for: longer than the standby ever takes.
    """

    def __init__(self, conninfo: str, *, prepare: bool = True, patience: timedelta = PATIENCE) -> None:
        self._conninfo = _completed(conninfo)
        self._name = public_name(conninfo)
        self._prepare = prepare
        self._patience = patience
        self._sql = _statements()
        self._lock = Lock()
        self._idle: list[_Connection] = []
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """Open a write transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            StorageFull: the disk is full; nothing was recorded.
            StorageUnavailable: any other trouble with the database; nothing was recorded.
            Conflict: another transaction stood in the way; nothing was recorded.
            CommitUnknown: the connection was lost during commit.
        """
        with self._told():
            connection, began = self._begun("begin")
        with self._given_back(connection):
            with self._told():
                tx = self._opened(connection, began)
                yield tx
                tx.finish()
            self._commit(connection)

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """Look at one moment of the database, waiting for nobody. No seat is ever decided from it.

        Raises:
            StorageUnavailable: it can't be read.
        """
        with self._told():
            connection, began = self._begun("look")
        with self._given_back(connection):
            try:
                with self._told():
                    yield PostgresSnapshot(connection, self._sql, began)
            finally:
                _roll_back(connection)

    def was_committed(self, batch_id: str) -> bool:
        """Tell whether the transaction that marked this batch alive has been committed; if not, it never will be.

        The id is written down durably in either case: that waits for a transaction that is still under way, keeps a later one
        from happening, and when it is on the standby's disk too, so is everything that was committed before.

        Raises:
            StorageUnavailable: it can't be known now.
        """
        try:
            with self.transaction() as tx:
                return bool(tx.query("has_happened", batch_id=batch_id)[0][0])
        except Conflict as error:  # of this question, which says nothing about that transaction
            raise StorageUnavailable(f"{self._name}: {error}") from error

    def migrate(self, now: datetime) -> None:
        """Bring a new or older database to this code's schema, as far as older code can go on beside it.

        Each step is a transaction of its own; of several servers that start at once, one applies it.

        Raises:
            SchemaTooNew: the database was written by newer code.
            StorageUnavailable: it can't be reached, or somebody has what has to be changed.
        """
        self._apply(Phase.PRE, now)

    def finish_migration(self, now: datetime) -> None:
        """Take away what only older code needed. No older server or verb may work with this database any more.

        Raises:
            SchemaTooNew: the database was written by newer code.
            StorageUnavailable: it can't be reached, or somebody has what has to be changed.
        """
        self._apply(Phase.POST, now)

    def steps(self) -> dict[int, str]:
        """Give the steps of the schema that this database has, by number.

        Raises:
            StorageUnavailable: it can't be reached.
        """
        with self._told(), closing(self._connect()) as connection:
            is_new = connection.execute("SELECT to_regclass('migration') IS NULL").fetchone() == (True,)
            return {} if is_new else dict(connection.execute("SELECT number, name FROM migration").fetchall())

    def waiting(self) -> list[Step]:
        """Give the steps that this database lacks: those that add, then those that take away.

        Raises:
            SchemaTooNew: the database was written by newer code.
            StorageUnavailable: it can't be reached.
        """
        done = self.steps()
        return [step for phase in Phase for step in migrations.missing("postgres", done, phase)]

    def _apply(self, phase: Phase, now: datetime) -> None:
        with self._told():
            connection = self._connect()
        with self._given_back(connection), self._told():
            for step in self._lacking(connection, phase):
                self._apply_step(connection, step, now)

    def _lacking(self, connection: _Connection, phase: Phase) -> list[Step]:
        """Give the steps of a phase that the database lacks; others may be applying them."""
        is_new = connection.execute("SELECT to_regclass('migration') IS NULL").fetchone() == (True,)
        done: dict[int, str] = {}
        if not is_new:
            done.update(connection.execute("SELECT number, name FROM migration").fetchall())
        try:
            return migrations.missing("postgres", done, phase)
        except SchemaTooNew as error:
            raise SchemaTooNew(f"{self._name} has {error}") from error

    def _apply_step(self, connection: _Connection, step: Step, now: datetime) -> None:
        """Apply a step, unless another server just did."""
        connection.execute(self._sql["begin_step"])
        connection.execute(self._sql["make_migration"])
        noted = {"number": step.number, "name": step.recorded, "now": rows.micros(now)}
        if connection.execute(self._sql["note_step"], noted).rowcount:
            connection.execute(step.script.encode())
        connection.execute("COMMIT")

    def found(self, database_id: str, now: datetime) -> tuple[str, int]:
        """Give this database's id and epoch, which a new one gets now."""
        with self.transaction() as tx:
            if not tx.query("history"):
                tx.execute("found_history", database_id=database_id, epoch=1, created_at=rows.micros(now))
            row = tx.query("history")[0]
            return row[0], row[1]

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _opened(self, connection: _Connection, began: Row) -> PostgresTransaction:
        return PostgresTransaction(connection, self._sql, began)

    # --- connections -----------------------------------------------------------------------------------------------

    def _begun(self, how: str) -> tuple[_Connection, Row]:
        """Begin on a connection that lies idle, or else on a new one; those that broke while they lay idle are dropped."""
        while (connection := self._taken()) is not None:
            try:
                return connection, self._begin(connection, how)
            except psycopg.Error:
                connection.close()
        connection = self._connect()
        try:
            return connection, self._begin(connection, how)
        except BaseException:
            connection.close()
            raise

    def _begin(self, connection: _Connection, how: str) -> Row:
        connection.transactions += 1
        if _is_time_to_take_stock(connection.transactions):
            connection.execute(self._sql["take_stock"], prepare=False)
        cursor = connection.execute(self._sql[how], prepare=False)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
        return row

    def _taken(self) -> _Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connect(self) -> _Connection:
        connection = _Connection.connect(self._conninfo, autocommit=True)
        connection.prepare_threshold = 2 if self._prepare else None
        return connection

    @contextmanager
    def _given_back(self, connection: _Connection) -> Iterator[None]:
        """Roll back what failed, and keep the connection for the next transaction if it is still good."""
        try:
            yield
        except (StorageFull, StorageUnavailable) as error:
            if isinstance(error, Conflict):
                _roll_back(connection)
            else:
                connection.close()  # the next one may find another host
            raise
        except BaseException:
            _roll_back(connection)
            raise
        finally:
            self._put_away(connection)

    def _put_away(self, connection: _Connection) -> None:
        good = not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE
        with self._lock:
            if good and not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    # --- trouble ---------------------------------------------------------------------------------------------------

    def _commit(self, connection: _Connection) -> None:
        """Commit, and see that it is durable.

        Raises:
            StorageUnavailable: it was rolled back.
            CommitUnknown: the connection broke, or there is no answer, or the server gave up waiting for the standby.
        """
        warnings: list[str] = []

        def warned(diagnostic: psycopg.errors.Diagnostic) -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                warnings.append(diagnostic.message_primary or "")

        connection.add_notice_handler(warned)
        try:
            done = _committed(connection.pgconn, self._patience.total_seconds())
        except psycopg.OperationalError as error:
            raise CommitUnknown(f"{self._name}: {error}") from error
        finally:
            connection.remove_notice_handler(warned)
        if done.status == ExecStatus.FATAL_ERROR:
            if connection.closed or done.error_field(DiagnosticField.SEVERITY_NONLOCALIZED) != b"ERROR":
                raise CommitUnknown(f"{self._name}: the connection was ended during commit")
            with self._told():
                raise errors.error_from_result(done)
        if warnings:
            raise CommitUnknown(f"{self._name}: {warnings[0]}")
        if done.command_status != b"COMMIT":
            raise StorageUnavailable(f"{self._name}: a statement of the transaction had failed, so it was rolled back")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell trouble in our own words."""
        try:
            yield
        except errors.DiskFull as error:
            raise StorageFull(f"{self._name}: {error}") from error
        except _IN_THE_WAY as error:
            raise Conflict(f"{self._name}: {error}") from error
        except errors.InsufficientPrivilege as error:
            raise StorageUnavailable(f"{self._name}: {error}") from error
        except _NOT_ITS_OWN_CONNECTION as error:
            raise StorageUnavailable(
                f"{self._name}: {error}; behind this pooler set SEATKEEPER_DATABASE_PREPARE=false"
            ) from error
        except _OUR_OWN_FAULT:
            raise
        except psycopg.Error as error:
            raise StorageUnavailable(f"{self._name}: {error}") from error


def _sent(parameters: dict[str, Any]) -> dict[str, Any]:
    """Give parameters as they can be sent. PostgreSQL knows no character 0: it is kept as U+FFFD, and looked for as that."""
    for name in ("asked", "rows"):
        text = parameters.get(name)
        if text is not None and "\\u0000" in text:
            parameters[name] = _NUL.sub(r"\1\\ufffd", text)
    return parameters


_NUL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")


def _is_time_to_take_stock(transactions: int) -> bool:
    """Tell whether to look if tables have doubled since PostgreSQL took stock of them.

    It does so itself once a minute at most. Until then it takes new tables for empty ones and reads all of them: measured, a
    batch that could take two milliseconds took half a second.
    """
    return transactions >= TAKES_STOCK_AT and transactions & (transactions - 1) == 0


def _committed(link: PGconn, patience: float) -> PGresult:
    """Send COMMIT and give the answer.

    No setting of the server's bounds how long it waits for the standby; so the driver's own way, which waits as long, isn't
    gone here.

    Raises:
        psycopg.OperationalError: the connection broke, or there was no answer within so many seconds.
    """
    link.send_query(b"COMMIT")
    deadline = time.monotonic() + patience
    with DefaultSelector() as ready:
        ready.register(link.socket, EVENT_READ)
        while link.is_busy():
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise psycopg.OperationalError("no answer to COMMIT: does it wait for a standby that is away?")
            link.consume_input()
    found = None
    while (result := link.get_result()) is not None:
        found = found or result
    if found is None:
        raise psycopg.OperationalError("the connection was lost during commit")
    return found


def _roll_back(connection: _Connection) -> None:
    try:
        connection.execute("ROLLBACK", prepare=False)
    except psycopg.Error:
        connection.close()


def _completed(conninfo: str) -> str:
    """Give a connection string with what the operator left unsaid."""
    told = conninfo_to_dict(conninfo)
    unsaid = {name: value for name, value in LOST_WITHIN.items() if name not in told}
    if "," in str(told.get("host", "")):
        unsaid.setdefault("target_session_attrs", told.get("target_session_attrs") or "read-write")
    return make_conninfo(conninfo, application_name=told.get("application_name") or "seatkeeper", **unsaid)


def public_name(conninfo: str) -> str:
    """Name the database in a sentence, without a password."""
    told = conninfo_to_dict(conninfo)
    return f"PostgreSQL {told.get('dbname') or ''} at {told.get('host') or 'localhost'}"


def _statements() -> Mapping[str, str]:
    """Give every statement, and those that lock once more in a form that doesn't wait."""
    sql = queries.load_pyformat(*SQL_FILES)
    now = {f"{name}_now": _LOCKS.sub(r"\g<0> NOWAIT", text) for name, text in sql.items() if name.startswith("lock_")}
    return {**sql, **now}


_LOCKS = re.compile(r"FOR NO KEY UPDATE( OF [a-z]+)?")
_LAST = "\U0010ffff"  # after every id
