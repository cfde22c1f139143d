"""The steps of the schema: files beside this one, each numbered, named, for one database, and of one of two phases.

    schema/0001_seats.sqlite.sql          step 1, for SQLite: the first schema that was released
    schema/0002_more.pre.sqlite.sql       adds; may run while older code still serves
    schema/0003_more.post.sqlite.sql      takes away; runs when no older code is left

A *pre* step only adds what older code neither reads nor has to write: tables, indexes, columns that may be NULL or have a
default. So an upgrade rolls: the first new server applies the pre steps, old ones go on beside it, and when the last of those
is gone the post steps are applied. A new database, at which no older code can be at work, gets all of them at once. Code that
meets an unknown pre step works on; one that meets an unknown post step refuses.
What was released is never edited (`tests/store/test_rolling.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType


class SchemaTooNew(Exception):
    """The data was written by a newer Seatkeeper. Upgrade this one, or point it at other data."""


class Phase(StrEnum):
    """When a step may run: before new code serves, or after all old code is gone."""

    PRE = "pre"
    POST = "post"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the schema."""

    number: int
    name: str
    script: str
    phase: Phase = Phase.PRE

    @property
    def recorded(self) -> str:
        """The name under which a database remembers it. Code that doesn't know it reads the phase off it."""
        return f"{self.name}.{self.phase}" if self.number > 1 else self.name


@cache
def steps(database: str) -> Mapping[int, Step]:
    """Give the steps for a database (`sqlite`, `postgres`) by number."""
    suffix = f".{database}.sql"
    found = (
        _step(file.name.removesuffix(suffix), file.read_text(encoding="utf-8"))
        for file in (files(__package__) / "schema").iterdir()
        if file.name.endswith(suffix)
    )
    return MappingProxyType({step.number: step for step in found})


def missing(database: str, done: Mapping[int, str], phase: Phase) -> list[Step]:
    """Give the steps of a phase that a database lacks, in order; `done` is what it remembers, names by number.

    With the first phase, a new database is given those of the other one too.

    Raises:
        SchemaTooNew: newer code took something away that this code needs.
    """
    known = steps(database)
    strange = [number for number, name in done.items() if number not in known and not name.endswith(f".{Phase.PRE}")]
    if strange:
        raise SchemaTooNew(f"schema {max(strange)}, this Seatkeeper knows {max(known)}: upgrade this Seatkeeper")
    lacking = [known[number] for number in sorted(known.keys() - done.keys())]
    if not done:
        return lacking if phase is Phase.PRE else []
    return [step for step in lacking if step.phase is phase]


def _step(stem: str, script: str) -> Step:
    title, _, phase = stem.partition(".")
    number, _, name = title.partition("_")
    return Step(int(number), name, script, Phase(phase or Phase.PRE))
