"""Usage: how full a pool was, who was in it, and who would have been, as folds over what happened.

What happened is cut into *slots* of a quarter of an hour, in UTC: of every right the most and the fewest that were held, how
much for how long, and how many at the slot's end. All time zones in use are whole quarters from UTC, so that hours, days and
months of any zone are made of whole slots. A slot in which nothing moved needs no row: it ends as it began.

Nothing in here depends on the order in which facts become known. What is true of a moment is told by the facts of that
moment; who learns of one late folds again from its slot on.

A demand is one wish for a right that was refused, however often it was repeated: it ends with a grant to the same holder, or
with his last try.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

from msgspec import UNSET, Struct, UnsetType

SLOT: Final = timedelta(minutes=15)
PATIENCE: Final = timedelta(hours=1)  # a refusal so long after the last one of the same holder is another demand
MICROSECOND: Final = timedelta(microseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Held = int  # of a right, times microseconds: whole numbers add up exactly


class Move(Struct, frozen=True):
    """By how much something changed what is held, and to how much it changed what is bought (None: any number), by right."""

    at: datetime
    taken: Mapping[str, int] = {}
    bought: Mapping[str, int | None] = {}


class Level(Struct, frozen=True):
    """How much of a right is held, of how many bought."""

    amount: int = 0
    bought: int | None = None

    @property
    def over(self) -> int:
        """How much more is held than was bought."""
        return 0 if self.bought is None else max(0, self.amount - self.bought)


class Slot(Struct, frozen=True):
    """What became of a right in a slot in which it moved. `held` and `over` are sums over time; `level` is how it ended."""

    right: str
    start: datetime
    high: int
    low: int
    held: Held
    over: Held
    level: Level


def slot_of(moment: datetime) -> datetime:
    """Give the beginning of the slot that a moment lies in."""
    return moment - (moment - EPOCH) % SLOT


def slots(before: Mapping[str, Level], moves: Iterable[Move]) -> list[Slot]:
    """Cut moves into slots. `before` is how each right stood when the slot of the first of them began.

    Moves of one moment are taken in the order they are given in.
    """
    by_right: dict[str, list[tuple[datetime, int, int | UnsetType | None]]] = defaultdict(list)
    for move in moves:
        for right, amount in move.taken.items():
            by_right[right].append((move.at, amount, UNSET))
        for right, bought in move.bought.items():
            by_right[right].append((move.at, 0, bought))
    found = []
    for right, its in sorted(by_right.items()):
        level = before.get(right, Level())
        its.sort(key=lambda each: each[0])
        for start, within in groupby(its, key=lambda each: slot_of(each[0])):
            slot = _slot(right, start, level, within)
            found.append(slot)
            level = slot.level
    return found


def _slot(right: str, start: datetime, level: Level, moves: Iterable[tuple[datetime, int, int | UnsetType | None]]) -> Slot:
    high = low = level.amount
    held = over = 0
    since = start
    for at, amount, bought in moves:
        lasted = (at - since) // MICROSECOND
        held, over, since = held + level.amount * lasted, over + level.over * lasted, at
        level = Level(level.amount + amount, level.bought if bought is UNSET else bought)
        high, low = max(high, level.amount), min(low, level.amount)
    lasted = (start + SLOT - since) // MICROSECOND
    return Slot(right, start, high, low, held + level.amount * lasted, over + level.over * lasted, level)


# --- spans: hours, days, months ------------------------------------------------------------------------------------


class Span(Struct, frozen=True):
    """What became of a right from one moment to another. `mean` is over that time; `bought` is as it was at the end."""

    start: datetime
    end: datetime
    high: int
    low: int
    held: Held
    over: Held
    bought: int | None

    @property
    def hours(self) -> float:
        """How much was held, in hours of one."""
        return self.held * MICROSECOND / timedelta(hours=1)

    @property
    def hours_over(self) -> float:
        """How much more was held than was bought, in hours of one."""
        return self.over * MICROSECOND / timedelta(hours=1)

    @property
    def mean(self) -> float:
        """How much was held on average."""
        return self.held * MICROSECOND / (self.end - self.start)


def spans(before: Level, found: Sequence[Slot], edges: Sequence[datetime]) -> list[Span]:
    """Give what became of a right between each of these moments and the next.

    `found` are its slots from the first edge on, in order; `before` is how it stood there. All edges but the last begin a
    slot. Of a slot that an edge lies in, nothing may have moved after it: that edge is now.
    """
    made: list[Span] = []
    pieces = _pieces(before, found, edges)
    for start, end in pairwise(edges):
        its = next(pieces)
        made.append(
            Span(
                start=start,
                end=end,
                high=max(piece.high for piece in its),
                low=min(piece.low for piece in its),
                held=sum(piece.held for piece in its),
                over=sum(piece.over for piece in its),
                bought=its[-1].level.bought,
            )
        )
    return made


def _pieces(level: Level, found: Sequence[Slot], edges: Sequence[datetime]) -> Iterator[list[Slot]]:
    """Give the slots between each edge and the next, and what lies between them, where nothing moved."""
    at = 0
    for start, end in pairwise(edges):
        its, since = list[Slot](), start
        while at < len(found) and found[at].start < end:
            slot = found[at]
            if since < slot.start:
                its.append(_still(level, since, slot.start))
            its.append(slot if slot.start + SLOT <= end else _cut(slot, end))
            level, since, at = slot.level, min(end, slot.start + SLOT), at + 1
        if since < end:
            its.append(_still(level, since, end))
        yield its


def _still(level: Level, start: datetime, end: datetime) -> Slot:
    lasted = (end - start) // MICROSECOND
    return Slot("", start, level.amount, level.amount, level.amount * lasted, level.over * lasted, level)


def _cut(slot: Slot, now: datetime) -> Slot:
    """Give what has been of a slot that isn't over; nothing has moved in what is left of it."""
    left = (slot.start + SLOT - now) // MICROSECOND
    level = slot.level
    return Slot(
        slot.right, slot.start, slot.high, slot.low, slot.held - level.amount * left, slot.over - level.over * left, level
    )


