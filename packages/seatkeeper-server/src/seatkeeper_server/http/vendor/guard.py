"""Who calls the Management API, and whether he may: access tokens of API clients, and the permissions in them.

A token is opaque to clients. It names the client, what it may do and when it ends, under an HMAC by the tenant's key; what
isn't ours is turned away before any database work. Then one look tells whether the client is still there, so that removing it
ends its tokens too.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time
from typing import Annotated, Final

from fastapi import Depends
from msgspec import DecodeError, Struct, json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from seatkeeper_server.http.further import Office, in_state
from seatkeeper_server.http.identity import is_tenant_id
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.keys import TenantKeys
from seatkeeper_server.service.clients import ApiClient

LASTS: Final = 3_600  # seconds
MAX_TOKEN: Final = 2_048  # characters; one with every permission has about 600

_UNKNOWN: Final = "The access token is missing, wrong or has ended. Ask the token endpoint for another."


@dataclass(frozen=True, slots=True)
class Caller:
    """An API client that has proven who it is."""

    tenant_id: str
    api_id: str
    permissions: frozenset[str]


class _Claims(Struct, array_like=True, frozen=True):
    api_id: str
    permissions: tuple[str, ...]
    ends_at: int


_encode = json.Encoder().encode
_read_claims = json.Decoder(_Claims).decode


def token_for(client: ApiClient, keys: TenantKeys, clock: Callable[[], float] = time) -> str:
    """Give an access token to a client that has proven who it is."""
    return keys.api_token(_encode(_Claims(client.api_id, client.permissions, int(clock()) + LASTS)))


class Guard:
    """Knows callers by their tokens."""

    def __init__(self, office: Office[Visit], tenants: Tenants, clock: Callable[[], float] = time) -> None:
        self._office, self._tenants, self._clock = office, tenants, clock

    async def caller(self, request: Request) -> Caller:
        """Give who asks.

        Raises:
            ProblemError: `token.invalid`.
            Overloaded, StorageUnavailable: it can't be known now.
        """
        tenant_id, token = request.headers.get("n-tenantid", ""), _bearer(request)
        keys = await self._tenants.keys(tenant_id) if token is not None and is_tenant_id(tenant_id) else None
        payload = None if keys is None or token is None else keys.read_api_token(token)
        claims = None if payload is None else _claims(payload)
        if claims is None or claims.ends_at <= self._clock():
            raise ProblemError("token.invalid", _UNKNOWN)
        client = await run_in_threadpool(self._office.read, lambda visit: visit.clients.client(tenant_id, claims.api_id))
        if client is None:
            raise ProblemError("token.invalid", _UNKNOWN)
        return Caller(tenant_id, claims.api_id, frozenset(claims.permissions))


def _bearer(request: Request) -> str | None:
    text = request.headers.get("authorization", "")
    return text[7:].strip() if text[:7].lower() == "bearer " and len(text) <= MAX_TOKEN else None


def _claims(payload: bytes) -> _Claims | None:
    try:
        return _read_claims(payload)
    except DecodeError:
        return None  # of an older version, perhaps


def permitted(*permissions: str) -> Callable[[Request], Awaitable[Caller]]:
    """Give what lets in who has any one of these permissions."""

    async def let_in(request: Request) -> Caller:
        guard: Guard = in_state(request, "guard")
        caller = await guard.caller(request)
        if caller.permissions.isdisjoint(permissions):
            raise ProblemError("forbidden", f"This takes the permission {' or '.join(permissions)}.")
        return caller

    return let_in


def _office(request: Request) -> Office[Visit]:
    office: Office[Visit] = in_state(request, "office")
    return office


OfficeHere = Annotated[Office[Visit], Depends(_office)]
EntitlementsReader = Annotated[Caller, Depends(permitted("entitlements:read", "entitlements:admin"))]
EntitlementsAdmin = Annotated[Caller, Depends(permitted("entitlements:admin"))]
SitesAdmin = Annotated[Caller, Depends(permitted("lls:admin"))]
ClientsAdmin = Annotated[Caller, Depends(permitted("api:admin"))]
