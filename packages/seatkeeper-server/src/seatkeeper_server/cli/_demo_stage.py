"""The stage of `seatkeeper demo`: a server and programs as real processes, and what can be asked about them.

Nothing in here knows the inside of the server: it runs the commands that a vendor and a customer run, and reads what they
print. Whatever was started is ended by `Stage.end_everything`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import httpx2
import msgspec

from seatkeeper.protocol.documents import StatusAnswer

PATIENCE: Final = 30.0  # seconds; how long anything in the story may take
GROUP_ENDS_WITHIN: Final = 3.0  # where process 1 of a container doesn't clear the dead away, they are in their group for ever
SETTINGS: Final = {"tenant": "tenantId", "product": "productId", "code": "activationCode", "public-key": "publicKey"}
PROGRAM: Final = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("working", flush=True)
while True:
    time.sleep(60)
"""


class NotAsTold(Exception):
    """Something did not come about; the message says what was seen instead."""


def check(holds: object, otherwise: str) -> None:
    """Go on only if something holds.

    Raises:
        NotAsTold: it doesn't.
    """
    if not holds:
        raise NotAsTold(otherwise)


def end_group(process: "subprocess.Popen[str]") -> None:
    """End a process that leads a group, and all of the group, and wait until nothing is left of it."""
    deadline = time.monotonic() + GROUP_ENDS_WITHIN
    with suppress(ProcessLookupError):  # none of it is left
        while time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.01)
    process.wait(PATIENCE)


@dataclass(slots=True)
class Program:
    """One `seat run` with its command, in a process group of their own."""

    process: "subprocess.Popen[str]"

    @property
    def is_alive(self) -> bool:
        """Whether `seat run` is running."""
        return self.process.poll() is None

    def has_begun(self) -> bool:
        """Wait for the command's first line, or for the end of `seat run`."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "working\n"

    def said(self) -> str:
        """Give what a `seat run` that ended wrote on its standard error."""
        assert self.process.stderr is not None
        return "" if self.is_alive else self.process.stderr.read().strip()

    def wait(self) -> int:
        """Give the exit code of `seat run`, which is about to end."""
        return self.process.wait(PATIENCE)

    def end(self) -> int:
        """Ask `seat run` to end, which asks the command; give the exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """Kill both at once, so that neither can give anything back."""
        end_group(self.process)


class Stage:
    """The server, the programs, and what is known of them. `meanwhile` is told what is being waited for."""

    def __init__(self, directory: Path, port: int, meanwhile: Callable[[str], None]) -> None:
        self.meanwhile = meanwhile
        self.url = ""
        self.sold: Any = {}  # what `sell --json` printed
        self.bobs_end = datetime.max.replace(tzinfo=UTC)
        self.programs: dict[str, Program] = {}
        self._directory, self._port = directory, port
        self._server: subprocess.Popen[str] | None = None

    @property
    def server_pid(self) -> int | None:
        """The server's process id."""
        return self._server.pid if self._server is not None else None

    def start_server(self) -> None:
        """Start the server, on the data and the port of its earlier life if it had one, and wait until it listens."""
        with (self._directory / "server.log").open("a") as log:
            self._server = self._start("seatkeeper", "cloud", *self._data(), "--port", str(self._port), stderr=log)
        assert self._server.stdout is not None
        words = self._server.stdout.readline().split()
        self.url = next((word for word in words if word.startswith("http")), "")
        check(self.url, f"the server did not start: {Path(log.name).read_text()[-500:]}")
        self._port = int(self.url.rsplit(":", 1)[1])

    def kill_server(self) -> None:
        """Kill the server, if it runs."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(PATIENCE)

    def stop_server(self) -> int:
        """Ask the server to stop, and give its exit code."""
        assert self._server is not None
        self._server.terminate()
        return self._server.wait(PATIENCE)

    def ask(self, *verb: str) -> Any:
        """Run a verb of `seatkeeper` beside the server and read its JSON."""
        command = [_command("seatkeeper"), *verb, *self._data(), "--json"]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
        check(done.returncode == 0, f"seatkeeper {verb[0]}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def run(self, name: str) -> bool:
        """Have somebody start a program under `seat run`; tell whether it works."""
        options = [f"--server={self.url}", *(f"--{option}={self.sold[key]}" for option, key in SETTINGS.items())]
        process = self._start("seat", "run", *options, "--", sys.executable, "-c", PROGRAM, user=name)
        self.programs[name] = Program(process)
        return self.programs[name].has_begun()

    def status(self) -> StatusAnswer:
        """Ask the server how full the pool is, as any user may."""
        answer = httpx2.post(
            f"{self.url}/api/v1/status",
            headers={"N-TenantId": self.sold["tenantId"]},
            json={"productId": self.sold["productId"], "activationCode": self.sold["activationCode"]},
            timeout=PATIENCE,
            trust_env=False,
        )
        check(answer.status_code == 200, f"the server answers {answer.status_code}: {answer.text}")
        return msgspec.json.decode(answer.content, type=StatusAnswer)

    def lease_end(self, name: str) -> datetime:
        """Ask the server when somebody's lease ends."""
        ends = [holder.lease_expiry for holder in self.status().holders if holder.seat_name.startswith(f"{name}@")]
        check(len(ends) == 1, f"{name} has {len(ends)} seats, not one")
        return ends[0]

    def activations(self) -> dict[str, datetime]:
        """Read beside the server who holds a seat, by activation, and when it was last refreshed."""
        (pool,) = self.ask("seats", self.sold["entitlementId"])
        holders = [holder for holder in pool["holders"] if holder["state"] == "held"]
        return {holder["activationId"]: datetime.fromisoformat(holder["refreshedAt"]) for holder in holders}

    def end_everything(self) -> None:
        """End every process that was started, and what those have started: nobody writes into the directory any more."""
        for program in self.programs.values():
            program.kill()
        if self._server is not None:
            end_group(self._server)

    def _data(self) -> tuple[str, str]:
        return ("--data", str(self._directory / "data"))

    def _environment(self, user: str | None = None) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEATKEEPER_")}
        clean |= {"SEATKEEPER_STATE_DIR": str(self._directory / "state"), "NO_PROXY": "127.0.0.1"}
        return clean if user is None else {**clean, "USER": user, "LOGNAME": user}

    def _start(
        self, command: str, *arguments: str, user: str | None = None, stderr: int | IO[str] = subprocess.PIPE
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603  our own commands
            [_command(command), *arguments],
            env=self._environment(user),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # so that Ctrl-C is ours to handle
        )


@contextmanager
def opened(stage: Stage) -> Iterator[Stage]:
    """Have a stage, on which nothing is left running at the end."""
    try:
        yield stage
    finally:
        stage.end_everything()


def _command(name: str) -> str:
    """Find a command that was installed with us, whatever the path says."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name) or name
