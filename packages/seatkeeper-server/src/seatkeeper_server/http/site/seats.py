"""Who holds seats on a local server, and taking one back. A place that was taken back counts until its lease has ended."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from seatkeeper_server.http.further import Document, PageAsked, Paged
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.site.console import OfficeHere, TenantHere
from seatkeeper_server.http.site.ports import Visit
from seatkeeper_server.http.vendor.documents import Amount
from seatkeeper_server.service import administering, reporting
from seatkeeper_server.service.administering import Freeing
from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.reporting import Condition, Occupant

PATH = "/api/v1/lls/seats"

router = new_router()


class Seat(Document):
    """A seat and who has it. `counts` tells whether its place is taken."""

    activation_id: str
    entitlement_id: str
    product_id: str
    seat_id: str
    seat_name: str | None
    user: str | None
    host: str | None
    activated: datetime
    last_lease: datetime
    lease_expiry: datetime
    condition: Condition
    counts: bool
    features: list[Amount]


@router.get(PATH)
def all_seats(
    tenant_id: TenantHere,
    office: OfficeHere,
    page: PageAsked,
    entitlement_id: Annotated[str | None, Query(alias="entitlementId")] = None,
) -> Paged[Seat]:
    """List the seats that are held, or were lately."""
    found = office.read(lambda visit: _held(visit, tenant_id, entitlement_id))
    return page.of([_words(*each) for each in found[page.skip : page.skip + page.size]], len(found))


@router.delete(PATH + "/{activation_id}", status_code=204)
def take_back(
    activation_id: str,
    tenant_id: TenantHere,
    office: OfficeHere,
    block: Annotated[int | None, Query(ge=1, le=86_400 * 365, description="seconds for which its holder is refused")] = None,
) -> Response:
    """Take a seat back from its holder, and refuse him for a while if asked to."""

    def work(visit: Visit) -> None:
        if all(each.place.holding.activation_id != activation_id for _, each in _held(visit, tenant_id, None)):
            raise ProblemError("notFound", "There is no such seat.")
        pause = None if block is None else timedelta(seconds=block)
        administering.free(visit.catalogue, Freeing(holder=activation_id, block=pause), visit.now)

    office.do(work)
    return Response(status_code=204)


def _held(visit: Visit, tenant_id: str, entitlement_id: str | None) -> list[tuple[Bought, Occupant]]:
    return [
        (occupation.overview.bought, occupant)
        for occupation in reporting.occupations(visit.catalogue, entitlement_id, visit.now, visit.today)
        if occupation.overview.bought.key[0] == tenant_id
        for occupant in occupation.occupants
    ]


def _words(bought: Bought, occupant: Occupant) -> Seat:
    holding, who = occupant.place.holding, occupant.place.who
    return Seat(
        activation_id=holding.activation_id,
        entitlement_id=bought.entitlement_id,
        product_id=bought.record.entitlement.product_id,
        seat_id=who.seat_id,
        seat_name=who.seat_name,
        user=who.user,
        host=who.host,
        activated=holding.activated_at,
        last_lease=holding.refreshed_at,
        lease_expiry=bought.pool.terms.bounded(holding.expires_at),
        condition=occupant.condition,
        counts=occupant.counts,
        features=[Amount(key=key, amount=amount) for key, amount in sorted(occupant.features.items())],
    )
