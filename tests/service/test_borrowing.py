"""Borrowed seats through the service, on every store: what is kept of them, who is told, and what an upgrade finds."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.ids import ACTIVATION
from seatkeeper_server.domain.catalogue import Borrowing
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.terms import BORROWED, SEAT
from seatkeeper_server.service import leasing
from seatkeeper_server.service.calls import Done, PoolStatus, Refused, Served, StatusCall, Verb
from seatkeeper_server.store.catalogue import Catalogue
from support.house import CODE_HASH, PRODUCT, START, TENANT, AnyStore, House, activate, held, make_house

DAY = timedelta(days=1)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
DEVICE = devices.public_key_text(KEY.public_key())


@pytest.fixture
def house(store: AnyStore) -> House:
    house = make_house(store, seats=2)
    allow(house, Borrowing(14 * DAY, 1))
    return house


def allow(house: House, limits: Borrowing | None) -> None:
    with house.store.transaction() as tx:
        Catalogue(tx).set_borrowing((TENANT, house.entitlement_id), limits)


def borrow(house: House, seat_id: str = "laptop", key: str | None = None, days: float = 7) -> Served:
    outcome = house.one(activate(seat_id, key, borrow_until=house.clock.now() + days * DAY, device=DEVICE))
    assert isinstance(outcome, Served), outcome
    return outcome


def status(house: House) -> PoolStatus:
    call = StatusCall(tenant_id=TENANT, code_hash=CODE_HASH, code_hint="ABCD", product_id=PRODUCT)
    outcome = house.one(call)
    assert isinstance(outcome, PoolStatus)
    return outcome


def bring_home(house: House, served: Served) -> object:
    returned = devices.Returned(TENANT, served.holding.activation_id, served.holding.generation)
    return house.one(held(Verb.RETURN, served, device_proof=devices.prove(KEY, returned)))


def test_a_borrowed_seat_counts_and_is_shown_as_borrowed(house: House) -> None:
    """The seat counts as held, marked borrowed."""
    served = borrow(house)
    house.one(activate("desk"))

    assert (served.holding.expires_at, served.new_place) == (START + 7 * DAY, True)
    assert {(h.name, h.borrowed) for h in status(house).occupancy.holders} == {("laptop@host", True), ("desk@host", False)}
    assert (house.used(), house.used(BORROWED)) == (2, 1)


def test_a_refusal_says_what_the_limits_are(house: House) -> None:
    """Refused with `borrow.refused` and a sentence that says what the limit is."""
    borrow(house)
    refused = house.one(activate("b", borrow_until=START + DAY, device=DEVICE))

    assert isinstance(refused, Refused)
    why = refused.refusal
    assert why is not None
    assert (refused.problem, why.rule, why.limit, why.used, why.borrow) == ("borrow.refused", "borrow-limit", 1, 1, 14 * DAY)
    assert why.denial_id
    assert house.used() == 1


def test_what_is_over_makes_room_for_the_next_borrower(house: House) -> None:
    """Correctness never waits for a sweeper, for what is out neither."""
    borrow(house, days=1 / 288)
    house.pass_(400)

    assert borrow(house, "another").holding.is_borrowed
    assert house.used(BORROWED) == 1


def test_a_repeat_finds_its_place_as_long_as_the_lease_runs(house: House) -> None:
    """A lost answer of a borrowing is asked for again hours later, and takes no second place."""
    first = borrow(house, key="k")
    until = first.holding.expires_at
    house.pass_(3600)
    again = house.one(activate("laptop", "k", borrow_until=until, device=DEVICE))

    assert isinstance(again, Served)
    assert (again.holding.activation_id, again.holding.generation) == (first.holding.activation_id, 1)
    assert (again.holding.expires_at, house.used()) == (until, 1)


def test_an_early_return_is_kept_and_frees_nothing(house: House) -> None:
    """The program gets 204; the seat is shown as returned and counts until its end."""
    served = borrow(house)

    assert bring_home(house, served) == Done()
    found = house.rows("SELECT state, occupies, free_at FROM holding")
    assert [(state, occupies) for state, occupies, _ in found] == [("returned", 1)]
    assert (house.used(), house.facts()[-1]) == (1, "Returned")
    assert status(house).occupancy.holders == []


def test_downtime_does_not_move_its_end(house: House) -> None:
    """Downtime doesn't move its end in the lease; a later refresh signs the same end."""
    served = borrow(house)
    house.clock.pass_(timedelta(hours=5))
    refreshed = house.one(held(Verb.REFRESH, served))

    assert isinstance(refreshed, Served)
    assert refreshed.holding.expires_at == served.holding.expires_at
    assert refreshed.holding.is_borrowed


def test_a_newcomer_who_borrows_is_not_refused_like_one_who_does_not(house: House) -> None:
    """Only those who ask for the same are refused alike in a batch."""
    house.ask(activate("a"), activate("b"))
    outcomes = house.ask(activate("c"), activate("d", borrow_until=START + 100 * DAY, device=DEVICE), activate("e"))

    assert [getattr(outcome, "problem", "") for outcome in outcomes] == [
        "seats.exhausted", "borrow.refused", "seats.exhausted",
    ]  # fmt: skip


def test_no_more_borrowing_leaves_out_what_is_out(house: House) -> None:
    """`seatkeeper change ENT --borrow none`: nobody can take back what a device holds."""
    borrow(house, days=1 / 288)
    allow(house, None)

    assert (house.used(BORROWED), house.used(SEAT)) == (1, 1)
    refused = house.one(activate("b", borrow_until=START + DAY, device=DEVICE))
    assert isinstance(refused, Refused)
    house.pass_(400)
    house.sweep()
    assert (house.used(BORROWED), house.used(SEAT)) == (0, 0)


def test_a_restored_database_counts_what_is_out(house: House) -> None:
    """Rule 8, with a lease that says that it is borrowed, and by which device."""
    house.signer.leases["a.b.c"] = LeaseClaims(
        iss="db", tid=TENANT, prd=PRODUCT, edn="ed_1", ent=house.entitlement_id, act=ACTIVATION + "x" * 22, gen=2, sub="laptop",
        feat={}, iat=START.timestamp(), exp=(START + 5 * DAY).timestamp(), epo=1, seq=50, dev=DEVICE, bor=True,
    )  # fmt: skip
    claims = leasing._as_shown(house.signer.leases["a.b.c"])

    assert claims is not None
    assert (claims.rights, claims.device) == ({BORROWED: 1}, DEVICE)


def test_a_seat_that_is_not_borrowed_has_no_mark(house: House) -> None:
    """Nobody but who asked for it has a borrowed seat."""
    outcome = house.one(activate("a", device=DEVICE))

    assert isinstance(outcome, Served)
    assert not outcome.holding.is_borrowed
    assert outcome.holding.state is State.HELD
