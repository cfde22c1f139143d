"""The usage of an entitlement: how full it was, who was refused and waited, who was there; as JSON or CSV.

Moments are cut to quarters of an hour, which hours and days of every time zone are made of. What has happened until now is in.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query
from starlette.responses import Response

from seatkeeper_server.domain.periods import HOUR, Period
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.http.further import Document, Office, PageAsked, Paged, Since, Until
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import reject_field
from seatkeeper_server.http.vendor.entitlements import ONE
from seatkeeper_server.http.vendor.guard import EntitlementsReader, OfficeHere
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.service.catalogue import Bought, NotFound
from seatkeeper_server.service.usage import roll_up
from seatkeeper_server.service.usage_reports import (
    COLUMNS,
    SHARE_COLUMNS,
    Asked,
    By,
    PeriodOfUse,
    Share,
    UsageOfRight,
    as_csv,
    share_table,
    shares,
    table,
    usage_of,
)

UNLESS_ASKED: Final = timedelta(days=30)
MOST_PERIODS: Final = 24 * 366  # of one answer: a year by the hour

_LENGTHS: Final = {Period.HOUR: HOUR, Period.DAY: timedelta(days=1), Period.MONTH: timedelta(days=28)}

router = new_router()


ZoneAsked = Annotated[str, Query(alias="timeZone", max_length=100)]
Format = Annotated[Literal["json", "csv"], Query()]


class PeriodWords(Document):
    """An hour, a day or a month, or the part of it that was asked for. Hours are of one seat, or of one of the feature."""

    start: datetime
    end: datetime
    high: int
    low: int
    mean: float
    hours: float
    bought: int | None
    hours_above_bought: float
    came: int
    used: int
    denials: dict[str, int]
    most_waiting: int
    hours_waited: float
    needed: int


class Demands(Document):
    """What was refused, counted as people would: whoever asks again and again within an hour wants one thing."""

    met_later: int
    never_met: int
    hours_waited: float


class Group(Document):
    """Whose the time was."""

    name: str
    hours: float
    sessions: int
    lasting: int
    holders: int


class UsageWords(Document):
    """The usage of one right of an entitlement. `enough` is how many would have been enough in that share of the periods."""

    entitlement_id: str
    product_name: str
    feature: str | None
    by: Period
    time_zone: str
    high: int
    low: int
    mean: float
    denials: dict[str, int]
    demands: Demands
    needed: int
    enough: dict[str, int]
    distinct_holders: int
    periods: list[PeriodWords]
    groups: list[Group] | None = None


class SessionWords(Document):
    """One stay of a holder's."""

    activation_id: str
    seat_id: str | None
    seat_name: str | None
    user: str | None
    host: str | None
    group: str | None
    project: str | None
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    cause: str | None


@router.get(f"{ONE}/usage", response_model=UsageWords)
def usage(
    entitlement_id: str,
    caller: EntitlementsReader,
    office: OfficeHere,
    since: Since = None,
    until: Until = None,
    by: Period = Period.DAY,
    time_zone: ZoneAsked = "UTC",
    feature: Annotated[str | None, Query(max_length=50)] = None,
    group_by: Annotated[By | None, Query(alias="groupBy")] = None,
    format: Format = "json",
) -> UsageWords | Response:
    """Show how full an entitlement was, who was refused, and, with groupBy, whose the time was."""
    bought = _caught_up(office, caller.tenant_id, entitlement_id)

    def look(visit: Visit) -> UsageWords | Response:
        zone = _zone(time_zone)
        asked = _asked(since, until, by, zone, feature, visit.now)
        found = usage_of(visit.catalogue.usage, bought.key, asked, visit.now)
        stays = visit.catalogue.usage.stays(bought.key, asked.since, min(asked.until, visit.now))
        groups = None if group_by is None else shares(stays, group_by)
        if format == "csv":
            return _csv(*((COLUMNS, table(found, zone)) if groups is None else (SHARE_COLUMNS, share_table(groups))))
        return _words(bought, found, by, time_zone, len(stays), groups)

    return office.read(look)


