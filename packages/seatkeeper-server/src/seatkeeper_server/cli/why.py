"""`seatkeeper why`: why was my customer refused yesterday? The refusal's id is in what he saw."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import clock, counted, json_moment, number, print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.cli._words import name_of
from seatkeeper_server.service import explaining
from seatkeeper_server.service.explaining import Explanation

_RULES = {
    "pool-full": "every seat was taken",
    "feature-exhausted": "not enough of the feature was left",
    "credentials": "tenant and address are known, but no such activation code for this product",
    "nonce": "the call showed a nonce that was used before",
    "excluded": "the holder was blocked (`seatkeeper free … --block`)",
    "entitlement-expired": "the entitlement had ended",
    "entitlement-disabled": "the entitlement was switched off, or had not started",
    "exported": "the entitlement is served by a local license server",
}


def why(
    denial: Annotated[str, Parameter(help="The refusal's id, such as D-7K3M2Q; the D- may be left out.")],
    /,
    *,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Explain a refusal by its id: when, who, by which rule, how full it was, who was there, whom he could ask."""
    with opened(data, database) as place:
        found = place.read(lambda desk: explaining.explain(desk.catalogue, denial))
    if json:
        print_json(_as_data(found))
    else:
        say(*_lines(found))


def _lines(found: Explanation) -> list[str]:
    who = name_of(found.who) or "ever new seats (a flood)"
    asked = f"{found.wanted} of feature {found.feature}" if found.feature else "a seat"
    what = f"{found.customer}'s {found.product} ({found.entitlement_id})" if found.customer else "an unknown code or product"
    lines = [
        f"{found.denial_id}: {who} asked for {asked} of {what}",
        f"when    {clock(found.at)}" + (f", last {clock(found.until)}" if found.until > found.at else ""),
        f"rule    {found.rule}: {_RULES.get(found.rule, 'see the reference of rules')}",
    ]
    if found.used is not None and found.rule in ("pool-full", "feature-exhausted"):
        above = f", {found.overdraft} of them above what was bought" if found.overdraft else ""
        lines.append(f"full    {found.used} of {number(found.limit)} taken{above}")
    if found.holders:
        more = f" and {found.holders_more} more" if found.holders_more else ""
        lines.append(f"there   {', '.join(found.holders)}{more}")
    if found.hint:
        lines.append(f"code    ends in {found.hint}")
    if found.who is not None and found.who.address:
        lines.append(f"from    {found.who.address}")
    if found.repeats:
        lines.append(f"again   {counted(found.repeats, 'time')} more under this id")
    if found.contact:
        lines.append(f"ask     {found.contact}")
    return lines


def _as_data(found: Explanation) -> dict[str, object]:
    who = found.who
    return {
        "id": found.denial_id,
        "rule": found.rule,
        "at": json_moment(found.at),
        "until": json_moment(found.until),
        "tenantId": found.tenant_id,
        "entitlementId": found.entitlement_id,
        "customer": found.customer,
        "product": found.product,
        "holder": None if who is None else {"seatId": who.seat_id, "name": name_of(who), "address": who.address},
        "feature": found.feature or None,
        "wanted": found.wanted,
        "limit": found.limit,
        "used": found.used,
        "overdraft": found.overdraft,
        "codeEndsIn": found.hint or None,
        "repeats": found.repeats,
        "holders": list(found.holders),
        "holdersMore": found.holders_more,
        "contact": found.contact,
    }
