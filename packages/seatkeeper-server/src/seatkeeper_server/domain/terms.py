"""What was bought, and on what terms: the constants of a pool between two changes of its entitlement.

>>> Overdraft.percentage(10).above(50)
5
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

SEAT = ""  # the right every seat holds; features are held under their own keys, which are never empty
BORROWED = "@borrowed"  # the right of a seat that a device took home; no feature can be called that


def is_feature(key: str) -> bool:
    """Tell whether a right is a feature, which people have names for."""
    return key not in (SEAT, BORROWED)


class Mode(StrEnum):
    """What an unrefreshed lease means: a free place (concurrent) or only no right to run (nodeLock)."""

    CONCURRENT = "concurrent"
    NODE_LOCK = "nodeLock"


class NoncePolicy(StrEnum):
    """Whether a program must show the nonce of its last answer; `optional` lets curl work, until the first one is shown."""

    OPTIONAL = "optional"
    REQUIRED = "required"


class Kind(StrEnum):
    """How a right is counted: held and given back, used up, or only switched on."""

    SEAT = "seat"
    BOOL = "bool"
    ELEMENT_POOL = "elementPool"
    USAGE_COUNT = "usageCount"


class Switch(StrEnum):
    """What people have done to an entitlement, apart from what time does to it."""

    ON = "on"
    CREATED = "created"  # sold, not started
    DISABLED = "disabled"
    CUSTOMER_DISABLED = "customerDisabled"
    EXPORTED = "exported"


class Standing(StrEnum):
    """The entitlement's status as the contract names it."""

    ACTIVE = "active"
    GRACE_PERIOD = "gracePeriod"
    EXPIRED = "expired"
    CREATED = "created"
    DISABLED = "disabled"
    CUSTOMER_DISABLED = "customerDisabled"
    EXPORTED = "exported"


class Overdraft(Struct, frozen=True):
    """How much may be granted above what was bought: `none`, `absolute`, `percentage` (rounded down) or `unlimited`."""

    kind: str = "none"
    value: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("none", "absolute", "percentage", "unlimited"):
            raise ValueError(f"unknown overdraft {self.kind!r}: use none, absolute, percentage or unlimited")
        if self.value < 0:
            raise ValueError("an overdraft can't be negative")

    @classmethod
    def percentage(cls, value: int) -> "Overdraft":
        """Allow this percentage of what was bought, rounded down."""
        return cls("percentage", value)

    def above(self, bought: int) -> int | None:
        """Tell how many units may be granted above `bought`; None means any number."""
        match self.kind:
            case "unlimited":
                return None
            case "absolute":
                return self.value
            case "percentage":
                return bought * self.value // 100
            case _:
                return 0


class Right(Struct, frozen=True):
    """One kind of thing that can be held: how many were bought (None: unlimited) and what policy allows above that."""

    key: str
    kind: Kind
    bought: int | None
    overdraft: Overdraft = Overdraft()

    @property
    def cap(self) -> int | None:
        """How many may be taken at most; None means any number."""
        if self.bought is None:
            return None
        above = self.overdraft.above(self.bought)
        return None if above is None else self.bought + above

    @property
    def counted(self) -> bool:
        """Whether taking it changes a counter; a bool feature is merely on or off."""
        return self.kind is not Kind.BOOL

    @property
    def returnable(self) -> bool:
        """Whether what was taken comes back; a usage count is used up."""
        return self.kind in (Kind.SEAT, Kind.ELEMENT_POOL)


class Terms(Struct, frozen=True, kw_only=True):
    """The terms of one entitlement that a decision needs.

    `margin` is how long a place is kept beyond the end of its lease (decision 8). `ends_at` plus `grace` bounds every lease.
    `borrow` is for how long a device may take a seat home at most; nothing if it may not.
    """

    mode: Mode = Mode.CONCURRENT
    lease: timedelta
    linger: timedelta = timedelta(0)
    margin: timedelta
    nonce: NoncePolicy = NoncePolicy.REQUIRED
    switch: Switch = Switch.ON
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    grace: timedelta = timedelta(0)
    borrow: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.lease <= timedelta(0):
            raise ValueError("a lease must last longer than nothing")
        if min(self.linger, self.margin, self.grace, self.borrow) < timedelta(0):
            raise ValueError("linger, margin, grace and borrowing can't be negative")

    @property
    def last_moment(self) -> datetime | None:
        """No lease may end after this."""
        return None if self.ends_at is None else self.ends_at + self.grace

    @property
    def refresh_interval(self) -> timedelta:
        """How often a living program refreshes: a third of its lease."""
        return self.lease / 3

    def standing(self, now: datetime) -> Standing:
        """Tell the entitlement's status at a moment."""
        if self.switch is not Switch.ON:
            return Standing(self.switch.value)
        if self.starts_at is not None and now < self.starts_at:
            return Standing.CREATED
        if self.ends_at is None or now < self.ends_at:
            return Standing.ACTIVE
        return Standing.GRACE_PERIOD if now < self.ends_at + self.grace else Standing.EXPIRED

    def lease_end(self, now: datetime) -> datetime:
        """Tell when a lease granted now ends."""
        return self.bounded(now + self.lease)

    def bounded(self, moment: datetime) -> datetime:
        """Cut a moment off at the end of the entitlement and its grace."""
        last = self.last_moment
        return moment if last is None else min(moment, last)
