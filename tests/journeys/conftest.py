"""What the journeys share: a running server of their own, and how often the crash test kills it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import CloudServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make crash` kill the server more often than `make test` does."""
    parser.addoption("--kills", type=int, default=60, help="how often test_crash.py kills the server")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    """Give a running server; whatever became of it, it is ended with the test."""
    with CloudServer(tmp_path / "data") as server:
        yield server
