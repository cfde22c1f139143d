"""The public surface: what there is, and that the README's example is true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import seatkeeper
from seatkeeper.testing import FakeServer

README = Path(__file__).parents[2] / "packages/seatkeeper/README.md"


def test_the_public_names_are_these() -> None:
    """Adding one is a decision; taking one away is a broken promise."""
    assert seatkeeper.__all__ == [
        "AsyncSeat",
        "BorrowEnded",
        "Borrowed",
        "BorrowedSeatUnusable",
        "ClockSetBack",
        "ConfigurationError",
        "NoFeature",
        "NoSeat",
        "NotAuthorized",
        "OtherDevice",
        "Refused",
        "Seat",
        "SeatGone",
        "SeatLost",
        "SeatTakenOver",
        "SeatkeeperError",
        "ServerProblem",
        "ServerUnreachable",
        "UntrustedServer",
        "async_seat",
        "borrow",
        "refusal_text",
        "return_borrowed",
        "seat",
        "status",
    ]
    assert all(hasattr(seatkeeper, name) for name in seatkeeper.__all__)


def test_importing_loads_nothing_that_sends() -> None:
    """`import seatkeeper` at the top of a program costs it nothing until a seat is asked for."""
    loaded = "import sys, seatkeeper; print([m for m in ('httpx2', 'ssl', 'msgspec', 'cryptography') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy loading hides no typing error."""
    with pytest.raises(AttributeError, match="sit"):
        seatkeeper.sit  # noqa: B018


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("number", range(len(python_blocks(README.read_text()))))
def test_the_readmes_examples_run(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block runs as it stands, with the settings in the environment."""
    with FakeServer(seats=1, features={"render": 2}) as server:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        block = python_blocks(README.read_text())[number]
        exec(compile(block, f"README example {number + 1}", "exec"), {"__name__": "readme", "work": lambda: None})

    assert server.used == 0


async def test_the_wrong_kind_of_with_names_the_right_one() -> None:
    """`async with seat()` and `with async_seat()` are told apart in one sentence."""
    server = FakeServer()

    with pytest.raises(TypeError, match="async_seat"):
        async with seatkeeper.seat(**server.settings):
            pass
    with pytest.raises(TypeError, match=r"seatkeeper\.seat"), seatkeeper.async_seat(**server.settings):
        pass
    assert server.requests == []
