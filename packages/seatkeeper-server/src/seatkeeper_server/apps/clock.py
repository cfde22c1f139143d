"""A clock that never jumps: the wall clock read once, plus what the operating system counts since, suspend included."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _counter() -> Callable[[], int]:
    """Give the clock that counts through a suspend where there is one (Linux); elsewhere the monotonic one."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return time.monotonic_ns
    return lambda: time.clock_gettime_ns(boottime)


class SteadyClock:
    """Time in UTC that moves only forward within a process, whatever is done to the wall clock."""

    def __init__(self) -> None:
        self._count = _counter()
        self._boot_id = _read_boot_id()
        self._started = self._count()
        self._wall = datetime.now(UTC)

    def now(self) -> datetime:
        """Give the time."""
        return self._wall + timedelta(microseconds=(self._count() - self._started) // 1000)

    def boot(self) -> tuple[str, timedelta]:
        """Give the operating system's boot ("" where it can't be known) and the time it counts since."""
        return self._boot_id, timedelta(microseconds=self._count() // 1000)

    def shift(self, by: timedelta) -> None:
        """Let the clock run ahead of the wall clock by this much more."""
        self._wall += by


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
