"""A full disk and a failing disk: 503 that says so, nothing acknowledged that isn't kept, recovery without a restart."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys import records
from tests.journeys.wire import Caller, Reply
from tests.support.disks import fill, small_disk
from tests.support.servers import CloudServer, Sold, children_of

SEATS = 5_000
DISK = "3m"
MOST = 3_000  # calls until a disk of that size must be full


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a small disk of its own; skip where none can be mounted."""
    with small_disk(tmp_path / "disk", DISK) as disk:
        yield disk


class Crowd:
    """Programs that take a seat each; one that was refused knows how to ask again for the very same."""

    def __init__(self, sold: Sold) -> None:
        self._sold = sold
        self.tokens: dict[int, str] = {}
        self.asked = 0

    async def take(self, number: int | None = None) -> Reply:
        """Have the next program, or an earlier one once more, ask for its seat."""
        if number is None:
            number, self.asked = self.asked, self.asked + 1
        caller = Caller(self._sold, f"program-{number}")
        reply = await caller.activate(client_nonce=f"nonce-of-program-{number}")
        caller.hang_up()
        if reply.status in {200, 201}:
            self.tokens[number] = reply.token
        return reply

    async def take_until_refused(self) -> Reply:
        """Have new programs ask until one gets no seat."""
        for _ in range(MOST):
            reply = await self.take()
            if reply.status != 201:
                return reply
        raise AssertionError(f"{MOST} seats and the disk is still not full")

    async def refresh(self, number: int) -> Reply:
        """Have a program keep its seat."""
        caller = Caller(self._sold, f"program-{number}")
        reply = await caller.refresh(self.tokens[number])
        caller.hang_up()
        return reply

    async def repeat_all(self) -> set[int]:
        """Have every program that has no seat ask again; give the statuses."""
        return {(await self.take(number)).status for number in range(self.asked) if number not in self.tokens}

    async def refresh_all(self) -> set[int]:
        """Have every program keep its seat; give the statuses."""
        return {(await self.refresh(number)).status for number in self.tokens}


def test_a_full_disk_is_told_and_nothing_is_lost(disk: Path) -> None:
    """503 storage.full while nothing fits; all that was acknowledged is kept; it serves again when space returns."""
    with CloudServer(disk) as cloud:
        sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
        crowd = Crowd(sold)
        assert asyncio.run(crowd.take()).status == 201
        filler = fill(disk)
        refused = asyncio.run(crowd.take_until_refused())
        acknowledged = len(crowd.tokens)
        filler.unlink()

        assert (refused.status, refused.document["errorCode"]) == (503, "storage.full")
        assert asyncio.run(crowd.refresh_all()) == {200}
        assert records.counted(cloud.data, sold.entitlement) == records.Counted(acknowledged, acknowledged, SEATS)
        assert asyncio.run(crowd.repeat_all()) == {201}
        assert cloud.ask_json("verify")["holds"]


def test_a_disk_that_fills_up_by_itself(disk: Path) -> None:
    """The same when it is the seats that fill it; after a kill what was acknowledged is still there."""
    with CloudServer(disk) as cloud:
        sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
        filler = disk / "filler"
        filler.write_bytes(bytes(1_500_000))
        crowd = Crowd(sold)
        refused = asyncio.run(crowd.take_until_refused())
        cloud.kill()
        filler.unlink()
        cloud.start()

        assert (refused.status, refused.document["errorCode"]) == (503, "storage.full")
        assert asyncio.run(crowd.refresh_all()) == {200}
        assert records.counted(cloud.data, sold.entitlement).fits
        assert cloud.ask_json("verify")["holds"]


@contextmanager
def syncs_failing(pid: int, folder: Path) -> Iterator[None]:
    """Have every sync of a running process fail with EIO."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing (Debian: strace)")
    told = folder / "strace.err"
    with told.open("w") as stderr:
        options = ["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
        whole = [pid, *children_of(pid)]
        tracer = subprocess.Popen(["strace", *options, *(part for each in whole for part in ("-p", str(each)))], stderr=stderr)
    try:
        while not all(f"Process {each} attached" in told.read_text() for each in whole):
            if tracer.poll() is not None:
                pytest.skip(f"strace is not allowed here: {told.read_text().strip()}")
            os.sched_yield()
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)  # it lets go of the process
            tracer.wait(20)


def test_a_failing_sync_is_told_and_is_overcome(cloud: CloudServer, tmp_path: Path) -> None:
    """503 storage.unavailable while syncs fail; then it serves again, and every program has its one seat."""
    sold = cloud.sell("acme", "solver", seats=SEATS, lease="10m")
    crowd = Crowd(sold)
    assert asyncio.run(crowd.take()).status == 201
    with syncs_failing(cloud.pid, tmp_path):
        failed = [asyncio.run(crowd.take()) for _ in range(5)]
        refresh = asyncio.run(crowd.refresh(0))

    assert {(reply.status, reply.document["errorCode"]) for reply in [*failed, refresh]} == {(503, "storage.unavailable")}
    assert asyncio.run(crowd.refresh_all()) == {200}
    assert asyncio.run(crowd.repeat_all()) <= {200, 201}
    assert records.counted(cloud.data, sold.entitlement) == records.Counted(crowd.asked, crowd.asked, SEATS)
    assert cloud.ask_json("verify")["holds"]
