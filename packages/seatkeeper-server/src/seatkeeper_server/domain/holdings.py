"""A holding: who holds what, until when, and whether the place still counts.

The words that matter: the *lease* ends at `expires_at`, the end of the last one signed (longer only by downtime, which does
not count); the *place* comes back at `free_at`, or never by itself when that is None. A holding *occupies* as long as its
rights are in the pool's counters.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.domain.terms import BORROWED, SEAT

SHARE = "shr_"  # how the ids of shares begin: what is lent to a local server, on whose clock nothing here has a say
CURRENT = 0  # the `past` of a seat's present holding; one that was taken over is kept under its own generation


class State(StrEnum):
    """Where a holding stands."""

    HELD = "held"
    LAPSED = "lapsed"  # the lease ended without a refresh; a refresh may take the seat again, if there is room
    RETURNED = "returned"  # given back by its holder; it may still linger
    TAKEN_BACK = "takenBack"  # by an administrator, or cut by shrinking; counts until its lease ends
    SUPERSEDED = "superseded"  # an older copy, taken over without proof; counts until its lease ends


class Nonces(Struct, array_like=True, frozen=True):
    """The nonces of one activation: the one to show next, and the one before with the request that showed it.

    `bound` is set by the first nonce a program shows; from then on every call must show one.
    """

    current: str
    previous: str | None = None
    answered: bytes | None = None  # fingerprint of the request that consumed `previous`; None if it can't be repeated
    bound: bool = False


class Holding(Struct, array_like=True, frozen=True, kw_only=True):
    """One place in a pool, and what is held with it: the seat (`SEAT`: 1) and amounts of features by key."""

    activation_id: str
    past: int = CURRENT
    generation: int
    holder: int
    state: State
    occupies: bool
    rights: Mapping[str, int]
    activated_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    free_at: datetime | None
    sequence: int
    nonces: Nonces
    noted_at: datetime  # when a fact last said that this holder is alive
    device: str | None = None  # the key by which its device proves itself, beside the token, on long leases
    floored: bool = False  # downtime already gave it one refresh interval since its last refresh

    def __post_init__(self) -> None:
        if self.generation < 1:
            raise ValueError("a holding has a generation from 1 on")
        for amount in self.rights.values():
            if amount < 0:
                raise ValueError("a holding has no negative amounts")
        if self.free_at is not None and not self.occupies:
            raise ValueError("a place that doesn't count can't come back")

    @property
    def key(self) -> tuple[str, int]:
        """Tell holdings of one pool apart."""
        return self.activation_id, self.past

    def is_due(self, now: datetime) -> bool:
        """Tell whether time alone has ended this place."""
        return self.free_at is not None and self.free_at <= now

    def believed_until(self, margin: timedelta) -> datetime:
        """Give until when somebody may believe in this place, the margin included."""
        return self.free_at or self.expires_at + margin

    def freed(self, state: State) -> "Holding":
        """Give the holding whose place no longer counts; usage that was drawn stays on record."""
        return replace(self, state=state, occupies=False, free_at=None)

    @property
    def is_share(self) -> bool:
        """Whether it is lent to a local server: its end was signed, and nothing that happens here moves it."""
        return self.activation_id.startswith(SHARE)

    @property
    def is_borrowed(self) -> bool:
        """Whether a device took it home: its lease is good to its end, whatever happens here."""
        return BORROWED in self.rights

    @property
    def seats(self) -> int:
        """How many seats it takes: one, but for a share."""
        return self.rights.get(SEAT, 0)
