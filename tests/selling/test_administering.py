"""Freeing a seat and blocking its holder, without pretending that a program forgets its lease."""

from datetime import timedelta
from typing import Any

import pytest

from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.service import administering
from seatkeeper_server.service.administering import Ambiguous, FreedSeat, Freeing
from seatkeeper_server.service.calls import Refused, Served, Verb, Who
from seatkeeper_server.service.catalogue import CannotDo, NotFound
from tests.selling.conftest import after, books, granted, take
from tests.support.house import House, activate, held

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


def test_blocking_for_no_time_makes_no_sense() -> None:
    """`--block 0s` is a mistake."""
    with pytest.raises(ValueError, match="10m"):
        Freeing(holder="ann", block=timedelta(0))
