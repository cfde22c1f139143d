"""API clients: the vendor's own systems, which call the Management API. Who they are, what each may do, and their secrets.

A secret is long and random; it is shown once, and only an HMAC of it is kept. That a client was made or removed is a fact in
the vendor's own chain.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from seatkeeper.protocol import ids
from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import CannotDo, Catalogue, NotFound, Vault
from seatkeeper_server.service.ports import Random

PERMISSIONS: Final = (  # as the public contract names them
    "products:read",
    "products:admin",
    "customers:read",
    "customers:admin",
    "entitlements:read",
    "entitlements:create",
    "entitlements:activate",
    "entitlements:admin",
    "activations:delete",
    "api:admin",
    "webhooks:admin",
    "settings:admin",
    "eup:admin",
    "lls:admin",
    "users:read",
    "users:admin",
    "tenants:admin",
)
SHORTEST_SECRET: Final = 32  # characters
LONGEST_SECRET: Final = 64
LONGEST_NAME: Final = 50

API_CLIENT: Final = "api_"
CLIENT_ID: Final = r"^[A-Za-z](?:[A-Za-z0-9\-_]{0,48}[A-Za-z0-9])?$"

_CLIENT_ID: Final = re.compile(CLIENT_ID.replace("$", r"\Z"), re.ASCII)
_NO_SECRET: Final = "0" * 64  # what is compared when there is no such client: time must not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClient:
    """A system of the vendor's; `client_id` is what it calls itself."""

    tenant_id: str
    api_id: str
    client_id: str
    name: str | None
    permissions: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """What a client is to be. Without permissions it has all of them; without a secret it gets one."""

    client_id: str
    name: str | None = None
    permissions: Sequence[str] = PERMISSIONS
    secret: str | None = None

    def __post_init__(self) -> None:
        if _CLIENT_ID.match(self.client_id) is None:
            raise ValueError(
                f"name: begin with a letter, then at most 49 letters, digits, '-' and '_', not {quoted(self.client_id)}"
            )
        if self.name is not None and len(self.name) > LONGEST_NAME:
            raise ValueError(f"name: at most {LONGEST_NAME} characters")
        if unknown := sorted(set(self.permissions) - set(PERMISSIONS)):
            raise ValueError(f"permission: there is no {quoted(unknown[0])}; there are {', '.join(PERMISSIONS)}")
        if self.secret is not None and not SHORTEST_SECRET <= len(self.secret) <= LONGEST_SECRET:
            raise ValueError(f"secret: {SHORTEST_SECRET} to {LONGEST_SECRET} characters")


class ClientBook(Protocol):
    """Keeps API clients, within the transaction of a catalogue."""

    def clients(self, tenant_id: str) -> list[ApiClient]:
        """Give a vendor's API clients, oldest first."""
        ...

    def client(self, tenant_id: str, api_id: str) -> ApiClient | None:
        """Give an API client by its id."""
        ...

    def called(self, tenant_id: str, client_id: str) -> tuple[ApiClient, str] | None:
        """Give the API client that calls itself so, and what is kept of its secret."""
        ...

    def add(self, client: ApiClient, secret_hash: str) -> None:
        """Add an API client."""
        ...

    def remove(self, tenant_id: str, api_id: str) -> None:
        """Forget an API client."""
        ...


def create(
    catalogue: Catalogue, book: ClientBook, vault: Vault, tenant_id: str, wanted: NewClient, *, now: datetime, random: Random
) -> tuple[ApiClient, str]:
    """Make an API client; with its secret, which can't be read again.

    Raises:
        CannotDo: there is one that calls itself so.
    """
    catalogue.tx.ledgers([tenant_id])  # locked: of two that are made at once, one comes first
    if book.called(tenant_id, wanted.client_id) is not None:
        raise CannotDo(f"there is an API client {quoted(wanted.client_id)} already: remove it first, or choose another name")
    secret = wanted.secret or ids.b64url(random(32))
    client = ApiClient(
        tenant_id=tenant_id,
        api_id=ids.make_id(API_CLIENT, random(ids.RANDOM_BYTES)),
        client_id=wanted.client_id,
        name=wanted.name,
        permissions=tuple(name for name in PERMISSIONS if name in wanted.permissions),
        created_at=now,
    )
    book.add(client, vault.secret_hash(tenant_id, secret))
    _note(catalogue, client, "apiClientMade", now)
    return client, secret


def remove(catalogue: Catalogue, book: ClientBook, tenant_id: str, called: str, now: datetime) -> None:
    """Remove an API client, by its id or what it calls itself. Its tokens end with it.

    Raises:
        NotFound: there is none of that name.
    """
    known = book.clients(tenant_id)
    found = next((client for client in known if called in (client.api_id, client.client_id)), None)
    if found is None:
        names = [client.client_id for client in known]
        raise NotFound("API client", called, names, "none was made yet: see `seatkeeper client create --help`")
    book.remove(tenant_id, found.api_id)
    _note(catalogue, found, "apiClientRemoved", now)


def proven(book: ClientBook, vault: Vault, tenant_id: str, client_id: str, secret: str) -> ApiClient | None:
    """Give the client whose secret this is; None for a wrong secret and an unknown client alike."""
    shown = vault.secret_hash(tenant_id, secret)
    client, kept = book.called(tenant_id, client_id) or (None, _NO_SECRET)
    return client if hmac.compare_digest(shown.encode(), kept.encode()) else None


def _note(catalogue: Catalogue, client: ApiClient, what: str, now: datetime) -> None:
    data: dict[str, object] = {"apiId": client.api_id, "clientId": client.client_id, "permissions": list(client.permissions)}
    recording.append(catalogue.tx, client.tenant_id, client.tenant_id, [Note(at=now, what=what, data=data)], now)
