"""Watches over a local server: whether its clock and its data are to be believed, and when what it was lent runs out.

A suspect server goes on as long as its grants say; only a document from the vendor clears it, which he made knowing of that.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.sites import OVER, SiteState, warned
from seatkeeper_server.service import recording
from seatkeeper_server.service.delegation import LentRecord, OwnLicense
from seatkeeper_server.service.site_books import Books
from seatkeeper_server.service.timekeeping import set_clock_back
from seatkeeper_server.statements import FromVendor, at

COPIES_APART: Final = timedelta(minutes=5)  # by how much a vendor's clock may be behind a server's whose data were set back
CLOCKS_AGREE: Final = timedelta(days=1)  # a clock that is further behind the vendor's document is itself wrong


def suspect(books: Books, tenant_id: str, state: SiteState, now: datetime) -> bool:
    """Note that this server is suspect from now on: what it was lent ends when its patience does, unless it is cleared before.

    Gives whether that is news.
    """
    own = next((one for one in books.sites.own_licenses() if one.tenant_id == tenant_id), None)
    if own is None or own.state is not SiteState.OK:
        return False
    own = replace(own, state=state, state_since=now)
    books.sites.save_own_license(own)
    _bound(books, own)
    recording.append(books.tx, tenant_id, tenant_id, [Note(at=now, what="suspect", data={"state": state.value})], now)
    return True


def believe_again(books: Books, own: OwnLicense, said: FromVendor, now: datetime) -> None:
    """Note the vendor's last word: it raises the epoch and clears this server of suspicion."""
    own = replace(own, epoch=max(own.epoch, said.seq), sent=max(own.sent, said.heard))
    if _knows_of(books, own, at(said.iat)):
        _set_clock(books, at(said.iat), now)
        own = replace(own, state=SiteState.OK, state_since=None)
    books.sites.save_own_license(own)
    _bound(books, own)


def _bound(books: Books, own: OwnLicense) -> None:
    """Have what is lent end when its grant does, or the patience with a suspect server."""
    last = own.suspect_until
    for record in books.sites.lent(own.tenant_id):
        if record.ended_at is None:
            books.set_end(record.key, record.until if last is None else min(record.until, last))


def _knows_of(books: Books, own: OwnLicense, said_at: datetime) -> bool:
    """Tell whether a document can have been made since this server is suspect: one from before clears nothing."""
    alive = books.tx.alive()
    ahead = alive.offset if alive is not None and own.state is SiteState.CLOCK else timedelta(0)
    near = CLOCKS_AGREE if own.state is SiteState.CLOCK else COPIES_APART
    return own.state_since is None or said_at + near >= own.state_since - ahead


def _set_clock(books: Books, said_at: datetime, now: datetime) -> None:
    """Lower a recorded moment that was wrong, if what the clock says now agrees with the vendor's.

    Of several vendors none may: it would move the others' ends.
    """
    alive = books.tx.alive()
    if len(books.sites.own_licenses()) > 1:
        return
    if alive is not None and alive.offset and now - alive.offset + CLOCKS_AGREE >= said_at:
        set_clock_back(books.tx, now - alive.offset)


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
