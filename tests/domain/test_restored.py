"""Rule 8: a valid lease newer than the database proves that the database was restored."""

from datetime import UTC, datetime

import pytest

from seatkeeper_server.domain.facts import CloneSuspected, Refreshed, Restored, Resumed
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.requests import Refresh, ShownLease
from seatkeeper_server.domain.restoring import numbers_from, set_back
from seatkeeper_server.domain.terms import Mode
from tests.domain.build import Bench, Seat, at, bench, elements, refused


def _lost(sequence: int, ends: float, generation: int = 1, **rights: int) -> ShownLease:
    """A lease that was signed after the backup was made."""
    return ShownLease(sequence, generation, rights, at(ends))


def test_a_seat_the_backup_does_not_know_counts_as_held_till_the_end_of_its_lease() -> None:
    """On a cloud that raises seq, is a fact, and the seat counts as held till its exp."""
    pool = bench(1, elements("render", 4), lease=60, margin=6)

    restored = pool.activate("a", 0, shown=_lost(100, ends=40, render=3))

    assert isinstance(restored, Restored)
    assert (pool.pool.sequence, pool.used(), pool.used("render")) == (100, 1, 3)
    assert refused(pool.activate("b", 45.9)) == "seats.exhausted"
    assert not refused(pool.activate("b", 46))


def test_the_next_lease_has_a_number_above_the_one_shown() -> None:
    """Clients refuse a number they have seen for ever: attack 9."""
    pool = bench(2)
    pool.activate("a", 0, shown=_lost(100, ends=40))
    pool.take("b", 1)

    assert pool.holding("b").sequence == 101


def test_a_restored_seat_counts_although_the_pool_is_full() -> None:
    """What happened is admitted; nothing more is granted until it has gone."""
    pool = bench(1)
    pool.take("b", 0)
    pool.activate("a", 1, shown=_lost(100, ends=40))

    assert (pool.used(), pool.pool.seats.above) == (2, 1)
    pool.wait_until(46)
    assert (pool.used(), pool.pool.seats.above) == (1, 0)


def test_a_program_whose_seat_was_restored_resumes_it_with_its_token() -> None:
    """The caller decides its request again afterwards."""
    pool = bench(1)
    pool.activate("a", 0, shown=_lost(100, ends=40, generation=7))

    assert isinstance(pool.activate("a", 1, proof=7), Resumed)
    assert (pool.used(), pool.holding("a").generation) == (1, 8)


def test_a_lease_that_ended_before_it_was_shown_takes_no_place() -> None:
    """Nobody believes in it any more; its number counts all the same."""
    pool = bench(1)

    pool.activate("a", 100, shown=_lost(100, ends=40))

    assert (pool.pool.sequence, pool.used(), pool.holding("a").state) == (100, 0, State.LAPSED)


def test_a_known_seats_lease_is_kept_until_the_later_end() -> None:
    """The backup's lease end is older than the one the program believes in."""
    pool = bench(1, lease=60, margin=6)
    seat = pool.take("a", 0)
    pool.call(Refresh, seat, 10, shown=_lost(100, ends=95))

    assert (pool.holding("a").expires_at, pool.holding("a").free_at, pool.used()) == (at(95), at(101), 1)


def test_the_program_that_showed_it_goes_on_with_its_own_nonce() -> None:
    """Its nonce is newer than the backup's, as its lease is."""
    pool = bench(1)
    pool.take("a", 0)
    ahead = Seat("a", 1, "a nonce the backup has never seen")
    shown = _lost(100, ends=95)
    first = pool.call(Refresh, ahead, 10, nonce="a nonce the backup has never seen", shown=shown)

    second = pool.call(Refresh, ahead, 10, nonce="a nonce the backup has never seen", shown=shown)

    assert isinstance(first, Restored)
    assert isinstance(second, Refreshed)


def test_an_activation_without_its_token_does_not_lock_out_who_holds_the_seat() -> None:
    """A lease proves what was signed, not who is asking."""
    pool = bench(1)
    seat = pool.take("a", 0)
    pool.activate("a", 10, shown=_lost(100, ends=95))

    assert isinstance(pool.call(Refresh, seat, 20), Refreshed)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_place_that_was_taken_back_still_comes_back(mode: Mode) -> None:
    """Rule 3: it counts until the last lease signed for it has ended."""
    pool = bench(1, mode=mode)
    pool.take("a", 0)
    pool.take_back("a", 10)
    pool.activate("a", 20, shown=_lost(100, ends=95))
    pool.wait_until(100)
    kept = pool.used()
    pool.wait_until(101)

    assert (kept, pool.used()) == (1, 0)


def test_a_lease_this_database_can_not_have_signed_is_suspect() -> None:
    """The same number with other content is clone-suspect; it changes nothing."""
    pool: Bench = bench(2)
    seat = pool.take("a", 0)
    pool.take("b", 0)
    before = pool.pool

    suspected = pool.call(Refresh, seat, 10, shown=_lost(2, ends=70))

    assert isinstance(suspected, CloneSuspected)
    assert (suspected.sequence, suspected.recorded, pool.pool) == (2, True, before)


def test_the_last_lease_is_shown_with_every_call_and_proves_nothing_new() -> None:
    """Its number is known."""
    pool = bench(1)
    seat = pool.take("a", 0)

    assert isinstance(pool.call(Refresh, seat, 10, shown=_lost(1, ends=60)), Refreshed)


