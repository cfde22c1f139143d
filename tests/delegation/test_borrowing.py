"""What was lent to a site may be borrowed from it, within the vendor's limits and never beyond its grant."""

from pathlib import Path

import pytest
from msgspec import json

from seatkeeper_server.domain.catalogue import Borrowing
from seatkeeper_server.domain.terms import BORROWED
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import ActivateCall, Outcome, Served, Who
from seatkeeper_server.service.selling import Change
from seatkeeper_server.statements import Snapshot

from .town import DAY, MINUTE, Server, Town, a_town, problem


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(5, borrow=Borrowing(14 * DAY, 2))
        yield town


def borrow(town: Town, server: Server, seat: str, days: float = 7) -> Outcome:
    call = ActivateCall(
        tenant_id=town.tenant,
        code_hash=server.keyring.code_hash(town.tenant, town.sold.code),
        code_hint="",
        product_id=town.sold.product_id,
        who=Who(seat_id=seat),
        device=f"key of {seat}",
        borrow_until=server.now + days * DAY,
    )
    return server.ask(call)[0]


def test_a_site_lends_borrowed_seats_too(town: Town) -> None:
    """The limits are carried with a grant's snapshot."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 3)

    outcomes = [borrow(town, lab, f"laptop-{n}") for n in range(3)]

    assert [isinstance(one, Served) for one in outcomes] == [True, True, False]
    assert problem(outcomes[2]) == "borrow.refused"
    assert problem(borrow(town, lab, "longer", days=20)) == "borrow.refused"


def test_it_never_ends_after_the_grant(town: Town) -> None:
    """A borrowed lease never ends after its grant: the pool's end on the site is the grant's."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 3, days=5)

    served = borrow(town, lab, "laptop", days=14)

    assert isinstance(served, Served)
    assert served.holding.expires_at == town.now + 5 * DAY


def test_an_entitlement_that_is_lent_altogether_can_be_borrowed_there(town: Town) -> None:
    """What may be borrowed is a policy, not a right of which so much is lent."""
    lab = town.open_site("lab-1")
    town.lend("lab-1")

    assert isinstance(borrow(town, lab, "laptop"), Served)
    with town.cloud.opened() as (catalogue, _):
        assert catalogue.bought(*town.key)[0].pool.tallies[BORROWED].used == 0


def test_a_share_that_is_given_back_says_who_is_still_out(town: Town) -> None:
    """What a laptop has at home counts at the vendor's until its end."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 3)
    borrow(town, lab, "laptop")
    for name in ("one", "two"):  # as many as may be out, at the vendor's
        borrow(town, town.cloud, name)
    town.give_back("lab-1")

    assert town.lent() == 1
    town.pass_(7 * DAY - MINUTE)
    assert town.lent() == 1
    town.pass_(2 * MINUTE)
    assert town.lent() == 0


def test_changed_limits_are_carried_with_a_fresh_document(town: Town) -> None:
    """`outOfSync`, then a fresh token."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 3)
    with town.cloud.opened() as (catalogue, _):
        selling.change(catalogue, town.key[1], Change(limits_borrowing=True, borrow=Borrowing(DAY)), town.now)

    assert [one.out_of_sync for one in town.vendor(lambda lending: lending.exports(town.key[1]))] == [True]
    fresh = town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    lab.grants(lambda grants: grants.apply(fresh))

    assert problem(borrow(town, lab, "laptop", days=2)) == "borrow.refused"
    assert isinstance(borrow(town, lab, "laptop", days=1), Served)


def test_documents_of_before_say_nothing_of_it() -> None:
    """Optional fields with defaults: what an older vendor sends allows none, and what was hashed of it stays the same."""
    said = {name: "" for name in Snapshot.__struct_fields__ if name not in ("borrow", "borrow_most")}

    assert set(json.decode(json.encode(Snapshot(**said)))) == set(said)  # type: ignore[arg-type]
