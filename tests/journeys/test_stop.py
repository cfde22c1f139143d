"""Stopping and not starting: SIGTERM answers what is under way; data in use or of a newer schema is refused in a sentence."""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.journeys import records
from tests.journeys.wire import Caller, Reply
from tests.support.servers import CloudServer, Sold, children_of, seatkeeper

UNDER_WAY = 8


@contextmanager
def writing_stopped(data: Path) -> Iterator[None]:
    """Hold the database's write lock, so that whatever the server decides has to wait."""
    with closing(sqlite3.connect(data / "seatkeeper.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


async def stop_amid(cloud: CloudServer, sold: Sold, stop: Callable[[], int]) -> tuple[list[Reply], int]:
    """Have calls under way when the server is told to stop; give their answers, and the server's exit code."""
    callers = [Caller(sold, f"program-{number}") for number in range(UNDER_WAY)]
    bystander = Caller(sold, "bystander")
    body = {"productId": sold.product, "activationCode": sold.code}
    with writing_stopped(cloud.data):
        for caller in callers:
            await caller.send("POST", "/api/v1/activate", {**body, "seatId": caller.seat_id})
        for _ in range(2):  # once this is answered, what was sent before has been read
            assert (await bystander.call("GET", "/livez")).status == 200
        code = asyncio.create_task(asyncio.to_thread(stop))
        while await is_listening(cloud.port):  # noqa: ASYNC110  it is another process that changes
            await asyncio.sleep(0.02)
    replies = await asyncio.gather(*(caller.answer() for caller in callers))
    for caller in [*callers, bystander]:
        caller.hang_up()
    return replies, await code


async def is_listening(port: int) -> bool:
    """Tell whether somebody takes connections."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def test_what_is_under_way_is_answered_before_the_server_stops(cloud: CloudServer) -> None:
    """After SIGTERM no connection is taken, every call under way is answered, and the exit code is 0."""
    sold = cloud.sell("acme", "solver", seats=UNDER_WAY, lease="10m")

    replies, code = asyncio.run(stop_amid(cloud, sold, cloud.stop))

    assert [reply.status for reply in replies] == [201] * UNDER_WAY
    assert code == 0
    assert records.counted(cloud.data, sold.entitlement) == records.Counted(UNDER_WAY, UNDER_WAY, UNDER_WAY)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_its_processes_ends_a_server_as_well(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in a terminal, or a service manager, tells the desk's process too: what is under way is answered all the same."""
    if shutil.which("setsid") is None:
        pytest.skip("setsid is missing (Debian: util-linux)")
    with CloudServer(tmp_path / "data", wrapper=["setsid"], environment={"SEATKEEPER_DESK_PROCESS": "true"}) as cloud:
        sold = cloud.sell("acme", "solver", seats=UNDER_WAY, lease="10m")
        desks = children_of(cloud.pid)

        def stop() -> int:
            os.killpg(cloud.pid, number)
            return cloud.stop()

        replies, code = asyncio.run(stop_amid(cloud, sold, stop))

    assert len(desks) == 1
    assert [reply.status for reply in replies] == [201] * UNDER_WAY
    assert code == 0
    assert "Traceback" not in cloud.log.read_text()


def test_data_in_use_is_refused(cloud: CloudServer) -> None:
    """A second server on the same data says who has it and what to do, and ends."""
    done = seatkeeper("cloud", "--data", cloud.data, "--port", "0")

    assert done.returncode == 3
    assert f"(process {cloud.pid})" in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_of_a_dead_server_is_not_in_use(cloud: CloudServer) -> None:
    """The lock goes with the process: after SIGKILL the next server starts."""
    cloud.kill()
    cloud.start()

    assert cloud.start_line.startswith("seatkeeper cloud:")


def test_a_newer_schema_is_refused(cloud: CloudServer) -> None:
    """A server older than its data says so and ends; nothing is touched."""
    assert cloud.stop() == 0
    with closing(sqlite3.connect(cloud.data / "seatkeeper.db", isolation_level=None)) as database:
        database.execute("INSERT INTO migration VALUES (9999, 'from_the_future', 0)")
    done = seatkeeper("cloud", "--data", cloud.data, "--port", "0")
    beside = cloud.verb("ls")

    assert (done.returncode, beside.returncode) == (3, 3)
    assert "upgrade this Seatkeeper" in done.stderr
    assert "Traceback" not in done.stderr + beside.stderr


def test_a_taken_port_is_refused(cloud: CloudServer, tmp_path: Path) -> None:
    """A server that can't listen says which option to change, and ends."""
    done = seatkeeper("cloud", "--data", tmp_path / "other", "--port", str(cloud.port))

    assert done.returncode == 3
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
