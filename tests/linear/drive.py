"""Puts a crowd of programs on real servers, and gives the history of what they saw.

    result = drive(Plan(operations=20_000), Path("build/linear"))
    verdict = check(result.history)

Servers are processes of their own. Several of them share one database, which the caller brings along (`Database`); without,
there is one server, on SQLite.
"""

import asyncio
import gc
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import uvloop

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.trust import Trust
from tests.linear.history import SECOND, Feature, History, Kind, Operation, Outcome, Rules
from tests.linear.programs import Habits, Record, crowd
from tests.support.servers import CloudServer, Sold, seatkeeper

BEAT = 2.0  # seconds
MARGIN = 3 * BEAT
RENDER, PAGES = 40, 2_000
_TICKS = os.sysconf("SC_CLK_TCK")


class Database(Protocol):
    """A database that several servers share, and that can be killed under them."""

    @property
    def url(self) -> str:
        """What servers are told to connect to."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL."""
        ...

    def start(self) -> None:
        """Start it again on the same data, and wait until it can be connected to."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to happen. Times in seconds; `kills` is how often a server is killed in between and stays away, `database_kills`
    how often the database is.
    """

    operations: int = 1_000_000
    clients: int = 200
    seats: int = 100
    lease: int = 3
    linger: int = 0
    servers: int = 1
    kills: int = 0
    database_kills: int = 0
    away: tuple[float, float] = (0.0, 0.5)
    seed: int = 1
    at_most: float = 3600.0
    uncertainty: float = 0.002
    lag: float = 0.0
    habits: Habits = field(default_factory=Habits)

    def with_kills(self, servers: int, database: int = 0) -> "Plan":
        """Give the same plan with servers, and their database, killed so often.

        Each life of a server reads the wall clock anew, so moments are known less exactly. Nobody uses a seat in twos: what
        became of a call that the other one overtook could not be told afterwards.
        """
        habits = replace(self.habits, pairs=0.0)
        return replace(self, kills=servers, database_kills=database, uncertainty=0.02, habits=habits)


@dataclass(frozen=True)
class Result:
    """What happened: the history, and what it cost."""

    history: History
    record: Record
    seconds: float
    cpu_seconds: float
    peak_mb: float
    logged: Mapping[str, int]


@dataclass
class House:
    """The servers, and what was sold on them."""

    servers: list[CloudServer]
    environment: dict[str, str]

    @property
    def ports(self) -> list[int]:
        """Where they listen."""
        return [server.port for server in self.servers]

    def ask(self, *arguments: str) -> str:
        """Run a verb beside them, which must succeed, and give what it printed."""
        done = seatkeeper(*arguments, "--data", self.servers[0].data, **self.environment)
        assert done.returncode == 0, f"seatkeeper {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def sell(self, plan: Plan) -> Sold:
        """Sell what the programs fight for."""
        terms = [f"--seats={plan.seats}", f"--lease={plan.lease}s", f"--linger={plan.linger}s"]
        features = [f"--feature=render=elementPool:{RENDER}", f"--feature=pages=usageCount:{PAGES}"]
        told = json.loads(self.ask("sell", "acme", "solver", *terms, *features, "--json"))
        return Sold(
            tenant=told["tenantId"],
            product=told["productId"],
            entitlement=told["entitlementId"],
            code=told["activationCode"],
            public_key=told["publicKey"],
            server=self.servers[0].url,
        )

    def downtimes(self) -> list[Operation]:
        """Read when the servers gave time back, and how much."""
        found = []
        for line in self.ask("log", "--json", "--limit", "1000000").splitlines():
            fact = json.loads(line)
            if fact["kind"] == "Note" and fact["data"].get("what") == "downtime":
                at = round(datetime.fromisoformat(fact["at"]).timestamp() * SECOND)
                gap = round(fact["data"]["data"]["seconds"] * SECOND)
                found.append(Operation(client=-1, kind=Kind.DOWNTIME, sent=at, answered=at, outcome=Outcome.DONE, amount=gap))
        return found

    def logged(self) -> Counter[str]:
        """Count what the servers warned of."""
        events: Counter[str] = Counter()
        for server in self.servers:
            for line in server.log.read_text().splitlines():
                with suppress(ValueError):
                    said = json.loads(line)
                    if said.get("level") in ("warning", "error", "critical"):
                        events[said["event"]] += 1
        return events


@contextmanager
def house(plan: Plan, place: Path, database: Database | None) -> Iterator[House]:
    """Start the servers; they end with the block. Those of one database need the same sealing key."""
    environment = {}
    if database is not None:
        environment = {"SEATKEEPER_DATABASE": database.url, "SEATKEEPER_SEAL_KEY_FILE": str(place / "seal.key")}
    with ExitStack() as opened:
        servers = [
            opened.enter_context(CloudServer(place / f"server-{number}", environment=environment))
            for number in range(plan.servers)
        ]
        yield House(servers, environment)


