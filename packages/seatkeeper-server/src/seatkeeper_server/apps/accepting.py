"""Takes connections from a listening socket, which several processes may share.

An event loop's own way is wrong for both. asyncio's takes all that wait as soon as it looks: of 64 connections that come at
once one of several processes had 60, and kept them. So a process that shares takes one at a time, and one that has more
connections than another lets the others go first. uvloop's (since libuv 1.46) takes one in a turn of the loop, whoever else
could: under overload a turn lasts 50 ms, and a program that had to connect anew waited for seconds. So a process that is alone
takes as many as wait, within bounds.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import Final

import structlog

SLACK: Final = 2  # connections more than who has fewest, beyond which a process holds back
HOLDS_BACK: Final = 0.005  # seconds; after that it is needed all the same
AT_ONCE: Final = 8  # connections taken when it had held back
ALONE_AT_ONCE: Final = 64  # connections taken in one turn of the loop where nobody else could
AGAIN_IN: Final = 1.0  # seconds after which a process that is out of descriptors looks again

log = structlog.get_logger("seatkeeper.http")


class Shares:
    """How many connections each of several processes has; this one's is at its place.

    `counts` is memory that they share; a process that does not serve has more than any.
    """

    def __init__(self, counts: "memoryview[int]", place: int) -> None:
        self._counts, self._place = counts, place

    def is_ahead(self, mine: int) -> bool:
        """Note how many connections this process has; tell whether another one should rather take the next."""
        self._counts[self._place] = mine
        return mine > min(self._counts) + SLACK


class Acceptor:
    """Takes connections for one process. `connections` are those it has; `protocol` makes what serves one.

    Without `shares` it is alone at the socket.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        connections: Sized,
        shares: Shares | None = None,
    ) -> None:
        self._listener, self._protocol, self._tls = listener, protocol, tls
        self._connections, self._shares = connections, shares
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._closed = False
        listener.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Take no more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Wait for what is just beginning."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._ready)

    def _ready(self) -> None:
        if self._shares is None:
            self._take(ALONE_AT_ONCE)
        elif self._shares.is_ahead(len(self._connections) + len(self._beginning)):
            self._loop.remove_reader(self._listener)
            self._loop.call_later(HOLDS_BACK, self._held_back)
        else:
            self._take(1)

    def _held_back(self) -> None:
        if not self._closed:
            self._watch()
            self._take(AT_ONCE)

    def _take(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return  # another process was faster, or the client has gone
            except OSError as error:
                log.error("connection.not_taken", reason=str(error))
                self._loop.remove_reader(self._listener)
                self._loop.call_later(AGAIN_IN, self._watch)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        with suppress(OSError, asyncio.TimeoutError):  # no TLS, or none in time: such a client gets no connection
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)
