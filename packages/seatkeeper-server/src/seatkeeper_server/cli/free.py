"""`seatkeeper free`: take a seat back, honestly: a program believes in its seat until its lease has ended."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Json
from seatkeeper_server.cli._output import clock, json_moment, print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.service import administering
from seatkeeper_server.service.administering import FreedSeat, Freeing


def free(
    holder: Annotated[str, Parameter(help="Whose: user@host, a seat's id or name, or an activation's id.")],
    /,
    *,
    block: Annotated[str | None, Parameter(help="Refuse him for this long, such as 10m.")] = None,
    now: Annotated[
        bool, Parameter(help="Give the place away at once, although its program goes on until its lease ends: you over-use.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Take a seat back from its holder. Without --now the place counts until its lease has ended."""
    with wrong_values_told():
        wanted = Freeing(holder=holder, at_once=now, block=read_interval(block) if block is not None else None)
    with opened(data) as place, place.transaction() as desk:
        freed = administering.free(desk.catalogue, wanted, desk.now)
    if json:
        print_json(_as_data(freed))
    else:
        say(*_as_lines(freed))


def _as_lines(freed: FreedSeat) -> list[str]:
    said = []
    if freed.activation_id and freed.counts_until:
        said.append(
            f"taken back from {freed.holder}; the place counts until {clock(freed.counts_until)}, when its lease is over"
            " (--now frees it at once, and over-uses till then)"
        )
    elif freed.activation_id:
        said.append(f"taken back from {freed.holder}; the place is free, and over-used until its program notices")
    if freed.blocked_until:
        said.append(f"{freed.holder} is refused until {clock(freed.blocked_until)}")
    return said


def _as_data(freed: FreedSeat) -> dict[str, object]:
    return {
        "holder": freed.holder,
        "entitlementId": freed.entitlement_id,
        "activationId": freed.activation_id,
        "countsUntil": json_moment(freed.counts_until),
        "blockedUntil": json_moment(freed.blocked_until),
    }
