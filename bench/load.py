"""Load, by wrk: one thread, N connections, each asking again as soon as it was answered."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server

LUA = Path(__file__).with_name("lua")
PATIENCE = 20.0  # seconds beyond the agreed time


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one case came to. `right` answers are those that were asked for; `errors` all others, and lost ones."""

    seconds: float
    right: int
    errors: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float


def measure(server: Server, script: str, arguments: Sequence[str], *, connections: int, seconds: int) -> Sample:
    """Put a server under load and see what it does, and what processor time it takes."""
    before = server.cpu_seconds()
    report = _wrk(server.url, script, arguments, connections, seconds)
    return Sample(
        seconds=report["seconds"],
        right=int(report["right"]),
        errors=int(report["wrong"] + report["lost"]),
        p50_ms=report["p50_ms"],
        p99_ms=report["p99_ms"],
        cpu_seconds=server.cpu_seconds() - before,
    )


def _wrk(url: str, script: str, arguments: Sequence[str], connections: int, seconds: int) -> dict[str, float]:
    command: list[str | Path] = [
        "wrk",
        "-t1",
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
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE, check=True, env=environment)
    line = next(line for line in said.stdout.splitlines() if line.startswith("report "))
    report: dict[str, float] = json.loads(line.removeprefix("report "))
    return report
