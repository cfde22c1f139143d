"""`seatkeeper usage`: how full it was, who was refused and waited, whose the time was, how many seats would be right."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from statistics import median
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cyclopts import Parameter

from seatkeeper_server.cli._failures import Mistyped, wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, typed
from seatkeeper_server.cli._output import counted, json_moment, number, print_json, print_table, say, say_as_is
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.domain.intervals import read_interval, written
from seatkeeper_server.domain.periods import HOUR, Period
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service import finding
from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.usage import roll_up
from seatkeeper_server.service.usage_reports import (
    COLUMNS,
    SHARE_COLUMNS,
    Asked,
    By,
    Share,
    UsageOfRight,
    as_csv,
    share_table,
    shares,
    table,
    usage_of,
)

NO_NAME: Final = "(not said)"

_WORDS: Final = {Period.HOUR: "hours", Period.DAY: "days", Period.MONTH: "months"}


def usage(
    entitlement: Annotated[
        str | None,
        Parameter(help="Only this: an entitlement's id or its beginning, CUSTOMER, or CUSTOMER/PRODUCT.", show_default=False),
    ] = None,
    /,
    *,
    since: Annotated[str, typed("How far back, such as 12h, 30d; or a day, such as 2027-01-31.")] = "30d",
    until: Annotated[str | None, typed("The last day, such as 2027-02-28; now unless given.")] = None,
    by: Annotated[Period, Parameter(help="What it is shown by.")] = Period.DAY,
    feature: Annotated[
        str | None, Parameter(help="Of a feature, by its key, instead of the seats.", show_default=False)
    ] = None,
    who: Annotated[By | None, Parameter(help="Show whose the time was instead.", show_default=False)] = None,
    zone: Annotated[
        str | None,
        Parameter(env_var="SEATKEEPER_ZONE", help="The time zone, such as Europe/Berlin; this machine's unless named."),
    ] = None,
    csv: Annotated[bool, Parameter(help="Print CSV, for spreadsheets.", negative=())] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show how full entitlements were: most and fewest seats taken, seat-hours, refusals, and how many would have been enough.

    `needed` is what would have been taken had everybody been served: who is refused again and again within an hour wants one.
    """
    place_of_day = _zone(zone)
    with opened(data, database) as place:
        now = place.read(lambda desk: desk.now)
        asked = _asked(since, until, by, place_of_day, feature, now)
        found = [_look(place, bought, asked, now, who) for bought in _wanted(place, entitlement)]
    if csv:
        _print_csv(found, who, place_of_day)
    elif json:
        print_json([_as_data(*one, who) for one in found])
    elif not found:
        say("Nothing has been sold yet: see `seatkeeper sell --help`.")
    else:
        for at, one in enumerate(found):
            if at:
                say("")
            _print_one(*one, asked, who)


Found = tuple[Bought, UsageOfRight, list[Share], int]  # with the holders there were


def _wanted(place: Place, entitlement: str | None) -> list[Bought]:
    def look(desk: Desk) -> list[Bought]:
        return desk.catalogue.bought() if entitlement is None else finding.matching(desk.catalogue, entitlement)

    return place.read(look)


def _look(place: Place, bought: Bought, asked: Asked, now: datetime, who: By | None) -> Found:
    more = True
    while more:
        with place.transaction() as desk:
            more = roll_up(desk.catalogue, bought.key)

    def look(desk: Desk) -> Found:
        book = desk.catalogue.usage
        found = usage_of(book, bought.key, asked, now)
        stays = book.stays(bought.key, asked.since, min(asked.until, now))
        return bought, found, shares(stays, who or By.HOLDER), len(stays)

    return place.read(look)


# --- what was typed ------------------------------------------------------------------------------------------------


def _asked(since: str, until: str | None, by: Period, zone: tzinfo, feature: str | None, now: datetime) -> Asked:
    with wrong_values_told():
        end = now if until is None else min(now, _day(until, zone, "until") + timedelta(days=1))
        begin = _day(since, zone, "since") if since[:4].isdigit() and "-" in since else end - read_interval(since)
    if begin >= end:
        raise Mistyped("since: begin before the end, and before now")
    return Asked(since=begin.astimezone(UTC), until=end, period=by, zone=zone, right=SEAT if feature is None else feature)


def _day(text: str, zone: tzinfo, option: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Mistyped(f"{option}: write a day as 2027-01-31") from None


def _zone(name: str | None) -> tzinfo:
    """Give the time zone of that name, or this machine's."""
    if name is None:
        return _here()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Mistyped(
            f"zone: there is no time zone {name}; write it as the IANA database does, such as Europe/Berlin"
        ) from None


def _here() -> tzinfo:
    names = [os.environ.get("TZ", ""), str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]]
    for name in filter(None, names):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return datetime.now().astimezone().tzinfo or UTC


# --- what is shown -------------------------------------------------------------------------------------------------


