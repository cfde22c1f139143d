"""Facts: what happened, one immutable value each. The activity log, the charts, the counters are readings of them.

Every fact says by how much it changed the pool's counters (`taken`), so that adding up the facts of an entitlement rebuilds
them. A fact names its holder by number only; names, hosts and addresses live in a table that can be erased. The facts of an
entitlement form a hash chain (`link`): to change one afterwards, all later ones would have to be changed too.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import ClassVar

from msgspec import Struct, field

from seatkeeper_server.domain.holdings import Nonces
from seatkeeper_server.domain.shares import Layer

CHAIN_START = bytes(32)

Amounts = Mapping[str, int]


class Fact(Struct, frozen=True, kw_only=True):
    """What every fact says: when, who, which seat, and by how much the counters changed."""

    kind: ClassVar[str]

    at: datetime
    activation_id: str | None = None
    generation: int = 0
    holder: int = 0
    taken: Amounts = field(default_factory=dict)

    @property
    def recorded(self) -> bool:
        """Whether it is written down; moves that would only fill the disk are not."""
        return True


class Granted(Fact, frozen=True, kw_only=True):
    """What every fact says that grants a lease: what is held from now on, until when, and the nonce to show next."""

    rights: Amounts
    expires_at: datetime
    nonces: Nonces
    device: str | None = None


class Claimed(Granted, frozen=True, kw_only=True):
    """A seat was taken: a new place."""

    kind = "Claimed"


class Resumed(Granted, frozen=True, kw_only=True):
    """A program took its own place again, by the token of its earlier life or because nobody could believe in it."""

    kind = "Resumed"


class TakenOver(Granted, frozen=True, kw_only=True):
    """A seat id was activated without its token: a new place; the older copy's counts until its lease ends."""

    kind = "TakenOver"


class Retaken(Granted, frozen=True, kw_only=True):
    """A lapsed seat was taken again by a late refresh."""

    kind = "Retaken"


class Refreshed(Granted, frozen=True, kw_only=True):
    """The lease was moved on. At most one an hour and holder is written down (`noted`)."""

    kind = "Refreshed"
    noted: bool = False

    @property
    def recorded(self) -> bool:
        return self.noted


class Repeated(Fact, frozen=True, kw_only=True):
    """The same request came again and is answered anew from the present state; nothing but the sequence moves."""

    kind = "Repeated"

    @property
    def recorded(self) -> bool:
        return False


class Returned(Fact, frozen=True, kw_only=True):
    """The holder gave the seat back; with linger, or if it was borrowed, the place stays taken until `free_at`."""

    kind = "Returned"
    free_at: datetime | None = None


class Expired(Fact, frozen=True, kw_only=True):
    """A lease ended without a refresh, at `at`; its place came back a margin later, at `free_at`."""

    kind = "Expired"
    free_at: datetime


class Freed(Fact, frozen=True, kw_only=True):
    """A place that was only kept (`cause`: returned, takenBack, superseded) came back."""

    kind = "Freed"
    past: int
    cause: str


class TakenBack(Fact, frozen=True, kw_only=True):
    """An administrator took the seat (`by`), or shrinking cut it; the place counts until `free_at`, None if freed at once."""

    kind = "TakenBack"
    by: str
    free_at: datetime | None


class CheckedOut(Fact, frozen=True, kw_only=True):
    """A held seat drew an amount of a feature."""

    kind = "CheckedOut"
    key: str
    amount: int
    nonces: Nonces


class GivenBack(Fact, frozen=True, kw_only=True):
    """A held seat gave an amount of a feature back."""

    kind = "GivenBack"
    key: str
    amount: int
    nonces: Nonces


class Used(Fact, frozen=True, kw_only=True):
    """A program said that it used a feature."""

    kind = "Used"
    key: str
    nonces: Nonces


class Denied(Fact, frozen=True, kw_only=True):
    """A seat or feature was refused; `rule` is the one that decided, `key` the right that was short.

    `hint` is the end of an activation code that nobody knows: enough to find a typing mistake, too little to guess the rest.
    """

    kind = "Denied"
    rule: str
    problem: str
    key: str = ""
    wanted: int = 1
    limit: int | None = None
    used: int = 0
    overdraft: int = 0
    hint: str = ""
    denial_id: str = ""


class DeniedAgain(Fact, frozen=True, kw_only=True):
    """Refusals that were counted rather than written down one by one: a holder's repeats, or a pool's flood (holder 0)."""

    kind = "DeniedAgain"
    denial_id: str
    rule: str
    key: str = ""
    count: int
    until: datetime


class Restored(Fact, frozen=True, kw_only=True):
    """A client showed a lease newer than this database: the database was restored; the seat counts as held till its end."""

    kind = "Restored"
    sequence: int
    rights: Amounts
    expires_at: datetime
    nonces: Nonces
    device: str | None = None


class CloneSuspected(Fact, frozen=True, kw_only=True):
    """A client showed a lease that this database can't have signed, although its number is not new."""

    kind = "CloneSuspected"
    sequence: int


class ShareLent(Fact, frozen=True, kw_only=True):
    """A share of the pool was lent to a local server, or changed: these layers of it count from now on, none if it is back."""

    kind = "ShareLent"
    cause: str
    layers: tuple[Layer, ...]
    used_up: Amounts = field(default_factory=dict)


class Note(Fact, frozen=True, kw_only=True):
    """Something people or the server did that changes no counter: sold, changed, code read, downtime, wrong credentials."""

    kind = "Note"
    what: str
    data: Mapping[str, object] = field(default_factory=dict)


_FIXED = frozenset({"at", "activation_id", "generation", "holder", "nonces", "device", "denial_id", "noted"})


def details(fact: Fact) -> dict[str, object]:
    """Give what a fact says beyond its fixed columns, without secrets; moments stay datetimes."""
    return {
        name: value
        for name in fact.__struct_fields__
        if name not in _FIXED and (value := getattr(fact, name)) not in ({}, None, "")
    }


def link(previous: bytes, body: bytes) -> bytes:
    """Give the hash that chains a fact to the one before: SHA-256 over the earlier hash and the fact's bytes."""
    return sha256(previous + body).digest()
