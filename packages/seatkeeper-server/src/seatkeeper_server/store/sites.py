"""Keeps what a vendor and the local license servers of his customers know of each other: `service.site_books.SiteBook`."""

from collections.abc import Sequence
from datetime import datetime

from seatkeeper_server.domain.facts import CHAIN_START
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.shares import Amounts, Grant
from seatkeeper_server.domain.terms import Right, Switch
from seatkeeper_server.service.delegation import LentRecord, OwnLicense, Share, Site
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.statements import HourOfUse, Snapshot
from seatkeeper_server.store.rows import from_right, json_text, micros, moment, named, to_fact, to_holding, to_rights
from seatkeeper_server.store.site_rows import (
    from_lent,
    from_license,
    from_share,
    from_site,
    to_lent,
    to_license,
    to_share,
    to_site,
    to_snapshot,
)
from seatkeeper_server.store.transaction import SqlTransaction

EVERY_FACT = 1_000_000  # a report covers at most so many


class Sites:
    """What both sides know of each other, within one transaction."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def has_applied(self, tenant_id: str, token_id: str) -> bool:
        """Tell whether a document was applied here."""
        return bool(self._tx.query("applied", tenant_id=tenant_id, token_id=token_id))

    def note_applied(self, tenant_id: str, token_id: str, now: datetime) -> None:
        """Remember that a document was applied."""
        self._tx.execute("note_applied", tenant_id=tenant_id, token_id=token_id, now=micros(now))

    # --- the vendor's side -----------------------------------------------------------------------------------------

    def sites(self, tenant_id: str) -> list[Site]:
        """Give a vendor's local license servers, oldest first."""
        return [to_site(row) for row in self._tx.query("sites", tenant_id=tenant_id)]

    def save_site(self, site: Site) -> None:
        """Keep what is known of a server."""
        self._tx.execute("save_site", **from_site(site))

    def shares(self, tenant_id: str) -> list[Share]:
        """Give what a vendor has lent, oldest first; ended ones too."""
        return [to_share(row) for row in self._tx.query("shares", tenant_id=tenant_id)]

    def save_share(self, share: Share) -> None:
        """Keep a share."""
        self._tx.execute("save_share", **from_share(share))

    def grants(self, tenant_id: str, share_id: str) -> list[Grant]:
        """Give the documents of a share that may be in force, oldest first."""
        found = self._tx.query("share_grants", tenant_id=tenant_id, share_id=share_id)
        return [Grant(row[0], to_rights(row[1]), moment(row[2])) for row in found]

    def save_grants(self, tenant_id: str, share_id: str, grants: Sequence[Grant], now: datetime) -> None:
        """Keep these documents of a share, and no others."""
        self._tx.execute("drop_share_grants", tenant_id=tenant_id, share_id=share_id)
        for grant in grants:
            self._tx.execute(
                "add_share_grant",
                tenant_id=tenant_id,
                share_id=share_id,
                number=grant.number,
                rights=json_text(grant.rights),
                until=micros(grant.until),
                now=micros(now),
            )

    def layers(self, tenant_id: str, share_id: str) -> list[Holding]:
        """Give every place of a share."""
        return [to_holding(row) for row in self._tx.query("share_layers", tenant_id=tenant_id, share_id=share_id)]

    def snapshot(self, key: PoolKey) -> Snapshot:
        """Give an entitlement in words, without rights and codes."""
        return to_snapshot(self._tx.query("lending_snapshot", **named(key))[0])

    def set_switch(self, key: PoolKey, switch: Switch) -> None:
        """Switch an entitlement on or off."""
        self._tx.execute("set_switch", **named(key), switch=switch.value)

    def save_use(self, tenant_id: str, share_id: str, hours: Sequence[HourOfUse]) -> None:
        """Keep the hours of use that a server reported."""
        for use in hours:
            self._tx.execute(
                "save_use",
                tenant_id=tenant_id,
                share_id=share_id,
                hour=use.hour,
                high=use.high,
                low=use.low,
                denials=use.denials,
                seat_seconds=use.seat_seconds,
            )

    def use(self, tenant_id: str, share_id: str) -> list[HourOfUse]:
        """Give the hours of use that were reported."""
        found = self._tx.query("site_use", tenant_id=tenant_id, share_id=share_id)
        return [HourOfUse(hour=row[0], high=row[1], low=row[2], denials=row[3], seat_seconds=row[4]) for row in found]

    # --- a local server's ------------------------------------------------------------------------------------------

    def own_licenses(self) -> list[OwnLicense]:
        """Give this server's licenses, one a vendor."""
        return [to_license(row) for row in self._tx.query("own_licenses")]

    def save_own_license(self, license_: OwnLicense) -> None:
        """Keep a license, or that it was asked for."""
        self._tx.execute("save_own_license", **from_license(license_))

    def lent(self, tenant_id: str) -> list[LentRecord]:
        """Give what a vendor has lent to this server; ended shares too."""
        return [to_lent(row) for row in self._tx.query("lent", tenant_id=tenant_id)]

    def save_lent(self, record: LentRecord) -> None:
        """Keep what an entitlement rests on."""
        self._tx.execute("save_lent", **from_lent(record))

    def put_tenant(self, tenant_id: str, name: str, contact: str | None, now: datetime) -> None:
        """Have a vendor whose seats are lent to this server."""
        head = CHAIN_START.hex()
        named_by_id = f"{name} ({tenant_id})"  # two vendors may have one name
        said = {"tenant_id": tenant_id, "name": name, "named_by_id": named_by_id, "contact": contact}
        self._tx.execute("put_tenant", **said, now=micros(now), head=head)

    def put_entitlement(self, tenant_id: str, snapshot: Snapshot, ends_at: datetime, now: datetime) -> None:
        """Have an entitlement as a document says it is, all but its rights and codes."""
        said, at = snapshot, micros(now)
        run, tenant = self._tx.execute, {"tenant_id": tenant_id}
        run("put_product", **tenant, product_id=said.product_id, name=said.product, now=at)
        run("put_edition", **tenant, edition_id=said.edition_id, product_id=said.product_id, name=said.edition, now=at)
        run(
            "put_plan",
            **tenant,
            plan_id=said.plan_id,
            name=said.plan,
            license_type=said.license_type,
            license_start_type=said.license_start_type,
            duration_type=said.duration_type,
            duration_count=said.duration_count,
            plan_type=said.plan_type,
            now=at,
        )
        run(
            "put_offering",
            **tenant,
            offering_id=said.offering_id,
            edition_id=said.edition_id,
            plan_id=said.plan_id,
            name=said.offering,
            sku=said.sku,
            mode=said.mode,
            lease=said.lease,
            linger=said.linger,
            now=at,
        )
        customer = {"customer_id": said.customer_id, "name": said.customer, "account_ref_id": said.account_ref_id}
        run("put_customer", **tenant, **customer, now=at)
        run("put_group", **tenant, group_id=said.group_id, customer_id=said.customer_id, order_ref_id=said.order_ref_id, now=at)
        run(
            "put_entitlement",
            **tenant,
            entitlement_id=said.entitlement_id,
            group_id=said.group_id,
            offering_id=said.offering_id,
            has_maintenance=int(said.has_maintenance),
            maintenance_ends_at=None if said.maintenance_ends_at is None else round(said.maintenance_ends_at * 1e6),
            now=at,
        )
        run(
            "put_pool",
            **tenant,
            entitlement_id=said.entitlement_id,
            group_id=said.group_id,
            product_id=said.product_id,
            edition_id=said.edition_id,
            mode=said.mode,
            lease=said.lease,
            linger=said.linger,
            margin=said.margin,
            nonce=said.nonce,
            ends_at=micros(ends_at),
            head=CHAIN_START.hex(),
        )

    def put_right(self, key: PoolKey, right: Right) -> None:
        """Have so much of a right in an entitlement; what is taken of it stays."""
        self._tx.execute("put_right", **named(key), **from_right(right))

    def drop_codes(self, tenant_id: str, group_id: str) -> None:
        """Forget a group's activation codes."""
        self._tx.execute("drop_codes", tenant_id=tenant_id, group_id=group_id)

    def believed(self, key: PoolKey) -> list[tuple[Amounts, datetime]]:
        """Give what every place that counts takes, and until when somebody may believe in it."""
        found = self._tx.query("believed", **named(key))
        return [(to_rights(row[0]), moment(max(row[1], row[2]))) for row in found]

    def facts_after(self, key: PoolKey, number: int) -> list[FactRecord]:
        """Give the facts of an entitlement after a number."""
        limits = {"after": number, "last": 2**62, "most": EVERY_FACT}
        return [to_fact(row) for row in self._tx.query("chain", tenant_id=key[0], chain_id=key[1], **limits)]
