"""The documents of the Licensing API, as they cross the wire.

Field names are those of the contract (camelCase); moments are RFC 3339 in UTC. Unknown fields are ignored when reading,
because a newer program must work with an older server; so nothing in here may ever change its meaning, only be joined by
something optional. Who decides what these say lives elsewhere.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType

from seatkeeper.protocol.text import PRINTABLE

MAX_BODY_BYTES = 64 * 1024
MAX_LIST_BYTES = 2 * 1024 * 1024  # of a list of refreshes: of 1,000 items, each has room for a lease of ordinary size
MAX_LISTED = 1_000  # refreshes in one list
UNREADABLE = (DecodeError, UnicodeDecodeError, RecursionError)  # what reading bytes of who knows whom may raise
MAX_SEAT_ID = 200  # characters; theirs is 50, longer is ours
TREE = "tree"  # in `leaseTypes`: the program reads leases that were signed together (`tree.py`)
MAX_AMOUNT = 9_007_199_254_740_990  # of a feature in one call: a number that every language's JSON reads exactly

Id = Annotated[str, Meta(min_length=1, max_length=64)]
SeatId = Annotated[str, Meta(min_length=1, max_length=MAX_SEAT_ID, pattern=PRINTABLE)]
ShortText = Annotated[str, Meta(max_length=200, pattern=PRINTABLE)]
FeatureKey = Annotated[str, Meta(min_length=1, max_length=50, pattern=PRINTABLE)]
Amount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]
ClientNonce = Annotated[str, Meta(min_length=16, max_length=100, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")]
LeaseTypes = Annotated[list[Annotated[str, Meta(max_length=50)]], Meta(max_length=10)]  # unknown ones are ignored
Moment = Annotated[datetime, Meta(tz=True)]  # RFC 3339 has no moments without an offset

ActivationStatus = Literal["active", "leaseExpired"]
ActivationMode = Literal["online", "offline"]
ActivationMethod = Literal["activationCode", "openIdToken", "password"]
ConcurrencyMode = Literal["concurrent", "nodeLock"]
FeatureType = Literal["bool", "elementPool", "usageCount"]
EntitlementStatus = Literal["active", "gracePeriod", "expired", "disabled", "exported", "created", "customerDisabled"]
IntervalType = Literal["none", "second", "minute", "hour", "day", "week", "month", "year"]


class Wire(Struct, rename="camel", omit_defaults=False, kw_only=True, frozen=True):
    """What every document shares: camelCase names, immutable values."""


# --- what a program asks -------------------------------------------------------------------------------------------


class CodeCredentials(Wire, frozen=True, kw_only=True, tag_field="type", tag="activationCode"):
    """The bearer of this code may take a seat of the group the code belongs to."""

    code: Annotated[str, Meta(min_length=1, max_length=50)]


class OpenIdCredentials(Wire, frozen=True, kw_only=True, tag_field="type", tag="openIdToken"):
    """An identity token of the vendor's or customer's identity provider."""

    token: Annotated[str, Meta(min_length=1)]


class PasswordCredentials(Wire, frozen=True, kw_only=True, tag_field="type", tag="password"):
    """A named user's e-mail and password."""

    username: Annotated[str, Meta(min_length=1, max_length=100)]
    password: Annotated[str, Meta(min_length=1, max_length=200)]


Credentials = CodeCredentials | OpenIdCredentials | PasswordCredentials


class WantedFeature(Wire, frozen=True, kw_only=True):
    """A feature to be granted together with the seat, all or none."""

    key: FeatureKey
    amount: Amount = 1


class Wait(Wire, frozen=True, kw_only=True):
    """Join the line, at most this long, if no seat is free."""

    max_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)]


class Holder(Wire, frozen=True, kw_only=True):
    """Who asks, in words that policies, charts and refusals use."""

    user: ShortText | None = None
    host: ShortText | None = None
    process: ShortText | None = None
    group: ShortText | None = None
    project: ShortText | None = None


class ActivateRequest(Wire, frozen=True, kw_only=True):
    """POST /api/v1/activate: take a seat."""

    product_id: Id
    seat_id: SeatId
    seat_name: ShortText | None = None
    edition_id: Id | None = None
    activation_credentials: Credentials | None = None
    activation_code: Annotated[str, Meta(min_length=1, max_length=50)] | None = None  # older spelling
    client_nonce: ClientNonce | None = None
    last_lease: str | None = None
    sent_at: Moment | None = None
    features: Annotated[list[WantedFeature], Meta(max_length=100)] = []
    wait: Wait | None = None
    holder: Holder | None = None
    product_version: ShortText | None = None
    borrow_until: Moment | None = None
    device_key: Annotated[str, Meta(max_length=100)] | None = None  # with `device_proof`: see `devices.py`
    device_proof: Annotated[str, Meta(max_length=100)] | None = None
    lease_types: LeaseTypes = []  # beside leases signed alone, which everybody reads


