"""The door: HTTP/1.1 for what programs ask all day, without ASGI; whatever is not simple is left to uvicorn's protocol.

A request is simple if it asks for one of our routes in so many words (no query, no escape), has a body of known length and at
most 64 KiB, and comes alone. It is parsed by httptools, its handler begins in the same breath, and its answer is one write: no
task is made and no timer set for it. Everything else is handed over (chunked bodies, `Expect`, upgrades, HTTP/1.0, HEAD,
unknown paths, routes whose bodies may be larger, requests that come before the last one was answered, a server that is too
full, what is no HTTP): uvicorn's protocol gets the connection with what has arrived of that request, and keeps it.

The bounds are those of `serving.BoundedHttp`: on heads and bodies, on how long a client is waited for, on connections. From a
client that doesn't read nothing is read, so that at most one answer waits for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from math import inf
from time import perf_counter
from typing import Any, Final

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from seatkeeper.protocol.documents import MAX_BODY_BYTES
from seatkeeper_server.apps import serving
from seatkeeper_server.http import messages
from seatkeeper_server.http.application import Application, Route
from seatkeeper_server.http.messages import CLOSE, WANTED, Answer, BodyTooSlow, Header, Request

_NOT_SIMPLE: Final = ""  # in place of a field's name: who sends this header is for uvicorn
_NOTED: Final = {**WANTED, **dict.fromkeys((b"expect", b"transfer-encoding", b"upgrade"), _NOT_SIMPLE)}
_NO_CONTENT: Final = int(HTTPStatus.NO_CONTENT)
_MOST_DIGITS: Final = len(str(MAX_BODY_BYTES))  # of the length of a body that may be simple


class Door(asyncio.Protocol):
    """A connection, as uvicorn's server makes, counts and ends them."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config, self._server, self._app_state = config, server_state, app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._app: Application = config.loaded_app
        self._parser = httptools.HttpRequestParser(self)
        self._address: str | None = None
        self._answering = False  # it is our turn
        self._was_answered = False
        self._write_paused = False
        self._stopping = False
        self._behind = b""  # what arrived before its turn
        self._since = self._loop.time()  # when that began which the client may be late with
        self._timer: asyncio.TimerHandle | None = None
        self._expect_request()

    def _expect_request(self) -> None:
        self._arrived = b""  # of the next request, in case it has to be handed over
        self._request: Request | None = None
        self._route: Route | None = None  # known when the head is whole
        self._url = self._body = b""
        self._simple, self._whole, self._keep_alive = True, False, True

    # --- the connection --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let a client in."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # it is a stream's
        self._server.connections.add(self)  # type: ignore[arg-type]  # it has what uvicorn's server asks of one
        if not isinstance(self._app, Application):
            self._hand_over(b"")  # something stands between us and it
            return
        client = get_remote_addr(self._transport)
        self._address = client[0] if client else None
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a client go. What it waits for is decided all the same; its answer goes nowhere."""
        self._leave()

    def shutdown(self) -> None:
        """End the connection, or let it end with the answer that is owed."""
        if self._route is not None:
            self._stopping = True
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        """The client doesn't read: don't read what it sends either."""
        self._write_paused, self._since = True, self._loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read."""
        self._write_paused, self._since = False, self._loop.time()
        if not self._behind and not self._transport.is_closing():
            self._transport.resume_reading()

    def _hand_over(self, arrived: bytes) -> None:
        """Leave the connection, and the request of which this much has arrived, to uvicorn's protocol."""
        heir = serving.BoundedHttp(self._config, self._server, self._app_state, self._loop)
        self._transport.set_protocol(heir)
        heir.connection_made(self._transport)
        self._leave()
        if self._write_paused:
            heir.pause_writing()
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if arrived:
            heir.data_received(arrived)
        if self._stopping:
            heir.shutdown()

    def _leave(self) -> None:
        self._server.connections.discard(self)
        self._parser = None  # type: ignore[assignment]  # it knows us: a circle that only the garbage collector would find
        if self._timer is not None:
            self._timer.cancel()

    # --- a request -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in what arrived. What is not simple so far never will be."""
        if self._answering:
            self._behind += data
            self._transport.pause_reading()
            return
        if self._arrived:
            self._arrived += data
        else:
            self._arrived, self._since = data, self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._simple = False
        if self._simple and self._whole:
            self._begin()
        elif not (self._simple and self._is_worth_waiting_for()):
            self._hand_over(self._arrived)

    def _is_worth_waiting_for(self) -> bool:
        if self._route is None:
            return len(self._arrived) <= serving.MAX_HEAD_BYTES
        length = self._request.content_length or "" if self._request else ""
        return self._route.takes_body and len(length) <= _MOST_DIGITS

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._request is not None:
            self._simple = False  # another one follows it
        self._request = Request("", "", b"", self._address)

    def on_url(self, url: bytes) -> None:
        """The path, or a part of it, arrived."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header arrived."""
        noted = _NOTED.get(name.lower())
        if noted:
            setattr(self._request, noted, value.decode("latin-1"))
        elif noted is _NOT_SIMPLE:
            self._simple = False

    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser, limit = self._parser, self._config.limit_concurrency
        self._since = self._loop.time()
        route = self._route = self._app.routes.get((parser.get_method().decode("ascii"), self._url.decode("latin-1")))
        if (
            route is None
            or route.method == "HEAD"
            or route.is_large
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or (limit is not None and len(self._server.connections) >= limit)
        ):
            self._simple = False

    def on_body(self, body: bytes) -> None:
        """The body, or a part of it, arrived."""
        self._body += body
        if len(self._body) > MAX_BODY_BYTES or self._route is None or not self._route.takes_body:
            self._simple = False

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._whole, self._keep_alive = True, self._parser.should_keep_alive()

    def _begin(self) -> None:
        request, route = self._request, self._route
        assert request is not None
        assert route is not None
        request.method, request.path, request.body = route.method, route.path, self._body
        self._answering = True
        self._app.begin(route, request, perf_counter(), self._answer)

    def _answer(self, answer: Answer) -> None:
        if self._transport.is_closing():
            return
        keep_alive = self._keep_alive and not self._stopping
        self._transport.write(_written(answer, self._server.default_headers, keep_alive=keep_alive))
        self._answering, self._was_answered, self._since = False, True, self._loop.time()
        self._expect_request()
        if not keep_alive or CLOSE in answer.headers:
            self._transport.close()
        elif self._behind:
            self._hand_over(self._behind)

    # --- whom we wait for ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the client is too late; look again no later than it can be."""
        limit, give_up = self._owed()
        left = limit - (self._loop.time() - self._since)
        if left <= 0:
            give_up()
            left = limit
        again = min(left, serving.PATIENCE, messages.BODY_WITHIN, self._config.timeout_keep_alive)
        self._timer = self._loop.call_later(again, self._look)

    def _owed(self) -> tuple[float, Callable[[], None]]:
        """Tell how long this may go on for, and what comes then."""
        if self._write_paused or self._transport.is_closing():
            return serving.PATIENCE, self._transport.abort  # to close it would wait for a client that reads nothing
        if self._answering:
            return inf, self._transport.abort
        if self._route is not None:
            return messages.BODY_WITHIN, self._refuse_body
        if self._arrived or not self._was_answered:
            return serving.PATIENCE, self._transport.abort
        return self._config.timeout_keep_alive, self._transport.close

    def _refuse_body(self) -> None:
        request, route = self._request, self._route
        assert request is not None
        assert route is not None
        self._answer(self._app.end(route, request, perf_counter() - messages.BODY_WITHIN, BodyTooSlow()))


@lru_cache(maxsize=64)  # the date changes every second, and with it all of them
def _begun(status: int, *headers: Header) -> bytes:
    return b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)])


def _written(answer: Answer, default_headers: Sequence[Header], *, keep_alive: bool) -> bytes:
    """Give the answer as it crosses the wire. Its headers are our own, so nobody can have smuggled a line end into one."""
    headers, body = answer.headers, answer.body
    lines = _begun(answer.status, *default_headers, *headers[:1])  # the first says what the body is, as most others' does
    if len(headers) > 1:
        lines += b"".join([b"%b: %b\r\n" % header for header in headers[1:]])
    if not keep_alive:
        lines += b"connection: close\r\n"
    if answer.status == _NO_CONTENT:
        return lines + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body)