def test_a_later_life_of_a_seat_is_not_taken_for_the_one_the_database_knows() -> None:
    """Rule 3: whoever believes in the known one is an older copy, and its place counts until its lease ends."""
    pool = bench(1, lease=60, margin=6)
    known = pool.take("a", 0)
    pool.activate("a", 10, proof=2, shown=_lost(100, ends=40, generation=2))

    assert (pool.used(), pool.holding("a").generation) == (2, 2)
    assert refused(pool.call(Refresh, known, 11)) == "seat.takenOver"
    pool.wait_until(66)
    assert pool.used() == 0


def test_a_later_life_is_recognised_although_another_program_showed_a_newer_lease_before() -> None:
    """Generations never fall: a late DELETE of the lost history must not hit a seat of the new one."""
    pool = bench(2)
    pool.give_back(pool.take("a", 0), 1)
    pool.activate("b", 2, shown=_lost(100, ends=40))

    pool.activate("a", 20, shown=_lost(90, ends=2, generation=5))

    assert pool.take("a", 20).generation == 6


def test_a_later_life_is_remembered_although_its_lease_has_ended() -> None:
    """Generations never fall, as above; the known place counts as long as somebody may believe in that one."""
    pool = bench(2, lease=60, margin=6)
    known = pool.take("a", 0)
    pool.activate("a", 20, shown=_lost(100, ends=10, generation=5))

    assert (pool.used(), pool.holding("a").generation, pool.holding("a").state) == (1, 5, State.LAPSED)
    assert refused(pool.call(Refresh, known, 21)) == "seat.takenOver"
    pool.wait_until(65)
    assert pool.used() == 1
    pool.wait_until(66)
    assert pool.used() == 0


def test_a_node_locked_place_stays_its_holders_in_a_later_life_that_has_ended() -> None:
    """Nobody believes in the known life any more, nor in the later one; the place is his all the same."""
    pool = bench(1, mode=Mode.NODE_LOCK, lease=60, margin=6)
    pool.take("a", 0)
    pool.activate("a", 100, shown=_lost(100, ends=70, generation=5))

    assert (pool.used(), pool.holding("a").generation, pool.holding("a").state) == (1, 5, State.HELD)
    assert refused(pool.activate("b", 101)) == "seats.exhausted"


def test_every_client_of_the_lost_state_is_counted_and_none_is_called_a_clone() -> None:
    """The first to show its lease raises the number beyond those of the others; they were signed all the same."""
    pool = bench(3, lease=60, margin=6)
    pool.take("known", 0)
    pool.activate("a", 1, shown=_lost(100, ends=50))
    pool.take("new", 2)

    assert isinstance(pool.activate("b", 3, shown=_lost(95, ends=50)), Restored)
    known = pool.activate("known", 4, proof=1, shown=_lost(97, ends=60))

    assert isinstance(known, Restored)
    assert pool.used() == 4


def test_a_number_signed_after_the_restore_by_somebody_else_is_a_clone() -> None:
    """What this database signed since is known; another lease of such a number was signed by a copy."""
    pool = bench(4)
    pool.activate("a", 1, shown=_lost(100, ends=50))
    pool.take("a", 2, proof=1)
    pool.take("b", 3)
    pool.take("c", 4)

    assert isinstance(pool.activate("b", 5, proof=1, shown=_lost(103, ends=60)), CloneSuspected)


# --- restored in order: the database was told -----------------------------------------------------------------------


def _told(pool: Bench, number: int = 1000) -> Bench:
    """Give a bench whose database was restored by `seatkeeper restore`."""
    pool.pool = set_back(pool.pool, number)
    return pool


def test_after_a_restore_in_order_everybody_is_learned_whoever_comes_first() -> None:
    """A newcomer's lease doesn't hide that a program of the lost state has one with a number that is not new."""
    pool = _told(bench(3, lease=60, margin=6))
    pool.take("new", 1)

    assert isinstance(pool.activate("a", 2, shown=_lost(1, ends=50)), Restored)
    assert pool.used() == 2


def test_after_a_restore_in_order_nobody_of_the_lost_state_is_called_a_clone() -> None:
    """A seat that the backup knows, too, had leases of numbers that are given again to others in the meantime."""
    pool = bench(3, lease=60, margin=6)
    pool.take("known", 0)
    _told(pool)
    for newcomer in ("b", "c"):
        pool.take(newcomer, 1)

    assert isinstance(pool.activate("known", 2, proof=1, shown=_lost(3, ends=60)), Restored)


def test_after_a_restore_in_order_new_numbers_are_above_all_that_may_have_been_signed() -> None:
    """So that numbers rise for every program, and a second restore of the same backup begins above the first."""
    pool = _told(bench(2))
    pool.take("a", 0)
    first = pool.holding("a").sequence

    assert first == 1001
    assert numbers_from(at(1)) - numbers_from(at(0)) == 1_000_000
    assert numbers_from(datetime(2240, 1, 1, tzinfo=UTC)) < 2**53


def test_a_restore_never_lowers_a_number_and_keeps_what_an_earlier_one_lost() -> None:
    """Restored again, or with a clock that is behind: the range only grows."""
    pool = _told(bench(2), number=1000)
    pool.take("a", 0)
    _told(pool, number=5)

    assert (pool.pool.sequence, pool.pool.lost_after, pool.pool.lost_until) == (1001, 0, 1001)
