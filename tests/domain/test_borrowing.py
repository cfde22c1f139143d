"""Borrowed seats: a device takes one home until a date, and no server can take it back before (decision 0019)."""

import pytest

from seatkeeper_server.domain.facts import (
    CheckedOut,
    Claimed,
    Freed,
    Refreshed,
    Resumed,
    Retaken,
    Returned,
    TakenBack,
    TakenOver,
)
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.requests import CheckOut, GiveBack, Refresh, Return, ShownLease
from seatkeeper_server.domain.terms import BORROWED, Mode
from tests.domain.build import MARGIN, Bench, Seat, at, bench, elements, refused, since_start

WEEK = 7 * 86_400
DAY = 86_400


def _house(seats: int = 1, *more, most: int | None = None, **on) -> Bench:
    return bench(seats, elements(BORROWED, most), *more, borrow=2 * WEEK, **on)


def _borrowed(pool: Bench, name: str = "a", until: float = WEEK, **more) -> Seat:
    decision = pool.activate(name, borrow=until, device=name, **more)
    own = pool.holding(name)
    assert own.is_borrowed, decision
    return Seat(name, own.generation, own.nonces.current)


def _bring_home(pool: Bench, seat: Seat, when: float, *, proven: bool = True):
    return pool.ask(Return(activation_id=seat.name, generation=seat.generation, proven=proven), when)


def test_a_device_takes_a_seat_home_until_the_date_it_asked_for() -> None:
    """The lease ends at borrowUntil; the seat counts as held, marked borrowed."""
    pool = _house()

    taken = pool.activate("a", borrow=WEEK, device="key")

    assert isinstance(taken, Claimed)
    assert (taken.expires_at, taken.device, pool.holding("a").is_borrowed) == (at(WEEK), "key", True)
    assert (pool.used(), pool.used(BORROWED), pool.holding("a").state) == (1, 1, State.HELD)
    assert refused(pool.activate("b", WEEK + MARGIN - 1)) == "seats.exhausted"
    assert not refused(pool.activate("b", WEEK + MARGIN))
    assert pool.used(BORROWED) == 0


@pytest.mark.parametrize(
    ("until", "device"), [(3 * WEEK, "key"), (0, "key"), (-5, "key"), (WEEK, None)], ids=["long", "now", "over", "no device"]
)
def test_what_goes_beyond_the_limits_is_refused_and_takes_nothing(until: float, device: str | None) -> None:
    """An activate with borrowUntil and a proven device key, within the limits; without a proof it is refused."""
    pool = _house(most=4)

    decision = pool.activate("a", borrow=until, device=device)

    assert (refused(decision), decision.rule, decision.limit, decision.used) == ("borrow.refused", "borrow-limit", 4, 0)
    assert pool.used() == 0


def test_nothing_is_borrowed_where_nothing_was_said_about_it() -> None:
    """The default is none."""
    decision = bench(1).activate("a", borrow=DAY, device="key")

    assert (refused(decision), decision.limit) == ("borrow.refused", 0)


def test_a_clock_a_little_ahead_asks_for_no_more_than_there_is() -> None:
    """Who asks for the longest time there is gets it, although his clock is some minutes ahead."""
    pool = _house()
    pool.activate("a", borrow=2 * WEEK + 600, device="key")

    assert pool.holding("a").expires_at == at(2 * WEEK)


def test_no_more_are_out_at_once_than_was_said() -> None:
    """How many at once: the next one is refused although seats are free."""
    pool = _house(3, most=1)
    _borrowed(pool, "a")

    assert (refused(pool.activate("b", borrow=DAY, device="b")), pool.used()) == ("borrow.refused", 1)
    assert not refused(pool.activate("b"))


def test_it_never_ends_after_the_entitlement_and_its_grace() -> None:
    """A borrowed lease never ends after the entitlement, its grace or its grant."""
    pool = _house(ends=DAY, grace=3600)
    _borrowed(pool)

    assert pool.holding("a").expires_at == at(DAY + 3600)


def test_no_feature_can_be_called_like_that() -> None:
    """The right to have borrowed is nobody's to ask for."""
    pool = _house()

    assert refused(pool.activate("a", features={BORROWED: 1})) == "feature.unknown"
    seat = pool.take("a")
    assert refused(pool.call(CheckOut, seat, key=BORROWED, amount=1)) == "feature.unknown"


def test_a_refresh_does_not_shorten_it() -> None:
    """A device that comes by keeps its date."""
    pool = _house()
    seat = _borrowed(pool)

    assert isinstance(pool.call(Refresh, seat, DAY), Refreshed)
    assert (pool.holding("a").expires_at, pool.holding("a").is_borrowed) == (at(WEEK), True)


def test_at_the_end_of_its_time_a_refresh_makes_it_an_ordinary_seat() -> None:
    """A program that is connected when the time is over goes on, and nothing is borrowed any more."""
    pool = _house()
    seat = _borrowed(pool)

    pool.call(Refresh, seat, WEEK - 1)
    assert pool.holding("a").expires_at == at(WEEK)
    refreshed = pool.call(Refresh, seat, WEEK + 1)

    assert isinstance(refreshed, Refreshed)
    assert (refreshed.recorded, refreshed.expires_at, pool.used(BORROWED)) == (True, at(WEEK + 61), 0)
    assert not pool.holding("a").is_borrowed


def test_a_lapsed_one_is_taken_again_as_an_ordinary_seat() -> None:
    """A late refresh takes the seat again, not the time away."""
    pool = _house()
    seat = _borrowed(pool)

    assert isinstance(pool.call(Refresh, seat, WEEK + 100), Retaken)
    assert (pool.holding("a").is_borrowed, pool.used(BORROWED), pool.used()) == (False, 0, 1)


