"""Node lock: the place never expires, only the right to run does."""

from seatkeeper_server.domain.facts import Claimed, Refreshed, Resumed
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.requests import Refresh
from seatkeeper_server.domain.terms import Mode
from tests.domain.build import Bench, at, bench, refused


def _locked(**on: object) -> Bench:
    return bench(1, mode=Mode.NODE_LOCK, **on)  # type: ignore[arg-type]


def test_a_locked_place_is_kept_however_long_nobody_refreshes() -> None:
    """The place never expires."""
    pool = _locked()
    pool.take("machine", 0)

    assert pool.wait_until(1_000_000) == []
    assert refused(pool.activate("another")) == "seats.exhausted"


def test_the_right_to_run_ends_with_the_lease_and_a_refresh_renews_it() -> None:
    """Only the right to run ends at the signed exp."""
    pool = _locked()
    seat = pool.take("machine", 0)
    ended = pool.holding("machine").expires_at

    refreshed = pool.call(Refresh, seat, 1_000)

    assert ended == at(60)
    assert isinstance(refreshed, Refreshed)
    assert refreshed.expires_at == at(1_060)


def test_a_machine_that_lost_its_token_gets_its_own_place_again_once_nobody_can_believe_in_it() -> None:
    """Rule 3: the last lease signed for it has ended, plus the margin."""
    pool = _locked(lease=60, margin=6)
    pool.take("machine", 0)

    too_early = pool.activate("machine", 65.9)
    later = pool.activate("machine", 66)

    assert refused(too_early) == "seats.exhausted"
    assert isinstance(later, Resumed)
    assert (later.generation, pool.used()) == (2, 1)


def test_a_locked_place_that_was_returned_is_free() -> None:
    """It is given back by its holder."""
    pool = _locked()
    pool.give_back(pool.take("machine", 0), 10)

    assert isinstance(pool.activate("another", 10), Claimed)


def test_a_locked_place_that_was_taken_back_is_free_when_its_lease_has_ended() -> None:
    """Rule 3."""
    pool = _locked(lease=60, margin=6)
    pool.take("machine", 0)
    pool.take_back("machine", 10)

    early = pool.activate("another", 65.9)

    assert refused(early) == "seats.exhausted"
    assert isinstance(pool.activate("another", 66), Claimed)
    assert pool.holding("machine").state is State.TAKEN_BACK


def test_an_older_copy_of_a_locked_machine_counts_only_until_its_lease_has_ended() -> None:
    """Rule 4: a new place for the newcomer; the older one's is free when its lease has ended."""
    pool = bench(2, mode=Mode.NODE_LOCK)
    pool.take("machine", 0)
    pool.take("machine", 10)
    both = pool.used()
    pool.wait_until(66)

    assert (both, pool.used()) == (2, 1)
