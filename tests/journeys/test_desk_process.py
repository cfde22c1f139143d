"""The process that decides is killed while the server serves: who asked may come again, and soon the server is whole again."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.journeys import records
from tests.journeys.wire import Caller, Reply
from tests.support.servers import CloudServer, Sold, children_of

PROGRAMS = 16
SEATS = 10
DEATHS = 5
SEED = 20_261_124
WHOLE_WITHIN = 15.0  # seconds; it takes one, but the machine may be busy


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    """Give a running server whose desk is a process of its own, however many processors there are."""
    with CloudServer(tmp_path / "data", environment={"SEATKEEPER_DESK_PROCESS": "true"}) as server:
        yield server


def desk_of(cloud: CloudServer) -> int:
    """Give the process that decides; 0 while there is none."""
    return next(iter(children_of(cloud.pid)), 0)


@dataclass
class Program:
    """One program, which comes again with the very same request when it is told to."""

    caller: Caller
    chance: random.Random
    token: str | None = None
    acknowledged: int = 0
    turned_away: list[Reply] = field(default_factory=list)

    async def live(self, over: asyncio.Event) -> None:
        """Take, refresh and give back; what was acknowledged must be true at every next call."""
        while not over.is_set():
            if self.token is None:
                await self._take()
            else:
                await self._use(self.token)
        self.caller.hang_up()

    async def _use(self, token: str) -> None:
        if self.chance.random() < 0.5:
            assert (await self._insist(self.caller.refresh, token)).status == 200
        else:
            assert (await self._insist(self.caller.give_back, token)).status == 204
            self.token = None

    async def _take(self) -> None:
        reply = await self._insist(self.caller.activate, f"{self.chance.getrandbits(128):032x}")
        if reply.status != 402:
            assert reply.status in {200, 201}, reply
            self.token = reply.token

    async def _insist(self, call: Callable[[str], Awaitable[Reply]], word: str) -> Reply:
        """Ask until there is an answer."""
        while (reply := await call(word)).status == 503:
            self.turned_away.append(reply)
            await asyncio.sleep(0.1)
        self.acknowledged += 1
        return reply


async def status(sold: Sold, path: str) -> Reply:
    """Ask as a monitor does."""
    caller = Caller(sold, "monitor")
    try:
        return await caller.call("GET", path)
    finally:
        caller.hang_up()


async def take_seat(sold: Sold) -> Reply:
    """Have one more program ask for a seat."""
    caller = Caller(sold, "one-more")
    try:
        return await caller.activate()
    finally:
        caller.hang_up()


async def served_again(cloud: CloudServer, programs: list[Program], dead: int) -> int:
    """Wait until another process has decided as often as there are programs; which one."""
    deadline = time.monotonic() + WHOLE_WITHIN
    while (desk := desk_of(cloud)) in (0, dead):
        assert time.monotonic() < deadline, "no other desk was started"
        await asyncio.sleep(0.02)
    before = sum(program.acknowledged for program in programs)
    while sum(program.acknowledged for program in programs) < before + PROGRAMS:
        assert time.monotonic() < deadline, "nobody was served"
        await asyncio.sleep(0.02)
    return desk


async def whole_again(cloud: CloudServer, sold: Sold, dead: int) -> None:
    """Wait until another process decides, and the server says that it is ready."""
    deadline = time.monotonic() + WHOLE_WITHIN
    while desk_of(cloud) in (0, dead) or (await status(sold, "/readyz")).status != 200:
        assert time.monotonic() < deadline, "the server did not become whole"
        await asyncio.sleep(0.05)


def make_programs(sold: Sold) -> list[Program]:
    return [Program(Caller(sold, f"program-{number}"), random.Random(f"{SEED}-{number}")) for number in range(PROGRAMS)]


@pytest.mark.timeout(300)
def test_a_desk_that_is_killed_under_load_loses_nothing_and_comes_back(cloud: CloudServer) -> None:
    """Again and again: each caller is answered, 503 with Retry-After at worst; what was acknowledged is held and the limit
    kept; within seconds the server serves as before."""
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
    programs, chance, desks = make_programs(sold), random.Random(SEED), [desk_of(cloud)]

    async def kill_again_and_again() -> None:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for program in programs:
                group.create_task(program.live(over))
            for _ in range(DEATHS):
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                os.kill(desks[-1], signal.SIGKILL)
                desks.append(await served_again(cloud, programs, desks[-1]))
            over.set()
        await whole_again(cloud, sold, desks[-2])

    asyncio.run(kill_again_and_again())
    turned_away = [reply for program in programs for reply in program.turned_away]
    counted = records.counted(cloud.data, sold.entitlement)
    held = sum(program.token is not None for program in programs)

    assert len(set(desks)) == DEATHS + 1
    assert turned_away
    assert {(reply.document["errorCode"], reply.retry_after) for reply in turned_away} == {("storage.unavailable", 1)}
    assert counted == records.Counted(held, held, SEATS)
    assert records.fullest(cloud.data, sold.entitlement) <= SEATS
    assert cloud.ask_json("verify")["holds"]
    assert cloud.stop() == 0


def test_without_a_desk_the_server_lives_and_is_not_ready(cloud: CloudServer) -> None:
    """As long as the desk can't be started, a load balancer is told, and the log says what is missing; nothing is made in its
    place, and when it is back, so is the server."""
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
    key, away, dead = cloud.data / "seal.key", cloud.data / "elsewhere", desk_of(cloud)
    key.rename(away)
    os.kill(dead, signal.SIGKILL)

    async def look() -> list[Reply]:
        deadline = time.monotonic() + WHOLE_WITHIN
        while "desk.not_started" not in cloud.log.read_text():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        return [await status(sold, "/livez"), await status(sold, "/readyz"), await take_seat(sold)]

    live, ready, refused = asyncio.run(look())
    made_anew = key.exists()
    away.rename(key)
    asyncio.run(whole_again(cloud, sold, dead))
    served = asyncio.run(take_seat(sold))

    assert [live.status, ready.status, refused.status, served.status] == [200, 503, 503, 201]
    assert (refused.document["errorCode"], refused.retry_after) == ("storage.unavailable", 1)
    assert "seal.key is missing" in cloud.log.read_text()
    assert not made_anew


def test_a_killed_server_leaves_no_desk_behind(cloud: CloudServer) -> None:
    """It ends with its front, at once and under load, and the next server on the same data is served by its own."""
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
    old = desk_of(cloud)

    async def kill_under_load() -> None:
        lives = [asyncio.create_task(program.live(asyncio.Event())) for program in make_programs(sold)]
        await asyncio.sleep(0.3)
        cloud.kill()
        await asyncio.gather(*lives, return_exceptions=True)

    asyncio.run(kill_under_load())
    cloud.start()
    new, deadline = desk_of(cloud), time.monotonic() + WHOLE_WITHIN
    while Path(f"/proc/{old}").exists():
        assert time.monotonic() < deadline, "the old desk lives on"
        time.sleep(0.02)

    assert new not in (0, old)
    assert records.counted(cloud.data, sold.entitlement).fits
    assert asyncio.run(take_seat(sold)).status in {200, 201, 402}
