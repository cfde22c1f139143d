"""Backups, restores and moves with real servers and real programs: who has a seat keeps it, and nobody gets one too many."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.journeys.wire import Caller, Reply
from tests.support.postgres import Clusters, servers
from tests.support.servers import BIN, CloudServer, Sold, clean_environment, seatkeeper

SEATS = 3
CROWD = 24
PROGRAM = "import time; print('working', flush=True); time.sleep(600)"


class Program(Caller):
    """A program that shows its last lease with every refresh, as the SDK does."""

    def __init__(self, sold: Sold, seat_id: str) -> None:
        super().__init__(sold, seat_id)
        self.token = ""
        self.lease: str | None = None
        self.refreshes = 0

    async def take(self) -> Reply:
        """Ask for a seat."""
        return self._remembered(await self.activate(f"nonce-of-program-{self.seat_id}"))

    async def keep(self) -> Reply:
        """Refresh it."""
        self.refreshes += 1
        body = {"clientNonce": f"nonce-number-{self.refreshes}-of-{self.seat_id}", "lastLease": self.lease}
        return self._remembered(await self.call("PATCH", "/api/v1/activation/refresh", body, self.token))

    def _remembered(self, reply: Reply) -> Reply:
        if reply.status in {200, 201}:
            self.token, self.lease = reply.token, reply.document["lease"]
        return reply


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the vendor's data lie."""
    return tmp_path / "data"


async def crowd(sold: Sold, over: asyncio.Event) -> int:
    """Take, refresh and give back seats until told to stop; how many answers there were."""

    async def live(number: int) -> int:
        program, answers = Program(sold, f"crowd-{number}"), 0
        while not over.is_set():
            assert (await program.take()).status in {200, 201}
            assert (await program.keep()).status == 200
            assert (await program.give_back(program.token)).status == 204
            answers += 3
        program.hang_up()
        return answers

    return sum(await asyncio.gather(*(live(number) for number in range(CROWD))))


async def backed_up(cloud: CloudServer, sold: Sold, file: Path) -> tuple[int, int]:
    """Make backups while the crowd is at work: the last one's exit code, and how much was answered meanwhile."""
    over = asyncio.Event()
    load = asyncio.create_task(crowd(sold, over))
    code = 0
    for _ in range(3):
        done = await asyncio.to_thread(cloud.verb, "backup", str(file), "--force")
        code = code or done.returncode
    over.set()
    return code, await load


async def test_restored_after_a_crash_every_program_keeps_its_seat(data: Path, tmp_path: Path) -> None:
    """Backed up under load, killed, restored elsewhere, served at the same address: also who came since keeps his seat.

    In whatever order they call; and when all have, one more is refused.
    """
    file, restored = tmp_path / "vendor.tar", tmp_path / "restored"
    with CloudServer(data) as cloud:
        sold = await asyncio.to_thread(lambda: cloud.sell("acme", "solver", seats=SEATS, lease="10m"))
        busy = await asyncio.to_thread(lambda: cloud.sell("bolt", "mesher", seats=CROWD, lease="10m"))
        early = Program(sold, "early")
        assert (await early.take()).status == 201
        code, answers = await backed_up(cloud, busy, file)
        late = [Program(sold, f"late-{number}") for number in range(2)]
        for program in (*late, early, early, *late):
            assert (await (program.keep() if program.token else program.take())).status in {200, 201}
        programs = [early, *late]
        before = [_claims(program.lease)["seq"] for program in programs]
        cloud.kill()
        told = await asyncio.to_thread(seatkeeper, "restore", file, "--data", restored)
        (restored / "seal.key").write_bytes((data / "seal.key").read_bytes())
        for program in programs:
            program.hang_up()

        with CloudServer(restored, port=cloud.port) as after:
            kept = [await program.keep() for program in reversed(programs)]
            newcomer = Program(sold, "newcomer")
            refused = await newcomer.take()
            again = [await program.keep() for program in programs]
            (pool,) = await asyncio.to_thread(after.ask_json, "seats", sold.entitlement)
            verified = await asyncio.to_thread(after.ask_json, "verify")
            log = await asyncio.to_thread(after.ask, "log", "--json")
            for program in (*programs, newcomer):
                program.hang_up()

    assert (code, told.returncode) == (0, 0), told.stderr
    assert answers > CROWD, "there was no load to speak of"
    assert [reply.status for reply in [*kept, *again]] == [200] * 6
    assert (refused.status, refused.document["errorCode"]) == (402, "seats.exhausted")
    assert (pool["held"], pool["free"]) == (SEATS, 0)
    assert all(_claims(program.lease)["seq"] > number for program, number in zip(programs, before, strict=True))
    assert {_claims(program.lease)["epo"] for program in programs} == {2}
    assert verified["holds"]
    kinds = [json.loads(line)["kind"] for line in log.splitlines()]
    assert kinds.count("Restored") == 3
    assert "CloneSuspected" not in kinds


