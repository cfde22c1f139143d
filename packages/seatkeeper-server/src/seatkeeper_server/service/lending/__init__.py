"""The vendor's side of lending: he licenses local servers, lends them shares, takes shares back, and hears what became of them.

Everything that goes to a server or comes from one is a document (`tokens.py`), whether it is carried or sent. What keeps seats
from being given away twice is the pool machine alone (`domain/lending.py`): a share is a holding, and comes back when its
server has given it up, or when its grant and the skew allowed to its clock end.

    licenses      →  a server's own license: a seat of an entitlement that the vendor holds, product "Local License Server"
    shares        →  a new share, or a document of a running one: more, fewer or other rights, a later end
    returns       →  a share taken back by its server's word, or without it when its grant has run out
    reports       →  use by the hour, what has been applied, and whether facts go on where the last report ended
    exchange      →  whatever a server says, applied, and answered by what it needs

Below them: `lender` (what the vendor has and knows), `hearing` (documents opened, and taken in once), `places` (what a share
takes of its pool), `documents` and `certificates` (what goes out).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.delegation import Applied, Exchanged, Export, ShareUse, Site
from seatkeeper_server.service.lending import exchange, hearing, licenses, reports, returns, shares
from seatkeeper_server.service.lending.lender import Lender
from seatkeeper_server.service.lending.licenses import site_code
from seatkeeper_server.service.ports import Random
from seatkeeper_server.service.site_books import Books, Keyholder
from seatkeeper_server.statements import FromSite

__all__ = ["Lending", "site_code"]


class Lending:
    """What one vendor can do about local servers. Each method is the work of one transaction."""

    def __init__(self, books: Books, keys: Keyholder, *, tenant_id: str, now: datetime, random: Random) -> None:
        self._lender = Lender(books=books, keys=keys, tenant_id=tenant_id, now=now, random=random)

    def _in_turn(self) -> Lender:
        """Give the vendor, to whom nobody else lends or gives back anything until the transaction ends."""
        self._lender.take_turn()
        return self._lender

    # --- servers and their licenses --------------------------------------------------------------------------------

    def site_code(self) -> str:
        """Give the activation code by which local servers are licensed."""
        return licenses.code(self._lender)

    def license_entitlement(self) -> Bought:
        """Give the entitlement whose seats are the licenses of local servers.

        Raises:
            NotFound: no server was ever licensed.
        """
        return licenses.entitlement(self._lender)

    def sites(self) -> list[Site]:
        """Give the vendor's local servers, oldest first."""
        return self._lender.sites()

    def site(self, called: str) -> Site:
        """Give a server by its id or its name.

        Raises:
            NotFound: there is none, or none that is licensed, of that name.
            CannotDo: there are several of that name.
        """
        return self._lender.site(called)

    def license(self, token: str) -> str:
        """License the server that asks for it, and give the answer it waits for.

        Raises:
            TokenRefused: nobody here has that code, or the token was used before.
            CannotDo: there is no license left.
        """
        return licenses.give(self._in_turn(), token)

    def renew_license(self, site_id: str) -> str:
        """Renew a server's license, and give the document that says so; it clears the server of suspicion.

        Raises:
            NotFound: there is no such server.
            CannotDo: its license was given back.
        """
        return licenses.renew(self._in_turn(), site_id)

    def end_license(self, token: str) -> None:
        """Take a server's license back, by its word.

        Raises:
            TokenRefused: it is not that server's word, or was applied before.
            CannotDo: the server still has shares.
        """
        licenses.end(self._in_turn(), token)

    def forget(self, site_id: str) -> None:
        """Take a server's license back without its word: it is lost.

        Raises:
            NotFound: there is no such server.
            CannotDo: it still has shares.
        """
        licenses.forget(self._in_turn(), site_id)

    # --- shares ----------------------------------------------------------------------------------------------------

    def exports(self, entitlement_id: str) -> list[Export]:
        """Give what of an entitlement is lent, to whom, and until when."""
        return shares.exports(self._lender, entitlement_id)

    def uses(self, site_id: str | None = None) -> list[ShareUse]:
        """Give what servers have reported of the use of their shares, day by day; ended shares too."""
        return reports.uses(self._lender, site_id)

    def lend(
        self,
        entitlement_id: str,
        site_id: str,
        *,
        seats: int | None = None,
        features: Mapping[str, int] | None = None,
        until: datetime | None = None,
        skew: timedelta | None = None,
    ) -> str:
        """Lend a part of an entitlement to a server, or all of it (`seats` None), and give the document that says so.

        What the server has of it already is changed: more seats count at once, fewer when the documents before have ended or
        the server says that it has applied this one.

        Raises:
            NotFound: there is no such entitlement or server.
            CannotDo: there is not so much left of it, or the end can't be.
        """
        return shares.lend(self._in_turn(), entitlement_id, site_id, seats=seats, features=features, until=until, skew=skew)

    def fresh_token(self, entitlement_id: str, site_id: str | None = None) -> str:
        """Give a fresh document of what a server was lent, with the entitlement as it is now.

        Raises:
            NotFound: there is no such entitlement, or it is not lent.
            CannotDo: it is lent to several servers, and none was named.
        """
        return shares.fresh_token(self._in_turn(), entitlement_id, site_id)

    def take_back(self, entitlement_id: str, token: str | None, site_id: str | None = None) -> None:
        """Take a share back: by its server's word, or without it when its grant has run out.

        Raises:
            NotFound: there is no such entitlement, or it is not lent.
            TokenRefused: the token is not that server's word about this entitlement, or was applied before.
            CannotDo: it is still lent.
        """
        returns.take_back(self._in_turn(), entitlement_id, token, site_id)

    # --- what servers say ------------------------------------------------------------------------------------------

    def read(self, token: str) -> FromSite:
        """Give what a document says that a server has sent, without applying it.

        Raises:
            TokenRefused: it can't be read here.
        """
        return hearing.read(self._lender, token)

    def report(self, token: str) -> Applied:
        """Take in a server's report: its use by the hour, and which documents it has applied.

        Raises:
            TokenRefused: it is no report of a server of this vendor's, or was applied before.
        """
        return reports.report(self._in_turn(), token)

    def apply(self, token: str) -> Applied:
        """Apply whatever document a server has sent.

        Raises:
            TokenRefused: it can't be applied here.
            CannotDo: what it asks for can't be done.
        """
        return exchange.apply(self._in_turn(), token)

    def exchange(self, token: str) -> Exchanged:
        """Apply a document that a server has sent, and give it what it needs and has not confirmed.

        A document that was applied before changes nothing: its answer was lost. What a server needs is said when it reports,
        since then it says what it has. A server that seems to be two is given nothing before somebody has looked
        (`renew_license`); one whose data were set back is told where it stands, and believed again.

        Raises:
            TokenRefused: it can't be applied here.
            CannotDo: what it asks for can't be done, or its license has ended.
        """
        return exchange.exchange(self._lender, token)
