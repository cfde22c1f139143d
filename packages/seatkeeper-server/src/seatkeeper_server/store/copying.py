"""Copies whole databases while they are in use: SQLite or PostgreSQL into a SQLite file, a SQLite file into PostgreSQL.

A copy is of one moment, made beside whoever works with the database, and compared with what it was made from, row by row
(`tables.py`). PostgreSQL is filled in one transaction, the schema included: it has everything, or nothing was ever there.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import psycopg
from psycopg import errors

from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
from seatkeeper_server.store import migrations, queries, tables
from seatkeeper_server.store.migrations import SchemaTooNew, Step
from seatkeeper_server.store.postgres import PostgresStore, PostgresTransaction
from seatkeeper_server.store.rows import Row
from seatkeeper_server.store.sqlite import SqliteStore, SqliteTransaction
from seatkeeper_server.store.tables import PostgresConnection, Sum, Summing, Table
from seatkeeper_server.store.transaction import SqlTransaction

_sql = queries.load_pyformat("moving.postgres.sql")


class CannotCopy(Exception):
    """It can't be copied, or the copy is not what it was made from. Nothing was kept; the message says what to do."""


class NotEmpty(CannotCopy):
    """There is something already where the copy should go. `history` is which database it is: its id and epoch."""

    def __init__(self, message: str, history: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.history = history


class NothingThere(CannotCopy):
    """There is nothing to be copied: no server and no sale has begun this database yet."""


class CopyDiffers(CannotCopy):
    """What was copied is not what was there. Nothing was kept; please report this."""


class Damaged(CannotCopy):
    """SQLite's own check of the file found it damaged."""


# --- into a SQLite file --------------------------------------------------------------------------------------------


class SqliteSource:
    """A SQLite database to be copied, which a server may be serving."""

    kind = "SQLite"

    def __init__(self, path: Path) -> None:
        self._path = path

    def copy_to(self, path: Path) -> None:
        """Write one moment of it into a new file.

        Raises:
            StorageFull, StorageUnavailable: it can't be read, or the file can't be written.
        """
        with closing(SqliteStore(self._path)) as store:
            connection = store._connected()  # the very settings the server runs with
            with sqlite_told(path):
                connection.execute("VACUUM INTO ?", (str(path),))


class PostgresSource:
    """A PostgreSQL database to be copied, which servers may be serving."""

    kind = "PostgreSQL"

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def copy_to(self, path: Path) -> None:
        """Write one moment of it into a new SQLite file of the same schema.

        Raises:
            NothingThere: it isn't one of Seatkeeper.
            SchemaTooNew: it has steps that this code doesn't know.
            StorageFull, StorageUnavailable: it can't be read, or the file can't be written.
        """
        with _postgres_told(self._store):
            connection = self._store._connect()
        with closing(connection), _postgres_told(self._store), sqlite_told(path), closing(apsw.Connection(str(path))) as file:
            connection.execute(_sql["begin_look"])
            if not _has(connection, "migration"):
                raise NothingThere(f"there is no Seatkeeper data in {self._store._name}")
            file.execute("PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON; BEGIN")  # it is synced when it is whole
            _make_schema(file, dict(connection.execute(_sql["steps"]).fetchall()), self._store._name)
            wanted = tables.tables(file)
            tables.check_columns(tables.postgres_columns(connection), wanted)
            for table in wanted:
                _take_over(connection, table, file)
            file.execute("COMMIT")


def _make_schema(file: apsw.Connection, done: Mapping[int, int], source: str) -> None:
    """Make the schema that a PostgreSQL database has; `done` is when it got each step."""
    file.execute(
        "CREATE TABLE migration (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
    )
    for step in _known("sqlite", done, source):
        file.execute(step.script)
        file.execute("INSERT INTO migration VALUES (?, ?, ?)", (step.number, step.recorded, done[step.number]))


def _take_over(connection: PostgresConnection, table: Table, file: apsw.Connection) -> None:
    own = tables.own_columns(table.name, _columns(file, table))
    columns = (*table.columns, *own)
    places = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {tables.quoted(table.name)} ({tables.listed(columns)}) VALUES ({places})"  # noqa: S608  the schema's names
    rows, more = Summing(tables.postgres_rows(connection, table)), tuple(own.values())
    file.executemany(insert, ((*row, *more) for row in rows))
    _compare(table, rows.sum, tables.summed(tables.sqlite_rows(file, table)))


def _columns(file: apsw.Connection, table: Table) -> list[str]:
    return [row[1] for row in file.execute(f"PRAGMA table_info({tables.quoted(table.name)})")]


# --- into PostgreSQL -----------------------------------------------------------------------------------------------


@contextmanager
def filled(store: PostgresStore, source: apsw.Connection, *, keep: bool = True) -> Iterator[PostgresTransaction]:
    """Fill an empty PostgreSQL database with all that is in a SQLite one, which is read as it stands in its transaction.

    The block gets the transaction in which that was done, to look at it or add to it; at its end everything is committed, or
    (`keep` is off) taken back. An exception takes it back too. A copy that has arrived has been compared, table by table.

    Raises:
        NotEmpty: there is data already, or something of other people's is in the way.
        CopyDiffers, OtherShape: it is not the same afterwards.
        SchemaTooNew: one of the two has steps of the schema that this code doesn't know.
        StorageFull, StorageUnavailable: nothing was kept.
        CommitUnknown: the connection was lost during commit.
    """
    with _postgres_told(store):
        connection = store._connect()
    with closing(connection):
        with _postgres_told(store):
            connection.execute(_sql["begin_fill"], prepare=False)
            wanted = tables.tables(source)
            _see_that_it_is_empty(connection, wanted, store._name)
            _bring_to(connection, dict(source.execute("SELECT number, applied_at FROM migration")), store)
            columns = tables.postgres_columns(connection)
            tables.check_columns(columns, wanted)
            for table in wanted:
                _fill(connection, table, columns[table.name], source)
                connection.execute(f"ANALYZE {tables.quoted(table.name)}".encode())  # what refers to it is checked by its index
            began = connection.execute(_sql["began"]).fetchone()
            assert began is not None
            yield PostgresTransaction(connection, store._sql, began)
        if keep:
            store._commit(connection)


def _see_that_it_is_empty(connection: PostgresConnection, wanted: Iterable[Table], name: str) -> None:
    if not _has(connection, "migration"):
        for table in wanted:
            if _has(connection, table.name):
                raise NotEmpty(f"{name} has a table {table.name} that isn't Seatkeeper's: make a database for Seatkeeper alone")
        return
    connection.execute(_sql["keep_others_out"])
    for table in wanted:
        if not _has(connection, table.name):
            continue  # an earlier schema, in which there is nothing yet
        one = connection.execute(f"SELECT 1 FROM {tables.quoted(table.name)} LIMIT 1".encode()).fetchone()  # noqa: S608  the schema's names
        if one is not None:
            found = connection.execute("SELECT database_id, epoch FROM history").fetchone()
            which = f"the database {found[0]}, epoch {found[1]}" if found else "data"
            raise NotEmpty(
                f"{name} has {which} in it already, and nothing is written over: make a new, empty one (createdb)", found
            )


def _bring_to(connection: PostgresConnection, done: Mapping[int, int], store: PostgresStore) -> None:
    """Bring the schema to the very steps that the source has; `done` is when it got each."""
    if not _has(connection, "migration"):
        connection.execute(store._sql["make_migration"])
    there = {row[0] for row in connection.execute(_sql["steps"])}
    if there - done.keys():
        raise SchemaTooNew(f"the schema in {store._name} is newer than what is copied into it: make a new, empty database")
    for step in _known("postgres", done, "what is to be copied"):
        if step.number not in there:
            connection.execute(step.script.encode())
            connection.execute(
                store._sql["note_step"], {"number": step.number, "name": step.recorded, "now": done[step.number]}
            )


def _known(database: str, done: Mapping[int, object], where: str) -> list[Step]:
    """Give the steps that were applied elsewhere, in order. Of an unknown one it can't be known what it added."""
    known = migrations.steps(database)
    if strange := done.keys() - known.keys():
        raise SchemaTooNew(f"{where} has schema {max(strange)}, this Seatkeeper knows {max(known)}: upgrade this Seatkeeper")
    return [known[number] for number in sorted(done)]


def _fill(connection: PostgresConnection, table: Table, columns: Iterable[str], source: apsw.Connection) -> None:
    own = tables.own_columns(table.name, columns)
    rows, more = Summing(map(_storable, tables.sqlite_rows(source, table))), tuple(own.values())
    names = tables.listed((*table.columns, *own))
    try:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {tables.quoted(table.name)} ({names}) FROM STDIN".encode()) as copy,
        ):
            for row in rows:
                copy.write_row((*row, *more))
    except psycopg.IntegrityError as error:
        raise CannotCopy(f"PostgreSQL refuses what is in the table {table.name}: {error.diag.message_primary}") from error
    _compare(table, rows.sum, tables.summed(tables.postgres_rows(connection, table)))


