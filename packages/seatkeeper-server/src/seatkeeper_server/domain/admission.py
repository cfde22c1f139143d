"""Whether there is room: the counters of a pool, one tally a right, and what a change of them would break.

>>> from seatkeeper_server.domain.terms import Kind, Right
>>> seats = Tally(Right("", Kind.SEAT, bought=2), used=2)
>>> seats.has_room_for(1)
False
"""

from collections.abc import Mapping
from enum import Enum, auto

from msgspec import Struct

from seatkeeper_server.domain.terms import Kind, Mode, Right

COUNTABLE = 2**53 - 1  # beyond it JSON's numbers are no longer exact in every language


class Tally(Struct, frozen=True):
    """How many units of one right are taken.

    `above` is by how many the cap is exceeded for a known reason (shrinking, a restored database); it only ever falls back
    by itself. A tally above cap and `above` can't be built, and the database refuses it too.
    """

    right: Right
    used: int = 0
    above: int = 0

    def __post_init__(self) -> None:
        cap = self.right.cap
        if self.used < 0 or self.above < 0:
            raise ValueError(f"{self.right.key or 'seats'}: a counter can't be negative")
        if cap is not None and self.used > cap + self.above:
            raise ValueError(f"{self.right.key or 'seats'}: {self.used} taken of at most {cap} + {self.above}")

    def has_room_for(self, amount: int) -> bool:
        """Tell whether this many more may be granted. Of what is unlimited, as many as can be counted exactly everywhere."""
        cap = self.right.cap
        return self.used + amount <= (COUNTABLE if cap is None else cap)

    @property
    def free(self) -> int | None:
        """How many more may be granted; None means any number."""
        cap = self.right.cap
        return None if cap is None else max(0, cap - self.used)

    @property
    def too_many(self) -> int:
        """How many are taken above the cap, for a known reason."""
        return 0 if self.right.cap is None else max(0, self.used - self.right.cap)

    @property
    def is_overfull(self) -> bool:
        """Whether more is taken than may be."""
        return self.too_many > 0

    @property
    def overdrawn(self) -> int:
        """How many are taken above what was bought."""
        return 0 if self.right.bought is None else max(0, self.used - self.right.bought)

    def changed(self, amount: int, *, forced: bool = False) -> "Tally":
        """Give the tally after taking (or giving back) an amount; `forced` admits what happened although it exceeds the cap."""
        used = self.used + amount
        excess = 0 if self.right.cap is None else max(0, used - self.right.cap)
        return Tally(self.right, used, max(self.above, excess) if forced else min(self.above, excess))


class Outlook(Enum):
    """Whether what there is not enough of now can be had later."""

    COMES_BACK = auto()  # when holders end, or their leases do
    GIVEN_BACK = auto()  # only when a holder gives it back: a node lock outlives its lease
    NEVER = auto()  # it is used up, or more was wanted than there is altogether


def outlook(tally: Tally, wanted: int, mode: Mode) -> Outlook:
    """Tell whether so much of a right can be had later, as it was sold."""
    cap = tally.right.cap
    if not tally.right.returnable or (cap is not None and wanted > cap):
        return Outlook.NEVER
    return Outlook.GIVEN_BACK if mode is Mode.NODE_LOCK else Outlook.COMES_BACK


Tallies = Mapping[str, Tally]


class Shortage(Struct, frozen=True):
    """The right that there is not enough of, and how much of it was wanted."""

    key: str
    wanted: int


def shortage(tallies: Tallies, wanted: Mapping[str, int]) -> Shortage | None:
    """Find the first right that can't be granted; None if all can, at once."""
    for key, amount in wanted.items():
        tally = tallies.get(key)
        if tally is None or not _grants(tally, amount):
            return Shortage(key, amount)
    return None


def _grants(tally: Tally, amount: int) -> bool:
    if tally.right.kind is Kind.BOOL:
        return tally.right.bought is None or tally.right.bought > 0
    return amount <= 0 or tally.has_room_for(amount)


def counted(tallies: Tallies, amounts: Mapping[str, int]) -> dict[str, int]:
    """Keep what changes a counter: bool features are on or off, not taken."""
    return {key: n for key, n in amounts.items() if n and key in tallies and tallies[key].right.counted}


def returnable(tallies: Tallies, amounts: Mapping[str, int]) -> dict[str, int]:
    """Keep what comes back when a holding ends: the seat and elements, not what was used up."""
    return {key: n for key, n in amounts.items() if n and key in tallies and tallies[key].right.returnable}


def used_up(tallies: Tallies, amounts: Mapping[str, int]) -> dict[str, int]:
    """Keep what was used up: it never comes back, and a holding keeps it on record."""
    return {key: n for key, n in amounts.items() if key in tallies and tallies[key].right.kind is Kind.USAGE_COUNT}
