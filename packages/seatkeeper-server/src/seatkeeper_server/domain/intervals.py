"""Intervals as people write them: `90s`, `15m`, `12h`, `30d`. A whole number and one unit; nothing else is guessed at.

>>> read_interval("15m")
datetime.timedelta(seconds=900)
>>> written(read_interval("120s"))
'2m'
"""

import re
from datetime import timedelta

from seatkeeper_server.domain.quoting import quoted

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NAMES = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_WRITTEN = re.compile(r"(\d{1,12})([smhd])", re.ASCII)
LONGEST = 36_500 * 86_400  # seconds: a century


def read_interval(text: str) -> timedelta:
    """Read an interval.

    Raises:
        ValueError: it is written otherwise, or longer than a century.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{quoted(text)} is no interval: write a whole number and a unit, such as 90s, 15m, 12h or 30d")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST:
        raise ValueError(f"{quoted(text)} is longer than a century")
    return timedelta(seconds=seconds)


def written(interval: timedelta) -> str:
    """Write an interval in the largest unit that keeps it whole; what is finer than a second is left out."""
    unit, count = unit_and_count(interval)
    return f"{count}{unit[0]}"


def unit_and_count(interval: timedelta) -> tuple[str, int]:
    """Give an interval as the contract's documents do: `("minute", 2)`; nothing at all is `("second", 0)`."""
    seconds = int(interval.total_seconds())
    for unit in "dhm":
        if seconds and seconds % _SECONDS[unit] == 0:
            return _NAMES[unit], seconds // _SECONDS[unit]
    return _NAMES["s"], seconds
