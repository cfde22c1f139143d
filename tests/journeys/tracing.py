"""Reads what strace wrote about a server: which system call began and ended when, on which file, with which first bytes.

Lines are in the order of time, of however many processes: each stops at the beginning and the end of a call until strace has
noted it. A call that another thread interrupts has two: `… <unfinished ...>` and `<... resumed>`; it
began with the first and ended with the second.
"""

import os
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

CALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,fsync,fdatasync,io_uring_enter"

_CALL = re.compile(r"^(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)$")
_TARGET = re.compile(r"^\d+<((?:->|[^>])*)>")  # a socket's name has arrows in it
_RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
_RESULT = re.compile(r"\) += (-?\d+)")
_UNFINISHED = "<unfinished ...>"
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class SystemCall:
    """One call: the thread, the file or socket as strace names it, the first bytes moved; `began`, `ended` are line numbers."""

    thread: str
    name: str
    target: str
    text: str
    began: int
    ended: int = 1 << 60
    result: int = -1

    @property
    def content(self) -> bytes:
        """The first bytes that were moved."""
        found = _STRING.search(self.text)
        return bytes.fromhex(found[1].replace("\\x", "")) if found else b""

    @property
    def count(self) -> int:
        """How many bytes were to be moved, for calls that say so right after the bytes."""
        found = re.search(r'"(?:\.\.\.)?, (\d+)', self.text)
        return int(found[1]) if found else 0


def strace(output: Path) -> list[str | Path]:
    """Give the command that traces what follows it, as its parent would run it (`-D`: signals go to the server itself).

    Skips the test where strace is missing or forbidden.
    """
    if shutil.which("strace") is None:
        pytest.skip("strace is missing (Debian: strace)")
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, timeout=30)
    if probe.returncode:
        pytest.skip(f"strace is not allowed here: {probe.stderr.strip()}")
    return ["strace", "-D", "-f", "-yy", "-xx", "-s", "40", "-o", output, "-e", f"trace={CALLS}", "-e", "signal=none"]


@contextmanager
def traced_to_the_end(pid: int, within: float) -> Iterator[None]:
    """End a traced process in the block; behind it, strace has ended as well, and has written all there was."""
    tracer = int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "TracerPid" in line).split()[1])
    handle = os.pidfd_open(tracer)
    try:
        yield
        ended, _, _ = select.select([handle], [], [], within)
        assert ended, "strace did not end"
    finally:
        os.close(handle)


def read_trace(path: Path) -> list[SystemCall]:
    """Read a trace; calls in the order in which they began."""
    calls: dict[int, SystemCall] = {}
    open_calls: dict[str, int] = {}  # thread → number of the line where its unfinished call began
    for number, line in enumerate(path.read_text().splitlines()):
        if resumed := _RESUMED.match(line):
            began = open_calls.pop(resumed["thread"])
            calls[began] = _ended(calls[began], resumed["rest"], number)
        elif call := _CALL.match(line):
            target = _TARGET.match(call["rest"])
            begun = SystemCall(call["thread"], call["name"], _plain(target[1]) if target else "", "", began=number)
            if line.endswith(_UNFINISHED):
                open_calls[call["thread"]] = number
                calls[number] = replace(begun, text=call["rest"])
            else:
                calls[number] = _ended(begun, call["rest"], number)
    return list(calls.values())


def _ended(call: SystemCall, rest: str, number: int) -> SystemCall:
    result = _RESULT.search(rest)
    return replace(call, text=call.text + rest, ended=number, result=int(result[1]) if result else -1)


def _plain(target: str) -> str:
    """Undo the escapes in `5<\\x2f…>`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), target)


def commits(calls: list[SystemCall]) -> Iterator[SystemCall]:
    """Give the write that completed each transaction in the write-ahead log: the page of the frame that commits.

    A frame is a header of 24 bytes and a page; bytes 4 to 8 of the header are zero except in a transaction's last frame
    (sqlite.org/fileformat.html#the_write_ahead_log).
    """
    log = [call for call in calls if call.name == "pwrite64" and call.target.endswith("-wal")]
    for header, page in pairwise(log):
        if header.count == 24 and int.from_bytes(header.content[4:8], "big"):
            assert page.thread == header.thread
            assert page.count > 24
            yield page


def syncs(calls: list[SystemCall]) -> Iterator[SystemCall]:
    """Give the calls that brought the write-ahead log to the disk."""
    for call in calls:
        if call.name in {"fsync", "fdatasync"} and call.target.endswith("-wal") and call.result == 0:
            yield call


def heard(calls: list[SystemCall], start: bytes) -> list[SystemCall]:
    """Give the reads from the network that brought a request beginning so."""
    return [
        call
        for call in calls
        if call.name in {"read", "recvfrom", "recvmsg"} and "TCP" in call.target and call.content.startswith(start)
    ]


def said(calls: list[SystemCall], start: bytes) -> list[SystemCall]:
    """Give the writes to the network that began an answer so."""
    return [
        call
        for call in calls
        if call.name in {"write", "writev", "sendto", "sendmsg"} and "TCP" in call.target and call.content.startswith(start)
    ]
