"""The rows of a database, table by table, the same on every database: to be copied, and to be compared.

Which tables and columns there are is read from the schema, so that what a later step adds is copied without a word here. Rows
come in the order of their keys, and what they come to (`Sum`) is the same on every database, so two databases that have the
same sums have the same rows, counters and heads of chains among them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import apsw
import psycopg
from msgspec import msgpack

from seatkeeper_server.store.rows import Row

EACH_ITS_OWN = frozenset({"migration", "batch"})  # tables that say something of one database, and of no other
BEGINS_WITH: Mapping[tuple[str, str], object] = {  # columns that one kind of database has alone
    ("alive", "batch_id"): "",
    ("alive", "given"): 0,
}

_POSTGRES_TYPES = {"INTEGER": "int8", "TEXT": "text", "BLOB": "bytea"}
_encode = msgpack.Encoder().encode

PostgresConnection = psycopg.Connection[tuple[Any, ...]]  # rows of any types the schema has


class OtherShape(Exception):
    """Two databases that should have the same tables don't. Bring both up to date with the same version of Seatkeeper."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the columns that every database has of it, their types as SQLite calls them, and the key."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def select(self) -> str:
        """Give the statement that reads it, in the order of its key."""
        return f"SELECT {listed(self.columns)} FROM {quoted(self.name)} ORDER BY {listed(self.key)}"  # noqa: S608  the schema's names


@dataclass(frozen=True, slots=True)
class Sum:
    """What the rows of a table come to: how many, and the SHA-256 over all of them in order."""

    rows: int
    sha256: str


class Summing:
    """Passes rows on and adds them up."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self._count = 0
        self._hash = sha256()

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self._count += 1
            self._hash.update(_encode(row))
            yield row

    @property
    def sum(self) -> Sum:
        """Give what the rows have come to so far."""
        return Sum(self._count, self._hash.hexdigest())


def summed(rows: Iterable[Row]) -> Sum:
    """Give what rows come to."""
    summing = Summing(rows)
    for _ in summing:
        pass
    return summing.sum


# --- SQLite --------------------------------------------------------------------------------------------------------


def tables(connection: apsw.Connection) -> list[Table]:
    """Give the tables of a SQLite database, each after those that it refers to."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    wanted = [name for name in names if name not in EACH_ITS_OWN and not name.startswith("sqlite_")]
    refers_to = {name: _references(connection, name) for name in wanted}
    ordered: list[str] = []
    while len(ordered) < len(wanted):
        ordered.append(next(name for name in wanted if name not in ordered and refers_to[name] <= {*ordered, name}))
    return [_table(connection, name) for name in ordered]


def _references(connection: apsw.Connection, name: str) -> set[str]:
    return {row[2] for row in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})")}


def _table(connection: apsw.Connection, name: str) -> Table:
    info = list(connection.execute(f"PRAGMA table_info({quoted(name)})"))
    shared = [row for row in info if (name, row[1]) not in BEGINS_WITH]
    key = sorted((row for row in info if row[5]), key=lambda row: int(row[5]))
    return Table(
        name=name,
        columns=tuple(row[1] for row in shared),
        types=tuple(row[2] for row in shared),
        key=tuple(row[1] for row in key),
    )


def sqlite_rows(connection: apsw.Connection, table: Table) -> Iterator[Row]:
    """Give the rows of a table of SQLite."""
    return connection.execute(table.select)


def counted(connection: apsw.Connection) -> dict[str, int]:
    """Count the rows of every table of a SQLite database."""
    return {
        table.name: connection.execute(f"SELECT count(*) FROM {quoted(table.name)}").get  # noqa: S608  the schema's names
        for table in sorted(tables(connection), key=lambda table: table.name)
    }


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


def postgres_rows(connection: PostgresConnection, table: Table) -> Iterator[Row]:
    """Give the rows of a table of PostgreSQL."""
    with connection.cursor() as cursor, cursor.copy(f"COPY ({table.select}) TO STDOUT".encode()) as copy:
        copy.set_types([_POSTGRES_TYPES[name] for name in table.types])
        yield from copy.rows()


def postgres_columns(connection: PostgresConnection) -> dict[str, set[str]]:
    """Give the columns of every table of a PostgreSQL database, by the table's name."""
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
    ):
        found.setdefault(table, set()).add(column)
    return found


def check_columns(there: Mapping[str, set[str]], wanted: Iterable[Table]) -> None:
    """See that a database has these tables, with these columns and no others.

    Raises:
        OtherShape: it doesn't.
    """
    for table in wanted:
        columns = there.get(table.name, set())
        differing = (columns - own_columns(table.name, columns).keys()) ^ set(table.columns)
        if differing:
            raise OtherShape(f"the table {table.name} is not the same on both sides: {', '.join(sorted(differing))}")


# --- names ---------------------------------------------------------------------------------------------------------


def own_columns(table: str, columns: Iterable[str]) -> dict[str, object]:
    """Give those columns of a table that only this kind of database has, with what they begin with."""
    return {column: BEGINS_WITH[table, column] for column in columns if (table, column) in BEGINS_WITH}


def quoted(name: str) -> str:
    """Give a name as it is written in SQL, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Give names as they are written in SQL, with commas."""
    return ", ".join(map(quoted, names))
