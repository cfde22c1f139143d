"""The thin application: finds the route, calls the handler, counts and gives the answer; for ASGI it reads the body too.

No framework, because this is on the path of every refresh: a dictionary of paths, plain functions, msgspec documents. Whatever
a handler raises becomes an answer in `problems.py`. ASGI is one door to it; another may find a route and begin by itself.

What is not hot is left to a further application, if there is one: paths that have no route here are its own. It gets bodies
that were read already, within the same bounds on time and larger ones on size, and is counted under one name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

import structlog

from seatkeeper.protocol.documents import MAX_BODY_BYTES, MAX_LIST_BYTES
from seatkeeper_server.http import licensing, lists
from seatkeeper_server.http.handling import Handling
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.licensing import Front, Handler
from seatkeeper_server.http.messages import (
    CLOSE,
    Answer,
    Disconnected,
    Header,
    Message,
    Receive,
    Request,
    Scope,
    Send,
    read_body,
    request_of,
)
from seatkeeper_server.http.metrics import Metrics
from seatkeeper_server.http.problems import answer_to, problem_answer
from seatkeeper_server.service.desk import Overloaded
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

LARGE_BODIES: Final = {"/api/v1/activations/refresh": MAX_LIST_BYTES}  # by path; all others have at most 64 KiB
MOST_LARGE: Final = 32  # requests at once of those that may be large, from their first byte to their answer's last
TURN_WITHIN: Final = 5.0  # seconds until such a request may be read; then its client is better told to come back
PART: Final = 256 * 1024  # bytes of a large answer sent at once: what a client doesn't take is not all written for it

FURTHER_BODY: Final = 1024 * 1024  # bytes; what a site reports of its use is larger than what a program asks

FURTHER: Final = "further"  # the metrics' label for what the further application answers
NO_ROUTE: Final = "other"  # the metrics' label for what is not ours: a label per path asked for would have no bound

_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})

log = structlog.get_logger("seatkeeper.http")

Routes = Mapping[str, Mapping[str, Handler]]


@dataclass(frozen=True, slots=True)
class Route:
    """What is served under a method and a path; the metrics know it by its name."""

    method: str
    path: str
    handler: Handler
    name: str
    takes_body: bool
    body_limit: int = MAX_BODY_BYTES

    @property
    def is_large(self) -> bool:
        """Whether request and answer may be so large that only so many of them may be under way at once."""
        return self.body_limit > MAX_BODY_BYTES


Reply = Callable[[Answer], None]
Further = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Serves routes, and what `further` serves. `access_log` writes an event for every request, which costs as much as one."""

    def __init__(
        self, routes: Routes, *, metrics: Metrics, health: Health, further: Further | None = None, access_log: bool = False
    ) -> None:
        self.routes: Final[Mapping[tuple[str, str], Route]] = {
            (method, path): Route(
                method, path, handler, f"{method} {path}", method not in _BODILESS, LARGE_BODIES.get(path, MAX_BODY_BYTES)
            )
            for path, handlers in routes.items()
            for method, handler in handlers.items()
        }
        self._paths = frozenset(routes)
        self._further = further
        self._metrics = metrics
        self._health = health
        self._access_log = access_log
        self._large = asyncio.Semaphore(MOST_LARGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            raise NotImplementedError(f"only HTTP is served here, not {scope['type']}")
        started, request = perf_counter(), request_of(scope)
        route = self.routes.get((request.method, request.path))
        if route is None and self._further is not None and request.path not in self._paths:
            await _Elsewhere(self, self._further, scope, request, started, send).serve(receive)
            return
        route = route or self._no_route(request)
        if not route.is_large:
            await self._serve(route, request, started, receive, send)
        elif await self.gets_a_turn():
            try:
                await self._serve(route, request, started, receive, send)
            finally:
                self.ends_its_turn()
        else:
            answer = self.end(route, request, started, Overloaded())
            answer.headers.append(CLOSE)  # its body was not read
            await _send(answer, send)

    async def gets_a_turn(self) -> bool:
        """Wait for a place among the large ones; False if there is none in good time."""
        try:
            async with asyncio.timeout(TURN_WITHIN):
                return await self._large.acquire()
        except TimeoutError:
            return False

    def ends_its_turn(self) -> None:
        """Leave the place to another."""
        self._large.release()

    async def _serve(self, route: Route, request: Request, started: float, receive: Receive, send: Send) -> None:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        reply = partial(_settle, answer)
        try:
            if route.takes_body:
                request.body = await read_body(request, receive, route.body_limit)
        except Disconnected:
            return
        except Exception as error:
            reply(self.end(route, request, started, error))
        else:
            self.begin(route, request, started, reply)
        await _send(await answer, send)

    def begin(self, route: Route, request: Request, started: float, reply: Reply) -> None:
        """Have a request that has been read answered; `reply` is told, at once or later on this event loop.

        `started` is when that began, on `perf_counter`.
        """
        _Answering(self, route, request, started, reply).go_on()

    def end(self, route: Route, request: Request, started: float, result: Answer | Exception) -> Answer:
        """Give the answer that a result, or an error, comes to, and count it."""
        answer = self._answer_to(result) if isinstance(result, Exception) else result
        self.note(route.name, request, started, answer.status)
        return answer

    def note(self, name: str, request: Request, started: float, status: int) -> None:
        """Count an answer, and log it if everything is logged."""
        seconds = perf_counter() - started
        self._metrics.answered(name, status, seconds)
        if self._access_log:
            _log_access(request, status, seconds)

    def _no_route(self, request: Request) -> Route:
        answer = _no_such_route(sorted(method for method, path in self.routes if path == request.path))

        async def say_so(request: Request) -> Answer:
            return answer

        return Route(request.method, request.path, say_so, NO_ROUTE, request.method not in _BODILESS)

    def _answer_to(self, error: Exception) -> Answer:
        if isinstance(error, StorageFull | StorageUnavailable):
            self._health.storage_failed()
        return answer_to(error)


class _Elsewhere:
    """A request that the further application answers."""

    __slots__ = ("_app", "_further", "_request", "_scope", "_send", "_started", "_status")

    def __init__(self, app: Application, further: Further, scope: Scope, request: Request, started: float, send: Send) -> None:
        self._app, self._further, self._scope, self._request = app, further, scope, request
        self._started, self._send = started, send
        self._status = 0

    async def serve(self, receive: Receive) -> None:
        """Read the body, then have the request answered. Large bodies, and those of unknown length, wait for their turn."""
        if _is_small(self._request):
            await self._answered(receive)
        elif await self._app.gets_a_turn():
            try:
                await self._answered(receive)
            finally:
                self._app.ends_its_turn()
        else:
            await self._refuse(Overloaded(), CLOSE)  # its body was not read

    async def _answered(self, receive: Receive) -> None:
        try:
            body = b"" if self._request.method in _BODILESS else await read_body(self._request, receive, FURTHER_BODY)
        except Disconnected:
            return
        except Exception as error:
            await self._refuse(error)
            return
        await self._further(self._scope, _Read(body, receive), self._noted)
        self._app.note(FURTHER, self._request, self._started, self._status)

    async def _noted(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        await self._send(message)

    async def _refuse(self, error: Exception, *headers: Header) -> None:
        answer = answer_to(error)
        answer.headers.extend(headers)
        self._app.note(FURTHER, self._request, self._started, answer.status)
        await _send(answer, self._send)


class _Read:
    """A body that was read, as ASGI gives it; after that, what the server has to say."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _is_small(request: Request) -> bool:
    """Tell whether a request needs no turn: it announces a body that is no larger than those of others, or can have none."""
    length = request.content_length
    if request.method in _BODILESS:
        return True
    return length is not None and length.isascii() and length.isdigit() and len(length) < 7 and int(length) <= MAX_BODY_BYTES


class _Answering(Handling[Answer]):
    """A request whose handler is at work."""

    __slots__ = ("_app", "_reply", "_request", "_route", "_started")

    def __init__(self, app: Application, route: Route, request: Request, started: float, reply: Reply) -> None:
        super().__init__(route.handler(request))
        self._app, self._route, self._request, self._started, self._reply = app, route, request, started, reply

    def end(self, result: Answer | Exception) -> None:
        """Give the answer."""
        self._reply(self._app.end(self._route, self._request, self._started, result))


def _settle(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():  # who asked may have gone
        future.set_result(answer)


def application(front: Front, health: Health, *, further: Further | None = None, access_log: bool = False) -> Application:
    """Give the application of a license server: the Licensing API, health and metrics, and what `further` serves."""
    ready = {"GET": health.ready, "HEAD": health.ready}
    routes: Routes = {
        **licensing.routes(front),
        "/api/v1/activations/refresh": {"POST": lambda request: lists.refresh_all(front, request)},
        "/livez": {"GET": health.live, "HEAD": health.live},
        "/readyz": ready,
        "/health/ready": ready,
        "/metrics": {"GET": front.metrics.serve},
    }
    return Application(routes, metrics=front.metrics, health=health, further=further, access_log=access_log)


def _no_such_route(methods: Sequence[str]) -> Answer:
    if not methods:
        return problem_answer("notFound")
    allowed = ", ".join(methods)
    return problem_answer(
        "notFound", f"This path answers to {allowed} only.", status=405, headers=[(b"allow", allowed.encode())]
    )


async def _send(answer: Answer, send: Send) -> None:
    headers = answer.headers if answer.status == 204 else [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body, sent = answer.body, 0
    while len(body) - sent > PART:
        await send({"type": "http.response.body", "body": body[sent : sent + PART], "more_body": True})
        sent += PART
    await send({"type": "http.response.body", "body": body[sent:]})


def _log_access(request: Request, status: int, seconds: float) -> None:
    """Log what was asked and what came of it: no token, no nonce, no code, no body."""
    log.debug(
        "request",
        method=request.method,
        path=request.path,
        status=status,
        milliseconds=round(seconds * 1000, 2),
        tenant=request.tenant_id,
        address=request.address,
    )
