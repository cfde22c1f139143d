"""`seatkeeper free`: take a seat back, honestly: a program believes in its seat until its lease has ended."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, typed
from seatkeeper_server.cli._output import clock, json_moment, print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.service import administering
from seatkeeper_server.service.administering import FreedSeat, Freeing


def free(
    holder: Annotated[str, Parameter(help="Whose: user@host, a seat's id or name, or an activation's id.")],
    /,
    *,
    block: Annotated[str | None, typed("Refuse him for this long, such as 10m.")] = None,
    unblock: Annotated[bool, Parameter(help="End an earlier --block; nothing is taken back.")] = False,
    now: Annotated[
        bool, Parameter(help="Give the place away at once, although its program goes on until its lease ends: you over-use.")
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Take a seat back from its holder. Without --now the place counts until its lease has ended."""
    with wrong_values_told():
        block_for = read_interval(block) if block is not None else None
        wanted = Freeing(holder=holder, at_once=now, block=block_for, unblock=unblock)
    with opened(data, database) as place, place.transaction() as desk:
        freed = administering.free(desk.catalogue, wanted, desk.now)
    if json:
        print_json(_as_data(freed))
    else:
        say(*_as_lines(freed))


def _as_lines(freed: FreedSeat) -> list[str]:
    said = [f"taken back from {freed.holder}; {_place_text(freed)}"] if freed.activation_id else []
    if freed.blocked_until:
        said.append(f"{freed.holder} is refused until {clock(freed.blocked_until)} (seatkeeper free … --unblock ends that)")
    if freed.unblocked:
        said.append(f"{freed.holder} is not blocked any more")
    return said


def _place_text(freed: FreedSeat) -> str:
    if freed.counts_until:
        over = "when it has lingered" if freed.lingered else "when its lease is over"
        more = "" if freed.lingered else ", and over-uses till then"
        return f"the place counts until {clock(freed.counts_until)}, {over} (--now frees it at once{more})"
    if freed.overused_until:
        until = clock(freed.overused_until)
        return f"the place is free, and over-used until its program notices, at the latest when its lease ends at {until}"
    return "the place is free" + (": he had given it back" if freed.lingered else ": its lease was over")


def _as_data(freed: FreedSeat) -> dict[str, object]:
    return {
        "holder": freed.holder,
        "entitlementId": freed.entitlement_id,
        "activationId": freed.activation_id,
        "countsUntil": json_moment(freed.counts_until),
        "overusedUntil": json_moment(freed.overused_until),
        "blockedUntil": json_moment(freed.blocked_until),
        "unblocked": freed.unblocked,
    }
