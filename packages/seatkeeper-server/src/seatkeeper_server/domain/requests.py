"""What can be asked of a pool. Everything random or secret that a decision needs comes along as a value."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field


class Earlier(Struct, frozen=True):
    """An earlier success under the same idempotency key: which generation it made, and whether the body is the same."""

    generation: int
    same_body: bool


class ShownLease(Struct, frozen=True):
    """A lease that a client showed, its signature checked: the last one it got, and for which activation (None: this one)."""

    sequence: int
    generation: int
    rights: Mapping[str, int]
    expires_at: datetime
    activation_id: str | None = None
    device: str | None = None


class Activate(Struct, frozen=True, kw_only=True):
    """Take a seat for a holder.

    `activation_id` is the holder's own, or a fresh one. `proof` is the generation of a token of this seat's earlier life;
    `device` is the key that the asking device has proven to have, `borrow_until` the date until which it takes the seat home.
    """

    activation_id: str
    holder: int
    next_nonce: str
    features: Mapping[str, int] = field(default_factory=dict)
    proof: int | None = None
    device: str | None = None
    earlier: Earlier | None = None
    shown: ShownLease | None = None
    blocked_until: datetime | None = None
    borrow_until: datetime | None = None


class Call(Struct, frozen=True, kw_only=True):
    """What every call of a seat's holder says: which life of which seat, and how it proves to be the next call in order."""

    activation_id: str
    generation: int
    next_nonce: str
    nonce: str | None = None
    fingerprint: bytes | None = None  # of method, path and body, if the call can be repeated
    earlier: Earlier | None = None
    keyed: bool = False  # an idempotency key came along
    shown: ShownLease | None = None


class Refresh(Call, frozen=True, kw_only=True):
    """Keep the seat. Who is blocked may keep one that he holds, and not take a lapsed one again.

    `holder` is the number of who is known although his holding is not, in a database that was restored.
    """

    holder: int = 0
    blocked_until: datetime | None = None


class CheckOut(Call, frozen=True, kw_only=True):
    """Draw an amount of a feature."""

    key: str
    amount: int

    def __post_init__(self) -> None:
        _require_positive(self.amount)


class GiveBack(Call, frozen=True, kw_only=True):
    """Give an amount of a feature back."""

    key: str
    amount: int

    def __post_init__(self) -> None:
        _require_positive(self.amount)


class Use(Call, frozen=True, kw_only=True):
    """Say that a bool feature was used."""

    key: str


class Return(Struct, frozen=True, kw_only=True):
    """Give the seat back; `proven` if the device vouched for it that it was given to."""

    activation_id: str
    generation: int
    proven: bool = False


class TakeBack(Struct, frozen=True, kw_only=True):
    """Take a seat from its holder; `at_once` frees the place although its lease still runs, for those who know."""

    activation_id: str
    by: str
    at_once: bool = False


def _require_positive(amount: int) -> None:
    if amount < 1:
        raise ValueError(f"an amount is at least 1, not {amount}")


Request = Activate | Refresh | CheckOut | GiveBack | Use | Return | TakeBack
