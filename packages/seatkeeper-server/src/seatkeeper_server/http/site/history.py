"""What became of the seats that were lent to a local server: its use by the hour, and the facts behind it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import Query

from seatkeeper_server.http.further import Document, Listed, PageAsked, Paged, Since, Until, listed
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import reject_field
from seatkeeper_server.http.site.console import OfficeHere, TenantHere
from seatkeeper_server.http.site.ports import Visit
from seatkeeper_server.service import auditing, use
from seatkeeper_server.service.catalogue import Bought, NotFound
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.statements import HourOfUse

PATH: Final = "/api/v1/lls"
UNLESS_ASKED: Final = timedelta(days=1)
LONGEST: Final = timedelta(days=31)

router = new_router()

EntitlementAsked = Annotated[str | None, Query(alias="entitlementId", max_length=200)]


class Hour(Document):
    """An hour, or the part of it that was asked for: most and fewest seats held, refusals, seat-hours."""

    hour: datetime
    high: int
    low: int
    denials: int
    seat_hours: float


class Use(Document):
    """The use of an entitlement, hour by hour."""

    entitlement_id: str
    product_id: str
    product_name: str
    seat_count: int | None
    hours: list[Hour]


class Fact(Document):
    """Something that happened. All that its hash covers is here; `data` is what it says beyond the fields it has."""

    entitlement_id: str
    sequence: int
    moment: datetime
    recorded: datetime
    what: str
    activation_id: str | None
    generation: int
    holder: int
    denial_id: str | None
    data: dict[str, Any]  # what it is depends on `what`
    hash: str


@router.get(f"{PATH}/usage")
def usage(
    tenant_id: TenantHere,
    office: OfficeHere,
    entitlement_id: EntitlementAsked = None,
    since: Since = None,
    until: Until = None,
) -> Listed[Use]:
    """Show how full each entitlement was, hour by hour."""

    def look(visit: Visit) -> list[Use]:
        end = until or visit.now
        start = since or end - UNLESS_ASKED
        _check(start, end)
        found = visit.catalogue.bought(tenant_id, entitlement_id)
        return [_use(one, use.of_pool(visit.catalogue, one, start, end, visit.now)) for one in _known(found, entitlement_id)]

    return listed(office.read(look))


@router.get(f"{PATH}/audit")
def audit(
    tenant_id: TenantHere,
    office: OfficeHere,
    page: PageAsked,
    entitlement_id: EntitlementAsked = None,
    order: Literal["newest", "sequence"] = "newest",
) -> Paged[Fact]:
    """Show what happened, with the hashes that chain it: the newest first, or in the sequence of each entitlement."""
    read = auditing.newest if order == "newest" else auditing.by_number

    def look(visit: Visit) -> Paged[Fact]:
        found = auditing.chains(visit.catalogue, tenant_id, entitlement_id)
        _known([chain.bought for chain in found], entitlement_id)
        facts = read(visit.catalogue, found, page.skip, page.size)
        return page.of([_fact(fact) for fact in facts], sum(chain.length for chain in found))

    return office.read(look)


def _known(found: list[Bought], entitlement_id: str | None) -> list[Bought]:
    if entitlement_id is not None and not found:
        raise NotFound("entitlement", entitlement_id, [], "nothing of that id is lent to this server")
    return found


def _check(start: datetime, end: datetime) -> None:
    if start >= end:
        reject_field("from", "Begin before the end.")
    if end - start > LONGEST:
        reject_field("from", f"Ask for {LONGEST.days} days at most.")


def _use(bought: Bought, hours: list[HourOfUse]) -> Use:
    sold = bought.record.entitlement
    return Use(
        entitlement_id=bought.entitlement_id,
        product_id=sold.product_id,
        product_name=bought.product,
        seat_count=bought.pool.seats.right.bought,
        hours=[
            Hour(
                hour=datetime.fromtimestamp(one.hour, tz=UTC),
                high=one.high,
                low=one.low,
                denials=one.denials,
                seat_hours=round(one.seat_seconds / 3_600, 4),
            )
            for one in hours
        ],
    )


def _fact(fact: FactRecord) -> Fact:
    return Fact(
        entitlement_id=fact.chain_id,
        sequence=fact.number,
        moment=fact.at,
        recorded=fact.recorded_at,
        what=fact.kind,
        activation_id=fact.activation_id,
        generation=fact.generation,
        holder=fact.holder,
        denial_id=fact.denial_id,
        data=read_data(fact.data),
        hash=fact.hash.hex(),
    )
