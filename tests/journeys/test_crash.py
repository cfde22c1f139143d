"""The server is killed again and again under load: nothing acknowledged is lost, nothing is granted twice.

Each round: some programs take, refresh and give back seats until the server dies under them, at a moment drawn from a seed.
Then it is started again on the same data, and every program finds out what became of it. SIGKILL alone doesn't show that
anything reached the disk (the operating system lives on): that is shown by `test_durability.py`.
"""

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from time import perf_counter

import pytest

from tests.journeys import records
from tests.journeys.wire import Broken, Caller, Reply
from tests.support.servers import CloudServer, Sold

PROGRAMS = 16
SEATS = 10
SEED = 20_260_601


class Asked(Enum):
    """What a program asked for and was not answered."""

    NOTHING = "nothing"
    SEAT = "a seat"
    RETURN = "to give its seat back"


@dataclass
class Program:
    """One program with what it knows: its token once acknowledged, and what it was not answered."""

    caller: Caller
    chance: random.Random
    token: str | None = None
    asked: Asked = Asked.NOTHING
    nonce: str = ""
    answers: int = 0
    torn: int = 0  # answers of which only a part arrived
    lost: list[Reply] = field(default_factory=list)

    async def live(self) -> None:
        """Take, refresh and give back, until the server dies."""
        try:
            while True:
                await (self._take() if self.token is None else self._use(self.token))
        except Broken as broken:
            self.torn += broken.torn
        finally:
            self.caller.hang_up()

    async def find_out(self) -> None:
        """Ask the restarted server what became of the seat: one that was acknowledged must still be held."""
        if self.token is not None:
            reply = await self.caller.refresh(self.token)
            if reply.status != 200:
                if self.asked is Asked.NOTHING:
                    self.lost.append(reply)
                self.token = None
        elif self.asked is Asked.SEAT:
            await self._ask()
        self.asked = Asked.NOTHING

    async def _take(self) -> None:
        self.nonce = f"{self.chance.getrandbits(128):032x}"
        self.asked = Asked.SEAT
        await self._ask()

    async def _ask(self) -> None:
        reply = await self.caller.activate(self.nonce)
        self.asked, self.answers = Asked.NOTHING, self.answers + 1
        if reply.status != 402:
            assert reply.status in {200, 201}, reply
            self.token = reply.token

    async def _use(self, token: str) -> None:
        if self.chance.random() < 0.5:
            reply = await self.caller.refresh(token)
            assert reply.status == 200, reply
        else:
            self.asked = Asked.RETURN
            reply = await self.caller.give_back(token)
            assert reply.status == 204, reply
            self.token, self.asked = None, Asked.NOTHING
        self.answers += 1


async def die_under_load(cloud: CloudServer, programs: list[Program], after: float) -> None:
    """Let the programs live, and kill the server after so many seconds."""
    lives = asyncio.gather(*(program.live() for program in programs))
    await asyncio.sleep(after)
    cloud.kill()
    await lives


async def examine(programs: list[Program]) -> None:
    """Have every program find out what became of its seat."""
    for program in programs:
        await program.find_out()
        program.caller.hang_up()


def make_programs(sold: Sold) -> list[Program]:
    """Give programs, each with a seed of its own."""
    return [Program(Caller(sold, f"program-{number}"), chance=random.Random(f"{SEED}-{number}")) for number in range(PROGRAMS)]


@pytest.mark.timeout(3600)
def test_no_acknowledged_seat_is_lost_and_none_granted_twice(cloud: CloudServer, request: pytest.FixtureRequest) -> None:
    """After each of many SIGKILLs under load, what was acknowledged is held, and the limit is kept."""
    kills: int = request.config.getoption("kills", default=60)
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
    programs, chance, restarts = make_programs(sold), random.Random(SEED), []

    for _ in range(kills):
        asyncio.run(die_under_load(cloud, programs, after=chance.uniform(0.02, 0.5)))
        began = perf_counter()
        cloud.start()
        restarts.append(perf_counter() - began)
        counted = records.counted(cloud.data, sold.entitlement)
        asyncio.run(examine(programs))

        assert [reply for program in programs for reply in program.lost] == []
        assert sum(program.torn for program in programs) == 0
        assert counted.fits, counted
        assert sum(program.token is not None for program in programs) <= SEATS

    assert sum(program.answers for program in programs) > 20 * kills, "there was no load to speak of"
    assert records.fullest(cloud.data, sold.entitlement) == SEATS
    assert cloud.ask_json("verify")["holds"]
    print(f"{kills} kills, up again after {median(restarts):.2f} s (median), {max(restarts):.2f} s (longest)")
