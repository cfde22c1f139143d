"""How full a pool was, hour by hour, read from its facts: most and fewest seats held, refusals, seat-seconds.

Facts say when something became true, so what is read of an hour that is over is exact whenever it is read.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.delegation import DayOfUse
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.statements import HourOfUse

HOUR: Final = timedelta(hours=1)
MOST_HOURS: Final = 24 * 250  # of one report, of all entitlements together
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def by_hour(facts: Sequence[FactRecord], used: int, since: datetime, now: datetime) -> list[HourOfUse]:
    """Give the hours from one moment to another; `used` seats are held after the last of these facts.

    Of the first and the last hour it is what lies between the moments, so that parts of one hour add up. A fact may say that
    something became true before the first moment: it counts from there.
    """
    within = ((min(max(fact.at, since), now), _moved(fact), _denied(fact)) for fact in facts)
    moves = deque(sorted(within, key=lambda move: move[0]))
    held = used - sum(moved for _, moved, _ in moves)
    hours: list[HourOfUse] = []
    start = since
    while moves or start < now:
        end = min(now, hour_of(start) + HOUR)
        its = [moves.popleft() for _ in range(sum(at < end or end == now for at, _, _ in moves))]
        hour, held = _hour(start, its, held, end)
        hours.append(hour)
        start = end
    return hours


def cut(facts: Sequence[FactRecord], until: datetime) -> tuple[Sequence[FactRecord], Sequence[FactRecord]]:
    """Part facts, in the order of their numbers, where they reach a moment."""
    first = next((n for n, fact in enumerate(facts) if fact.at >= until), len(facts))
    return facts[:first], facts[first:]


def moved(facts: Sequence[FactRecord]) -> int:
    """Tell by how many seats facts changed what is held."""
    return sum(map(_moved, facts))


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


def _hour(start: datetime, moves: Sequence[Move], held: int, end: datetime) -> tuple[HourOfUse, int]:
    """Give an hour or a part of one, and how many seats are held at its end."""
    high = low = held
    seconds, since = 0.0, start
    for at, change, _ in moves:
        seconds += held * (at - since).total_seconds()
        held, since = held + change, at
        high, low = max(high, held), min(low, held)
    seconds += held * (end - since).total_seconds()
    return (
        HourOfUse(
            hour=int((hour_of(start) - _EPOCH).total_seconds()),
            high=high,
            low=low,
            denials=sum(denied for _, _, denied in moves),
            seat_seconds=round(seconds),
        ),
        held,
    )


def hour_of(moment: datetime) -> datetime:
    """Give the beginning of the hour that a moment lies in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _moved(fact: FactRecord) -> int:
    """By how many seats a fact changed what is held."""
    taken = read_data(fact.data).get("taken", {})
    return int(taken.get(SEAT, 0))


def _denied(fact: FactRecord) -> int:
    if fact.kind == "Denied":
        return 1
    return int(read_data(fact.data).get("count", 0)) if fact.kind == "DeniedAgain" else 0
