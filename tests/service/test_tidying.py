"""Tidying: what goes, what stays, and that the rest can still be checked."""

from datetime import datetime, timedelta

import pytest

from seatkeeper_server.domain.facts import link
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.service.tidying import ChainIsBroken, Tidying, start_of
from seatkeeper_server.store.pruning import Pruning
from seatkeeper_server.store.rows import to_fact
from seatkeeper_server.store.sqlite import SqliteStore
from support.house import House, activate, held, make_house


@pytest.fixture
def house(store: SqliteStore) -> House:
    return make_house(store, seats=5)


def tidy(house: House, **kept: timedelta) -> int:
    """Tidy until nothing is left; the number of steps that did something."""
    use_case = Tidying(lambda tenant_id, payload: _unsigned(payload), **kept)
    steps = 0
    while True:
        with house.store.transaction() as tx:
            if not use_case.step(Pruning(tx), house.clock.now()):
                return steps
        steps += 1


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
