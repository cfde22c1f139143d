"""deploy/haproxy.cfg at work: two servers on one PostgreSQL behind a real HAProxy, of which any may be lost."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.docs.conftest import free_port
from tests.docs.pages import ROOT
from tests.journeys.wire import Caller
from tests.support.postgres import Clusters, servers
from tests.support.servers import CloudServer

READY_WITHIN = 20.0  # seconds; a server that comes back is asked every 2 seconds

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy"),
    pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with"),
]


@contextmanager
def balancing(folder: Path, one: CloudServer, two: CloudServer) -> Iterator[str]:
    """Run HAProxy by the configuration as it is, but for the addresses; give its URL."""
    port = free_port()
    config = (ROOT / "deploy" / "haproxy.cfg").read_text().replace("bind :6500", f"bind 127.0.0.1:{port}")
    for name, server in (("one", one), ("two", two)):
        config = config.replace(f"server {name} {name}:6500", f"server {name} 127.0.0.1:{server.port}")
    (folder / "haproxy.cfg").write_text(config)
    process = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answer(url: str, path: str) -> int:
    """Ask, and give the status; 0 if nobody answers."""
    try:
        with urlopen(f"{url}{path}", timeout=5) as reply:
            return int(reply.status)
    except URLError as error:
        return int(getattr(error, "code", 0))


@pytest.mark.anyio
async def test_programs_notice_nothing_when_a_server_is_lost(clusters: Clusters, tmp_path: Path) -> None:
    """Seats are taken and refreshed through it while one server is killed, comes back, and then the other is."""
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(tmp_path / "data", database=url) as one,
        CloudServer(tmp_path / "data", database=url) as two,
        balancing(tmp_path, one, two) as front,
    ):
        sold = replace(await asyncio.to_thread(one.sell, "acme", "solver", seats=8), server=front)
        until_ready(front)
        callers = [Caller(sold, f"program-{number}") for number in range(8)]
        replies = [await caller.activate() for caller in callers]
        statuses = [reply.status for reply in replies]
        for lost in (one, two):
            for turn in range(4):
                if turn == 1:
                    lost.kill()
                for at, caller in enumerate(callers):
                    replies[at] = await caller.refresh(replies[at].token)
                    statuses.append(replies[at].status)
            if lost is one:
                one.start()
                await asyncio.sleep(5)  # until it has been asked and found ready
        for caller in callers:
            caller.hang_up()
        holds = two.ask_json("verify")["holds"]

    assert statuses == [201] * 8 + [200] * 64
    assert holds


def test_it_keeps_metrics_to_the_inside_and_is_ready_when_a_server_is(clusters: Clusters, tmp_path: Path) -> None:
    """/metrics is for who asks a server itself; without a server that is ready it says 503 itself."""
    with clusters[next(iter(servers()))].empty() as url:
        one, two = CloudServer(tmp_path / "data", database=url), CloudServer(tmp_path / "data", database=url, port=free_port())
        with one, balancing(tmp_path, one, two) as front:
            until_ready(front)
            told = (answer(front, "/health/ready"), answer(front, "/metrics"))
            one.kill()
            alone = answer(front, "/health/ready")

    assert told == (200, 403)
    assert alone == 503


def until_ready(front: str) -> None:
    """Wait until a server behind it is ready."""
    until = time.monotonic() + READY_WITHIN
    while answer(front, "/health/ready") != 200:
        assert time.monotonic() < until, "no server became ready"
        time.sleep(0.1)


def test_the_addresses_are_those_that_are_replaced_here() -> None:
    """So that the test above tests that file."""
    config = (ROOT / "deploy" / "haproxy.cfg").read_text()

    assert config.count("bind :6500 ") == 2  # the line, and how to write it with TLS
    assert re.findall(r"^ +server (\w+) (\w+):6500$", config, re.MULTILINE) == [("one", "one"), ("two", "two")]
