"""`seatkeeper ls`: what was sold, a line each."""

from seatkeeper_server.cli._options import Data, Json
from seatkeeper_server.cli._output import day, json_moment, number, print_json, print_table, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.service import reporting
from seatkeeper_server.service.reporting import Overview


def ls(*, data: Data = None, json: Json = False) -> None:
    """List what was sold: to whom, how many seats, how many are taken, how it stands, until when."""
    with opened(data) as place:
        found = place.read(lambda desk: reporting.overviews(desk.catalogue, desk.now, desk.today))
    if json:
        print_json([as_data(one) for one in found])
    elif not found:
        say("Nothing has been sold yet: see `seatkeeper sell --help`.")
    else:
        columns = ("entitlement", "customer", "product", "seats", "used", "status", "end")
        print_table(columns, [_row(one) for one in found], right=("seats", "used"), whole="entitlement")


def _row(one: Overview) -> list[str]:
    bought = one.bought
    ends = day(one.ends_at)
    counts = [number(one.seats), str(one.used)]
    return [bought.entitlement_id, bought.customer, bought.product, *counts, one.standing.value, ends]


def as_data(one: Overview) -> dict[str, object]:
    """Give an entitlement's line for programs."""
    bought = one.bought
    return {
        "entitlementId": bought.entitlement_id,
        "tenantId": bought.key[0],
        "tenant": bought.tenant,
        "customer": bought.customer,
        "productId": bought.record.entitlement.product_id,
        "product": bought.product,
        "edition": bought.edition,
        "sku": bought.sku,
        "mode": bought.pool.terms.mode.value,
        "seats": one.seats,
        "used": one.used,
        "free": one.free,
        "status": one.standing.value,
        "endsAt": json_moment(one.ends_at),
    }
