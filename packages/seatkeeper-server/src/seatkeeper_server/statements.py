"""What documents between a vendor's server and a license server at a customer's site say, and in which bounds.

They are values only. How they are signed and sealed is in `tokens.py`; whether one may be applied is decided in
`service/lending` and `service/grants`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from msgspec import Meta, Struct, field

from seatkeeper.protocol.ids import b64url

VERSION: Final = 1
MAX_TOKEN: Final = 600 * 1024  # characters; the largest is a report of many hours (`service.use.MOST_HOURS`)

_LATEST: Final = 253_370_764_800  # 9999-01-01: a year is left for what is added to a moment

Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Moment = Annotated[float, Meta(ge=0, le=_LATEST)]  # seconds since 1970
Hour = Annotated[int, Meta(ge=0, le=_LATEST, multiple_of=3600)]


class TooLong(Exception):
    """This document would be longer than one may be; the message says what to do."""


class Unreadable(Exception):
    """This is no document that can be read here. `reason` says why: malformed, receiver, seal, signature, signer."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Said(Struct, frozen=True, kw_only=True):
    """What every document says: of whose tenant, from or for which server, its id, when, and its number in its direction."""

    v: int = VERSION
    tid: str
    site: str = ""
    jti: str
    iat: Moment
    seq: Number = 0


class LicenseRequest(Said, frozen=True, kw_only=True, tag_field="kind", tag="license-request"):
    """A server asks for its license: what it is called, by which keys it is known, and what the answer has to repeat."""

    name: str
    challenge: str
    signing_key: str
    sealing_key: str
    iss: str


class LicenseGiven(Said, frozen=True, kw_only=True, tag_field="kind", tag="license"):
    """The vendor licenses a server, or goes on doing so; `certificate` lets its key sign what is lent to it."""

    name: str
    challenge: str
    root: str
    vendor: str
    contact: str | None
    sealing_key: str
    issuer: str
    lease_ends_at: Moment
    patience: float  # seconds for which it serves while it is suspect
    certificate: str
    heard: Number = 0  # the number of the last document from this server: one whose data were set back goes on above it


class SnapshotRight(Struct, frozen=True, kw_only=True):
    """One thing that is lent: so much of it (None: any number), and what is granted above."""

    key: str
    kind: str
    amount: int | None
    overdraft: str = "none"
    overdraft_value: int = 0


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entitlement as a local server has to know it. Intervals are in microseconds.

    A device may take a seat home for `borrow` at most, and `borrow_most` may at once (None: any number).
    """

    entitlement_id: str
    group_id: str
    product_id: str
    product: str
    edition_id: str
    edition: str
    offering_id: str
    offering: str
    sku: str
    plan_id: str
    plan: str
    plan_type: str
    license_type: str
    license_start_type: str
    duration_type: str
    duration_count: int | None
    customer_id: str
    customer: str
    account_ref_id: str | None
    order_ref_id: str | None
    mode: str
    lease: int
    linger: int
    margin: int
    nonce: str
    has_maintenance: bool
    maintenance_ends_at: float | None
    rights: list[SnapshotRight]
    codes: list[str]
    borrow: int = 0
    borrow_most: int | None = None


class GrantGiven(Said, frozen=True, kw_only=True, tag_field="kind", tag="grant"):
    """The vendor lends a share: document `number` of the session `sid`, which began with document `began`."""

    sid: str
    number: Number
    began: Number
    until: Moment
    snapshot: Snapshot
    issuer: str
    certificate: str
    patience: float
    heard: Number = 0  # see `LicenseGiven`


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
    number: Number
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

    state: str
    epoch: Number
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

    name: str


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