class RefreshRequest(Wire, frozen=True, kw_only=True):
    """PATCH /api/v1/activation/refresh: keep the seat."""

    client_nonce: ClientNonce | None = None
    last_lease: str | None = None
    activity: Any = None  # reported use, for idle-seat policies; not read yet
    answer: Any = None  # the answer to an earlier `ask`; not read yet
    lease_types: LeaseTypes = []


class ListedRefresh(RefreshRequest, frozen=True, kw_only=True):
    """One item of POST /api/v1/activations/refresh, whose body is a list of them: what a refresh of its own would say.

    What has a header there has a field here: `access_token` and `nonce`.
    """

    access_token: str
    nonce: str | None = None


class FeatureRequest(Wire, frozen=True, kw_only=True):
    """PATCH …/features/checkout and …/features/return: draw or give back an amount."""

    key: FeatureKey
    amount: Amount = 1
    client_nonce: ClientNonce | None = None
    lease_types: LeaseTypes = []


class UsageRequest(Wire, frozen=True, kw_only=True):
    """POST …/features/usage: say that a feature was used."""

    key: FeatureKey
    client_nonce: ClientNonce | None = None


class StatusRequest(Wire, frozen=True, kw_only=True):
    """POST /api/v1/status: what any user of the code may see."""

    product_id: Id
    activation_code: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    activation_credentials: Credentials | None = None


# --- what a server answers -----------------------------------------------------------------------------------------


class Interval(Wire, frozen=True, kw_only=True):
    """A length of time as the contract writes it: a unit and a count; `none` has no count."""

    type: IntervalType
    count: int | None = None


class FeatureState(Wire, frozen=True, kw_only=True):
    """One feature as this activation sees it; None stands for unlimited."""

    key: str
    type: FeatureType
    active: int | None
    available: int | None
    total: int | None
    current_usage_period_start: datetime | None = None
    next_usage_period_start: datetime | None = None


class AttributeState(Wire, frozen=True, kw_only=True):
    """One attribute of the entitlement: data the vendor attached for his program."""

    key: str
    type: Literal["number", "date", "string"]
    value: str | None


class ActivationState(Wire, frozen=True, kw_only=True):
    """A seat as its holder sees it. One that was borrowed has a `lease` that says so."""

    id: str
    activation_method: ActivationMethod
    status: ActivationStatus
    mode: ActivationMode
    product_id: str
    edition_id: str
    entitlement_id: str
    seat_id: str
    seat_name: str | None
    username: str | None
    activated: datetime
    last_lease: datetime
    lease_expiry: datetime
    deactivated: datetime | None = None
    entitlement_expiry_date: datetime | None = None
    entitlement_grace_period_expiry: datetime | None = None
    entitlement_status: EntitlementStatus = "active"
    entitlement_concurrency_mode: ConcurrencyMode = "concurrent"
    has_maintenance: bool = False
    maintenance_expiry_date: datetime | None = None
    attributes: list[AttributeState] = []
    features: list[FeatureState] = []


class ActivateAnswer(Wire, frozen=True, kw_only=True):
    """201 for a new place, 200 for the same place again."""

    access_token: str
    activation: ActivationState
    lease: str
    certificate: str


class RefreshAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """The seat is held on; `lease` replaces the one before it. `certificate` comes when it has changed."""

    access_token: str
    activation: ActivationState
    lease: str
    certificate: str | None = None
    ask: Any = None


class ListedAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one refresh of a list: what it would have been answered alone.

    Of one that was served (`status` 200) there are `access_token`, `activation` and `lease`; of any other the fields of an
    error body. `nonce` is the one to show next, to who showed one; `retry_after` is in seconds.
    """

    status: int
    nonce: str | None = None
    access_token: str | None = None
    activation: ActivationState | None = None
    lease: str | None = None
    retry_after: int | None = None
    error: str | None = None
    details: str | None = None
    error_code: str | None = None
    validation_errors: "list[ValidationProblem] | None" = None
    denial: "Denial | None" = None


class ListAnswer(Wire, frozen=True, kw_only=True):
    """What became of a list of refreshes: one result each, in the list's order. All leases are under the one certificate."""

    results: list[ListedAnswer]
    certificate: str


class FeatureAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """The feature after a checkout or return, and the lease that says so, with the certificate it was signed under."""

    key: str
    type: FeatureType
    active: int | None
    available: int | None
    total: int | None
    lease: str | None = None
    certificate: str | None = None


