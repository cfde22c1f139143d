"""The client's state machine, by itself: no network, no clock, chance with a seed."""

import random
from dataclasses import replace

import pytest

from seatkeeper import _seat
from seatkeeper._clock import Instant
from seatkeeper._seat import Attempt, Due, Holding, Lease, Stop, Wait, next_action, state_at

START = Instant(boot=100.0, wall=1_700_000_000.0)
LEASE = Lease(token="t", sent_at=START, length=120.0)


def at(seconds: float) -> Instant:
    return START.later(seconds)


def held(draw: float = 0.5) -> Holding:
    return _seat.held(LEASE, draw=draw)


def attempt_after(holding: Holding) -> float:
    """Follow the waits until an attempt is due, and give the seconds that took."""
    passed = 0.0
    while isinstance(action := next_action(holding, at(passed)), Wait):
        passed += action.seconds
    return passed


@pytest.mark.parametrize("seed", range(20))
def test_refresh_is_due_at_a_jittered_third(seed: int) -> None:
    """A lease of 120 s is refreshed between 32 and 48 s after it was asked for."""
    due = attempt_after(held(random.Random(seed).random()))

    assert 32.0 <= due <= 48.0


def test_programs_that_started_together_do_not_refresh_together() -> None:
    """A hundred programs that got their leases at the same moment spread over the whole window."""
    chance = random.Random(7)
    due = sorted(attempt_after(held(chance.random())) for _ in range(100))

    assert due[-1] - due[0] > 14.0


def test_a_wait_never_outlasts_a_suspend() -> None:
    """A timer sleeps through a suspend, so no wait is longer than five seconds."""
    assert next_action(held(), at(0)) == Wait(5.0)


def test_belief_ends_with_the_lease() -> None:
    """The seat is lost the moment the lease has ended, counted from the sending of the attempt."""
    assert state_at(held(), at(119.9)) != "lost"
    assert state_at(held(), at(120.0)) == "lost"


@pytest.mark.parametrize("now", [Instant(START.boot, START.wall + 121), Instant(START.boot + 121, START.wall - 3600)])
def test_the_larger_of_boot_and_wall_time_counts(now: Instant) -> None:
    """Neither a boot clock that stood still nor a wall clock that was set back makes a lease longer."""
    assert state_at(held(), now) == "lost"


def test_after_a_suspend_the_next_action_is_an_attempt() -> None:
    """A program that wakes after its lease has ended tries at once to take its seat back."""
    assert next_action(held(), at(3600)) == Attempt("refresh")


def test_one_failure_in_the_first_half_alarms_nobody() -> None:
    """At risk means: attempts fail and less than half of the lease is left."""
    failing = _seat.failed(held(), at(41), draw=0.5)

    assert state_at(failing, at(41)) == "held"
    assert state_at(failing, at(61)) == "at risk"


def test_a_wait_ends_where_the_state_changes() -> None:
    """The keeper wakes at the moment a failing seat becomes at risk, and at the moment it is lost."""
    failing = replace(_seat.failed(held(), at(58), draw=0.0), due=Due(at(58), 100.0))

    assert next_action(failing, at(58)) == Wait(2.0)
    assert next_action(failing, at(118)) == Wait(2.0)


def test_retries_draw_from_the_whole_interval() -> None:
    """Back-off has full jitter: a draw of zero retries at once, whatever the number of failures."""
    holding = held()
    for _ in range(5):
        holding = _seat.failed(holding, at(50), draw=0.0)

    assert next_action(holding, at(50)) == Attempt("refresh")


def test_retries_back_off_up_to_a_sixth_of_the_lease() -> None:
    """The ceiling of the pause doubles with each failure until it is a sixth of the lease."""
    holding, pauses = held(), []
    for _ in range(8):
        holding = _seat.failed(holding, at(50), draw=1.0)
        pauses.append(holding.due.after)

    assert pauses == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0, 20.0]


