"""Counted rights drawn by a held seat: on or off, returnable, or used up."""

import pytest

from seatkeeper_server.domain.facts import CheckedOut, Claimed, Denied, GivenBack, Repeated, Used
from seatkeeper_server.domain.pool import Rejected
from seatkeeper_server.domain.requests import CheckOut, Earlier, GiveBack, Refresh, Use
from seatkeeper_server.domain.terms import NoncePolicy, Overdraft, Switch
from tests.domain.build import at, bench, elements, refused, switch, terms, usage

# --- with the seat -------------------------------------------------------------------------------------------------


def test_features_are_granted_with_the_seat() -> None:
    """`features: [{key, amount}]` (granted with the seat, all or none)."""
    pool = bench(2, elements("render", 4), usage("pages", 100), switch("export"))

    pool.take("a", features={"render": 3, "pages": 10, "export": 1})

    assert (pool.used(), pool.used("render"), pool.used("pages"), pool.used("export")) == (1, 3, 10, 0)
    assert pool.holding("a").rights == {"": 1, "render": 3, "pages": 10, "export": 1}


def test_a_seat_is_refused_altogether_when_one_of_its_features_is_short() -> None:
    """All or none."""
    pool = bench(2, elements("mesh", 4), elements("render", 4))

    denied = pool.activate("a", features={"mesh": 1, "render": 5})

    assert isinstance(denied, Denied)
    assert (denied.rule, denied.problem, denied.key, denied.wanted) == ("feature-exhausted", "feature.exhausted", "render", 5)
    assert (pool.used(), pool.used("mesh"), pool.used("render")) == (0, 0, 0)


@pytest.mark.parametrize("features", [{"unheard": 1}, {"render": 1, "unheard": 1}])
def test_a_feature_that_was_not_bought_is_unknown(features: dict[str, int]) -> None:
    """404 feature.unknown."""
    pool = bench(2, elements("render", 4))

    assert pool.activate("a", features=features) == Rejected("feature.unknown")
    assert pool.used("render") == 0


def test_a_switched_off_feature_is_refused_and_one_switched_on_is_never_short() -> None:
    """A bool feature is on or off; it isn't counted."""
    pool = bench(3, switch("export"), switch("import", on=False))

    assert isinstance(pool.activate("a", features={"export": 1}), Claimed)
    assert isinstance(pool.activate("b", features={"export": 1}), Claimed)
    assert refused(pool.activate("c", features={"import": 1})) == "feature.exhausted"


def test_elements_come_back_with_the_seat_and_usage_never_does() -> None:
    """Returned with the seat (usage counts never are)."""
    pool = bench(1, elements("render", 4), usage("pages", 100))
    pool.give_back(pool.take("a", 0, features={"render": 3, "pages": 10}), 10)

    assert (pool.used("render"), pool.used("pages")) == (0, 10)


def test_elements_come_back_with_a_seat_that_expired() -> None:
    """A feature is drawn by a held seat."""
    pool = bench(1, elements("render", 4), usage("pages", 100))
    pool.take("a", 0, features={"render": 3, "pages": 10})
    pool.wait_until(66)

    assert (pool.used(), pool.used("render"), pool.used("pages")) == (0, 0, 10)


def test_elements_come_back_at_once_while_the_seat_lingers() -> None:
    """Linger is about seats."""
    pool = bench(1, elements("render", 4), linger=30)
    pool.give_back(pool.take("a", 0, features={"render": 3}), 10)
    before = (pool.used(), pool.used("render"))
    pool.wait_until(40)

    assert before == (1, 0)
    assert (pool.used(), pool.used("render")) == (0, 0)


def test_elements_of_an_older_copy_count_as_long_as_its_seat() -> None:
    """Rule 3: what may still be believed in is not given to another."""
    pool = bench(2, elements("render", 4))
    pool.take("a", 0, features={"render": 3})

    assert refused(pool.activate("a", 10, features={"render": 3})) == "feature.exhausted"
    assert isinstance(pool.activate("a", 66, features={"render": 3}), Claimed)


def test_a_lapsed_seat_is_taken_again_with_its_elements_or_not_at_all() -> None:
    """Rule 5: under activate's rules, all or none; usage is not drawn a second time."""
    pool = bench(2, elements("render", 4), usage("pages", 100))
    seat = pool.take("a", 0, features={"render": 3, "pages": 10})
    pool.call(Refresh, seat, 100)
    again = (pool.used("render"), pool.used("pages"))
    pool.take("b", 170, features={"render": 2})

    assert again == (3, 10)
    assert refused(pool.call(Refresh, seat, 171)) == "seat.gone"
    assert (pool.used(), pool.used("render")) == (1, 2)


# --- checked out later ---------------------------------------------------------------------------------------------


def test_a_held_seat_checks_out_and_gives_back_what_it_needs() -> None:
    """A feature check-out is n of its key; its answer bears a lease, so that the sequence rises."""
    pool = bench(1, elements("render", 4))
    seat = pool.take("a", 0)

    out = pool.call(CheckOut, seat, 1, key="render", amount=3)
    drawn = pool.used("render")
    back = pool.call(GiveBack, seat, 2, key="render", amount=2)

    assert isinstance(out, CheckedOut)
    assert isinstance(back, GivenBack)
    assert (drawn, pool.used("render"), pool.holding("a").rights["render"]) == (3, 1, 1)
    assert pool.holding("a").sequence == 3


