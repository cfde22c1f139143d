"""Runs `seatkeeper` as processes of their own that need not import anything any more: they are forked from one that has.

A journey starts dozens of them, and importing is most of what a verb does. Each is a process like any other, with its own
arguments, environment, streams, signals and exit code; only the command that `pip` installs isn't among what is run. That is
for `tests/cli/test_verbs.py`, and for who needs a wrapper around it or an encoding of its own.

    test process ══ request, three streams ══ nursery ── fork ── `seatkeeper_server.cli.main(arguments)`
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

MOST = 512 * 1024  # bytes of a request
IMPORTED = (
    "seatkeeper_server.apps.cloud",
    "seatkeeper_server.apps.local",
    "seatkeeper_server.apps.postgres_storage",
    "seatkeeper_server.http.site.console",
    "seatkeeper_server.http.vendor",
    "seatkeeper_server.service.lending",
)


class Child:
    """A process, used as a `subprocess.Popen` is."""

    def __init__(self, line: socket.socket, stdout: IO[str] | None) -> None:
        self._line = line
        self.stdout = stdout
        self.pid = int(line.recv(32))
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and give its exit code."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                told = self._line.recv(32)
            except TimeoutError:
                raise subprocess.TimeoutExpired("seatkeeper", timeout or 0) from None
            self.returncode = int(told or b"-9")  # the nursery has gone, and what it has started with it
            self._line.close()
        return self.returncode

    def poll(self) -> int | None:
        """Give its exit code if it has ended."""
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()


class Nursery:
    """The process from which others are forked; `start` may be called from any thread."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def start(
        self,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any],
    ) -> Child:
        """Start `seatkeeper` with these arguments; its standard output is a pipe unless it is named."""
        request = {"arguments": [str(one) for one in arguments], "environment": dict(environment), "directory": os.getcwd()}
        mine, theirs = socket.socketpair()
        reads, writes = os.pipe() if stdout == subprocess.PIPE else (-1, _number(stdout))
        nothing = os.open(os.devnull, os.O_RDONLY)
        given = nothing if stdin == subprocess.DEVNULL else _number(stdin)
        try:
            socket.send_fds(self._line, [json.dumps(request).encode()], [theirs.fileno(), given, writes, _number(stderr)])
        finally:
            theirs.close()
            os.close(nothing)
            if reads >= 0:
                os.close(writes)
        return Child(mine, open(reads, encoding="utf-8") if reads >= 0 else None)

    def run(
        self, arguments: Sequence[str | Path], environment: Mapping[str, str], *, timeout: float, said: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `seatkeeper` to its end, and give what it printed."""
        streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        try:
            os.write(streams[0], (said or "").encode())
            os.lseek(streams[0], 0, os.SEEK_SET)
            child = self.start(arguments, environment, stdin=streams[0], stdout=streams[1], stderr=streams[2])
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise
            out, err = (_all_of(stream) for stream in streams[1:])
        finally:
            for stream in streams:
                os.close(stream)
        return subprocess.CompletedProcess(["seatkeeper", *map(str, arguments)], code, out, err)

    def close(self) -> None:
        """End it; what it has started goes on."""
        self._line.close()
        self._process.wait()


@cache
def nursery() -> Nursery:
    """Give this test process's nursery, which ends with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _number(stream: int | IO[Any]) -> int:
    return stream if isinstance(stream, int) else stream.fileno()


def _all_of(stream: int) -> str:
    os.lseek(stream, 0, os.SEEK_SET)
    with open(stream, encoding="utf-8", closefd=False) as file:
        return file.read()


# --- the nursery itself --------------------------------------------------------------------------------------------


def main(descriptor: int) -> None:
    """Import what `seatkeeper` needs; then fork on request, and tell who has ended how, until nobody asks any more."""
    for verb in Path(import_module("seatkeeper_server.cli").__file__ or "").parent.glob("[a-z]*.py"):
        import_module(f"seatkeeper_server.cli.{verb.stem}")
    for module in IMPORTED:
        import_module(module)
    line = socket.socket(fileno=descriptor)
    ends: dict[int, tuple[int, socket.socket]] = {}  # pidfd → process, and whom to tell
    while True:
        for ready in select.select([line, *ends], [], [])[0]:
            if ready is not line:
                _tell_end(ready, *ends.pop(ready))
                continue
            request, streams, _, _ = socket.recv_fds(line, MOST, 4)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                _be(json.loads(request), streams)
            teller = socket.socket(fileno=streams[0])
            teller.send(str(pid).encode())
            ends[os.pidfd_open(pid)] = pid, teller
            for stream in streams[1:]:
                os.close(stream)


def _tell_end(pidfd: int, pid: int, teller: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)
    with teller, suppress(OSError):  # nobody waits for it
        teller.send(str(code).encode())


def _be(request: dict[str, Any], streams: Sequence[int]) -> None:
    """Be the process that was asked for."""
    for number, stream in enumerate(streams[1:]):
        os.dup2(stream, number)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115  (its own, for all its life)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv[:] = [str(Path(sys.executable).with_name("seatkeeper")), *request["arguments"]]
    code = 1
    try:
        import_module("seatkeeper_server.cli").main(request["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    _end(code)


def _end(code: int) -> None:
    """End as an interpreter does: threads are waited for, then what was registered is called, and nothing stays unwritten."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
