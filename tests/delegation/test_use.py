"""What a vendor knows of a site's use: high and low marks, refusals, seat-hours, and what was never reported."""

from datetime import timedelta
from pathlib import Path

import pytest

from seatkeeper_server.service.calls import Served

from .town import DAY, Town, a_town

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
