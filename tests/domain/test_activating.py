"""Taking a seat: room, overdraft, generations, keyed repeats, take-overs, and a program's own seat."""

import pytest

from seatkeeper_server.domain.facts import Claimed, Denied, Repeated, Resumed, TakenOver
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.pool import Rejected
from seatkeeper_server.domain.requests import Earlier, Refresh
from seatkeeper_server.domain.terms import Overdraft
from tests.domain.build import Bench, Seat, at, bench, elements, refused, switch, terms

SAME = Earlier(generation=1, same_body=True)


def _used_at(pool: Bench, seconds: float) -> int:
    pool.wait_until(seconds)
    return pool.used()


def test_a_free_seat_is_granted_until_the_end_of_its_lease() -> None:
    """A lease is how long a held seat stays held without a refresh; the place comes back a margin later."""
    pool = bench(seats=1, lease=60, margin=6)

    claimed = pool.activate("a", 10)

    assert isinstance(claimed, Claimed)
    assert (claimed.generation, claimed.expires_at, claimed.taken) == (1, at(70), {"": 1})
    assert pool.holding("a").free_at == at(76)


def test_the_next_one_in_a_full_pool_is_refused_and_told_why() -> None:
    """Errors explain themselves: rule, limit, used."""
    pool = bench(seats=2)
    pool.take("a")
    pool.take("b")

    denied = pool.activate("c")

    assert isinstance(denied, Denied)
    assert (denied.rule, denied.problem, denied.limit, denied.used) == ("pool-full", "seats.exhausted", 2, 2)
    assert pool.pool.current("c") is None


@pytest.mark.parametrize(
    ("overdraft", "granted"),
    [
        (Overdraft(), 10),
        (Overdraft("absolute", 3), 13),
        (Overdraft.percentage(25), 12),
        (Overdraft.percentage(9), 10),
        (Overdraft("unlimited"), 20),
    ],
    ids=["none", "absolute", "percentage rounds down", "percentage below one", "unlimited"],
)
def test_policy_grants_seats_above_those_bought(overdraft: Overdraft, granted: int) -> None:
    """Overdraft: seats above the bought count that policy still grants, and records."""
    pool = bench(seats=10, overdraft=overdraft)

    for each in range(20):
        pool.activate(f"holder {each}")

    assert pool.used() == granted
    assert pool.pool.seats.overdrawn == granted - 10


def test_no_overdraft_is_granted_on_unlimited_seats_because_none_is_needed() -> None:
    """A bought count of None is unlimited."""
    pool = bench(seats=None)

    for each in range(20):
        pool.take(f"holder {each}")

    assert (pool.used(), pool.pool.seats.overdrawn) == (20, 0)


def test_every_activate_raises_the_generation() -> None:
    """Rule 1."""
    pool = bench(seats=3)
    first = pool.take("a")

    second = pool.take("a", proof=first.generation)
    third = pool.take("a")
    pool.give_back(third)
    fourth = pool.take("a")

    assert [s.generation for s in (first, second, third, fourth)] == [1, 2, 3, 4]


# --- keyed repeats -------------------------------------------------------------------------------------------------


def test_a_keyed_repeat_is_answered_from_the_present_state_and_extends_nothing() -> None:
    """Rule 2: same seat, current nonce, the stored end, a new sequence number."""
    pool = bench()
    seat = pool.take("a", 0)

    repeated = pool.activate("a", 30, earlier=SAME)

    own = pool.holding("a")
    assert isinstance(repeated, Repeated)
    assert (own.expires_at, own.generation, own.nonces.current, own.sequence) == (at(60), 1, seat.nonce, 2)
    assert pool.used() == 1


def test_the_same_key_with_another_body_is_a_mismatch() -> None:
    """Rule 1: 422 idempotency.mismatch."""
    pool = bench()
    pool.take("a")

    assert pool.activate("a", earlier=Earlier(1, same_body=False)) == Rejected("idempotency.mismatch")


def test_a_keyed_repeat_whose_seat_has_ended_is_decided_as_new() -> None:
    """Rule 2, attack 1: the stored answer is not replayed; whoever got the seat meanwhile keeps it."""
    pool = bench(seats=1)
    pool.take("a", 0)
    pool.take("b", 66)

    late = pool.activate("a", 67, earlier=SAME)

    assert refused(late) == "seats.exhausted"
    assert pool.holding("b").state is State.HELD


def test_a_keyed_repeat_of_an_older_life_is_told_that_the_seat_was_taken_over() -> None:
    """Rules 2 and 4: the repeat belongs to the older copy."""
    pool = bench(seats=2)
    pool.take("a")
    pool.take("a")

    assert pool.activate("a", earlier=SAME) == Rejected("seat.takenOver")


# --- take-overs ----------------------------------------------------------------------------------------------------


def test_activating_a_held_seat_without_its_token_is_a_take_over_and_needs_room() -> None:
    """Rule 4: a new place if there is room."""
    full, roomy = bench(seats=1), bench(seats=2)
    full.take("a")
    roomy.take("a")

    assert refused(full.activate("a")) == "seats.exhausted"
    assert isinstance(roomy.activate("a"), TakenOver)


def test_the_older_copys_place_counts_until_its_lease_has_ended() -> None:
    """Rule 3, attack 2: a superseded lease counts until its exp, plus the margin."""
    pool = bench(seats=2)
    pool.take("a", 0)
    pool.take("a", 10)

    counts = [_used_at(pool, t) for t in (10, 65.9, 66)]

    assert counts == [2, 2, 1]
    assert ("a", 1) not in pool.pool.holdings


