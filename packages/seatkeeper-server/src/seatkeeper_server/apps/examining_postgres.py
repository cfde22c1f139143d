"""What `seatkeeper doctor` looks at in a PostgreSQL database and its server (`examining.py` says what a finding is)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

from seatkeeper_server.apps.examining import FAILED, OK, WARNING, Finding
from seatkeeper_server.store import postgres_health
from seatkeeper_server.store.migrations import steps
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.postgres_health import OLDEST

FAR_APART: Final = timedelta(seconds=2)  # between this machine's clock and the database's
MANY: Final = 0.8  # of the connections that PostgreSQL takes


def of_postgres(store: PostgresStore, name: str) -> Iterator[Finding]:
    """Examine a PostgreSQL database, and let go of it.

    Raises:
        StorageUnavailable: it can't be reached.
        SchemaTooNew: it was written by newer code.
    """
    with closing(store):
        asked_at = datetime.now(UTC)
        found = postgres_health.examine(store)
        took = datetime.now(UTC) - asked_at
    yield _database(found, name)
    yield _schema(found)
    yield _durability(found)
    yield _connections(found)
    yield _clocks(found, asked_at + took / 2, took)


def _database(found: postgres_health.Health, name: str) -> Finding:
    seen = f"{name}, version {found.version}, connection {'encrypted' if found.encrypted else 'not encrypted'}"
    if found.major < OLDEST:
        return Finding("database", WARNING, seen, f"Seatkeeper is tested with PostgreSQL {OLDEST} and newer: upgrade it")
    return Finding("database", OK, seen)


def _schema(found: postgres_health.Health) -> Finding:
    seen = f"{found.schema} of {max(steps('postgres'))}"
    if found.behind:
        return Finding(
            "schema", WARNING, f"{seen}, {found.behind} to apply", "start a server of this version, which applies them"
        )
    if found.leftovers:
        return Finding(
            "schema",
            WARNING,
            f"{seen}, {found.leftovers} to finish",
            "finish the upgrade when no older server is left (seatkeeper schema --finish)",
        )
    return Finding("schema", OK, seen)


def _durability(found: postgres_health.Health) -> Finding:
    """Every transaction of ours asks for `synchronous_commit = on`; what the server does with it, its settings say."""
    if not found.fsync:
        return Finding("durability", FAILED, "fsync off", "turn it on: a power cut loses seats that were granted")
    if not found.full_page_writes:
        todo = "turn it on, unless the file system never writes half a page: a power cut can destroy the database"
        return Finding("durability", WARNING, "full_page_writes off", todo)
    standbys = f"waits for standby {found.standbys}" if found.standbys else "no synchronous standby"
    return Finding("durability", OK, f"synchronous_commit on, fsync on, {standbys}")


def _connections(found: postgres_health.Health) -> Finding:
    seen = f"{found.connections} of {found.connections_most}"
    if found.connections >= MANY * found.connections_most:
        return Finding("connections", WARNING, seen, "raise max_connections, or lower --workers or SEATKEEPER_DESKS")
    return Finding("connections", OK, seen)


def _clocks(found: postgres_health.Health, now: datetime, took: timedelta) -> Finding:
    """Leases follow the database's clock alone; a difference only shows that one of the two machines isn't kept by NTP."""
    apart = abs(found.now - now)
    seen = f"this machine's and the database's are {apart.total_seconds():.1f} s apart"
    if apart > FAR_APART + took:
        return Finding("clocks", WARNING, seen, "have both machines kept by NTP; leases follow the database's clock")
    return Finding("clocks", OK, seen)
