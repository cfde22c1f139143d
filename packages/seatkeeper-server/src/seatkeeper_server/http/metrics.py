"""What the server counts about itself, for Prometheus: GET /metrics.

The registry is an object of its own, so that two servers in one process (tests, `demo`) don't count into each other; the
workers of one server count on one board, so that each answers for all. Every
label has a bounded number of values: routes are ours, statuses are the table's, rules are the contract's; of entitlements the
fullest few are named and the rest is summed.

The page names vendors, products and entitlements, and the port is the applications' own. So it is for this machine only,
unless a setting says otherwise; and however often it is asked for, the database is read once a second.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from seatkeeper.protocol.problems import DENIAL_RULES, PROBLEMS
from seatkeeper_server.http.counting import Board, Counts, Sizes
from seatkeeper_server.http.identity import bearer_of, is_this_machine
from seatkeeper_server.http.messages import Answer, Request
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

OTHERS: Final = "(others)"  # the label under which what is not named is summed
READ_EVERY: Final = 1.0  # seconds; what was read of the pools is shown as long

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_CALLS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RULES: Final = frozenset({*DENIAL_RULES, *PROBLEMS})

log = structlog.get_logger("seatkeeper.http")


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How full one entitlement is; `limit` None means unlimited."""

    tenant: str
    entitlement_id: str
    product: str
    used: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Who may read the page: programs on this machine, who shows the token, or everybody who can connect."""

    everybody: bool = False
    token: str | None = field(default=None, repr=False)

    def include(self, request: Request) -> bool:
        """Tell whether who asks is one of them."""
        return self.everybody or is_this_machine(request) or self._is_shown_by(request)

    def _is_shown_by(self, request: Request) -> bool:
        shown = bearer_of(request)
        return self.token is not None and shown is not None and hmac.compare_digest(shown.encode(), self.token.encode())


class Metrics:
    """The server's counters. `pools` reads how full the entitlements are, when somebody asks; it may block."""

    def __init__(
        self,
        pools: Callable[[], Sequence[PoolUse]],
        *,
        most_pools: int,
        readers: Readers = Readers(),
        clock: Callable[[], float] = monotonic,
        board: Board | None = None,
    ) -> None:
        board = board or Board()
        self._readers = readers
        self._registry = CollectorRegistry()
        self._requests = Sizes(
            board, "seatkeeper_request_seconds", "Time from a request's head to its answer.", ("route", "status"), _SECONDS
        )
        self._refusals = Counts(board, "seatkeeper_refusals", "Requests refused, by rule.", "rule", sorted(_RULES), OTHERS)
        self._commits = Sizes(
            board, "seatkeeper_commit_seconds", "Time in which a batch of calls was decided and made durable.", (), _SECONDS
        )
        self._batches = Sizes(board, "seatkeeper_batch_calls", "Calls in a batch.", (), _CALLS)
        self._desks = Lock()  # several may count a batch at once
        for collector in (
            self._requests,
            self._refusals,
            self._commits,
            self._batches,
            _Pools(_Seldom(pools, clock), most_pools),
        ):
            self._registry.register(collector)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered; on the event loop."""
        self._requests.observe((route, status), seconds)

    def refused(self, rule: str) -> None:
        """Count a refusal; on the event loop."""
        self._refusals.count(rule)

    def batch(self, calls: int, seconds: float) -> None:
        """Count a batch of a desk's."""
        with self._desks:
            self._batches.observe((), calls)
            self._commits.observe((), seconds)

    def page(self) -> bytes:
        """Give everything in Prometheus' text format. It may block."""
        return generate_latest(self._registry)

    async def serve(self, request: Request) -> Answer:
        """GET /metrics.

        Raises:
            ProblemError: `forbidden`.
        """
        if not self._readers.include(request):
            raise ProblemError("forbidden", "Metrics are for this machine only; see SEATKEEPER_METRICS_TOKEN in the reference.")
        return Answer(200, await asyncio.to_thread(self.page), [(b"content-type", CONTENT_TYPE_LATEST.encode())])


class _Seldom:
    """Reads at most once in `READ_EVERY`, and one at a time: a page that anybody asks for all the time costs no more."""

    def __init__(self, read: Callable[[], Sequence[PoolUse]], clock: Callable[[], float]) -> None:
        self._read, self._clock = read, clock
        self._lock = Lock()
        self._last: tuple[float, Sequence[PoolUse]] | None = None

    def __call__(self) -> Sequence[PoolUse]:
        with self._lock:
            now = self._clock()
            if self._last is None or now - self._last[0] >= READ_EVERY:
                self._last = (now, self._read())
            return self._last[1]


class _Pools:
    """Shows how full the entitlements are."""

    def __init__(self, read: Callable[[], Sequence[PoolUse]], most: int) -> None:
        self._read, self._most = read, most

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name the metrics without reading anything."""
        return _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give seats used and bought, of the fullest entitlements each, of the others summed."""
        used, limit = _families()
        for use in bounded(self._counted(), self._most):
            labels = (use.tenant, use.entitlement_id, use.product)
            used.add_metric(labels, use.used)
            if use.limit is not None:
                limit.add_metric(labels, use.limit)
        yield used
        yield limit

    def _counted(self) -> Sequence[PoolUse]:
        """Read, or do without: a monitor must still see the other counters when the database is away."""
        try:
            return self._read()
        except (StorageFull, StorageUnavailable) as error:
            log.warning("metrics.pools_unread", reason=str(error))
            return []


def bounded(pools: Sequence[PoolUse], most: int) -> list[PoolUse]:
    """Keep the pools with most seats used; sum the others up. The sum has a limit only if every one of them has."""
    by_use = sorted(pools, key=lambda pool: (-pool.used, pool.entitlement_id))
    named, others = by_use[:most], by_use[most:]
    if not others:
        return named
    limits = [pool.limit for pool in others if pool.limit is not None]
    limit = sum(limits) if len(limits) == len(others) else None
    return [*named, PoolUse(OTHERS, OTHERS, OTHERS, sum(pool.used for pool in others), limit)]


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    labels = ("tenant", "entitlement", "product")
    return (
        GaugeMetricFamily("seatkeeper_seats_used", "Seats that are taken now.", labels=labels),
        GaugeMetricFamily("seatkeeper_seats_limit", "Seats that were bought.", labels=labels),
    )
