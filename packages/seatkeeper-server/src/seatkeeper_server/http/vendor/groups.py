"""Groups of entitlements, with the activation codes that open them. That codes were read is written down."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Query

from seatkeeper_server.http.further import Document, Expanded, PageAsked, Paged
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.vendor.documents import (
    Customer,
    EntitlementBasic,
    customer,
    entitlement_basic,
)
from seatkeeper_server.http.vendor.guard import Caller, EntitlementsReader, OfficeHere
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.service import deeds
from seatkeeper_server.service.deeds import Wanted

PATH = "/api/v1/entitlements/groups"

CUSTOMER = "customer"
ENTITLEMENTS = "entitlements"

router = new_router()


class EntitlementGroup(Document):
    """A group of entitlements."""

    id: str
    created: datetime
    customer_id: str
    customer: Customer | None
    order_ref_id: str | None
    entitlements: list[EntitlementBasic] | None
    activation_codes: list[str]


@router.get(PATH)
def all_groups(
    caller: EntitlementsReader,
    office: OfficeHere,
    page: PageAsked,
    expand: Expanded,
    customer_id: Annotated[str | None, Query(alias="customerId")] = None,
) -> Paged[EntitlementGroup]:
    """List groups of entitlements, oldest first."""
    wanted = Wanted(customer_id=customer_id, skip=page.skip, most=page.size)

    def look(visit: Visit) -> tuple[list[EntitlementGroup], int]:
        total = visit.deeds.count_groups(caller.tenant_id, wanted)
        return _found(visit, caller, wanted, expand), total

    return page.of(*office.do(look))


@router.get(PATH + "/{group_id}")
def one_group(group_id: str, caller: EntitlementsReader, office: OfficeHere, expand: Expanded) -> EntitlementGroup:
    """Show a group of entitlements; what lies in it is shown unless something else is asked for."""
    told = expand or frozenset({ENTITLEMENTS})
    found = office.do(lambda visit: _found(visit, caller, Wanted(group_id=group_id), told))
    if not found:
        raise ProblemError("notFound")
    return found[0]


def _found(visit: Visit, caller: Caller, wanted: Wanted, expand: frozenset[str]) -> list[EntitlementGroup]:
    groups = visit.deeds.groups(caller.tenant_id, wanted)
    codes: Sequence[list[str]] = deeds.read_codes(
        visit.catalogue, visit.deeds, visit.vault, caller.tenant_id, groups, by=caller.api_id, now=visit.now
    )
    return [
        EntitlementGroup(
            id=group.group_id,
            created=group.created_at,
            customer_id=group.buyer.customer_id,
            customer=customer(group.buyer) if CUSTOMER in expand else None,
            order_ref_id=group.order_ref_id,
            entitlements=_within(visit, caller, group.group_id) if ENTITLEMENTS in expand else None,
            activation_codes=of_group,
        )
        for group, of_group in zip(groups, codes, strict=True)
    ]


def _within(visit: Visit, caller: Caller, group_id: str) -> list[EntitlementBasic]:
    found = visit.deeds.deeds(caller.tenant_id, Wanted(group_id=group_id), visit.now)
    return [entitlement_basic(deed, max(visit.now, visit.today)) for deed in found]
