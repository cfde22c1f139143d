"""The licensing wire by hand, for crowds: one connection, one call at a time, and nothing retried.

A client that is quick enough to be many, and honest: what it was not answered, it does not know.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.support.servers import Sold

PATIENCE = 30.0  # seconds; how long an answer may take


@dataclass(frozen=True)
class Reply:
    """An answer: its status and what it said; `retry_after` in seconds, if it named any."""

    status: int
    document: Any
    retry_after: int | None = None

    @property
    def token(self) -> str:
        """The access token that was granted."""
        return str(self.document["accessToken"])


class Broken(Exception):
    """The connection ended before the answer was there; `torn` if a part of it was."""

    def __init__(self, *, torn: bool) -> None:
        super().__init__("the connection ended")
        self.torn = torn


class Caller:
    """Speaks for one program to one server."""

    def __init__(self, sold: Sold, seat_id: str) -> None:
        self.seat_id = seat_id
        self._sold = sold
        self._port = int(sold.server.rsplit(":", 1)[1])
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def activate(self, client_nonce: str | None = None) -> Reply:
        """Ask for a seat; the client's nonce makes a repeat harmless."""
        return await self.call(
            "POST",
            "/api/v1/activate",
            {
                "productId": self._sold.product,
                "activationCode": self._sold.code,
                "seatId": self.seat_id,
                "seatName": f"{self.seat_id}@host",
                **({"clientNonce": client_nonce} if client_nonce else {}),
            },
        )

    async def refresh(self, token: str) -> Reply:
        """Keep the seat."""
        return await self.call("PATCH", "/api/v1/activation/refresh", {}, token)

    async def give_back(self, token: str) -> Reply:
        """Give the seat back."""
        return await self.call("DELETE", "/api/v1/activation", None, token)

    async def call(self, method: str, path: str, body: object = None, token: str | None = None) -> Reply:
        """Send one request and read its answer.

        Raises:
            Broken: there was no whole answer.
        """
        await self.send(method, path, body, token)
        return await self.answer()

    async def send(self, method: str, path: str, body: object = None, token: str | None = None) -> None:
        """Send one request."""
        content = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"n-tenantid: {self._sold.tenant}"]
        head += [f"authorization: Bearer {token}"] if token else []
        head += [f"content-length: {len(content)}"] if content else []
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            self._streams[1].write("\r\n".join([*head, "", ""]).encode() + content)
            await self._streams[1].drain()
        except OSError as error:
            self.hang_up()
            raise Broken(torn=False) from error

    async def answer(self) -> Reply:
        """Read the answer to what was sent."""
        assert self._streams is not None
        reader, _ = self._streams
        begun = False
        try:
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                begun = True
                body = await reader.readexactly(_number(head, "content-length") or 0)
        except asyncio.IncompleteReadError as error:
            self.hang_up()
            raise Broken(torn=begun or bool(error.partial)) from error
        except OSError as error:
            self.hang_up()
            raise Broken(torn=begun) from error
        if "\r\nconnection: close" in head:
            self.hang_up()
        return Reply(int(head.split(" ", 2)[1]), json.loads(body) if body else None, _number(head, "retry-after"))

    def hang_up(self) -> None:
        """Close the connection; the next call opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _number(head: str, name: str) -> int | None:
    return next((int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith(f"{name}:")), None)
