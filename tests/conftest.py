"""What every test may use: the helpers in `tests/support`, and asyncio for asynchronous tests."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# In the suite hypothesis tries the same examples every time; to search for others: pytest --hypothesis-profile=search
settings.register_profile("search", derandomize=False)
settings.register_profile("suite", derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, which is what the server and the SDK use."""
    return "asyncio"


@pytest.fixture(scope="session")
def clusters() -> Iterator[Any]:
    """Each PostgreSQL there is to test with, by name, started when it is first wanted (`support.postgres.Clusters`)."""
    from support.postgres import Clusters  # here, since most tests need none

    with ExitStack() as opened:
        yield Clusters(opened)
