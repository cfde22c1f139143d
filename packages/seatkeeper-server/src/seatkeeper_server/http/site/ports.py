"""What the LLS API needs of the service: the use cases of borrowing, and the values they give, as Protocols."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from seatkeeper_server.http.further import AnyVisit
from seatkeeper_server.http.vendor.ports import Applied
from seatkeeper_server.service.catalogue import Bought


class License(Protocol):
    """This server's own license, as its administrator is shown it."""

    @property
    def tenant_id(self) -> str:
        """Whose license it is."""
        ...

    @property
    def status(self) -> str:
        """How it stands: active, notActive, expired."""
        ...

    @property
    def site_id(self) -> str | None:
        """What this server is called by its vendor; None until it was licensed."""
        ...

    @property
    def name(self) -> str | None:
        """What its administrator calls it."""
        ...

    @property
    def lease_ends_at(self) -> datetime | None:
        """When it ends."""
        ...

    @property
    def state(self) -> str:
        """Whether this server is believed: ok, clock-suspect, restore-suspect, clone-suspect."""
        ...


class Lent(Protocol):
    """What was lent to this server."""

    @property
    def bought(self) -> Bought:
        """The entitlement, as it is here."""
        ...

    @property
    def codes(self) -> Sequence[str]:
        """The activation codes that open it."""
        ...

    @property
    def until(self) -> datetime:
        """When it ends."""
        ...

    @property
    def number(self) -> int:
        """The number of the document it rests on."""
        ...

    @property
    def share_id(self) -> str:
        """Its id at the vendor's."""
        ...


class Borrows(Protocol):
    """What a local server does with tokens, within one transaction.

    Everything raises CannotDo or one of its kinds, each with the code it is told under.
    """

    def license(self, tenant_id: str | None = None, /) -> License | None:
        """Give this server's license from a vendor; None if it has never asked for one."""
        ...

    def request(self, tenant_id: str, code: str, name: str, /) -> str:
        """Ask for a license; the token to carry to the vendor."""
        ...

    def apply(self, token: str, /) -> Applied:
        """Apply a token that the vendor has sent."""
        ...

    def applied_entitlement(self, token: str, /) -> Lent:
        """Apply a token that lends, and give what it lends."""
        ...

    def deactivate(self, tenant_id: str, /) -> str:
        """Give the license back at once; the token to carry to the vendor."""
        ...

    def entitlements(self, tenant_id: str, /) -> Sequence[Lent]:
        """Give what a vendor has lent to this server."""
        ...

    def entitlement(self, tenant_id: str, entitlement_id: str, /) -> Lent:
        """Give one entitlement that was lent to this server."""
        ...

    def remove(self, tenant_id: str, entitlement_id: str, /) -> str:
        """Give an entitlement back; the removal token to carry to the vendor."""
        ...

    def report(self, tenant_id: str, /) -> str:
        """Give the token that reports this server's use to its vendor."""
        ...


class Connected(Protocol):
    """A connection to a vendor, and how it stands."""

    @property
    def url(self) -> str:
        """Where he is found."""
        ...

    @property
    def connected_at(self) -> datetime:
        """Since when."""
        ...

    @property
    def succeeded_at(self) -> datetime | None:
        """When an exchange with him went well."""
        ...

    @property
    def next_at(self) -> datetime:
        """When the next one is due."""
        ...

    @property
    def failures(self) -> int:
        """How many have failed since."""
        ...

    @property
    def error(self) -> str | None:
        """Why the last one failed."""
        ...


class Connects(Protocol):
    """Connects this server with vendors; raises CannotDo or one of its kinds."""

    def connect(
        self, tenant_id: str, url: str, /, *, code: str | None = None, name: str | None = None, ca_file: str | None = None
    ) -> Connected:
        """Be licensed by a vendor, and stay in step with him."""
        ...

    def disconnect(self, tenant_id: str, /) -> list[str]:
        """Go back to carried tokens; those that are to be carried."""
        ...


class ConnectionShelf(Protocol):
    """Knows connections."""

    def of(self, tenant_id: str, /) -> Connected | None:
        """Give the connection to a vendor."""
        ...


class Visit(AnyVisit, Protocol):
    """One transaction or snapshot of a site's data, with the use cases that work in it."""

    @property
    def connections(self) -> ConnectionShelf:
        """Connections to vendors."""
        ...

    @property
    def grants(self) -> Borrows:
        """What was lent to this server, and its own license."""
        ...
