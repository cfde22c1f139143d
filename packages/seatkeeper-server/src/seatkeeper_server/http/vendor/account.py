"""The key of a vendor's account, by which his systems verify what is signed for them."""

from seatkeeper_server.account_keys import new_account_key
from seatkeeper_server.http.further import Document, Office
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.vendor.guard import ClientsAdmin, OfficeHere
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.service import accounts

router = new_router()


class Jwk(Document):
    """The public part of an RSA key (RFC 7517)."""

    kty: str = "RSA"
    n: str
    e: str


@router.get("/api/v1/account/key")
def account_key(caller: ClientsAdmin, office: OfficeHere) -> Jwk:
    """Show the public key of the account; it is made when it is first asked for."""
    return jwk_of(office, caller.tenant_id)


def jwk_of(office: Office[Visit], tenant_id: str) -> Jwk:
    """Give the public key of a vendor's account, made if there is none yet."""
    known = office.read(lambda visit: visit.vault.account_key(tenant_id))
    if known is None:
        made = new_account_key()
        known = office.do(lambda visit: accounts.keep(visit.catalogue, visit.vault, tenant_id, made, visit.now))
    return Jwk(n=known.modulus, e=known.exponent)
