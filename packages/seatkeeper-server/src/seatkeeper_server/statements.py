"""What documents between a vendor's server and a license server at a customer's site say, and in which bounds.

A vendor's server may be broken too: what is out of bounds is no document, and nothing is done with it. No bound is narrower
than what can be sold and lent (`domain/catalogue.py`, `domain/intervals.py`).

They are values only. How they are signed and sealed is in `tokens.py`; whether one may be applied is decided in
`service/lending` and `service/grants`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from msgspec import Meta, Struct, field

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.documents import Id, ShortText
from seatkeeper.protocol.ids import b64url
from seatkeeper.protocol.text import PRINTABLE
from seatkeeper_server.domain.catalogue import MAX_COUNT, MAX_NAME
from seatkeeper_server.domain.intervals import LONGEST
from seatkeeper_server.domain.terms import SEAT

VERSION: Final = 1
MAX_TOKEN: Final = 600 * 1024  # characters; the largest is a report of many hours (`service.use.MOST_HOURS`)

MOST_RIGHTS: Final = 5_000  # of an entitlement: more than a document has room for
MOST_CODES: Final = 1_000  # of an entitlement
LATEST: Final = 253_370_764_800  # 9999-01-01: a year is left for what is added to a moment

Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Given = Annotated[int, Meta(ge=0, le=2**52)]  # a number of the receiver's own: he goes on above it, and must have room to
Moment = Annotated[float, Meta(ge=0, le=LATEST)]  # seconds since 1970
Hour = Annotated[int, Meta(ge=0, le=LATEST, multiple_of=3600)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST)]
Interval = Annotated[int, Meta(ge=0, le=LONGEST * 1_000_000)]  # microseconds
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=PRINTABLE)]
Certificate = Annotated[str, Meta(max_length=envelopes.MAX_TOKEN)]


class TooLong(Exception):
    """This document would be longer than one may be; the message says what to do."""


class Unreadable(Exception):
    """This is no document that can be read here. `reason` says why: malformed, receiver, seal, signature, signer."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Said(Struct, frozen=True, kw_only=True):
    """What every document says: of whose tenant, from or for which server, its id, when, and its number in its direction."""

    v: Number = VERSION
    tid: Id
    site: Annotated[str, Meta(max_length=64)] = ""
    jti: Id
    iat: Moment
    seq: Number = 0


class LicenseRequest(Said, frozen=True, kw_only=True, tag_field="kind", tag="license-request"):
    """A server asks for its license: what it is called, by which keys it is known, and what the answer has to repeat."""

    name: Name
    challenge: Id
    signing_key: str
    sealing_key: str
    iss: Id


class LicenseGiven(Said, frozen=True, kw_only=True, tag_field="kind", tag="license"):
    """The vendor licenses a server, or goes on doing so; `certificate` lets its key sign what is lent to it."""

    name: Name
    challenge: Annotated[str, Meta(max_length=64)]
    root: str
    vendor: ShortText
    contact: ShortText | None
    sealing_key: str
    issuer: Certificate
    lease_ends_at: Moment
    patience: Seconds  # for which it serves while it is suspect
    certificate: Certificate
    heard: Number = 0  # the number of the last document from this server: one whose data were set back goes on above it