# --- demands -------------------------------------------------------------------------------------------------------


class Demand(Struct, frozen=True):
    """A wish for a right that was refused: `tries` times, from its first refusal to its last; granted at `met_at`, or never."""

    holder: int
    right: str
    wanted: int
    since: datetime
    last: datetime
    tries: int = 1
    met_at: datetime | None = None

    @property
    def until(self) -> datetime:
        """Until when it was waited for, as far as anybody knows."""
        return self.last if self.met_at is None else self.met_at

    @property
    def waited(self) -> timedelta:
        """How long it was waited for."""
        return self.until - self.since

    def goes_on(self, at: datetime) -> bool:
        """Whether something its holder does at this moment still belongs to it."""
        return self.met_at is None and at - self.last <= PATIENCE

    def refused(self, at: datetime, wanted: int, times: int, until: datetime) -> "Demand":
        """Give what it is after it was refused again, so many times until a moment."""
        return Demand(
            self.holder, self.right, max(self.wanted, wanted), min(self.since, at), max(self.last, until), self.tries + times
        )

    def met(self, at: datetime) -> "Demand":
        """Give what it is now that it was granted."""
        return Demand(self.holder, self.right, self.wanted, self.since, self.last, self.tries, max(self.since, at))


class Waiting(Struct, frozen=True):
    """How many seats were waited for from one moment to another: the most at once, and for how long in sum."""

    most: int
    waited: Held

    @property
    def hours(self) -> float:
        """For how long was waited, in hours of one."""
        return self.waited * MICROSECOND / timedelta(hours=1)


def waiting(demands: Sequence[Demand], edges: Sequence[datetime]) -> list[Waiting]:
    """Give how much was waited for between each edge and the next. A demand of one try counts at that moment, for no time."""
    within: list[list[Demand]] = [[] for _ in edges[1:]]
    for demand in demands:
        first, last = bisect_right(edges, demand.since) - 1, bisect_right(edges, demand.until) - 1
        for place in range(max(first, 0), min(last, len(within) - 1) + 1):
            within[place].append(demand)
    return [
        Waiting(_most(its, start, end), sum(_lasted(demand, start, end) for demand in its))
        for its, start, end in zip(within, edges, edges[1:], strict=False)
    ]


def _lasted(demand: Demand, start: datetime, end: datetime) -> Held:
    lasted = min(demand.until, end) - max(demand.since, start)
    return demand.wanted * (max(timedelta(0), lasted) // MICROSECOND)


def _most(demands: Sequence[Demand], start: datetime, end: datetime) -> int:
    """Give the most that was waited for at once. Who was granted at a moment waits no more then; who gave up did."""
    steps: list[tuple[datetime, int, int]] = []
    for demand in demands:
        steps.append((max(demand.since, start), 1, demand.wanted))
        steps.append(
            (min(demand.until, end), 0 if demand.met_at is not None and demand.until > demand.since else 2, -demand.wanted)
        )
    most = level = 0
    for _, _, step in sorted(steps):
        level += step
        most = max(most, level)
    return most


# --- moments -------------------------------------------------------------------------------------------------------


def covering(edges: Sequence[datetime], moment: datetime) -> int | None:
    """Give the place of the span that a moment lies in; None if in none."""
    place = bisect_right(edges, moment) - 1
    return place if 0 <= place < len(edges) - 1 else None
