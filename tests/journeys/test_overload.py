"""Far more newcomers than a server can serve; `make overload` does it for a minute."""

import asyncio

import pytest

from tests.journeys.wire import Caller, Reply
from tests.linear.overload import LEASE, Report, overload
from tests.support.servers import CloudServer, Sold

HOLDERS = 20
MOST_MB = 100  # more than before the flood


async def flood_and_ask(cloud: CloudServer, sold: Sold) -> tuple[Report, Reply]:
    """Flood a server, then ask it as one more newcomer."""
    report = await overload(cloud, sold, holders=HOLDERS, connections=1000, seconds=4, times=5, calm=1)
    latecomer = Caller(sold, "latecomer")
    reply = await latecomer.activate()
    latecomer.hang_up()
    return report, reply


@pytest.mark.timeout(180)
def test_a_flood_of_newcomers_costs_nobody_his_seat(cloud: CloudServer) -> None:
    """While newcomers come at five times the rate that can be served, every refresh is served and memory stays bounded.

    When they have gone, a newcomer is answered at once.
    """
    sold = cloud.sell("acme", "solver", seats=HOLDERS, lease=f"{LEASE}s")

    report, afterwards = asyncio.run(flood_and_ask(cloud, sold))

    assert report.flood["arrived"] > report.capacity * 4
    assert len(report.during(report.began, report.ended)) >= HOLDERS
    assert report.refused == []
    assert report.peak_mb(report.began, report.ended) < report.peak_mb(0, report.began) + MOST_MB
    assert afterwards.status == 402