class PlanTerms(Wire, frozen=True, kw_only=True):
    """The commercial plan behind an entitlement."""

    name: str
    license_type: Literal["subscription", "perpetual"]
    license_start_type: Literal["activation", "entitlementCreation", "manualActivation", "custom"]
    license_duration: Interval


class ActivationEntitlement(Wire, frozen=True, kw_only=True):
    """GET /api/v1/activation/entitlement: what was bought, as of `snapshot_date`."""

    customer_name: str | None
    customer_account_ref_id: str | None
    order_ref_id: str | None
    offering_name: str
    sku: str
    product_name: str
    plan: PlanTerms
    grace_period: Interval
    linger_period: Interval
    lease_period: Interval
    offline_lease_period: Interval
    has_maintenance: bool
    maintenance_expiry_date: datetime | None
    seat_count: int
    expiry_date: datetime | None
    snapshot_date: datetime


class SeatHolder(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """One holder as others may see it, as far as the entitlement's privacy policy allows."""

    seat_name: str
    since: datetime
    lease_expiry: datetime
    borrowed_until: datetime | None = None  # if a device has taken the seat home


class StatusAnswer(Wire, frozen=True, kw_only=True):
    """How full a pool is and who is in it."""

    product_id: str
    product_name: str
    entitlement_id: str
    status: EntitlementStatus
    seats: int
    used: int
    free: int | None
    overdraft: int
    line: int
    holders: list[SeatHolder]
    next_free_by: datetime | None


# --- refusals ------------------------------------------------------------------------------------------------------


class Remedy(Wire, frozen=True, kw_only=True):
    """Something that would help."""

    kind: Literal["wait", "contact", "free", "renew", "point"]
    text: str


class ExpectedFree(Wire, frozen=True, kw_only=True):
    """An estimate from recorded sessions of when a seat comes back."""

    p50: datetime
    p90: datetime


class Denial(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Why a seat or feature was refused, and what would help.

    `next_free_by` is the earliest moment a place comes back *unless its lease is refreshed*: no text may say "free at".
    """

    id: str
    rule: str
    limit: int | None
    used: int
    overdraft: int
    line: int
    feature: str | None = None
    wanted: int | None = None  # of the feature
    product_name: str | None = None
    holders: list[SeatHolder] = []
    holders_more: int = 0
    next_free_by: datetime | None = None
    expected_free_at: ExpectedFree | None = None
    remedies: list[Remedy] = []


class ValidationProblem(Wire, frozen=True, kw_only=True):
    """One field that is missing or wrong."""

    message: str
    property_name: str
    code: str = "invalid"


class ErrorBody(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    error: str
    details: str
    error_code: str
    validation_errors: list[ValidationProblem] | UnsetType = UNSET
    denial: Denial | UnsetType = UNSET


# --- signed documents ----------------------------------------------------------------------------------------------


class LeaseClaims(Struct, frozen=True, kw_only=True):
    """What a signed lease says. `iat` and `exp` are seconds since 1970 and may have a fraction (RFC 7519, 2)."""

    iss: str  # the database that counts
    tid: str
    prd: str
    edn: str
    ent: str
    act: str
    gen: int
    sub: str  # the seat id
    feat: dict[str, int]
    iat: float
    exp: float
    epo: int
    seq: int
    nonce: str | None = None
    dev: str | None = None  # the device it was given to; a program that proved one must find its own
    bor: bool | UnsetType = UNSET  # it was borrowed: good to its end without any server, on that device


class Covered(Struct, frozen=True, kw_only=True):
    """What a local server's key may sign for of one entitlement. A feature of which any number was lent is not bounded."""

    features: dict[str, int | None]
    end: float


class Covers(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a local server's key may sign for: its grants' entitlements, features and end; `each` says it one by one."""

    entitlements: list[str]
    features: dict[str, int]
    end: float
    each: dict[str, Covered] | None = None


class CertificateClaims(Struct, frozen=True, kw_only=True):
    """A tenant's root says: leases of this tenant signed by `key`, for the database `iss`, are mine."""

    tid: str
    iss: str
    kid: str
    key: str  # the Ed25519 public key, 32 bytes, base64url
    iat: float
    nbf: float
    exp: float
    covers: Covers | None = None
    epo: int | None = None  # the epoch of what is signed under it: only the vendor raises a local server's


class KeysAnswer(Wire, frozen=True, kw_only=True):
    """GET /.well-known/seatkeeper/keys: a tenant's root and the keys it has certified."""

    tenant_id: str
    public_key: str
    certificates: list[str]
