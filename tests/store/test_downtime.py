"""`extend_leases` does to every kind of place what `domain.timekeeping.extended` says of one."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.terms import BORROWED, Mode
from seatkeeper_server.domain.timekeeping import extended
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.ports import Changes
from support.house import START, TENANT, AnyStore, activate, make_house

GAP = timedelta(seconds=50)


def _in_state(holding: Holding, state: State) -> Holding:
    ended = holding.expires_at + timedelta(seconds=6)
    return replace(holding, state=state, occupies=state is not State.LAPSED, free_at=None if state is State.LAPSED else ended)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("ends", [None, 60, 130, 5000], ids=["no end", "ends with the lease", "ends soon after", "ends later"])
@pytest.mark.parametrize("state", [State.HELD, State.TAKEN_BACK, State.RETURNED, State.LAPSED])
@pytest.mark.parametrize("borrowed", [False, True], ids=["here", "borrowed"])
def test_each_kind_of_place_gets_what_the_domain_gives_it(
    store: AnyStore, mode: Mode, ends: int | None, state: State, borrowed: bool
) -> None:
    """Held places and their leases, never beyond the entitlement's end; places that wait for a lease; no others."""
    house = make_house(store, mode=mode, ends_at=None if ends is None else START + timedelta(seconds=ends))
    outcome = house.one(activate("a"))
    assert isinstance(outcome, Served)
    holding = _in_state(outcome.holding, state)
    if mode is Mode.NODE_LOCK and state is State.HELD:
        holding = replace(holding, free_at=None)
    if borrowed:
        holding = replace(holding, rights={**holding.rights, BORROWED: 1})
    now = house.clock.now() + GAP
    with store.transaction() as tx:
        record = tx.holdings([(TENANT, holding.activation_id)])[0]
        tx.save(Changes(holdings=[replace(record, holding=holding)]))
        terms = tx.pools([(TENANT, house.entitlement_id)])[0].pool.terms

    with store.transaction() as tx:
        tx.extend_leases(house.clock.now(), GAP, now)
        found = tx.holdings([(TENANT, holding.activation_id)])[0].holding

    assert found == extended(holding, terms, GAP, now)


def test_giving_back_that_takes_long_is_not_downtime_itself(store: AnyStore) -> None:
    """With a million places the giving back takes longer than a server may be silent; it is done once all the same."""
    house = make_house(store)
    house.one(activate("a"))
    house.pass_(60, beating=False)
    with store.transaction() as tx:
        extend = tx.extend_leases

        def slowly(alive_at: datetime, gap: timedelta, now: datetime) -> int:
            places = extend(alive_at, gap, now)
            house.clock.pass_(timedelta(seconds=20))
            return places

        tx.extend_leases = slowly  # type: ignore[method-assign]
        house.timekeeper.begin(tx, "slow")
    end = house.rows("SELECT expires_at FROM holding")
    with store.transaction() as tx:
        house.timekeeper.begin(tx, "next")

    assert house.rows("SELECT expires_at FROM holding") == end
    assert house.facts().count("Note") == 1
