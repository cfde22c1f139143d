"""Who asks: access tokens, activation codes, idempotency keys, addresses. Everything is checked here before the desk is asked.

What is unknown is unknown alike: whether it is the tenant, the product or the code that is wrong can't be seen in the answer.
In time, a wrong product and a wrong code go the same way. An unknown tenant's code is hashed and the desk asked as well; what
remains is that a failure at a tenant that exists is written down, which takes a millisecond or so, and that one that doesn't
is looked up first. So time may tell that a tenant exists, as its public keys tell anybody (GET /.well-known/seatkeeper/keys).
"""

import re
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from math import ceil
from string import ascii_uppercase, digits
from time import time
from typing import Final, Protocol

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from seatkeeper.protocol import codes
from seatkeeper.protocol.documents import CodeCredentials, Credentials
from seatkeeper_server.http.messages import Request
from seatkeeper_server.http.problems import ProblemError, reject_field
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.keys import TenantKeys
from seatkeeper_server.service.calls import Key, TokenClaims

MAX_TOKEN: Final = 256  # characters; ours have about 75
HINT_FROM: Final = 12  # characters a code must have before its last four are no longer most of it

_TENANT: Final = re.compile(r"[!-~]{1,64}\Z")  # what can be an id; it is logged, so it must not speak to a terminal
_IN_HINTS: Final = frozenset(digits + ascii_uppercase)
_IDEMPOTENCY_KEY: Final = re.compile(r"[A-Za-z0-9_-]{22,200}\Z")  # 128 random bits in base64url; a UUID is longer


class Credentialed(Protocol):
    """A document that may carry a code in either spelling."""

    @property
    def activation_credentials(self) -> Credentials | None:
        """The present spelling."""
        ...

    @property
    def activation_code(self) -> str | None:
        """The older spelling."""
        ...


def tenant_of(request: Request) -> str:
    """Give the tenant that a request with a code speaks of.

    Raises:
        ProblemError: the header is missing, or can't be a tenant's id.
    """
    tenant_id = request.tenant_id
    if tenant_id is None or not is_tenant_id(tenant_id):
        raise ProblemError("credentials.unknown", "The header N-TenantId is missing or is not a tenant's id.")
    return tenant_id


def is_tenant_id(text: str) -> bool:
    """Tell whether this can be a tenant's id: 1 to 64 visible ASCII characters."""
    return _TENANT.match(text) is not None


def code_of(document: Credentialed) -> str | None:
    """Give the activation code of a request, in either spelling; None for credentials that nobody here can check.

    Raises:
        ProblemError: there are none at all.
    """
    credentials = document.activation_credentials
    if credentials is None:
        if document.activation_code is None:
            reject_field("activationCredentials", "Give activationCredentials, or the older activationCode.", "required")
        return document.activation_code
    return credentials.code if isinstance(credentials, CodeCredentials) else None


@lru_cache(maxsize=1024)
def hint_of(code: str) -> str:
    """Give the part of a code that facts and logs may show: the last four characters, if they are digits or plain letters.

    Nothing of a short one; and what anybody may send with any tenant's id must not speak to the terminal it is printed on.
    """
    plain = codes.canonical(code)
    hint = plain[-4:]
    return hint if len(plain) >= HINT_FROM and _IN_HINTS.issuperset(hint) else ""


async def holder_of(request: Request, tenants: Tenants) -> tuple[TenantKeys, TokenClaims]:
    """Give the seat's holder that a request's access token proves, before any database work.

    Raises:
        ProblemError: `token.invalid`.
        Overloaded, StorageUnavailable: the tenant can't be looked up now.
    """
    token = bearer_of(request)
    keys = None if token is None else await keys_of(request, tenants)
    if keys is None or token is None:
        raise ProblemError("token.invalid")
    return keys, token_of(token, keys)


def token_of(text: str, keys: TenantKeys) -> TokenClaims:
    """Give what an access token of this tenant proves.

    Raises:
        ProblemError: `token.invalid`.
    """
    claims = keys.read_token(text) if len(text) <= MAX_TOKEN else None
    if claims is None:
        raise ProblemError("token.invalid")
    return claims


