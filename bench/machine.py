"""Where and with what was measured: without that, a number says nothing."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

_PACKAGES = ("seatkeeper-server", "uvicorn", "uvloop", "httptools", "msgspec", "cryptography")


def described(folder: Path) -> dict[str, object]:
    """Give the head of the report. `folder` lies on the disk whose sync time is told."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "load_before": round(os.getloadavg()[0], 2),
            "fsync_ms": round(_fsync_seconds(folder / "sync") * 1000, 3),
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "wrk": _wrk_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _wrk_version() -> str:
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout  # it ends with 1, as it does for --help
    return said.splitlines()[0].removeprefix("wrk ").partition(" Copyright")[0]


def _fsync_seconds(file: Path) -> float:
    """Give the median time in which 4 KiB become durable: no durable commit can be faster."""
    times = []
    with file.open("wb", buffering=0) as handle:
        for _ in range(50):
            handle.write(bytes(4096))
            started = perf_counter()
            os.fdatasync(handle.fileno())
            times.append(perf_counter() - started)
    return median(times)
