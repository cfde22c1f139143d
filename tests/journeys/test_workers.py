"""`seatkeeper cloud --workers N`: several processes on one socket, kept up by their parent."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.docs.authority import write_certificates
from tests.journeys.wire import Broken, Caller
from tests.support.postgres import Clusters, servers
from tests.support.servers import CloudServer, Sold, children_of, clean_environment, seatkeeper

needs_postgres = pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with")

WORKERS = 3
PATIENCE = 20.0  # seconds


@pytest.fixture
def crew(clusters: Clusters, tmp_path: Path) -> Iterator[CloudServer]:
    """Give a server of three workers on an empty database."""
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(tmp_path / "data", database=url, options=("--workers", str(WORKERS))) as server,
    ):
        yield server


def awaited(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; whether it did in time."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def get(server: CloudServer, path: str) -> str:
    """Ask on a connection of its own."""
    with urllib.request.urlopen(server.url + path, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


async def kept_up(sold: Sold, name: str, over: asyncio.Event) -> tuple[int, list[int]]:
    """Refresh a seat again and again, on a new connection where one breaks: how often, and the statuses that were no 200."""
    caller, refreshed, odd = Caller(sold, name), 0, []
    token = (await caller.activate()).token
    while not over.is_set():
        try:
            reply = await caller.refresh(token)
        except Broken:
            continue
        refreshed += 1
        odd += [reply.status] if reply.status != 200 else []
        await asyncio.sleep(0.005)
    caller.hang_up()
    return refreshed, odd


@needs_postgres
@pytest.mark.anyio
async def test_a_worker_is_killed_and_everybody_is_answered(crew: CloudServer) -> None:
    """Its programs connect again, to others or its successor; nobody is told anything but 200, and no seat is lost."""
    sold = await asyncio.to_thread(crew.sell, "acme", "solver", seats=24)
    before, over = children_of(crew.pid), asyncio.Event()
    programs = [asyncio.create_task(kept_up(sold, f"program-{number}", over)) for number in range(24)]
    await asyncio.sleep(1)
    os.kill(before[0], signal.SIGKILL)
    replaced = await asyncio.to_thread(
        awaited, lambda: len(children_of(crew.pid)) == WORKERS and before[0] not in children_of(crew.pid)
    )
    await asyncio.sleep(1)
    over.set()
    done = await asyncio.gather(*programs)

    assert replaced
    assert [odd for _, odd in done if odd] == []
    assert all(refreshed for refreshed, _ in done)
    assert crew.ask_json("ls")[0]["used"] == 24
    assert crew.ask_json("verify")["holds"]


def sockets(pid: int) -> int:
    """Give how many sockets a process has open."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sum(link.startswith("socket:") for link in links)


@needs_postgres
def test_connections_are_shared_out(crew: CloudServer) -> None:
    """Programs that all come at once do not end up at one worker: none has many more than another."""
    workers = children_of(crew.pid)
    before = [sockets(pid) for pid in workers]
    with ExitStack() as opened:
        for _ in range(90):
            opened.enter_context(socket.create_connection(("127.0.0.1", crew.port)))
        awaited(lambda: sum(map(sockets, workers)) - sum(before) >= 90)
        got = [sockets(pid) - had for pid, had in zip(workers, before, strict=True)]

    assert sum(got) >= 90
    assert min(got) >= 15


@needs_postgres
def test_workers_speak_tls(clusters: Clusters, tmp_path: Path) -> None:
    """Whichever takes the connection; who speaks no TLS harms nobody."""
    write_certificates(tmp_path)
    options = ("--workers", "2", "--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(tmp_path / "data", database=url, options=options) as server,
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n")
            said = b""
            with suppress(ConnectionError):
                said = plain.recv(1000)
        for _ in range(4):
            request = urllib.request.Request(f"https://localhost:{server.port}/livez")
            with urllib.request.urlopen(request, timeout=PATIENCE, context=trusted) as answer:
                assert json.loads(answer.read()) == {"status": "alive"}

    assert b"200" not in said


@needs_postgres
def test_any_worker_counts_for_all(crew: CloudServer) -> None:
    """However the connections fall to the workers, and although one is killed in between, /metrics gives the whole sum."""
    for _ in range(20):
        get(crew, "/livez")
    killed = children_of(crew.pid)[0]
    os.kill(killed, signal.SIGKILL)
    awaited(lambda: len(children_of(crew.pid)) == WORKERS and killed not in children_of(crew.pid))
    for _ in range(20):
        get(crew, "/livez")
    told = {float(found[1]) for found in (re.search(COUNT_OF_LIVEZ, get(crew, "/metrics")) for _ in range(8)) if found}

    assert told == {40.0}


COUNT_OF_LIVEZ = re.compile(r'^seatkeeper_request_seconds_count\{route="GET /livez",status="200"\} (\S+)$', re.MULTILINE)


@needs_postgres
def test_a_stop_ends_all_of_them(crew: CloudServer) -> None:
    """SIGTERM to the parent: exit code 0, and no worker is left."""
    workers = children_of(crew.pid)
    code = crew.stop()

    assert len(workers) == WORKERS
    assert code == 0
    assert all(is_gone(pid) for pid in workers)


@needs_postgres
def test_workers_do_not_outlive_their_parent(crew: CloudServer) -> None:
    """Killed, it can tell them nothing: they notice, and stop."""
    workers = children_of(crew.pid)
    crew.kill()

    assert awaited(lambda: all(is_gone(pid) for pid in workers))


def test_workers_that_never_serve_end_the_server() -> None:
    """It does not try for ever: it ends with an error that says where to look."""
    program = (
        "import socket\n"
        "from seatkeeper_server.apps import workers\n"
        "workers.FIRST_PAUSE = workers.LONGEST_PAUSE = 0.01\n"
        "def work(place, worker): raise OSError('no room')\n"
        "workers.Crew(2, work, stops_within=1).run(socket.create_server(('127.0.0.1', 0)), lambda: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode != 0
    assert "CannotServe: none of the workers stays up" in done.stderr
    assert "no room" in done.stdout + done.stderr


def test_sqlite_has_one_server(tmp_path: Path) -> None:
    """Several workers on SQLite are refused, with what it does instead."""
    refused = seatkeeper("cloud", "--workers", "2", "--data", tmp_path / "data")

    assert refused.returncode == 2
    assert "one process answers and another one decides" in refused.stderr
