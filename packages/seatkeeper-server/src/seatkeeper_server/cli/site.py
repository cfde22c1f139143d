"""`seatkeeper site`: what a vendor does with the license servers at his customers' sites.

Documents go to standard output, or into a file with `--out`; what is said to people goes to standard error then, so that a
document can be redirected and carried.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from seatkeeper_server.cli._failures import Mistyped, Unusable, wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, Sold, typed
from seatkeeper_server.cli._output import NOTHING, clock, day, json_moment, print_json, print_table, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.cli._remote import Remote, Server, either
from seatkeeper_server.domain.catalogue import read_end
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service import lending
from seatkeeper_server.service.delegation import Export, ShareUse, Site
from seatkeeper_server.service.finding import find
from seatkeeper_server.service.lending import Lending
from seatkeeper_server.service.vendors import the_vendor

Result = TypeVar("Result")

Called = Annotated[str, Parameter(help="Which local server, by its name or its id.")]
Out = Annotated[Path | None, Parameter(name=("--out", "-o"), help="Write the token into this file.", show_default=False)]
Tenant = Annotated[
    str | None,
    Parameter(
        env_var="SEATKEEPER_VENDOR", help="The vendor, where there are several; by id with --server.", show_default=False
    ),
]


def code(
    *, tenant: Tenant = None, server: Server = None, data: Data = None, database: Database = None, json: Json = False
) -> None:
    """Show the activation code by which local servers are licensed; it is made if there is none."""

    def near() -> tuple[str, str]:
        with opened(data, database, create=True) as place, place.transaction() as desk:
            return lending.site_code(desk.catalogue, place.vault(desk), tenant, now=desk.now, random=os.urandom)

    tenant_id, found = either(server, tenant, near=near, far=Remote.code)
    if json:
        print_json({"tenantId": tenant_id, "activationCode": found})
    else:
        say(f"tenant           {tenant_id}", f"activation code  {found}")


def list_(
    *, tenant: Tenant = None, server: Server = None, data: Data = None, database: Database = None, json: Json = False
) -> None:
    """List the local servers: whether they are licensed and believed, what is lent to them, and their last report."""
    either(
        server,
        tenant,
        near=lambda: _print_near(_as_vendor(tenant, data, database, _everything), json=json),
        far=lambda vendor: _print_far(vendor.sites(), json=json),
    )


def use(
    name: Annotated[str | None, Parameter(help="Which local server; all of them unless given.")] = None,
    /,
    *,
    tenant: Tenant = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show what local servers reported of their use: most and fewest seats held, refusals and seat-hours, day by day."""
    found = _as_vendor(tenant, data, database, lambda vendor, desk: _used(vendor, desk, name))
    if json:
        print_json([_use_data(what, used) for what, used in found])
    elif not any(used.days for _, used in found):
        say("Nothing was reported yet: on the local server, seatkeeper token report; then seatkeeper token apply here.")
    else:
        columns = ("server", "entitlement", "day", "high", "low", "refused", "seat-hours", "hours missing")
        rows = [
            [
                used.site.name,
                what,
                f"{one.day}",
                f"{one.high}",
                f"{one.low}",
                f"{one.denials}",
                f"{one.seat_hours:g}",
                f"{one.hours_missing}",
            ]
            for what, used in found
            for one in used.days
        ]
        print_table(columns, rows, right=columns[3:])


