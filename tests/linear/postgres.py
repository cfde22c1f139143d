"""A PostgreSQL that is killed and comes back: durable, on a socket in a directory of its own."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.linear.drive import family_of

USER = "nobody"  # PostgreSQL refuses to run as root
COMES_BACK_WITHIN = 60.0  # seconds
SETTINGS = {"max_connections": "60", "unix_socket_permissions": "0777", "deadlock_timeout": "200ms", "log_lock_waits": "on"}


@dataclass
class Postgres:
    """One cluster. It keeps its defaults for what makes commits durable."""

    programs: Path
    directory: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    _server: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """What servers are told to connect to."""
        return f"postgresql:///postgres?host={self.directory}&user=postgres"

    @property
    def log(self) -> Path:
        """What it says, of all its lives."""
        return self.directory / "log"

    def make(self) -> None:
        """Make its files."""
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.directory, USER)
            shutil.chown(self._data, USER)
            self.directory.chmod(0o711)
        command = [self.programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, **_as_user())

    def start(self) -> None:
        """Start it, and wait until it can be connected to.

        Raises:
            RuntimeError: it doesn't come, and its log says why.
        """
        options = [word for key, value in {**SETTINGS, **self.settings}.items() for word in ("-c", f"{key}={value}")]
        command = [self.programs / "postgres", "-D", self._data, "-k", self.directory, "-h", "", *options]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **_as_user())
        until = time.monotonic() + COMES_BACK_WITHIN
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.log.read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """End it with SIGKILL, and everything that it started; none of them is there any more afterwards."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGSTOP)  # or it might start one more meanwhile
        family = family_of(self._server.pid) if self._server.poll() is None else []
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait()
        while any(_runs(pid) for pid in family):
            time.sleep(0.01)
        self._server = None

    def logged(self, what: str) -> int:
        """Count the lines of its log that say something."""
        return sum(what in line for line in self.log.read_text(errors="replace").splitlines())

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _is_ready(self) -> bool:
        command = [self.programs / "pg_isready", "-q", "-h", self.directory, "-U", "postgres"]
        return subprocess.run(command, check=False, **_as_user()).returncode == 0


@contextmanager
def running(programs: Path, **settings: str) -> Iterator[Postgres]:
    """Run one as long as the block lasts; its data goes with it. `programs` is the directory of PostgreSQL's own."""
    with TemporaryDirectory(prefix="seatkeeper-pg-") as name:
        directory = Path(name)
        database = Postgres(_readable(programs, directory), directory, settings)
        database.make()
        try:
            database.start()
            yield database
        finally:
            database.kill()


def _runs(pid: int) -> bool:
    """Tell whether a process is there and not only waits to be counted as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _as_user() -> dict[str, object]:
    return {"user": USER, "group": "nogroup", "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


def _readable(programs: Path, directory: Path) -> Path:
    """Give programs that its user can read: themselves, or a copy."""
    directory.chmod(0o711)
    test = subprocess.run(["test", "-x", programs / "postgres"], check=False, **_as_user())
    if test.returncode == 0:
        return programs
    shutil.copytree(programs.parent, directory / "programs", symlinks=True)
    return directory / "programs" / programs.name
