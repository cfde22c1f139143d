"""When a local server tries its vendor's again: soon after a first failure, ever more seldom after further ones, up to an hour.

Seldom enough that thousands of servers don't overrun one that has just come back, and often enough that days of outage end
within the hour. `chance` is drawn evenly from 0 to 1, so that servers that failed together don't come back together.

>>> pause_after(failures=1, chance=1.0).total_seconds(), pause_after(failures=960, chance=1.0).total_seconds()
(15.0, 3600.0)
"""

from datetime import timedelta
from typing import Final

FIRST: Final = timedelta(seconds=15)
LONGEST: Final = timedelta(hours=1)
_MOST_DOUBLINGS: Final = 12  # a second, doubled so often, is more than an hour


def pause_after(failures: int, chance: float, every: timedelta = FIRST) -> timedelta:
    """Give how long to wait after so many failures in a row (at least 1): between a half and all of it, by chance.

    Who exchanges more often than every 15 seconds also tries again sooner: `every` is how often.
    """
    whole: timedelta = min(LONGEST, min(FIRST, every) * (1 << min(failures - 1, _MOST_DOUBLINGS)))
    return whole * (0.5 + chance / 2)


def pause_between(every: timedelta, chance: float) -> timedelta:
    """Give how long to wait after an exchange that went well: a tenth more or less, by chance."""
    return every * (0.9 + chance / 5)
