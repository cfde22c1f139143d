"""Where the database finds the places that time has ended: seldom written, never too late."""

from datetime import timedelta

from seatkeeper_server.service.calls import Refused, Served, Verb
from support.house import START, TENANT, AnyStore, House, activate, held, make_house

LEASE_AND_MARGIN = 126


def found_after(house: House) -> list[int | None]:
    """Give, for each place, after how many seconds the database looks whether it has ended."""
    rows = house.rows("SELECT due_from FROM holding WHERE occupies = 1 ORDER BY holder")
    return [None if row[0] is None else round(row[0] / 1e6 - START.timestamp()) for row in rows]


def test_every_second_refresh_leaves_it_where_it_is_found(store: AnyStore) -> None:
    """A program that asks after each third of its lease moves an index with every second answer."""
    house = make_house(store)
    place = house.one(activate("a"))
    assert isinstance(place, Served)
    found = found_after(house)
    for _ in range(4):
        house.pass_(40)
        assert isinstance(house.one(held(Verb.REFRESH, place)), Served)
        found += found_after(house)

    assert found == [126, 126, 80 + 126, 80 + 126, 160 + 126]


def test_a_place_that_is_looked_at_too_soon_is_kept_and_put_off(store: AnyStore) -> None:
    """It was refreshed since: it counts until its own end, and nobody looks again before."""
    house = make_house(store)
    place = house.one(activate("a"))
    assert isinstance(place, Served)
    house.pass_(40)
    house.one(held(Verb.REFRESH, place))
    house.pass_(LEASE_AND_MARGIN - 40)
    with store.transaction() as tx:
        looked_at = tx.pools_with_due(house.clock.time, 10)
    house.sweep()
    kept = house.used(), found_after(house)
    with store.transaction() as tx:
        looked_at_again = tx.pools_with_due(house.clock.time, 10)
    house.pass_(40)
    house.sweep()

    assert looked_at == [(TENANT, house.entitlement_id)]
    assert (kept, looked_at_again) == ((1, [40 + LEASE_AND_MARGIN]), [])
    assert house.used() == 0


def test_the_place_that_comes_back_first_is_named_in_a_large_pool(store: AnyStore) -> None:
    """Of 60 programs one has died: it is the first of those that are shown, and its end the earliest."""
    house = make_house(store, seats=60)
    places = [house.one(activate(f"seat-{number}")) for number in range(60)]
    for _ in range(2):
        house.pass_(40)
        house.ask(*(held(Verb.REFRESH, place) for place in places[:59] if isinstance(place, Served)))
    house.pass_(30)
    with store.transaction() as tx:
        views, earliest = tx.roster((TENANT, house.entitlement_id), 20)

    assert (views[0].name, len(views)) == ("seat-59@host", 20)
    assert earliest == START + timedelta(seconds=LEASE_AND_MARGIN)


def test_a_returned_place_that_lingers_comes_back_first(store: AnyStore) -> None:
    """It is nobody's any more, so it is not shown; but it is the next that is free."""
    house = make_house(store, seats=2, linger=timedelta(seconds=30))
    first, second = house.ask(activate("a"), activate("b"))
    assert isinstance(first, Served)
    assert isinstance(second, Served)
    house.one(held(Verb.RETURN, first))
    refused = house.one(activate("c"))

    assert isinstance(refused, Refused)
    assert [holder.name for holder in refused.refusal.occupancy.holders] == ["b@host"]
    assert refused.refusal.occupancy.next_free_by == START + timedelta(seconds=30)
