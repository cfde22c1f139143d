"""Load, by wrk: N connections, each asking again as soon as it was answered.

One thread of wrk's, or, where every connection is a program of its own, one for each: only a thread remembers what its last
answer said.
"""

import json
import os
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server

LUA = Path(__file__).with_name("lua")
PATIENCE = 30.0  # seconds beyond the agreed time


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one case came to.

    `right` answers are those that were asked for; `errors` all others, and lost ones. `cpu_seconds` is the server's, with the
    database's, `load_seconds` wrk's own.
    """

    seconds: float
    right: int
    errors: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    load_seconds: float
    wrong: str = ""  # the first answer that was not as asked for


def measure(
    server: Server, script: str, arguments: Sequence[str], *, connections: int, seconds: int, alone: bool = False
) -> Sample:
    """Put a server under load and see what it does, and what processor time it takes."""
    before, own_before = server.cpu_seconds(), _children_seconds()
    said = _wrk(server.url, script, arguments, connections, seconds, connections if alone else 1)
    lines = said.splitlines()
    report = json.loads(next(line for line in lines if line.startswith("report ")).removeprefix("report "))
    return Sample(
        seconds=report["seconds"],
        right=int(report["right"]),
        errors=int(report["wrong"] + report["lost"]),
        p50_ms=report["p50_ms"],
        p99_ms=report["p99_ms"],
        cpu_seconds=max(0.0, server.cpu_seconds() - before),
        load_seconds=_children_seconds() - own_before,
        wrong=next((line for line in lines if line.startswith("a wrong answer: ")), ""),
    )


def _wrk(url: str, script: str, arguments: Sequence[str], connections: int, seconds: int, threads: int) -> str:
    command: list[str | Path] = [
        "wrk",
        f"-t{threads}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        LUA / script,
        url,
        "--",
        *arguments,
    ]
    environment = {**os.environ, "LUA_PATH": f"{LUA}/?.lua"}
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=seconds + PATIENCE, check=True, env=environment
    ).stdout


def _children_seconds() -> float:
    """Give the processor time of the children that have ended; between two looks, that is wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
