"""The thin application: finds the route, calls the handler, counts and gives the answer; for ASGI it reads the body too.

No framework, because this is on the path of every refresh: a dictionary of paths, plain functions, msgspec documents. Whatever
a handler raises becomes an answer in `problems.py`. ASGI is one door to it; another may find a route and begin by itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
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


class Application:
    """Serves routes. `access_log` writes an event for every request, which costs as much as a request."""

    def __init__(self, routes: Routes, *, metrics: Metrics, health: Health, access_log: bool = False) -> None:
        self.routes: Final[Mapping[tuple[str, str], Route]] = {
            (method, path): Route(
                method, path, handler, f"{method} {path}", method not in _BODILESS, LARGE_BODIES.get(path, MAX_BODY_BYTES)
            )
            for path, handlers in routes.items()
            for method, handler in handlers.items()
        }
        self._metrics = metrics
        self._health = health
        self._access_log = access_log
        self._large = asyncio.Semaphore(MOST_LARGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            raise NotImplementedError(f"only HTTP is served here, not {scope['type']}")
        started, request = perf_counter(), request_of(scope)
        route = self.routes.get((request.method, request.path)) or self._no_route(request)
        if not route.is_large:
            await self._serve(route, request, started, receive, send)
        elif await self._gets_a_turn():
            try:
                await self._serve(route, request, started, receive, send)
            finally:
                self._large.release()
        else:
            answer = self.end(route, request, started, Overloaded())
            answer.headers.append(CLOSE)  # its body was not read
            await _send(answer, send)

    async def _gets_a_turn(self) -> bool:
        try:
            async with asyncio.timeout(TURN_WITHIN):
                return await self._large.acquire()
        except TimeoutError:
            return False

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
        seconds = perf_counter() - started
        self._metrics.answered(route.name, answer.status, seconds)
        if self._access_log:
            _log_access(request, answer, seconds)
        return answer

    def _no_route(self, request: Request) -> Route:
        answer = _no_such_route(sorted(method for method, path in self.routes if path == request.path))

        async def say_so(request: Request) -> Answer:
            return answer

        return Route(request.method, request.path, say_so, NO_ROUTE, request.method not in _BODILESS)

    def _answer_to(self, error: Exception) -> Answer:
        if isinstance(error, StorageFull | StorageUnavailable):
            self._health.storage_failed()
        return answer_to(error)


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


def application(front: Front, health: Health, *, access_log: bool = False) -> Application:
    """Give the application of a license server: the Licensing API, health and metrics."""
    ready = {"GET": health.ready, "HEAD": health.ready}
    routes: Routes = {
        **licensing.routes(front),
        "/api/v1/activations/refresh": {"POST": lambda request: lists.refresh_all(front, request)},
        "/livez": {"GET": health.live, "HEAD": health.live},
        "/readyz": ready,
        "/health/ready": ready,
        "/metrics": {"GET": front.metrics.serve},
    }
    return Application(routes, metrics=front.metrics, health=health, access_log=access_log)


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


def _log_access(request: Request, answer: Answer, seconds: float) -> None:
    """Log what was asked and what came of it: no token, no nonce, no code, no body."""
    log.debug(
        "request",
        method=request.method,
        path=request.path,
        status=answer.status,
        milliseconds=round(seconds * 1000, 2),
        tenant=request.tenant_id,
        address=request.address,
    )
