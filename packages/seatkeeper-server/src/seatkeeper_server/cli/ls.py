"""`seatkeeper ls`: what was sold, a line each."""

from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import day, json_moment, number, print_json, print_table, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.service import reporting
from seatkeeper_server.service.reporting import Overview


def ls(*, data: Data = None, database: Database = None, json: Json = False) -> None:
    """List what was sold: to whom, how many seats, how many are taken, how it stands, until when."""
    with opened(data, database) as place:
        found = place.read(lambda desk: reporting.overviews(desk.catalogue, desk.now, desk.today))
    if json:
        print_json([as_data(one) for one in found])
    elif not found:
        say("Nothing has been sold yet: see `seatkeeper sell --help`.")
    else:
        _print(found)


def _print(found: list[Overview]) -> None:
    """Show the vendor only where there are several, and what is granted above only where anything is."""
    columns = ["entitlement", "vendor", "customer", "product", "seats", "overdraft", "used", "status", "end"]
    unneeded = set()
    if len({one.bought.key[0] for one in found}) == 1:
        unneeded.add("vendor")
    if all(one.overdraft == 0 for one in found):
        unneeded.add("overdraft")
    shown = [name for name in columns if name not in unneeded]
    rows = [[cell for name, cell in zip(columns, _row(one), strict=True) if name in shown] for one in found]
    print_table(shown, rows, right=("seats", "overdraft", "used"), whole="entitlement")


def _row(one: Overview) -> list[str]:
    bought = one.bought
    names = [bought.tenant, bought.customer, bought.product]
    counts = [number(one.seats), number(one.overdraft), str(one.used)]
    return [bought.entitlement_id, *names, *counts, one.standing.value, day(one.ends_at)]


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
        "overdraft": one.overdraft,
        "used": one.used,
        "free": one.free,
        "status": one.standing.value,
        "endsAt": json_moment(one.ends_at),
    }
