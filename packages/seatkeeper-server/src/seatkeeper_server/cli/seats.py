"""`seatkeeper seats`: how full the pools are, and who is in them."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import (
    NOTHING,
    amounts,
    clock,
    day,
    in_overdraft,
    json_moment,
    number,
    print_json,
    print_table,
    say,
)
from seatkeeper_server.cli._place import Desk, opened
from seatkeeper_server.cli.ls import as_data as overview_data
from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.intervals import written
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service import finding, reporting, selling
from seatkeeper_server.service.reporting import Condition, Occupant, Occupation


def seats(
    entitlement: Annotated[
        str | None,
        Parameter(help="Only these: an entitlement's id or its beginning, CUSTOMER, or CUSTOMER/PRODUCT.", show_default=False),
    ] = None,
    /,
    *,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show for each entitlement how many seats are bought, held, lent and free, and who holds them until when."""
    with opened(data, database) as place:
        found = place.read(lambda desk: _occupations(desk, entitlement))
    if json:
        print_json([_as_data(one) for one in found])
        return
    if not found:
        say("Nothing has been sold yet: see `seatkeeper sell --help`.")
    for at, one in enumerate(found):
        if at:
            say("")
        _print_one(one)


def _occupations(desk: Desk, entitlement: str | None) -> list[Occupation]:
    if entitlement is None:
        return reporting.occupations(desk.catalogue, None, desk.now, desk.today)
    named = [bought.entitlement_id for bought in finding.matching(desk.catalogue, entitlement)]
    return [one for each in named for one in reporting.occupations(desk.catalogue, each, desk.now, desk.today)]


def _print_one(one: Occupation) -> None:
    overview, bought = one.overview, one.overview.bought
    say(
        f"{bought.customer}: {bought.product} ({bought.entitlement_id}), {overview.standing.value}, end {day(overview.ends_at)}"
    )
    bought_text = f"{number(overview.seats)} bought{in_overdraft(overview.overdraft)}"
    say(
        f"seats: {bought_text}, {one.held} held, {one.lent} lent, {number(overview.free)} free"
        + "".join(f"; {_feature_text(tally)}" for tally in one.features)
        + _borrowing_text(one)
    )
    if one.occupants:
        columns = ("holder", "state", "since", "lease ends", "features", "activation")
        print_table(columns, [_row(occupant) for occupant in one.occupants], whole="activation")
    for blocked in one.blocked:
        say(f"blocked: {blocked.name} until {clock(blocked.until)}")


def _feature_text(tally: Tally) -> str:
    if tally.right.kind is Kind.BOOL:
        return tally.right.key
    return f"{tally.right.key} {tally.used} of {number(tally.right.bought)}"


def _borrowing_text(one: Occupation) -> str:
    """Say how many of the seats are borrowed, where they may be."""
    out, limits = one.borrowed, selling.borrowing_of(one.overview.bought.pool)
    if limits is None:
        return f"; {out} borrowed" if out else ""
    at_once = "" if limits.most is None else f" of {limits.most}"
    return f"; {out}{at_once} borrowed, for {written(limits.longest)} at most"


def _row(one: Occupant) -> list[str]:
    holding = one.place.holding
    state = one.condition.value + _place_text(one)
    lease_ends = NOTHING if one.condition is Condition.RETURNED else clock(holding.expires_at)
    times = [clock(holding.activated_at), lease_ends]
    return [one.name or NOTHING, state, *times, amounts(one.features), holding.activation_id]


def _place_text(one: Occupant) -> str:
    """Say what becomes of the place where the state alone doesn't: a node lock outlives its lease, a returned seat lingers."""
    if one.condition is Condition.RETURNED and one.counts and one.place.holding.free_at is not None:
        return f", comes back at {clock(one.place.holding.free_at)}"
    if one.condition is Condition.LAPSED:
        return ", place kept" if one.counts else ""
    return "" if one.counts else ", over"


def _as_data(one: Occupation) -> dict[str, object]:
    return {
        **overview_data(one.overview),
        "held": one.held,
        "lent": one.lent,
        "borrowed": one.borrowed,
        "features": [
            {"key": tally.right.key, "type": tally.right.kind.value, "bought": tally.right.bought, "used": tally.used}
            for tally in one.features
        ],
        "blocked": [{"name": blocked.name, "until": json_moment(blocked.until)} for blocked in one.blocked],
        "holders": [_holder_data(occupant) for occupant in one.occupants],
    }


def _holder_data(one: Occupant) -> dict[str, object]:
    who, holding = one.place.who, one.place.holding
    return {
        "seatId": who.seat_id,
        "seatName": who.seat_name,
        "user": who.user,
        "host": who.host,
        "activationId": holding.activation_id,
        "state": one.condition.value,
        "counts": one.counts,
        "borrowed": holding.is_borrowed and one.counts,
        "since": json_moment(holding.activated_at),
        "refreshedAt": json_moment(holding.refreshed_at),
        "leaseEndsAt": json_moment(holding.expires_at),
        "countsUntil": json_moment(holding.free_at),
        "blockedUntil": json_moment(one.place.blocked_until),
        "features": one.features,
    }
