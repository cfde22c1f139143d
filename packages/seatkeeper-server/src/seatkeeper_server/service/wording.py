"""Numbers and moments in sentences for people."""

from datetime import UTC, datetime


def counted(number: int, what: str) -> str:
    """Say how many there are of something.

    >>> counted(1, "seat"), counted(3, "seat")
    ('1 seat', '3 seats')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def spoken(moment: datetime) -> str:
    """Say a moment to the second.

    >>> spoken(datetime(2026, 6, 1, 12, 30, tzinfo=UTC))
    '2026-06-01 12:30:00 UTC'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