async def keys_of(request: Request, tenants: Tenants) -> TenantKeys | None:
    """Give the keys of the tenant that a request names; None if it names none that there is.

    Raises:
        Overloaded, StorageUnavailable: the tenant can't be looked up now.
    """
    tenant_id = request.tenant_id
    if tenant_id is None:
        return None
    keys = tenants.at_hand(tenant_id)
    return await tenants.keys(tenant_id) if keys is None and is_tenant_id(tenant_id) else keys


def earlier_life(request: Request, keys: TenantKeys | None) -> TokenClaims | None:
    """Give what the token of an earlier life proves; an activation may show one, and one that isn't ours proves nothing."""
    token = bearer_of(request)
    return keys.read_token(token) if keys is not None and token is not None else None


def bearer_of(request: Request) -> str | None:
    """Give the bearer token that a request shows."""
    text = request.authorization
    if text is None or len(text) > MAX_TOKEN or text[:7].lower() != "bearer ":
        return None
    return text[7:].strip()


def key_of(request: Request, credential: str, client_nonce: str | None = None) -> Key | None:
    """Give the idempotency key of a request: its header's, else the client's nonce where that counts as one.

    The scope is credential and route (the tenant stands beside it). All is hashed, since no credential may lie in a table.

    Raises:
        ProblemError: the header is not at least 128 random bits.
    """
    given = request.idempotency_key
    if given is None:
        if client_nonce is None:
            return None
        given = client_nonce
    elif _IDEMPOTENCY_KEY.match(given) is None:
        reject_field("Idempotency-Key", "At least 22 characters (128 random bits) of A-Z, a-z, 0-9, '-' and '_'.")
    return Key(_scope(credential, request.method, request.path), _hash(given.encode()), _hash(request.body))


def fingerprint_of(request: Request) -> bytes:
    """Give what tells requests apart that may be repeated under one nonce: method, path and body."""
    return sha256(b"%b %b\0%b" % (request.method.encode(), request.path.encode(), request.body)).digest()


@lru_cache(maxsize=1024)  # a customer's programs share one credential; what is kept here is no secret
def _scope(credential: str, method: str, path: str) -> str:
    return _hash(f"{credential}\0{method} {path}".encode())


def _hash(text: bytes) -> str:
    return sha256(text).hexdigest()


class Failures:
    """Counts wrong credentials per address, so that codes can't be guessed at the speed of the network.

    Only failures are counted and only failures are turned away: behind one address (a company's gateway, a lab) sit many
    programs, and one with a mistyped code must not take the seats of all the others. So the desk is asked first; an attempt
    that fails is then told 429 rather than 401 once its address has used up its minute. It learns nothing by going on, since
    120 random bits are not guessed at any speed that the desk's queue allows.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, address: str | None) -> int | None:
        """Count a failure; give the seconds to wait if there were too many, None if not."""
        network = network_of(address)
        if self._limiter.hit(self._limit, network):
            return None
        return self._wait(network)

    def exhausted(self, address: str | None) -> int | None:
        """Give the seconds to wait if there were too many failures already; nothing is counted.

        For secrets that people choose and that take long to check: those are turned away before they are looked at.
        """
        network = network_of(address)
        return None if self._limiter.test(self._limit, network) else self._wait(network)

    def _wait(self, network: str) -> int:
        return max(1, ceil(self._limiter.get_window_stats(self._limit, network).reset_time - time()))


def is_this_machine(request: Request) -> bool:
    """Tell whether a request comes from this very machine, and not through a proxy on it that says for whom it asks."""
    try:
        parsed = ip_address((request.address or "").partition("%")[0])
    except ValueError:
        return False
    plain = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None else parsed
    return plain.is_loopback and request.forwarded is None


def network_of(address: str | None) -> str:
    """Give what counts as one place: an IPv4 address, an IPv6 network of 64 bits (which one machine has to itself)."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
