"""Local license servers, as a vendor sees them: who they are, and whether they are what they were.

A server may be *suspect*: its clock is behind what was recorded, its data were set back, or there seem to be two of it. What it
still serves then is said beforehand, in its grants (`patience`), and it is cleared by a fresh document from the vendor.
"""

from datetime import timedelta
from enum import StrEnum

LOCAL_SERVER = " (local license server)"  # after its name, where a share is listed among holders
DEFAULT_PATIENCE = timedelta(days=14)  # how long a suspect server goes on serving, with warnings
DEFAULT_SKEW = timedelta(days=1)  # by how much the clock of a server in a closed network may be off


class SiteState(StrEnum):
    """Whether a local server is believed."""

    OK = "ok"
    CLOCK = "clock-suspect"  # its clock is behind what it has recorded
    RESTORED = "restore-suspect"  # it has forgotten what it had signed or reported: its data were set back
    CLONED = "clone-suspect"  # there are two of it, as it seems


WARNED_AT = (50, 75, 90)  # percent of a grant's time
OVER = 100


def warned(passed: timedelta, whole: timedelta) -> int:
    """Tell which warning is due when so much of a grant's time has passed: 0, 50, 75 or 90 percent, or 100 when it is over."""
    if passed >= whole:
        return OVER
    return max((percent for percent in WARNED_AT if passed * 100 >= whole * percent), default=0)
