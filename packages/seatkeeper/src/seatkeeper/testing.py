"""A license server for your own tests: honest, small, gone when the test is over.

    from seatkeeper.testing import FakeServer

    def test_second_window_is_refused():
        server = FakeServer(seats=1)
        with seatkeeper.seat(**server.settings), pytest.raises(seatkeeper.NoSeat):
            seatkeeper.seat(**server.settings).acquire()

It speaks the Licensing API (all routes but the line and seats of several products at once), counts seats and features, signs
leases with keys of its own, one by one and in trees, and keeps the rules of the seat, so that what works against it works
against a real one. In-process it is an httpx2 transport; `with FakeServer() as server:` also serves it on a free port of
127.0.0.1, for programs that are tested as programs (`server.environment` has their settings).

What it does not do: remember anything once it is gone, linger, overdraft, lines, node locks, rate limits, more
than one entitlement, or TLS. It is not fast and must never be reachable from a network.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx2

from seatkeeper._fake_api import Api, Request
from seatkeeper._fake_pool import Feature, Pool
from seatkeeper._wire import Reply

__all__ = ["FakeServer"]

_IN_PROCESS = "http://fake.seatkeeper.invalid"


class _AnswerLost(Exception):
    """The connection breaks; `decided` tells whether before or after the server decided."""

    def __init__(self, *, decided: bool) -> None:
        super().__init__("the fake server broke the connection")
        self.decided = decided


class FakeServer:
    """A license server with one product, one code and so many seats.

    Args:
        seats: how many may be held at once.
        lease: seconds a seat stays held without a refresh.
        features: feature keys; `10` or `"elementPool:10"` is a pool of ten, `"usageCount:5"` five uses, `"bool"` on or off.
        nonce_required: refuse calls without `N-Nonce` from the first one on.
        borrow: seconds for which a seat may be borrowed at most.

    Attributes:
        unreachable: while True, connections fail before anything is decided.
        busy: while True, every request is answered 503 `storage.unavailable`.
    """

    def __init__(
        self,
        seats: int = 1,
        *,
        lease: float = 120.0,
        features: Mapping[str, int | str] | None = None,
        nonce_required: bool = False,
        borrow: float = 0.0,
    ) -> None:
        self.unreachable = False
        self.busy = False
        self._ahead = 0.0
        self._lose = 0
        self._lock = threading.Lock()
        self._pool = Pool(seats, lease, {key: _feature(key, text) for key, text in (features or {}).items()}, borrow)
        self._api = Api(self._pool, self.now, nonce_required=nonce_required)
        self._http: _HttpServer | None = None
        self._port = 0
        self.transport = _InProcess(self)

    # --- what a program needs to use it ----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it is: on 127.0.0.1 once started, else a name that only its transport understands."""
        return f"http://127.0.0.1:{self._port}" if self._port else _IN_PROCESS

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self._api.signer.tenant

    @property
    def product(self) -> str:
        """The product's id."""
        return self._api.signer.product

    @property
    def code(self) -> str:
        """The activation code."""
        return self._api.code

    @property
    def public_key(self) -> str:
        """The root public key, to be pinned."""
        return self._api.signer.public_key

    @property
    def settings(self) -> dict[str, Any]:  # Any: the arguments of `seat` are of several types
        """The arguments for `seatkeeper.seat` and `async_seat`; in-process unless the server was started."""
        found: dict[str, Any] = {
            "product": self.product,
            "tenant": self.tenant,
            "public_key": self.public_key,
            "server": self.url,
            "code": self.code,
        }
        return found if self._http is not None else found | {"transport": self.transport}

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, for a program of its own."""
        return {f"SEATKEEPER_{key.upper()}": value for key, value in self.settings.items() if isinstance(value, str)}

    # --- what a test may look at -----------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """How many seats are taken up just now."""
        with self._lock:
            return self._pool.used(self.now())

    @property
    def seat_ids(self) -> list[str]:
        """Who holds one just now."""
        with self._lock:
            return [place.seat_id for place in self._pool.held(self.now())]

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of everything that was decided, in order."""
        return [(request.method, request.path) for request in self._api.calls]

    # --- what a test may do to it ----------------------------------------------------------------------------------

    def now(self) -> float:
        """The server's clock, in seconds since 1970."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Set the server's clock forward: leases end there, while the program still believes in its own."""
        self._ahead += seconds

    def expire_all(self) -> None:
        """End all leases now. Whoever asks next gets the seat."""
        with self._lock:
            for place in self._pool.places.values():
                place.expires_at = min(place.expires_at, self.now())
                place.ghosts.clear()

    def take_back(self, seat_id: str) -> None:
        """Take a seat back, as an administrator would; it counts until its lease ends."""
        with self._lock:
            self._pool.take_back(self._pool.places[seat_id])

    def lose_next_answer(self, count: int = 1) -> None:
        """Decide the next requests, then break the connection instead of answering."""
        self._lose = count

    def start(self) -> Self:
        """Serve on a free port of 127.0.0.1; after `stop`, on the same port again."""
        if self._http is None:
            self._http = _HttpServer(("127.0.0.1", self._port), self)
            self._port = self._http.server_address[1]
            threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True, name="fake-server").start()
        return self

    def stop(self) -> None:
        """Stop serving; nothing held is forgotten."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def handle(self, request: Request) -> Reply:
        """Decide a request, one at a time, or break the connection as the test wishes."""
        with self._lock:
            if self.unreachable:
                raise _AnswerLost(decided=False)
            if self.busy:
                return Reply(503, {"content-type": "application/json", "retry-after": "1"}, _BUSY)
            reply = self._api.answer(request)
            if self._lose > 0:
                self._lose -= 1
                raise _AnswerLost(decided=True)
            return reply


_BUSY = b'{"error":"busy","details":"the fake server is told to be busy","errorCode":"storage.unavailable"}'


class _InProcess(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """The server without a socket."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            reply = self._server.handle(Request(request.method, request.url.path, headers, body))
        except _AnswerLost as lost:
            kind = httpx2.ReadError if lost.decided else httpx2.ConnectError
            raise kind(str(lost), request=request) from lost
        return httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        super().__init__(address, _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer
    timeout = 60

    def _serve(self) -> None:
        with suppress(ConnectionError):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                reply = self.server.fake.handle(Request(self.command, self.path.partition("?")[0], headers, body))
            except _AnswerLost:
                self.close_connection = True
                return
            self._send(reply)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the names are http.server's

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests have their own output."""


def _feature(key: str, text: int | str) -> Feature:
    """Read a feature as it is sold: `10`, `elementPool:10`, `usageCount:5` or `bool`."""
    kind, _, total = (f"elementPool:{text}" if isinstance(text, int) else text).partition(":")
    match kind:
        case "bool":
            return Feature(key, "bool", None)
        case "elementPool" | "usageCount":
            return Feature(key, kind, int(total))
    raise ValueError(f"the feature {key} is neither bool, elementPool:N nor usageCount:N, but {text!r}")
