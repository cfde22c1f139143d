"""What selling, reporting and administering read and write besides the pools: the Protocol `Catalogue`, and its rows.

The store implements it (`store/catalogue.py`); everything happens within the transaction it was opened on. Also in here:
`CannotDo`, what a person is told when what he asked for can't be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Protocol

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.catalogue import Borrowing, Sale
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.ports import FactRecord, HolderRecord, PoolKey, PoolRecord, Transaction
from seatkeeper_server.service.usage_book import UsageBook


class CannotDo(Exception):
    """What was asked for can't be done. Nothing was changed; the message says why and what to do next.

    `problem` is the code under which a program is told (`seatkeeper.protocol.problems`).
    """

    problem: str = "conflict"


class NotFound(CannotDo):
    """There is nothing of that name. The message names what comes nearest."""

    problem = "notFound"

    def __init__(self, what: str, wanted: str, known: Iterable[str], if_none: str) -> None:
        names = sorted(set(known))
        near = get_close_matches(wanted, names, n=3, cutoff=0.6)
        some = f"there are {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}" if names else if_none
        super().__init__(f"there is no {what} {quoted(wanted)}: " + (f"did you mean {' or '.join(near)}?" if near else some))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A vendor, whom his customers' refused users should ask, and the end of his own chain of facts."""

    tenant_id: str
    name: str
    contact: str | None
    created_at: datetime
    facts: int = 0
    head: bytes = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What one customer bought, in words, with its pool as it is kept."""

    tenant: str
    customer: str
    product: str
    edition: str
    offering: str
    sku: str
    created_at: datetime
    record: PoolRecord

    @property
    def key(self) -> PoolKey:
        """Tell entitlements apart."""
        return self.record.key

    @property
    def entitlement_id(self) -> str:
        """The entitlement's id."""
        return self.record.entitlement.entitlement_id

    @property
    def pool(self) -> Pool:
        """The entitlement's counted side."""
        return self.record.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Commercial:
    """What an application may know of its entitlement's commercial side."""

    customer: str
    account_ref_id: str | None
    order_ref_id: str | None
    offering: str
    sku: str
    product: str
    plan: str
    license_type: str
    license_start_type: str
    duration_unit: str
    duration_count: int | None
    grace: timedelta
    linger: timedelta
    lease: timedelta
    has_maintenance: bool
    maintenance_ends_at: datetime | None
    seats: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCode:
    """An activation code as it is kept: looked up by its hash, readable only with the sealing key."""

    code_hash: str
    sealed: bytes
    last_four: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a pool and who has it."""

    holding: Holding
    who: Who
    blocked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Who is refused, and until when."""

    name: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A fact with the words that people know its entitlement and holder by."""

    fact: FactRecord
    customer: str | None
    product: str | None
    who: Who | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Refusals that are being counted just now under one id, and not written down yet."""

    denial_id: str
    tenant_id: str
    chain_id: str
    rule: str
    since: datetime
    until: datetime
    count: int
    customer: str | None
    product: str | None
    who: Who | None


@dataclass(frozen=True, slots=True)
class Sitting:
    """That somebody came to or left a pool: enough of a fact to know who was there at a moment."""

    kind: str
    at: datetime
    activation_id: str
    data: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which facts are wanted; None means all."""

    since: datetime
    customer: str | None = None
    holder: str | None = None
    denied: bool = False
    most: int = 1000


class Vault(Protocol):
    """Makes a tenant's keys, and keeps activation codes sealed."""

    def make_keys(self, tenant_id: str, now: datetime) -> None:
        """Make and keep every key a new tenant needs."""
        ...

    def public_key(self, tenant_id: str) -> str:
        """Give the tenant's root public key, which applications pin."""
        ...

    def code_hash(self, tenant_id: str, code: str) -> str:
        """Give what a code is looked up by."""
        ...

    def secret_hash(self, tenant_id: str, secret: str) -> str:
        """Give what is kept of an API client's secret."""
        ...

    def seal_code(self, tenant_id: str, code_hash: str, code: str) -> bytes:
        """Give the sealed code."""
        ...

    def open_code(self, tenant_id: str, sealed: SealedCode) -> str:
        """Give the code that was sealed."""
        ...


