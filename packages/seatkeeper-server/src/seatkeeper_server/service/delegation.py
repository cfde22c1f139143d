"""What a vendor's server and a license server at a customer's site know of each other: values, and who keeps them.

`lending.py` is the vendor's side and `grants.py` the site's; both are handed a `SiteBook`, which the store implements, and a
`Keyholder`, which signs, seals and certifies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from seatkeeper.protocol.documents import Covers
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.shares import Amounts, Grant
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import Switch
from seatkeeper_server.service.catalogue import Bought, CannotDo, Catalogue, Vault
from seatkeeper_server.service.connections import ConnectionBook
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.statements import HourOfUse, Snapshot, TooLong, Unreadable

Result = TypeVar("Result")


class TokenRefused(CannotDo):
    """The token can't be applied here. Nothing was changed; the message says why and what to do. `problem` is its code."""

    REPLAYED: Final = "offline.replayed"
    TOO_OLD: Final = "offline.tooOld"

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class NoRoom(CannotDo):
    """There is not so much left as would be lent: lend fewer, or free some. Nothing was changed."""


def readable(read: Callable[[], Result]) -> Result:
    """Read a document, or refuse it in words for people.

    Raises:
        TokenRefused: it can't be read here.
    """
    try:
        return read()
    except Unreadable as error:
        raise TokenRefused(_PROBLEMS[error.reason], str(error)) from error


def writable(make: Callable[[], str]) -> str:
    """Make a document, or say in words for people why it can't be made.

    Raises:
        CannotDo: it would be too long, or the receiver's key is none.
    """
    try:
        return make()
    except TooLong as error:
        raise CannotDo(str(error)) from error


