"""What people and programs ask about usage: how full it was, who was there, who was refused, how many seats would be right.

Facts have to be rolled up before (`usage.roll_up`). A report is as of its `until`, which is never later than now; of a quarter
of an hour that isn't over it is what has been.

Two numbers are given for what was refused. `denials` counts refusals, one by one. A *demand* is what a person would call one
wish: whoever asks again and again within an hour wants one seat. It was waited for from the first refusal to the grant or to
the last try: at least so long, since nobody knows how much longer who gave up would have waited.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from io import StringIO
from math import ceil
from typing import Final

from seatkeeper_server.domain.periods import Period, edges
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.domain.usage import MICROSECOND, Demand, Span, Waiting, covering, slot_of, spans, waiting
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.usage_book import Stay, UsageBook

NOT_KNOWN: Final = ""  # under this name goes who said nothing of himself, or was erased


class By(StrEnum):
    """What people are grouped by."""

    HOLDER = "holder"
    USER = "user"
    HOST = "host"
    GROUP = "group"
    PROJECT = "project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: from when to when, by which periods of which zone, of which right."""

    since: datetime
    until: datetime
    period: Period
    zone: tzinfo
    right: str = SEAT

    def edges(self, now: datetime) -> list[datetime]:
        """Give the moments between which there is an answer: from the beginning of a slot to now at most."""
        until = now if self.until >= now else slot_of(self.until)
        return edges(slot_of(self.since), until, self.period, self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodOfUse:
    """A period: what was held, what was refused, what was waited for."""

    span: Span
    waiting: Waiting
    denials: Mapping[str, int]  # by rule
    came: int
    used: int

    @property
    def needed(self) -> int:
        """How many would have been taken had everybody been served: the most that were held, and the most that were waited for.

        Who waits for a seat does so because all are held; so both are of the same time. Of a feature somebody may wait for four
        while two are free: there it is an upper bound.
        """
        return self.span.high + self.waiting.most


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfRight:
    """The usage of one right of an entitlement, period by period. `demands` are those of the whole time."""

    right: str
    periods: Sequence[PeriodOfUse]
    demands: Sequence[Demand] = field(default_factory=tuple)

    @property
    def met(self) -> list[Demand]:
        """The demands that were granted after they had been refused."""
        return [demand for demand in self.demands if demand.met_at is not None]

    @property
    def unmet(self) -> list[Demand]:
        """The demands that never were."""
        return [demand for demand in self.demands if demand.met_at is None]

    @property
    def high(self) -> int:
        """The most that were held."""
        return max((one.span.high for one in self.periods), default=0)

    @property
    def low(self) -> int:
        """The fewest that were held."""
        return min((one.span.low for one in self.periods), default=0)

    @property
    def needed(self) -> int:
        """How many would have been taken had everybody been served."""
        return max((one.needed for one in self.periods), default=0)

    @property
    def mean(self) -> float:
        """How many were held on average."""
        lasted = sum((one.span.end - one.span.start for one in self.periods), timedelta(0))
        return sum(one.span.held for one in self.periods) * MICROSECOND / lasted if lasted else 0.0

    @property
    def denials(self) -> Mapping[str, int]:
        """How many refusals there were, by rule."""
        return sum((Counter(one.denials) for one in self.periods), Counter[str]())

    def enough_for(self, share: float) -> int:
        """Give how many would have been enough in this share of the periods: 0.95 of them, say."""
        ordered = sorted(one.needed for one in self.periods)
        return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0


def usage_of(reader: UsageBook, key: PoolKey, asked: Asked, now: datetime) -> UsageOfRight:
    """Give the usage of a right, period by period."""
    moments = asked.edges(now)
    if not moments:
        return UsageOfRight(right=asked.right, periods=())
    since, until = moments[0], moments[-1]
    found = spans(reader.level(key, asked.right, since), reader.slots(key, asked.right, since, until), moments)
    counted = [Counter[tuple[str, str]]() for _ in found]
    for count in reader.counts(key, since, until):
        if count.right == asked.right and (place := covering(moments, count.start)) is not None:
            counted[place][count.what, count.rule] += count.count
    demands = [demand for demand in reader.demands(key, since, until) if demand.right == asked.right]
    periods = [
        PeriodOfUse(
            span=span,
            waiting=waited,
            denials={rule: times for (what, rule), times in sorted(its.items()) if what == "denied"},
            came=its["came", ""],
            used=its["used", ""],
        )
        for span, waited, its in zip(found, waiting(demands, moments), counted, strict=True)
    ]
    return UsageOfRight(right=asked.right, periods=periods, demands=demands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of the time was somebody's: a holder's, or that of all who have one user, host, group or project."""

    name: str
    time: timedelta
    sessions: int
    lasting: int
    holders: int


def shares(stays: Iterable[Stay], by: By) -> list[Share]:
    """Give whose the time was, the most first."""
    found: dict[str, list[Stay]] = {}
    for stay in stays:
        found.setdefault(_named(stay, by), []).append(stay)
    made = [
        Share(
            name=name,
            time=sum((stay.time for stay in its), timedelta(0)),
            sessions=sum(stay.sessions for stay in its),
            lasting=sum(stay.lasting for stay in its),
            holders=len(its),
        )
        for name, its in found.items()
    ]
    return sorted(made, key=lambda share: (-share.time, share.name))


def _named(stay: Stay, by: By) -> str:
    who = stay.who
    if by is By.HOLDER:
        return f"holder {stay.holder}" if who is None else who.seat_name or who.seat_id
    return (getattr(who, by.value) if who is not None else None) or NOT_KNOWN


# --- as a table ----------------------------------------------------------------------------------------------------

COLUMNS: Final = (
    "from",
    "to",
    "high",
    "low",
    "mean",
    "hours",
    "bought",
    "hours above bought",
    "denials",
    "most waiting",
    "hours waited",
    "needed",
)  # hours are hours of one seat, or of one of the feature


def table(usage: UsageOfRight, zone: tzinfo) -> list[list[str]]:
    """Give the periods as rows under `COLUMNS`, moments in a zone; an empty cell stands for any number."""
    return [
        [
            one.span.start.astimezone(zone).isoformat(timespec="minutes"),
            one.span.end.astimezone(zone).isoformat(timespec="minutes"),
            f"{one.span.high}",
            f"{one.span.low}",
            f"{one.span.mean:.2f}",
            f"{one.span.hours:.2f}",
            "" if one.span.bought is None else f"{one.span.bought}",
            f"{one.span.hours_over:.2f}",
            f"{sum(one.denials.values())}",
            f"{one.waiting.most}",
            f"{one.waiting.hours:.2f}",
            f"{one.needed}",
        ]
        for one in usage.periods
    ]


SHARE_COLUMNS: Final = ("name", "hours", "sessions", "still there", "holders")


def share_table(found: Sequence[Share]) -> list[list[str]]:
    """Give shares as rows under `SHARE_COLUMNS`."""
    return [
        [one.name, f"{one.time / timedelta(hours=1):.2f}", f"{one.sessions}", f"{one.lasting}", f"{one.holders}"]
        for one in found
    ]


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table as RFC 4180 says. What a spreadsheet would take for a formula is quoted with an apostrophe."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
