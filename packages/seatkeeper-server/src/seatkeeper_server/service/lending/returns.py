"""Shares that come back: by their server's word, or without it when the grant and the skew allowed to its clock have ended.

What programs of the site still believe in counts until they don't: it is one more grant of the share, which nobody renews.
Whoever calls has taken the turn (`Lender.take_turn`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from seatkeeper_server.domain.shares import Grant, Layer, together
from seatkeeper_server.domain.terms import Switch
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import Share, Site, TokenRefused
from seatkeeper_server.service.lending import hearing, places, reports
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.service.lending.shares import serve
from seatkeeper_server.service.wording import spoken
from seatkeeper_server.statements import ShareRemoved, at, kind_of


def take_back(lender: Lender, entitlement_id: str, token: str | None, called: str | None) -> None:
    """Take a share back: by its server's word, or without it when its grant has run out."""
    if token is None:
        _unheard(lender, *lender.the_share(entitlement_id, called))
        return
    said = hearing.opened(lender, token)
    if not isinstance(said, ShareRemoved):
        raise TokenRefused("offline.wrongKind", f"this token is a {kind_of(said)}: see `seatkeeper token apply`")
    share = hearing.share_of(lender, said)
    if share.entitlement_id != entitlement_id:
        raise TokenRefused("offline.wrongServer", "this token gives back another entitlement than the one that was named")
    take_back_heard(lender, share, said)


def take_back_heard(lender: Lender, share: Share, said: ShareRemoved) -> None:
    """Take a share back, of which its server says what its programs still believe in, and what was used up."""
    hearing.heard(lender, said)
    reports.take_use(lender, share, said.use)
    share = hearing.share_of(lender, said)
    most = _most(lender, share)
    out = [_still_out(lender, share, said, number, most) for number in range(len(said.out))]
    drawn = places.drawn(lender, share)
    used_up = {key: min(max(0, said.use.used_up.get(key, amount)), amount) for key, amount in drawn.items()}
    _end(lender, share, out, used_up)


def _unheard(lender: Lender, share: Share, site: Site) -> None:
    if still := places.counts_until(lender, share):
        raise CannotDo(
            f"{site.name} may go on with what it was lent until its grant has ended, and its clock may be off: it counts"
            f" until {spoken(still)}; bring the removal token from there, or wait"
        )
    _end(lender, share, (), places.drawn(lender, share))


def _still_out(lender: Lender, share: Share, said: ShareRemoved, number: int, most: Mapping[str, int]) -> Grant:
    """Give what programs of a site still believe in, as a grant; it is no more than the site was lent.

    Until when is counted from now, since the site's clock may be wrong; and as it says, with the skew it is allowed.
    """
    still = said.out[number]
    for key, amount in still.rights.items():
        if not 0 <= amount <= most.get(key, 0):
            raise TokenRefused(
                "offline.malformed", f"this token gives back {amount} of {key or 'the seats'}: more than was lent"
            )
    ends_at = at(still.until)
    counted_from_now = lender.now + (ends_at - at(said.iat))
    return Grant(said.use.number + number, still.rights, min(counted_from_now, ends_at + share.skew))


def _most(lender: Lender, share: Share) -> dict[str, int]:
    """Give how much of each right a site can have given away: with all of an entitlement goes what is granted above."""
    held = [place for place in lender.places(share) if place.occupies]
    most = together(Layer(place.rights, place.expires_at, place.expires_at) for place in held)
    if share.is_whole:
        for key, tally in lender.bought(share.entitlement_id).pool.tallies.items():
            most[key] = max(most.get(key, 0), tally.right.cap or 0)
    return most


def _end(lender: Lender, share: Share, out: Sequence[Grant], used_up: Mapping[str, int]) -> None:
    """End a share; what programs of its server still believe in counts until they don't."""
    places.relend(lender, replace(share, skew=timedelta(0)), out, "returned", used_up=used_up)
    lender.books.sites.save_grants(lender.tenant_id, share.share_id, out, lender.now)
    lender.books.sites.save_share(replace(share, ended_at=lender.now))
    serve(lender, share, Switch.ON)