def _storable(row: Row) -> Row:
    """Give a row as PostgreSQL can keep it, which knows no character 0 (as `PostgresStore` does when it saves)."""
    if any(isinstance(value, str) and "\0" in value for value in row):
        return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)
    return row


def address(store: PostgresStore) -> str:
    """Name the database that a store is connected to, without a password.

    Raises:
        StorageUnavailable: it can't be reached.
    """
    with _postgres_told(store), closing(store._connect()) as connection:
        info = connection.info
        return f"PostgreSQL {info.dbname} at {info.host}:{info.port}"


def history_in(store: PostgresStore) -> tuple[str, int] | None:
    """Give which history a PostgreSQL database has, id and epoch; who is filling it just now is waited for.

    Raises:
        StorageUnavailable: it can't be reached, or somebody goes on filling it.
    """
    with _postgres_told(store), closing(store._connect()) as connection:
        connection.execute(_sql["begin_fill"], prepare=False)
        if not _has(connection, "history"):
            return None
        found = connection.execute("SELECT database_id, epoch FROM history").fetchone()
        return None if found is None else (found[0], found[1])


# --- what all of them need -----------------------------------------------------------------------------------------


def whole(tx: SqlTransaction) -> apsw.Connection:
    """Give what reads all of a SQLite database within a transaction."""
    if not isinstance(tx, SqliteTransaction):
        raise TypeError("only SQLite is read that way")
    return tx._connection


