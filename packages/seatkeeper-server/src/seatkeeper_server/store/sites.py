"""Keeps what a vendor and the local license servers of his customers know of each other: `service.delegation.SiteBook`."""

from collections.abc import Sequence
from datetime import datetime

from seatkeeper_server.domain.facts import CHAIN_START
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.shares import Amounts, Grant
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import Right, Switch
from seatkeeper_server.domain.timekeeping import MICROSECOND
from seatkeeper_server.service.delegation import LentRecord, OwnLicense, Share, Site
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.statements import HourOfUse, Snapshot
from seatkeeper_server.store.rows import (
    Row,
    from_right,
    json_text,
    maybe_micros,
    maybe_moment,
    micros,
    moment,
    named,
    span,
    to_fact,
    to_holding,
    to_rights,
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
        return [_to_site(row) for row in self._tx.query("sites", tenant_id=tenant_id)]

    def save_site(self, site: Site) -> None:
        """Keep what is known of a server."""
        self._tx.execute(
            "save_site",
            tenant_id=site.tenant_id,
            site_id=site.site_id,
            name=site.name,
            entitlement_id=site.entitlement_id,
            activation_id=site.activation_id,
            database_id=site.database_id,
            signing_key=site.signing_key,
            sealing_key=site.sealing_key,
            state=site.state.value,
            state_since=maybe_micros(site.state_since),
            sent=site.sent,
            heard=site.heard,
            heard_id=site.heard_id,
            heard_made_at=maybe_micros(site.heard_made_at),
            reported_at=maybe_micros(site.last_report_at),
            created_at=micros(site.activated_at),
            ended_at=maybe_micros(site.deactivated_at),
        )

    def shares(self, tenant_id: str) -> list[Share]:
        """Give what a vendor has lent, oldest first; ended ones too."""
        return [_to_share(row) for row in self._tx.query("shares", tenant_id=tenant_id)]

    def save_share(self, share: Share) -> None:
        """Keep a share."""
        self._tx.execute(
            "save_share",
            tenant_id=share.tenant_id,
            share_id=share.share_id,
            entitlement_id=share.entitlement_id,
            site_id=share.site_id,
            holder=share.holder,
            is_whole=int(share.is_whole),
            skew=share.skew // MICROSECOND,
            snapshot=share.snapshot,
            lent_at=micros(share.lent_at),
            token_at=micros(share.token_at),
            ended_at=maybe_micros(share.ended_at),
            facts=share.facts,
            head=share.head,
        )

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
        row = self._tx.query("lending_snapshot", **named(key))[0]
        return Snapshot(
            entitlement_id=row[0],
            group_id=row[1],
            product_id=row[2],
            product=row[3],
            edition_id=row[4],
            edition=row[5],
            offering_id=row[6],
            offering=row[7],
            sku=row[8],
            plan_id=row[9],
            plan=row[10],
            plan_type=row[11],
            license_type=row[12],
            license_start_type=row[13],
            duration_type=row[14],
            duration_count=row[15],
            customer_id=row[16],
            customer=row[17],
            account_ref_id=row[18],
            order_ref_id=row[19],
            mode=row[20],
            lease=row[21],
            linger=row[22],
            margin=row[23],
            nonce=row[24],
            has_maintenance=row[25] == 1,
            maintenance_ends_at=None if row[26] is None else moment(row[26]).timestamp(),
            rights=[],
            codes=[],
            borrow=row[27],
        )

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
        return [_to_license(row) for row in self._tx.query("own_licenses")]

    def save_own_license(self, license_: OwnLicense) -> None:
        """Keep a license, or that it was asked for."""
        self._tx.execute(
            "save_own_license",
            tenant_id=license_.tenant_id,
            site_id=license_.site_id,
            name=license_.name,
            challenge=license_.challenge,
            root_key=license_.root_key,
            sealing_key=license_.sealing_key,
            lease_ends_at=maybe_micros(license_.lease_ends_at),
            epoch=license_.epoch,
            sent=license_.sent,
            state=license_.state.value,
            state_since=maybe_micros(license_.state_since),
            patience=license_.patience // MICROSECOND,
            asked_at=micros(license_.asked_at),
            ended_at=maybe_micros(license_.ended_at),
        )

    def lent(self, tenant_id: str) -> list[LentRecord]:
        """Give what a vendor has lent to this server; ended shares too."""
        return [_to_lent(row) for row in self._tx.query("lent", tenant_id=tenant_id)]

    def save_lent(self, record: LentRecord) -> None:
        """Keep what an entitlement rests on."""
        self._tx.execute(
            "save_lent",
            tenant_id=record.tenant_id,
            entitlement_id=record.entitlement_id,
            share_id=record.share_id,
            number=record.number,
            began=record.began,
            granted_at=micros(record.granted_at),
            until=micros(record.until),
            ended_at=maybe_micros(record.ended_at),
            reported=record.reported,
            reported_head=record.reported_head,
            warned=record.warned,
            reported_at=maybe_micros(record.reported_at),
            base=json_text(record.base),
        )

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


def _to_site(row: Row) -> Site:
    return Site(
        tenant_id=row[0],
        site_id=row[1],
        name=row[2],
        entitlement_id=row[3],
        activation_id=row[4],
        database_id=row[5],
        signing_key=row[6],
        sealing_key=row[7],
        state=SiteState(row[8]),
        state_since=maybe_moment(row[9]),
        sent=row[10],
        heard=row[11],
        heard_id=row[12],
        last_report_at=maybe_moment(row[13]),
        activated_at=moment(row[14]),
        deactivated_at=maybe_moment(row[15]),
        last_lease=maybe_moment(row[16]),
        lease_ends_at=maybe_moment(row[17]),
        heard_made_at=maybe_moment(row[18]),
    )


def _to_share(row: Row) -> Share:
    return Share(
        tenant_id=row[0],
        share_id=row[1],
        entitlement_id=row[2],
        site_id=row[3],
        holder=row[4],
        is_whole=row[5] == 1,
        skew=span(row[6]),
        snapshot=row[7],
        lent_at=moment(row[8]),
        token_at=moment(row[9]),
        ended_at=maybe_moment(row[10]),
        facts=row[11],
        head=row[12],
    )


def _to_license(row: Row) -> OwnLicense:
    return OwnLicense(
        tenant_id=row[0],
        site_id=row[1],
        name=row[2],
        challenge=row[3],
        root_key=row[4],
        sealing_key=row[5],
        lease_ends_at=maybe_moment(row[6]),
        epoch=row[7],
        sent=row[8],
        state=SiteState(row[9]),
        state_since=maybe_moment(row[10]),
        patience=span(row[11]),
        asked_at=moment(row[12]),
        ended_at=maybe_moment(row[13]),
    )


def _to_lent(row: Row) -> LentRecord:
    return LentRecord(
        tenant_id=row[0],
        entitlement_id=row[1],
        share_id=row[2],
        number=row[3],
        began=row[4],
        granted_at=moment(row[5]),
        until=moment(row[6]),
        ended_at=maybe_moment(row[7]),
        reported=row[8],
        reported_head=row[9],
        warned=row[10],
        reported_at=maybe_moment(row[11]),
        base=to_rights(row[12]),
    )