class SnapshotRight(Struct, frozen=True, kw_only=True):
    """One thing that is lent: so much of it (None: any number), and what is granted above."""

    key: Annotated[str, Meta(max_length=MAX_NAME, pattern=PRINTABLE)]
    kind: Literal["seat", "bool", "elementPool", "usageCount"]
    amount: Count | None
    overdraft: Annotated[str, Meta(pattern=r"^(none|absolute|percentage|unlimited)$(?!\n)")] = "none"
    overdraft_value: Count = 0

    def __post_init__(self) -> None:
        if (self.kind == "seat") != (self.key == SEAT):
            raise ValueError("a right is of another kind than its name says")


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entitlement as a local server has to know it. Intervals are in microseconds.

    A device may take a seat home for `borrow` at most, and `borrow_most` may at once (None: any number).
    """

    entitlement_id: Id
    group_id: Id
    product_id: Id
    product: ShortText
    edition_id: Id
    edition: ShortText
    offering_id: Id
    offering: ShortText
    sku: ShortText
    plan_id: Id
    plan: ShortText
    plan_type: Literal["trial", "paid", "notForResale", "internal", "beta", "free"]
    license_type: Literal["subscription", "perpetual"]
    license_start_type: Literal["activation", "entitlementCreation", "manualActivation", "custom"]
    duration_type: Literal["none", "second", "minute", "hour", "day", "week", "month", "year"]
    duration_count: Annotated[int, Meta(ge=1, le=LONGEST)] | None
    customer_id: Id
    customer: ShortText
    account_ref_id: ShortText | None
    order_ref_id: ShortText | None
    mode: Literal["concurrent", "nodeLock"]
    lease: Annotated[int, Meta(ge=1_000_000, le=LONGEST * 1_000_000)]
    linger: Interval
    margin: Annotated[int, Meta(ge=0, le=86_400 * 1_000_000)]
    nonce: Literal["optional", "required"]
    has_maintenance: bool
    maintenance_ends_at: Moment | None
    rights: Annotated[list[SnapshotRight], Meta(max_length=MOST_RIGHTS)]
    codes: Annotated[list[Annotated[str, Meta(min_length=1, max_length=50)]], Meta(max_length=MOST_CODES)]
    borrow: Interval = 0
    borrow_most: Count | None = None


class GrantGiven(Said, frozen=True, kw_only=True, tag_field="kind", tag="grant"):
    """The vendor lends a share: document `number` of the session `sid`, which began with document `began`."""

    sid: Id
    number: Number
    began: Number
    until: Moment
    snapshot: Snapshot
    issuer: Certificate
    certificate: Certificate
    patience: Seconds
    heard: Number = 0  # see `LicenseGiven`

    def __post_init__(self) -> None:
        said, keys = self.snapshot, {right.key for right in self.snapshot.rights}
        if len(keys) < len(said.rights):
            raise ValueError("a right is lent twice")
        if not any(right.key == SEAT and right.amount for right in said.rights):
            raise ValueError("no seats are lent")
        if (said.duration_type == "none") != (said.duration_count is None):
            raise ValueError("a plan's duration has a unit and a count, or neither")
        if said.borrow and said.borrow_most == 0:
            raise ValueError("seats may be borrowed, and none at once")


class OutStill(Struct, frozen=True, kw_only=True):
    """What of a share that was given up is still believed in by programs, and until when."""

    rights: Mapping[str, Number]
    until: Moment


class HourOfUse(Struct, frozen=True, kw_only=True, array_like=True):
    """An hour of use, or what of one was not reported before: most and fewest seats held, refusals, and seat-seconds.

    A list on the wire, since there are many.
    """

    hour: Hour  # seconds since 1970, of its beginning
    high: Number
    low: Number
    denials: Number
    seat_seconds: Number


class UseReported(Struct, frozen=True, kw_only=True):
    """What became of one share: the facts from one number to another, with the hashes they begin and end in, hour by hour.

    `settled` says that nobody holds more than document `number` of the share allows.
    """

    sid: str
    number: Given
    settled: bool
    after: Number
    after_head: str
    upto: Number
    head: str
    used: Number
    hours: list[HourOfUse] = field(default_factory=list)
    used_up: Mapping[str, Number] = field(default_factory=dict)


class Reported(Said, frozen=True, kw_only=True, tag_field="kind", tag="usage-report"):
    """A server reports its use, and how it stands: which document of the vendor's it has applied last, and its license's end.

    With `more`, there is more to report than one document takes.
    """

    state: Literal["ok", "clock-suspect", "restore-suspect", "clone-suspect"]
    epoch: Given
    uses: list[UseReported]
    license_ends_at: Moment | None = None
    more: bool = False


class ShareRemoved(Said, frozen=True, kw_only=True, tag_field="kind", tag="removal"):
    """A server gives a share back: what its programs still believe in, and its last report."""

    sid: str
    out: list[OutStill]
    use: UseReported


class LicenseEnded(Said, frozen=True, kw_only=True, tag_field="kind", tag="license-end"):
    """A server gives its license back, and serves nothing any more."""

    name: Name


FromSite = LicenseRequest | Reported | ShareRemoved | LicenseEnded
FromVendor = LicenseGiven | GrantGiven


def at(moment: Moment) -> datetime:
    """Give a moment that a document names."""
    return datetime.fromtimestamp(moment, tz=UTC)


def kind_of(said: Said) -> str:
    """Give the word by which a document says what it is."""
    return str(type(said).__struct_config__.tag)


def sealing_kid(public_key: str) -> str:
    """Give the `kid` of a key that documents are sealed to."""
    return b64url(sha256(public_key.encode()).digest())[:16]


def public_text(key: X25519PrivateKey | X25519PublicKey) -> str:
    """Give the public part of a sealing key as it is written in documents: 32 bytes, base64url."""
    public = key.public_key() if isinstance(key, X25519PrivateKey) else key
    return b64url(public.public_bytes_raw())
