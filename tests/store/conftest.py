"""One contract, all stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import postgres, stores
from support.house import AnyStore
from support.postgres import Cluster, Clusters


@pytest.fixture(params=stores.ALL)
def store(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[AnyStore]:
    """Each store that exists."""
    with stores.opened(request.param, tmp_path, clusters) as store:
        yield store


@pytest.fixture(params=sorted(postgres.servers()))
def cluster(request: pytest.FixtureRequest, clusters: Clusters) -> Cluster:
    """Each PostgreSQL in turn."""
    return clusters[request.param]


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """How to connect to a database with the schema and nothing in it."""
    with cluster.lent() as uri:
        yield uri
