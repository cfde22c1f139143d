"""Keeping a seat: the lease moves on, calls come in order, a lapsed seat may be taken again, a shrunk pool lets go."""

import pytest

from seatkeeper_server.domain.facts import Claimed, Denied, Expired, Refreshed, Repeated, Retaken, TakenBack
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.pool import Rejected, nonce_in_order
from seatkeeper_server.domain.requests import Refresh
from seatkeeper_server.domain.terms import NoncePolicy
from tests.domain.build import at, bench, refused, terms

PRINT = b"fingerprint of a refresh with a clientNonce"


def test_a_refresh_moves_the_lease_on() -> None:
    """A lease is how long a held seat stays held without a refresh."""
    pool = bench(lease=60)
    seat = pool.take("a", 0)

    refreshed = pool.call(Refresh, seat, 40)

    assert isinstance(refreshed, Refreshed)
    assert pool.holding("a").expires_at == at(100)
    assert pool.holding("a").free_at == at(106)


def test_a_refresh_within_the_margin_still_keeps_the_seat() -> None:
    """A place is kept a margin beyond its exp."""
    pool = bench(lease=60, margin=6)
    seat = pool.take("a", 0)

    assert isinstance(pool.call(Refresh, seat, 65.9), Refreshed)


def test_a_lease_that_runs_longer_than_a_new_one_is_not_shortened() -> None:
    """No refresh brings the end forward: leases were made shorter, or downtime has been added."""
    pool = bench(lease=60)
    seat = pool.take("a", 0)
    pool.set_terms(terms(lease=10))

    pool.call(Refresh, seat, 20)

    assert pool.holding("a").expires_at == at(60)


def test_a_place_is_kept_until_the_last_lease_signed_for_it_although_the_entitlement_now_ends_earlier() -> None:
    """Rule 3: the answer with the shorter lease may be lost, and the program believe in the longer one."""
    pool = bench(lease=60, margin=6)
    seat = pool.take("a", 0)
    pool.set_terms(terms(lease=60, ends=30))

    pool.call(Refresh, seat, 20)

    assert (pool.holding("a").expires_at, pool.holding("a").free_at) == (at(30), at(66))


def test_at_most_one_refresh_an_hour_is_written_down_for_a_holder() -> None:
    """A refresh moves expires_at and is no fact, beyond at most one per holding and hour."""
    pool = bench(lease=600)
    seat = pool.take("a", 0)

    noted = [bool(getattr(pool.call(Refresh, seat, t), "recorded", False)) for t in range(500, 10_000, 500)]

    assert noted.count(True) == 2
    assert [500 * (i + 1) for i, is_noted in enumerate(noted) if is_noted] == [4000, 8000]


def test_a_refresh_of_nothing_is_told_that_the_seat_is_gone() -> None:
    """409 seat.gone."""
    pool = bench()

    decision = pool.ask(Refresh(activation_id="nobody", generation=1, next_nonce="n"))

    assert decision == Rejected("seat.gone")


# --- order ---------------------------------------------------------------------------------------------------------


def test_the_nonce_is_consumed_by_the_call_that_shows_it() -> None:
    """Rule 6: the current one is accepted; anything else is nonce.stale and a fact."""
    pool = bench()
    seat = pool.take("a", 0)
    first = seat.nonce
    pool.call(Refresh, seat, 10)

    again = pool.call(Refresh, seat, 20, nonce=first)

    assert isinstance(again, Denied)
    assert (again.problem, again.recorded) == ("nonce.stale", True)
    assert pool.holding("a").expires_at == at(70)


@pytest.mark.parametrize("nonce", [None, "made up"])
def test_a_call_without_the_right_nonce_changes_nothing(nonce: str | None) -> None:
    """Rule 6."""
    pool = bench()
    seat = pool.take("a", 0)

    assert refused(pool.call(Refresh, seat, 20, nonce=nonce)) == "nonce.stale"
    assert pool.holding("a").expires_at == at(60)


def test_the_same_request_with_the_nonce_before_is_answered_again_and_extends_nothing() -> None:
    """Rule 6: the one before it only for the same request, whose answer rule 2 gives again."""
    pool = bench()
    seat = pool.take("a", 0)
    first = seat.nonce
    pool.call(Refresh, seat, 10, fingerprint=PRINT)
    current = seat.nonce

    again = pool.call(Refresh, seat, 20, nonce=first, fingerprint=PRINT)

    assert isinstance(again, Repeated)
    assert (pool.holding("a").expires_at, pool.holding("a").nonces.current) == (at(70), current)


