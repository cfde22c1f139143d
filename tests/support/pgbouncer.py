"""A PgBouncer in front of a PostgreSQL of the tests: connections to the server change hands after every transaction."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .postgres import USER

STARTS_WITHIN = 20.0  # seconds
PORT = 6432  # names a socket in a directory of its own; no network is listened on

_CONFIGURATION = """\
[databases]
{name} = host={host} dbname={name} user=postgres

[pgbouncer]
listen_port = {port}
unix_socket_dir = {directory}
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
logfile = {directory}/log
"""


def program() -> str | None:
    """Give the program; None where there is none."""
    return shutil.which("pgbouncer") or (path if os.access(path := "/usr/sbin/pgbouncer", os.X_OK) else None)


@contextmanager
def bounced(url: str, *, connections: int) -> Iterator[str]:
    """Run one before a database that lends so many connections to all who come; the URL to come to."""
    told = conninfo_to_dict(url)
    with tempfile.TemporaryDirectory(prefix="seatkeeper-bouncer-", dir="/tmp") as name:
        directory = Path(name)
        file = directory / "pgbouncer.ini"
        file.write_text(
            _CONFIGURATION.format(
                name=told["dbname"], host=told["host"], port=PORT, directory=directory, connections=connections
            )
        )
        if os.geteuid() == 0:  # it refuses to run as root
            for path in (directory, file):
                shutil.chown(path, USER)
            directory.chmod(0o711)
        command = [program() or "pgbouncer", "-q", file]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_as_user()) as process:
            try:
                there = f"postgresql:///{told['dbname']}?host={directory}&port={PORT}&user=postgres"
                _wait(process, there, directory / "log")
                yield there
            finally:
                process.send_signal(signal.SIGTERM)  # at once, in the versions of today
                process.wait(30)


def _as_user() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    return {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": [], "cwd": "/"}


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text() if log.exists() else "it wrote no log") from error
            time.sleep(0.05)
