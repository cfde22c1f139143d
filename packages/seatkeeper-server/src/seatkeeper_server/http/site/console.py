"""Who administers a local server: one user with a password, shown by HTTP Basic.

To check a password takes long on purpose, and anybody may send some. So one that has proven right is known again at once, by a
keyed digest in memory; others are checked one at a time, and an address that has shown too many wrong ones is told to wait
before anything is checked. Who logged in before is not kept out by that.
"""

import hmac
import os
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from threading import Lock
from typing import Annotated, Final

import structlog
from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from seatkeeper_server.http.further import Office, in_state
from seatkeeper_server.http.identity import Failures, is_tenant_id
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.site.ports import Visit
from seatkeeper_server.service.desk import Overloaded

LONGEST: Final = 200  # characters of a password
TURN_WITHIN: Final = 5.0  # seconds until a password may be checked; then its owner is better told to come back

_WRONG: Final = "User or password is wrong, or missing."

Proves = Callable[[str], bool]

log = structlog.get_logger("seatkeeper.http")


class Console:
    """Knows the administrator. `proves` tells his password from all others, and may take long."""

    def __init__(self, user: str, proves: Proves, failures: Failures) -> None:
        self._user, self._proves, self._failures = user, proves, failures
        self._key = os.urandom(32)
        self._known: bytes | None = None
        self._turn = Lock()

    def admit(self, authorization: str, address: str | None) -> None:
        """Let in who shows user and password; it may block. Who shows nothing is told what to show, and not counted.

        Raises:
            ProblemError: `credentials.unknown` or `rate.limited`.
            Overloaded: too many passwords are being checked.
        """
        user, password = _shown(authorization)
        if not password:
            raise ProblemError("credentials.unknown", _WRONG, challenge="Basic")
        digest = hmac.digest(self._key, password.encode(), "sha256")
        is_user = hmac.compare_digest(user.encode(), self._user.encode())
        if is_user and self._known is not None and hmac.compare_digest(digest, self._known):
            return
        if (wait := self._failures.exhausted(address)) is not None:
            raise ProblemError("rate.limited", retry_after=wait)
        is_right = self._is_right(password)  # whoever the user is: time must not tell
        if not (is_user and is_right):
            self._failures.count(address)
            log.info("console.refused", address=address)
            raise ProblemError("credentials.unknown", _WRONG, challenge="Basic")
        self._known = digest

    def _is_right(self, password: str) -> bool:
        if not self._turn.acquire(timeout=TURN_WITHIN):
            raise Overloaded
        try:
            return len(password) <= LONGEST and self._proves(password)
        finally:
            self._turn.release()


def _shown(authorization: str) -> tuple[str, str]:
    """Give user and password of an HTTP Basic header (RFC 7617); two empty texts if there are none."""
    kind, _, encoded = authorization.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        user, _, password = b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (NotBase64, UnicodeDecodeError):
        return "", ""
    return user, password


async def _tenant(request: Request) -> str:
    """Let the administrator in, and give the vendor he speaks of."""
    console: Console = in_state(request, "console")
    address = request.client.host if request.client else None
    await run_in_threadpool(console.admit, request.headers.get("authorization", ""), address)
    tenant_id = request.headers.get("n-tenantid", "")
    if not is_tenant_id(tenant_id):
        raise ProblemError("credentials.unknown", "The header N-TenantId is missing or is not a tenant's id.")
    return tenant_id


def _office(request: Request) -> Office[Visit]:
    office: Office[Visit] = in_state(request, "office")
    return office


TenantHere = Annotated[str, Depends(_tenant)]
OfficeHere = Annotated[Office[Visit], Depends(_office)]
