"""Who keeps what a vendor's server and the license servers of his customers know of each other, and who signs between them.

Both sides of lending (`lending`, `grants`) are handed `Books`, which the store implements, and a `Keyholder`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from seatkeeper.protocol.documents import Covers
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.shares import Amounts, Grant
from seatkeeper_server.domain.terms import Right, Switch
from seatkeeper_server.service.catalogue import Catalogue, Vault
from seatkeeper_server.service.connections import ConnectionBook
from seatkeeper_server.service.delegation import LentRecord, OwnLicense, Share, Site
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.statements import HourOfUse, Snapshot


class SiteBook(Protocol):
    """Keeps what both sides know of each other, within the transaction of a catalogue."""

    def has_applied(self, tenant_id: str, token_id: str) -> bool:
        """Tell whether a document was applied here."""
        ...

    def note_applied(self, tenant_id: str, token_id: str, now: datetime) -> None:
        """Remember that a document was applied."""
        ...

    # the vendor's side
    def sites(self, tenant_id: str) -> list[Site]:
        """Give a vendor's local license servers, oldest first."""
        ...

    def save_site(self, site: Site) -> None:
        """Keep what is known of a server."""
        ...

    def shares(self, tenant_id: str) -> list[Share]:
        """Give what a vendor has lent, oldest first; ended ones too."""
        ...

    def save_share(self, share: Share) -> None:
        """Keep a share."""
        ...

    def grants(self, tenant_id: str, share_id: str) -> list[Grant]:
        """Give the documents of a share that may be in force, oldest first."""
        ...

    def save_grants(self, tenant_id: str, share_id: str, grants: Sequence[Grant], now: datetime) -> None:
        """Keep these documents of a share, and no others."""
        ...

    def layers(self, tenant_id: str, share_id: str) -> list[Holding]:
        """Give every place of a share."""
        ...

    def snapshot(self, key: PoolKey) -> Snapshot:
        """Give an entitlement in words, without rights and codes."""
        ...

    def set_switch(self, key: PoolKey, switch: Switch) -> None:
        """Switch an entitlement on or off."""
        ...

    def save_use(self, tenant_id: str, share_id: str, hours: Sequence[HourOfUse]) -> None:
        """Keep the hours of use that a server reported."""
        ...

    def use(self, tenant_id: str, share_id: str) -> list[HourOfUse]:
        """Give the hours of use that were reported."""
        ...

    # a local server's
    def own_licenses(self) -> list[OwnLicense]:
        """Give this server's licenses, one a vendor."""
        ...

    def save_own_license(self, license_: OwnLicense) -> None:
        """Keep a license, or that it was asked for."""
        ...

    def lent(self, tenant_id: str) -> list[LentRecord]:
        """Give what a vendor has lent to this server; ended shares too."""
        ...

    def save_lent(self, record: LentRecord) -> None:
        """Keep what an entitlement rests on."""
        ...

    def put_tenant(self, tenant_id: str, name: str, contact: str | None, now: datetime) -> None:
        """Have a vendor whose seats are lent to this server."""
        ...

    def put_entitlement(self, tenant_id: str, snapshot: Snapshot, ends_at: datetime, now: datetime) -> None:
        """Have an entitlement as a document says it is, all but its rights and codes."""
        ...

    def put_right(self, key: PoolKey, right: Right) -> None:
        """Have so much of a right in an entitlement; what is taken of it stays."""
        ...

    def drop_codes(self, tenant_id: str, group_id: str) -> None:
        """Forget a group's activation codes."""
        ...

    def believed(self, key: PoolKey) -> list[tuple[Amounts, datetime]]:
        """Give what every place that counts takes, and until when somebody may believe in it."""
        ...

    def facts_after(self, key: PoolKey, number: int) -> list[FactRecord]:
        """Give the facts of an entitlement after a number."""
        ...


class Books(Catalogue, Protocol):
    """A catalogue that knows of local license servers too."""

    @property
    def sites(self) -> SiteBook:
        """What is known of local license servers, and on one of itself."""
        ...

    @property
    def connections(self) -> ConnectionBook:
        """On a local server: its connections to vendors."""
        ...


class Keyholder(Vault, Protocol):
    """Signs, seals and certifies for a tenant, or for this server itself (owner '')."""

    def sealing_key(self, owner: str, now: datetime) -> X25519PrivateKey:
        """Give the key that documents for an owner are sealed to; made if there is none."""
        ...

    def own_signing_key(self, now: datetime) -> Ed25519PrivateKey:
        """Give the key by which this server signs as a local one; made if there is none."""
        ...

    def signing_key(self, tenant_id: str) -> tuple[Ed25519PrivateKey, str]:
        """Give the tenant's current signing key and its certificate."""
        ...

    def certify(
        self, tenant_id: str, *, site: Site, covers: Covers, since: datetime, until: datetime, epoch: int, now: datetime
    ) -> str:
        """Have the tenant's root certify the key of a local server, for what it was lent."""
        ...

    def welcome(self, tenant_id: str, root_key: str, certificate: str, now: datetime) -> None:
        """Serve a vendor's programs under this certificate of his root's from now on; with secrets of this server's own."""
        ...

    def database_id(self) -> str:
        """Give the id of this database, which every lease names as its issuer."""
        ...
