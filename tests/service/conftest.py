"""A house on a SQLite file: what a server decides with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seatkeeper_server.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store on disk."""
    store = SqliteStore(tmp_path / "seatkeeper.db")
    yield store
    store.close()
