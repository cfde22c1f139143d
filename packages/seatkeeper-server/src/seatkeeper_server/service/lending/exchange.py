"""A document from a local server is applied, whatever it is, and over a line answered by what its server needs.

What a server needs is said when it reports, since then it says what it has. Until it has confirmed a document it is given that
again, so that nothing is lost with an answer. Whoever calls `apply` has taken the turn (`Lender.take_turn`).
"""

from contextlib import suppress

from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.delegation import Applied, Exchanged, NoRoom, Site, TokenRefused
from seatkeeper_server.service.lending import documents, hearing, licenses, reports, returns, shares
from seatkeeper_server.service.lending.lender import LICENSE_LEASE, Lender
from seatkeeper_server.service.wording import counted, spoken
from seatkeeper_server.statements import FromSite, LicenseEnded, LicenseRequest, Reported, ShareRemoved, at


def apply(lender: Lender, token: str) -> Applied:
    """Apply whatever document a server has sent."""
    said = hearing.read(lender, token)
    match said:
        case LicenseRequest():
            return Applied("license-request", f"{said.name} is licensed", licenses.give(lender, token))
        case Reported():
            return reports.report(lender, token)
        case ShareRemoved():
            return _given_back(lender, said)
        case LicenseEnded():
            licenses.end_heard(lender, said)
            return Applied("license-end", f"{said.name} has given its license back")


def _given_back(lender: Lender, said: ShareRemoved) -> Applied:
    share = hearing.share_of(lender, said)
    returns.take_back_heard(lender, share, said)
    still = f"; its programs still hold {_sum(said)}" if said.out else ""
    return Applied("removal", f"{lender.named(share)} was given back by {lender.site(share.site_id).name}{still}")


def _sum(said: ShareRemoved) -> str:
    seats = sum(still.rights.get(SEAT, 0) for still in said.out)
    until = max(still.until for still in said.out)
    return f"{counted(seats, 'seat')} until {spoken(at(until))} at the latest"


# --- over a line ---------------------------------------------------------------------------------------------------


def exchange(lender: Lender, token: str) -> Exchanged:
    """Apply a document that a server has sent, and give it what it needs and has not confirmed."""
    said = hearing.read(lender, token)
    lender.take_turn()
    try:
        applied = apply(lender, token)
    except TokenRefused as refused:
        if refused.problem != TokenRefused.REPLAYED or isinstance(said, LicenseRequest):
            raise
        return Exchanged(str(refused), lender.site(said.site).state, ())
    return _answer(lender, said, applied)


def _answer(lender: Lender, said: FromSite, applied: Applied) -> Exchanged:
    match said:
        case LicenseRequest():
            return Exchanged(applied.text, SiteState.OK, [applied.reply] if applied.reply else ())
        case Reported():
            site = lender.licensed_site(said.site)
            return Exchanged(applied.text, site.state, _needed(lender, site, said))
        case _:
            return Exchanged(applied.text, lender.site(said.site).state, ())


def _needed(lender: Lender, site: Site, said: Reported) -> list[str]:
    """Give the documents that a server has to have, as far as it has not just said that it has them."""
    if site.state is SiteState.CLONED:
        return []
    needed = [licenses.renew(lender, site.site_id)] if _wants_license(lender, site, said) else []
    confirmed = {use.sid: use.number for use in said.uses}
    for share in lender.running_at(site):
        newest = lender.grants(share)[-1]
        if newest.until <= lender.now:
            continue
        if shares.is_behind(lender, share, newest):
            with suppress(NoRoom):  # there is no room for it now: it stays out of step, which the vendor is shown
                needed.append(shares.fresh_token(lender, share.entitlement_id, site.site_id))
        elif confirmed.get(share.share_id, 0) < newest.number:
            needed.append(documents.of_grant(lender, share, lender.site(site.site_id), newest))
    return needed


def _wants_license(lender: Lender, site: Site, said: Reported) -> bool:
    """Tell whether a server needs a document of its license: it is suspect, has missed the last one, or that wears out."""
    ends_at = site.lease_ends_at
    is_worn = ends_at is not None and ends_at - lender.now < LICENSE_LEASE / 3
    is_behind = ends_at is not None and said.license_ends_at is not None and said.license_ends_at < ends_at.timestamp() - 1
    is_suspect = site.state is not SiteState.OK or said.state != SiteState.OK.value
    return is_worn or is_behind or is_suspect
