"""Overload: several times as many newcomers as a server can serve, and whether those who hold a seat notice.

python -m tests.linear.overload                         five times the capacity for a minute, on 2,000 connections
python -m tests.linear.overload --connections 9000      more connections than the server allows

Holders refresh all the time: before, during and after the flood. Promised is that none of them is refused, that the server's
memory stays bounded, and that five seconds after the flood answers come as quickly as before.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from tests.linear.drive import family_of, megabytes
from tests.linear.wire import Line, Lost, Unreachable
from tests.support.servers import CloudServer, Sold

LEASE = 6  # seconds
EVERY = 0.5  # a holder refreshes
NORMAL = 3.0  # times the usual latency (or 20 ms) is normal still


@dataclass(frozen=True)
class Refreshed:
    """One refresh: when it was asked for, how long it took in seconds, and what came of it: a status, 0 for no answer. `anew`
    tells whether the program had to connect for it.
    """

    at: float
    took: float
    status: int
    anew: bool


@dataclass
class Report:
    """What holders and server went through. Moments are seconds of the monotonic clock."""

    capacity: float = 0.0  # newcomers answered a second, when there is no overload
    flood: dict[str, int] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    refreshes: list[Refreshed] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)  # moment, megabytes

    def during(self, since: float, until: float) -> list[Refreshed]:
        """Give the refreshes that were asked for in a time."""
        return [each for each in self.refreshes if since <= each.at < until]

    @property
    def refused(self) -> list[Refreshed]:
        """Refreshes of live seats that were not served."""
        return [each for each in self.refreshes if each.status != 200]

    @property
    def normal_after(self) -> int:
        """How many seconds after the flood most refreshes of a second were as quick as before again, and stayed so."""
        bound = max(NORMAL * median(each.took for each in self.during(0, self.began)), 0.02)
        last = max((each.at for each in self.refreshes), default=self.ended)
        seconds = [self.during(since, since + 1) for since in _steps(self.ended, last)]
        slow_ones = [number for number, each in enumerate(seconds, 1) if each and median(r.took for r in each) > bound]
        return max(slow_ones, default=0)

    def peak_mb(self, since: float, until: float) -> float:
        """Give the most memory that the server took in a time."""
        return max((mb for at, mb in self.memory if since <= at < until), default=0.0)


def slow(refreshes: Sequence[Refreshed]) -> float:
    """Give how long the slowest but one of a hundred took, in seconds."""
    took = [each.took for each in refreshes]
    return quantiles(took, n=100)[-1] if len(took) > 1 else 0.0


def _steps(since: float, until: float) -> Iterator[float]:
    """Give the seconds of a time."""
    while since < until:
        yield since
        since += 1


async def overload(
    server: CloudServer, sold: Sold, *, holders: int, connections: int, seconds: float, times: float, calm: float
) -> Report:
    """Have holders refresh, measure what the server can do, flood it, and watch it come to rest."""
    report = Report()
    tokens = [await _take(sold, server.port, number) for number in range(holders)]
    report.capacity = await _capacity(sold, server.port, min(3.0, calm))
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number, token in enumerate(tokens):
            tasks.create_task(_hold(sold, server.port, token, number, report, over.is_set))
        tasks.create_task(_weigh(server.pid, report, over.is_set))
        await asyncio.sleep(calm)
        report.began = time.monotonic()
        rate = times * report.capacity
        report.flood = await _flood(sold, server.port, rate=rate, connections=connections, seconds=seconds)
        report.ended = time.monotonic()
        await asyncio.sleep(max(calm, 10.0))
        over.set()
    return report


async def _capacity(sold: Sold, port: int, seconds: float) -> float:
    told = await _flood(sold, port, rate=0, connections=64, seconds=seconds)
    return sum(count for what, count in told.items() if what.isdigit()) / seconds


async def _flood(sold: Sold, port: int, *, rate: float, connections: int, seconds: float) -> dict[str, int]:
    options = [f"--rate={rate}", f"--connections={connections}", f"--seconds={seconds}"]
    flood = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.linear.flood", sold.tenant, sold.product, sold.code, str(port), *options],
        stdout=subprocess.PIPE,
    )
    told, _ = await flood.communicate()
    found: dict[str, int] = json.loads(told)
    return found


async def _take(sold: Sold, port: int, number: int) -> str:
    line = await Line.to(port)
    body = json.dumps({"productId": sold.product, "activationCode": sold.code, "seatId": f"holder-{number}"})
    head = f"POST /api/v1/activate HTTP/1.1\r\nhost: x\r\nn-tenantid: {sold.tenant}\r\ncontent-length: {len(body)}\r\n\r\n"
    reply = await line.ask((head + body).encode())
    line.hang_up()
    assert reply.status == 201, reply
    return str(json.loads(reply.body)["accessToken"])


async def _hold(sold: Sold, port: int, token: str, number: int, report: Report, is_over: Callable[[], bool]) -> None:
    """Refresh every half second, as one program does: what was not answered is asked again half a second later.

    Every second program connects anew each time, as scripts do.
    """
    head = "PATCH /api/v1/activation/refresh HTTP/1.1\r\nhost: x\r\n"
    request = f"{head}n-tenantid: {sold.tenant}\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    await asyncio.sleep(number % 10 / 10 * EVERY)
    line: Line | None = None
    while not is_over():
        began, status = time.monotonic(), 0
        anew = line is None or not line.is_open
        try:
            line = await Line.to(port) if line is None or anew else line
            status = (await line.ask(request, cut_after=LEASE)).status
        except (Lost, Unreachable):
            line = None
        if number % 2 and line is not None:
            line.hang_up()
        took = time.monotonic() - began
        report.refreshes.append(Refreshed(began, took, status, anew))
        await asyncio.sleep(max(0.0, EVERY - took))
    if line is not None:
        line.hang_up()


async def _weigh(pid: int, report: Report, is_over: Callable[[], bool]) -> None:
    while not is_over():
        report.memory.append((time.monotonic(), sum(megabytes(each, "VmRSS") for each in family_of(pid))))
        await asyncio.sleep(0.2)


def tell(report: Report) -> None:
    """Print what happened."""
    before, flooded = report.during(0, report.began), report.during(report.began, report.ended)
    after = report.during(report.ended, float("inf"))
    lasted = report.ended - report.began
    print(f"capacity: {report.capacity:.0f} newcomers a second; the flood: {report.flood['arrived'] / lasted:.0f} a second")
    print(f"what became of them: {report.flood}")
    for name, refreshes in (
        ("before", before),
        ("during, on connections kept", [each for each in flooded if not each.anew]),
        ("during, on new connections", [each for each in flooded if each.anew]),
        ("after", after),
    ):
        took = [each.took * 1e3 for each in refreshes] or [0.0]
        not_served = Counter(each.status for each in refreshes if each.status != 200)
        print(
            f"refreshes {name}: {len(refreshes)}, not served {dict(not_served) or 0},"
            f" {median(took):.1f} ms (median), {slow(refreshes) * 1e3:.1f} ms (of 100, 99), {max(took):.1f} ms (longest)"
        )
    peak, end = report.peak_mb(0, report.ended), report.memory[-1][1]
    print(f"memory: {report.peak_mb(0, report.began):.0f} MB before, {peak:.0f} MB at most, {end:.0f} MB at the end")
    print(f"back to normal {report.normal_after} s after the flood")


def main() -> int:
    """Flood and tell; 0 if what is promised holds."""
    parser = ArgumentParser(prog="python -m tests.linear.overload", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--holders", type=int, default=50)
    parser.add_argument("--connections", type=int, default=2000, help="of the newcomers")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=5.0, help="the capacity")
    parser.add_argument("--files", type=int, help="the most files the server may open; as here unless given")
    parser.add_argument("--place", type=Path, default=Path("build/overload"), help="where data and log go; emptied first")
    asked = parser.parse_args()
    shutil.rmtree(asked.place, ignore_errors=True)
    asked.place.mkdir(parents=True)
    wrapper = ["prlimit", f"--nofile={asked.files}"] if asked.files else []
    with CloudServer(asked.place / "server", wrapper=wrapper) as server:
        sold = server.sell("acme", "solver", seats=asked.holders, lease=f"{LEASE}s")
        report = asyncio.run(
            overload(
                server,
                sold,
                holders=asked.holders,
                connections=asked.connections,
                seconds=asked.seconds,
                times=asked.times,
                calm=10.0,
            )
        )
    tell(report)
    return 0 if not report.refused and report.normal_after <= 5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
