"""An application that is made when it is first asked for something.

What answers the Management and LLS APIs is made with a framework that takes half a second to import. A server that only serves
seats, and a server that is just starting, do without; the first call of an administrator's waits for it once.
"""

import asyncio
from collections.abc import Callable

from seatkeeper_server.http.application import Further
from seatkeeper_server.http.messages import Receive, Scope, Send


class Later:
    """Stands for an application until it is needed; `make` is called once, in a thread."""

    def __init__(self, make: Callable[[], Further]) -> None:
        self._make = make
        self._made: Further | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI 3)."""
        if self._made is None:
            async with self._turn:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)
