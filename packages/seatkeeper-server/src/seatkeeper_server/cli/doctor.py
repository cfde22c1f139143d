"""`seatkeeper doctor`: what may be wrong on the server's side, and what to do about it. It mends nothing."""

import stat
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from seatkeeper_server.apps.examining import FAILED, OK, WARNING, Finding
from seatkeeper_server.apps.unsealing import unopened
from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import clock, day, print_json, print_table, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.domain.sites import OVER, WARNED_AT, SiteState
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.keys import CURRENT, SIGNING
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service.catalogue import Tenant
from seatkeeper_server.service.connections import Connection
from seatkeeper_server.service.delegation import LentRecord, OwnLicense
from seatkeeper_server.service.suspicion import warning

SOON = timedelta(days=30)


def doctor(*, data: Data = None, database: Database = None, json: Json = False) -> int:
    """Examine the data directory, the sealing key, the database, the clock, the disk and the keys; 1 if anything failed."""
    with opened(data, database) as place:
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
    if settings.data.exists():  # nothing need lie in it beside a PostgreSQL database
        yield _private(settings.data, "data directory", 0o077)
    yield place.read(lambda desk: _seal_key(place, desk))
    yield from place.storage.examined()
    yield place.read(lambda desk: _server(desk, place.storage.is_served()))
    yield place.read(_clock)
    yield from place.read(lambda desk: list(_keys(place, desk)))
    yield from place.read(lambda desk: [_connection(one) for one in desk.catalogue.connections.all()])
    yield from place.read(lambda desk: list(_lent(desk)))


# --- files ---------------------------------------------------------------------------------------------------------


def _private(path: Path, subject: str, forbidden: int) -> Finding:
    """See that nobody else may look into it; Windows has other means than these bits."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if sys.platform != "win32" and mode & forbidden:
        return Finding(subject, WARNING, f"{path} ({mode:04o}) is open to others", f"chmod go-rwx {path}")
    return Finding(subject, OK, f"{path} ({mode:04o})")


# --- time ----------------------------------------------------------------------------------------------------------


def _server(desk: Desk, is_served: bool | None) -> Finding:
    """A server that was killed leaves a beat of a moment ago, but where there is a lock the system has let go of it."""
    alive, today = desk.catalogue.tx.alive(), desk.catalogue.tx.clock() or desk.today
    beats = alive is not None and today + alive.offset - alive.at <= margin_for(BEAT)
    if not (beats if is_served is None else is_served):
        since = "never served yet" if alive is None else f"not serving since {clock(alive.at)}; leases stand still"
        return Finding("server", WARNING, since, "start it: seatkeeper cloud")
    if alive is None:
        return Finding("server", WARNING, "starting, or stuck before its first beat", "if it stays so, look into its log")
    if beats:
        return Finding("server", OK, f"serving, last beat {clock(alive.at)}")
    seen = f"running, but without a beat since {clock(alive.at)}"
    return Finding("server", FAILED, seen, "look into its log: is the disk full or slow? Then restart it")


def _clock(desk: Desk) -> Finding:
    alive, today = desk.catalogue.tx.alive(), desk.catalogue.tx.clock() or desk.today
    behind = alive.at - today if alive is not None else timedelta(0)
    if behind > margin_for(BEAT) or (alive is not None and alive.offset):
        seen = f"clock-suspect: {behind.total_seconds():.0f} s behind what was recorded"
        todo = "set this machine's clock (is it kept by NTP?); if what was recorded is wrong: seatkeeper clock"
        return Finding("clock", FAILED, seen, todo)
    return Finding("clock", OK, "not behind what was recorded")


# --- a local server's vendor ---------------------------------------------------------------------------------------


def _connection(found: Connection) -> Finding:
    """Being out of reach is no failure of this server's: what was lent is served until it ends."""
    subject = f"vendor at {found.url}"
    since = "never reached yet" if found.succeeded_at is None else f"last reached {clock(found.succeeded_at)}"
    if found.error is None:
        return Finding(subject, OK, f"connected; {since}, next at {clock(found.next_at)}")
    seen = f"{since}; failed {found.failures} times since, next try at {clock(found.next_at)}: {found.error}"
    todo = "see that the vendor's server can be reached from here; until then tokens can be carried (seatkeeper token report)"
    return Finding(subject, WARNING, seen, todo)


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
        wrong = unopened(place.seal_key(desk), [desk.catalogue.keys(tenant.tenant_id)])
    except SealKeyError as error:
        return str(error)
    return None if wrong is None else str(wrong)


def _keys(place: Place, desk: Desk) -> Iterator[Finding]:
    for tenant in desk.catalogue.tenants():
        yield _tenant(place, desk, tenant)


def _lent(desk: Desk) -> Iterator[Finding]:
    """Of a local server: its licenses, whether it is believed, and how long what it was lent still lasts."""
    for own in desk.catalogue.sites.own_licenses():
        yield _license(desk, own)
        for record in desk.catalogue.sites.lent(own.tenant_id):
            if record.ended_at is None:
                yield _grant(desk, record)


def _license(desk: Desk, own: OwnLicense) -> Finding:
    subject = f"license of {own.name}"
    if own.site_id is None or own.ended_at is not None:
        return Finding(
            subject, WARNING, "asked for, and not given yet", "carry the vendor's answer here: seatkeeper token apply"
        )
    if own.state is not SiteState.OK:
        seen = f"{own.state.value} since {clock(own.state_since)}; serves until {clock(own.suspect_until)} all the same"
        return Finding(subject, FAILED, seen, "report to the vendor, and apply a fresh token from him (seatkeeper site fresh)")
    if own.lease_ends_at is not None and own.lease_ends_at - desk.today < SOON:
        return Finding(subject, WARNING, f"until {day(own.lease_ends_at)}", "have the vendor renew it: seatkeeper site renew")
    return Finding(subject, OK, f"until {day(own.lease_ends_at)}")


def _grant(desk: Desk, record: LentRecord) -> Finding:
    subject, percent = f"grant of {record.entitlement_id}", warning(record, desk.now)
    seen = f"until {clock(record.until)}" + (f"; {percent} % of its time have passed" if percent else "")
    if percent < WARNED_AT[1]:
        return Finding(subject, OK, seen)
    state = FAILED if percent == OVER else WARNING
    return Finding(
        subject, state, seen, "apply a fresh token from the vendor: seatkeeper site lend … --until, seatkeeper token apply"
    )


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
