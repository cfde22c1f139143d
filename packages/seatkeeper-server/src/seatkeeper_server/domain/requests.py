"""What can be asked of a pool. Everything random or secret that a decision needs comes along as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier success under the same idempotency key: which generation it made, and whether the body is the same."""

    generation: int
    same_body: bool


@dataclass(frozen=True, slots=True)
class ShownLease:
    """A lease that a client showed, its signature checked: the last one it got, and for which activation (None: this one)."""

    sequence: int
    generation: int
    rights: Mapping[str, int]
    expires_at: datetime
    activation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activate:
    """Take a seat for a holder.

    `activation_id` is the holder's own, or a fresh one. `proof` is the generation of a token of this seat's earlier life;
    `device` is the key that the asking device has proven to have.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What every call of a seat's holder says: which life of which seat, and how it proves to be the next call in order."""

    activation_id: str
    generation: int
    next_nonce: str
    nonce: str | None = None
    fingerprint: bytes | None = None  # of method, path and body, if the call can be repeated
    earlier: Earlier | None = None
    keyed: bool = False  # an idempotency key came along
    shown: ShownLease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh(Call):
    """Keep the seat. Who is blocked may keep one that he holds, and not take a lapsed one again.

    `holder` is the number of who is known although his holding is not, in a database that was restored.
    """

    holder: int = 0
    blocked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOut(Call):
    """Draw an amount of a feature."""

    key: str
    amount: int

    def __post_init__(self) -> None:
        _require_positive(self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack(Call):
    """Give an amount of a feature back."""

    key: str
    amount: int

    def __post_init__(self) -> None:
        _require_positive(self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Call):
    """Say that a bool feature was used."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Give the seat back; `proven` if the device vouched for it that it was given to."""

    activation_id: str
    generation: int
    proven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Take a seat from its holder; `at_once` frees the place although its lease still runs, for those who know."""

    activation_id: str
    by: str
    at_once: bool = False


def _require_positive(amount: int) -> None:
    if amount < 1:
        raise ValueError(f"an amount is at least 1, not {amount}")


Request = Activate | Refresh | CheckOut | GiveBack | Use | Return | TakeBack