@router.get(f"{ONE}/usage/sessions")
def sessions(
    entitlement_id: str,
    caller: EntitlementsReader,
    office: OfficeHere,
    page: PageAsked,
    since: Since = None,
    until: Until = None,
) -> Paged[SessionWords]:
    """List who was there, the latest first."""
    bought = _caught_up(office, caller.tenant_id, entitlement_id)

    def look(visit: Visit) -> Paged[SessionWords]:
        end = until or visit.now
        begin = since or end - UNLESS_ASKED
        book = visit.catalogue.usage
        found = [
            SessionWords(
                activation_id=session.activation_id,
                seat_id=None if who is None else who.seat_id,
                seat_name=None if who is None else who.seat_name,
                user=None if who is None else who.user,
                host=None if who is None else who.host,
                group=None if who is None else who.group,
                project=None if who is None else who.project,
                started_at=session.started_at,
                ended_at=session.ended_at,
                seconds=None if session.ended_at is None else (session.ended_at - session.started_at).total_seconds(),
                cause=session.cause,
            )
            for session, who in book.sessions(bought.key, begin, end, page.skip, page.size)
        ]
        return page.of(found, book.count_sessions(bought.key, begin, end))

    return office.read(look)


def _caught_up(office: Office[Visit], tenant_id: str, entitlement_id: str) -> Bought:
    """Find an entitlement, and have all that has happened to it rolled up.

    Raises:
        NotFound: this vendor has sold none of that id.
    """

    def find(visit: Visit) -> Bought:
        found = visit.catalogue.bought(tenant_id, entitlement_id)
        if not found:
            raise NotFound("entitlement", entitlement_id, [], "nothing of that id was sold")
        return found[0]

    bought = office.read(find)
    roll: Callable[[Visit], bool] = lambda visit: roll_up(visit.catalogue, bought.key)  # noqa: E731
    while office.do(roll):
        pass
    return bought


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reject_field("timeZone", "Name a time zone as the IANA database does, such as Europe/Berlin.")


def _asked(
    since: datetime | None, until: datetime | None, by: Period, zone: tzinfo, feature: str | None, now: datetime
) -> Asked:
    end = until or now
    begin = since or end - UNLESS_ASKED
    if begin >= end:
        reject_field("from", "Begin before the end.")
    if (end - begin) / _LENGTHS[by] > MOST_PERIODS:
        reject_field("from", f"That would be more than {MOST_PERIODS} periods: ask for less, or by longer ones.")
    return Asked(since=begin, until=end, period=by, zone=zone, right=SEAT if feature is None else feature)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Response:
    return Response(as_csv(columns, rows), media_type="text/csv; charset=utf-8")


def _words(
    bought: Bought, found: UsageOfRight, by: Period, time_zone: str, holders: int, groups: Sequence[Share] | None
) -> UsageWords:
    return UsageWords(
        entitlement_id=bought.entitlement_id,
        product_name=bought.product,
        feature=found.right or None,
        by=by,
        time_zone=time_zone,
        high=found.high,
        low=found.low,
        mean=round(found.mean, 4),
        denials=dict(found.denials),
        demands=Demands(
            met_later=len(found.met),
            never_met=len(found.unmet),
            hours_waited=round(sum(one.waiting.hours for one in found.periods), 4),
        ),
        needed=found.needed,
        enough={"100": found.enough_for(1), "99": found.enough_for(0.99), "95": found.enough_for(0.95)},
        distinct_holders=holders,
        periods=[_period(one) for one in found.periods],
        groups=None if groups is None else [_group(one) for one in groups],
    )


def _period(one: PeriodOfUse) -> PeriodWords:
    span = one.span
    return PeriodWords(
        start=span.start,
        end=span.end,
        high=span.high,
        low=span.low,
        mean=round(span.mean, 4),
        hours=round(span.hours, 4),
        bought=span.bought,
        hours_above_bought=round(span.hours_over, 4),
        came=one.came,
        used=one.used,
        denials=dict(one.denials),
        most_waiting=one.waiting.most,
        hours_waited=round(one.waiting.hours, 4),
        needed=one.needed,
    )


def _group(one: Share) -> Group:
    return Group(
        name=one.name,
        hours=round(one.time / HOUR, 4),
        sessions=one.sessions,
        lasting=one.lasting,
        holders=one.holders,
    )