def test_an_early_return_frees_nothing_before_the_end() -> None:
    """A place is free only when the last lease signed for it has ended: a copy of the device may believe in it (attack 2)."""
    pool = _house()
    seat = _borrowed(pool)

    returned = _bring_home(pool, seat, DAY)

    assert isinstance(returned, Returned)
    assert (returned.free_at, pool.holding("a").state, pool.used(), pool.used(BORROWED)) == (
        at(WEEK + MARGIN), State.RETURNED, 1, 1,
    )  # fmt: skip
    assert refused(pool.activate("b", WEEK)) == "seats.exhausted"
    assert isinstance(pool.wait_until(WEEK + MARGIN)[0], Freed)
    assert (pool.used(), pool.used(BORROWED)) == (0, 0)


def test_a_return_by_the_token_alone_is_no_return() -> None:
    """An early return is accepted with the device's proof."""
    pool = _house()
    seat = _borrowed(pool)

    back = _bring_home(pool, seat, DAY, proven=False)

    assert isinstance(back, TakenBack)
    assert back.free_at == at(WEEK + MARGIN)


def test_what_was_borrowed_with_it_stays_with_it() -> None:
    """The lease at home grants its features to the end, so they count to the end."""
    pool = _house(1, elements("render", 5))
    seat = _borrowed(pool, features={"render": 3})

    assert refused(pool.call(GiveBack, seat, DAY, key="render", amount=1)) == "feature.notReturnable"
    _bring_home(pool, seat, DAY)
    assert pool.used("render") == 3


def test_the_device_that_gave_it_back_has_it_again_as_it_was() -> None:
    """The place counts for that device anyway: it gets it back, until the same end, and nothing is freed on the way."""
    pool = _house(1, elements("render", 5))
    _bring_home(pool, _borrowed(pool, features={"render": 3}), DAY)

    again = pool.activate("a", 2 * DAY, device="a")

    assert isinstance(again, Resumed)
    assert (again.expires_at, again.rights[BORROWED], again.rights["render"]) == (at(WEEK), 1, 3)
    assert (pool.used(), pool.used(BORROWED), pool.holding("a").free_at) == (1, 1, at(WEEK + MARGIN))


def test_another_device_under_the_same_seat_id_does_not_get_that_place() -> None:
    """What came home early is not for whoever knows the seat's id."""
    pool = _house()
    _bring_home(pool, _borrowed(pool), DAY)

    assert refused(pool.activate("a", 2 * DAY, device="another")) == "seats.exhausted"
    assert refused(pool.activate("a", 2 * DAY)) == "seats.exhausted"


def test_a_borrowed_seat_is_taken_over_as_any_other_and_counts_on() -> None:
    """Activating a held seat id without its token is a new place."""
    pool = _house(2)
    _borrowed(pool)

    assert isinstance(pool.activate("a", DAY), TakenOver)
    assert (pool.used(), pool.used(BORROWED), since_start(pool.holding("a", past=1).free_at)) == (2, 1, WEEK + MARGIN)


def test_borrowing_again_moves_the_end_on_and_never_back() -> None:
    """The lease that is out is good to its end, so no later one is shorter."""
    pool = _house()
    seat = _borrowed(pool, until=WEEK)

    pool.activate("a", DAY, proof=seat.generation, device="a", borrow=2 * WEEK)
    assert pool.holding("a").expires_at == at(2 * WEEK)
    pool.activate("a", DAY, proof=seat.generation + 1, device="a", borrow=3 * DAY)
    assert (pool.holding("a").expires_at, pool.used(BORROWED)) == (at(2 * WEEK), 1)


def test_an_administrator_frees_it_at_once_and_knows_that_he_over_uses() -> None:
    """Unless an administrator frees it: `seatkeeper free --now`."""
    pool = _house()
    _bring_home(pool, _borrowed(pool), DAY)

    pool.take_back("a", DAY, at_once=True)

    assert (pool.used(), pool.used(BORROWED)) == (0, 0)
    assert not refused(pool.activate("b"))


def test_downtime_moves_no_end_and_may_keep_the_place() -> None:
    """The lease needs no server; but what was downtime may have been a step of the clock, in which no time passed for it."""
    pool = _house()
    seat = _borrowed(pool)

    pool.outage(3600)
    assert (pool.holding("a").expires_at, pool.holding("a").free_at) == (at(WEEK), at(WEEK + 3600 + MARGIN))

    _bring_home(pool, seat, DAY)
    pool.outage(3600)
    assert pool.holding("a").free_at == at(WEEK + 7200 + MARGIN)


def test_a_node_lock_can_be_taken_home_too() -> None:
    """Its place never ends by itself, but one that was given back early does."""
    pool = _house(mode=Mode.NODE_LOCK)
    seat = _borrowed(pool)
    assert pool.holding("a").free_at is None

    _bring_home(pool, seat, DAY)
    assert pool.holding("a").free_at == at(WEEK + MARGIN)


def test_a_restored_database_learns_of_a_borrowed_seat_from_its_lease() -> None:
    """Rule 8: the seat counts as held till its exp, and as borrowed; its device is known again."""
    pool = _house()

    pool.activate("a", DAY, shown=ShownLease(100, 3, {BORROWED: 1}, at(WEEK), device="key"))

    own = pool.holding("a")
    assert (own.is_borrowed, own.device, own.expires_at, pool.used(BORROWED)) == (True, "key", at(WEEK), 1)


def test_features_are_drawn_for_the_time_away() -> None:
    """What is checked out of a borrowed seat is granted to its end."""
    pool = _house(1, elements("render", 5))
    seat = _borrowed(pool)

    assert isinstance(pool.call(CheckOut, seat, DAY, key="render", amount=2), CheckedOut)
    assert pool.holding("a").expires_at == at(WEEK)
