"""Turns rows about local license servers into values and back, as `rows.py` does for seats.

A vendor keeps sites and shares, a local server its licenses and what it was lent.
"""

from typing import Any

from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.timekeeping import MICROSECOND
from seatkeeper_server.service.delegation import LentRecord, OwnLicense, Share, Site
from seatkeeper_server.statements import Snapshot
from seatkeeper_server.store.rows import Row, json_text, maybe_micros, maybe_moment, micros, moment, span, to_rights

# --- the vendor's side -------------------------------------------------------------------------------------------


def to_site(row: Row) -> Site:
    """Read the columns of a local server, from `tenant_id` to `heard_made_at`."""
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


def from_site(site: Site) -> dict[str, Any]:
    """Give the columns of a local server by name: all but what its license says."""
    return {
        "tenant_id": site.tenant_id,
        "site_id": site.site_id,
        "name": site.name,
        "entitlement_id": site.entitlement_id,
        "activation_id": site.activation_id,
        "database_id": site.database_id,
        "signing_key": site.signing_key,
        "sealing_key": site.sealing_key,
        "state": site.state.value,
        "state_since": maybe_micros(site.state_since),
        "sent": site.sent,
        "heard": site.heard,
        "heard_id": site.heard_id,
        "heard_made_at": maybe_micros(site.heard_made_at),
        "reported_at": maybe_micros(site.last_report_at),
        "created_at": micros(site.activated_at),
        "ended_at": maybe_micros(site.deactivated_at),
    }


def to_share(row: Row) -> Share:
    """Read the columns of a share, from `tenant_id` to `head`."""
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


def from_share(share: Share) -> dict[str, Any]:
    """Give the columns of a share by name."""
    return {
        "tenant_id": share.tenant_id,
        "share_id": share.share_id,
        "entitlement_id": share.entitlement_id,
        "site_id": share.site_id,
        "holder": share.holder,
        "is_whole": int(share.is_whole),
        "skew": share.skew // MICROSECOND,
        "snapshot": share.snapshot,
        "lent_at": micros(share.lent_at),
        "token_at": micros(share.token_at),
        "ended_at": maybe_micros(share.ended_at),
        "facts": share.facts,
        "head": share.head,
    }


def to_snapshot(row: Row) -> Snapshot:
    """Read an entitlement in words, without rights and codes, from `entitlement_id` to `borrow`."""
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


# --- a local server's --------------------------------------------------------------------------------------------


def to_license(row: Row) -> OwnLicense:
    """Read the columns of an own license, from `tenant_id` to `ended_at`."""
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


def from_license(license_: OwnLicense) -> dict[str, Any]:
    """Give the columns of an own license by name."""
    return {
        "tenant_id": license_.tenant_id,
        "site_id": license_.site_id,
        "name": license_.name,
        "challenge": license_.challenge,
        "root_key": license_.root_key,
        "sealing_key": license_.sealing_key,
        "lease_ends_at": maybe_micros(license_.lease_ends_at),
        "epoch": license_.epoch,
        "sent": license_.sent,
        "state": license_.state.value,
        "state_since": maybe_micros(license_.state_since),
        "patience": license_.patience // MICROSECOND,
        "asked_at": micros(license_.asked_at),
        "ended_at": maybe_micros(license_.ended_at),
    }


def to_lent(row: Row) -> LentRecord:
    """Read the columns of what was lent, from `tenant_id` to `base`."""
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


def from_lent(record: LentRecord) -> dict[str, Any]:
    """Give the columns of what was lent by name."""
    return {
        "tenant_id": record.tenant_id,
        "entitlement_id": record.entitlement_id,
        "share_id": record.share_id,
        "number": record.number,
        "began": record.began,
        "granted_at": micros(record.granted_at),
        "until": micros(record.until),
        "ended_at": maybe_micros(record.ended_at),
        "reported": record.reported,
        "reported_head": record.reported_head,
        "warned": record.warned,
        "reported_at": maybe_micros(record.reported_at),
        "base": json_text(record.base),
    }
