"""`seatkeeper code show`: the only way to read an activation code again, and never a secret one."""

from seatkeeper_server.cli._options import Data, Database, Json, Sold
from seatkeeper_server.cli._output import print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.service import selling


def show(entitlement: Sold, /, *, data: Data = None, database: Database = None, json: Json = False) -> None:
    """Show the activation codes of an entitlement; that they were read is written down."""
    with opened(data, database) as place, place.transaction() as desk:
        bought, codes = selling.read_codes(desk.catalogue, place.vault(desk), entitlement, desk.now)
    if json:
        print_json({"entitlementId": bought.entitlement_id, "activationCodes": codes})
    else:
        say(*codes)
