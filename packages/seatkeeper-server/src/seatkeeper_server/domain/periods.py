"""Periods of a time zone: the moments at which its hours, days and months begin.

A day is what the people there call a day: 23 hours long in spring, 25 in autumn.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


class Period(StrEnum):
    """What usage is shown by."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def edges(since: datetime, until: datetime, period: Period, zone: tzinfo) -> list[datetime]:
    """Give two moments and, in order, all beginnings of a period between them, in UTC."""
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    found, at = [since], _next(since, period, zone)
    while at < until:
        found.append(at)
        at = _next(at, period, zone)
    return [*found, until] if until > since else []


def _next(moment: datetime, period: Period, zone: tzinfo) -> datetime:
    """Give the first beginning of a period after a moment."""
    local = moment.astimezone(zone)
    match period:
        case Period.HOUR:
            into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            return moment - into + HOUR
        case Period.DAY:
            return _midnight(local.date() + DAY, zone, moment)
        case Period.MONTH:
            return _midnight(_next_month(local.date()), zone, moment)


def _midnight(day: date, zone: tzinfo, after: datetime) -> datetime:
    """Give the moment a day begins at. Where clocks are set back at midnight, one has begun already when it does again."""
    begins = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return begins if begins > after else after + HOUR


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
