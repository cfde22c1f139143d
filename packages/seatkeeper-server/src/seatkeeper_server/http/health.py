"""Whether the server lives and whether it is of use: /livez, /readyz, and /health/ready, which is /readyz by another name.

Alive means that this process answers; to start it anew helps only if it doesn't. Ready means that a request would be served:
what decides is there, and the database has not failed in the last seconds. After a failure it becomes ready again by time
alone, since a load balancer that has turned away sends nothing that could succeed. A server that stops need not say so: its
door is closed.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from seatkeeper_server.http.messages import Answer, Request, json_answer
from seatkeeper_server.http.problems import problem_answer

TROUBLE_LASTS: Final = 5.0  # seconds after the last failure of the database


class Health:
    """What the server knows of its own state; `desk` says why a call would not be decided now."""

    def __init__(self, clock: Callable[[], float] = monotonic, *, desk: Callable[[], str | None] = lambda: None) -> None:
        self._clock = clock
        self._desk = desk
        self._failed_at: float | None = None

    def storage_failed(self) -> None:
        """The database has just failed."""
        self._failed_at = self._clock()

    @property
    def trouble(self) -> str | None:
        """Why a request would not be served; None if it would."""
        if self._failed_at is not None and self._clock() - self._failed_at < TROUBLE_LASTS:
            return "The database has just failed."
        return self._desk()

    async def live(self, request: Request) -> Answer:
        """GET /livez."""
        return json_answer(200, {"status": "alive"})

    async def ready(self, request: Request) -> Answer:
        """GET /readyz."""
        trouble = self.trouble
        return json_answer(200, {"status": "ready"}) if trouble is None else problem_answer("storage.unavailable", trouble)
