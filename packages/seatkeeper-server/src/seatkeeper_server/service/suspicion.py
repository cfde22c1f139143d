"""Watches over a local server: whether its clock and its data are to be believed, and when what it was lent runs out.

A suspect server goes on as long as its grants say; only a document from the vendor clears it (`grants.Grants.apply`).
"""

from dataclasses import replace
from datetime import datetime

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.sites import OVER, SiteState, warned
from seatkeeper_server.service import recording
from seatkeeper_server.service.delegation import Books, LentRecord


def suspect(books: Books, tenant_id: str, state: SiteState, now: datetime) -> bool:
    """Note that this server is suspect from now on: what it was lent ends when its patience does, unless it is cleared before.

    Gives whether that is news.
    """
    own = next((one for one in books.sites.own_licenses() if one.tenant_id == tenant_id), None)
    if own is None or own.state is not SiteState.OK:
        return False
    books.sites.save_own_license(replace(own, state=state, state_since=now))
    for record in books.sites.lent(tenant_id):
        if record.ended_at is None:
            books.sites.set_end(record.key, min(record.until, now + own.patience))
    recording.append(books.tx, tenant_id, tenant_id, [Note(at=now, what="suspect", data={"state": state.value})], now)
    return True


def look_after(books: Books, now: datetime) -> list[str]:
    """See whether this server's clock is to be believed, and warn of grants that run out; sentences about what is news."""
    said: list[str] = []
    alive = books.tx.alive()
    for own in books.sites.own_licenses():
        if alive is not None and alive.offset and suspect(books, own.tenant_id, SiteState.CLOCK, now):
            said.append(f"the clock is behind what was recorded: {own.name} is {SiteState.CLOCK.value}")
        for record in books.sites.lent(own.tenant_id):
            percent = warning(record, now)
            if record.ended_at is None and percent > record.warned:
                books.sites.save_lent(replace(record, warned=percent))
                data = {"percent": percent, "until": record.until.isoformat()}
                note = Note(at=now, what="grantRunsOut", data=data)
                recording.append(books.tx, own.tenant_id, record.entitlement_id, [note], now)
                what = "is over" if percent == OVER else f"has used up {percent} % of its time"
                said.append(f"the grant of {record.entitlement_id} {what}: it ends at {record.until:%Y-%m-%d %H:%M:%S UTC}")
    return said


def warning(record: LentRecord, now: datetime) -> int:
    """Tell which warning of a grant's end is due: 0, 50, 75 or 90 percent of its time have passed, or 100: it is over."""
    return warned(now - record.granted_at, record.until - record.granted_at)
