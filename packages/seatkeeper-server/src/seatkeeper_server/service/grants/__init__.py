"""A local server's side of lending: it asks for its license, applies what its vendor sends, reports, and gives back.

What it was lent becomes an ordinary entitlement in its own database, under the ids that it has at the vendor's; so a program
changes nothing but a URL, and the pool machine needs to know nothing of this. A grant's end is the entitlement's end here.

A document is applied when it is sealed to this server, signed by a key that the vendor's root certified for himself, meant for
this server's id, new, and of no older session than what was applied of the same entitlement. Everything else is refused by
name, and nothing changes. A fresh document also clears the server of suspicion: that the vendor made it shows that he knows.

    licenses   →  this server's own license: asked for, given, shown, given back
    shares     →  a grant applied: the entitlement as it is here from now on
    reports    →  what is told the vendor of its use
    returns    →  a share given back, and what programs still believe in of it

Below them: `server` (what this server has and knows) and `documents` (what comes from vendors and goes to them).
"""

from datetime import datetime

from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.service.connections import Letter
from seatkeeper_server.service.delegation import Applied, Lent, License, TokenRefused
from seatkeeper_server.service.grants import documents, licenses, reports, returns, shares
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.service.ports import Random
from seatkeeper_server.service.site_books import Books, Keyholder
from seatkeeper_server.service.suspicion import suspect
from seatkeeper_server.service.wording import spoken
from seatkeeper_server.statements import FromVendor, GrantGiven, LicenseGiven, at

__all__ = ["Grants"]


class Grants:
    """What this server can do about its licenses and what it was lent. Each method is the work of one transaction."""

    def __init__(self, books: Books, keys: Keyholder, *, now: datetime, random: Random) -> None:
        self._server = LocalServer(books=books, keys=keys, now=now, random=random)

    def _in_turn(self, tenant_id: str) -> LocalServer:
        """Give this server, beside which nobody changes what a vendor has lent until the transaction ends."""
        self._server.take_turn(tenant_id)
        return self._server

    # --- the license -----------------------------------------------------------------------------------------------

    def license(self, tenant_id: str | None = None) -> License | None:
        """Give this server's license from a vendor, or from the only one; None if it was never asked for."""
        return next((shown for shown in self.licenses() if tenant_id in (None, shown.tenant_id)), None)

    def licenses(self) -> list[License]:
        """Give this server's licenses, one a vendor."""
        return licenses.shown(self._server)

    def request(self, tenant_id: str, code: str, name: str) -> str:
        """Ask a vendor for a license, under his activation code; give the document to carry to him.

        Raises:
            CannotDo: the code is mistyped, or the name can't be one.
        """
        return licenses.request(self._server, tenant_id, code, name)

    def deactivate(self, tenant_id: str) -> str:
        """Give the license back, which takes effect at once, and give the document that says so.

        Raises:
            CannotDo: there is none, or something is still lent under it.
        """
        return licenses.give_back(self._server, tenant_id)

    # --- what is lent ----------------------------------------------------------------------------------------------

    def entitlements(self, tenant_id: str) -> list[Lent]:
        """Give what a vendor has lent to this server."""
        return [self._server.lent(record) for record in self._server.running(tenant_id)]

    def entitlement(self, tenant_id: str, entitlement_id: str) -> Lent:
        """Give one entitlement that was lent.

        Raises:
            NotFound: there is none of that id.
        """
        return self._server.lent(self._server.record(tenant_id, entitlement_id))

    def remove(self, tenant_id: str, entitlement_id: str) -> str:
        """Give an entitlement back: nothing more is served from it; give the document that says so.

        Programs that hold a seat go on until the lease they have has ended; the document says how many, and until when.

        Raises:
            NotFound: there is none of that id.
        """
        return returns.give_back(self._in_turn(tenant_id), tenant_id, entitlement_id)

    def report(self, tenant_id: str) -> str:
        """Report what became of everything that a vendor has lent; give the document to carry to him.

        Raises:
            CannotDo: this server has no license from him.
        """
        return reports.report(self._in_turn(tenant_id), tenant_id)

    def next_letter(self, tenant_id: str) -> tuple[Letter, bool] | None:
        """Give the next document to send to a vendor, and whether it is the last word for now: None if there is nothing to say.

        What he has not answered yet comes first, as it was made. Then it is a report.
        """
        return reports.next_letter(self._server, tenant_id)

    def heed(self, tenant_id: str, state: SiteState) -> None:
        """Note that the vendor doesn't believe this server: it goes on as long as its grants say."""
        suspect(self._server.books, tenant_id, state, self._server.now)

    # --- documents from the vendor ---------------------------------------------------------------------------------

    def read(self, token: str) -> FromVendor:
        """Give what a document says that a vendor has sent, without applying it.

        Raises:
            TokenRefused: it can't be read here.
        """
        return documents.opened(self._server, token)

    def apply(self, token: str) -> Applied:
        """Apply a document from a vendor.

        Raises:
            TokenRefused: it can't be applied here.
        """
        said = self.read(token)
        match said:
            case LicenseGiven():
                licenses.take(self._in_turn(said.tid), said)
                until = spoken(at(said.lease_ends_at))
                return Applied("license", f"this server is licensed by {said.vendor} as {said.name}, until {until}")
            case GrantGiven():
                bought = self._take(said).bought
                seats = next((right.amount for right in said.snapshot.rights if right.key == SEAT), 0)
                until = spoken(at(said.until))
                return Applied("grant", f"{seats} seats of {bought.product} for {bought.customer} are lent until {until}")

    def applied_entitlement(self, token: str) -> Lent:
        """Apply a document that lends something, and give what it lends.

        Raises:
            TokenRefused: it can't be applied here, or lends nothing.
        """
        said = self.read(token)
        if not isinstance(said, GrantGiven):
            raise TokenRefused("offline.wrongKind", "this token lends nothing: apply it as a license")
        return self._take(said)

    def _take(self, said: GrantGiven) -> Lent:
        server = self._in_turn(said.tid)
        return server.lent(shares.take(server, said))
