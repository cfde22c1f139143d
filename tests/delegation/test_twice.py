"""Ways in which a seat, or what is used up, could come to be had twice: at the vendor's and at a site."""

from datetime import timedelta
from pathlib import Path

import pytest

from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Trust
from seatkeeper_server.domain.catalogue import Feature
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service.calls import Outcome, Served
from seatkeeper_server.service.suspicion import suspect

from .town import DAY, MINUTE, RENDER, Server, Town, a_town

PAGES = Feature("pages", Kind.USAGE_COUNT, 100)


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        yield town


def served(outcomes: list[Outcome]) -> int:
    """Count the seats that were given."""
    return sum(isinstance(outcome, Served) for outcome in outcomes)


def used(town: Town, server: Server, name: str) -> int:
    """Give how much of something is taken on a server."""
    with server.opened() as (catalogue, _):
        return catalogue.bought(*town.key)[0].pool.tallies[name].used


def test_a_shorter_grant_counts_as_long_as_the_leases_given_before(town: Town) -> None:
    """A site keeps to a shorter document only when no program believes in a seat beyond its end."""
    town.sell(50, lease=timedelta(days=20))
    site = town.open_site("lab")
    town.lend("lab", 40, days=30)
    assert served([town.take(site, f"s{n}") for n in range(40)]) == 40

    town.lend("lab", 40, days=1)
    town.report("lab")
    town.pass_(3 * DAY)

    assert served([town.take(town.cloud, f"c{n}") for n in range(50)]) == 10


def test_a_removal_from_a_clock_that_is_behind(town: Town) -> None:
    """What programs still believe in is counted from when the vendor hears of it, not by the site's clock."""
    town.sell(50, lease=timedelta(hours=8))
    site = town.open_site("lab")
    site.now -= timedelta(hours=10)
    town.lend("lab", 50)
    assert served([town.take(site, f"s{n}") for n in range(50)]) == 50

    town.give_back("lab")

    assert served([town.take(town.cloud, f"c{n}") for n in range(50)]) == 0


def test_what_is_used_up_does_not_come_back_unheard(town: Town) -> None:
    """A share whose time has run out and of which nobody has reported is taken as used up."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 100}, days=5)
    assert isinstance(town.take(site, "a", {"pages": 100}), Served)

    town.pass_(8 * DAY)
    town.vendor(lambda lending: lending.take_back(town.key[1], None))

    assert used(town, town.cloud, "pages") == 100
    assert not isinstance(town.take(town.cloud, "c", {"pages": 1}), Served)


@pytest.mark.parametrize("pages", [None, 0, 30], ids=["fresh", "none", "fewer"])
def test_what_is_used_up_does_not_come_back_by_another_document(town: Town, pages: int | None) -> None:
    """Its grant has ended unheard, and the share is lent on: with a fresh document, without what is used up, or with less."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 100}, days=1)
    assert isinstance(town.take(site, "a", {"pages": 100}), Served)
    town.pass_(12 * DAY)

    if pages is None:
        town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    else:
        town.lend("lab", 10, features={"pages": pages})

    assert used(town, town.cloud, "pages") == 100
    assert not isinstance(town.take(town.cloud, "c", {"pages": 1}), Served)


def test_what_was_left_of_an_ended_grant_is_lent_on(town: Town) -> None:
    """The same amount is lent again after its grant has ended: the site goes on with what it has not used, and no more."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 100}, days=1)
    assert isinstance(town.take(site, "a", {"pages": 60}), Served)
    town.pass_(12 * DAY)
    town.lend("lab", 10, features={"pages": 100})

    assert not isinstance(town.take(site, "b", {"pages": 41}), Served)
    assert isinstance(town.take(site, "b", {"pages": 40}), Served)


def test_what_was_used_up_before_counts_beside_what_still_runs(town: Town) -> None:
    """A share is given back while one program works on ten pages, and sixty were used before: seventy are used up."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 100})
    assert isinstance(town.take(site, "a", {"pages": 60}), Served)
    town.pass_(5 * MINUTE)
    assert isinstance(town.take(site, "b", {"pages": 10}), Served)

    town.give_back("lab")

    assert used(town, town.cloud, "pages") == 70


