"""Two of a vendor's servers at once, on PostgreSQL: who comes second decides by what the first has done, not by what was.

The order is made certain: the first one's transaction is held open until the second one is seen waiting for it.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import psycopg
import pytest

from seatkeeper_server.apps.office import Office
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import NoRoom, TokenRefused
from seatkeeper_server.service.lending import Lending
from seatkeeper_server.service.verifying import verify
from seatkeeper_server.store.catalogue import Catalogue
from tests.support.postgres import Clusters, HandTimedStore, servers

from .town import DAY, Town, a_town

Work = Callable[[Lending], Any]

PATIENCE = 30  # seconds


@dataclass
class House:
    """A vendor whose servers share a PostgreSQL."""

    town: Town
    watch: "psycopg.Connection[Any]"
    beside: ThreadPoolExecutor

    def office(self) -> Office[Lending]:
        """Give where one of his servers does what is asked of it."""
        town = self.town

        def opened(catalogue, vault, _now, _today) -> Lending:
            return Lending(catalogue, vault, tenant_id=town.tenant, now=town.now, random=os.urandom)

        return Office(town.cloud.store, None, town.cloud.seal, opened)  # type: ignore[arg-type]  # nothing is only read here

    def one_after_the_other(self, first: Work, second: Work) -> tuple[Any, "Future[Any]"]:
        """Have two things done at once, of which the second one begins while the first one is not committed."""
        with self.town.cloud.opened() as (catalogue, vault):
            done = first(Lending(catalogue, vault, tenant_id=self.town.tenant, now=self.town.now, random=os.urandom))
            other = self.beside.submit(self.office().do, second)
            assert self.waits(other)
        with suppress(Exception):
            other.result(PATIENCE)
        return done, other

    def waits(self, other: "Future[Any]") -> bool:
        """Wait until somebody is seen to wait for a lock; False if the other one is done instead."""
        for _ in range(PATIENCE * 50):
            if self.watch.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                return True
            if other.done():
                return False
            Event().wait(0.02)
        raise AssertionError("it neither waits nor ends")

    def deadlocks(self) -> int:
        """Give how many circles PostgreSQL has had to break up."""
        row = self.watch.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(params=sorted(servers())[:1])
def house(request: pytest.FixtureRequest, clusters: Clusters, tmp_path: Path) -> Iterator[House]:
    with (
        clusters[request.param].lent() as uri,
        closing(HandTimedStore(uri)) as store,
        a_town(tmp_path, store) as town,
        psycopg.connect(uri, autocommit=True) as watch,
        ThreadPoolExecutor(8) as beside,
    ):
        town.sell(50)
        yield House(town, watch, beside)


# --- licenses ------------------------------------------------------------------------------------------------------


def test_a_server_that_asks_twice_at_once_is_one_server(house: House) -> None:
    """`license` takes the vendor's turn: the second request of a server finds it licensed, and takes no second license."""
    town = house.town
    site = town.unlicensed("lab")
    tokens = [site.grants(lambda grants: grants.request(town.tenant, town.code, "lab")) for _ in range(2)]

    _, second = house.one_after_the_other(*(lambda lending, token=token: lending.license(token) for token in tokens))
    site.grants(lambda grants: grants.apply(second.result()))

    assert len(town.vendor(lambda lending: lending.sites())) == 1
    assert town.vendor(lambda lending: lending.license_entitlement()).pool.seats.used == 1


def test_a_request_that_is_carried_twice_at_once(house: House) -> None:
    """It is applied once; the second time it is refused as applied before."""
    town = house.town
    site = town.unlicensed("lab")
    token = site.grants(lambda grants: grants.request(town.tenant, town.code, "lab"))

    _, second = house.one_after_the_other(lambda lending: lending.license(token), lambda lending: lending.license(token))

    with pytest.raises(TokenRefused) as caught:
        second.result()
    assert caught.value.problem == "offline.replayed"


def test_a_license_that_is_renewed_twice_at_once(house: House) -> None:
    """`renew_license` takes the vendor's turn: the two documents are numbered one after the other, and both are applied."""
    town = house.town
    site = town.open_site("lab")

    first, second = house.one_after_the_other(
        lambda lending: lending.renew_license(town.site_ids["lab"]), lambda lending: lending.renew_license(town.site_ids["lab"])
    )

    for token in (first, second.result()):
        site.grants(lambda grants, token=token: grants.apply(token))


def test_no_license_ends_while_something_is_lent_under_it(house: House) -> None:
    """A server that was just lent something keeps its license."""
    town = house.town
    site = town.open_site("lab")
    word = site.grants(lambda grants: grants.deactivate(town.tenant))

    _, second = house.one_after_the_other(
        lambda lending: lending.lend(town.key[1], town.site_ids["lab"], seats=10), lambda lending: lending.end_license(word)
    )

    with pytest.raises(CannotDo, match="still has 1 of your entitlements"):
        second.result()
    assert town.vendor(lambda lending: lending.site("lab")).is_licensed


