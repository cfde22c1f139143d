"""What is sold: products and their editions, plans, offerings, customers, and the features of an offering.

Values only; who may sell what to whom, and under which ids it is kept, is decided elsewhere. Also in here: how features,
overdrafts and ends are written by people who sell, since a value that can't be read can't be sold.

>>> read_feature("render=elementPool:10+10%")
Feature(key='render', kind=<Kind.ELEMENT_POOL: 'elementPool'>, amount=10, overdraft=Overdraft(kind='percentage', value=10))
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from unicodedata import normalize

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.intervals import read_interval, written
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.domain.terms import BORROWED, SEAT, Kind, Mode, NoncePolicy, Overdraft, Right

MAX_NAME = 50  # characters, as the public contract has it
MAX_COUNT = 1_000_000_000  # seats or units of a feature; far below what a 64-bit counter holds
STANDARD = "Standard"  # the edition of a product that was sold the short way
DEFAULT_VENDOR = "default"
NEVER = "never"
NONE = "none"
NO_OVERDRAFT = Overdraft()

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def checked_name(text: str, what: str) -> str:
    """Give a name without blanks around it.

    Raises:
        ValueError: it is empty, longer than `MAX_NAME`, or not printable.
    """
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"{what}: a name is 1 to {MAX_NAME} printable characters, not {quoted(text)}")
    return name


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature as it is sold: how many units (None: unlimited), and what policy allows above. A bool feature is simply on."""

    key: str
    kind: Kind
    amount: int | None = 1
    overdraft: Overdraft = NO_OVERDRAFT

    def __post_init__(self) -> None:
        if self.kind is Kind.SEAT:
            raise ValueError(f"feature {self.key}: a feature is bool, elementPool or usageCount")
        if len(self.key) > MAX_NAME or not _KEY.fullmatch(self.key):
            raise ValueError(
                f"feature {quoted(self.key)}: a key is 1 to {MAX_NAME} letters, digits, dots, hyphens and underscores"
            )
        if self.amount is not None and not 0 <= self.amount <= MAX_COUNT:
            raise ValueError(f"feature {self.key}: an amount is 0 to {MAX_COUNT:,}")

    @property
    def right(self) -> Right:
        """The right that its buyers hold."""
        return Right(self.key, self.kind, self.amount, self.overdraft)

    def as_data(self) -> dict[str, object]:
        """Give it as it is kept in an offering."""
        overdraft = {"type": self.overdraft.kind, "value": self.overdraft.value}
        return {"key": self.key, "type": self.kind.value, "value": self.amount, "overdraft": overdraft}