def test_checking_out_does_not_move_the_lease() -> None:
    """Only a refresh does."""
    pool = bench(1, elements("render", 4))
    seat = pool.take("a", 0)
    pool.call(CheckOut, seat, 30, key="render", amount=1)

    assert pool.holding("a").expires_at == at(60)


@pytest.mark.parametrize(
    ("overdraft", "granted"),
    [(Overdraft(), 4), (Overdraft("absolute", 2), 6), (Overdraft.percentage(50), 6), (Overdraft("unlimited"), 9)],
    ids=["none", "absolute", "percentage", "unlimited"],
)
@pytest.mark.parametrize("kind", [elements, usage])
def test_a_feature_has_its_own_overdraft(kind: type, overdraft: Overdraft, granted: int) -> None:
    """Features of type elementPool and usageCount with their own overdraft."""
    pool = bench(1, kind("render", 4, overdraft))
    seat = pool.take("a", 0)

    for _ in range(9):
        pool.call(CheckOut, seat, key="render", amount=1)

    assert (pool.used("render"), pool.used()) == (granted, 1)


def test_giving_back_more_than_was_drawn_is_refused() -> None:
    """402 feature.overReturn."""
    pool = bench(1, elements("render", 4))
    seat = pool.take("a", features={"render": 2})

    assert pool.call(GiveBack, seat, key="render", amount=3) == Rejected("feature.overReturn")
    assert pool.used("render") == 2


@pytest.mark.parametrize("right", [usage("thing", 9), switch("thing")], ids=["usageCount", "bool"])
def test_what_is_used_up_or_only_switched_on_can_not_be_given_back(right: object) -> None:
    """402 feature.notReturnable."""
    pool = bench(1, right)  # type: ignore[arg-type]
    seat = pool.take("a", features={"thing": 1})

    assert pool.call(GiveBack, seat, key="thing", amount=1) == Rejected("feature.notReturnable")


@pytest.mark.parametrize("key", ["unheard", ""], ids=["unheard of", "the seat itself"])
def test_only_features_can_be_checked_out(key: str) -> None:
    """404 feature.unknown."""
    pool = bench(5)
    seat = pool.take("a")

    assert pool.call(CheckOut, seat, key=key, amount=1) == Rejected("feature.unknown")


def test_a_retried_check_out_draws_once() -> None:
    """Rule 6, attack 7: usage is drawn twice on retry."""
    pool = bench(1, usage("pages", 100))
    seat = pool.take("a")
    first = seat.nonce
    pool.call(CheckOut, seat, key="pages", amount=10, fingerprint=b"ten pages")

    again = pool.call(CheckOut, seat, key="pages", amount=10, fingerprint=b"ten pages", nonce=first)

    assert isinstance(again, Repeated)
    assert pool.used("pages") == 10


def test_a_check_out_repeated_under_its_key_draws_once() -> None:
    """Rule 2: keyed repeats."""
    pool = bench(1, usage("pages", 100), nonce=NoncePolicy.OPTIONAL)
    seat = pool.take("a")
    pool.call(CheckOut, seat, key="pages", amount=10, nonce=None, keyed=True)

    again = pool.call(CheckOut, seat, key="pages", amount=10, nonce=None, keyed=True, earlier=Earlier(1, same_body=True))

    assert isinstance(again, Repeated)
    assert pool.used("pages") == 10


@pytest.mark.parametrize("kind", [CheckOut, GiveBack])
def test_features_need_a_nonce_or_a_key_even_where_nonces_are_optional(kind: type) -> None:
    """Rule 6: checkout, return and usage need a nonce or an Idempotency-Key."""
    pool = bench(1, elements("render", 4), nonce=NoncePolicy.OPTIONAL)
    seat = pool.take("a", features={"render": 1})

    assert refused(pool.call(kind, seat, key="render", amount=1, nonce=None)) == "nonce.stale"


def test_a_seat_that_has_lapsed_draws_nothing() -> None:
    """409 seat.gone."""
    pool = bench(1, elements("render", 4))
    seat = pool.take("a", 0)

    assert pool.call(CheckOut, seat, 100, key="render", amount=1) == Rejected("seat.gone")


def test_a_disabled_entitlement_gives_nothing_out() -> None:
    """402 entitlement.disabled."""
    pool = bench(1, elements("render", 4))
    seat = pool.take("a", 0)
    pool.set_terms(terms(switch=Switch.DISABLED))

    assert refused(pool.call(CheckOut, seat, key="render", amount=1)) == "entitlement.disabled"


# --- said to be used -----------------------------------------------------------------------------------------------


def test_using_a_switched_on_feature_is_a_fact_and_changes_no_counter() -> None:
    """`POST …/features/usage` (bool features)."""
    pool = bench(1, switch("export"))
    seat = pool.take("a")

    used = pool.call(Use, seat, key="export")

    assert isinstance(used, Used)
    assert (used.taken, pool.used()) == ({}, 1)


def test_using_a_switched_off_feature_is_refused() -> None:
    """It was not bought."""
    pool = bench(1, switch("export", on=False))
    seat = pool.take("a")

    assert refused(pool.call(Use, seat, key="export")) == "feature.exhausted"
