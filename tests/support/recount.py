"""Usage counted slowly and plainly from facts, to compare with what is kept: no slots, no order, no cleverness.

A fact is looked at as it stands in the table; what held at a moment is the sum of all that happened until then.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Fact:
    """A row of the table."""

    number: int
    kind: str
    at: datetime
    holder: int
    activation_id: str | None
    data: dict[str, Any]


@dataclass(frozen=True)
class Counted:
    """What was held of a right between two moments."""

    high: int
    low: int
    held: int  # times microseconds
    over: int


def read(row: Sequence[Any], moment: Any) -> Fact:
    """Read (number, kind, at, holder, activation id, data)."""
    return Fact(row[0], row[1], moment(row[2]), row[3], row[4], json.loads(row[5]))


def bought_at(facts: Sequence[Fact], right: str, moment: datetime) -> int | None:
    """How many were bought at a moment, by what was sold and changed until then."""
    if right:
        sold = [fact for fact in facts if fact.at <= moment and fact.data.get("data", {}).get("features")]
        return 3 if sold else None
    said = [fact for fact in facts if fact.at <= moment and fact.kind == "Note" and "seats" in fact.data.get("data", {})]
    if not said:
        return None
    seats = max(said, key=lambda fact: (fact.at, fact.number)).data["data"]["seats"]
    return seats["after"] if isinstance(seats, dict) else seats


def held_at(facts: Sequence[Fact], right: str, moment: datetime) -> int:
    """How much was held just after a moment."""
    return sum(fact.data.get("taken", {}).get(right, 0) for fact in facts if fact.at <= moment)


def counted(facts: Sequence[Fact], right: str, start: datetime, end: datetime) -> Counted:
    """What was held between two moments, from change to change."""
    before = sum(fact.data.get("taken", {}).get(right, 0) for fact in facts if fact.at < start)
    inside = sorted((fact for fact in facts if start <= fact.at < end), key=lambda fact: (fact.at, fact.number))
    levels = [before]
    for fact in inside:
        if right in fact.data.get("taken", {}):
            levels.append(levels[-1] + fact.data["taken"][right])
    moments = sorted({start, end, *(fact.at for fact in inside)})
    held = over = 0
    for since, until in pairwise(moments):
        level, bought = held_at(facts, right, since), bought_at(facts, right, since)
        lasted = (until - since) // MICROSECOND
        held += level * lasted
        over += 0 if bought is None else max(0, level - bought) * lasted
    return Counted(max(levels), min(levels), held, over)


def denials(facts: Sequence[Fact], start: datetime, end: datetime) -> dict[str, int]:
    """How many were refused a seat between two moments, by rule."""
    found: dict[str, int] = {}
    for fact in facts:
        if start <= fact.at < end and fact.kind in ("Denied", "DeniedAgain") and not fact.data.get("key"):
            times = fact.data["count"] if fact.kind == "DeniedAgain" else 1
            found[fact.data["rule"]] = found.get(fact.data["rule"], 0) + times
    return dict(sorted(found.items()))
