"""Documents that several parts of the Management API share, as the public contract names their fields."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from seatkeeper_server.domain.intervals import unit_and_count
from seatkeeper_server.domain.terms import Kind, Overdraft, Right
from seatkeeper_server.http.further import Asked, Document
from seatkeeper_server.http.vendor.ports import Export, Site
from seatkeeper_server.service.deeds import Buyer, Deed, Group

LONGEST_TOKEN: Final = 1_000_000  # characters
MOST_FEATURES: Final = 100

TokenText = Annotated[str, Field(min_length=1, max_length=LONGEST_TOKEN)]


class Token(Document):
    """A token to carry to the other side."""

    token: str


class TokenAsked(Asked):
    """A token that was carried here."""

    token: TokenText


class Interval(Document):
    """A length of time."""

    type: str
    count: int | None = None


class OverdraftLimit(Document):
    """What may be granted above what was bought."""

    type: str
    value: int | None = None


class Amount(Document):
    """So much of a feature."""

    key: str
    amount: int


class LocalLicenseServer(Document):
    """A local license server; `state` and `last_report` are ours."""

    id: str
    name: str
    activation_id: str
    activated: datetime
    last_lease: datetime | None
    lease_expiry: datetime | None
    deactivated: datetime | None
    license_active: bool
    state: str
    last_report: datetime | None


class ExportedTo(Document):
    """Where an entitlement was exported to."""

    export_date: datetime
    last_export_date: datetime
    out_of_sync: bool
    local_license_server: LocalLicenseServer


class Customer(Document):
    """Who bought."""

    id: str
    name: str
    account_ref_id: str | None
    disabled_date: datetime | None
    status: str


class EntitlementBasic(Document):
    """An entitlement in its group."""

    id: str
    sku: str
    offering_id: str
    offering_name: str
    entitlement_group_id: str
    product_id: str
    status: str
    exported: bool


class GroupBasic(Document):
    """A group, as its entitlements name it."""

    id: str
    created: datetime
    customer_id: str
    customer: Customer | None = None
    order_ref_id: str | None


def interval(length: timedelta) -> Interval:
    """Put a length of time into the contract's words."""
    if not length:
        return Interval(type="none")
    unit, count = unit_and_count(length)
    return Interval(type=unit, count=count)


def overdraft(limit: Overdraft) -> OverdraftLimit:
    """Put an overdraft into the contract's words."""
    return OverdraftLimit(type=limit.kind, value=limit.value if limit.kind in ("absolute", "percentage") else None)


def local_license_server(site: Site) -> LocalLicenseServer:
    """Put a local license server into the contract's words."""
    return LocalLicenseServer(
        id=site.site_id,
        name=site.name,
        activation_id=site.activation_id,
        activated=site.activated_at,
        last_lease=site.last_lease,
        lease_expiry=site.lease_ends_at,
        deactivated=site.deactivated_at,
        license_active=site.is_licensed,
        state=str(site.state),
        last_report=site.last_report_at,
    )


def exported_to(export: Export) -> ExportedTo:
    """Put an export into the contract's words."""
    return ExportedTo(
        export_date=export.exported_at,
        last_export_date=export.last_token_at,
        out_of_sync=export.out_of_sync,
        local_license_server=local_license_server(export.site),
    )


def customer(buyer: Buyer) -> Customer:
    """Put a customer into the contract's words."""
    return Customer(
        id=buyer.customer_id,
        name=buyer.name,
        account_ref_id=buyer.account_ref_id,
        disabled_date=buyer.disabled_at,
        status="active" if buyer.disabled_at is None else "disabled",
    )


def group_basic(group: Group, *, with_customer: bool) -> GroupBasic:
    """Put a group into the contract's words, without what lies in it."""
    return GroupBasic(
        id=group.group_id,
        created=group.created_at,
        customer_id=group.buyer.customer_id,
        customer=customer(group.buyer) if with_customer else None,
        order_ref_id=group.order_ref_id,
    )


def entitlement_basic(deed: Deed, now: datetime) -> EntitlementBasic:
    """Put an entitlement into the contract's words, as its group shows it."""
    sold, standing = deed.record.entitlement, deed.standing(now).value
    return EntitlementBasic(
        id=sold.entitlement_id,
        sku=deed.offered.sku,
        offering_id=deed.offered.offering_id,
        offering_name=deed.offered.name,
        entitlement_group_id=sold.group_id,
        product_id=sold.product_id,
        status=standing,
        exported=standing == "exported",
    )


def feature_value(right: Right) -> int | None:
    """Give how much of a feature was bought; null is unlimited, and a bool one is 1 or 0."""
    if right.kind is Kind.BOOL:
        return 1 if right.bought is None or right.bought > 0 else 0
    return right.bought
