"""How full a pool was, hour by hour, read from its facts: most and fewest seats held, refusals, seat-seconds.

Facts say when something became true, so what is read of an hour that is over is exact whenever it is read.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.delegation import DayOfUse
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.tokens import HourOfUse

HOUR: Final = timedelta(hours=1)
MOST_HOURS: Final = 24 * 366  # of one report
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def by_hour(facts: Sequence[FactRecord], used: int, since: datetime, now: datetime) -> list[HourOfUse]:
    """Give the hours from a moment on; `used` seats are held after the last of these facts.

    The first and the last hour may be parts of one: what is reported of the same hour in two parts adds up to the whole.
    """
    by_start: dict[datetime, list[Move]] = defaultdict(list)
    for fact in sorted((fact for fact in facts if fact.recorded_at >= since), key=lambda fact: fact.at):
        at = max(fact.at, since)  # what became true before, and was noticed since
        by_start[_hour_of(at)].append((at, _moved(fact), _denied(fact)))
    held = used - sum(moved for moves in by_start.values() for _, moved, _ in moves)
    hours: list[HourOfUse] = []
    start = _hour_of(since)
    while start < now and len(hours) < MOST_HOURS:
        hour, held = _hour(start, by_start.get(start, []), held, max(start, since), min(now, start + HOUR))
        hours.append(hour)
        start += HOUR
    return hours


def by_day(hours: Sequence[HourOfUse]) -> list[DayOfUse]:
    """Add hours up to days; hours between the first and the last that nobody has reported are counted as missing."""
    known: dict[date, list[HourOfUse]] = defaultdict(list)
    for hour in hours:
        known[datetime.fromtimestamp(hour.hour, tz=UTC).date()].append(hour)
    first, last = (hours[0].hour, hours[-1].hour) if hours else (0, 0)
    days = []
    for day, some in sorted(known.items()):
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        expected = sum(first <= start + number * 3_600 <= last for number in range(24))
        days.append(
            DayOfUse(
                day=day,
                high=max(hour.high for hour in some),
                low=min(hour.low for hour in some),
                denials=sum(hour.denials for hour in some),
                seat_hours=round(sum(hour.seat_seconds for hour in some) / 3_600, 2),
                hours_missing=expected - len(some),
            )
        )
    return days


Move = tuple[datetime, int, int]  # when, by how many seats, how many refusals


def _hour(start: datetime, moves: Sequence[Move], held: int, since: datetime, end: datetime) -> tuple[HourOfUse, int]:
    """Give an hour, and how many seats are held at its end."""
    high = low = held
    seconds = 0.0
    for at, moved, _ in moves:
        seconds += held * (at - since).total_seconds()
        held, since = held + moved, at
        high, low = max(high, held), min(low, held)
    seconds += held * max(0.0, (end - since).total_seconds())
    return (
        HourOfUse(
            hour=int((start - _EPOCH).total_seconds()),
            high=high,
            low=low,
            denials=sum(denied for _, _, denied in moves),
            seat_seconds=round(seconds),
        ),
        held,
    )


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _moved(fact: FactRecord) -> int:
    """By how many seats a fact changed what is held."""
    taken = read_data(fact.data).get("taken", {})
    return int(taken.get(SEAT, 0))


def _denied(fact: FactRecord) -> int:
    if fact.kind == "Denied":
        return 1
    return int(read_data(fact.data).get("count", 0)) if fact.kind == "DeniedAgain" else 0
