"""Server processes: started, watched and ended. All that is known of them is that they print their URL when they serve."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STOPS_WITHIN = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")
_URL = re.compile(r"http://127\.0\.0\.1:\d+")

SEATKEEPER = Path(sys.executable).with_name("seatkeeper")


class DidNotStart(Exception):
    """A server ended before it served. Its own output, above, says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Give the processor time it and its children have used: user and system, all threads (proc(5), fields 14 and 15)."""
        ticks = 0
        for pid in (self.pid, *_children(self.pid)):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
        return ticks / _TICKS


def _children(pid: int) -> list[int]:
    """Give the processes that this one has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


@contextmanager
def serving(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server for the length of the block.

    Its session is its own, so that Ctrl-C reaches this program alone, which then ends it in good order.

    Raises:
        DidNotStart: it ended, or printed no URL.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        yield Server(_url_of(process), process.pid)
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


def floor() -> list[str | Path]:
    """Give the command of the floor."""
    return [sys.executable, "-m", "bench.floor"]


def cloud(data: Path) -> list[str | Path]:
    """Give the command of a cloud server."""
    return [SEATKEEPER, "cloud", "--data", data, "--host", "127.0.0.1", "--port", "0"]


ONE_COMMIT_PER_REQUEST = {"SEATKEEPER_BATCH_LIMIT": "1"}
