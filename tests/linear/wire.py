"""The licensing wire for a crowd: a connection that asks one thing at a time, and knows to the microsecond when.

Quick rather than complete: it speaks to our own servers, which send an answer's length in lower case and nothing in pieces.
"""

import asyncio
import time
from dataclasses import dataclass

PATIENCE = 60.0  # seconds; a server that says nothing for so long is a fault of its own


class Lost(Exception):
    """The connection ended before the answer was there."""


class Unreachable(Exception):
    """There is nobody to connect to. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status and body, and when it was asked for and answered, in nanoseconds of the monotonic clock."""

    status: int
    body: bytes
    sent: int
    answered: int


class Line(asyncio.Protocol):
    """One connection to a server."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.sent = 0
        self._received = b""
        self._answer: asyncio.Future[Reply] | None = None

    @classmethod
    async def to(cls, port: int) -> "Line":
        """Connect to a port of this machine.

        Raises:
            Unreachable: nobody listens there.
        """
        try:
            _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        except OSError as error:
            raise Unreachable(str(error)) from error
        return line

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport  # type: ignore[assignment]  # it is a socket's

    def data_received(self, data: bytes) -> None:
        """Take in a part of the answer."""
        answered = time.monotonic_ns()
        received = self._received = self._received + data
        head_ends = received.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        at = received.find(b"content-length: ", 0, head_ends)
        length = 0 if at < 0 else int(received[at + 16 : received.find(b"\r", at)])
        if len(received) >= head_ends + 4 + length and self._answer is not None and not self._answer.done():
            self._received = b""
            self._answer.set_result(Reply(int(received[9:12]), received[head_ends + 4 :], self.sent, answered))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was asked is not answered any more."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost())

    async def ask(self, request: bytes, cut_after: float | None = None) -> Reply:
        """Send a request and wait for its answer; or hang up when so many seconds have passed.

        Raises:
            Lost: the connection ended first.
        """
        if self.transport is None or not self.is_open:
            raise Lost
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        timer = loop.call_later(PATIENCE if cut_after is None else cut_after, self.hang_up)
        self.sent = time.monotonic_ns()
        self.transport.write(request)
        try:
            return await self._answer
        finally:
            timer.cancel()
            self._answer = None

    def hang_up(self) -> None:
        """End the connection without a farewell."""
        if self.transport is not None:
            self.transport.abort()
