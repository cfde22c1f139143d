"""A share is lent, changed, given back: what counts at the vendor's, and what a site may give away."""

from pathlib import Path

import pytest

from seatkeeper_server.domain.terms import Overdraft
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.selling import Change
from seatkeeper_server.service.timekeeping import Timekeeper
from tests.support.house import HandClock
from tests.support.servers import seatkeeper

from .town import DAY, MINUTE, Town, a_town, problem, rule


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(50)
        yield town


def test_a_site_serves_what_it_was_lent(town: Town) -> None:
    """Thirty of fifty: the thirty-first is refused there, the vendor serves the other twenty, and each believes its own."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 30)

    there = [town.take(lab, f"there-{n}") for n in range(31)]
    here = [town.take(town.cloud, f"here-{n}") for n in range(21)]

    assert [isinstance(one, Served) for one in there] == [True] * 30 + [False]
    assert [isinstance(one, Served) for one in here] == [True] * 20 + [False]
    assert (rule(there[30]), rule(here[20])) == ("pool-full", "pool-full")
    assert town.believed(lab, there[0]).ent == town.believed(town.cloud, here[0]).ent == town.sold.entitlement_id


def test_growing_counts_at_once_and_shrinking_when_it_is_sure(town: Town) -> None:
    """A larger share counts from its document on; a smaller one when its site says that it keeps to it."""
    town.open_site("lab-1")
    town.lend("lab-1", 20)
    town.lend("lab-1", 30)
    assert town.lent() == 30

    town.lend("lab-1", 10)
    assert town.lent() == 30
    town.report("lab-1")

    assert town.lent() == 10


def test_a_smaller_share_is_sure_only_when_nobody_holds_more(town: Town) -> None:
    """Its site has applied it while thirty work: they go at their next refresh, and count till then."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 30)
    for number in range(30):
        town.take(lab, f"program-{number}")
    town.lend("lab-1", 10)
    town.report("lab-1")
    assert town.lent() == 30

    town.pass_(3 * MINUTE)
    town.report("lab-1")
    assert town.lent() == 10


def test_a_smaller_share_that_never_arrived_frees_nothing_before_the_larger_one_has_ended(town: Town) -> None:
    """The document was lost: the site goes on with thirty, until their end and the skew allowed to its clock."""
    town.open_site("lab-1")
    town.lend("lab-1", 30, days=10)
    town.lend("lab-1", 10, days=20, carried=False)
    town.report("lab-1")

    town.pass_(10 * DAY)
    assert town.lent() == 30
    town.pass_(1 * DAY)
    assert town.lent() == 10


def test_a_share_that_was_given_back_frees_what_nobody_believes_in(town: Town) -> None:
    """Two programs still hold a seat for the rest of their lease: those two count until then, the others are free at once."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 30)
    town.take(lab, "a")
    town.take(lab, "b")

    town.give_back("lab-1")
    assert town.lent() == 2
    town.pass_(3 * MINUTE)
    assert town.lent() == 0
    assert problem(town.take(lab, "c")) == "entitlement.exported"


def test_a_share_moves(town: Town) -> None:
    """Given back by one site, it is lent to the next one."""
    one, two = town.open_site("lab-1"), town.open_site("lab-2")
    town.lend("lab-1", 50)
    with pytest.raises(CannotDo, match="0 seats of 50 are free"):
        town.lend("lab-2", 30)
    town.give_back("lab-1")
    town.lend("lab-2", 30)

    assert isinstance(town.take(two, "a"), Served)
    assert problem(town.take(one, "a")) == "entitlement.exported"


def test_a_share_is_lent_again_only_after_its_end_and_the_skew(town: Town) -> None:
    """Its site may be closed, and its clock a day behind."""
    town.open_site("lab-1")
    town.open_site("lab-2")
    town.lend("lab-1", 50, days=10)
    town.pass_(10 * DAY)
    with pytest.raises(CannotDo, match="counts until its grant has ended"):
        town.lend("lab-2", 1)
    with pytest.raises(CannotDo, match="counts until"):
        town.vendor(lambda lending: lending.take_back(town.key[1], None))
    town.pass_(DAY)
    town.vendor(lambda lending: lending.take_back(town.key[1], None))

    town.lend("lab-2", 50)
    assert town.lent() == 50


def test_an_entitlement_that_is_lent_altogether_is_served_there_only(town: Town) -> None:
    """The vendor refuses, says where, and how old the last report is; when it is back he serves it again."""
    lab = town.open_site("lab-1")
    town.lend("lab-1")
    refused = town.take(town.cloud, "a")

    assert (problem(refused), rule(refused)) == ("entitlement.exported", "exported")
    assert [(lent.name, lent.seats, lent.last_report_at) for lent in refused.refusal.occupancy.lent] == [("lab-1", 50, None)]
    assert isinstance(town.take(lab, "a"), Served)
    town.report("lab-1")
    assert town.take(town.cloud, "a").refusal.occupancy.lent[0].last_report_at == town.now
    town.pass_(3 * MINUTE)
    town.give_back("lab-1")
    assert isinstance(town.take(town.cloud, "a"), Served)


def test_nothing_is_lent_from_an_overdraft(tmp_path: Path) -> None:
    """What policy grants above stays with the vendor: ten were bought, and ten are all that can be lent."""
    with a_town(tmp_path) as town:
        town.sell(10, overdraft=Overdraft.percentage(50))
        town.open_site("lab-1")
        with pytest.raises(CannotDo, match="10 seats of 10 are free, and 11 more would be lent"):
            town.lend("lab-1", 11)


def test_an_outage_of_the_vendor_moves_no_share(town: Town) -> None:
    """Programs get the time back in which they could not refresh; a grant's end was signed."""
    town.open_site("lab-1")
    town.lend("lab-1", 10, days=10)
    clock = HandClock(town.now)
    with town.cloud.store.transaction() as tx:
        Timekeeper(clock).begin(tx, "before")
    before = town.lent_until()
    clock.pass_(DAY)
    with town.cloud.store.transaction() as tx:
        Timekeeper(clock).begin(tx, "after")

    assert town.lent_until() == before