@pytest.mark.parametrize("other", [b"another body", None])
def test_another_request_with_the_nonce_before_is_out_of_order(other: bytes | None) -> None:
    """Rule 6, attack 7: identical bodies without a clientNonce must not pass as retries either (no fingerprint)."""
    pool = bench()
    seat = pool.take("a", 0)
    first = seat.nonce
    pool.call(Refresh, seat, 10, fingerprint=PRINT if other else None)

    assert refused(pool.call(Refresh, seat, 20, nonce=first, fingerprint=other)) == "nonce.stale"


def test_a_nonce_two_calls_old_is_out_of_order_whatever_the_request() -> None:
    """Rule 6: the current one and the one before it, no other."""
    pool = bench()
    seat = pool.take("a", 0)
    first = seat.nonce
    pool.call(Refresh, seat, 10, fingerprint=PRINT)
    pool.call(Refresh, seat, 20, fingerprint=b"next")

    assert refused(pool.call(Refresh, seat, 30, nonce=first, fingerprint=PRINT)) == "nonce.stale"


def test_where_nonces_are_optional_they_are_until_the_first_one_is_shown() -> None:
    """`nonce: optional` ends for an activation with the first nonce it sends."""
    pool = bench(nonce=NoncePolicy.OPTIONAL)
    seat = pool.take("a", 0)

    without = pool.call(Refresh, seat, 10, nonce=None)
    shown = pool.call(Refresh, seat, 20)
    without_again = pool.call(Refresh, seat, 30, nonce=None)

    assert isinstance(without, Refreshed)
    assert isinstance(shown, Refreshed)
    assert refused(without_again) == "nonce.stale"


def test_a_reading_call_shows_the_current_nonce_and_does_not_consume_it() -> None:
    """Rule 6: a GET presents the current nonce and gives it back; it never hands one out to who has none."""
    pool = bench()
    seat = pool.take("a", 0)
    own = pool.holding("a")

    assert nonce_in_order(pool.pool, own, seat.nonce)
    assert not nonce_in_order(pool.pool, own, None)
    assert not nonce_in_order(pool.pool, own, "made up")


def test_two_copies_of_one_program_are_found_out_at_the_next_calls() -> None:
    """Rule 6: a clone and its original can't both be next in order."""
    pool = bench()
    original = pool.take("a", 0)
    stolen = original.nonce
    pool.call(Refresh, original, 10, fingerprint=b"original")

    clone = pool.call(Refresh, original, 11, nonce=stolen, fingerprint=b"clone")

    assert isinstance(clone, Denied)
    assert clone.rule == "nonce"


# --- lapse and retake ----------------------------------------------------------------------------------------------


def test_a_seat_nobody_refreshed_comes_back_a_margin_after_its_lease() -> None:
    """Rule 3; Expired carries the moment the lease ended, not when that was noticed."""
    pool = bench(lease=60, margin=6)
    pool.take("a", 0)

    before, after = pool.wait_until(65.9), pool.wait_until(500)

    assert before == []
    assert [(type(fact), fact.at) for fact in after] == [(Expired, at(60))]
    assert (pool.used(), pool.holding("a").state) == (0, State.LAPSED)


def test_an_ended_place_is_free_for_the_next_decision_without_any_sweeper() -> None:
    """Correctness never waits for a sweeper."""
    pool = bench(seats=1)
    pool.take("a", 0)

    assert isinstance(pool.activate("b", 66), Claimed)


def test_a_late_refresh_takes_a_lapsed_seat_again_if_there_is_room() -> None:
    """Rule 5: its generation stays."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)

    retaken = pool.call(Refresh, seat, 100)

    assert isinstance(retaken, Retaken)
    assert (retaken.generation, pool.used(), pool.holding("a").state) == (1, 1, State.HELD)


def test_a_late_refresh_of_a_seat_that_another_has_now_is_told_it_is_gone() -> None:
    """409 seat.gone: expired and given to another."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    pool.take("b", 70)

    assert refused(pool.call(Refresh, seat, 100)) == "seat.gone"
    assert pool.used() == 1