class Catalogue(Protocol):
    """What is sold and what happened, within one transaction (`tx`)."""

    @property
    def tx(self) -> Transaction:
        """The transaction everything happens in."""
        ...

    @property
    def usage(self) -> UsageBook:
        """What facts come to."""
        ...

    # what is sold
    def tenants(self) -> list[Tenant]:
        """Give all vendors."""
        ...

    def add_tenant(self, tenant: Tenant) -> None:
        """Add a vendor."""
        ...

    def set_contact(self, tenant_id: str, contact: str | None) -> None:
        """Say whom refused users should ask; None: nobody."""
        ...

    def product(self, tenant_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the product of that name; add it under the new id if there is none."""
        ...

    def edition(self, tenant_id: str, product_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the product's edition; add it if there is none."""
        ...

    def plan(self, tenant_id: str, sale: Sale, new_id: str, now: datetime) -> str:
        """Give the id of the plan that a sale belongs to; add it if there is none."""
        ...

    def offering(self, tenant_id: str, sale: Sale, edition_id: str, plan_id: str, new_id: str, now: datetime) -> str:
        """Give the id of the offering with the sale's terms; add it if there is none."""
        ...

    def customer(self, tenant_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the customer of that name; add him if there is none."""
        ...

    def customers(self, tenant_id: str) -> list[str]:
        """Give the names of a vendor's customers."""
        ...

    def sold_already(self, tenant_id: str, customer_id: str, product_id: str) -> list[str]:
        """Give the entitlements that this customer has to this product."""
        ...

    def add_entitlement(self, pool: PoolRecord, customer_id: str, offering_id: str, now: datetime) -> None:
        """Add a group, an entitlement in it, its pool and its counters."""
        ...

    def add_code(self, tenant_id: str, group_id: str, code: SealedCode) -> None:
        """Add an activation code to a group."""
        ...

    def codes(self, tenant_id: str, entitlement_id: str) -> list[SealedCode]:
        """Give the activation codes of an entitlement's group."""
        ...

    def resize(self, key: PoolKey, seats: Tally, excess: int) -> None:
        """Set how many seats are bought, and how many holders have to go."""
        ...

    def set_end(self, key: PoolKey, ends_at: datetime | None) -> None:
        """Set when the entitlement ends."""
        ...

    def set_borrowing(self, key: PoolKey, limits: Borrowing | None) -> None:
        """Set for how long seats may be borrowed, and how many at once; what is out stays out."""
        ...

    # what is held
    def bought(self, tenant_id: str | None = None, entitlement_id: str | None = None) -> list[Bought]:
        """Give what was sold: all of it, a vendor's, or one entitlement."""
        ...

    def to_change(self, bought: Bought) -> Bought:
        """Have an entitlement to oneself until the transaction ends, and give it as it is now."""
        ...

    def commercial(self, tenant_id: str, entitlement_id: str) -> Commercial | None:
        """Give the commercial side of an entitlement."""
        ...

    def places(self, key: PoolKey, lapsed_since: datetime) -> list[Place]:
        """Give the places that count, and those that lapsed since a moment."""
        ...

    def ended(self, key: PoolKey, now: datetime) -> dict[str, int]:
        """Give what time has ended but nobody has settled yet, by right."""
        ...

    def taken(self, key: PoolKey) -> dict[str, int]:
        """Add up what the places that count say they take, by right."""
        ...

    def leaving(self, key: PoolKey, now: datetime) -> int:
        """Count the places that go by themselves: nobody may refresh them any more, or time has ended them already."""
        ...

    def working(self, key: PoolKey, after: datetime) -> tuple[int, datetime | None]:
        """Count the seats that are held under a lease which ends after a moment; with the last of those ends."""
        ...

    def blocked(self, key: PoolKey, now: datetime) -> list[Blocked]:
        """Give who is refused now, and until when."""
        ...

    def holders_called(self, called: str) -> list[tuple[HolderRecord, str | None]]:
        """Find holders by seat id, name, user@host or activation; with the activation they have."""
        ...

    def holder_names(self) -> list[str]:
        """Give what present holders can be called."""
        ...

    def block(self, holder: HolderRecord, until: datetime | None) -> None:
        """Refuse a holder until a moment; None: no longer."""
        ...

    # what happened
    def log(self, wanted: LogFilter) -> list[LogRow]:
        """Give the newest facts that are wanted, oldest first."""
        ...

    def refusal(self, denial_id: str) -> tuple[list[LogRow], Counting | None]:
        """Give the facts of a refusal and what is still being counted under its id."""
        ...

    def refusal_ids(self) -> list[str]:
        """Give the ids of the newest refusals."""
        ...

    def sittings(self, fact: FactRecord) -> list[Sitting]:
        """Tell who came and went in a pool before a fact."""
        ...

    def chain(self, key: PoolKey, after: int, last: int, most: int) -> Sequence[FactRecord]:
        """Give a stretch of a chain of facts."""
        ...

    def chain_back(self, key: PoolKey, before: int, most: int) -> Sequence[FactRecord]:
        """Give a stretch of a chain of facts, the newest first."""
        ...

    def newest_facts(self, tenant_id: str, skip: int, most: int) -> Sequence[FactRecord]:
        """Give what happened to a vendor's entitlements, whichever, the newest first."""
        ...

    def checkpoint(self, key: PoolKey) -> str | None:
        """Give the signed checkpoint behind which a chain was pruned last; None if it never was."""
        ...

    def signing_keys(self, tenant_id: str) -> Mapping[str, str]:
        """Give the public part of every signing key a tenant ever had, by key id."""
        ...
