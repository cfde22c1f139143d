"""Reads what was sold, page by page: `service.deeds.DeedBook` over the named queries of `deeds.sql`."""

from collections.abc import Mapping
from datetime import datetime

from seatkeeper_server.domain.admission import returnable
from seatkeeper_server.domain.terms import Overdraft
from seatkeeper_server.service.catalogue import SealedCode
from seatkeeper_server.service.deeds import Buyer, Deed, Group, Offered, Planned, Wanted
from seatkeeper_server.service.ports import PoolRecord
from seatkeeper_server.store.catalogue import to_code
from seatkeeper_server.store.rows import Row, added_up, maybe_moment, micros, moment, named, span
from seatkeeper_server.store.transaction import SqlTransaction


class Deeds:
    """What was sold, within one transaction or snapshot."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def deeds(self, tenant_id: str, wanted: Wanted, now: datetime) -> list[Deed]:
        """Give a vendor's entitlements, oldest first."""
        found = self._tx.query("deeds", tenant_id=tenant_id, **_which(wanted), most=wanted.most, skip=wanted.skip)
        pools = {pool.key: pool for pool in self._tx.pools_seen([(row[0], row[1]) for row in found])}
        return [_to_deed(row, pools[row[0], row[1]], self._ended(pools[row[0], row[1]], now)) for row in found]

    def count_deeds(self, tenant_id: str, wanted: Wanted) -> int:
        """Tell how many there are, on all pages together."""
        return int(self._tx.query("count_deeds", tenant_id=tenant_id, **_which(wanted))[0][0])

    def groups(self, tenant_id: str, wanted: Wanted) -> list[Group]:
        """Give a vendor's groups of entitlements, oldest first."""
        which = {"tenant_id": tenant_id, "group_id": wanted.group_id, "customer_id": wanted.customer_id}
        return [_to_group(row) for row in self._tx.query("groups", **which, most=wanted.most, skip=wanted.skip)]

    def count_groups(self, tenant_id: str, wanted: Wanted) -> int:
        """Tell how many there are, on all pages together."""
        which = {"tenant_id": tenant_id, "group_id": wanted.group_id, "customer_id": wanted.customer_id}
        return int(self._tx.query("count_groups", **which)[0][0])

    def codes(self, tenant_id: str, group_id: str) -> list[SealedCode]:
        """Give a group's activation codes, sealed."""
        return [to_code(row) for row in self._tx.query("codes_of_group", tenant_id=tenant_id, group_id=group_id)]

    def _ended(self, pool: PoolRecord, now: datetime) -> Mapping[str, int]:
        ended = added_up(self._tx.query("ended_places", **named(pool.key), now=micros(now)))
        return returnable(pool.pool.tallies, ended)


def _which(wanted: Wanted) -> dict[str, str | None]:
    return {
        "entitlement_id": wanted.entitlement_id,
        "group_id": wanted.group_id,
        "customer_id": wanted.customer_id,
        "product_id": wanted.product_id,
    }


def _to_group(row: Row) -> Group:
    buyer = Buyer(customer_id=row[3], name=row[4], account_ref_id=row[5], disabled_at=maybe_moment(row[6]))
    return Group(group_id=row[0], created_at=moment(row[1]), order_ref_id=row[2], buyer=buyer)


def _to_deed(row: Row, record: PoolRecord, ended: Mapping[str, int]) -> Deed:
    return Deed(
        record=record,
        group=_to_group(row[2:9]),
        offered=Offered(
            offering_id=row[9],
            name=row[10],
            sku=row[11],
            seats=row[12],
            overdraft=Overdraft(row[13], row[14]),
            lease=span(row[15]),
            linger=span(row[16]),
            grace=span(row[17]),
        ),
        planned=Planned(
            name=row[18],
            kind=row[19],
            license_type=row[20],
            license_start_type=row[21],
            duration_unit=row[22],
            duration_count=row[23],
        ),
        activated_at=maybe_moment(row[24]),
        has_maintenance=row[25] == 1,
        maintenance_ends_at=maybe_moment(row[26]),
        created_at=moment(row[27]),
        ended=ended,
    )
