"""A local server's own license: asked for, given, extended and given back by tokens that are carried."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from seatkeeper_server.http.further import Asked, Document
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.site.connection import Connection
from seatkeeper_server.http.site.console import OfficeHere, TenantHere
from seatkeeper_server.http.site.ports import License, Visit
from seatkeeper_server.http.vendor.documents import Token, TokenAsked

PATH = "/api/v1/lls"
NOT_ACTIVE = "notActive"

router = new_router()


class LicenseAsked(Asked):
    """What a license is asked for with."""

    activation_code: Annotated[str, Field(min_length=1, max_length=200)]
    server_name: Annotated[str, Field(min_length=1, max_length=50)]


class Server(Document):
    """This server, and how its connection to the vendor stands; without an id, it was not licensed yet."""

    id: str | None
    name: str | None
    tenant_id: str
    state: str
    connection: Connection | None = None


class LicenseStatus(Document):
    """How this server's license stands."""

    status: str
    id: str | None
    seat_name: str | None
    lease_expiry: datetime | None
    state: str


@router.get(f"{PATH}/server")
def server(tenant_id: TenantHere, office: OfficeHere) -> Server:
    """Show what this server is called."""
    found, made = office.read(lambda visit: (visit.grants.license(tenant_id), visit.connections.of(tenant_id)))
    if found is None:
        return Server(id=None, name=None, tenant_id=tenant_id, state="ok")
    connection = None if made is None else Connection.of(made)
    return Server(id=found.site_id, name=found.name, tenant_id=found.tenant_id, state=str(found.state), connection=connection)


@router.get(f"{PATH}/license/status")
def status(tenant_id: TenantHere, office: OfficeHere) -> LicenseStatus:
    """Show how this server's license stands."""
    return _words(office.read(lambda visit: visit.grants.license(tenant_id)))


@router.post(f"{PATH}/license/generate-activation-token")
def request(asked: LicenseAsked, tenant_id: TenantHere, office: OfficeHere) -> Token:
    """Ask for a license; the token goes to the vendor."""
    return Token(token=office.do(lambda visit: visit.grants.request(tenant_id, asked.activation_code, asked.server_name)))


@router.post(f"{PATH}/license/activate")
def activate(asked: TokenAsked, tenant_id: TenantHere, office: OfficeHere) -> LicenseStatus:
    """Apply the license that the vendor has given."""
    return _words(office.do(lambda visit: _applied(visit, tenant_id, asked.token)))


@router.post(f"{PATH}/license/refresh")
def refresh(asked: TokenAsked, tenant_id: TenantHere, office: OfficeHere) -> LicenseStatus:
    """Apply an extension of the license, or whatever else the vendor has sent."""
    return _words(office.do(lambda visit: _applied(visit, tenant_id, asked.token)))


@router.post(f"{PATH}/license/deactivate")
def deactivate(tenant_id: TenantHere, office: OfficeHere) -> Token:
    """Give the license back at once; the token goes to the vendor."""
    return Token(token=office.do(lambda visit: visit.grants.deactivate(tenant_id)))


@router.post(f"{PATH}/usage-report")
def report(tenant_id: TenantHere, office: OfficeHere) -> Token:
    """Report this server's use; the token goes to the vendor."""
    return Token(token=office.do(lambda visit: visit.grants.report(tenant_id)))


def _applied(visit: Visit, tenant_id: str, token: str) -> License | None:
    visit.grants.apply(token)
    found = visit.grants.license(tenant_id)
    if found is None:
        raise ProblemError("offline.wrongServer", "This token is of another vendor than N-TenantId says.")
    return found


def _words(found: License | None) -> LicenseStatus:
    if found is None:
        return LicenseStatus(status=NOT_ACTIVE, id=None, seat_name=None, lease_expiry=None, state="ok")
    return LicenseStatus(
        status=found.status, id=found.site_id, seat_name=found.name, lease_expiry=found.lease_ends_at, state=str(found.state)
    )
