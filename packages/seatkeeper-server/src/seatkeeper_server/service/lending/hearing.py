"""What a local server says to its vendor, opened and taken in once: whether it is that server's word, and in which order.

Opening a document changes nothing. `heard` notes that it came; whether what it says can be done is decided by who asked.
"""

from dataclasses import replace

from seatkeeper_server import tokens
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.delegation import Share, Site, TokenRefused, readable
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.statements import FromSite, LicenseRequest, Said, ShareRemoved, at, public_text, sealing_kid


def read(lender: Lender, token: str) -> FromSite:
    """Give what a document says that a server has sent, its first one included.

    Raises:
        TokenRefused: it can't be read here.
    """
    readable(lambda: tokens.receiver_of(token))
    return opened_request(lender, token)[1] if tokens.is_request(token) else opened(lender, token)


def opened(lender: Lender, token: str) -> FromSite:
    """Give what a licensed server says.

    Raises:
        TokenRefused: it is no document of a server of this vendor's.
    """
    sites = {site.site_id: site.signing_key for site in lender.sites()}
    if not sites:  # nobody was ever given a key to seal anything to
        raise TokenRefused("offline.wrongServer", "this token is from a license server that is not known here")
    own = lender.keys.sealing_key(lender.tenant_id, lender.now)
    if readable(lambda: tokens.receiver_of(token)) != sealing_kid(public_text(own)):
        raise TokenRefused("offline.wrongServer", "this token was made for another server: carry it to the one it is for")
    said = readable(lambda: tokens.open_from_site(token, own=own, key_of=sites.get))
    if said.tid != lender.tenant_id:
        raise TokenRefused("offline.wrongServer", "this token was made for another vendor")
    return said


def opened_request(lender: Lender, token: str) -> tuple[Bought, LicenseRequest]:
    """Give what a server says that asks for a license, and the entitlement whose activation code it knows.

    Raises:
        TokenRefused: nobody here has that code.
    """
    wanted = readable(lambda: tokens.receiver_of(token))
    for bought in lender.licenses():
        for code in lender.books.codes(*bought.key):
            text = lender.keys.open_code(lender.tenant_id, code)
            if tokens.code_kid(text) == wanted:
                return bought, _opened_by(token, text)
    raise TokenRefused(
        "offline.wrongServer",
        "this token was made with an activation code that nobody has here: see `seatkeeper site code`",
    )


def _opened_by(token: str, code: str) -> LicenseRequest:
    return readable(lambda: tokens.open_by_code(token, code))


def heard(lender: Lender, said: Said) -> Site:
    """Remember that a server has said something: once, and after all that it said before.

    What was made before the last thing that was heard, and comes only now, was held up on its way: it is applied, and
    changes nothing about the order. What was made after it under an older number is from a server that has forgotten.
    """
    site = next(site for site in lender.sites() if site.site_id == said.site)
    apply_once(lender, said.jti)
    made_at = at(said.iat)
    if said.seq < site.heard and site.heard_made_at is not None and made_at <= site.heard_made_at:
        return site
    if said.seq <= site.heard:
        state = SiteState.CLONED if said.seq == site.heard else SiteState.RESTORED
        site = replace(site, state=state, state_since=lender.now)
    site = replace(site, heard=max(site.heard, said.seq), heard_id=said.jti, heard_made_at=made_at)
    lender.books.sites.save_site(site)
    return site


def apply_once(lender: Lender, token_id: str) -> None:
    """Remember that a document was applied.

    Raises:
        TokenRefused: it was applied before.
    """
    if lender.books.sites.has_applied(lender.tenant_id, token_id):
        raise TokenRefused(TokenRefused.REPLAYED, "this token was applied before; nothing was changed")
    lender.books.sites.note_applied(lender.tenant_id, token_id, lender.now)


def share_of(lender: Lender, said: ShareRemoved) -> Share:
    """Give the share that a server gives back.

    Raises:
        TokenRefused: it has no such share, or that was taken back before.
    """
    found = [share for share in lender.shares() if share.share_id == said.sid]
    if not found or found[0].site_id != said.site:
        raise TokenRefused("offline.wrongServer", "this token speaks of nothing that was lent to its server")
    if found[0].ended_at is not None:
        raise TokenRefused("offline.tooOld", "this share was taken back before; nothing was changed")
    return found[0]
