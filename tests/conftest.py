"""What every test may use: the helpers in `tests/support`, and asyncio for asynchronous tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, which is what the server and the SDK use."""
    return "asyncio"
