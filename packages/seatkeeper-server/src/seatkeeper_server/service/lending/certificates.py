"""What a local server may sign: the vendor's root certifies its key anew with every document, for all that it has.

Of several grants that may be in force a certificate covers the most that any of them allows: the pool, not the certificate,
sees to it that nothing is given away twice. A program believes a lease only within it (decision 0018).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from seatkeeper.protocol.documents import Covered, Covers
from seatkeeper_server.domain.admission import COUNTABLE
from seatkeeper_server.domain.shares import Grant, in_force
from seatkeeper_server.domain.terms import Kind, is_feature
from seatkeeper_server.domain.timekeeping import EARLIER_BY
from seatkeeper_server.service.delegation import Share, Site
from seatkeeper_server.service.lending.lender import Lender


def certificate(lender: Lender, site: Site, until: datetime) -> str:
    """Have the root certify a server's key, for everything that it may still have been lent."""
    shares = lender.running_at(site)
    each: dict[str, Covered] = {}
    for share in shares:
        if grants := in_force(lender.grants(share), share.skew, lender.now):
            each[share.entitlement_id] = _covered(lender, share, grants)
    ends_at = max([until, *(datetime.fromtimestamp(one.end, tz=UTC) for one in each.values())])
    covers = Covers(entitlements=sorted(each), features=_most(each), end=ends_at.timestamp(), each=each)
    skews = (share.skew for share in shares)
    return lender.keys.certify(
        lender.tenant_id,
        site=site,
        covers=covers,
        since=lender.now - max(EARLIER_BY, *skews, timedelta(0)),
        until=ends_at,
        epoch=site.sent,
        now=lender.now,
    )


def _most(each: Mapping[str, Covered]) -> dict[str, int]:
    """Give the most of each feature that any entitlement has, for programs that don't look at each."""
    most: dict[str, int] = {}
    for one in each.values():
        for key, amount in one.features.items():
            most[key] = max(most.get(key, 0), COUNTABLE if amount is None else amount)
    return most


def _covered(lender: Lender, share: Share, grants: Sequence[Grant]) -> Covered:
    """Give what the key may sign of one entitlement: the most of each feature, and until when."""
    tallies = lender.bought(share.entitlement_id).pool.tallies
    most: dict[str, int | None] = {}
    for name, tally in tallies.items():
        lent = max((grant.rights[name] for grant in grants if name in grant.rights), default=0)
        if not is_feature(name):
            continue
        if tally.right.kind is Kind.BOOL:
            most[name] = 1
        elif share.is_whole and tally.right.bought is None:
            most[name] = None
        elif lent:
            most[name] = replace(tally.right, bought=lent).cap
    return Covered(features=most, end=max(grant.until for grant in grants).timestamp())
