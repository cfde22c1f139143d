"""A shortcut through uvicorn for the requests that matter: short, whole when they arrive, one at a time on their connection.

Such a request is handed to the application as a value and its answer is written at once, without the messages, events and
checks by which ASGI lets bodies and answers come in pieces. Whatever is not that simple takes the ordinary road, on the same
connection: bodies that come in pieces or are too large, pipelined requests, HTTP/1.0, HEAD, `Expect`, upgrades, paths with an
escape or a query, a server that is too full; and everything, as soon as something stands between uvicorn and the application
(trusted proxies).

To the rest of uvicorn an `Exchange` looks like a cycle of its own, so that keep-alive, a graceful stop and requests that are
pipelined behind it work as ever.
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from time import perf_counter
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from seatkeeper.protocol.documents import MAX_BODY_BYTES
from seatkeeper_server.apps.serving import BoundedHttp
from seatkeeper_server.http.application import Application
from seatkeeper_server.http.messages import CLOSE, Answer, Header, Request, request_of

_NOT_SIMPLE: Final = frozenset(b"%?#")


class _Unheard:
    """Stands for the event by which uvicorn wakes who waits for a body: here nobody does."""

    def set(self) -> None:
        """Wake nobody."""


class Exchange:
    """A request under way on the shortcut, with what uvicorn's protocol asks its cycles about."""

    message_event: Final = _Unheard()
    __slots__ = ("disconnected", "keep_alive", "response_complete")

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False


class ShortcutHttp(BoundedHttp):
    """HTTP/1.1 with a shortcut for simple requests to our own application."""

    _collected: bytes | None = None  # the body so far of a request that may take the shortcut

    def data_received(self, data: bytes) -> None:
        """Take in what arrived; a request that is not whole by then takes the ordinary road."""
        super().data_received(data)
        if self._collected is not None:
            self._take_the_ordinary_road()

    def on_headers_complete(self) -> None:
        """The head is whole: see which road this request may take."""
        if self._is_simple():
            self._count_head()
            self._collected = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body arrived."""
        if self._collected is None:
            super().on_body(body)
        else:
            self._collected += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._collected is not None and len(self._collected) > MAX_BODY_BYTES:
            self._take_the_ordinary_road()
        if self._collected is None:
            super().on_message_complete()
            return
        body, self._collected = self._collected, None
        self._count_body()
        self._begin(body)

    def _begin(self, body: bytes) -> None:
        method, path = self.parser.get_method().decode("ascii"), self.url.decode("ascii")
        request = request_of({**self.scope, "method": method, "path": path, "query_string": b""})
        request.body = body
        exchange = Exchange(keep_alive=self.parser.should_keep_alive())
        self.cycle = exchange  # type: ignore[assignment]  # it has what uvicorn asks of a cycle
        task = self.loop.create_task(self._answer(exchange, request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: Exchange, request: Request) -> None:
        answer = await self.app.answer(request, perf_counter())
        if self.flow.write_paused and not exchange.disconnected:
            await self.flow.drain()
        if exchange.disconnected:
            return
        keep_alive = exchange.keep_alive and CLOSE not in answer.headers
        self.transport.write(b"".join(_written(answer, self.server_state.default_headers, keep_alive=exchange.keep_alive)))
        exchange.response_complete = True
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _is_simple(self) -> bool:
        limit = self.limit_concurrency
        return (
            isinstance(self.app, Application)
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and self.parser.get_http_version() == "1.1"
            and self.parser.get_method() != b"HEAD"
            and not self.parser.should_upgrade()
            and self.url.startswith(b"/")
            and self.url.isascii()
            and _NOT_SIMPLE.isdisjoint(self.url)
            and (limit is None or (len(self.connections) < limit and len(self.tasks) < limit))
        )

    def _take_the_ordinary_road(self) -> None:
        """Tell uvicorn now what it has not been told of this request yet."""
        body, self._collected = self._collected or b"", None
        if self.parser is None or self.transport.is_closing():
            return
        super().on_headers_complete()
        if body:
            super().on_body(body)


def _written(answer: Answer, default_headers: Iterable[Header], *, keep_alive: bool) -> Iterator[bytes]:
    """Give the answer as it crosses the wire. Its headers are our own, so nobody can have smuggled a line end into one."""
    yield STATUS_LINE[answer.status]
    for headers in (default_headers, answer.headers):
        for name, value in headers:
            yield b"%b: %b\r\n" % (name, value)
    if answer.status != HTTPStatus.NO_CONTENT:
        yield b"content-length: %d\r\n" % len(answer.body)
    yield b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    yield answer.body