def drive(plan: Plan, place: Path, database: Database | None = None) -> Result:
    """Let the programs live on servers of their own until the plan's calls are made.

    Raises:
        ValueError: several servers were asked for, and no database that they could share.
    """
    if database is None and (plan.servers > 1 or plan.database_kills):
        raise ValueError("several servers need a database that they share: name a PostgreSQL")
    place.mkdir(parents=True, exist_ok=True)
    with house(plan, place, database) as there:
        sold = there.sell(plan)
        record = Record(_trust(sold), clock_offset())
        cpu, began = _Cpu(there), time.monotonic()
        with _uncollected(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(plan, there, sold, record, cpu, database))
        seconds = time.monotonic() - began
        operations = record.operations + there.downtimes()
        history = History(rules=rules_of(plan), operations=operations)
        return Result(history, record, seconds, cpu.seconds(), cpu.peak_mb(), there.logged())


def rules_of(plan: Plan) -> Rules:
    """Give the rules that were sold."""
    return Rules(
        seats=plan.seats,
        lease=plan.lease * SECOND,
        margin=round(MARGIN * SECOND),
        linger=plan.linger * SECOND,
        beat=round(BEAT * SECOND),
        features={"render": Feature(RENDER, returnable=True), "pages": Feature(PAGES, returnable=False)},
        uncertainty=round(plan.uncertainty * SECOND),
        lag=round(plan.lag * SECOND),
    )


async def _live(plan: Plan, there: House, sold: Sold, record: Record, cpu: "_Cpu", database: Database | None) -> None:
    ends = time.monotonic() + plan.at_most

    def is_over() -> bool:
        return len(record.operations) >= plan.operations or time.monotonic() > ends

    async def kill(victim: CloudServer | Database, number: int, kills: int) -> None:
        """Kill somebody when his share of the calls is made, and start him again."""
        while len(record.operations) < plan.operations * number // (kills + 1):
            if is_over():
                return
            await asyncio.sleep(chance.uniform(0, 0.05))
        if isinstance(victim, CloudServer):
            cpu.leave(victim)
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(chance.uniform(*plan.away))
        await asyncio.to_thread(victim.start)

    async def kill_now_and_then() -> None:
        victims: list[CloudServer | Database] = [chance.choice(there.servers) for _ in range(plan.kills)]
        victims += [database] * plan.database_kills if database is not None else []
        chance.shuffle(victims)
        for number, victim in enumerate(victims, start=1):
            await kill(victim, number, len(victims))

    chance = random.Random(f"{plan.seed}-kills")
    async with asyncio.TaskGroup() as lives:
        lives.create_task(kill_now_and_then())
        for program in crowd(plan.clients, sold, there.ports, record, plan.habits, plan.seed, is_over):
            lives.create_task(program.live())


class _Cpu:
    """What the servers cost: processor time of all their lives, and the most memory that one of them took."""

    def __init__(self, there: House) -> None:
        self._there = there
        self._before = 0.0
        self._peak = 0.0
        self._since = {server.pid: _cpu_of(server.pid) for server in there.servers}

    def leave(self, server: CloudServer) -> None:
        """A server is about to be killed."""
        self._before += _cpu_of(server.pid) - self._since.pop(server.pid, 0.0)
        self._peak = max(self._peak, _peak_of(server.pid))

    def seconds(self) -> float:
        """Give the processor time so far."""
        return self._before + sum(_cpu_of(s.pid) - self._since.get(s.pid, 0.0) for s in self._there.servers)

    def peak_mb(self) -> float:
        """Give the most memory that a server has taken, in megabytes."""
        return max(self._peak, *(_peak_of(server.pid) for server in self._there.servers))


def _cpu_of(pid: int) -> float:
    """Give the processor time of a server, and of what it started, in seconds."""
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in family_of(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def _peak_of(pid: int) -> float:
    return sum(megabytes(each, "VmHWM") for each in family_of(pid))


def megabytes(pid: int, what: str) -> float:
    """Give what a process's status says of its memory (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(what))


def family_of(pid: int) -> list[int]:
    """Give a process and those that it started, which live."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [pid, *(int(child) for task in tasks for child in (task / "children").read_text().split())]


def _trust(sold: Sold) -> Trust:
    return Trust((envelopes.read_public_key(sold.public_key),))


def clock_offset() -> int:
    """Give by how many microseconds the wall clock is ahead of the monotonic one: of some readings, the quickest."""
    readings = []
    for _ in range(100):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1] // 1000


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have no garbage collected meanwhile: a million calls are no garbage, and looking through them would stop every client."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