def test_a_license_that_ends_while_it_is_renewed(house: House) -> None:
    """`end_license` takes the vendor's turn: it forgets nothing of what was said to the server meanwhile."""
    town = house.town
    site = town.open_site("lab")
    word = site.grants(lambda grants: grants.deactivate(town.tenant))

    renewed, second = house.one_after_the_other(
        lambda lending: lending.renew_license(town.site_ids["lab"]), lambda lending: lending.end_license(word)
    )
    second.result()
    asked = site.grants(lambda grants: grants.request(town.tenant, town.code, "lab"))
    answer = town.vendor(lambda lending: lending.license(asked))

    for token in (renewed, answer):
        site.grants(lambda grants, token=token: grants.apply(token))


def test_no_server_is_forgotten_while_something_is_lent_to_it(house: House) -> None:
    """`forget` takes the vendor's turn: a server that was just lent something is not forgotten."""
    town = house.town
    town.open_site("lab")

    _, second = house.one_after_the_other(
        lambda lending: lending.lend(town.key[1], town.site_ids["lab"], seats=10),
        lambda lending: lending.forget(town.site_ids["lab"]),
    )

    with pytest.raises(CannotDo, match="still has 1 of your entitlements"):
        second.result()
    assert town.vendor(lambda lending: lending.site("lab")).is_licensed


def test_nothing_is_lent_to_a_server_that_is_being_forgotten(house: House) -> None:
    """`lend` takes the vendor's turn: it finds the server without a license."""
    town = house.town
    town.open_site("lab")

    _, second = house.one_after_the_other(
        lambda lending: lending.forget(town.site_ids["lab"]),
        lambda lending: lending.lend(town.key[1], town.site_ids["lab"], seats=10),
    )

    with pytest.raises(CannotDo, match="was given back"):
        second.result()
    assert town.lent() == 0


# --- shares --------------------------------------------------------------------------------------------------------


def test_the_first_shares_of_two_sites_never_exceed_what_was_bought(house: House) -> None:
    """Thirty of fifty are being lent to one site: another thirty are refused to the next one, and twenty are not."""
    town = house.town
    town.open_site("lab-1")
    town.open_site("lab-2")
    one, two = town.site_ids["lab-1"], town.site_ids["lab-2"]

    _, second = house.one_after_the_other(
        lambda lending: lending.lend(town.key[1], one, seats=30), lambda lending: lending.lend(town.key[1], two, seats=30)
    )

    with pytest.raises(NoRoom, match="20 seats of 50 are free"):
        second.result()
    assert town.lent() == 30
    town.lend("lab-2", 20)
    assert town.lent() == 50


def test_the_first_share_of_a_site_is_lent_once(house: House) -> None:
    """Lent twice at once to the same site, it is one share, of which there are two documents."""
    town = house.town
    site = town.open_site("lab")

    tokens = house.one_after_the_other(
        lambda lending: lending.lend(town.key[1], town.site_ids["lab"], seats=20),
        lambda lending: lending.lend(town.key[1], town.site_ids["lab"], seats=25),
    )
    for token in (tokens[0], tokens[1].result()):
        site.grants(lambda grants, token=token: grants.apply(token))

    assert [one.seats for one in town.vendor(lambda lending: lending.exports(town.key[1]))] == [25]
    assert town.lent() == 25


def test_many_at_once_never_wait_in_a_circle(house: House) -> None:
    """Four sites are lent shares of two entitlements, and report, while programs take seats: nothing is given away twice."""
    town, names = house.town, ("lab-1", "lab-2", "lab-3", "lab-4")
    for name in names:
        town.open_site(name)
    sold = [town.key[1], town.sell_another("mesher", seats=50)]
    before, start = house.deadlocks(), Barrier(len(names) + 1)

    def keep_lending(name: str) -> None:
        office, site, mine = house.office(), town.sites[name], sold if name < "lab-3" else sold[::-1]
        start.wait(PATIENCE)
        for seats in (10, 20, 5):
            for entitlement_id in mine:
                with suppress(NoRoom):
                    token = office.do(
                        lambda lending, of=entitlement_id, n=seats: lending.lend(
                            of, town.site_ids[name], seats=n, until=town.now + DAY
                        )
                    )
                    site.grants(lambda grants, token=token: grants.apply(token))
            report = site.grants(lambda grants: grants.report(town.tenant))
            office.do(lambda lending, token=report: lending.exchange(token))

    def keep_working() -> int:
        start.wait(PATIENCE)
        return sum(isinstance(town.take(town.cloud, f"program-{number}"), Served) for number in range(20))

    working = house.beside.submit(keep_working)
    for done in [house.beside.submit(keep_lending, name) for name in names]:
        done.result(PATIENCE)
    taken = working.result(PATIENCE)

    assert town.lent() <= 50 + 50
    assert town.cloud.used(town.key) <= 50
    assert taken + sum(one.seats for one in town.vendor(lambda lending: lending.exports(town.key[1]))) <= 50
    assert house.deadlocks() == before
    with town.cloud.store.transaction() as tx:
        found = verify(lambda question: question(Catalogue(tx)))
    assert found.holds, found.breaks
