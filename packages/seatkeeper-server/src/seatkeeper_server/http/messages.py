"""A request as the handlers see it, and an answer as they give it: plain values, so that the server in front can be changed.

Reading is bounded: a body has at most 64 KiB, or what its route says, and arrives within ten seconds. Nothing in here knows a
route or a document.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from msgspec import Struct, json

from seatkeeper.protocol.documents import MAX_BODY_BYTES

# ASGI's own types are open mappings; `Any` is what its specification says.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DRAINED: Final = 15 * MAX_BODY_BYTES  # of a body that is too large, beyond what it may have; see `read_body`
BODY_WITHIN: Final = 10.0  # seconds

JSON: Final = (b"content-type", b"application/json")
CLOSE: Final = (b"connection", b"close")

Header = tuple[bytes, bytes]

encode = json.Encoder().encode

WANTED: Final = {  # the headers that a request keeps, by name, and as what
    b"n-tenantid": "tenant_id",
    b"n-nonce": "nonce",
    b"authorization": "authorization",
    b"idempotency-key": "idempotency_key",
    b"device-proof": "device_proof",
    b"content-length": "content_length",
    b"forwarded": "forwarded",
    b"x-forwarded-for": "forwarded",
}


class BodyTooLarge(Exception):
    """The body is larger than `most` bytes. `drained` tells whether it was received to its end."""

    def __init__(self, most: int, *, drained: bool) -> None:
        super().__init__(f"The body is larger than {most // 1024} KiB.")
        self.drained = drained


class BodyTooSlow(Exception):
    """The body did not arrive in time."""


class Disconnected(Exception):
    """Who asked has gone."""


class Request(Struct):
    """One request: what a handler may know of it. Header values are as they came; `None` is a header that didn't."""

    method: str
    path: str
    query: bytes
    address: str | None
    tenant_id: str | None = None
    nonce: str | None = None
    authorization: str | None = None
    idempotency_key: str | None = None
    device_proof: str | None = None
    content_length: str | None = None
    forwarded: str | None = None
    body: bytes = b""


class Answer(Struct):
    """What goes back."""

    status: int
    body: bytes = b""
    headers: list[Header] = []


def json_answer(status: int, document: object, *headers: Header) -> Answer:
    """Give the answer that carries a document."""
    return Answer(status, encode(document), [JSON, *headers])


def request_of(scope: Scope) -> Request:
    """Read the head of a request."""
    client = scope.get("client")
    request = Request(scope["method"], scope["path"], scope["query_string"], client[0] if client else None)
    for name, value in scope["headers"]:
        if (wanted := WANTED.get(name)) is not None:
            setattr(request, wanted, value.decode("latin-1"))
    return request


async def read_body(request: Request, receive: Receive, most: int = MAX_BODY_BYTES) -> bytes:
    """Read the body. The bound on time is on its first byte too: a head that is followed by nothing must not be waited for.

    Raises:
        BodyTooLarge: more than `most` bytes. A little more is read and thrown away, since a client that is still sending when
            the connection closes loses the answer; beyond a megabyte it has to.
        BodyTooSlow: it did not end within ten seconds.
        Disconnected: the client left.
    """
    if _announced(request) > most + DRAINED:
        raise BodyTooLarge(most, drained=False)
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await _read(receive, most)
    except TimeoutError:
        raise BodyTooSlow from None


def _announced(request: Request) -> int:
    length = request.content_length or ""
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size, more = size + len(part), message.get("more_body", False)
        if size <= most:
            parts.append(part)
        elif size > most + DRAINED:
            raise BodyTooLarge(most, drained=False)
    if size > most:
        raise BodyTooLarge(most, drained=True)
    return b"".join(parts)
