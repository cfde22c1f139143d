"""Reading the clocks."""

from seatkeeper import _clock
from seatkeeper._clock import Instant


def test_time_never_runs_backwards() -> None:
    """Of two readings, the later is not before the earlier."""
    earlier = _clock.now()

    assert _clock.now().since(earlier) >= 0.0


def test_elapsed_time_is_never_negative() -> None:
    """If both clocks were set back, nothing has elapsed."""
    assert Instant(5.0, 5.0).since(Instant(9.0, 9.0)) == 0.0
