"""What was lent to a local server: imported by a token, shown, and given back."""

from datetime import datetime

from seatkeeper_server.domain.terms import SEAT, is_feature
from seatkeeper_server.http.further import Document, Listed, listed
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.site.console import OfficeHere, TenantHere
from seatkeeper_server.http.site.ports import Lent, Visit
from seatkeeper_server.http.vendor.documents import Token, TokenAsked, feature_value

PATH = "/api/v1/lls/entitlements"

router = new_router()


class Product(Document):
    """A product."""

    id: str
    name: str


class Group(Document):
    """A group, with the codes that open it."""

    id: str
    activation_codes: list[str]


class Feature(Document):
    """A feature of what was lent."""

    key: str
    type: str
    value: int | None
    used: int | None


class LentEntitlement(Document):
    """An entitlement that was lent to this server."""

    id: str
    product: Product
    product_id: str
    product_name: str
    edition_id: str
    sku: str
    offering_name: str
    group: Group
    features: list[Feature]
    attributes: list[str]
    seat_count: int | None
    seats_used: int
    expiry_date: datetime
    concurrency_mode: str
    status: str
    share_id: str
    document_number: int


@router.post(f"{PATH}/import")
def import_entitlement(asked: TokenAsked, tenant_id: TenantHere, office: OfficeHere) -> LentEntitlement:
    """Apply a token that lends an entitlement, or brings one up to date."""

    def work(visit: Visit) -> LentEntitlement:
        return _words(visit, visit.grants.applied_entitlement(asked.token))

    return office.do(work)


@router.get(PATH)
def all_entitlements(tenant_id: TenantHere, office: OfficeHere) -> Listed[LentEntitlement]:
    """List what was lent to this server."""
    return listed(office.read(lambda visit: [_words(visit, lent) for lent in visit.grants.entitlements(tenant_id)]))


@router.get(PATH + "/{entitlement_id}")
def one_entitlement(entitlement_id: str, tenant_id: TenantHere, office: OfficeHere) -> LentEntitlement:
    """Show one entitlement that was lent to this server."""
    return office.read(lambda visit: _words(visit, visit.grants.entitlement(tenant_id, entitlement_id)))


@router.delete(PATH + "/{entitlement_id}")
def remove(entitlement_id: str, tenant_id: TenantHere, office: OfficeHere) -> Token:
    """Give an entitlement back; the token goes to the vendor."""
    return Token(token=office.do(lambda visit: visit.grants.remove(tenant_id, entitlement_id)))


def _words(visit: Visit, lent: Lent) -> LentEntitlement:
    bought = lent.bought
    sold, pool, ended = bought.record.entitlement, bought.pool, visit.catalogue.ended(bought.key, visit.now)
    return LentEntitlement(
        id=sold.entitlement_id,
        product=Product(id=sold.product_id, name=sold.product_name),
        product_id=sold.product_id,
        product_name=sold.product_name,
        edition_id=sold.edition_id,
        sku=bought.sku,
        offering_name=bought.offering,
        group=Group(id=sold.group_id, activation_codes=list(lent.codes)),
        features=[
            Feature(
                key=key,
                type=tally.right.kind.value,
                value=feature_value(tally.right),
                used=tally.used if tally.right.counted else None,
            )
            for key, tally in sorted(pool.tallies.items())
            if is_feature(key)
        ],
        attributes=[],
        seat_count=pool.seats.right.bought,
        seats_used=pool.seats.used - ended.get(SEAT, 0),
        expiry_date=lent.until,
        concurrency_mode=pool.terms.mode.value,
        status=pool.terms.standing(max(visit.now, visit.today)).value,
        share_id=lent.share_id,
        document_number=lent.number,
    )
