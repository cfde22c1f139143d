"""Freeing a seat and blocking its holder, without pretending that a program forgets its lease."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from seatkeeper_server.domain.terms import Mode
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.service import administering
from seatkeeper_server.service.administering import Ambiguous, FreedSeat, Freeing
from seatkeeper_server.service.calls import Refused, Served, Verb, Who
from seatkeeper_server.service.catalogue import CannotDo, NotFound
from tests.selling.conftest import after, books, granted, take
from tests.support.house import AnyStore, House, activate, held, make_house

LEASE_AND_MARGIN = timedelta(minutes=2) + margin_for(BEAT)


def free(house: House, holder: str, **wanted: Any) -> FreedSeat:
    """Free a holder's seat now."""
    with books(house) as catalogue:
        return administering.free(catalogue, Freeing(holder=holder, **wanted), house.clock.time)


def test_a_freed_place_counts_until_its_lease_is_over(house: House) -> None:
    """The program that has the seat believes in it until then: whoever comes now is refused."""
    take(house, "ann", "bob")
    freed = free(house, "ann")

    assert freed.counts_until == after(0) + LEASE_AND_MARGIN
    assert house.used() == 2
    assert isinstance(house.one(activate("eve")), Refused)


def test_a_freed_holder_can_not_refresh(house: House) -> None:
    """What was taken back is gone for its program at the next call."""
    (served,) = take(house, "ann")
    free(house, "ann")

    assert house.one(held(Verb.REFRESH, served)) == Refused("seat.gone")


def test_a_freed_place_comes_back_by_itself(house: House) -> None:
    """Once its lease and the margin are over, the next one gets it."""
    take(house, "ann", "bob")
    free(house, "ann")
    house.pass_(LEASE_AND_MARGIN.total_seconds() + 1)

    assert isinstance(house.one(activate("eve")), Served)


def test_now_gives_the_place_away_at_once(house: House) -> None:
    """For those who know that they over-use until the program notices."""
    take(house, "ann", "bob")
    freed = free(house, "ann", at_once=True)

    assert freed.counts_until is None
    assert isinstance(house.one(activate("eve")), Served)


def test_freeing_is_a_fact(house: House) -> None:
    """Whoever took it back stands in the chain."""
    take(house, "ann")
    free(house, "ann", at_once=True)

    assert house.facts() == ["Claimed", "TakenBack"]
    assert '"by":"operator"' in house.rows("SELECT data FROM fact WHERE kind = 'TakenBack'")[0][0]


@pytest.mark.parametrize("called", ["ann", "ann@host", "ann@node7"])
def test_a_holder_goes_by_seat_name_and_user_at_host(house: House, called: str) -> None:
    """`seatkeeper free` takes what `seatkeeper seats` and refusals show."""
    who = Who(seat_id="ann", seat_name="ann@host", user="ann", host="node7")
    house.one(activate("ann", who=who))

    assert free(house, called, at_once=True).activation_id is not None


def test_a_holder_goes_by_his_activation(house: House) -> None:
    """The one name that is never ambiguous."""
    (served,) = take(house, "ann")
    freed = free(house, served.holding.activation_id)

    assert freed.activation_id == served.holding.activation_id


def test_of_several_of_a_name_the_one_with_a_seat_is_meant(house: House) -> None:
    """A holder of the same name who has nothing stands in nobody's way."""
    gone = granted(house, activate("a", who=Who(seat_id="a", seat_name="twin")))
    house.one(held(Verb.RETURN, gone))
    house.one(activate("b", who=Who(seat_id="b", seat_name="twin")))

    assert free(house, "twin", at_once=True).activation_id is not None


def test_a_name_that_several_hold_is_refused_with_the_choice(house: House) -> None:
    """Nobody's seat is taken by guessing; the answer names the activations."""
    first = granted(house, activate("a", who=Who(seat_id="a", seat_name="twin")))
    house.one(activate("b", who=Who(seat_id="b", seat_name="twin")))
    with pytest.raises(Ambiguous, match=first.holding.activation_id):
        free(house, "twin")

    assert house.facts() == ["Claimed", "Claimed"]


