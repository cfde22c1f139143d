"""Server processes: started, watched and ended. All that is known of them is that they print their URL when they serve."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

STOPS_WITHIN = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_URL = re.compile(r"http://127\.0\.0\.1:\d+")

LOG = Path("build") / "bench.log"  # what servers say beside the line with their URL
SEATKEEPER = Path(sys.executable).with_name("seatkeeper")
ONE_COMMIT_PER_REQUEST = {"SEATKEEPER_BATCH_LIMIT": "1"}


class DidNotStart(Exception):
    """A server ended before it served. Its own output, in build/bench.log, says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves, with its children; `database` is the process of the database beside it, if it has one.

    `began` is when it was started, by `perf_counter`; `started_in` how many seconds it took to say that it serves.
    """

    url: str
    pid: int
    began: float
    started_in: float
    database: int | None = None

    def cpu_seconds(self) -> float:
        """Give the processor time that was used, also by the database: user and system, all threads (proc(5), 14 and 15)."""
        roots = [self.pid] if self.database is None else [self.pid, self.database]
        return sum(_ticks(pid) for root in roots for pid in (root, *_children(root))) / _TICKS

    def memory_mb(self) -> float:
        """Give the memory of the server and its children, without the database's: what they share is counted once (PSS)."""
        return sum(_pss_kb(pid) for pid in (self.pid, *_children(self.pid))) / 1024


def _ticks(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[11]) + int(after_name[12])
    return 0


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _children(pid: int) -> list[int]:
    """Give the processes that this one has started and that live."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_children(int(child))]
    return found


@contextmanager
def serving(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, database: int | None = None
) -> Iterator[Server]:
    """Run a server for the length of the block.

    Its session is its own, so that Ctrl-C reaches this program alone, which then ends it in good order.

    Raises:
        DidNotStart: it ended, or printed no URL.
    """
    began = perf_counter()
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        url = _url_of(process)
        yield Server(url, process.pid, began, perf_counter() - began, database)
    finally:
        _end(process)


def _url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()  # a server that can't serve ends, and the line is empty
    if (found := _URL.search(line)) is None:
        raise DidNotStart(f"{process.args!r} said {line!r}")
    return found[0]


def _end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def empty(name: str) -> list[str | Path]:
    """Give the command of the floor, or of the bare protocol."""
    return [sys.executable, "-m", f"bench.{name}"]


def cloud(data: Path, database: str | None) -> list[str | Path]:
    """Give the command of a cloud server, on SQLite in its data directory or on a PostgreSQL database."""
    command: list[str | Path] = [SEATKEEPER, "cloud", "--data", data, "--host", "127.0.0.1", "--port", "0"]
    return command if database is None else [*command, "--database", database]
