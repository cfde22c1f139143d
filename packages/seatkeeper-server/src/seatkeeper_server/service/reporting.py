"""What people and programs may read of what was sold and who holds it. Reading changes nothing.

A report speaks of two moments. `now` is the time of the leases, which stands still while no server runs; `today` is the
calendar's, by which an entitlement ends. What time has ended although no server has settled it yet is counted as free:
that is what the next request would find.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from seatkeeper.protocol.documents import ActivationEntitlement, Interval, PlanTerms
from seatkeeper_server.domain.admission import Tally, returnable
from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.intervals import unit_and_count
from seatkeeper_server.domain.terms import SEAT, Mode, Standing, Terms, is_feature
from seatkeeper_server.service.catalogue import Blocked, Bought, Catalogue, Commercial, Place

LAPSED_SHOWN = timedelta(days=1)  # seats whose lease ended are listed this long


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One entitlement in a line: what was bought, how much of it is taken, how it stands."""

    bought: Bought
    used: int
    standing: Standing

    @property
    def seats(self) -> int | None:
        """How many seats were bought; None means any number."""
        return self.bought.pool.seats.right.bought

    @property
    def free(self) -> int | None:
        """How many more would be granted now; None means any number."""
        cap = self.bought.pool.seats.right.cap
        return None if cap is None else max(0, cap - self.used)

    @property
    def overdraft(self) -> int | None:
        """How many seats more may be held than were bought; None means any number."""
        right = self.bought.pool.seats.right
        return 0 if right.bought is None else right.overdraft.above(right.bought)

    @property
    def ends_at(self) -> datetime | None:
        """When the entitlement ends."""
        return self.bought.pool.terms.ends_at