def test_a_wrong_name_names_the_nearest(house: House) -> None:
    """A typing mistake is answered with what was probably meant."""
    take(house, "annabel")
    with pytest.raises(NotFound, match="did you mean annabel"):
        free(house, "anabel")


def test_there_is_nothing_to_free_twice(house: House) -> None:
    """A place that is free already is not freed once more."""
    take(house, "ann")
    free(house, "ann", at_once=True)
    with pytest.raises(CannotDo, match="holds no seat"):
        free(house, "ann")


def test_a_blocked_holder_is_refused_for_that_long(house: House) -> None:
    """With --block he can't take the seat again at once; afterwards he can."""
    take(house, "ann")
    freed = free(house, "ann", at_once=True, block=timedelta(minutes=10))
    refused = house.one(activate("ann"))
    house.pass_(601)

    assert freed.blocked_until == after(600)
    assert isinstance(refused, Refused)
    assert refused.problem == "policy.refused"
    assert isinstance(house.one(activate("ann")), Served)


def test_a_known_holder_without_a_seat_can_be_blocked(house: House) -> None:
    """Blocking does not need a seat to take."""
    take(house, "ann")
    free(house, "ann", at_once=True)
    freed = free(house, "ann", block=timedelta(minutes=1))

    assert freed.activation_id is None
    assert freed.blocked_until == after(60)
    assert house.facts() == ["Claimed", "TakenBack", "Note"]


def test_a_node_lock_whose_lease_is_over_is_free_at_once(store: AnyStore) -> None:
    """Its place was only kept; no moment that is past is told as one to come."""
    house = make_house(store, seats=1, mode=Mode.NODE_LOCK)
    take(house, "ann")
    house.pass_(10_000)
    freed = free(house, "ann")

    assert (freed.counts_until, freed.overused_until) == (None, None)
    assert isinstance(house.one(activate("eve")), Served)


def test_a_place_given_away_at_once_is_overused_till_its_lease_ends(house: House) -> None:
    """That much is known: its program believes in it no longer than that."""
    take(house, "ann")

    assert free(house, "ann", at_once=True).overused_until == after(120)


@pytest.mark.parametrize(("at_once", "counts_until"), [(False, after(300)), (True, None)])
def test_a_lingering_place_was_given_back_already(store: AnyStore, at_once: bool, counts_until: datetime | None) -> None:
    """No program believes in it, so nobody over-uses it either."""
    house = make_house(store, linger=timedelta(minutes=5))
    (served,) = take(house, "ann")
    house.one(held(Verb.RETURN, served))
    freed = free(house, "ann", at_once=at_once)

    assert (freed.lingered, freed.counts_until, freed.overused_until) == (True, counts_until, None)


def test_a_block_can_be_lifted(house: House) -> None:
    """With --unblock he gets in at once; nothing is taken back, and it is a fact."""
    take(house, "ann")
    free(house, "ann", at_once=True, block=timedelta(minutes=10))
    freed = free(house, "ann", unblock=True)
    notes = house.rows("SELECT data FROM fact WHERE kind = 'Note' ORDER BY number")

    assert (freed.unblocked, freed.activation_id) == (True, None)
    assert isinstance(house.one(activate("ann")), Served)
    assert [json.loads(note)["what"] for (note,) in notes] == ["blocked", "unblocked"]


def test_who_is_not_blocked_can_not_be_unblocked(house: House) -> None:
    """A block that has ended is none."""
    take(house, "ann")
    free(house, "ann", block=timedelta(minutes=1))
    house.pass_(61)
    with pytest.raises(CannotDo, match="not blocked"):
        free(house, "ann", unblock=True)


def test_freeing_tells_of_an_earlier_block(house: House) -> None:
    """Whoever looks at what became of a holder sees that he is kept out."""
    take(house, "ann")
    free(house, "ann", block=timedelta(minutes=10))

    assert free(house, "ann", at_once=True).blocked_until == after(600)


def test_blocking_for_no_time_makes_no_sense() -> None:
    """`--block 0s` is a mistake."""
    with pytest.raises(ValueError, match="10m"):
        Freeing(holder="ann", block=timedelta(0))


def test_unblocking_takes_no_seat() -> None:
    """`--unblock --now` says two things at once."""
    with pytest.raises(ValueError, match="--now"):
        Freeing(holder="ann", unblock=True, at_once=True)
