"""A house on each kind of database: what a server decides with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import stores
from support.house import AnyStore
from support.postgres import Clusters


@pytest.fixture(params=stores.ONE_OF_EACH)
def store(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[AnyStore]:
    """A store of each kind."""
    with stores.opened(request.param, tmp_path, clusters) as store:
        yield store
