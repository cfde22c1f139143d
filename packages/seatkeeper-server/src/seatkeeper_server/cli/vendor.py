"""`seatkeeper vendor`: who sells here: his root key, and whom his customers' refused users should ask."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import NOTHING, counted, print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.catalogue import checked_contact
from seatkeeper_server.service import vendors
from seatkeeper_server.service.vendors import Vendor


def vendor(
    name: Annotated[str | None, Parameter(help="Which vendor, by name or id; not needed for an only one.")] = None,
    /,
    *,
    contact: Annotated[
        str | None, Parameter(help='Whom refused users of this vendor should ask from now on; "" for nobody.')
    ] = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show a vendor: his id, public key and contact; or change the contact, for all his customers."""
    with wrong_values_told():
        wanted = None if contact is None else checked_contact(contact)
    with opened(data, database) as place:
        if contact is not None:
            with place.transaction() as desk:
                vendors.change_contact(desk.catalogue, name, wanted, desk.now)
        found = place.read(lambda desk: vendors.vendor(desk.catalogue, place.vault(desk), name))
    if json:
        print_json(_as_data(found))
    elif contact is None:
        say(*_as_text(found))


def _as_text(found: Vendor) -> list[str]:
    return [
        f"vendor      {found.name}, {counted(found.customers, 'customer')}",
        f"tenant      {found.tenant_id}",
        f"public key  {found.public_key}",
        f"contact     {found.contact or NOTHING}",
    ]


def _as_data(found: Vendor) -> dict[str, object]:
    return {
        "tenantId": found.tenant_id,
        "tenant": found.name,
        "publicKey": found.public_key,
        "contact": found.contact,
        "customers": found.customers,
    }
