"""Tidying: what goes, what stays, and that the rest can still be checked."""

from datetime import datetime, timedelta

import pytest

from seatkeeper_server.domain.facts import link
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.service.tidying import ChainIsBroken, Tidying, start_of
from seatkeeper_server.store.pruning import Pruning
from seatkeeper_server.store.rows import to_fact
from support.house import START, AnyStore, House, activate, held, make_house


@pytest.fixture
def house(store: AnyStore) -> House:
    return make_house(store, seats=5)


def tidy(house: House, **kept: timedelta) -> None:
    """Tidy as a server's chores do, each step a transaction of its own."""
    use_case = Tidying(lambda tenant_id, payload: _unsigned(payload), **kept)
    now = house.clock.now()
    with house.store.transaction() as tx:
        use_case.forget(Pruning(tx), now)
        chains = use_case.old_chains(Pruning(tx), now)
    for key in chains:
        more = True
        while more:
            with house.store.transaction() as tx:
                more = use_case.prune(Pruning(tx), key, now)
    with house.store.transaction() as tx:
        use_case.forget_holders(Pruning(tx), now)


def _unsigned(payload: bytes) -> str:
    from seatkeeper.protocol.ids import b64url

    return f"e30.{b64url(payload)}.e30"


def _use(house: House, now: datetime | None = None) -> None:
    first = house.one(activate("a"))
    assert isinstance(first, Served)
    house.ask(activate("b"), held(Verb.RETURN, first), activate("a"))


def test_old_facts_go_behind_a_checkpoint_from_which_the_chain_goes_on(house: House) -> None:
    """The checkpoint has the number, the hash and the counters; the next fact links to it."""
    _use(house)
    house.pass_(10 * 86_400, beating=False)
    house.sweep()
    house.one(activate("late"))
    tidy(house, facts_kept=timedelta(days=5))
    signed = house.rows(f"SELECT signed FROM checkpoint WHERE chain_id = '{house.entitlement_id}'")[0][0]
    checkpoint = start_of(signed)
    assert checkpoint is not None
    rest = [to_fact(row) for row in house.rows(f"SELECT * FROM fact WHERE chain_id = '{house.entitlement_id}' ORDER BY number")]
    head = bytes.fromhex(checkpoint.head)

    assert rest[0].number == checkpoint.number + 1
    for fact in rest:
        head = link(head, recording.body(fact))
        assert head == fact.hash
    assert checkpoint.counters == {SEAT: 2}


def test_pruning_goes_on_from_the_last_checkpoint(house: House) -> None:
    """A second pruning adds to what the first came to."""
    for _ in range(2):
        _use(house)
        house.pass_(10 * 86_400, beating=False)
        tidy(house, facts_kept=timedelta(days=5))
    numbers = house.rows(f"SELECT number FROM checkpoint WHERE chain_id = '{house.entitlement_id}' ORDER BY number")

    assert len(numbers) == 2
    assert house.rows(f"SELECT count(*) FROM fact WHERE chain_id = '{house.entitlement_id}'") == [(0,)]


def test_a_broken_chain_is_not_pruned(house: House) -> None:
    """Facts that were changed are kept, as evidence."""
    _use(house)
    house.rows("UPDATE fact SET kind = 'Claimed' WHERE kind = 'Returned'")
    house.pass_(10 * 86_400, beating=False)

    with pytest.raises(ChainIsBroken, match="was changed"):
        tidy(house, facts_kept=timedelta(days=5))
    assert house.rows("SELECT count(*) FROM checkpoint") == [(0,)]


def test_seats_that_ended_long_ago_are_forgotten_and_living_ones_stay(house: House) -> None:
    """Only places that don't count are forgotten, and only after their time."""
    first = house.one(activate("a", "key"))
    assert isinstance(first, Served)
    house.one(held(Verb.RETURN, first))
    house.one(activate("b"))
    tidy(house)
    assert house.rows("SELECT count(*) FROM holding") == [(2,)]
    house.pass_(31 * 86_400, beating=False)
    tidy(house)

    assert house.rows("SELECT state FROM holding") == [("held",)]
    assert house.rows("SELECT count(*) FROM keyed") == [(0,)]
    assert house.used() == 1


def test_names_are_forgotten_when_nothing_speaks_of_them_any_more(house: House) -> None:
    """A name, a host, an address goes with the last seat and fact of its holder; who holds stays."""
    gone = house.one(activate("gone"))
    assert isinstance(gone, Served)
    house.ask(held(Verb.RETURN, gone), activate("stays"), activate("stranger", code_hash="nope"))
    tidy(house)
    assert house.rows("SELECT count(*) FROM holder") == [(3,)]
    house.pass_(500 * 86_400, beating=False)
    house.sweep()
    tidy(house)

    assert house.rows("SELECT seat_id FROM holder") == [("stays",)]


def test_a_chain_whose_recorded_times_went_back_is_pruned_up_to_the_first_kept_fact(house: House) -> None:
    """After a wrong clock was set back recorded moments no longer rise; numbers do, and no link is broken."""
    for name, day in (("a", 0), ("b", 900), ("c", 10)):
        house.clock.time = START + timedelta(days=day)
        with house.store.transaction() as tx:
            tx.mark_alive(Alive(house.clock.now(), given=1), "")
        house.one(activate(name))
    house.clock.time = START + timedelta(days=20)
    tidy(house, facts_kept=timedelta(days=5))

    assert house.rows(f"SELECT number FROM fact WHERE chain_id = '{house.entitlement_id}' ORDER BY 1") == [(2,), (3,)]


def test_a_long_lease_that_has_just_lapsed_is_not_forgotten(store: AnyStore) -> None:
    """Seats are forgotten by the end of their lease, not by their last refresh: a late refresh may still take it again."""
    house = make_house(store, lease=timedelta(days=45))
    first = house.one(activate("a"))
    assert isinstance(first, Served)
    house.clock.pass_(timedelta(days=45, seconds=10))
    with house.store.transaction() as tx:
        tx.mark_alive(Alive(house.clock.now()), "beat")
    house.sweep()
    tidy(house)

    assert isinstance(house.one(held(Verb.REFRESH, first)), Served)