def test_a_hundred_copies_of_one_seat_id_get_no_more_places_than_were_bought() -> None:
    """Attack 2: 100 copies activate one seat id at limit 1."""
    pool = bench(seats=3)

    for _ in range(100):
        pool.activate("a")

    assert pool.used() == 3
    assert pool.holding("a").generation == 3


def test_the_older_copy_is_told_at_its_next_call() -> None:
    """Rule 4: 409 seat.takenOver."""
    pool = bench(seats=2)
    older = pool.take("a")
    pool.take("a")

    assert pool.call(Refresh, older) == Rejected("seat.takenOver")


@pytest.mark.parametrize("proof", [None, 0, 2, 99])
def test_only_the_token_of_the_present_life_resumes(proof: int | None) -> None:
    """Rules 3 and 4: another generation's token proves nothing."""
    pool = bench(seats=1)
    pool.take("a")

    assert refused(pool.activate("a", proof=proof)) == "seats.exhausted"


# --- a program's own seat ------------------------------------------------------------------------------------------


def test_a_restarted_program_takes_its_own_place_back_in_a_full_pool() -> None:
    """Rule 3: a program that kept its token takes its own place back at once."""
    pool = bench(seats=1)
    pool.take("a", 0)

    resumed = pool.activate("a", 50, proof=1)

    assert isinstance(resumed, Resumed)
    assert (resumed.generation, pool.used(), pool.holding("a").expires_at) == (2, 1, at(110))


def test_resuming_with_other_features_moves_the_counters_by_the_difference() -> None:
    """Features are granted with the seat, all or none; what the earlier life held and this one doesn't want comes back."""
    pool = bench(1, elements("render", 4), elements("mesh", 4))
    pool.take("a", features={"render": 3})

    pool.take("a", proof=1, features={"render": 1, "mesh": 2})

    assert (pool.used("render"), pool.used("mesh"), pool.used()) == (1, 2, 1)
    assert pool.holding("a").rights == {"": 1, "render": 1, "mesh": 2}


def test_resuming_many_times_never_piles_up_a_switched_feature() -> None:
    """A bool feature is on or off."""
    pool = bench(1, switch("export"))
    seat = pool.take("a", features={"export": 1})

    for _ in range(3):
        seat = pool.take("a", proof=seat.generation, features={"export": 1})

    assert pool.holding("a").rights == {"": 1, "export": 1}


def test_a_seat_taken_back_is_resumed_by_its_program_while_the_place_still_counts() -> None:
    """Rule 3: it is its own place; to keep a holder out, block him."""
    pool = bench(seats=1)
    pool.take("a", 0)
    pool.take_back("a", 10)

    assert isinstance(pool.activate("a", 20, proof=1), Resumed)


def test_a_blocked_holder_gets_no_seat_until_the_block_ends() -> None:
    """`seatkeeper free … --block 10m`."""
    pool = bench(seats=1)

    early = pool.activate("a", 10, blocked_until=20)
    later = pool.activate("a", 20, blocked_until=20)

    assert isinstance(early, Denied)
    assert (early.rule, early.problem) == ("excluded", "policy.refused")
    assert isinstance(later, Claimed)


def test_no_feature_can_stand_in_for_the_seat() -> None:
    """A seat is 1 of the seat right, whatever a request lists as features."""
    pool = bench(seats=5)

    pool.take("a", features={"": 3})

    assert pool.holding("a").rights == {"": 1}


def test_the_holders_are_numbered_as_they_are_met() -> None:
    """Facts speak of holders by number only."""
    pool: Bench = bench(seats=1)
    pool.activate("a")
    pool.activate("b")
    pool.activate("c")

    assert [fact.holder for fact in pool.facts] == [1, 2, 3]
    assert pool.pool.holders == 3


@pytest.mark.parametrize("device", [None, "another"])
def test_on_a_long_lease_the_token_alone_does_not_take_the_place_back(device: str | None) -> None:
    """Rule 3: on leases over 15 minutes that needs a proof by the device key too."""
    pool = bench(seats=1, lease=16 * 60)
    pool.activate("a", 0, device="ours")

    assert refused(pool.activate("a", 10, proof=1, device=device)) == "seats.exhausted"


def test_on_a_long_lease_token_and_device_together_take_the_place_back() -> None:
    """Rule 3: the same device, with the token it kept."""
    pool = bench(seats=1, lease=16 * 60)
    pool.activate("a", 0, device="ours")
    pool.call(Refresh, Seat("a", 1, pool.holding("a").nonces.current), 5)

    assert isinstance(pool.activate("a", 10, proof=1, device="ours"), Resumed)
    assert isinstance(pool.activate("a", 20, proof=2, device="ours"), Resumed)


def test_a_lease_that_was_granted_long_stays_long_when_terms_are_shortened() -> None:
    """What counts is how long the older copy may still believe."""
    pool = bench(seats=1, lease=60 * 60)
    pool.activate("a", 0, device="ours")
    pool.set_terms(terms(lease=60))

    assert refused(pool.activate("a", 10, proof=1)) == "seats.exhausted"


def test_a_device_without_the_token_proves_nothing() -> None:
    """Rule 4: the device key stands beside the token, not in its place."""
    pool = bench(seats=1, lease=16 * 60)
    pool.activate("a", 0, device="ours")

    assert refused(pool.activate("a", 10, device="ours")) == "seats.exhausted"
