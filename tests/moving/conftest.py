"""A vendor's lived-in data, once a run and copied for each test; an empty PostgreSQL database; what a database comes to."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path

import apsw
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from seatkeeper_server.store import tables
from seatkeeper_server.store.copying import filled
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.tables import Sum
from tests.support import estate as estates
from tests.support import postgres
from tests.support.cutting import line
from tests.support.estate import Estate
from tests.support.postgres import Cluster, Clusters

Sums = dict[str, Sum]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """The lived-in data that all tests begin with."""
    return estates.lived_in(tmp_path_factory.mktemp("original") / "vendor")


@pytest.fixture
def estate(original: Estate, tmp_path: Path) -> Estate:
    """A vendor's data directory in which much has happened, and the programs of his customers."""
    data = tmp_path / "vendor"
    shutil.copytree(original.data, data)
    clock, drawer, programs = deepcopy((original.clock, original.drawer, original.programs))
    return Estate(data, original.seal, clock, drawer, programs, original.sold)


@pytest.fixture
def cluster(clusters: Clusters) -> Cluster:
    """A PostgreSQL."""
    return clusters[sorted(postgres.servers())[0]]


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    """The URL of a database in which there is nothing at all."""
    with cluster.empty() as url:
        yield url


@pytest.fixture
def on_postgres(estate: Estate, cluster: Cluster) -> Iterator[str]:
    """The URL of a PostgreSQL database with the same in it."""
    with cluster.empty() as url:
        with closing(PostgresStore(url)) as store, closing(apsw.Connection(str(estate.path))) as source, filled(store, source):
            pass
        yield url


def sums_of_sqlite(path: Path) -> Sums:
    """Give what every table of a SQLite file comes to."""
    with closing(apsw.Connection(str(path))) as connection:
        return {table.name: tables.summed(tables.sqlite_rows(connection, table)) for table in tables.tables(connection)}


def sums_of_postgres(url: str, like: Path) -> Sums:
    """Give what every table of a PostgreSQL database comes to, of those that a SQLite file has."""
    with closing(apsw.Connection(str(like))) as file, psycopg.connect(url) as connection:
        return {table.name: tables.summed(tables.postgres_rows(connection, table)) for table in tables.tables(file)}


def tables_in(url: str) -> list[str]:
    """Give the tables that a PostgreSQL database has."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        return sorted(row[0] for row in rows)


Damage = Callable[[str], None]


@pytest.fixture
def tamper(estate: Estate) -> Damage:
    """What changes the database behind everybody's back."""

    def run(sql: str) -> None:
        with closing(apsw.Connection(str(estate.path))) as connection:
            connection.execute(sql)

    return run


def names(folder: Path) -> list[str]:
    """Give what lies in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def cut_line(cluster: Cluster, url: str, lost: bool) -> Iterator[str]:
    """Give another URL for a database: the connection is cut as COMMIT is sent over it, which arrives unless `lost`."""
    name = str(conninfo_to_dict(url)["dbname"])
    with line(cluster.directory) as laid:
        laid.cut_at, laid.lost = b"COMMIT\0", lost
        laid.after.set()
        yield f"postgresql://postgres@127.0.0.1:{laid.port}/{name}"
