"""What was sold with all that was agreed upon, for the vendor's own systems: values, and who keeps them (`store/deeds.py`).

That activation codes were read is a fact in the vendor's own chain: how many groups', and by whom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.terms import SEAT, Overdraft, Standing
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import Catalogue, SealedCode, Vault
from seatkeeper_server.service.ports import PoolRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """Who bought."""

    customer_id: str
    name: str
    account_ref_id: str | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Entitlements that one set of activation codes opens."""

    group_id: str
    created_at: datetime
    order_ref_id: str | None
    buyer: Buyer


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the offering said, which the entitlement may have been changed from since."""

    offering_id: str
    name: str
    sku: str
    seats: int
    overdraft: Overdraft
    lease: timedelta
    linger: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan it was sold under."""

    name: str
    kind: str
    license_type: str
    license_start_type: str
    duration_unit: str
    duration_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One entitlement. `ended` is what time has ended but nobody has settled yet, by right."""

    record: PoolRecord
    group: Group
    offered: Offered
    planned: Planned
    activated_at: datetime | None
    has_maintenance: bool
    maintenance_ends_at: datetime | None
    created_at: datetime
    ended: Mapping[str, int]

    def used(self, right: str = SEAT) -> int:
        """Tell how much of a right is taken: what the next request would find."""
        return self.record.pool.tallies[right].used - self.ended.get(right, 0)

    def standing(self, now: datetime) -> Standing:
        """Tell how it stands at a moment."""
        return self.record.pool.terms.standing(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which are wanted: one, or those of a group, a customer or a product; `most` of them, but for the first `skip`."""

    entitlement_id: str | None = None
    group_id: str | None = None
    customer_id: str | None = None
    product_id: str | None = None
    skip: int = 0
    most: int = 1_000


class DeedBook(Protocol):
    """Keeps what was sold, within one transaction or snapshot."""

    def deeds(self, tenant_id: str, wanted: Wanted, now: datetime) -> list[Deed]:
        """Give a vendor's entitlements, oldest first."""
        ...

    def count_deeds(self, tenant_id: str, wanted: Wanted) -> int:
        """Tell how many there are, on all pages together."""
        ...

    def groups(self, tenant_id: str, wanted: Wanted) -> list[Group]:
        """Give a vendor's groups of entitlements, oldest first."""
        ...

    def count_groups(self, tenant_id: str, wanted: Wanted) -> int:
        """Tell how many there are, on all pages together."""
        ...

    def codes(self, tenant_id: str, group_id: str) -> list[SealedCode]:
        """Give a group's activation codes, sealed."""
        ...


def read_codes(
    catalogue: Catalogue, book: DeedBook, vault: Vault, tenant_id: str, groups: Sequence[Group], *, by: str, now: datetime
) -> list[list[str]]:
    """Give the activation codes of groups; that they were read is a fact."""
    sealed = [book.codes(tenant_id, group.group_id) for group in groups]
    codes = [[vault.open_code(tenant_id, code) for code in of_group] for of_group in sealed]
    if any(codes):
        data: dict[str, object] = {"groups": len(groups), "first": groups[0].group_id, "by": by}
        recording.append(catalogue.tx, tenant_id, tenant_id, [Note(at=now, what="codesRead", data=data)], now)
    return codes
