"""What reports say of pools and their holders, also when no server has settled what time has done."""

from datetime import timedelta

import msgspec
import pytest

from seatkeeper_server.domain.catalogue import Terms
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, Right
from seatkeeper_server.service import administering, reporting
from seatkeeper_server.service.administering import Freeing
from seatkeeper_server.service.calls import Verb
from seatkeeper_server.service.catalogue import Blocked
from seatkeeper_server.service.reporting import Condition, Occupation
from tests.selling.conftest import Shop, after, books, take
from tests.support.house import START, AnyStore, House, activate, held, make_house


def occupation(house: House, seconds: float = 0) -> Occupation:
    """Give who is in the pool, so many seconds after the house was opened."""
    with books(house) as catalogue:
        return reporting.occupations(catalogue, None, after(seconds), after(seconds))[0]


def conditions(house: House, seconds: float = 0) -> dict[str, Condition]:
    """Give how each place stands, by name."""
    return {one.name: one.condition for one in occupation(house, seconds).occupants}


def test_a_pool_says_bought_held_and_free(house: House) -> None:
    """Two bought, one held, none lent, one free."""
    take(house, "ann")
    found = occupation(house)

    assert (found.overview.seats, found.held, found.lent, found.overview.free) == (2, 1, 0, 1)


def test_a_place_that_time_has_ended_is_free_before_anybody_settles_it(house: House) -> None:
    """What the next request would find is what the report says."""
    take(house, "ann")
    found = occupation(house, 127)

    assert (found.held, found.overview.free) == (0, 2)
    assert [(one.condition, one.counts) for one in found.occupants] == [(Condition.LAPSED, False)]


@pytest.mark.parametrize(
    ("seconds", "condition"),
    [(0, Condition.HELD), (79, Condition.HELD), (81, Condition.LATE), (123, Condition.LATE), (127, Condition.LAPSED)],
)
def test_a_holder_that_misses_its_refresh_is_late_then_lapsed(house: House, seconds: int, condition: Condition) -> None:
    """A living program refreshes at a third of its two minutes; the place is kept six seconds beyond its lease."""
    take(house, "ann")

    assert conditions(house, seconds) == {"ann@host": condition}


def test_what_was_taken_back_is_shown_as_such(house: House) -> None:
    """It counts until its lease ends, so it is listed until then."""
    take(house, "ann", "bob")
    with books(house) as catalogue:
        administering.free(catalogue, Freeing(holder="ann"), START)

    assert conditions(house) == {"ann@host": Condition.TAKEN_BACK, "bob@host": Condition.HELD}


def test_a_seat_that_lingers_is_shown_as_returned(store: AnyStore) -> None:
    """It was given back and counts all the same."""
    house = make_house(store, linger=timedelta(seconds=30))
    (served,) = take(house, "ann")
    house.one(held(Verb.RETURN, served))

    assert conditions(house) == {"ann@host": Condition.RETURNED}
    assert occupation(house).held == 1


def test_who_is_refused_is_shown_till_the_block_ends(house: House) -> None:
    """A block is nothing that has to be found out from refusals."""
    take(house, "ann")
    with books(house) as catalogue:
        administering.free(catalogue, Freeing(holder="ann", block=timedelta(minutes=10)), START)

    assert occupation(house).blocked == [Blocked("ann@host", after(600))]
    assert occupation(house, 601).blocked == []


def test_a_node_lock_outlives_its_lease(store: AnyStore) -> None:
    """The right to run is over, the place is still its holder's."""
    house = make_house(store, mode=Mode.NODE_LOCK)
    take(house, "ann")
    (one,) = occupation(house, 10_000).occupants

    assert (one.condition, one.counts) == (Condition.LAPSED, True)


def test_features_are_shown_with_what_is_taken_of_them(store: AnyStore) -> None:
    """Of ten elements four are taken, by the holder who has them."""
    house = make_house(store, features=(Right("render", Kind.ELEMENT_POOL, 10),))
    house.one(activate("ann", features={"render": 4}))
    found = occupation(house)

    assert [(tally.right.key, tally.used) for tally in found.features] == [("render", 4)]
    assert found.occupants[0].features == {"render": 4}
    assert SEAT not in found.occupants[0].features


def test_an_entitlement_ends_by_the_calendar(shop: Shop) -> None:
    """While no server runs the leases' time stands still; the end of an entitlement comes all the same."""
    shop.sell(terms=Terms(seats=1, days=1))
    with shop.opened() as (catalogue, _):
        (before,) = reporting.overviews(catalogue, START, START)
        (later,) = reporting.overviews(catalogue, START, START + timedelta(days=2))

    assert (before.standing.value, later.standing.value) == ("active", "expired")


def test_a_program_may_read_what_was_bought(shop: Shop) -> None:
    """`GET /activation/entitlement`: customer, offering, plan and periods, under the contract's names."""
    sold = shop.sell(terms=Terms(seats=3, lease=timedelta(minutes=2), linger=timedelta(seconds=30), days=30))
    with shop.opened() as (catalogue, _):
        found = reporting.activation_entitlement(catalogue, sold.tenant_id, sold.entitlement_id, START)
    said = msgspec.to_builtins(found)

    assert said["customerName"] == "acme"
    assert said["productName"] == "solver"
    assert said["seatCount"] == 3
    assert said["leasePeriod"] == {"type": "minute", "count": 2}
    assert said["lingerPeriod"] == {"type": "second", "count": 30}
    assert said["gracePeriod"] == {"type": "none", "count": None}
    assert said["plan"]["licenseDuration"] == {"type": "day", "count": 30}
    assert said["plan"]["licenseType"] == "subscription"


def test_an_entitlement_of_another_vendor_is_not_there(shop: Shop) -> None:
    """Nobody reads across tenants."""
    sold, other = shop.sell(), shop.sell(tenant="other")
    with shop.opened() as (catalogue, _):
        found = reporting.activation_entitlement(catalogue, other.tenant_id, sold.entitlement_id, START)

    assert found is None