_PROBLEMS: Final = {
    "malformed": "offline.malformed",
    "seal": "offline.forged",
    "signature": "offline.forged",
    "signer": "offline.wrongKey",
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a token: what it was, in a sentence for people; `reply` is what is to be carried back, if anything is."""

    kind: str
    text: str
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a vendor answers to a document that was sent: what became of it, whether its server is believed, what it needs."""

    text: str
    state: SiteState
    tokens: Sequence[str] = field(repr=False)


# --- the vendor's side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A local license server as its vendor knows it. `sent` and `heard` number the documents each way.

    `heard_made_at` is when the last one heard was made, by the server's own clock.
    """

    tenant_id: str
    site_id: str
    name: str
    entitlement_id: str
    activation_id: str
    database_id: str
    signing_key: str
    sealing_key: str
    state: SiteState = SiteState.OK
    state_since: datetime | None = None
    sent: int = 0
    heard: int = 0
    heard_id: str = ""
    heard_made_at: datetime | None = None
    last_report_at: datetime | None = None
    activated_at: datetime
    last_lease: datetime | None = None
    lease_ends_at: datetime | None = None
    deactivated_at: datetime | None = None

    @property
    def is_licensed(self) -> bool:
        """Whether its license was not given back."""
        return self.deactivated_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of an entitlement that was lent to a site; `facts` and `head` are the end of the chain as it was last reported."""

    tenant_id: str
    share_id: str
    entitlement_id: str
    site_id: str
    holder: int
    is_whole: bool
    skew: timedelta
    snapshot: str
    lent_at: datetime
    token_at: datetime
    ended_at: datetime | None = None
    facts: int = 0
    head: str = ""

    @property
    def key(self) -> PoolKey:
        """The pool that it is a part of."""
        return self.tenant_id, self.entitlement_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A share as its vendor is shown it. `out_of_sync` says that the entitlement has changed since its last document."""

    share_id: str
    site: Site
    seats: int
    features: Amounts
    until: datetime
    is_whole: bool
    exported_at: datetime
    last_token_at: datetime
    out_of_sync: bool
    counts_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfUse:
    """A day of a share, as its server reported it: most and fewest seats held, refusals, seat-hours, and hours not reported."""

    day: date
    high: int
    low: int
    denials: int
    seat_hours: float
    hours_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareUse:
    """What a vendor knows of the use of a share: its days, and the facts up to a number."""

    share_id: str
    entitlement_id: str
    site: Site
    facts: int
    days: Sequence[DayOfUse]


# --- on a local server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLicense:
    """This server's own license from a vendor, as it is kept. `epoch` is the number of the last document from him."""

    tenant_id: str
    name: str
    challenge: str
    asked_at: datetime
    site_id: str | None = None
    root_key: str | None = None
    sealing_key: str | None = None
    lease_ends_at: datetime | None = None
    epoch: int = 0
    sent: int = 0
    state: SiteState = SiteState.OK
    state_since: datetime | None = None
    patience: timedelta = timedelta(0)
    ended_at: datetime | None = None

    @property
    def suspect_until(self) -> datetime | None:
        """Until when it goes on serving although it is suspect; None if it is not."""
        return None if self.state_since is None else self.state_since + self.patience


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """This server's license as its administrator is shown it: `active`, `expired`, or `notActive`: none was given."""

    tenant_id: str
    status: str
    site_id: str | None = None
    name: str | None = None
    lease_ends_at: datetime | None = None
    state: SiteState = SiteState.OK
    serves_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LentRecord:
    """What an entitlement on this server rests on: document `number` of a share, which began at `began`.

    Reported are its facts up to number `reported`, and its use until `reported_at`; `warned` is of how many percent of the
    grant's time was warned.
    """

    tenant_id: str
    entitlement_id: str
    share_id: str
    number: int
    began: int
    granted_at: datetime
    until: datetime
    ended_at: datetime | None = None
    reported: int = 0
    reported_head: str = ""
    warned: int = 0
    reported_at: datetime | None = None
    base: Amounts = field(default_factory=dict)

    @property
    def key(self) -> PoolKey:
        """Its pool."""
        return self.tenant_id, self.entitlement_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What was lent to this server, in words."""

    bought: Bought
    codes: Sequence[str] = field(repr=False)
    until: datetime
    number: int
    share_id: str
    granted_at: datetime


# --- who keeps and who signs ---------------------------------------------------------------------------------------


class SiteBook(Protocol):
    """Keeps what both sides know of each other, within the transaction of a catalogue."""

    def has_applied(self, tenant_id: str, token_id: str) -> bool:
        """Tell whether a document was applied here."""
        ...

    def note_applied(self, tenant_id: str, token_id: str, now: datetime) -> None:
        """Remember that a document was applied."""
        ...

    # the vendor's side
    def sites(self, tenant_id: str) -> list[Site]:
        """Give a vendor's local license servers, oldest first."""
        ...

    def save_site(self, site: Site) -> None:
        """Keep what is known of a server."""
        ...

    def shares(self, tenant_id: str) -> list[Share]:
        """Give what a vendor has lent, oldest first; ended ones too."""
        ...

    def save_share(self, share: Share) -> None:
        """Keep a share."""
        ...

    def grants(self, tenant_id: str, share_id: str) -> list[Grant]:
        """Give the documents of a share that may be in force, oldest first."""
        ...

    def save_grants(self, tenant_id: str, share_id: str, grants: Sequence[Grant], now: datetime) -> None:
        """Keep these documents of a share, and no others."""
        ...

    def layers(self, tenant_id: str, share_id: str) -> list[Holding]:
        """Give every place of a share."""
        ...

    def snapshot(self, key: PoolKey) -> Snapshot:
        """Give an entitlement in words, without rights and codes."""
        ...

    def set_switch(self, key: PoolKey, switch: Switch) -> None:
        """Switch an entitlement on or off."""
        ...

    def save_use(self, tenant_id: str, share_id: str, hours: Sequence[HourOfUse]) -> None:
        """Keep the hours of use that a server reported."""
        ...

    def use(self, tenant_id: str, share_id: str) -> list[HourOfUse]:
        """Give the hours of use that were reported."""
        ...

    # a local server's
    def own_licenses(self) -> list[OwnLicense]:
        """Give this server's licenses, one a vendor."""
        ...

    def save_own_license(self, license_: OwnLicense) -> None:
        """Keep a license, or that it was asked for."""
        ...

    def lent(self, tenant_id: str) -> list[LentRecord]:
        """Give what a vendor has lent to this server; ended shares too."""
        ...

    def save_lent(self, record: LentRecord) -> None:
        """Keep what an entitlement rests on."""
        ...

    def put_tenant(self, tenant_id: str, name: str, contact: str | None, now: datetime) -> None:
        """Have a vendor whose seats are lent to this server."""
        ...

    def put_entitlement(self, tenant_id: str, snapshot: Snapshot, ends_at: datetime, now: datetime) -> None:
        """Have an entitlement as a document says it is, all but its rights and codes."""
        ...

    def put_right(
        self, key: PoolKey, right: str, kind: str, bought: int | None, overdraft: tuple[str, int], cap: int | None
    ) -> None:
        """Have so much of a right in an entitlement; what is taken of it stays."""
        ...

    def drop_codes(self, tenant_id: str, group_id: str) -> None:
        """Forget a group's activation codes."""
        ...

    def set_end(self, key: PoolKey, ends_at: datetime) -> None:
        """Set when an entitlement ends here."""
        ...

    def believed(self, key: PoolKey) -> list[tuple[Amounts, datetime]]:
        """Give what every place that counts takes, and until when somebody may believe in it."""
        ...

    def facts_after(self, key: PoolKey, number: int) -> list[FactRecord]:
        """Give the facts of an entitlement after a number."""
        ...


class Books(Catalogue, Protocol):
    """A catalogue that knows of local license servers too."""

    @property
    def sites(self) -> SiteBook:
        """What is known of local license servers, and on one of itself."""
        ...

    @property
    def connections(self) -> ConnectionBook:
        """On a local server: its connections to vendors."""
        ...


class Keyholder(Vault, Protocol):
    """Signs, seals and certifies for a tenant, or for this server itself (owner '')."""

    def sealing_key(self, owner: str, now: datetime) -> X25519PrivateKey:
        """Give the key that documents for an owner are sealed to; made if there is none."""
        ...

    def own_signing_key(self, now: datetime) -> Ed25519PrivateKey:
        """Give the key by which this server signs as a local one; made if there is none."""
        ...

    def signing_key(self, tenant_id: str) -> tuple[Ed25519PrivateKey, str]:
        """Give the tenant's current signing key and its certificate."""
        ...

    def certify(
        self, tenant_id: str, *, site: Site, covers: Covers, since: datetime, until: datetime, epoch: int, now: datetime
    ) -> str:
        """Have the tenant's root certify the key of a local server, for what it was lent."""
        ...

    def welcome(self, tenant_id: str, root_key: str, certificate: str, now: datetime) -> None:
        """Serve a vendor's programs under this certificate of his root's from now on; with secrets of this server's own."""
        ...

    def database_id(self) -> str:
        """Give the id of this database, which every lease names as its issuer."""
        ...
