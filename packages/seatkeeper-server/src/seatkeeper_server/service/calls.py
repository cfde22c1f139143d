"""What the front asks of the desk, and what it gets back: plain values, no HTTP and no SQL.

A call carries everything its decision needs; checking signatures of access tokens and hashing of codes has been done by the
front, before any database work.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field

from seatkeeper_server.domain.admission import Outlook, Tally
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.terms import Standing, Terms


class Who(Struct, array_like=True, frozen=True, kw_only=True):
    """The person and machine behind a seat, in words; kept apart from the facts, so that it can be erased."""

    seat_id: str
    seat_name: str | None = None
    username: str | None = None
    user: str | None = None
    host: str | None = None
    process: str | None = None
    group: str | None = None
    project: str | None = None
    address: str | None = None


class TokenClaims(Struct, array_like=True, frozen=True):
    """What a verified access token says: which life of which seat."""

    activation_id: str
    generation: int


class Key(Struct, array_like=True, frozen=True):
    """An idempotency key: the scope it is unique in (credential and route), itself, and the body it came with (all hashed)."""

    scope: str
    key: str
    body: str


class ActivateCall(Struct, array_like=True, frozen=True, tag=True, kw_only=True):
    """Take a seat, by activation code. `code_hash` is what codes are looked up by; `code_hint` their last four characters."""

    tenant_id: str
    code_hash: str
    code_hint: str
    product_id: str
    edition_id: str | None = None
    who: Who
    features: Mapping[str, int] = field(default_factory=dict)
    key: Key | None = None
    proof: TokenClaims | None = None
    last_lease: str | None = None
    device: str | None = None  # the key that the asking device has proven to have
    borrow_until: datetime | None = None


class Verb(StrEnum):
    """What a seat's holder can do with it."""

    REFRESH = "refresh"
    RETURN = "return"
    CHECK_OUT = "checkout"
    GIVE_BACK = "giveBack"
    USE = "use"
    READ = "read"


class HeldCall(Struct, array_like=True, frozen=True, tag=True, kw_only=True):
    """A call of a seat's holder. `fingerprint` identifies the request if it may be repeated with the same nonce."""

    verb: Verb
    tenant_id: str
    token: TokenClaims
    nonce: str | None = None
    fingerprint: bytes | None = None
    key: Key | None = None
    last_lease: str | None = None
    feature: str = ""
    amount: int = 0
    device_proof: str | None = None  # with a return: the device vouches for it


class StatusCall(Struct, array_like=True, frozen=True, tag=True, kw_only=True):
    """Ask how full a pool is, by activation code."""

    tenant_id: str
    code_hash: str
    code_hint: str
    product_id: str
    address: str | None = None


Call = ActivateCall | HeldCall | StatusCall


# --- answers -------------------------------------------------------------------------------------------------------


class Entitlement(Struct, frozen=True, kw_only=True):
    """What an answer says about the entitlement a seat belongs to."""

    tenant_id: str
    entitlement_id: str
    group_id: str
    product_id: str
    edition_id: str
    product_name: str
    has_maintenance: bool = False
    maintenance_ends_at: datetime | None = None


class PoolView(Struct, frozen=True):
    """What an answer says about a pool: its terms, and the counters that the answer speaks of.

    A seat's answer speaks of features only, so that all answers of a batch share one view of a pool without features.
    """

    terms: Terms
    tallies: Mapping[str, Tally]


class Served(Struct, frozen=True, kw_only=True):
    """The call was served; `holding` is the seat afterwards, `pool` its features. `sign` says whether a lease goes with it.

    `new_place` tells 201 from 200; `nonce` is what the program must show next.
    """

    entitlement: Entitlement
    pool: PoolView
    holding: Holding
    who: Who
    at: datetime
    sign: bool
    new_place: bool = False
    feature: str = ""

    @property
    def nonce(self) -> str:
        """What the program must show at its next call."""
        return self.holding.nonces.current


class Done(Struct, frozen=True):
    """The call was served and there is nothing to say."""

    nonce: str | None = None


class HolderView(Struct, array_like=True, frozen=True, kw_only=True):
    """A holder as a refusal or a status shows it."""

    name: str
    since: datetime
    lease_ends_at: datetime
    borrowed: bool = False


class LentOut(Struct, array_like=True, frozen=True, kw_only=True):
    """What is lent to a local server: to whom, how many seats, until when it counts, and when it reported last."""

    name: str
    seats: int
    counts_until: datetime
    last_report_at: datetime | None


class Occupancy(Struct, frozen=True, kw_only=True, eq=False):
    """Who is in a pool: at most twenty by name, how many more, and the earliest moment a place comes back if not refreshed.

    All refusals of a batch share one, so it is told apart by identity: what it is turned into need be made only once.
    """

    holders: list[HolderView]
    more: int
    next_free_by: datetime | None
    group_id: str | None = None  # whose entitlement it is
    lent: list[LentOut] = field(default_factory=list)


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a seat or feature was refused. `outlook` tells whether what was short can be had later.

    `borrow` is for how long a seat may be borrowed at most.
    """

    denial_id: str
    rule: str
    feature: str
    limit: int | None
    used: int
    overdraft: int
    product_name: str
    at: datetime
    occupancy: Occupancy
    contact: str | None = None
    wanted: int = 1
    outlook: Outlook = Outlook.COMES_BACK
    borrow: timedelta = timedelta(0)


class Refused(Struct, frozen=True):
    """The call was not served, for a reason with a public problem code; `refusal` explains it where a pool decided."""

    problem: str
    refusal: Refusal | None = None


class PoolStatus(Struct, frozen=True, kw_only=True):
    """How full a pool is and who is in it."""

    entitlement: Entitlement
    standing: Standing
    pool: PoolView
    occupancy: Occupancy
    at: datetime


Outcome = Served | Done | Refused | PoolStatus
