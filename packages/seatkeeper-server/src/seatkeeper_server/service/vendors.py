"""A vendor as he is known to his customers' programs: his name, his root key, and whom their refused users should ask.

The contact is the vendor's and not a sale's: it is shown to the users of all his customers. So a sale says it only for a
vendor that it makes; afterwards it is changed here, which is a fact in the vendor's own chain.
"""

from dataclasses import dataclass
from datetime import datetime

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import CannotDo, Catalogue, NotFound, Tenant, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor: `public_key` is what his programs pin; `customers` counts those that have bought from him."""

    tenant_id: str
    name: str
    contact: str | None
    public_key: str
    customers: int


def vendor(catalogue: Catalogue, vault: Vault, called: str | None) -> Vendor:
    """Show a vendor, by name or id; without either, the only one there is.

    Raises:
        NotFound: there is no such vendor, or none at all.
        CannotDo: there are several, and none was named.
    """
    found = the_vendor(catalogue, called)
    bought = catalogue.bought(tenant_id=found.tenant_id)
    return Vendor(
        tenant_id=found.tenant_id,
        name=found.name,
        contact=found.contact,
        public_key=vault.public_key(found.tenant_id),
        customers=len({one.customer for one in bought}),
    )


def change_contact(catalogue: Catalogue, called: str | None, contact: str | None, now: datetime) -> None:
    """Say whom refused users of all the vendor's customers should ask; None: nobody. Saying the same again is no fact.

    Raises:
        NotFound, CannotDo: as for `vendor`.
    """
    found = the_vendor(catalogue, called)
    if contact == found.contact:
        return
    catalogue.set_contact(found.tenant_id, contact)
    note = Note(at=now, what="contactChanged", data={"before": found.contact, "after": contact})
    recording.append(catalogue.tx, found.tenant_id, found.tenant_id, [note], now)


def the_vendor(catalogue: Catalogue, called: str | None) -> Tenant:
    """Give the vendor of this name or id; without either, the only one there is.

    Raises:
        NotFound, CannotDo: as for `vendor`.
    """
    known = catalogue.tenants()
    if called is None and len(known) > 1:
        raise CannotDo(f"there are {len(known)} vendors: name one of {', '.join(tenant.name for tenant in known[:5])}")
    found = next((tenant for tenant in known if called in (None, tenant.name, tenant.tenant_id)), None)
    if found is None:
        names = [tenant.name for tenant in known]
        raise NotFound("vendor", called or "", names, "nothing has been sold yet: see `seatkeeper sell --help`")
    return found
