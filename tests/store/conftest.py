"""One contract, all stores."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from seatkeeper_server.store.sqlite import SqliteStore
from support import postgres
from support.house import START, AnyStore
from support.postgres import Cluster, HandTimedStore


class Clusters:
    """The PostgreSQL servers of this run, each started when it is first wanted, with an empty schema to copy."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._running: dict[str, Cluster] = {}

    def __getitem__(self, name: str) -> Cluster:
        if name not in self._running:
            cluster = self._running[name] = self._opened.enter_context(postgres.running(postgres.servers()[name]))
            cluster.admin("CREATE DATABASE empty")
            store = HandTimedStore(cluster.uri("empty"))
            store.migrate(START)
            store.close()
        return self._running[name]


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    """Each PostgreSQL there is."""
    with ExitStack() as opened:
        yield Clusters(opened)


@pytest.fixture(params=sorted(postgres.servers()))
def cluster(request: pytest.FixtureRequest, clusters: Clusters) -> Cluster:
    """Each PostgreSQL in turn."""
    return clusters[request.param]


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """How to connect to a database with the schema and nothing in it."""
    uri = cluster.database("empty")
    yield uri
    cluster.drop(uri)


@pytest.fixture(params=["memory", "disk", *sorted(postgres.servers())])
def store(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[AnyStore]:
    """Each store that exists."""
    if request.param in ("memory", "disk"):
        lite = SqliteStore(None if request.param == "memory" else tmp_path / "seatkeeper.db")
        yield lite
        lite.close()
        return
    uri = clusters[request.param].database("empty")
    store = HandTimedStore(uri)
    yield store
    store.close()
    clusters[request.param].drop(uri)