@dataclass(frozen=True, slots=True)
class Borrowing:
    """For how long a device may take a seat home at most, and how many may be out at once (None: any number)."""

    longest: timedelta
    most: int | None = None

    def __post_init__(self) -> None:
        if self.longest <= timedelta(0):
            raise ValueError("borrow: say for how long, such as 14d, or none")
        if self.most is not None and not 1 <= self.most <= MAX_COUNT:
            raise ValueError(f"borrow: 1 to {MAX_COUNT:,} seats at once, not {quoted(str(self.most))}")

    @classmethod
    def of(cls, longest: timedelta, most: int | None) -> "Borrowing | None":
        """Give the limits as they are kept; no time at all is no borrowing."""
        return cls(longest, most) if longest else None

    @property
    def right(self) -> Right:
        """The right that borrowers hold beside their seat."""
        return Right(BORROWED, Kind.ELEMENT_POOL, self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of an offering: what a customer gets for each purchase of it. `days` None never ends."""

    seats: int
    lease: timedelta = timedelta(minutes=2)
    linger: timedelta = timedelta(0)
    overdraft: Overdraft = NO_OVERDRAFT
    mode: Mode = Mode.CONCURRENT
    features: tuple[Feature, ...] = ()
    days: int | None = 365
    nonce: NoncePolicy = NoncePolicy.OPTIONAL
    borrow: Borrowing | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.seats <= MAX_COUNT:
            raise ValueError(f"seats: sell 1 to {MAX_COUNT:,}, not {quoted(str(self.seats))}")
        if self.lease < timedelta(seconds=1):
            raise ValueError("lease: it lasts at least a second")
        if self.days is not None and not 1 <= self.days <= 36_500:
            raise ValueError("days: 1 to 36500, or never")
        keys = [feature.key for feature in self.features]
        if doubled := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"feature {doubled}: it is given twice")

    @property
    def plan(self) -> str:
        """The name of the plan these terms belong to."""
        return "Perpetual" if self.days is None else f"Subscription {self.days} days"

    @property
    def rights(self) -> tuple[Right, ...]:
        """What can be held of a purchase: the seats, each feature, and what may be out at once."""
        out = () if self.borrow is None else (self.borrow.right,)
        return Right(SEAT, Kind.SEAT, self.seats, self.overdraft), *(feature.right for feature in self.features), *out

    @property
    def features_json(self) -> str:
        """The features as they are kept in an offering."""
        return json.dumps([feature.as_data() for feature in self.features], separators=(",", ":"))

    def end_from(self, start: datetime) -> datetime | None:
        """Tell when a purchase ends that starts at a moment; None: never."""
        return None if self.days is None else start + timedelta(days=self.days)

    def sku(self, product: str) -> str:
        """Give the SKU: the same terms of the same product always have the same one, different ones never."""
        said = "|".join(map(str, (
            product, self.seats, self.lease, self.linger, self.overdraft.kind, self.overdraft.value,
            self.mode.value, self.features_json, self.days, *((self.borrow,) if self.borrow else ()),
        )))  # fmt: skip
        word = re.sub(r"[^A-Z0-9]+", "-", product.upper()).strip("-")[:24] or "PRODUCT"
        return f"{word}-{self.seats}-{sha256(said.encode()).hexdigest()[:8].upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What a vendor wants to sell: to whom, what, and on which terms. `another` allows the same again."""

    customer: str
    product: str
    terms: Terms
    tenant: str = DEFAULT_VENDOR
    contact: str | None = None
    another: bool = False

    def __post_init__(self) -> None:
        for what in ("customer", "product", "tenant"):
            object.__setattr__(self, what, checked_name(getattr(self, what), what))
        if self.contact is not None:
            object.__setattr__(self, "contact", checked_contact(self.contact))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """What a sale made: everything an application needs to take a seat. `code` is a secret of the customer's.

    `overdraft` is how many seats more may be held than were bought; None: any number.
    """

    tenant_id: str
    tenant: str
    product_id: str
    product: str
    customer: str
    entitlement_id: str
    seats: int
    ends_at: datetime | None
    code: str = field(repr=False)
    public_key: str
    overdraft: int | None = 0


def checked_contact(text: str) -> str | None:
    """Give a contact without blanks around it; None where there is nothing left.

    Raises:
        ValueError: it is too long, or not printable.
    """
    contact = text.strip()
    if len(contact) > 200 or not contact.isprintable():
        raise ValueError("contact: at most 200 printable characters, such as licenses@example.com")
    return contact or None


def is_nearly(name: str, other: str) -> bool:
    """Tell whether two names differ in nothing but case, blanks and punctuation.

    >>> is_nearly("ACME Inc.", "acme, inc")
    True
    """
    return _bare(name) == _bare(other) != ""


def _bare(name: str) -> str:
    return "".join(letter for letter in normalize("NFKC", name).casefold() if letter.isalnum())


# --- shrinking and growing -----------------------------------------------------------------------------------------


def resized(tally: Tally, seats: int, leaving: int) -> tuple[Tally, int]:
    """Give the tally of the seats after `seats` are bought, and how many holders have to go.

    `leaving` of the places taken go by themselves: returned, taken back, taken over, or ended and not settled yet.
    """
    right = Right(tally.right.key, tally.right.kind, seats, tally.right.overdraft)
    above = 0 if right.cap is None else max(0, tally.used - right.cap)
    return Tally(right, tally.used, above), max(0, above - leaving)


# --- how people write it -------------------------------------------------------------------------------------------


def read_overdraft(text: str) -> Overdraft:
    """Read an overdraft: `10%`, `5`, `none` or `unlimited`.

    Raises:
        ValueError: it is written otherwise.
    """
    said = text.strip().lower()
    if said in ("none", "unlimited"):
        return Overdraft(said)
    number = said.removesuffix("%")
    if not (number.isascii() and number.isdecimal()) or len(number) > 9:
        raise ValueError(f"{quoted(text)} is no overdraft: write 10%, 5, none or unlimited")
    return Overdraft("percentage" if said.endswith("%") else "absolute", int(number))


def written_overdraft(overdraft: Overdraft) -> str:
    """Write an overdraft as it is read."""
    match overdraft.kind:
        case "percentage":
            return f"{overdraft.value}%"
        case "absolute":
            return str(overdraft.value)
        case kind:
            return kind


def read_feature(text: str) -> Feature:
    """Read a feature: `export=bool`, `render=elementPool:10`, `render=elementPool:10+10%`, `pages=usageCount:500`.

    Raises:
        ValueError: it is written otherwise.
    """
    key, equals, said = text.strip().partition("=")
    kind, colon, amount = said.partition(":")
    counted = kind in (Kind.ELEMENT_POOL.value, Kind.USAGE_COUNT.value)
    if not equals or not (counted or kind == Kind.BOOL.value) or counted != bool(colon):
        raise ValueError(
            f"{quoted(text)} is no feature: write export=bool, render=elementPool:10[+10%] or pages=usageCount:500"
        )
    if not counted:
        return Feature(key, Kind.BOOL)
    number, plus, overdraft = amount.partition("+")
    return Feature(key, Kind(kind), _read_amount(number, text), read_overdraft(overdraft) if plus else NO_OVERDRAFT)


def _read_amount(number: str, text: str) -> int | None:
    if number == "unlimited":
        return None
    if not (number.isascii() and number.isdecimal()) or len(number) > 10:
        raise ValueError(f"{quoted(text)}: an amount is a whole number or unlimited")
    return int(number)


def read_borrowing(text: str) -> Borrowing | None:
    """Read the limits of borrowing: `14d`, `14d:5` (five at once) or `none`.

    >>> read_borrowing("14d:5")
    Borrowing(longest=datetime.timedelta(days=14), most=5)

    Raises:
        ValueError: it is written otherwise.
    """
    said = text.strip().lower()
    if said == NONE:
        return None
    longest, colon, most = said.partition(":")
    if colon and (not (most.isascii() and most.isdecimal()) or len(most) > 10):
        raise ValueError(f"{quoted(text)}: write for how long and how many at once, such as 14d or 14d:5, or none")
    return Borrowing(read_interval(longest), int(most) if colon else None)


def written_borrowing(borrowing: Borrowing | None) -> str:
    """Write the limits of borrowing as they are read."""
    if borrowing is None:
        return NONE
    return written(borrowing.longest) + ("" if borrowing.most is None else f":{borrowing.most}")


def read_end(text: str) -> datetime | None:
    """Read when something ends: `2027-01-31` (that day included, UTC), `2027-01-31T12:00:00Z`, or `never` (None).

    Raises:
        ValueError: it is written otherwise.
    """
    said = text.strip()
    if said.lower() == NEVER:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said, re.ASCII):
            return datetime.combine(date.fromisoformat(said) + timedelta(days=1), time(), UTC)
        moment = datetime.fromisoformat(said)
    except OverflowError as error:
        raise ValueError(f"{quoted(text)} is too far away: write 9999-12-30 at the latest, or never") from error
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is no date: write 2027-01-31, 2027-01-31T12:00:00Z or never") from error
    if moment.tzinfo is None:
        raise ValueError(f"{quoted(text)}: say in which time zone, such as 2027-01-31T12:00:00Z")
    return moment.astimezone(UTC)
