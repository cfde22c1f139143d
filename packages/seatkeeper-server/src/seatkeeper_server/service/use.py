"""How full a pool was, hour by hour, read from its facts: most and fewest seats held, refusals, seat-seconds.

Facts say when something became true, so what is read of an hour that is over is exact whenever it is read.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Final

from seatkeeper_server.domain.pool import settle
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.catalogue import Bought, Catalogue
from seatkeeper_server.service.delegation import DayOfUse
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.service.tidying import FACTS_KEPT
from seatkeeper_server.statements import HourOfUse

HOUR: Final = timedelta(hours=1)
MOST_HOURS: Final = 24 * 250  # of one report, of all entitlements together
AT_ONCE: Final = 2_000  # facts read at once

_BEYOND: Final = 2**63 - 1  # no fact has this number
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def by_hour(facts: Sequence[FactRecord], used: int, since: datetime, now: datetime) -> list[HourOfUse]:
    """Give the hours from one moment to another; `used` seats are held after the last of these facts.

    Of the first and the last hour it is what lies between the moments, so that parts of one hour add up. A fact may say that
    something became true before the first moment: it counts from there.
    """
    within = ((min(max(at, since), now), moved, denied) for at, moved, denied in map(_move, facts))
    return _hours(within, used, since, now)


def of_pool(catalogue: Catalogue, bought: Bought, since: datetime, until: datetime, now: datetime) -> list[HourOfUse]:
    """Give the hours of an entitlement between two moments, as far as they have been and its facts are kept.

    What time has ended although nobody has settled it yet is counted as ended: asking changes nothing, and what is told of an
    hour stays so when it is settled.
    """
    since, until = max(since, _known_since(catalogue, bought, now)), min(until, now)
    if since >= until:
        return []
    places = {place.holding.key: place.holding for place in catalogue.places(bought.key, now)}
    pool, ended = settle(bought.pool.seeing(places), now)
    unsettled = ((fact.at, fact.taken.get(SEAT, 0), 0) for fact in ended)
    used, moves = pool.seats.used, list[Move]()
    for move in chain(unsettled, map(_move, _back_to(catalogue, bought.key, since))):
        if until < now and move[0] >= until:
            used -= move[1]
        elif move[0] >= since:
            moves.append(move)
    return _hours(moves, used, since, until)


def _known_since(catalogue: Catalogue, bought: Bought, now: datetime) -> datetime:
    """Give the moment from which on an entitlement's facts are kept: the first ones may have been pruned."""
    first = next(iter(catalogue.chain(bought.key, 0, _BEYOND, 1)), None)
    if first is None:
        return max(bought.created_at, now - FACTS_KEPT)
    return bought.created_at if first.number == 1 else first.recorded_at


def _back_to(catalogue: Catalogue, key: PoolKey, since: datetime) -> Iterator[FactRecord]:
    """Give the facts of a chain, the newest first, back to the last one that was written down before a moment.

    They are read page by page from its end: how long a chain is doesn't matter.
    """
    before = _BEYOND
    while page := catalogue.chain_back(key, before, AT_ONCE):
        for fact in page:
            yield fact
            if fact.recorded_at < since:
                return
        before = page[-1].number


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


def _hours(within: Iterable[Move], used: int, since: datetime, now: datetime) -> list[HourOfUse]:
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


def _move(fact: FactRecord) -> Move:
    return fact.at, _moved(fact), _denied(fact)


def _moved(fact: FactRecord) -> int:
    """By how many seats a fact changed what is held."""
    taken = read_data(fact.data).get("taken", {})
    return int(taken.get(SEAT, 0))


def _denied(fact: FactRecord) -> int:
    if fact.kind == "Denied":
        return 1
    return int(read_data(fact.data).get("count", 0)) if fact.kind == "DeniedAgain" else 0
