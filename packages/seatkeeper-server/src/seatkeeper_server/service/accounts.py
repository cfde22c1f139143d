"""The key of a vendor's account: the one that his systems know by `GET /account/key`, and his only RSA key.

It is made when it is first asked for, outside of any transaction, since that takes longer than a seat may wait. So two who ask
at once may make one each; the first that is kept is everybody's. That it was made is a fact in the vendor's own chain.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The public part, as a JWK has it: base64url of both numbers."""

    modulus: str
    exponent: str


@dataclass(frozen=True, slots=True)
class NewAccountKey:
    """A key that was just made; `private` is PKCS #8."""

    public: AccountKey
    private: bytes = field(repr=False)


class AccountKeys(Protocol):
    """Keeps the keys of accounts, private parts sealed, within the transaction of a catalogue."""

    def account_key(self, tenant_id: str) -> AccountKey | None:
        """Give the key of a vendor's account; None if nobody has asked for it yet."""
        ...

    def add_account_key(self, tenant_id: str, made: NewAccountKey, now: datetime) -> None:
        """Keep the key of a vendor's account, who has none yet."""
        ...


def keep(catalogue: Catalogue, keys: AccountKeys, tenant_id: str, made: NewAccountKey, now: datetime) -> AccountKey:
    """Keep a key that was made for a vendor, unless he has one: give the one that he has."""
    catalogue.tx.ledgers([tenant_id])  # locked: of two that are made at once, one comes first
    if (known := keys.account_key(tenant_id)) is not None:
        return known
    keys.add_account_key(tenant_id, made, now)
    recording.append(catalogue.tx, tenant_id, tenant_id, [Note(at=now, what="accountKeyMade")], now)
    return made.public
