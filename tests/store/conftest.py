"""One contract, all stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seatkeeper_server.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    """Each store that exists."""
    store = SqliteStore(None if request.param == "memory" else tmp_path / "seatkeeper.db")
    yield store
    store.close()
