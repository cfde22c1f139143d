"""The thin ASGI application: finds the route, reads the body, calls the handler, sends the answer.

No framework, because this is on the path of every refresh: a dictionary of paths, plain functions, msgspec documents. Whatever
a handler raises becomes an answer in `problems.py`.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import Final

import structlog

from seatkeeper_server.http import licensing
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.licensing import Front, Handler
from seatkeeper_server.http.messages import Answer, Disconnected, Receive, Request, Scope, Send, read_body, request_of
from seatkeeper_server.http.metrics import Metrics
from seatkeeper_server.http.problems import answer_to, problem_answer
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

NO_ROUTE: Final = "other"  # the metrics' label for what is not ours: a label per path asked for would have no bound

_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})

log = structlog.get_logger("seatkeeper.http")

Routes = Mapping[str, Mapping[str, Handler]]


class Application:
    """Serves routes. `access_log` writes an event for every request, which costs as much as a request."""

    def __init__(self, routes: Routes, *, metrics: Metrics, health: Health, access_log: bool = False) -> None:
        self._routes = {
            path: {method: (handler, f"{method} {path}") for method, handler in handlers.items()}
            for path, handlers in routes.items()
        }
        self._metrics = metrics
        self._health = health
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            raise NotImplementedError(f"only HTTP is served here, not {scope['type']}")
        started, request = perf_counter(), request_of(scope)
        try:
            if request.method not in _BODILESS:
                request.body = await read_body(request, receive)
        except Disconnected:
            return
        except Exception as error:
            answer = self._counted(request, self._answer_to(error), started)
        else:
            answer = await self.answer(request, started)
        await _send(answer, send)

    async def answer(self, request: Request, started: float) -> Answer:
        """Give the answer to a request that has been read; `started` is when that began, on `perf_counter`."""
        handler = self._route(request)[0]
        try:
            answer = _no_such_route(self._routes.get(request.path, {})) if handler is None else await handler(request)
        except Exception as error:
            answer = self._answer_to(error)
        return self._counted(request, answer, started)

    def _counted(self, request: Request, answer: Answer, started: float) -> Answer:
        seconds = perf_counter() - started
        self._metrics.answered(self._route(request)[1], answer.status, seconds)
        if self._access_log:
            _log_access(request, answer, seconds)
        return answer

    def _route(self, request: Request) -> tuple[Handler | None, str]:
        return self._routes.get(request.path, _NOTHING).get(request.method, (None, NO_ROUTE))

    def _answer_to(self, error: Exception) -> Answer:
        if isinstance(error, StorageFull | StorageUnavailable):
            self._health.storage_failed()
        return answer_to(error)


_NOTHING: Final[dict[str, tuple[Handler, str]]] = {}


def application(front: Front, health: Health, *, access_log: bool = False) -> Application:
    """Give the application of a license server: the Licensing API, health and metrics."""
    ready = {"GET": health.ready, "HEAD": health.ready}
    routes: Routes = {
        **licensing.routes(front),
        "/livez": {"GET": health.live, "HEAD": health.live},
        "/readyz": ready,
        "/health/ready": ready,
        "/metrics": {"GET": front.metrics.serve},
    }
    return Application(routes, metrics=front.metrics, health=health, access_log=access_log)


def _no_such_route(others: Mapping[str, object]) -> Answer:
    if not others:
        return problem_answer("notFound")
    allowed = ", ".join(sorted(others))
    return problem_answer(
        "notFound", f"This path answers to {allowed} only.", status=405, headers=[(b"allow", allowed.encode())]
    )


async def _send(answer: Answer, send: Send) -> None:
    headers = answer.headers if answer.status == 204 else [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


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
