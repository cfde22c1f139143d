"""What the Management API needs of the service: the use cases of lending, and the values they give, as Protocols."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from seatkeeper_server.http.further import AnyVisit
from seatkeeper_server.service.accounts import AccountKeys
from seatkeeper_server.service.catalogue import Bought, Vault
from seatkeeper_server.service.clients import ClientBook
from seatkeeper_server.service.deeds import DeedBook


class Site(Protocol):
    """A local license server as its vendor knows it."""

    @property
    def site_id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str:
        """What its administrator calls it."""
        ...

    @property
    def activation_id(self) -> str:
        """The seat that its own license is."""
        ...

    @property
    def activated_at(self) -> datetime:
        """When it was licensed."""
        ...

    @property
    def last_lease(self) -> datetime | None:
        """When its license was last given or extended."""
        ...

    @property
    def lease_ends_at(self) -> datetime | None:
        """When its license ends."""
        ...

    @property
    def deactivated_at(self) -> datetime | None:
        """When its license was given back."""
        ...

    @property
    def is_licensed(self) -> bool:
        """Whether its license was not given back."""
        ...

    @property
    def state(self) -> str:
        """Whether it is believed: ok, clock-suspect, restore-suspect, clone-suspect."""
        ...

    @property
    def last_report_at(self) -> datetime | None:
        """When it last reported its use."""
        ...


class Export(Protocol):
    """A share as its vendor is shown it."""

    @property
    def share_id(self) -> str:
        """Its id."""
        ...

    @property
    def site(self) -> Site:
        """Whom it is lent to."""
        ...

    @property
    def seats(self) -> int:
        """How many seats of it are lent."""
        ...

    @property
    def features(self) -> Mapping[str, int]:
        """How much of each feature is lent."""
        ...

    @property
    def until(self) -> datetime:
        """When it ends."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the whole entitlement is lent."""
        ...

    @property
    def exported_at(self) -> datetime:
        """When it was lent."""
        ...

    @property
    def last_token_at(self) -> datetime:
        """When the last document of it was made."""
        ...

    @property
    def out_of_sync(self) -> bool:
        """Whether the entitlement has changed since."""
        ...


class Applied(Protocol):
    """What became of a token."""

    @property
    def kind(self) -> str:
        """What it was."""
        ...

    @property
    def text(self) -> str:
        """What became of it, in a sentence."""
        ...

    @property
    def reply(self) -> str | None:
        """The token to carry back, if there is one."""
        ...


class Exchanged(Protocol):
    """What a vendor answers to a document that was sent."""

    @property
    def text(self) -> str:
        """What became of it, in a sentence."""
        ...

    @property
    def state(self) -> str:
        """Whether its server is believed: ok, clock-suspect, restore-suspect, clone-suspect."""
        ...

    @property
    def tokens(self) -> Sequence[str]:
        """What it has to apply."""
        ...


class Lends(Protocol):
    """What a vendor does with local license servers, within one transaction.

    Everything raises CannotDo or one of its kinds, each with the code it is told under.
    """

    def site_code(self) -> str:
        """Give the activation code by which local servers are licensed."""
        ...

    def license_entitlement(self) -> Bought:
        """Give the entitlement whose seats local servers are."""
        ...

    def sites(self) -> Sequence[Site]:
        """Give the local servers, oldest first."""
        ...

    def site(self, site_id: str, /) -> Site:
        """Give a local server."""
        ...

    def license(self, token: str, /) -> str:
        """License a local server that asks for it; the token to carry back."""
        ...

    def renew_license(self, site_id: str, /) -> str:
        """Extend a local server's license; the token to carry there."""
        ...

    def end_license(self, token: str, /) -> None:
        """End the license that a local server gave back."""
        ...

    def forget(self, site_id: str, /) -> None:
        """End the license of a local server that is lost."""
        ...

    def lend(
        self,
        entitlement_id: str,
        site_id: str,
        /,
        *,
        seats: int | None = None,
        features: Mapping[str, int] = {},
        until: datetime | None = None,
    ) -> str:
        """Lend a part of an entitlement, or (no seats named) all of it; the token to carry there."""
        ...

    def fresh_token(self, entitlement_id: str, site_id: str | None = None, /) -> str:
        """Give the token that brings what was lent up to date."""
        ...

    def take_back(self, entitlement_id: str, token: str | None, site_id: str | None = None, /) -> None:
        """Take back what a removal token gives up, or, without one, what has run out."""
        ...

    def report(self, token: str, /) -> Applied:
        """Take in what a local server reports of its use."""
        ...

    def read(self, token: str, /) -> object:
        """See that a document is a server's of this vendor's, without applying it."""
        ...

    def exchange(self, token: str, /) -> Exchanged:
        """Apply what a local server has sent, and give what it needs."""
        ...

    def exports(self, entitlement_id: str, /) -> Sequence[Export]:
        """Give what of an entitlement is lent, oldest first."""
        ...


class KeysAndCodes(Vault, AccountKeys, Protocol):
    """A tenant's keys and codes, and the key of its account."""


class Visit(AnyVisit, Protocol):
    """One transaction or snapshot of a vendor's data, with the use cases that work in it."""

    @property
    def vault(self) -> KeysAndCodes:
        """Keys and codes."""
        ...

    @property
    def clients(self) -> ClientBook:
        """The API clients."""
        ...

    @property
    def deeds(self) -> DeedBook:
        """What was sold, with all that was agreed upon."""
        ...

    def lending(self, tenant_id: str) -> Lends:
        """Lend on behalf of a vendor."""
        ...
