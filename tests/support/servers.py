"""A real `seatkeeper cloud`, as a process of its own: started, killed, stopped, started again, and sold from beside it.

    with CloudServer(tmp_path / "data") as server:
        sold = server.sell("acme", "solver", seats=3, lease="5s")
        server.kill()
        server.start()

It listens on a free port of 127.0.0.1 and keeps that port, so that programs find it again after a restart.
"""

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.nursery import Child, nursery

BIN = Path(sysconfig.get_path("scripts"))
STARTS_WITHIN = 30.0  # seconds
STOPS_WITHIN = 20.0
OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG")  # it reads them when it starts

Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Sold:
    """What `seatkeeper sell --json` printed, and where the server is."""

    tenant: str
    product: str
    entitlement: str
    code: str
    public_key: str
    server: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which a program finds its seat."""
        return {
            "SEATKEEPER_SERVER": self.server,
            "SEATKEEPER_TENANT": self.tenant,
            "SEATKEEPER_PRODUCT": self.product,
            "SEATKEEPER_CODE": self.code,
            "SEATKEEPER_PUBLIC_KEY": self.public_key,
        }


def clean_environment(**more: str) -> dict[str, str]:
    """Give this process's environment without Seatkeeper's own variables, and with the commands on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEATKEEPER_")}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}", "NO_PROXY": "127.0.0.1", **more}


def seatkeeper(*arguments: str | Path, timeout: float = 60, **environment: str) -> Finished:
    """Run a verb of `seatkeeper` to its end: forked from the nursery, unless a variable is the interpreter's own."""
    if any(name.startswith(OF_THE_INTERPRETER) for name in environment):
        return installed_seatkeeper(*arguments, timeout=timeout, **environment)
    return nursery().run(arguments, clean_environment(**environment), timeout=timeout)


def installed_seatkeeper(*arguments: str | Path, timeout: float = 60, **environment: str) -> Finished:
    """Run a verb as a user does: the command that pip has installed, which has to import all that it needs."""
    return subprocess.run(
        [BIN / "seatkeeper", *arguments],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started and that live."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@dataclass
class CloudServer:
    """One server on one data directory, or with it on a PostgreSQL `database`, a URL.

    `wrapper` is a command that runs it, such as strace and its options; `options` are more of `seatkeeper cloud`'s. A local
    license server is one of another `kind`.
    """

    data: Path
    port: int = 0
    database: str = ""
    options: Sequence[str] = ()
    wrapper: Sequence[str | Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    kind: str = "cloud"
    url: str = ""
    start_line: str = ""
    _process: "subprocess.Popen[str] | Child | None" = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id of what was started: the server, or its wrapper."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where the server's standard error goes, of all its lives."""
        return self.data.with_name(f"{self.data.name}.log")

    def start(self) -> None:
        """Start it and wait until it says that it listens."""
        arguments = [self.kind, *self._where, "--port", str(self.port), *self.options]
        environment = clean_environment(**self.environment)
        with self.log.open("a") as log:
            if self.wrapper:
                command = [*self.wrapper, BIN / "seatkeeper", *arguments]
                self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
            else:
                self._process = nursery().start(arguments, environment, stderr=log)
        assert self._process.stdout is not None
        self.start_line = self._process.stdout.readline()  # an end of file, too, ends the wait
        if "http" not in self.start_line:
            self.kill()
            raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")
        self.url = next(word for word in self.start_line.split() if word.startswith("http"))
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self, within: float = STOPS_WITHIN) -> int:
        """Ask it to stop with SIGTERM, and give its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._end(within)

    def restart(self) -> None:
        """Kill it and start it again on the same data and port."""
        self.kill()
        self.start()

    def sell(self, customer: str, product: str, *, seats: int, **options: str) -> Sold:
        """Sell from beside the server; options are those of `seatkeeper sell`."""
        named = [part for name, value in options.items() for part in (f"--{name}", value)]
        told = json.loads(self.ask("sell", customer, product, "--seats", str(seats), *named, "--json"))
        return Sold(
            tenant=told["tenantId"],
            product=told["productId"],
            entitlement=told["entitlementId"],
            code=told["activationCode"],
            public_key=told["publicKey"],
            server=self.url,
        )

    def ask(self, *arguments: str) -> str:
        """Run a verb on the server's data, which must succeed, and give what it printed."""
        done = self.verb(*arguments)
        assert done.returncode == 0, f"seatkeeper {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask_json(self, *arguments: str) -> Any:
        """Run a verb with --json and read what it printed."""
        return json.loads(self.ask(*arguments, "--json"))

    def verb(self, *arguments: str) -> Finished:
        """Run a verb on the server's data."""
        return seatkeeper(*arguments, *self._where, **self.environment)

    @property
    def _where(self) -> list[str | Path]:
        return ["--data", self.data, *(["--database", self.database] if self.database else [])]

    def _end(self, within: float = STOPS_WITHIN) -> int:
        assert self._process is not None
        code = self._process.wait(within)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code
