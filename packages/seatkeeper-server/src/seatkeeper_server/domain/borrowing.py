"""Borrowing: a device takes a seat home until a date, and needs no server till then.

A borrowed place is an ordinary one that also holds the right `BORROWED`, of which as many were sold as may be out at once; so
it is counted, freed, restored and verified as everything else is. What sets it apart is that nobody can take it back from
the device: the lease that was signed is good to its end, whatever happens here. So, as long as the place counts

- its lease never ends sooner, and neither downtime nor a refresh moves that end;
- what is held with it stays held with it;
- giving it back early frees nothing before that end (decision 0019): a copy of the device, made before, still believes in it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from seatkeeper_server.domain.facts import Denied
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.reasons import denied
from seatkeeper_server.domain.requests import Activate
from seatkeeper_server.domain.state import Pool
from seatkeeper_server.domain.terms import BORROWED, SEAT

NOTHING: Mapping[str, int] = {}
SLACK = timedelta(hours=1)  # by which a device's clock may be ahead of ours: what it asks for is cut, not refused


def refused(pool: Pool, ask: Activate, now: datetime) -> Denied | None:
    """Refuse to lend a device a seat: not at all, not for so long, or not to who proves no device."""
    if ask.borrow_until is None:
        return None
    longest = pool.terms.borrow
    fits = longest > timedelta(0) and now < ask.borrow_until <= now + longest + SLACK
    return None if fits and ask.device is not None else over_limit(pool, now, ask.activation_id, ask.holder)


def over_limit(pool: Pool, now: datetime, activation_id: str, holder: int) -> Denied:
    """Refuse by the limits of borrowing: `limit` seats may be borrowed at once, and `used` are."""
    out = pool.tallies.get(BORROWED)
    refusal = denied(pool, "borrow-limit", "borrow.refused", now, activation_id, holder)
    return replace(refusal, key=SEAT, limit=out.right.bought if out else 0, used=out.used if out else 0, overdraft=0)


def lease_end(pool: Pool, ask: Activate, own: Holding | None, now: datetime) -> datetime:
    """Tell when the lease ends that an activate is granted; `own` is the place that is taken again."""
    ends_at = pool.terms.lease_end(now)
    if ask.borrow_until is not None:
        ends_at = max(ends_at, pool.terms.bounded(min(ask.borrow_until, now + pool.terms.borrow)))
    return max(ends_at, pool.terms.bounded(own.expires_at)) if own is not None and own.is_borrowed else ends_at


def wanted(ask: Activate, held: Mapping[str, int] = NOTHING) -> dict[str, int]:
    """Tell what an activate is to hold; `held` is what comes back of the place that is taken again."""
    rights = {**ask.features, SEAT: held.get(SEAT, 1)}
    if ask.borrow_until is not None:
        rights[BORROWED] = 1
    if BORROWED in held:
        return {key: max(rights.get(key, 0), held.get(key, 0)) for key in {**held, **rights}}
    return rights


def believed_until(pool: Pool, own: Holding) -> datetime:
    """Tell until when the device may believe in a borrowed seat: downtime that was a step of the clock did not pass for it."""
    return own.free_at - pool.terms.margin if own.free_at is not None else own.expires_at


def is_over(pool: Pool, own: Holding, now: datetime) -> bool:
    """Tell whether nobody believes in the borrowed lease any more, so that the seat is one as all others again."""
    return now >= believed_until(pool, own)


def at_home(rights: Mapping[str, int]) -> dict[str, int]:
    """Give what is held with a seat whose time away is over."""
    return {key: amount for key, amount in rights.items() if key != BORROWED}
