"""What a share takes of its entitlement's pool: the pool machine decides (`domain/lending.py`), and it is written down here.

Nothing else changes the places of a share. So whatever documents say, what is lent and held never exceeds what was bought.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from seatkeeper_server.domain.facts import Denied
from seatkeeper_server.domain.lending import Lend
from seatkeeper_server.domain.lending import relend as decide
from seatkeeper_server.domain.shares import Grant
from seatkeeper_server.domain.sites import LOCAL_SERVER
from seatkeeper_server.domain.state import Rejected
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import NoRoom, Share, Site
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.service.workspace import Workspace, settled

NOTHING: Mapping[str, int] = {}


def relend(
    lender: Lender,
    share: Share,
    grants: Sequence[Grant],
    cause: str,
    *,
    used_up: Mapping[str, int] = NOTHING,
    site: Site | None = None,
) -> Share:
    """Have these grants of a share in force, and no others; give the share with its number among the pool's holders.

    `site` says to whom it is lent, and `used_up` what of its usage counts doesn't come back.

    Raises:
        NoRoom: there is not so much left of the entitlement.
        CannotDo: it has no such feature.
    """
    key = share.key
    settled(lender.books.tx, key, lender.now)
    work = Workspace(lender.books.tx, lender.now)
    work.load_pools([key])
    holder = share.holder or work.pool(key).holders + 1
    ask = Lend(share_id=share.share_id, holder=holder, grants=tuple(grants), skew=share.skew, cause=cause, used_up=used_up)
    pool = work.pool(key).seeing({place.key: place for place in lender.places(share)})
    decision = decide(pool, ask, lender.now)
    if isinstance(decision, Denied):
        raise NoRoom(_too_few(decision))
    if isinstance(decision, Rejected):
        raise CannotDo(f"this entitlement has no such feature: {decision.problem.partition(': ')[2]}")
    who = Who(seat_id=share.share_id, seat_name=site.name + LOCAL_SERVER if site else None)
    work.apply(key, pool, decision, who)
    if site is not None:
        work.know(key, holder, who)
    work.save()
    return replace(share, holder=holder)


def counts_until(lender: Lender, share: Share) -> datetime | None:
    """Tell until when a share counts; None if it doesn't any more."""
    ends = (place.free_at for place in lender.places(share) if place.occupies and place.free_at)
    return max((end for end in ends if end > lender.now), default=None)


def drawn(lender: Lender, share: Share) -> dict[str, int]:
    """Give what a share has drawn of what is used up: it comes back only if its server says that it was not used."""
    tallies = lender.bought(share.entitlement_id).pool.tallies
    found: dict[str, int] = {}
    for place in lender.places(share):
        for key, amount in place.rights.items():
            if key in tallies and tallies[key].right.kind is Kind.USAGE_COUNT:
                found[key] = max(found.get(key, 0), amount)
    return found


def _too_few(denied: Denied) -> str:
    what = f"of {denied.key}" if denied.key else "seats"
    free = max(0, (denied.limit or 0) - denied.used)
    return (
        f"{free} {what} of {denied.limit} are free, and {denied.wanted} more would be lent: lend fewer, or free some"
        " (`seatkeeper seats`); what was lent before counts until its grant has ended"
    )
