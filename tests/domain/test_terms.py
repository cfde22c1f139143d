"""What was bought and on what terms: standing, grace, ends of leases, and values that can't be built."""

from datetime import timedelta

import pytest

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.facts import Claimed, Denied, Returned
from seatkeeper_server.domain.requests import Earlier, Refresh
from seatkeeper_server.domain.terms import Kind, Overdraft, Right, Standing, Switch, Terms
from tests.domain.build import at, bench, refused, terms


@pytest.mark.parametrize(
    ("seconds", "standing"),
    [
        (9, Standing.CREATED),
        (10, Standing.ACTIVE),
        (99, Standing.ACTIVE),
        (100, Standing.GRACE_PERIOD),
        (149, Standing.GRACE_PERIOD),
        (150, Standing.EXPIRED),
    ],
)
def test_an_entitlement_begins_ends_and_has_its_grace(seconds: float, standing: Standing) -> None:
    """The status as the contract names it."""
    assert terms(starts=10, ends=100, grace=50).standing(at(seconds)) is standing


def test_an_entitlement_without_an_end_stays_active() -> None:
    """An end of None is never."""
    assert terms().standing(at(1e9)) is Standing.ACTIVE


@pytest.mark.parametrize(
    ("switch", "rule", "problem"),
    [
        (Switch.CREATED, "entitlement-disabled", "entitlement.notActive"),
        (Switch.DISABLED, "entitlement-disabled", "entitlement.disabled"),
        (Switch.CUSTOMER_DISABLED, "entitlement-disabled", "entitlement.disabled"),
        (Switch.EXPORTED, "exported", "entitlement.exported"),
    ],
)
def test_an_entitlement_that_is_switched_off_grants_and_keeps_nothing(switch: Switch, rule: str, problem: str) -> None:
    """Refusals name the rule."""
    pool = bench(2)
    seat = pool.take("a", 0)
    pool.set_terms(terms(switch=switch))

    decided = [pool.activate("b", 1), pool.call(Refresh, seat, 2)]

    assert [(d.rule, d.problem) for d in decided if isinstance(d, Denied)] == [(rule, problem)] * 2
    assert pool.holding("a").expires_at == at(60)


def test_a_seat_can_be_returned_to_an_entitlement_that_is_switched_off() -> None:
    """Giving back is always a success."""
    pool = bench(1)
    seat = pool.take("a", 0)
    pool.set_terms(terms(switch=Switch.DISABLED))

    assert isinstance(pool.give_back(seat, 1), Returned)


def test_an_expired_entitlement_refuses_and_one_in_its_grace_grants() -> None:
    """402 entitlement.expired."""
    pool = bench(2, ends=100, grace=50)

    graceful = pool.activate("a", 120)
    late = pool.activate("b", 150)

    assert isinstance(graceful, Claimed)
    assert refused(late) == "entitlement.expired"


def test_no_lease_ends_after_the_entitlement_and_its_grace() -> None:
    """`exp` never lies beyond the end of the entitlement, its grace or its grant."""
    pool = bench(2, lease=60, ends=100, grace=50)
    seat = pool.take("a", 60)
    granted = pool.holding("a").expires_at
    pool.call(Refresh, seat, 110)

    assert granted == at(120)
    assert pool.holding("a").expires_at == at(150)


def test_no_answer_given_again_bears_a_lease_beyond_an_end_that_was_brought_forward() -> None:
    """Rule 2 with decision 8: made anew from the present state."""
    pool = bench(1, lease=60)
    pool.take("a", 0)
    pool.set_terms(terms(lease=60, ends=30))
    pool.activate("a", 10, earlier=Earlier(1, same_body=True))

    assert pool.holding("a").expires_at == at(30)
    assert pool.holding("a").free_at == at(66)


def test_values_that_make_no_sense_can_not_be_built() -> None:
    """Make wrong values impossible to build; check in the constructor, trust afterwards."""
    nothing, second = timedelta(0), timedelta(seconds=1)

    with pytest.raises(ValueError, match="longer than nothing"):
        Terms(lease=nothing, margin=nothing)
    with pytest.raises(ValueError, match="negative"):
        Terms(lease=second, margin=nothing, linger=-second)
    with pytest.raises(ValueError, match="unknown overdraft"):
        Overdraft("some")
    with pytest.raises(ValueError, match="negative"):
        Overdraft("absolute", -1)


def test_a_counter_above_its_cap_can_not_be_built() -> None:
    """The counters repeat the invariants they can state."""
    right = Right("", Kind.SEAT, 2, Overdraft("absolute", 1))
    Tally(right, 3)

    with pytest.raises(ValueError, match="4 taken of at most 3"):
        Tally(right, 4)
    with pytest.raises(ValueError, match="negative"):
        Tally(right, -1)


def test_being_above_the_cap_for_a_known_reason_only_ever_falls_back() -> None:
    """Shrinking, a restored database: known, and never used to grant more."""
    tally = Tally(Right("", Kind.SEAT, 1), used=3, above=2)

    fallen = tally.changed(-1)

    assert not tally.has_room_for(1)
    assert (fallen.used, fallen.above) == (2, 1)
    with pytest.raises(ValueError, match="taken of at most"):
        fallen.changed(1)
