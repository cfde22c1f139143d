"""What a vendor knows of a site's use: high and low marks, refusals, seat-hours, and what was never reported."""

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from seatkeeper_server.service import use
from seatkeeper_server.service.calls import Served
from seatkeeper_server.statements import HourOfUse
from seatkeeper_server.store.pruning import Pruning

from .town import DAY, MINUTE, Server, Town, a_town

HOUR = timedelta(hours=1)


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(50, lease=timedelta(days=2))
        town.open_site("lab-1")
        yield town


def test_hours_are_exact_and_add_up_to_days(town: Town) -> None:
    """Two seats from noon on, one of them for three hours; one refused. Reported twice, in two parts that fit."""
    lab = town.sites["lab-1"]
    town.lend("lab-1", 2)
    one, two = town.take(lab, "a"), town.take(lab, "b")
    assert isinstance(one, Served)
    assert isinstance(two, Served)
    town.take(lab, "c")
    town.pass_(90 * timedelta(minutes=1))
    town.report("lab-1")
    town.pass_(90 * timedelta(minutes=1))
    town.return_(lab, two)
    town.pass_(2 * HOUR)
    town.return_(lab, one)
    town.report("lab-1")
    (used,) = town.vendor(lambda lending: lending.uses())
    (day,) = used.days

    assert (day.high, day.low, day.denials, day.hours_missing) == (2, 0, 1, 0)
    assert day.seat_hours == pytest.approx(2 * 3 + 2, abs=0.01)


def test_a_report_that_never_arrived_leaves_a_gap_that_is_seen(town: Town) -> None:
    """The second of three was lost: its hours are missing, and the vendor's log says which facts."""
    lab = town.sites["lab-1"]
    town.lend("lab-1", 2)
    for number in range(3):
        served = town.take(lab, f"program-{number}")
        assert isinstance(served, Served)
        town.pass_(4 * HOUR)
        town.return_(lab, served)
        town.report("lab-1", carried=number != 1)
        town.pass_(DAY - 4 * HOUR)
    (used,) = town.vendor(lambda lending: lending.uses())
    with town.cloud.opened() as (catalogue, _):
        log = [fact.data for fact in catalogue.sites.facts_after(town.key, 0) if "reportGap" in fact.data]

    assert len(log) == 1
    assert "were never reported" in log[0]
    assert sum(day.hours_missing for day in used.days) > 0


# --- on the site itself --------------------------------------------------------------------------------------------

Held = tuple[datetime, datetime]  # from when to when a seat was held


def hours_of(town: Town, server: Server, since: datetime, until: datetime) -> list[HourOfUse]:
    """Give the hours of what is lent, as the server's administrator is shown them."""
    with server.opened() as (catalogue, _):
        (bought,) = catalogue.bought(*town.key)
        return use.of_pool(catalogue, bought, since, until, server.now)


def counted(held: list[Held], since: datetime, until: datetime) -> list[tuple[int, int, int]]:
    """Give high mark, low mark and seat-seconds by the hour, from who held when: slowly, and in another way."""
    hours = []
    while since < until:
        end = min(until, use.hour_of(since) + HOUR)
        edges = sorted({since, *(edge for one in held for edge in one if since < edge < end)})
        levels = [sum(begin <= edge < over for begin, over in held) for edge in edges]
        seconds = sum(
            (min(over, end) - max(begin, since)).total_seconds() for begin, over in held if begin < end and over > since
        )
        hours.append((max(levels), min(levels), round(seconds)))
        since = end
    return hours


@pytest.mark.parametrize("seed", range(5))
def test_the_use_of_any_time_is_what_was_held_then(town: Town, seed: int) -> None:
    """Seats come, are given back, or their leases end and nobody has noticed yet: each hour tells what was held in it."""
    lab, random, start = town.sites["lab-1"], Random(seed), town.now
    town.lend("lab-1", 20)
    town.pass_(timedelta(seconds=13))  # so that nothing happens just between two hours
    held, open_ = list[Held](), dict[str, tuple[Served, datetime]]()
    for number in range(60):
        town.pass_(MINUTE * random.randint(1, 90))
        if open_ and random.random() < 0.4:
            served, since = open_.pop(random.choice(sorted(open_)))
            if served.holding.expires_at > lab.now:
                town.return_(lab, served)
            held.append((since, min(lab.now, served.holding.expires_at)))
        elif isinstance(served := town.take(lab, f"program-{number}"), Served):
            open_[served.who.seat_id] = served, lab.now
    town.pass_(MINUTE)
    held += [(since, min(lab.now, served.holding.expires_at)) for served, since in open_.values()]
    for _ in range(10):
        since = start + MINUTE * random.randint(0, 3_000)
        until = min(since + MINUTE * random.randint(1, 3_000), lab.now)
        found = [(hour.high, hour.low, hour.seat_seconds) for hour in hours_of(town, lab, since, until)]

        assert found == counted(held, since, until), (since, until)


def test_a_lease_that_ended_unnoticed_is_told_as_it_will_be(town: Town) -> None:
    """Nobody has settled it; what is told of its hours is the same before and after, and asking changes nothing."""
    lab, start = town.sites["lab-1"], town.now
    town.lend("lab-1", 2)
    town.take(lab, "a")
    town.pass_(3 * DAY)
    before = hours_of(town, lab, start, lab.now)
    used, again = lab.used(town.key), hours_of(town, lab, start, lab.now)
    town.report("lab-1")

    assert (used, lab.used(town.key)) == (1, 0)
    assert before == again == hours_of(town, lab, start, lab.now)
    assert sum(hour.seat_seconds for hour in before) == 2 * DAY.total_seconds()


def test_refusals_are_told_in_their_hour(town: Town) -> None:
    """The first of a holder when it came, its repeats when they are written down, in the hour in which they were."""
    lab, start = town.sites["lab-1"], town.now
    town.lend("lab-1", 1)
    town.take(lab, "a")
    for _ in range(3):
        town.take(lab, "b")
    town.pass_(90 * MINUTE)
    town.take(lab, "b")
    told = defaultdict(int, {hour.hour: hour.denials for hour in hours_of(town, lab, start, lab.now)})

    assert [told[int(use.hour_of(at).timestamp())] for at in (start, lab.now)] == [3, 1]


def test_nothing_is_told_of_what_was_pruned(town: Town) -> None:
    """From the first fact on that is kept: what was before can't be known, and is not guessed."""
    lab = town.sites["lab-1"]
    town.lend("lab-1", 2)
    one = town.take(lab, "a")
    assert isinstance(one, Served)
    town.pass_(HOUR)
    town.take(lab, "b")
    later = lab.now
    town.pass_(HOUR)
    with lab.opened() as (catalogue, _):
        first = catalogue.chain(town.key, 0, 100, 100)
        Pruning(catalogue.tx).prune(town.key, first[-1].number - 1, lab.now, "")
        kept = catalogue.chain(town.key, 0, 100, 100)

    assert [fact.number for fact in kept] == [first[-1].number]
    assert hours_of(town, lab, later - DAY, lab.now)[0].high == 2
    assert sum(hour.seat_seconds for hour in hours_of(town, lab, later - DAY, lab.now)) == 2 * HOUR.total_seconds()
