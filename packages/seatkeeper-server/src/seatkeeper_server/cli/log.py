"""`seatkeeper log`: what happened, a line each, oldest first."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, typed
from seatkeeper_server.cli._output import clock, json_moment, print_json, say
from seatkeeper_server.cli._place import Place, opened
from seatkeeper_server.cli._words import name_of, sentence
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.service.catalogue import LogFilter, LogRow
from seatkeeper_server.service.explaining import read_data

LOOK_EVERY = 0.5  # seconds; how soon --follow shows what happened
LOOK_BACK = timedelta(seconds=30)  # facts of two writers may be recorded a little out of order


def log(
    *,
    since: Annotated[str, typed("How far back, such as 90s, 2h, 30d.")] = "1d",
    customer: Annotated[str | None, Parameter(help="Only this customer's, by name.")] = None,
    holder: Annotated[str | None, Parameter(help="Only this holder's: user@host, user, host, seat or activation.")] = None,
    denied: Annotated[bool, Parameter(help="Only refusals, wrong codes included.")] = False,
    follow: Annotated[bool, Parameter(help="Go on and show what happens, until Ctrl-C.")] = False,
    limit: Annotated[int, Parameter(help="At most this many, the newest.")] = 1000,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show what happened: seats taken and given back, refusals, sales, changes, codes read. With --json a document a line."""
    with wrong_values_told():
        reach = read_interval(since)
        if not 1 <= limit <= 1_000_000:
            raise ValueError("limit: 1 to 1000000")
    with opened(data, database) as place:
        wanted = LogFilter(
            since=place.read(lambda desk: min(desk.now, desk.today)) - reach,
            customer=customer,
            holder=holder,
            denied=denied,
            most=limit,
        )
        for row in _followed(place, wanted) if follow else _rows(place, wanted):
            if json:
                print_json(as_data(row), line=True)
            else:
                say(as_text(row), flush=follow)


def _followed(place: Place, wanted: LogFilter) -> Iterator[LogRow]:
    """Give what is there, then what comes; each fact once."""
    seen: set[tuple[str, int]] = set()
    while True:
        found = _rows(place, wanted)
        yield from (row for row in found if _key(row) not in seen)
        if found:
            wanted = replace(wanted, since=max(wanted.since, found[-1].fact.recorded_at - LOOK_BACK))
            seen = {_key(row) for row in found if row.fact.recorded_at >= wanted.since}
        time.sleep(LOOK_EVERY)


def _rows(place: Place, wanted: LogFilter) -> list[LogRow]:
    return place.read(lambda desk: desk.catalogue.log(wanted))


def _key(row: LogRow) -> tuple[str, int]:
    return row.fact.chain_id, row.fact.number


def as_text(row: LogRow) -> str:
    """Give a fact as a line for people."""
    where = f"{row.customer}/{row.product}" if row.customer else "-"
    who = name_of(row.who)
    return f"{clock(row.fact.at)}  {where}  {f'{who} ' if who else ''}{sentence(row)}"


def as_data(row: LogRow) -> dict[str, object]:
    """Give a fact for programs."""
    fact, who = row.fact, row.who
    return {
        "at": json_moment(fact.at),
        "recordedAt": json_moment(fact.recorded_at),
        "kind": fact.kind,
        "tenantId": fact.tenant_id,
        "entitlementId": None if fact.chain_id == fact.tenant_id else fact.chain_id,
        "number": fact.number,
        "customer": row.customer,
        "product": row.product,
        "holder": None if who is None else {"seatId": who.seat_id, "name": name_of(who), "user": who.user, "host": who.host},
        "activationId": fact.activation_id,
        "generation": fact.generation,
        "denialId": fact.denial_id,
        "data": read_data(fact.data),
    }
