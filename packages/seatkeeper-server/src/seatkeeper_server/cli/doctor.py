"""`seatkeeper doctor`: what may be wrong on the server's side, and what to do about it. It mends nothing."""

import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Json
from seatkeeper_server.cli._output import clock, day, print_json, print_table, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.keys import CURRENT, SIGNING, TenantKeys
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service.catalogue import Tenant
from seatkeeper_server.store.health import examine
from seatkeeper_server.store.locking import is_served

OK, WARNING, FAILED = "ok", "warning", "failed"

LITTLE_SPACE = 1 << 30  # bytes; below, a warning
NO_SPACE = 64 << 20
SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, how it stands, what was seen, and what to do if it isn't well."""

    subject: str
    state: str
    seen: str
    todo: str = ""


def doctor(*, data: Data = None, json: Json = False) -> int:
    """Examine the data directory, the sealing key, the database, the clock, the disk and the keys; 1 if anything failed."""
    with opened(data) as place:
        found = list(_examined(place))
    if json:
        print_json([{"subject": one.subject, "state": one.state, "seen": one.seen, "todo": one.todo} for one in found])
    else:
        print_table(("subject", "state", "seen"), [[one.subject, one.state, one.seen] for one in found])
        for one in found:
            if one.todo:
                say(f"{one.subject}: {one.todo}")
    return REFUSED if any(one.state == FAILED for one in found) else DONE


def _examined(place: Place) -> Iterator[Finding]:
    settings = place.settings
    yield _private(settings.data, "data directory", 0o077)
    yield place.read(lambda desk: _seal_key(place, desk))
    yield from _database(settings.database_path)
    yield place.read(lambda desk: _server(desk, is_served(settings.data)))
    yield place.read(_clock)
    yield _space(settings.data)
    yield from place.read(lambda desk: list(_keys(place, desk)))


# --- files ---------------------------------------------------------------------------------------------------------


def _private(path: Path, subject: str, forbidden: int) -> Finding:
    """See that nobody else may look into it; Windows has other means than these bits."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if sys.platform != "win32" and mode & forbidden:
        return Finding(subject, WARNING, f"{path} ({mode:04o}) is open to others", f"chmod go-rwx {path}")
    return Finding(subject, OK, f"{path} ({mode:04o})")


def _space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    seen = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_SPACE:
        return Finding("disk", FAILED, seen, "make room: a full disk refuses every seat (storage.full)")
    if free < LITTLE_SPACE:
        return Finding("disk", WARNING, seen, "make room before it is full")
    return Finding("disk", OK, seen)


# --- database ------------------------------------------------------------------------------------------------------


def _database(path: Path) -> Iterator[Finding]:
    health = examine(path)
    yield Finding("schema", OK, f"{health.schema} of {health.schema_known}")
    if health.damage:
        yield Finding("integrity", FAILED, "; ".join(health.damage[:3]), "stop the server and restore the newest backup")
    else:
        yield Finding("integrity", OK, "every page and index is sound")
    durable = f"journal {health.journal_mode}, synchronous {health.synchronous}"
    if health.is_durable:
        yield Finding("durability", OK, durable)
    else:
        yield Finding("durability", FAILED, durable, "WAL needs a local disk: move the data off the network file system")


# --- time ----------------------------------------------------------------------------------------------------------


def _server(desk: Desk, is_served: bool) -> Finding:
    """A server that was killed leaves a beat of a moment ago, but the system has let go of its lock."""
    alive = desk.catalogue.tx.alive()
    if not is_served:
        since = "never served yet" if alive is None else f"not serving since {clock(alive.at)}; leases stand still"
        return Finding("server", WARNING, since, "start it: seatkeeper cloud")
    if alive is None:
        return Finding("server", WARNING, "starting, or stuck before its first beat", "if it stays so, look into its log")
    if desk.today + alive.offset - alive.at <= margin_for(BEAT):
        return Finding("server", OK, f"serving, last beat {clock(alive.at)}")
    seen = f"running, but without a beat since {clock(alive.at)}"
    return Finding("server", FAILED, seen, "look into its log: is the disk full or slow? Then restart it")


def _clock(desk: Desk) -> Finding:
    alive = desk.catalogue.tx.alive()
    behind = alive.at - desk.today if alive is not None else timedelta(0)
    if behind > margin_for(BEAT) or (alive is not None and alive.offset):
        seen = f"clock-suspect: {behind.total_seconds():.0f} s behind what was recorded"
        todo = "set this machine's clock (is it kept by NTP?); if what was recorded is wrong: seatkeeper clock"
        return Finding("clock", FAILED, seen, todo)
    return Finding("clock", OK, "not behind what was recorded")


# --- keys ----------------------------------------------------------------------------------------------------------


def _seal_key(place: Place, desk: Desk) -> Finding:
    """The key is the right one if it opens what was sealed; where some of it opens, the rest is what is damaged."""
    path = place.settings.seal_key_path
    if not path.exists():
        return Finding("sealing key", FAILED, f"{path} is missing", "put back the file that this database was made with")
    tenants = desk.catalogue.tenants()
    if tenants and not any(_opens(place, desk, tenant) is None for tenant in tenants):
        seen = f"{path} does not open the keys in this database"
        return Finding("sealing key", FAILED, seen, "put back the file that this database was made with")
    return _private(path, "sealing key", 0o077)


def _opens(place: Place, desk: Desk, tenant: Tenant) -> str | None:
    """Open a tenant's keys as a server would; what went wrong, or None."""
    try:
        TenantKeys(desk.catalogue.keys(tenant.tenant_id), place.seal_key(desk))
    except SealKeyError as error:
        return str(error)
    return None


def _keys(place: Place, desk: Desk) -> Iterator[Finding]:
    for tenant in desk.catalogue.tenants():
        yield _tenant(place, desk, tenant)


def _tenant(place: Place, desk: Desk, tenant: Tenant) -> Finding:
    subject, rows = f"keys of {tenant.name}", desk.catalogue.keys(tenant.tenant_id)
    if (wrong := _opens(place, desk, tenant)) is not None:
        return Finding(subject, FAILED, wrong, "give the server the sealing key this database was made with")
    expires_at = next((row.expires_at for row in rows if row.purpose == SIGNING and row.state == CURRENT), None)
    seen = f"open; signing key certified until {day(expires_at)}"
    if expires_at is not None and expires_at - desk.today < SOON:
        state = WARNING if desk.today < expires_at else FAILED
        return Finding(subject, state, seen, "restart the server, which renews its signing key")
    return Finding(subject, OK, seen)