def test_a_renewed_grant_is_told_to_programs_that_hold_a_seat(town: Town) -> None:
    """The server's key stays, its certificate changes: whoever shows a lease from before gets the new one."""
    lab = town.open_site("lab-1")
    town.lend("lab-1", 10, days=10)
    held = town.take(lab, "a")
    assert isinstance(held, Served)
    lease = lab.keyring.sign(held, "n" * 22)
    keys = lab.keyring.tenant(town.tenant)
    assert keys is not None
    assert keys.signed_by_current(lease)
    town.lend("lab-1", 10, days=20)
    renewed = lab.keyring.tenant(town.tenant)

    assert renewed is not None
    assert not renewed.signed_by_current(lease)


def test_the_recorded_time_of_a_site_is_not_set_back_by_hand(town: Town) -> None:
    """A vendor's operator may; on a local server only the vendor's word does."""
    lab = town.open_site("lab-1")
    done = seatkeeper("clock", "--set-back", "--data", town.directory / "lab-1")

    assert done.returncode == 1
    assert "only the vendor's word" in done.stderr
    assert lab.now == town.now


def test_a_server_that_asks_again_is_known_by_what_it_reported(town: Town) -> None:
    """When it last reported is not forgotten with its license's first document."""
    site = town.open_site("lab-1")
    town.report("lab-1")
    before = town.vendor(lambda lending: lending.site("lab-1"))
    town.pass_(MINUTE)
    asked = site.grants(lambda grants: grants.request(town.tenant, town.code, "lab-1"))
    town.vendor(lambda lending: lending.license(asked))
    after = town.vendor(lambda lending: lending.site("lab-1"))

    assert before.last_report_at is not None
    assert (after.last_report_at, after.heard) == (before.last_report_at, before.heard)


def test_a_server_that_asks_again_has_its_own_license_again(town: Town) -> None:
    """The answer was lost, or its license wears out: the vendor's last license is still the server's own."""
    licenses = town.vendor(lambda lending: lending.license_entitlement()).entitlement_id
    with town.cloud.opened() as (catalogue, _):
        selling.change(catalogue, licenses, Change(seats=1), town.now)
    site = town.open_site("lab-1")

    for wait in (MINUTE, 300 * DAY):
        town.pass_(wait)
        asked = site.grants(lambda grants: grants.request(town.tenant, town.code, "lab-1"))
        answer = town.vendor(lambda lending, asked=asked: lending.license(asked))
        site.grants(lambda grants, answer=answer: grants.apply(answer))

    assert town.vendor(lambda lending: lending.license_entitlement()).pool.seats.used == 1
