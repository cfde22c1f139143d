"""Facts: what happened, one immutable value each. The activity log, the charts, the counters are readings of them.

Every fact says by how much it changed the pool's counters (`taken`), so that adding up the facts of an entitlement rebuilds
them. A fact names its holder by number only; names, hosts and addresses live in a table that can be erased. The facts of an
entitlement form a hash chain (`link`): to change one afterwards, all later ones would have to be changed too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from typing import ClassVar

from seatkeeper_server.domain.holdings import Nonces

CHAIN_START = bytes(32)

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Fact):
    """What every fact says that grants a lease: what is held from now on, until when, and the nonce to show next."""

    rights: Amounts
    expires_at: datetime
    nonces: Nonces
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Granted):
    """A seat was taken: a new place."""

    kind = "Claimed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Granted):
    """A program took its own place again, by the token of its earlier life or because nobody could believe in it."""

    kind = "Resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver(Granted):
    """A seat id was activated without its token: a new place; the older copy's counts until its lease ends."""

    kind = "TakenOver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retaken(Granted):
    """A lapsed seat was taken again by a late refresh."""

    kind = "Retaken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(Granted):
    """The lease was moved on. At most one an hour and holder is written down (`noted`)."""

    kind = "Refreshed"
    noted: bool = False

    @property
    def recorded(self) -> bool:
        return self.noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated(Fact):
    """The same request came again and is answered anew from the present state; nothing but the sequence moves."""

    kind = "Repeated"

    @property
    def recorded(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(Fact):
    """The holder gave the seat back; with linger, the place stays taken until `free_at`."""

    kind = "Returned"
    free_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Fact):
    """A lease ended without a refresh, at `at`; its place came back a margin later, at `free_at`."""

    kind = "Expired"
    free_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed(Fact):
    """A place that was only kept (`cause`: returned, takenBack, superseded) came back."""

    kind = "Freed"
    past: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack(Fact):
    """An administrator took the seat (`by`), or shrinking cut it; the place counts until `free_at`, None if freed at once."""

    kind = "TakenBack"
    by: str
    free_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOut(Fact):
    """A held seat drew an amount of a feature."""

    kind = "CheckedOut"
    key: str
    amount: int
    nonces: Nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack(Fact):
    """A held seat gave an amount of a feature back."""

    kind = "GivenBack"
    key: str
    amount: int
    nonces: Nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class Used(Fact):
    """A program said that it used a feature."""

    kind = "Used"
    key: str
    nonces: Nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied(Fact):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedAgain(Fact):
    """Refusals that were counted rather than written down one by one: a holder's repeats, or a pool's flood (holder 0)."""

    kind = "DeniedAgain"
    denial_id: str
    rule: str
    key: str = ""
    count: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Fact):
    """A client showed a lease newer than this database: the database was restored; the seat counts as held till its end."""

    kind = "Restored"
    sequence: int
    rights: Amounts
    expires_at: datetime
    nonces: Nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSuspected(Fact):
    """A client showed a lease that this database can't have signed, although its number is not new."""

    kind = "CloneSuspected"
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Fact):
    """Something people or the server did that changes no counter: sold, changed, code read, downtime, wrong credentials."""

    kind = "Note"
    what: str
    data: Mapping[str, object] = field(default_factory=dict)


_FIXED = frozenset({"at", "activation_id", "generation", "holder", "nonces", "device", "denial_id", "noted"})


def details(fact: Fact) -> dict[str, object]:
    """Give what a fact says beyond its fixed columns, without secrets; moments stay datetimes."""
    return {
        each.name: value
        for each in fields(fact)
        if each.name not in _FIXED and (value := getattr(fact, each.name)) not in ({}, None, "")
    }


def link(previous: bytes, body: bytes) -> bytes:
    """Give the hash that chains a fact to the one before: SHA-256 over the earlier hash and the fact's bytes."""
    return sha256(previous + body).digest()
