"""`seatkeeper disconnect`: a local server goes back to tokens that are carried."""

import sys

from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.cli.connect import upstream_at
from seatkeeper_server.cli.token import Tenant, vendor_of


def disconnect(*, tenant: Tenant = None, data: Data = None, database: Database = None, json: Json = False) -> None:
    """Go back to tokens that are carried; print those that the vendor has not answered, one a line, to be carried in order."""
    with opened(data, database) as place:
        left = upstream_at(place).disconnect(vendor_of(place, tenant))
    if json:
        print_json({"tokens": left})
        return
    say(*left)
    if left:
        print("seatkeeper: carry these to the vendor, each with: seatkeeper token apply FILE", file=sys.stderr)