def lend(
    entitlement: Sold,
    /,
    *,
    to: Called,
    seats: Annotated[int | None, Parameter(help="How many seats; all of the entitlement unless given.")] = None,
    feature: Annotated[
        tuple[str, ...], Parameter(help="So much of a feature: render=5. Repeatable.", negative=(), show_default=False)
    ] = (),
    until: Annotated[
        str | None, Parameter(help="The last day, such as 2027-12-31, or a moment; the entitlement's end unless given.")
    ] = None,
    skew: Annotated[str | None, typed("By how much its clock may be off, such as 12h; a day unless given.")] = None,
    out: Out = None,
    tenant: Tenant = None,
    server: Server = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Lend seats of an entitlement to a local server, or change what it was lent, and print the token to carry there.

    More seats count at once. Fewer count when what was lent before has ended, or when the server reports that it keeps to them.
    """
    claim(out)
    with wrong_values_told():
        features = dict(map(_read_amount, feature))
        ends_at = read_end(until) if until else None
        allowed = read_interval(skew) if skew else None

    def work(vendor: Lending, desk: Desk) -> str:
        bought = find(desk.catalogue, entitlement)
        site = vendor.site(to)
        return vendor.lend(bought.entitlement_id, site.site_id, seats=seats, features=features, until=ends_at, skew=allowed)

    if server is not None and skew is not None:
        raise Mistyped("skew: it is set beside the vendor's data, not with --server")
    near = partial(_as_vendor, tenant, data, database, work)
    token = either(server, tenant, near=near, far=lambda vendor: vendor.lend(entitlement, to, seats, features, ends_at))
    hand_out(token, out, f"carry it to {to}: seatkeeper token apply FILE", json=json)


def fresh(
    entitlement: Sold,
    /,
    *,
    to: Annotated[str | None, Parameter(help="Which local server, where there are several.", show_default=False)] = None,
    out: Out = None,
    tenant: Tenant = None,
    server: Server = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Print a fresh token of what was lent: with the entitlement as it is now, and to clear a server that is suspect."""
    claim(out)

    def work(vendor: Lending, desk: Desk) -> str:
        return vendor.fresh_token(find(desk.catalogue, entitlement).entitlement_id, to)

    near = partial(_as_vendor, tenant, data, database, work)
    token = either(server, tenant, near=near, far=lambda vendor: vendor.fresh(entitlement, to))
    hand_out(token, out, "carry it to the local server: seatkeeper token apply FILE", json=json)


def back(
    entitlement: Sold,
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Which local server, where there are several.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    server: Server = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Take back what was lent when its grant has run out; before that bring the removal token from there."""

    def work(vendor: Lending, desk: Desk) -> None:
        vendor.take_back(find(desk.catalogue, entitlement).entitlement_id, None, from_)

    near = partial(_as_vendor, tenant, data, database, work)
    either(server, tenant, near=near, far=lambda vendor: vendor.back(entitlement, from_))


def renew(
    name: Called,
    /,
    *,
    out: Out = None,
    tenant: Tenant = None,
    server: Server = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Renew a local server's own license, and print the token to carry there."""
    claim(out)

    def work(vendor: Lending, desk: Desk) -> str:
        return vendor.renew_license(vendor.site(name).site_id)

    near = partial(_as_vendor, tenant, data, database, work)
    token = either(server, tenant, near=near, far=lambda vendor: vendor.renew(name))
    hand_out(token, out, f"carry it to {name}: seatkeeper token apply FILE", json=json)


def forget(
    name: Called, /, *, tenant: Tenant = None, server: Server = None, data: Data = None, database: Database = None
) -> None:
    """End the license of a local server that is lost; nothing may be lent to it any more."""

    def work(vendor: Lending, desk: Desk) -> None:
        vendor.forget(vendor.site(name).site_id)

    near = partial(_as_vendor, tenant, data, database, work)
    either(server, tenant, near=near, far=lambda vendor: vendor.forget(name))


# --- helpers -------------------------------------------------------------------------------------------------------


def claim(out: Path | None) -> None:
    """See that a token can be written before it is made: nothing is lent, or given back, that gets lost then.

    Raises:
        Unusable: the file can't be written.
    """
    if out is None:
        return
    is_new = not out.exists()
    try:
        os.close(os.open(out, os.O_WRONLY | os.O_CREAT, 0o600))
        if is_new:
            out.unlink()
    except OSError as error:
        raise Unusable(f"{out} can't be written: {error.strerror or error}; nothing was changed") from error


def hand_out(token: str, out: Path | None, what_next: str, *, json: bool) -> None:
    """Give a token to be carried: as JSON, into a file, or on standard output; what to do with it is said beside it.

    Raises:
        Unusable: the file can't be written.
    """
    if out is not None:
        try:
            with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(token + "\n")
        except OSError as error:
            raise Unusable(f"{out} can't be written: {error.strerror or error}") from error
        what_next = what_next.replace("FILE", str(out))
    if json:
        print_json({"token": token})
        return
    if out is None:
        say(token, flush=True)
    if out is not None or not sys.stdout.isatty():
        print(f"seatkeeper: {what_next}", file=sys.stderr)


def _print_near(found: list[tuple[Site, list[tuple[str, Export]]]], *, json: bool) -> None:
    if json:
        print_json([_as_data(site, exports) for site, exports in found])
    elif not found:
        say("No local server is licensed yet: see `seatkeeper site code --help`.")
    else:
        columns = ("name", "id", "license until", "state", "lent", "last report")
        print_table(columns, [_row(site, exports) for site, exports in found], whole="id")


def _print_far(found: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        print_json(found)
        return
    columns = ("name", "id", "license until", "state", "lent", "last report")
    rows = [
        [
            site["name"],
            site["id"],
            str(site["leaseExpiry"])[:10] if site["licenseActive"] else "ended",
            site["state"],
            ", ".join(f"{share['entitlement']}: {share['seats']} until {share['until'][:10]}" for share in site["shares"])
            or NOTHING,
            str(site["lastReport"] or NOTHING)[:19],
        ]
        for site in found
    ]
    print_table(columns, rows, whole="id")


def _as_vendor(tenant: str | None, data: Path | None, database: str | None, work: Callable[[Lending, Desk], Result]) -> Result:
    with opened(data, database) as place, place.transaction() as desk:
        return work(_vendor(place, desk, tenant), desk)


def _vendor(place: Place, desk: Desk, tenant: str | None) -> Lending:
    tenant_id = the_vendor(desk.catalogue, tenant).tenant_id
    return Lending(desk.catalogue, place.vault(desk), tenant_id=tenant_id, now=desk.now, random=os.urandom)


def _everything(vendor: Lending, desk: Desk) -> list[tuple[Site, list[tuple[str, Export]]]]:
    """Give each server with what is lent to it, by the entitlement's words."""
    lent = [
        (f"{bought.customer}/{bought.product}", export)
        for bought in desk.catalogue.bought()
        for export in vendor.exports(bought.entitlement_id)
    ]
    return [(site, [each for each in lent if each[1].site.site_id == site.site_id]) for site in vendor.sites()]


def _used(vendor: Lending, desk: Desk, name: str | None) -> list[tuple[str, ShareUse]]:
    """Give what was reported of each share, by the entitlement's words."""
    words = {bought.entitlement_id: f"{bought.customer}/{bought.product}" for bought in desk.catalogue.bought()}
    return [(words[used.entitlement_id], used) for used in vendor.uses(name)]


def _use_data(what: str, used: ShareUse) -> dict[str, object]:
    days = [
        {
            "day": str(one.day),
            "high": one.high,
            "low": one.low,
            "denials": one.denials,
            "seatHours": one.seat_hours,
            "hoursMissing": one.hours_missing,
        }
        for one in used.days
    ]
    return {
        "localLicenseServerId": used.site.site_id,
        "name": used.site.name,
        "shareId": used.share_id,
        "entitlement": what,
        "facts": used.facts,
        "days": days,
    }


def _row(site: Site, exports: list[tuple[str, Export]]) -> list[str]:
    lent = ", ".join(f"{what}: {export.seats} until {day(export.until)}" for what, export in exports)
    until = day(site.lease_ends_at) if site.is_licensed else "ended"
    return [site.name, site.site_id, until, site.state.value, lent or NOTHING, clock(site.last_report_at)]


def _as_data(site: Site, exports: list[tuple[str, Export]]) -> dict[str, object]:
    return {
        "localLicenseServerId": site.site_id,
        "name": site.name,
        "licenseActive": site.is_licensed,
        "leaseExpiry": json_moment(site.lease_ends_at),
        "state": site.state.value,
        "lastReport": json_moment(site.last_report_at),
        "shares": [
            {
                "shareId": export.share_id,
                "entitlement": what,
                "seats": export.seats,
                "features": {key: amount for key, amount in export.features.items() if key != SEAT},
                "until": json_moment(export.until),
                "countsUntil": json_moment(export.counts_until),
                "outOfSync": export.out_of_sync,
            }
            for what, export in exports
        ],
    }


def _read_amount(text: str) -> tuple[str, int]:
    key, equals, amount = text.partition("=")
    if not (key and equals and amount.isascii() and amount.isdecimal() and len(amount) < 16):
        raise ValueError(f"feature: write render=5, not {quoted(text)}")
    return key, int(amount)
