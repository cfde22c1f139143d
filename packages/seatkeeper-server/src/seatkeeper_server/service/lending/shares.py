"""Shares: a part of an entitlement that a local server may give away, or all of it, until a moment.

A share changes by one more grant: more seats count at once, fewer when the grants before have ended or its server says that it
has applied the new one (`domain/shares.py`). Whoever calls what changes one has taken the turn (`Lender.take_turn`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from seatkeeper.protocol import ids
from seatkeeper_server.domain.shares import Grant, in_force
from seatkeeper_server.domain.sites import DEFAULT_SKEW
from seatkeeper_server.domain.terms import SEAT, Standing, Switch
from seatkeeper_server.service.catalogue import Bought, CannotDo
from seatkeeper_server.service.delegation import Export, Share, Site
from seatkeeper_server.service.lending import documents, places
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.service.wording import spoken

WITHOUT_END: Final = timedelta(days=365)  # for how long a share is lent of what never ends, unless it is said


# --- lending -------------------------------------------------------------------------------------------------------


def lend(
    lender: Lender,
    entitlement_id: str,
    called: str,
    *,
    seats: int | None,
    features: Mapping[str, int] | None,
    until: datetime | None,
    skew: timedelta | None,
) -> str:
    """Lend so much of an entitlement to a server, or all of it (`seats` None), and give the document that says so."""
    if seats is not None and seats < 1:
        raise CannotDo(f"seats: lend at least one, not {seats}")
    site = lender.licensed_site(called)
    bought = lender.bought(entitlement_id)
    _refuse_closed(lender, bought)
    running = lender.running_of(entitlement_id)
    mine = next((share for share in running if share.site_id == site.site_id), None)
    whole = seats is None
    _refuse_mixture(lender, bought, [share for share in running if share is not mine], whole=whole)
    rights = documents.all_of(bought) if seats is None else {SEAT: seats, **(features or {})}
    ends_at = _end(lender, bought, until)
    share = replace(mine or _new_share(lender, bought, site), is_whole=whole)
    if skew is not None:
        share = replace(share, skew=skew)
    return _granted(lender, share, site, rights, ends_at)


def fresh_token(lender: Lender, entitlement_id: str, called: str | None) -> str:
    """Give a fresh document of what a server was lent, with the entitlement as it is now."""
    share, site = lender.the_share(entitlement_id, called)
    newest = lender.grants(share)[-1]
    last = lender.bought(entitlement_id).pool.terms.last_moment
    until = newest.until if last is None else last if share.is_whole else min(newest.until, last)
    return _granted(lender, share, site, _rights(lender, share, newest), until)


def _granted(lender: Lender, share: Share, site: Site, rights: Mapping[str, int], until: datetime) -> str:
    """Add a grant to a share, and give its document."""
    grants = lender.grants(share) if share.holder else []
    number = grants[-1].number + 1 if grants else 1
    grants = [*in_force(grants, share.skew, lender.now), Grant(number, dict(rights), until)]
    share = places.relend(lender, share, grants, "lent", used_up=places.drawn(lender, share), site=site)
    serve(lender, share, Switch.EXPORTED if share.is_whole else Switch.ON)
    share = replace(share, token_at=lender.now, snapshot=documents.fingerprint(lender, share, rights))
    lender.books.sites.save_share(share)
    lender.books.sites.save_grants(lender.tenant_id, share.share_id, grants, lender.now)
    return documents.of_grant(lender, share, site, grants[-1])


def serve(lender: Lender, share: Share, switch: Switch) -> None:
    """Say whether the vendor serves an entitlement himself; one that was switched off stays so."""
    if lender.bought(share.entitlement_id).pool.terms.switch in (Switch.ON, Switch.EXPORTED):
        lender.books.sites.set_switch(share.key, switch)


def _new_share(lender: Lender, bought: Bought, site: Site) -> Share:
    return Share(
        tenant_id=lender.tenant_id,
        share_id=ids.make_id(ids.SHARE, lender.random(ids.RANDOM_BYTES)),
        entitlement_id=bought.entitlement_id,
        site_id=site.site_id,
        holder=0,
        is_whole=False,
        skew=DEFAULT_SKEW,
        snapshot="",
        lent_at=lender.now,
        token_at=lender.now,
    )


# --- what can't be lent --------------------------------------------------------------------------------------------


def _refuse_closed(lender: Lender, bought: Bought) -> None:
    standing = bought.pool.terms.standing(lender.now)
    if standing not in (Standing.ACTIVE, Standing.GRACE_PERIOD, Standing.EXPORTED):
        raise CannotDo(f"{bought.customer}'s {bought.product} is {standing.value}: nothing is lent of it")


def _refuse_mixture(lender: Lender, bought: Bought, others: Sequence[Share], *, whole: bool) -> None:
    if other := next((share for share in others if share.is_whole), None):
        name = next(site.name for site in lender.sites() if site.site_id == other.site_id)
        raise CannotDo(f"{bought.customer}'s {bought.product} is lent to {name} altogether: take it back first")
    if whole and others:
        raise CannotDo(
            f"parts of {bought.customer}'s {bought.product} are lent to {len(others)} other servers: say how many --seats"
        )


def _end(lender: Lender, bought: Bought, until: datetime | None) -> datetime:
    last = bought.pool.terms.last_moment
    ends_at = until or last or lender.now + WITHOUT_END
    if ends_at.year >= 9999:
        raise CannotDo("until: say an end before the year 9999")
    if ends_at <= lender.now:
        raise CannotDo(f"until: {spoken(ends_at)} is over; say a later end")
    if last is not None and ends_at > last:
        raise CannotDo(
            f"until: {bought.customer}'s {bought.product} itself ends at {spoken(last)}; nothing is lent beyond that"
        )
    return ends_at


# --- what is lent --------------------------------------------------------------------------------------------------


def exports(lender: Lender, entitlement_id: str) -> list[Export]:
    """Give what of an entitlement is lent, to whom, and until when."""
    sites = {site.site_id: site for site in lender.sites()}
    return [_export(lender, share, sites[share.site_id]) for share in lender.running_of(entitlement_id)]


def _export(lender: Lender, share: Share, site: Site) -> Export:
    newest = lender.grants(share)[-1]
    ends = (place.free_at for place in lender.places(share) if place.occupies and place.free_at)
    return Export(
        share_id=share.share_id,
        site=site,
        seats=newest.rights.get(SEAT, 0),
        features={key: amount for key, amount in newest.rights.items() if key != SEAT},
        until=newest.until,
        is_whole=share.is_whole,
        exported_at=share.lent_at,
        last_token_at=share.token_at,
        out_of_sync=is_behind(lender, share, newest),
        counts_until=max(ends, default=lender.now),
    )


def is_behind(lender: Lender, share: Share, newest: Grant) -> bool:
    """Tell whether an entitlement is not any more as the newest document of a share says."""
    last = lender.bought(share.entitlement_id).pool.terms.last_moment
    is_longer = last is not None and last < newest.until
    return is_longer or share.snapshot != documents.fingerprint(lender, share, _rights(lender, share, newest))


def _rights(lender: Lender, share: Share, newest: Grant) -> Mapping[str, int]:
    """Give what is lent now: of an entitlement that is lent altogether, as much as was bought."""
    return documents.all_of(lender.bought(share.entitlement_id)) if share.is_whole else newest.rights
