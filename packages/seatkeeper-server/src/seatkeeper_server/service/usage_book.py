"""What facts come to, as it is kept: values, and who keeps them (`store/usage.py`)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from seatkeeper_server.domain.usage import Demand, Level, Slot
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.ports import PoolKey


class Break(Struct, frozen=True, array_like=True):
    """Where a chain's facts were written down with earlier moments than before, since a clock was set back."""

    number: int
    recorded_at: datetime


class Mark(Struct, frozen=True):
    """Up to which fact a chain was rolled up; the latest moment one of them was written down at, and where that fell."""

    number: int = 0
    recorded_at: datetime | None = None
    breaks: tuple[Break, ...] = ()


class Count(Struct, frozen=True):
    """How often something happened in a slot: `came`, `denied` by a rule, `used` of a feature."""

    start: datetime
    what: str
    rule: str
    right: str
    count: int


class Session(Struct, frozen=True, kw_only=True):
    """One stay of a holder's in the pool; `number` is the fact's by which it began. It lasts while `ended_at` is None."""

    number: int
    activation_id: str
    holder: int
    started_at: datetime
    ended_at: datetime | None = None
    cause: str | None = None


class Wish(Struct, frozen=True):
    """A demand as it is kept: under the number of the fact by which it began."""

    number: int
    demand: Demand


class Stay(Struct, frozen=True, kw_only=True):
    """How long a holder was there in a time, in how many sessions, how many of which last; `who` is None once he was erased."""

    holder: int
    sessions: int
    lasting: int
    time: timedelta
    who: Who | None


class UsageBook(Protocol):
    """Keeps what facts come to, within one transaction or snapshot."""

    def mark(self, key: PoolKey) -> Mark:
        """Have a chain's mark to oneself until the transaction ends, and give it."""
        ...

    def set_mark(self, key: PoolKey, mark: Mark) -> None:
        """Move a chain's mark."""
        ...

    def behind(self) -> list[PoolKey]:
        """Give the entitlements that have facts beyond their mark."""
        ...

    def levels(self, key: PoolKey, before: datetime) -> dict[str, Level]:
        """Give how each right stood when the slot began that begins at a moment."""
        ...

    def fold_anew(self, key: PoolKey, since: datetime, slots: Sequence[Slot], counts: Sequence[Count]) -> None:
        """Put these slots and counts in the place of all from a moment on."""
        ...

    def open_sessions(self, key: PoolKey, activation_ids: Sequence[str]) -> list[Session]:
        """Give the sessions of these activations that last."""
        ...

    def save_sessions(self, key: PoolKey, sessions: Sequence[Session]) -> None:
        """Keep sessions as they are now."""
        ...

    def last_wishes(self, key: PoolKey, holders: Sequence[int]) -> list[Wish]:
        """Give the last demand of each of these holders, of each right."""
        ...

    def save_wishes(self, key: PoolKey, wishes: Sequence[Wish]) -> None:
        """Keep demands as they are now."""
        ...

    # reading
    def rights(self, key: PoolKey) -> list[str]:
        """Give the rights that ever moved."""
        ...

    def level(self, key: PoolKey, right: str, before: datetime) -> Level:
        """Give how a right stood when the slot began that begins at a moment."""
        ...

    def slots(self, key: PoolKey, right: str, since: datetime, until: datetime) -> list[Slot]:
        """Give the slots between two moments in which a right moved."""
        ...

    def counts(self, key: PoolKey, since: datetime, until: datetime) -> list[Count]:
        """Give what was counted in the slots between two moments."""
        ...

    def demands(self, key: PoolKey, since: datetime, until: datetime) -> list[Demand]:
        """Give what was asked for in vain at some time between two moments."""
        ...

    def stays(self, key: PoolKey, since: datetime, until: datetime) -> list[Stay]:
        """Give how long, and how often, each holder was there between two moments."""
        ...

    def sessions(
        self, key: PoolKey, since: datetime, until: datetime, skip: int, most: int
    ) -> list[tuple[Session, Who | None]]:
        """Give stays that touch a time, the latest first."""
        ...

    def count_sessions(self, key: PoolKey, since: datetime, until: datetime) -> int:
        """Tell how many stays touch a time."""
        ...