class Condition(StrEnum):
    """How a place stands, in the words people are shown."""

    HELD = "held"
    LENT = "lent"  # to a local server
    BORROWED = "borrowed"  # taken home by a device
    LATE = "late"  # it should have been refreshed by now, or its lease is over and the place only kept for the margin
    LAPSED = "lapsed"  # its lease is over
    TAKEN_BACK = "taken back"  # counts until its lease ends
    RETURNED = "returned"  # lingers, or was borrowed: counts until its lease ends
    TAKEN_OVER = "taken over"  # an older copy's; counts until its lease ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A place, who has it, and how it stands."""

    place: Place
    condition: Condition
    counts: bool

    @property
    def name(self) -> str:
        """What the holder is called."""
        return self.place.who.seat_name or self.place.who.seat_id

    @property
    def features(self) -> dict[str, int]:
        """What is held besides the seat."""
        return {key: amount for key, amount in self.place.holding.rights.items() if is_feature(key) and amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupation:
    """One entitlement's seats: how many are held, how many of those borrowed, how many lent, by whom, and who is refused."""

    overview: Overview
    held: int
    lent: int
    borrowed: int
    features: list[Tally]
    occupants: list[Occupant]
    blocked: list[Blocked]


def overviews(catalogue: Catalogue, now: datetime, today: datetime) -> list[Overview]:
    """Give every entitlement in a line."""
    bought = catalogue.bought()
    overdue = set(catalogue.tx.pools_with_due(now, len(bought)))  # few at a time: one question for all, one more for each
    return [_overview(one, catalogue.ended(one.key, now) if one.key in overdue else {}, now, today) for one in bought]


def occupations(catalogue: Catalogue, entitlement_id: str | None, now: datetime, today: datetime) -> list[Occupation]:
    """Give who is in the pools: in all of them, or in one entitlement's."""
    return [_occupation(catalogue, bought, now, today) for bought in catalogue.bought(entitlement_id=entitlement_id)]


def _overview(bought: Bought, ended: Mapping[str, int], now: datetime, today: datetime) -> Overview:
    used = bought.pool.seats.used - ended.get(SEAT, 0)
    return Overview(bought=bought, used=used, standing=bought.pool.terms.standing(max(now, today)))


def _occupation(catalogue: Catalogue, bought: Bought, now: datetime, today: datetime) -> Occupation:
    places = catalogue.places(bought.key, now - LAPSED_SHOWN)
    ended = returnable(bought.pool.tallies, catalogue.ended(bought.key, now))
    overview = _overview(bought, ended, now, today)
    occupants = [
        Occupant(place=place, condition=condition(place.holding, bought.pool.terms, now), counts=_counts(place.holding, now))
        for place in places
    ]
    lent = sum(one.place.holding.seats for one in occupants if one.counts and one.place.holding.is_share)
    return Occupation(
        overview=overview,
        held=overview.used - lent,
        lent=lent,
        borrowed=sum(1 for one in occupants if one.counts and one.place.holding.is_borrowed),
        features=[_settled(tally, ended) for key, tally in sorted(bought.pool.tallies.items()) if is_feature(key)],
        occupants=occupants,
        blocked=catalogue.blocked(bought.key, now),
    )


def _settled(tally: Tally, ended: dict[str, int]) -> Tally:
    return Tally(tally.right, tally.used - ended.get(tally.right.key, 0), tally.above)


def _counts(holding: Holding, now: datetime) -> bool:
    return holding.occupies and not holding.is_due(now)


def condition(holding: Holding, terms: Terms, now: datetime) -> Condition:
    """Say how a place stands. A living program refreshes at about a third of its lease; twice that is late."""
    if holding.is_share:
        return Condition.LENT if holding.occupies else Condition.RETURNED
    match holding.state:
        case State.TAKEN_BACK:
            return Condition.TAKEN_BACK
        case State.RETURNED:
            return Condition.RETURNED
        case State.SUPERSEDED:
            return Condition.TAKEN_OVER
        case State.LAPSED:
            return Condition.LAPSED
        case State.HELD:
            if holding.is_borrowed and holding.expires_at > now:
                return Condition.BORROWED
            over = holding.is_due(now) or (terms.mode is Mode.NODE_LOCK and holding.expires_at <= now)
            late = holding.expires_at - now <= terms.refresh_interval
            return Condition.LAPSED if over else Condition.LATE if late else Condition.HELD


# --- for applications ----------------------------------------------------------------------------------------------


def activation_entitlement(
    catalogue: Catalogue, tenant_id: str, entitlement_id: str, now: datetime
) -> ActivationEntitlement | None:
    """Give what an application may read of its entitlement's commercial side; None if there is no such entitlement."""
    found = catalogue.commercial(tenant_id, entitlement_id)
    if found is None:
        return None
    return ActivationEntitlement(
        customer_name=found.customer,
        customer_account_ref_id=found.account_ref_id,
        order_ref_id=found.order_ref_id,
        offering_name=found.offering,
        sku=found.sku,
        product_name=found.product,
        plan=_plan(found),
        grace_period=_interval(found.grace),
        linger_period=_interval(found.linger),
        lease_period=_interval(found.lease),
        offline_lease_period=_interval(timedelta(0)),
        has_maintenance=found.has_maintenance,
        maintenance_expiry_date=found.maintenance_ends_at,
        seat_count=found.seats,
        expiry_date=found.ends_at,
        snapshot_date=now,
    )


def _plan(found: Commercial) -> PlanTerms:
    return PlanTerms(
        name=found.plan,
        license_type=found.license_type,  # type: ignore[arg-type]  # the schema's CHECK allows these words only
        license_start_type=found.license_start_type,  # type: ignore[arg-type]  # likewise
        license_duration=Interval(type=found.duration_unit, count=found.duration_count),  # type: ignore[arg-type]  # likewise
    )


def _interval(length: timedelta) -> Interval:
    if not length:
        return Interval(type="none")
    unit, count = unit_and_count(length)
    return Interval(type=unit, count=count)  # type: ignore[arg-type]  # intervals has no other units