def test_what_is_used_up_of_a_grant_that_ended_before_another(town: Town) -> None:
    """Of two documents the larger one ends first: what it lent to be used up is not forgotten with it."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 30}, days=30)
    town.lend("lab", 10, features={"pages": 100}, days=1)
    assert isinstance(town.take(site, "a", {"pages": 100}), Served)
    town.pass_(40 * DAY)
    town.give_back("lab")

    assert used(town, town.cloud, "pages") == 100
    assert lent_on_record(town) == 100


def test_what_is_used_up_does_not_come_back_by_a_late_report(town: Town) -> None:
    """A share was renewed, used up, and has ended; only then its server reports that it had applied the later document."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 100}, days=1)
    town.lend("lab", 10, features={"pages": 100}, days=2)
    assert isinstance(town.take(site, "a", {"pages": 100}), Served)
    town.pass_(12 * DAY)

    town.report("lab")

    assert used(town, town.cloud, "pages") == 100


def lent_on_record(town: Town) -> int:
    """Give how much of what is used up the shares say that they have had."""
    with town.cloud.opened() as (catalogue, _):
        shares = [share.share_id for share in catalogue.sites.shares(town.tenant)]
        return sum(place.rights.get("pages", 0) for one in shares for place in catalogue.sites.layers(town.tenant, one))


def test_what_an_earlier_share_used_up_is_not_the_next_ones(town: Town) -> None:
    """Of a second share as much can be used as was lent, and what is reported of it is its own use."""
    town.sell(50, features=(PAGES,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"pages": 50})
    assert isinstance(town.take(site, "a", {"pages": 30}), Served)
    town.pass_(5 * MINUTE)
    town.give_back("lab")
    assert used(town, town.cloud, "pages") == 30

    town.pass_(MINUTE)
    town.lend("lab", 10, features={"pages": 50})
    assert isinstance(town.take(site, "b", {"pages": 20}), Served)
    assert not isinstance(town.take(site, "c", {"pages": 31}), Served)
    town.pass_(5 * MINUTE)
    town.give_back("lab")

    assert used(town, town.cloud, "pages") == 50


def test_a_feature_that_is_lent_no_more(town: Town) -> None:
    """A document without a feature ends it at the site; then the vendor gives it himself."""
    town.sell(50, features=(RENDER,))
    site = town.open_site("lab")
    town.lend("lab", 10, features={"render": 10})
    town.pass_(MINUTE)
    town.lend("lab", 10)
    town.report("lab")

    assert not isinstance(town.take(site, "a", {"render": 1}), Served)
    assert isinstance(town.take(town.cloud, "b", {"render": 10}), Served)


def test_lent_altogether_and_then_in_part(town: Town) -> None:
    """The vendor serves again when a site keeps to a part; before that, nothing."""
    town.sell(50)
    town.open_site("lab")
    town.lend("lab")
    assert served([town.take(town.cloud, "a")]) == 0

    town.pass_(MINUTE)
    town.lend("lab", 5)
    assert served([town.take(town.cloud, "b")]) == 0
    town.report("lab")

    assert served([town.take(town.cloud, f"c{n}") for n in range(50)]) == 45


def test_documents_in_another_order_leave_the_later_certificate(town: Town) -> None:
    """The certificate of a document that comes late covers less than that of the later one, which is kept."""
    town.sell(50)
    other = town.sell_another("mesher", seats=5)
    site = town.open_site("lab")
    first = town.lend("lab", 10, carried=False)
    second = town.vendor(lambda lending: lending.lend(other, town.site_ids["lab"], seats=5))

    for token in (second, first):
        site.grants(lambda grants, token=token: grants.apply(token))

    trust = Trust((read_public_key(town.sold.public_key),))
    covers = trust.certificate(site.keyring.certificate(town.tenant)).covers
    assert covers is not None
    assert set(covers.each) == {other, town.key[1]}


def test_a_document_from_before_the_copy_clears_nothing(town: Town) -> None:
    """Data that were set back, and a document that was made for the original before that was noticed."""
    town.sell(50)
    site = town.open_site("lab")
    town.lend("lab", 10)
    token = town.lend("lab", 10, days=40, carried=False)
    site.now += timedelta(hours=1)
    with site.opened() as (catalogue, _):
        assert suspect(catalogue, town.tenant, SiteState.RESTORED, site.now)

    site.grants(lambda grants: grants.apply(token))

    license_ = site.grants(lambda grants: grants.license(town.tenant))
    assert license_ is not None
    assert license_.state is SiteState.RESTORED


def test_a_clock_as_far_behind_as_is_allowed(town: Town) -> None:
    """Programs believe a site whose clock is behind by less than the skew that it was lent with."""
    town.sell(50)
    site = town.open_site("lab")
    site.now -= timedelta(days=2, hours=12)
    town.lend("lab", 10, skew=timedelta(days=3))

    outcome = town.take(site, "a")

    assert isinstance(outcome, Served)
    assert town.believed(site, outcome).exp > site.now.timestamp()