def test_retries_have_a_budget() -> None:
    """After ten quick retries there are only patient ones, about a third of the lease apart."""
    holding = held()
    for _ in range(_seat.RETRY_BUDGET + 1):
        holding = _seat.failed(holding, at(50), draw=0.0)

    assert holding.due.after == pytest.approx(20.0)


def test_a_long_lease_is_not_abandoned_for_days_once_the_budget_is_spent() -> None:
    """Patient retries are at most some twenty minutes apart, however long the lease."""
    holding = _seat.held(Lease("t", START, 30 * 86_400.0), draw=0.5)
    for _ in range(_seat.RETRY_BUDGET + 1):
        holding = _seat.failed(holding, at(50), draw=0.99)

    assert holding.due.after <= 1.5 * _seat.LONGEST_PATIENCE


def test_retry_after_is_respected() -> None:
    """A server that asks for a little peace gets it."""
    assert _seat.failed(held(), at(40), draw=0.1, retry_after=25.0).due.after == 25.0


def test_retry_after_does_not_cost_the_seat() -> None:
    """Whoever asks for an hour of peace gets a third of what is left of the lease, not the seat."""
    assert _seat.failed(held(), at(40), draw=0.1, retry_after=3600.0).due.after == pytest.approx(80 / 3)


def test_a_seat_that_is_lost_is_asked_for_within_a_quarter_of_an_hour() -> None:
    """When no lease is left to go by, peace has a bound of its own."""
    assert _seat.failed(held(), at(500), draw=0.1, retry_after=3600.0).due.after == _seat.LONGEST_PATIENCE


def test_a_lease_that_came_late_shortens_nothing() -> None:
    """An earlier lease of the same life holds until its own end, for until then its place counts."""
    late = Lease(token="late", sent_at=at(40), length=50.0)

    assert late.or_longer(LEASE, at(80)) == Lease(token="late", sent_at=START, length=120.0)
    assert LEASE.or_longer(late, at(80)) == LEASE


def test_success_forgives_failures() -> None:
    """A refresh that comes through starts a new count."""
    assert _seat.held(LEASE, draw=0.5).failures == 0


def test_a_seat_that_is_gone_is_taken_anew_once() -> None:
    """seat.gone: the seat is lost, and an activation is due; if that seat goes too, it is the end."""
    once = _seat.gone(held(), at(40))
    anew = _seat.held(Lease("t2", at(40), 120.0), draw=0.5, second_chance=once.second_chance)

    assert (state_at(once, at(40)), next_action(once, at(40))) == ("lost", Attempt("activate"))
    assert next_action(_seat.gone(anew, at(80)), at(80)) == Stop()


def test_a_doubted_seat_is_held_while_its_lease_lasts() -> None:
    """nonce.stale: the conversation is put right by activating; the lease has not ended by that."""
    doubted = _seat.doubted(held(), at(10))

    assert (state_at(doubted, at(10)), next_action(doubted, at(10))) == ("held", Attempt("activate"))


def test_nothing_is_attempted_for_a_seat_that_was_given_back_or_taken_over() -> None:
    """Ended is ended."""
    assert next_action(_seat.returned(held()), at(500)) == Stop()
    assert next_action(_seat.lost(held()), at(500)) == Stop()
    assert state_at(_seat.returned(held()), at(500)) == "returned"


def test_a_feature_lease_does_not_put_off_the_refresh() -> None:
    """A program that checks features out all the time is refreshed all the same."""
    holding = _seat.with_lease(held(), Lease("t2", at(30), 90.0))

    assert holding.due == held().due


def test_what_is_left_of_a_short_lease_does_not_make_a_storm() -> None:
    """A lease that has nearly ended is refreshed a quarter of a second later, not a thousand times."""
    assert _seat.held(Lease("t", START, 0.01), draw=0.0).due.after == _seat.SHORTEST_INTERVAL