def history_of(connection: apsw.Connection) -> tuple[str, int] | None:
    """Give which history a SQLite database has, id and epoch; None if nothing has begun it yet."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    found = connection.execute("SELECT database_id, epoch FROM history").fetchone() if "history" in names else None
    return None if found is None else (found[0], found[1])


def damage(connection: apsw.Connection) -> list[str]:
    """Have SQLite check a whole file, rows that refer to nothing included; what it found."""
    told = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    strays = [f"a row of {row[0]} refers to no {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
    return ([] if told == ["ok"] else told) + strays[:10]


def _compare(table: Table, there: Sum, here: Sum) -> None:
    if there != here:
        raise CopyDiffers(f"the table {table.name} is not the same after copying: {there.rows} rows there, {here.rows} here")


def _has(connection: PostgresConnection, name: str) -> bool:
    return connection.execute(_sql["has_table"], {"name": name}).fetchone() == (True,)


@contextmanager
def _postgres_told(store: PostgresStore) -> Iterator[None]:
    """Tell trouble with PostgreSQL in our own words, what its user may not do included."""
    with store._told():
        try:
            yield
        except errors.InsufficientPrivilege as error:
            raise CannotCopy(
                f"{store._name}: {error.diag.message_primary}. Let the user that Seatkeeper connects as own the database"
            ) from error


@contextmanager
def sqlite_told(path: Path) -> Iterator[None]:
    """Tell trouble with a SQLite file in our own words.

    Raises:
        StorageFull, StorageUnavailable: instead of what SQLite says.
    """
    try:
        yield
    except apsw.FullError as error:
        raise StorageFull(f"{path}: {error}") from error
    except apsw.Error as error:
        raise StorageUnavailable(f"{path}: {error}") from error
