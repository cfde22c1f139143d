"""Sixty-four programs race for ten seats over real HTTP, twenty thousand calls in all."""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field

import pytest

from tests.journeys import records
from tests.journeys.wire import Caller, Reply
from tests.support.servers import CloudServer, Sold

CLIENTS = 64
SEATS = 10
CALLS = 20_000


@dataclass
class Crowd:
    """What the programs did, as they saw it themselves."""

    calls: int = 0
    held: list[tuple[float, int]] = field(default_factory=list)  # (moment, +1 believed in from here on, -1 no longer)
    refusals: list[Reply] = field(default_factory=list)
    odd: list[Reply] = field(default_factory=list)

    def expect(self, reply: Reply, status: int) -> Reply:
        """Count a call; remember an answer that is none of the expected."""
        self.calls += 1
        if reply.status != status:
            self.odd.append(reply)
        return reply

    def most_believed(self) -> int:
        """Give the most seats that programs believed in at once: from the answer on until the return was sent."""
        most = believed = 0
        for _, change in sorted(self.held):
            believed += change
            most = max(most, believed)
        return most


async def race(crowd: Crowd, caller: Caller, chance: random.Random) -> None:
    """Take a seat, keep it for some refreshes, give it back, and again, as long as there are calls left."""
    while crowd.calls < CALLS - CLIENTS:
        token = await take(crowd, caller)
        if token is None:
            continue
        for _ in range(chance.randrange(4)):
            crowd.expect(await caller.refresh(token), 200)
        crowd.held.append((time.perf_counter(), -1))
        crowd.expect(await caller.give_back(token), 204)


async def take(crowd: Crowd, caller: Caller) -> str | None:
    """Ask for a seat once."""
    reply = await caller.activate()
    if reply.status == 402:
        crowd.calls += 1
        crowd.refusals.append(reply)
        return None
    crowd.expect(reply, 201)
    crowd.held.append((time.perf_counter(), +1))
    return reply.token


async def race_and_stay(sold: Sold) -> tuple[Crowd, int]:
    """Have everybody race; then have everybody ask once more and stay. Give how many then had a seat."""
    crowd = Crowd()
    callers = [Caller(sold, f"client-{number}") for number in range(CLIENTS)]
    await asyncio.gather(*(race(crowd, caller, random.Random(number)) for number, caller in enumerate(callers)))
    tokens = await asyncio.gather(*(take(crowd, caller) for caller in callers))
    for caller in callers:
        caller.hang_up()
    return crowd, sum(token is not None for token in tokens)


def is_explained(refusal: Reply) -> bool:
    """Tell whether a refusal says by which rule, how full, who holds, when at the earliest, and has an id to quote."""
    denial = refusal.document["denial"]
    return (
        refusal.document["errorCode"] == "seats.exhausted"
        and re.fullmatch(r"D-[0-9A-Z]{6,}", denial["id"]) is not None
        and denial["rule"] == "pool-full"
        and denial["limit"] == denial["used"] == len(denial["holders"]) == SEATS
        and all(holder["seatName"] and holder["leaseExpiry"] for holder in denial["holders"])
        and denial["nextFreeBy"] is not None
        and denial["remedies"] != []
    )


@pytest.mark.timeout(180)
def test_64_programs_race_for_10_seats(cloud: CloudServer) -> None:
    """While there is demand exactly all seats are held, never one more, and every refusal is explained."""
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")

    crowd, staying = asyncio.run(race_and_stay(sold))

    assert crowd.odd == []
    assert crowd.calls >= CALLS
    assert staying == SEATS
    assert records.counted(cloud.data, sold.entitlement) == records.Counted(SEATS, SEATS, SEATS)
    assert crowd.most_believed() == SEATS
    assert records.fullest(cloud.data, sold.entitlement) == SEATS
    assert crowd.refusals
    assert [refusal for refusal in crowd.refusals if not is_explained(refusal)] == []
    assert cloud.ask_json("verify")["holds"]
