"""The vendor in one transaction: what he has sold, which local servers he knows, and what he has lent to whom.

Everything else in this package is a function of him. Here he is only asked; what changes a share or a license is beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.shares import Grant
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import Bought, CannotDo, NotFound, Tenant
from seatkeeper_server.service.delegation import Share, Site
from seatkeeper_server.service.ports import Random
from seatkeeper_server.service.site_books import Books, Keyholder

LICENSE_PRODUCT: Final = "Local License Server"
LICENSE_LEASE: Final = timedelta(days=365)  # after which a server's license has to be renewed


def licenses_of(books: Books, tenant_id: str) -> list[Bought]:
    """Give the entitlements whose seats are the licenses of local servers: none before the first is asked for."""
    return [bought for bought in books.bought(tenant_id) if bought.product == LICENSE_PRODUCT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lender:
    """What one vendor has, knows and has lent, within one transaction."""

    books: Books
    keys: Keyholder
    tenant_id: str
    now: datetime
    random: Random

    def take_turn(self) -> None:
        """Have everything that is lent to oneself: what was read before could be changed by another server meanwhile.

        The pool of the licenses stands for all of it. No program takes a seat of it, so nobody waits for it who serves seats.
        """
        if found := self.licenses():
            self.books.tx.lock([found[0].key], ())

    def tenant(self) -> Tenant:
        """Give the vendor by name."""
        return next(tenant for tenant in self.books.tenants() if tenant.tenant_id == self.tenant_id)

    # --- what was sold ---------------------------------------------------------------------------------------------

    def licenses(self) -> list[Bought]:
        """Give the entitlements whose seats are the licenses of local servers."""
        return licenses_of(self.books, self.tenant_id)

    def bought(self, entitlement_id: str) -> Bought:
        """Give an entitlement.

        Raises:
            NotFound: there is none of that id.
        """
        found = self.books.bought(self.tenant_id, entitlement_id)
        if not found:
            known = [bought.entitlement_id for bought in self.books.bought(self.tenant_id)]
            raise NotFound("entitlement", entitlement_id, known, "nothing has been sold yet: see `seatkeeper sell --help`")
        return found[0]

    def named(self, share: Share) -> str:
        """Say what a share is a part of."""
        bought = self.bought(share.entitlement_id)
        return f"{bought.customer}'s {bought.product}"

    # --- local servers ---------------------------------------------------------------------------------------------

    def sites(self) -> list[Site]:
        """Give the vendor's local servers, oldest first."""
        return self.books.sites.sites(self.tenant_id)

    def site(self, called: str) -> Site:
        """Give a server by its id or its name.

        Raises:
            NotFound: there is none, or none that is licensed, of that name.
            CannotDo: there are several of that name.
        """
        everyone = self.sites()
        found = [site for site in everyone if site.site_id == called]
        found = found or [site for site in everyone if site.name == called and site.is_licensed]
        if not found:
            names = [name for site in everyone for name in (site.site_id, site.name)]
            raise NotFound("local server", called, names, "none is licensed yet: see `seatkeeper site code`")
        if len(found) > 1:
            raise CannotDo(
                f"{len(found)} local servers are called {called}: name one by its id: {', '.join(s.site_id for s in found)}"
            )
        return found[0]

    def licensed_site(self, called: str) -> Site:
        """Give a server whose license was not given back.

        Raises:
            NotFound: there is no such server.
            CannotDo: its license was given back.
        """
        site = self.site(called)
        if not site.is_licensed:
            raise CannotDo(
                f"the license of {site.name} was given back: it has to ask for a new one (`seatkeeper token request`)"
            )
        return site

    # --- what is lent ----------------------------------------------------------------------------------------------

    def shares(self) -> list[Share]:
        """Give what was lent, oldest first; ended shares too."""
        return self.books.sites.shares(self.tenant_id)

    def running(self) -> list[Share]:
        """Give the shares that have not ended."""
        return [share for share in self.shares() if share.ended_at is None]

    def running_of(self, entitlement_id: str) -> list[Share]:
        """Give the running shares of an entitlement."""
        return [share for share in self.running() if share.entitlement_id == entitlement_id]

    def running_at(self, site: Site) -> list[Share]:
        """Give the running shares that a server has."""
        return [share for share in self.running() if share.site_id == site.site_id]

    def the_share(self, entitlement_id: str, called: str | None) -> tuple[Share, Site]:
        """Give the running share of an entitlement that a server has, or the only one.

        Raises:
            NotFound: there is no such entitlement or server, or it is not lent.
            CannotDo: it is lent to several servers, and none was named.
        """
        bought = self.bought(entitlement_id)
        wanted = self.site(called).site_id if called else None
        mine = [share for share in self.running_of(entitlement_id) if wanted in (None, share.site_id)]
        if not mine:
            raise NotFound("share", f"{bought.customer}/{bought.product}", [], "it is lent to no local server")
        if len(mine) > 1:
            raise CannotDo(f"it is lent to {len(mine)} local servers: name one")
        return mine[0], self.site(mine[0].site_id)

    def grants(self, share: Share) -> list[Grant]:
        """Give the documents of a share that may be in force, oldest first."""
        return self.books.sites.grants(self.tenant_id, share.share_id)

    def places(self, share: Share) -> list[Holding]:
        """Give every place of a share in its entitlement's pool."""
        return self.books.sites.layers(self.tenant_id, share.share_id)

    # --- what happened ---------------------------------------------------------------------------------------------

    def note(self, chain_id: str, what: str, data: Mapping[str, object]) -> None:
        """Write into a chain of facts what has happened: an entitlement's, or the vendor's own."""
        recording.append(self.books.tx, self.tenant_id, chain_id, [Note(at=self.now, what=what, data=data)], self.now)
