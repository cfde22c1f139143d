"""A local server forty days without its vendor: it serves to the last second, warns in time, and explains itself afterwards."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from seatkeeper_server.apps.chores import SiteChores
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.tidying import Tidying
from seatkeeper_server.service.timekeeping import ClockState, Timekeeper
from tests.support.house import HandClock, raw

from .town import DAY, Server, Town, a_town, problem, rule


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(50)
        town.open_site("lab-1")
        yield town


def look_after(site: Server) -> None:
    """Do the chores of a local server."""
    tidying = Tidying(lambda tenant_id, payload: "")
    SiteChores(
        store=site.store, seal=site.seal, database_id=site.database_id, tidying=tidying, now=lambda: site.now
    ).renew_keys()


def warnings(site: Server) -> list[int]:
    """Give the percentages that were warned of."""
    with site.store.transaction() as tx:
        found = raw(tx)("SELECT data FROM fact WHERE kind = 'Note' ORDER BY number").fetchall()
    said = [json.loads(row[0]) for row in found]
    return [one["data"]["percent"] for one in said if one.get("what") == "grantRunsOut"]


def test_it_serves_until_its_grants_last_second(town: Town) -> None:
    """One second before the end a lease of one second; at the end nobody gets a seat, and is told that the grant is over."""
    town.lend("lab-1", 10, days=40)
    lab = town.sites["lab-1"]
    town.pass_(40 * DAY - timedelta(seconds=1))
    held = town.take(lab, "a")
    assert isinstance(held, Served)
    assert town.believed(lab, held).exp == town.now.timestamp() + 1
    town.pass_(timedelta(seconds=1))
    late = town.take(lab, "b")

    assert (problem(late), rule(late)) == ("entitlement.expired", "share-expired")


def test_it_warns_at_50_75_and_90_percent(town: Town) -> None:
    """Once each, as a fact that its administrator reads; and once when it is over. A fresh document begins anew."""
    town.lend("lab-1", 10, days=40)
    lab = town.sites["lab-1"]
    seen = {}
    for day in range(42):
        look_after(lab)
        seen.setdefault(len(warnings(lab)), day)
        town.pass_(DAY)

    assert warnings(lab) == [50, 75, 90, 100]
    assert [seen[count] for count in range(1, 5)] == [20, 30, 36, 40]


def test_a_clock_that_was_set_back_makes_it_suspect_until_the_vendor_speaks(town: Town) -> None:
    """It goes on by the recorded time; a fresh document that agrees with the clock lowers what was recorded wrongly."""
    lab = town.sites["lab-1"]
    town.lend("lab-1", 10, days=300)
    wrong = HandClock(town.now + 90 * DAY)  # somebody had set it three months ahead
    with lab.store.transaction() as tx:
        Timekeeper(wrong).begin(tx, "1")
    clock = HandClock(town.now, boot_id="boot-2")
    keeper = Timekeeper(clock)
    with lab.store.transaction() as tx:
        assert keeper.start(tx) is ClockState.SUSPECT
        lab.now = keeper.begin(tx, "2")
    look_after(lab)
    assert lab.grants(lambda grants: grants.license(town.tenant)).state.value == "clock-suspect"
    lab.now += 15 * DAY
    late = town.take(lab, "a")
    assert (problem(late), rule(late)) == ("entitlement.expired", "clock")

    lab.now -= 15 * DAY
    fresh = town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    lab.grants(lambda grants: grants.apply(fresh))
    with lab.store.transaction() as tx:
        now = keeper.begin(tx, "3")

    assert abs(now - town.now) <= BEAT
    assert lab.grants(lambda grants: grants.license(town.tenant)).state.value == "ok"
