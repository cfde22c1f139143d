"""How full a pool was, hour by hour, read from its facts: most and fewest seats held, refusals, seat-seconds.

Facts say when something became true, so what is read of an hour that is over is exact whenever it is read.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.tokens import HourOfUse

HOUR: Final = timedelta(hours=1)
MOST_HOURS: Final = 24 * 366  # of one report
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def by_hour(facts: Sequence[FactRecord], used: int, now: datetime) -> list[HourOfUse]:
    """Give the hours from the first of these facts on; `used` seats are held after the last of them."""
    by_start: dict[datetime, list[Move]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: fact.at):
        by_start[_hour_of(fact.at)].append((fact.at, _moved(fact), _denied(fact)))
    held = used - sum(moved for moves in by_start.values() for _, moved, _ in moves)
    hours: list[HourOfUse] = []
    start = min(by_start, default=now)
    while by_start and start <= now and len(hours) < MOST_HOURS:
        hour, held = _hour(start, by_start.get(start, []), held, min(now, start + HOUR))
        hours.append(hour)
        start += HOUR
    return hours


Move = tuple[datetime, int, int]  # when, by how many seats, how many refusals


def _hour(start: datetime, moves: Sequence[Move], held: int, end: datetime) -> tuple[HourOfUse, int]:
    """Give an hour, and how many seats are held at its end."""
    high = low = held
    seconds, since = 0.0, start
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
