"""Downtime does not count, steps of the clock are downtime, and none of it keeps the dead alive (decision 8)."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.terms import Mode, Terms
from seatkeeper_server.domain.timekeeping import BEAT, Alive, downtime, extended, margin_for, step
from tests.domain.build import START, at, terms

SECOND = timedelta(seconds=1)
NOTHING = timedelta(0)


def _held(ends: float, state: State = State.HELD, margin: float = 6) -> Holding:
    return Holding(
        activation_id="a",
        generation=1,
        holder=1,
        state=state,
        occupies=state not in (State.LAPSED,),
        rights={"": 1},
        activated_at=START,
        refreshed_at=START,
        expires_at=at(ends),
        free_at=None if state is State.LAPSED else at(ends + margin),
        sequence=1,
        nonces=Nonces("n"),
        noted_at=START,
    )


def _after(holding: Holding, *, alive: float, now: float, on: Terms | None = None) -> Holding:
    gap = downtime(at(alive), at(now), BEAT)
    return extended(holding, on or terms(lease=60, margin=6), gap, at(now))


@pytest.mark.parametrize(("gap", "counts_as"), [(2, 0), (6, 0), (6.001, 6.001), (3600, 3600), (-5, 0)])
def test_a_gap_of_more_than_three_beats_is_downtime(gap: float, counts_as: float) -> None:
    """Each transaction compares its now with the last alive moment."""
    assert downtime(START, at(gap), BEAT) == timedelta(seconds=counts_as)


def test_the_margin_is_as_long_as_the_longest_gap_that_is_no_downtime() -> None:
    """A place is kept a margin (at least that threshold) beyond its exp."""
    margin = margin_for(BEAT)

    assert downtime(START, START + margin, BEAT) == NOTHING
    assert downtime(START, START + margin + timedelta(microseconds=1), BEAT) > margin


def test_downtime_is_given_back() -> None:
    """expires_at := max(expires_at + gap, …)."""
    after = _after(_held(ends=60), alive=10, now=40)

    assert (after.expires_at, after.free_at, after.floored) == (at(90), at(96), False)


def test_whoever_had_little_left_gets_one_refresh_interval() -> None:
    """… max(…, now + one refresh interval)."""
    after = _after(_held(ends=12), alive=10, now=40)

    assert (after.expires_at, after.free_at, after.floored) == (at(60), at(66), True)


def test_the_floor_is_given_at_most_once_between_two_refreshes() -> None:
    """The floor at most once per refresh."""
    once = _after(_held(ends=12), alive=10, now=40)

    twice = _after(once, alive=58, now=88)

    assert twice.expires_at == at(90)


def test_a_server_in_a_crash_loop_still_frees_the_seats_of_the_dead() -> None:
    """Attack 6: up 1, down 7, each adding its gap and a refresh interval: never freed."""
    holding, now = _held(ends=60), 0.0

    while not holding.is_due(at(now)) and now < 10_000:
        holding = _after(holding, alive=now + 1, now=now + 8)
        now += 8

    assert 60 < now < 8 * (60 + 6 + 20 + 8)


def test_what_was_over_before_the_server_stopped_stays_over() -> None:
    """Nobody believes in it, and somebody may be waiting."""
    holding = _held(ends=60)

    assert _after(holding, alive=66, now=100) == holding
    assert _after(holding, alive=65.9, now=100) != holding


def test_a_place_that_waits_for_an_older_copys_lease_is_kept_longer_by_a_step_of_the_clock() -> None:
    """Attack 5: if the clock has stepped, no time has passed for whoever believes in that lease."""
    superseded = replace(_held(ends=60, state=State.SUPERSEDED), past=1)

    assert _after(superseded, alive=10, now=40).free_at == at(96)
    assert _after(_held(ends=60, state=State.TAKEN_BACK), alive=10, now=40).free_at == at(96)


@pytest.mark.parametrize("state", [State.RETURNED, State.LAPSED])
def test_a_place_nobody_believes_in_is_not_kept_longer(state: State) -> None:
    """A returned seat lingers for as long as was sold; a lapsed one has no place."""
    holding = _held(ends=60, state=state)

    assert _after(holding, alive=10, now=40) == holding


def test_a_locked_place_has_no_end_and_gets_none() -> None:
    """`nodeLock`: the place never expires, only the right to run does."""
    holding = replace(_held(ends=60), free_at=None)

    after = _after(holding, alive=10, now=40, on=terms(mode=Mode.NODE_LOCK))

    assert (after.expires_at, after.free_at) == (at(90), None)


def test_downtime_lengthens_no_lease_beyond_the_entitlements_end_but_keeps_the_place() -> None:
    """`exp` never lies beyond the end of the entitlement; the place waits for whoever may still believe."""
    after = _after(_held(ends=60), alive=10, now=40, on=terms(lease=60, margin=6, ends=70))

    assert (after.expires_at, after.free_at) == (at(70), at(96))


# --- steps ---------------------------------------------------------------------------------------------------------


def test_a_step_is_what_time_moved_beyond_the_boot_clock() -> None:
    """Smaller steps are summed against the boot clock."""
    alive = Alive(at(100), "boot", 50 * SECOND)

    assert step(alive, at(110), "boot", 60 * SECOND) == NOTHING
    assert step(alive, at(113), "boot", 60 * SECOND) == 3 * SECOND
    assert step(alive, at(105), "boot", 60 * SECOND) == -5 * SECOND


@pytest.mark.parametrize("boot_id", ["another boot", ""])
def test_after_a_reboot_all_of_the_time_since_may_have_been_a_step(boot_id: str) -> None:
    """It can't be known; several reboots in a row must not add up past the margin."""
    alive = Alive(at(100), "boot", 50 * SECOND)

    assert step(alive, at(105), boot_id, SECOND) == 5 * SECOND
    assert step(alive, at(99), boot_id, SECOND) == NOTHING
