"""What a vendor's server and a license server at a customer's site know of each other: values, and how a document is refused.

`lending` is the vendor's side and `grants` the site's. Who keeps these values: `site_books.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, TypeVar

from seatkeeper_server.domain.shares import Amounts
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.catalogue import Bought, CannotDo
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.statements import TooLong, Unreadable

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
    def is_licensed(self) -> bool:
        """Whether it was given, and not given back."""
        return self.site_id is not None and self.ended_at is None

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
