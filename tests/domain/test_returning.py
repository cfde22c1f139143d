"""Giving a seat back, by its holder or by an administrator, and how long the place stays taken."""

import pytest

from seatkeeper_server.domain.facts import Claimed, Freed, Repeated, Resumed, Returned, TakenBack
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.pool import Rejected
from seatkeeper_server.domain.requests import Refresh
from tests.domain.build import Bench, at, bench, refused


def test_a_returned_seat_is_free_at_once() -> None:
    """Rule 3: its holder returned it with the current token."""
    pool = bench(seats=1)
    pool.give_back(pool.take("a", 0), 10)

    assert isinstance(pool.activate("b", 10), Claimed)


def test_returning_twice_changes_nothing_and_is_no_fact() -> None:
    """Deactivating twice is 204 too."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    pool.give_back(seat, 10)
    after_once = pool.pool

    again = pool.give_back(seat, 11)

    assert isinstance(again, Repeated)
    assert not again.recorded
    assert pool.pool == after_once


def test_a_return_by_an_older_generation_changes_nothing() -> None:
    """Rule 5, attack 4: DELETE is delayed, the program restarts, the DELETE arrives."""
    pool = bench(seats=1)
    older = pool.take("a", 0)
    pool.take("a", 10, proof=older.generation)

    pool.give_back(older, 11)

    assert pool.holding("a").state is State.HELD
    assert pool.used() == 1


def test_a_lapsed_seat_can_be_returned_and_is_then_not_taken_again_by_a_refresh() -> None:
    """Rule 5: a refresh takes back only a lapsed seat."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    pool.give_back(seat, 100)

    assert pool.used() == 0
    assert pool.call(Refresh, seat, 101) == Rejected("seat.gone")


# --- linger --------------------------------------------------------------------------------------------------------


def _lingering() -> Bench:
    pool = bench(seats=1, linger=30)
    pool.give_back(pool.take("a", 0), 10)
    return pool


def test_a_seat_that_lingers_stays_taken_for_a_while_after_it_was_given_back() -> None:
    """Linger: shortest time a seat stays taken after it was given back."""
    pool = _lingering()

    assert refused(pool.activate("b", 39.9)) == "seats.exhausted"
    assert isinstance(pool.activate("b", 40), Claimed)
    assert [fact.at for fact in pool.facts if isinstance(fact, Freed)] == [at(40)]


def test_its_last_holder_takes_a_lingering_seat_again_without_a_token() -> None:
    """Nobody else can believe in it."""
    pool = _lingering()

    assert isinstance(pool.activate("a", 20), Resumed)
    assert pool.used() == 1


def test_a_seat_that_lapsed_does_not_linger() -> None:
    """It was not given back; it ended by itself."""
    pool = bench(seats=1, linger=30)
    seat = pool.take("a", 0)

    returned = pool.give_back(seat, 100)

    assert isinstance(returned, Returned)
    assert (returned.free_at, pool.used()) == (None, 0)


# --- taking back ---------------------------------------------------------------------------------------------------


def test_a_seat_taken_back_counts_until_its_lease_has_ended() -> None:
    """Rule 3: taken back by an administrator counts until its exp."""
    pool = bench(seats=1, lease=60, margin=6)
    pool.take("a", 0)

    taken = pool.take_back("a", 10)

    assert isinstance(taken, TakenBack)
    assert refused(pool.activate("b", 65.9)) == "seats.exhausted"
    assert isinstance(pool.activate("b", 66), Claimed)


def test_a_seat_taken_back_at_once_is_free_at_once_and_that_is_a_fact() -> None:
    """`seatkeeper free --now` is for those who know that they over-use, and is a fact."""
    pool = bench(seats=1)
    pool.take("a", 0)

    taken = pool.take_back("a", 10, at_once=True)

    assert isinstance(taken, TakenBack)
    assert (taken.by, taken.free_at, taken.taken, taken.recorded) == ("ada", None, {"": -1}, True)
    assert isinstance(pool.activate("b", 10), Claimed)


def test_a_seat_taken_back_can_still_be_freed_at_once_later() -> None:
    """Whoever took it back may decide not to wait."""
    pool = bench(seats=1)
    pool.take("a", 0)
    pool.take_back("a", 10)
    pool.take_back("a", 11, at_once=True)

    assert pool.used() == 0


@pytest.mark.parametrize("when", [10, 100], ids=["returned", "lapsed"])
def test_what_is_not_held_can_not_be_taken_back(when: float) -> None:
    """409 seat.gone."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    if when < 60:
        pool.give_back(seat, when)

    assert pool.take_back("a", when) == Rejected("seat.gone")


def test_a_seat_that_was_taken_back_comes_free_when_its_own_holder_returns_it() -> None:
    """Rule 3: a place is free when its holder returned it with the current token, whoever took it from him before."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    pool.take_back("a", 5)
    assert refused(pool.activate("b", 6)) == "seats.exhausted"

    pool.give_back(seat, 7)

    assert isinstance(pool.activate("b", 7), Claimed)
    assert pool.holding("a").state is State.RETURNED
