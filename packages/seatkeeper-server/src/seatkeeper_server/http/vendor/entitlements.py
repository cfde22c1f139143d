"""Entitlements, as the vendor's own systems read them, and lend them to local license servers: all of one, or a share."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final

from fastapi import Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from seatkeeper.protocol.documents import MAX_AMOUNT
from seatkeeper_server.domain.terms import Right, Switch, is_feature
from seatkeeper_server.http.further import Asked, Document, Expanded, Listed, PageAsked, Paged, listed
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import ProblemError, reject_field
from seatkeeper_server.http.vendor.documents import (
    MOST_FEATURES,
    Amount,
    ExportedTo,
    GroupBasic,
    Interval,
    LocalLicenseServer,
    OverdraftLimit,
    Token,
    TokenText,
    exported_to,
    feature_value,
    group_basic,
    interval,
    local_license_server,
    overdraft,
)
from seatkeeper_server.http.vendor.guard import EntitlementsAdmin, EntitlementsReader, OfficeHere
from seatkeeper_server.http.vendor.ports import Export, Visit
from seatkeeper_server.service.deeds import Deed, Wanted

PATH = "/api/v1/entitlements"
ONE = PATH + "/{entitlement_id}"

MOST_SEATS: Final = 2**31 - 1
NO_INTERVAL: Final = Interval(type="none")

router = new_router()


# --- what is asked -------------------------------------------------------------------------------------------------


SiteId = Annotated[str, Field(min_length=1, max_length=64)]
OneSite = Annotated[str | None, Query(alias="localLicenseServerId", min_length=1, max_length=64)]  # where there are several


class FeatureAsked(Asked):
    """So much of a feature."""

    key: Annotated[str, Field(min_length=1, max_length=50)]
    amount: Annotated[int, Field(ge=1, le=MAX_AMOUNT)]


class ExportAsked(Asked):
    """Whom to lend to, and what: without seats, the whole entitlement."""

    local_license_server_id: SiteId
    seats: Annotated[int | None, Field(ge=1, le=MOST_SEATS)] = None
    features: Annotated[tuple[FeatureAsked, ...], Field(max_length=MOST_FEATURES)] = ()
    until: AwareDatetime | None = None

    def amounts(self) -> dict[str, int]:
        """Give what is asked of each feature.

        Raises:
            ProblemError: one is named twice, or there are no seats to which they belong.
        """
        amounts = {each.key: each.amount for each in self.features}
        if len(amounts) < len(self.features):
            reject_field("features", "A feature is named twice.")
        if amounts and self.seats is None:
            reject_field("seats", "Say how many seats, or name no features: without seats the whole entitlement is lent.")
        return amounts


class ShareAsked(ExportAsked):
    """The same, of a part."""

    seats: Annotated[int, Field(ge=1, le=MOST_SEATS)]


class ImportAsked(Asked):
    """What ends an export: a removal token, or, when it has run out, none."""

    token: TokenText | None = None
    import_without_token: bool = False
    local_license_server_id: SiteId | None = None


# --- what is answered ----------------------------------------------------------------------------------------------


class EntitlementFeature(Document):
    """A feature of an entitlement."""

    id: str
    type: str
    key: str
    description: str | None = None
    value: int | None
    used: int | None
    edited: bool = False
    overdraft_limit: OverdraftLimit
    total_limit_including_overdraft: int | None
    current_usage_period_start: datetime | None = None
    next_usage_period_start: datetime | None = None


class Product(Document):
    """A product, as its entitlements name it."""

    id: str
    name: str


class EntitlementOffering(Document):
    """What the offering says."""

    id: str
    seat_count: int
    overdraft_seat_limit: OverdraftLimit


class EditInfo(Document):
    """What was changed from the offering."""

    lease_period_edited: bool
    grace_period_edited: bool
    offline_lease_period_edited: bool = False
    seat_count_edited: bool
    overdraft_seat_limit_edited: bool


class ApiAction(Document):
    """What may be called now."""

    method: str
    path: str


class EntitlementItem(Document):
    """An entitlement in a list."""

    id: str
    group: GroupBasic
    sku: str
    offering_name: str
    license_type: str
    license_start_type: str
    license_duration_type: str
    license_duration_count: int | None
    seat_count: int | None
    overdraft_seat_limit: OverdraftLimit
    seats_used: int
    seats_available: int | None
    overdraft_seats_used: int | None
    seat_utilization_rate: int
    activation_date: datetime | None
    expiry_date: datetime | None
    exported: bool
    status: str
    product_id: str


class Entitlement(EntitlementItem):
    """An entitlement in full."""

    offering_id: str
    product: Product | None
    plan_name: str
    plan_type: str
    has_maintenance: bool
    maintenance_duration: Interval = NO_INTERVAL
    maintenance_expiry_date: datetime | None
    overdraft_seat_count: int | None
    provisioning_date: datetime | None = None
    disabled_date: datetime | None
    concurrency_mode: str
    lease_period: Interval
    offline_lease_period: Interval = NO_INTERVAL
    grace_period: Interval
    grace_period_expiry: datetime | None
    linger_period: Interval
    features: list[EntitlementFeature] | None
    attributes: list[str] | None
    export: ExportedTo | None
    entitlement_group_id: str
    actions: dict[str, ApiAction]
    offering: EntitlementOffering | None
    edit_info: EditInfo
    created: datetime
    usage_reset_schedule: str = "never"


class Share(Document):
    """A part of an entitlement that is lent to a local license server."""

    id: str
    local_license_server: LocalLicenseServer
    seats: int
    features: list[Amount]
    until: datetime
    whole: bool
    export_date: datetime
    last_export_date: datetime
    out_of_sync: bool


# --- reading -------------------------------------------------------------------------------------------------------


@router.get(PATH)
def all_entitlements(
    caller: EntitlementsReader,
    office: OfficeHere,
    page: PageAsked,
    expand: Expanded,
    customer_id: Annotated[str | None, Query(alias="customerId")] = None,
    product_id: Annotated[str | None, Query(alias="productId")] = None,
) -> Paged[EntitlementItem]:
    """List entitlements, oldest first."""
    wanted = Wanted(customer_id=customer_id, product_id=product_id, skip=page.skip, most=page.size)

    def look(visit: Visit) -> tuple[list[EntitlementItem], int]:
        now = max(visit.now, visit.today)
        found = visit.deeds.deeds(caller.tenant_id, wanted, visit.now)
        return [_item(deed, now, expand) for deed in found], visit.deeds.count_deeds(caller.tenant_id, wanted)

    return page.of(*office.read(look))


@router.get(ONE)
def one_entitlement(entitlement_id: str, caller: EntitlementsReader, office: OfficeHere, expand: Expanded) -> Entitlement:
    """Show an entitlement; `expand` takes product, features, attributes, offering and customer."""

    def look(visit: Visit) -> Entitlement:
        now, deed = max(visit.now, visit.today), _deed(visit, caller.tenant_id, entitlement_id)
        return _whole(deed, now, expand, visit.lending(caller.tenant_id).exports(entitlement_id))

    return office.read(look)


def _deed(visit: Visit, tenant_id: str, entitlement_id: str) -> Deed:
    found = visit.deeds.deeds(tenant_id, Wanted(entitlement_id=entitlement_id), visit.now)
    if not found:
        raise ProblemError("notFound", "There is no such entitlement.")
    return found[0]


# --- lending all of it ---------------------------------------------------------------------------------------------


@router.post(f"{ONE}/export")
def export(entitlement_id: str, asked: ExportAsked, caller: EntitlementsAdmin, office: OfficeHere) -> Token:
    """Lend an entitlement to a local license server: all of it, or a share."""
    return Token(token=_lent(office, caller.tenant_id, entitlement_id, asked))


@router.post(f"{ONE}/export/token")
def export_token(entitlement_id: str, caller: EntitlementsAdmin, office: OfficeHere, site_id: OneSite = None) -> Token:
    """Give a fresh token of what is lent, with all that has changed since the last one."""
    return Token(token=office.do(lambda visit: visit.lending(caller.tenant_id).fresh_token(entitlement_id, site_id)))


@router.post(f"{ONE}/import", status_code=204)
def import_back(entitlement_id: str, asked: ImportAsked, caller: EntitlementsAdmin, office: OfficeHere) -> Response:
    """Take back what was lent."""
    if asked.token is None and not asked.import_without_token:
        reject_field("token", "Give the removal token, or importWithoutToken when the share has run out.", "required")
    site_id = asked.local_license_server_id
    office.do(lambda visit: visit.lending(caller.tenant_id).take_back(entitlement_id, asked.token, site_id))
    return Response(status_code=204)


def _lent(office: OfficeHere, tenant_id: str, entitlement_id: str, asked: ExportAsked) -> str:
    amounts = asked.amounts()
    return office.do(
        lambda visit: visit.lending(tenant_id).lend(
            entitlement_id, asked.local_license_server_id, seats=asked.seats, features=amounts, until=asked.until
        )
    )


# --- lending parts of it -------------------------------------------------------------------------------------------


@router.get(f"{ONE}/shares")
def shares(entitlement_id: str, caller: EntitlementsReader, office: OfficeHere) -> Listed[Share]:
    """List what of an entitlement is lent, oldest first."""

    def look(visit: Visit) -> list[Share]:
        _deed(visit, caller.tenant_id, entitlement_id)
        return [_share(each) for each in visit.lending(caller.tenant_id).exports(entitlement_id)]

    return listed(office.read(look))


@router.post(f"{ONE}/shares", status_code=201)
def lend(entitlement_id: str, asked: ShareAsked, caller: EntitlementsAdmin, office: OfficeHere) -> Token:
    """Lend a share, or change and renew the one that this local server has."""
    return Token(token=_lent(office, caller.tenant_id, entitlement_id, asked))


@router.delete(f"{ONE}/shares", status_code=204)
def take_back(entitlement_id: str, caller: EntitlementsAdmin, office: OfficeHere, site_id: OneSite = None) -> Response:
    """Take back what has run out. What has not is taken back by `import`, with the removal token."""
    office.do(lambda visit: visit.lending(caller.tenant_id).take_back(entitlement_id, None, site_id))
    return Response(status_code=204)


def _share(export: Export) -> Share:
    return Share(
        id=export.share_id,
        local_license_server=local_license_server(export.site),
        seats=export.seats,
        features=[Amount(key=key, amount=amount) for key, amount in sorted(export.features.items())],
        until=export.until,
        whole=export.is_whole,
        export_date=export.exported_at,
        last_export_date=export.last_token_at,
        out_of_sync=export.out_of_sync,
    )


# --- in words ------------------------------------------------------------------------------------------------------


def _item(deed: Deed, now: datetime, expand: frozenset[str]) -> EntitlementItem:
    sold, terms, right, used = deed.record.entitlement, deed.record.pool.terms, deed.record.pool.seats.right, deed.used()
    return EntitlementItem(
        id=sold.entitlement_id,
        group=group_basic(deed.group, with_customer="customer" in expand),
        sku=deed.offered.sku,
        offering_name=deed.offered.name,
        license_type=deed.planned.license_type,
        license_start_type=deed.planned.license_start_type,
        license_duration_type=deed.planned.duration_unit,
        license_duration_count=deed.planned.duration_count,
        seat_count=right.bought,
        overdraft_seat_limit=overdraft(right.overdraft),
        seats_used=used,
        seats_available=None if right.cap is None else max(0, right.cap - used),
        overdraft_seats_used=None if right.overdraft.kind == "none" else max(0, used - (right.bought or used)),
        seat_utilization_rate=used * 100 // right.bought if right.bought else 0,
        activation_date=deed.activated_at,
        expiry_date=terms.ends_at,
        exported=terms.switch is Switch.EXPORTED,
        status=deed.standing(now).value,
        product_id=sold.product_id,
    )


def _whole(deed: Deed, now: datetime, expand: frozenset[str], exports: Sequence[Export]) -> Entitlement:
    sold, terms, right = deed.record.entitlement, deed.record.pool.terms, deed.record.pool.seats.right
    whole = next((each for each in exports if each.is_whole), None)
    above = None if right.bought is None else right.overdraft.above(right.bought)
    return Entitlement(
        **{**_item(deed, now, expand).model_dump(), "exported": whole is not None or terms.switch is Switch.EXPORTED},
        offering_id=deed.offered.offering_id,
        product=Product(id=sold.product_id, name=sold.product_name) if "product" in expand else None,
        plan_name=deed.planned.name,
        plan_type=deed.planned.kind,
        has_maintenance=deed.has_maintenance,
        maintenance_expiry_date=deed.maintenance_ends_at,
        overdraft_seat_count=above,
        disabled_date=deed.group.buyer.disabled_at if terms.switch is Switch.CUSTOMER_DISABLED else None,
        concurrency_mode=terms.mode.value,
        lease_period=interval(terms.lease),
        grace_period=interval(terms.grace),
        grace_period_expiry=terms.last_moment if terms.grace else None,
        linger_period=interval(terms.linger),
        features=_features(deed) if "features" in expand else None,
        attributes=[] if "attributes" in expand else None,
        export=None if whole is None else exported_to(whole),
        entitlement_group_id=sold.group_id,
        actions=_actions(sold.entitlement_id, is_exported=whole is not None),
        offering=_offering(deed) if "offering" in expand else None,
        edit_info=_edit_info(deed),
        created=deed.created_at,
    )


def _features(deed: Deed) -> list[EntitlementFeature]:
    tallies = deed.record.pool.tallies
    return [_feature(deed, tallies[key].right) for key in sorted(tallies) if is_feature(key)]


def _feature(deed: Deed, right: Right) -> EntitlementFeature:
    return EntitlementFeature(
        id=feature_id(deed.record.entitlement.product_id, right.key),
        type=right.kind.value,
        key=right.key,
        value=feature_value(right),
        used=deed.used(right.key) if right.counted else None,
        overdraft_limit=overdraft(right.overdraft),
        total_limit_including_overdraft=right.cap,
    )


def feature_id(product_id: str, key: str) -> str:
    """Give the id of a product's feature, which is always the same: features are known by their keys, and kept under them."""
    digest = sha256(f"{product_id}\0{key}".encode()).digest()[:16]
    return f"feat_{urlsafe_b64encode(digest).decode().rstrip('=')}"


def _offering(deed: Deed) -> EntitlementOffering:
    offered = deed.offered
    return EntitlementOffering(
        id=offered.offering_id, seat_count=offered.seats, overdraft_seat_limit=overdraft(offered.overdraft)
    )


def _edit_info(deed: Deed) -> EditInfo:
    offered, terms, right = deed.offered, deed.record.pool.terms, deed.record.pool.seats.right
    return EditInfo(
        lease_period_edited=terms.lease != offered.lease,
        grace_period_edited=terms.grace != offered.grace,
        seat_count_edited=right.bought != offered.seats,
        overdraft_seat_limit_edited=right.overdraft != offered.overdraft,
    )


def _actions(entitlement_id: str, *, is_exported: bool) -> dict[str, ApiAction]:
    path = f"{PATH}/{entitlement_id}"
    if is_exported:
        return {
            "exportToken": ApiAction(method="POST", path=f"{path}/export/token"),
            "import": ApiAction(method="POST", path=f"{path}/import"),
        }
    return {"export": ApiAction(method="POST", path=f"{path}/export")}