def _claims(lease: str | None) -> dict[str, int]:
    """Read a lease's claims; whether it is genuine is not the question here."""
    from seatkeeper.protocol.envelopes import peek

    assert lease is not None
    claims: dict[str, int] = json.loads(peek(lease))
    return claims


# --- programs that know nothing of it ------------------------------------------------------------------------------


def environment(sold: Sold, home: Path, user: str, **more: str) -> dict[str, str]:
    """Give the environment of one of the customer's users."""
    state = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "SEATKEEPER_STATE_DIR": f"{home}/state"}
    return clean_environment(**sold.environment, **state, USER=user, LOGNAME=user, **more)


@contextmanager
def working(sold: Sold, home: Path, user: str) -> Iterator["subprocess.Popen[str]"]:
    """Have a program work under `seat run`; it is killed at the end if it still runs."""
    process = subprocess.Popen(
        [BIN / "seat", "run", "--", sys.executable, "-c", PROGRAM],
        env=environment(sold, home, user),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def refreshed(cloud: CloudServer, sold: Sold, since: datetime, users: set[str]) -> set[str]:
    """Wait until each of these users has refreshed his seat since a moment; who has."""
    now: set[str] = set()
    for _ in range(100):
        (pool,) = cloud.ask_json("seats", sold.entitlement)
        now = {one["user"] for one in pool["holders"] if datetime.fromisoformat(one["refreshedAt"]) > since}
        if users <= now:
            break
    return now


@pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with")
@pytest.mark.timeout(180)
def test_moved_to_postgresql_programs_go_on(data: Path, tmp_path: Path, clusters: Clusters) -> None:
    """Who runs goes on where the server comes back at its address; who starts anew needs nothing but the new URL."""
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as opened:
        url = opened.enter_context(clusters[next(iter(servers()))].empty())
        cloud = opened.enter_context(CloudServer(data))
        sold = cloud.sell("acme", "solver", seats=2, lease="15s")
        opened.enter_context(working(sold, home, "ada"))
        bob = opened.enter_context(working(sold, home, "bob"))
        cloud.stop()
        moved = seatkeeper("migrate", "--to", url, "--data", data)
        old = seatkeeper("cloud", "--port", "0", "--data", data)

        since = datetime.now(UTC)
        there = opened.enter_context(CloudServer(data, database=url, port=cloud.port))
        went_on = refreshed(there, sold, since, {"ada", "bob"})
        os.killpg(bob.pid, signal.SIGKILL)
        beside = opened.enter_context(CloudServer(data, database=url))
        again = subprocess.run(
            [BIN / "seat", "run", "--", "echo", "works"],
            env={**environment(sold, home, "bob"), "SEATKEEPER_SERVER": beside.url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        verified = beside.ask_json("verify")
        kinds = [json.loads(line)["kind"] for line in beside.ask("log", "--json").splitlines()]

    assert (moved.returncode, old.returncode) == (0, 3), moved.stderr
    assert "were moved to PostgreSQL" in old.stderr
    assert went_on == {"ada", "bob"}
    assert (again.returncode, again.stdout) == (0, "works\n"), again.stderr
    assert verified["holds"]
    assert kinds.count("Claimed") == 2
    assert "Resumed" in kinds
