"""Time for a program that may be suspended, and whose wall clock may be set.

An `Instant` is a reading of two clocks at once. What has elapsed between two instants is the larger of what each clock
says: a boot clock stands still while a virtual machine is paused, a wall clock may be set back; neither can make a lease
look longer than it is (design, decision 8).
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks, in seconds; `wall` counts from 1970, `boot` from wherever the system likes."""

    boot: float
    wall: float

    def since(self, earlier: "Instant") -> float:
        """Give the seconds elapsed since an earlier instant: the larger of what the two clocks say, never negative."""
        return max(self.boot - earlier.boot, self.wall - earlier.wall, 0.0)

    def later(self, seconds: float) -> "Instant":
        """Give the instant this many seconds later on both clocks."""
        return Instant(boot=self.boot + seconds, wall=self.wall + seconds)

    @property
    def moment(self) -> datetime:
        """The wall clock's moment, UTC."""
        return datetime.fromtimestamp(self.wall, UTC)


LONG_AGO: Final = Instant(boot=0.0, wall=0.0)  # before anything that could still be believed


def _boot_clock() -> Callable[[], float]:
    """Choose the clock that counts through a suspend, where there is one.

    Linux has CLOCK_BOOTTIME; on macOS CLOCK_MONOTONIC is the one that counts while asleep; on Windows `time.monotonic`
    does. Elsewhere a suspend is noticed by the wall clock alone.
    """
    name = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    clock = getattr(time, name, None)
    if clock is None or not hasattr(time, "clock_gettime"):
        return time.monotonic
    return lambda: time.clock_gettime(clock)


_boot = _boot_clock()


def now() -> Instant:
    """Read both clocks."""
    return Instant(boot=_boot(), wall=time.time())
