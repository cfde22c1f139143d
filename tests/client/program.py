"""A program under test: a session with a clock moved by hand and a keeper that attends when told to.

It talks to a FakeServer through the real transport; nothing sleeps, so minutes pass in no time.
"""

import random
from collections.abc import Callable
from typing import Any

import httpx2
from msgspec import json

from seatkeeper._client import run
from seatkeeper._clock import Instant
from seatkeeper._seat import Attempt, Wait
from seatkeeper._session import Session
from seatkeeper._settings import Given
from seatkeeper._talk import Pause, Result, Runtime, Talk
from seatkeeper._transport import HttpTransport
from seatkeeper._view import plan
from seatkeeper.testing import FakeServer


class Program:
    """One life of a program; make another with the same arguments to restart it."""

    def __init__(
        self,
        server: FakeServer,
        *,
        seat_id: str = "s1",
        features: dict[str, int] | None = None,
        through: httpx2.BaseTransport | None = None,
        seed: int = 1,
        servers: str | None = None,
    ) -> None:
        self.server = server
        self.passed = 0.0
        chance = random.Random(seed)
        runtime = Runtime(now=self.now, draw=chance.random)
        settings = {key: value for key, value in server.settings.items() if key != "transport"}
        settings["server"] = servers or server.url
        self.plan = plan(Given(**settings), features=features, seat_id=seat_id, by="window", runtime=runtime)
        self.session: Session = self.plan.session()
        self._transport = HttpTransport(self.plan.settings, through or server.transport)

    def now(self) -> Instant:
        """Read the program's clocks, which keep step with the server's."""
        return Instant(boot=1000.0 + self.passed, wall=self.server.now())

    def begin(self) -> "Program":
        """Take the seat."""
        self.perform(self.session.begin())
        return self

    def perform(self, talk: Talk[Result]) -> Result:
        """Run a talk without sleeping through its pauses."""
        return run(_hurried(talk), self._transport)

    def live(self, seconds: float) -> list[str]:
        """Let time pass here and on the server, attending as the keeper would; give the states that were told."""
        told, end = self._told(), self.passed + seconds
        while self.passed < end:
            match self.session.next_action():
                case Wait(wait):
                    self._pass(min(wait, end - self.passed) + 0.001)
                case Attempt():
                    self.perform(self.session.attend())
                case _:
                    self._pass(end - self.passed)
            told += self._told()
        return told

    def _pass(self, seconds: float) -> None:
        self.passed += seconds
        self.server.advance(seconds)

    def _told(self) -> list[str]:
        state = self.session.change()
        return [] if state is None else [state]


class Tampering(httpx2.BaseTransport):
    """A server in the middle that rewrites answers."""

    def __init__(self, server: FakeServer, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._server = server
        self._change = change
        self.active = True

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass a request on and its answer back, changed."""
        response = self._server.transport.handle_request(request)
        if not self.active or response.status_code not in {200, 201}:
            return response
        changed = self._change(json.decode(response.content))
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return httpx2.Response(response.status_code, headers=headers, content=json.encode(changed))


class Rewriting(httpx2.BaseTransport):
    """A proxy of the customer's own that rewrites requests: `change` is given path and body, and gives the body to be sent."""

    def __init__(self, server: FakeServer, change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._server = server
        self._change = change

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass a request on, changed."""
        if not (content := request.read()):
            return self._server.transport.handle_request(request)
        changed = json.encode(self._change(request.url.path, json.decode(content)))
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        return self._server.transport.handle_request(
            httpx2.Request(request.method, request.url, headers=headers, content=changed)
        )


class HoldingBack(httpx2.BaseTransport):
    """A proxy that has a request answered, keeps the answer, and delivers it when the request comes again, however late.

    While `withholds`, answers are kept and none is delivered; afterwards what was kept is delivered, to the same body only.
    With `cut_off`, nothing else gets through.
    """

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._kept: dict[bytes, httpx2.Response] = {}
        self.withholds = True
        self.cut_off = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Keep, deliver or pass on."""
        body = request.read()
        if body in self._kept and not self.withholds:
            return self._kept.pop(body)
        if self.cut_off:
            raise httpx2.ConnectError("cut off", request=request)
        if body in self._kept:
            raise httpx2.ReadTimeout("withheld", request=request)
        response = self._server.transport.handle_request(request)
        if not self.withholds:
            return response
        self._kept[body] = response
        raise httpx2.ReadTimeout("withheld", request=request)


def _hurried(talk: Talk[Result]) -> Talk[Result]:
    """Give the same talk without its pauses."""
    step = next_step = None
    try:
        step = next(talk)
        while True:
            if isinstance(step, Pause):
                step = next(talk)
                continue
            try:
                next_step = yield step
            except Exception as error:  # whatever the driver throws in goes to the talk
                step = talk.throw(error)
            else:
                step = talk.send(next_step)
    except StopIteration as done:
        result: Result = done.value
        return result


class Slow(httpx2.BaseTransport):
    """A network on which every answer is under way for so many seconds."""

    def __init__(self, server: FakeServer, seconds: float) -> None:
        self._server = server
        self._seconds = seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Have a request answered at once, and bring the answer late."""
        response = self._server.transport.handle_request(request)
        self._server.advance(self._seconds)
        return response


class Routes(httpx2.BaseTransport):
    """A small network: `full.example` is one server, everything else another; port 1 refuses connections."""

    def __init__(self, server: FakeServer, full: FakeServer | None = None) -> None:
        self._server = server
        self._full = full

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Bring a request to its host."""
        if request.url.port == 1:
            raise httpx2.ConnectError("connection refused", request=request)
        full = self._full if request.url.host == "full.example" else None
        return (full or self._server).transport.handle_request(request)
