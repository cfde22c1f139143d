"""Where and with what was measured: without that, a number says nothing. No names of machines, no paths."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import apsw

from bench import postgres
from bench.postgres import Cluster

_PACKAGES = ("seatkeeper-server", "uvicorn", "uvloop", "httptools", "msgspec", "cryptography", "apsw", "psycopg")


def described(folder: Path, cluster: Cluster | None) -> dict[str, object]:
    """Give the head of the report. `folder` lies on the disk whose sync time is told."""
    machine: dict[str, object] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": _fsync_ms(folder),
    }
    versions = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version(), "wrk": _wrk_version()}
    head: dict[str, object] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine}
    if cluster is not None:
        versions["postgresql"] = cluster.version()
        machine["fsync_ms_postgresql"] = _fsync_ms(postgres.FOLDER)
        head["postgresql_settings"] = cluster.settings()
    return {**head, "versions": {**versions, **{name: version(name) for name in _PACKAGES}}}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _wrk_version() -> str:
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout  # it ends with 1, as it does for --help
    return said.splitlines()[0].removeprefix("wrk ").partition(" Copyright")[0]


def _fsync_ms(folder: Path) -> float:
    """Give the median time in which 4 KiB become durable: no durable commit can be faster."""
    file, times = folder / f"seatkeeper-bench-sync-{os.getpid()}", []
    try:
        with file.open("wb", buffering=0) as handle:
            for _ in range(50):
                handle.write(bytes(4096))
                started = perf_counter()
                os.fdatasync(handle.fileno())
                times.append(perf_counter() - started)
    finally:
        file.unlink(missing_ok=True)
    return round(median(times) * 1000, 3)
