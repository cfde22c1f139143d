"""Local license servers, as their vendor licenses them: by tokens that are carried, both ways."""

from datetime import datetime

from starlette.responses import Response

from seatkeeper_server.http.further import Document, Listed, listed
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.vendor.account import Jwk, jwk_of
from seatkeeper_server.http.vendor.documents import (
    LocalLicenseServer,
    Token,
    TokenAsked,
    local_license_server,
)
from seatkeeper_server.http.vendor.guard import OfficeHere, SitesAdmin
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.service.catalogue import Bought

PATH = "/api/v1/local-license-servers"

router = new_router()


class SitesEntitlement(Document):
    """The entitlement whose seats local servers are."""

    id: str
    sku: str
    offering_name: str
    product_id: str
    seat_count: int | None
    seats_used: int
    expiry_date: datetime | None
    status: str


class SitesGroup(Document):
    """The group of that entitlement, with the code that local servers are licensed by."""

    id: str
    created: datetime
    customer_id: str | None = None
    order_ref_id: str | None = None
    activation_codes: list[str]


class SitesLicense(Document):
    """What local servers are licensed from."""

    entitlement: SitesEntitlement
    entitlement_group: SitesGroup


class Config(Document):
    """What older local servers are set up with: who licenses them, and who lends to them. Here that is the same vendor."""

    lls_license_tenant_id: str
    lls_license_tenant_key: Jwk
    client_tenant_id: str
    client_tenant_key: Jwk


class Reported(Document):
    """What became of a report; `token` is to be carried back, if there is one."""

    kind: str
    text: str
    token: str | None


@router.get(PATH)
def all_sites(caller: SitesAdmin, office: OfficeHere) -> Listed[LocalLicenseServer]:
    """List the local license servers."""
    found = office.read(lambda visit: list(visit.lending(caller.tenant_id).sites()))
    return listed([local_license_server(site) for site in found])


@router.get(f"{PATH}/entitlement")
def license_entitlement(caller: SitesAdmin, office: OfficeHere) -> SitesLicense:
    """Show what local servers are licensed from; it is made when it is first asked for."""

    def look(visit: Visit) -> SitesLicense:
        lending = visit.lending(caller.tenant_id)
        code = lending.site_code()
        return _license(lending.license_entitlement(), code, max(visit.now, visit.today))

    return office.do(look)


@router.get(f"{PATH}/config")
def config(caller: SitesAdmin, office: OfficeHere) -> Config:
    """Show the tenant and its public key, as the one that licenses local servers and as the one that lends to them."""
    key = jwk_of(office, caller.tenant_id)
    return Config(
        lls_license_tenant_id=caller.tenant_id,
        lls_license_tenant_key=key,
        client_tenant_id=caller.tenant_id,
        client_tenant_key=key,
    )


@router.post(f"{PATH}/license/activate")
def activate(asked: TokenAsked, caller: SitesAdmin, office: OfficeHere) -> Token:
    """License a local server that asks for it."""
    return Token(token=office.do(lambda visit: visit.lending(caller.tenant_id).license(asked.token)))


@router.post(f"{PATH}/license/deactivate", status_code=204)
def deactivate(asked: TokenAsked, caller: SitesAdmin, office: OfficeHere) -> Response:
    """End a license that a local server gave back."""
    office.do(lambda visit: visit.lending(caller.tenant_id).end_license(asked.token))
    return Response(status_code=204)


@router.post(f"{PATH}/usage-report")
def report(asked: TokenAsked, caller: SitesAdmin, office: OfficeHere) -> Reported:
    """Take in what a local server reports of its use."""
    applied = office.do(lambda visit: visit.lending(caller.tenant_id).report(asked.token))
    return Reported(kind=applied.kind, text=applied.text, token=applied.reply)


@router.get(PATH + "/{site_id}")
def one_site(site_id: str, caller: SitesAdmin, office: OfficeHere) -> LocalLicenseServer:
    """Show a local license server."""
    return local_license_server(office.read(lambda visit: visit.lending(caller.tenant_id).site(site_id)))


@router.patch(PATH + "/{site_id}/license/refresh")
def refresh(site_id: str, caller: SitesAdmin, office: OfficeHere) -> Token:
    """Extend a local server's license."""
    return Token(token=office.do(lambda visit: visit.lending(caller.tenant_id).renew_license(site_id)))


@router.post(PATH + "/{site_id}/license/deactivate-without-token", status_code=204)
def forget(site_id: str, caller: SitesAdmin, office: OfficeHere) -> Response:
    """End the license of a local server that is lost."""
    office.do(lambda visit: visit.lending(caller.tenant_id).forget(site_id))
    return Response(status_code=204)


def _license(bought: Bought, code: str, now: datetime) -> SitesLicense:
    sold, pool = bought.record.entitlement, bought.pool
    return SitesLicense(
        entitlement=SitesEntitlement(
            id=sold.entitlement_id,
            sku=bought.sku,
            offering_name=bought.offering,
            product_id=sold.product_id,
            seat_count=pool.seats.right.bought,
            seats_used=pool.seats.used,
            expiry_date=pool.terms.ends_at,
            status=pool.terms.standing(now).value,
        ),
        entitlement_group=SitesGroup(id=sold.group_id, created=bought.created_at, activation_codes=[code]),
    )
