"""What local servers report: their use by the hour, which documents they have applied, and whether it all fits together.

Facts of an entitlement form a chain, and a report begins where the last one ended. One that doesn't is from a server whose data
were set back, or from two of them; or the vendor's own data were. Each is noted (`reportGap`), and the server is suspect.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seatkeeper_server.domain.shares import Grant
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.delegation import Applied, Share, ShareUse, Site, TokenRefused
from seatkeeper_server.service.lending import hearing, places
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.service.use import by_day
from seatkeeper_server.service.wording import counted
from seatkeeper_server.statements import Reported, UseReported, kind_of


@dataclass(frozen=True, slots=True)
class Fault:
    """How a report doesn't fit, in words; `is_twice` says that the same number was given to two different facts."""

    text: str
    is_twice: bool = False

    def __str__(self) -> str:
        return self.text


def report(lender: Lender, token: str) -> Applied:
    """Take in a server's report."""
    said = hearing.opened(lender, token)
    if not isinstance(said, Reported):
        raise TokenRefused("offline.wrongKind", f"this token is a {kind_of(said)}, not a report")
    site = replace(hearing.heard(lender, said), last_report_at=lender.now)
    forgotten = _forgotten(lender, site, said)
    site = replace(site, sent=max(site.sent, said.epoch))
    wrong = [*forgotten, *_take_uses(lender, site, said)]
    site = _judged(lender, site, said, wrong)
    lender.books.sites.save_site(site)
    text = f"{site.name} reports the use of {counted(len(said.uses), 'entitlement')}{_trouble(site, wrong)}"
    return Applied("usage-report", text)


def _take_uses(lender: Lender, site: Site, said: Reported) -> list[Fault]:
    """Take in what became of each share; what doesn't fit. Of a report that comes late only the hours are kept."""
    is_late = site.heard_id != said.jti
    wrong: list[Fault] = []
    for use in said.uses:
        share = next((one for one in lender.shares() if one.share_id == use.sid and one.site_id == site.site_id), None)
        if share is None:
            continue
        if is_late:
            lender.books.sites.save_use(lender.tenant_id, share.share_id, use.hours)
        elif share.ended_at is None and (fault := take_use(lender, share, use)):
            wrong.append(fault)
    return wrong


def _judged(lender: Lender, site: Site, said: Reported, wrong: Sequence[Fault]) -> Site:
    """Tell whether a server is believed after a report: by what it says of itself, then by what doesn't fit."""
    if site.state is not SiteState.OK:
        return site
    knows_all = said.epoch >= site.sent  # else a document is on its way to it that clears it
    if said.state != SiteState.OK.value and knows_all:
        return replace(site, state=SiteState(said.state), state_since=lender.now)
    if wrong:
        return replace(site, state=SiteState.CLONED if wrong[0].is_twice else SiteState.RESTORED, state_since=lender.now)
    return site


def _trouble(site: Site, wrong: Sequence[Fault]) -> str:
    if wrong:
        return f"; {'; '.join(map(str, wrong))}: it is {site.state.value}"
    return "" if site.state is SiteState.OK else f"; it is {site.state.value}"


def uses(lender: Lender, called: str | None) -> list[ShareUse]:
    """Give what servers have reported of the use of their shares, day by day; ended shares too."""
    sites = {site.site_id: site for site in lender.sites()}
    wanted = None if called is None else lender.site(called).site_id
    return [
        ShareUse(
            share_id=share.share_id,
            entitlement_id=share.entitlement_id,
            site=sites[share.site_id],
            facts=share.facts,
            days=by_day(lender.books.sites.use(lender.tenant_id, share.share_id)),
        )
        for share in lender.shares()
        if wanted in (None, share.site_id)
    ]


# --- what became of a share ----------------------------------------------------------------------------------------


def take_use(lender: Lender, share: Share, use: UseReported) -> Fault | None:
    """Take in what became of a share; what doesn't fit to what was reported before, if anything."""
    share = next(one for one in lender.running() if one.share_id == share.share_id)
    if use.settled:
        _confirm(lender, share, use.number)
    if use.after == share.facts and (not share.head or use.after_head == share.head):
        lender.books.sites.save_use(lender.tenant_id, share.share_id, use.hours)
        lender.books.sites.save_share(replace(share, facts=use.upto, head=use.head))
        return None
    if use.upto == share.facts and use.head == share.head:
        return None
    lender.books.sites.save_share(replace(share, facts=use.upto, head=use.head))  # told once, then it goes on from there
    if use.after > share.facts:
        lender.books.sites.save_use(lender.tenant_id, share.share_id, use.hours)
    fault = _fault(lender.named(share), share, use)
    lender.note(share.entitlement_id, "reportGap", {"site": share.site_id, "what": fault.text})
    return fault if use.after <= share.facts else None


def _fault(named: str, share: Share, use: UseReported) -> Fault:
    """Say how a report doesn't go on where the last one ended."""
    if use.after > share.facts:
        return Fault(f"{named}: facts {share.facts + 1} to {use.after} were never reported")
    if use.upto < share.facts:
        return Fault(f"{named}: facts up to {share.facts} were reported before, and these end at {use.upto}")
    if use.after_head != share.head:
        return Fault(f"{named}: facts from {use.after + 1} on happened twice, differently", is_twice=True)
    return Fault(f"{named}: facts {use.after + 1} to {share.facts} were reported before")


def _confirm(lender: Lender, share: Share, number: int) -> None:
    """Let go of the documents before one that a server has applied and keeps to."""
    grants = lender.grants(share)
    kept = [grant for grant in grants if grant.number >= number]
    if kept and len(kept) < len(grants):
        drawn = places.drawn(lender, share)  # of one that has ended since, too: it may have been used up
        used_up = {key: min(amount, max(grant.rights.get(key, 0) for grant in kept)) for key, amount in drawn.items()}
        places.relend(lender, share, kept, "confirmed", used_up=used_up)
        lender.books.sites.save_grants(lender.tenant_id, share.share_id, kept, lender.now)


# --- what the vendor has forgotten ---------------------------------------------------------------------------------


def _forgotten(lender: Lender, site: Site, said: Reported) -> list[Fault]:
    """Tell what a server has from this vendor that he doesn't know of: then it is his own data that were set back."""
    known = {share.share_id: share for share in lender.shares()}
    found: list[Fault] = []
    for use in said.uses:
        share = known.get(use.sid)
        if share is not None and not _is_unknown(lender, share, use.number):
            continue
        found.append(Fault(f"it has document {use.number} of {use.sid}, which is not known here: were your data set back?"))
        if share is not None:
            _go_on_after(lender, share, use.number)
    if said.epoch > site.sent or found:
        what = f"{site.name} has heard more from you than you remember"
        lender.note(lender.tenant_id, "reportGap", {"site": site.site_id, "what": what})
    return found


def _is_unknown(lender: Lender, share: Share, number: int) -> bool:
    grants = lender.grants(share)
    return bool(grants) and grants[-1].number < number


def _go_on_after(lender: Lender, share: Share, number: int) -> None:
    """Have the next document of a share come after one that its server has, and that nobody here remembers."""
    grants = lender.grants(share)
    known_as = Grant(number, grants[-1].rights, grants[-1].until)
    lender.books.sites.save_grants(lender.tenant_id, share.share_id, [*grants, known_as], lender.now)