def test_a_refresh_never_takes_back_a_seat_that_was_returned() -> None:
    """Rule 5, attack 4: a late refresh after DELETE takes the seat for nobody."""
    pool = bench(seats=2)
    seat = pool.take("a", 0)
    pool.give_back(seat, 10)

    assert pool.call(Refresh, seat, 11) == Rejected("seat.gone")
    assert pool.used() == 0


def test_a_refresh_never_takes_back_a_seat_that_was_taken_back() -> None:
    """Rule 5."""
    pool = bench(seats=2)
    seat = pool.take("a", 0)
    pool.take_back("a", 10)

    early, late = pool.call(Refresh, seat, 11), pool.call(Refresh, seat, 100)

    assert (early, late) == (Rejected("seat.gone"), Rejected("seat.gone"))


def test_the_retry_of_a_refresh_whose_seat_has_lapsed_since_is_told_it_is_gone() -> None:
    """Rule 2: if that holding has ended, a repeat of anything but an activate is 409."""
    pool = bench(seats=1)
    seat = pool.take("a", 0)
    first = seat.nonce
    pool.call(Refresh, seat, 10, fingerprint=PRINT)

    assert pool.call(Refresh, seat, 100, nonce=first, fingerprint=PRINT) == Rejected("seat.gone")


# --- shrinking -----------------------------------------------------------------------------------------------------


def test_a_pool_shrunk_below_its_use_lets_go_of_as_many_holders_as_are_too_many() -> None:
    """Rule 3: cut by shrinking counts until its exp."""
    pool = bench(seats=3)
    seats = [pool.take(name, 0) for name in "abc"]
    pool.resize(1)

    decided = [pool.call(Refresh, seat, 10) for seat in seats]

    assert [type(d) for d in decided] == [TakenBack, TakenBack, Refreshed]
    assert pool.used() == 3
    pool.wait_until(66)
    assert pool.used() == 1


def test_a_holder_that_leaves_by_itself_saves_another_from_being_cut() -> None:
    """Only as many go as must."""
    pool = bench(seats=2)
    one, other = pool.take("a", 0), pool.take("b", 0)
    pool.resize(1)
    pool.give_back(one, 5)

    assert isinstance(pool.call(Refresh, other, 10), Refreshed)


def test_a_place_that_comes_back_by_itself_saves_a_holder_from_being_cut() -> None:
    """An older copy's place goes when its lease ends."""
    pool = bench(seats=3)
    pool.take("a", 0)
    newer = pool.take("a", 30)
    other = pool.take("b", 30)
    pool.resize(2)
    pool.wait_until(66)

    decided = [pool.call(Refresh, seat, 70) for seat in (newer, other)]

    assert [type(d) for d in decided] == [Refreshed, Refreshed]


@pytest.mark.parametrize("cut_first", [True, False])
def test_nobody_who_has_to_go_walks_in_again_with_his_token(cut_first: bool) -> None:
    """A pool that was shrunk does come down, although programs restart and keep their tokens."""
    pool = bench(seats=2)
    seat = pool.take("a", 0)
    pool.take("b", 0)
    pool.resize(1)
    if cut_first:
        pool.call(Refresh, seat, 10)

    assert refused(pool.activate("a", 11, proof=1)) == "seats.exhausted"


def test_a_pool_that_grows_again_cuts_nobody() -> None:
    """What has to go is a matter of what is bought now."""
    pool = bench(seats=2)
    seats = [pool.take(name, 0) for name in "ab"]
    pool.resize(1)
    pool.resize(2)

    decided = [pool.call(Refresh, seat, 10) for seat in seats]

    assert [type(d) for d in decided] == [Refreshed, Refreshed]


def test_who_is_blocked_keeps_a_seat_he_holds_and_does_not_retake_a_lapsed_one() -> None:
    """A lapsed seat is taken again under activate's rules, a block being one of them."""
    pool = bench(seats=2, lease=60, margin=6)
    seat = pool.take("a", 0)

    assert isinstance(pool.call(Refresh, seat, 10, blocked_until=at(500)), Refreshed)
    assert refused(pool.call(Refresh, seat, 100, blocked_until=at(500))) == "policy.refused"
    assert isinstance(pool.call(Refresh, seat, 500, blocked_until=at(500)), Retaken)
