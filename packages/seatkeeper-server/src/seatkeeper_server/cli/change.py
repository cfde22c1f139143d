"""`seatkeeper change`: more seats or fewer, longer or shorter, borrowed or not."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, Sold, typed
from seatkeeper_server.cli._output import counted, day, json_moment, number, print_json, say
from seatkeeper_server.cli._place import opened, refuse_local
from seatkeeper_server.domain.catalogue import read_borrowing, read_end, written_borrowing
from seatkeeper_server.service import selling
from seatkeeper_server.service.selling import Change, Changed


def change(
    entitlement: Sold,
    /,
    *,
    seats: Annotated[int | None, Parameter(help="How many seats it has from now on.")] = None,
    until: Annotated[
        str | None, Parameter(help="Its last day in UTC, such as 2027-12-31; a moment with its zone; or never.")
    ] = None,
    borrow: Annotated[
        str | None,
        typed("For how long a laptop may take a seat home, and how many at once, such as 14d or 14d:5; none: no more."),
    ] = None,
    force: Annotated[
        bool,
        Parameter(help="Shrink below what is taken, or end it while it is in use: holders lose their seat at a next refresh."),
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Change how many seats were bought, until when, or how they are borrowed; what it was before is written down too."""
    with wrong_values_told():
        wanted = Change(
            seats=seats,
            moves_end=until is not None,
            until=read_end(until) if until else None,
            limits_borrowing=borrow is not None,
            borrow=read_borrowing(borrow) if borrow is not None else None,
            force=force,
        )
    with opened(data, database) as place, place.transaction() as desk:
        refuse_local(desk)
        changed = selling.change(desk.catalogue, entitlement, wanted, desk.now)
    if json:
        print_json(_as_data(changed))
    else:
        say(*_as_lines(changed))


def _as_lines(changed: Changed) -> list[str]:
    """Say what the change does to holders; one that does nothing to anybody is quiet."""
    said = []
    if changed.going:
        said.append(
            f"holders to go: {changed.going}, each at its next refresh (its place counts until its lease has ended)",
        )
    if changed.working:
        said.append(
            f"held beyond the new end: {counted(changed.working, 'seat')}, each till its lease ends; no refresh after the end"
        )
    return [f"{changed.entitlement_id}: seats {number(changed.seats)}, until {day(changed.until)}; {one}" for one in said]


def _as_data(changed: Changed) -> dict[str, object]:
    return {
        "entitlementId": changed.entitlement_id,
        "seats": changed.seats,
        "until": json_moment(changed.until),
        "borrow": written_borrowing(changed.borrow),
        "before": {
            "seats": changed.seats_before,
            "until": json_moment(changed.until_before),
            "borrow": written_borrowing(changed.borrow_before),
        },
        "going": changed.going,
        "working": changed.working,
    }