def _print_one(bought: Bought, found: UsageOfRight, whose: Sequence[Share], holders: int, asked: Asked, who: By | None) -> None:
    what = "seats" if found.right == SEAT else found.right
    say(f"{bought.customer}: {bought.product} ({bought.entitlement_id}), {what}")
    if not found.periods:
        say("nothing has happened in that time")
        return
    say(*_summary(bought, found, holders, asked))
    if who is not None:
        print_table(SHARE_COLUMNS, [[row[0] or NO_NAME, *row[1:]] for row in share_table(whose)], right=SHARE_COLUMNS[1:])
        return
    rows = [
        [
            _period(one.span.start, asked),
            f"{one.span.high}",
            f"{one.span.low}",
            f"{one.span.mean:.1f}",
            f"{one.span.hours:.1f}",
            number(one.span.bought),
            f"{sum(one.denials.values())}",
            f"{one.waiting.most}",
            f"{one.needed}",
        ]
        for one in found.periods
    ]
    columns = (asked.period.value, "high", "low", "mean", "hours", "bought", "denied", "waiting", "needed")
    print_table(columns, rows, right=columns[1:])


def _summary(bought: Bought, found: UsageOfRight, holders: int, asked: Asked) -> list[str]:
    hours = sum(one.span.hours for one in found.periods)
    taken = f"most taken {found.high}, fewest {found.low}, {found.mean:.1f} on average;"
    taken += f" {hours:.1f} hours; {counted(holders, 'holder')}"
    if not found.denials:
        return [taken, "nobody was refused"]
    rules = ", ".join(f"{rule} {times}" for rule, times in found.denials.items())
    lines = [taken, f"refused {sum(found.denials.values())} times ({rules})"]
    if found.demands:
        lines.append(_demands(found))
        words = _WORDS[asked.period]
        lines.append(
            f"{found.needed} would have been enough for everybody, {found.enough_for(0.99)} in 99 % of the {words},"
            f" {found.enough_for(0.95)} in 95 %"
        )
    return lines


def _demands(found: UsageOfRight) -> str:
    met, unmet = found.met, found.unmet
    waited = sum(one.waiting.hours for one in found.periods)
    text = f"that is {counted(len(found.demands), 'wish') if len(found.demands) == 1 else f'{len(found.demands)} wishes'}:"
    if met:
        half = timedelta(seconds=round(median(demand.waited.total_seconds() for demand in met)))
        text += f" {len(met)} granted later, half of them within {written(half) if half else 'a second'};"
    if unmet:
        text += f" {len(unmet)} never;"
    return f"{text} {waited:.1f} hours waited at least"


def _period(start: datetime, asked: Asked) -> str:
    here = start.astimezone(asked.zone)
    match asked.period:
        case Period.HOUR:
            return f"{here:%Y-%m-%d %H:%M}"
        case Period.DAY:
            return f"{here:%Y-%m-%d}"
        case Period.MONTH:
            return f"{here:%Y-%m}"


def _print_csv(found: Sequence[Found], who: By | None, zone: tzinfo) -> None:
    columns = ("entitlement", "customer", "product", *(COLUMNS if who is None else SHARE_COLUMNS))
    rows = [
        [bought.entitlement_id, bought.customer, bought.product, *row]
        for bought, usage, whose, _ in found
        for row in (table(usage, zone) if who is None else share_table(whose))
    ]
    say_as_is(as_csv(columns, rows))


def _as_data(bought: Bought, found: UsageOfRight, whose: Sequence[Share], holders: int, who: By | None) -> dict[str, object]:
    return {
        "entitlementId": bought.entitlement_id,
        "customer": bought.customer,
        "product": bought.product,
        "feature": found.right or None,
        "high": found.high,
        "low": found.low,
        "mean": round(found.mean, 4),
        "denials": dict(found.denials),
        "metLater": len(found.met),
        "neverMet": len(found.unmet),
        "needed": found.needed,
        "enough": {"100": found.enough_for(1), "99": found.enough_for(0.99), "95": found.enough_for(0.95)},
        "holders": holders,
        "periods": [
            {
                "start": json_moment(one.span.start),
                "end": json_moment(one.span.end),
                "high": one.span.high,
                "low": one.span.low,
                "mean": round(one.span.mean, 4),
                "hours": round(one.span.hours, 4),
                "bought": one.span.bought,
                "hoursAboveBought": round(one.span.hours_over, 4),
                "denials": dict(one.denials),
                "mostWaiting": one.waiting.most,
                "hoursWaited": round(one.waiting.hours, 4),
                "needed": one.needed,
            }
            for one in found.periods
        ],
        **({} if who is None else {"whose": [_share_data(one) for one in whose]}),
    }


def _share_data(one: Share) -> dict[str, object]:
    hours = round(one.time / HOUR, 4)
    return {"name": one.name, "hours": hours, "sessions": one.sessions, "lasting": one.lasting, "holders": one.holders}
