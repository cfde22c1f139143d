"""The desk: group commit. It takes everything that waits, decides it in one write transaction, commits, then answers all.

Nothing is acknowledged before it is durable, and there is never one transaction per request. Under no load a call is
decided at once; under load, what arrives while one batch is being committed is the next batch, so the batch size follows the
load by itself. A batch that fails is redone call by call, so that one bad call spoils no other; a commit whose outcome is
unknown is looked up by its batch's id before anything is redone or answered.

The desk is one thread with plain synchronous code; only the front is asynchronous.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Protocol

from seatkeeper.protocol.ids import b64url
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.service.calls import Call, HeldCall, Outcome
from seatkeeper_server.service.ports import CommitUnknown, StorageFull, StorageUnavailable, Store, Transaction

MAX_BATCH = 256  # calls; beyond that a batch's own work delays its first caller more than a second commit would
RESERVE = 2  # times as many may wait if they hold a seat: overload turns newcomers away first
MAX_WAITING = 4096  # calls; beyond that a caller is better told to come back than kept

_log = logging.getLogger(__name__)


class Overloaded(Exception):
    """More calls are waiting than can be served in good time. Try again in a second."""


class Closed(Exception):
    """The server is stopping and takes no more calls."""


class Decides(Protocol):
    """The use case behind the desk."""

    def decide(self, tx: Transaction, calls: Sequence[Call], now: datetime) -> list[Outcome]:
        """Decide a batch of calls; the outcomes in the order of the calls."""
        ...

    def sweep(self, tx: Transaction, now: datetime) -> None:
        """Make facts timely."""
        ...


class KeepsTime(Protocol):
    """Says what time it is in a transaction."""

    def begin(self, tx: Transaction, batch_id: str) -> datetime:
        """Give the one `now` of a transaction; time that nobody could refresh in has been given back."""
        ...


Result = Outcome | Exception


@dataclass(slots=True)
class _Waiting:
    """A call, and where its answer goes."""

    call: Call
    loop: asyncio.AbstractEventLoop
    on_result: Callable[[Result], None]


_STOP: list[_Waiting] = []  # told apart by identity


class Desk:
    """Serves calls in batches. `on_batch(calls, seconds)` is told of every one, for the metrics."""

    def __init__(
        self,
        store: Store,
        use_case: Decides,
        timekeeper: KeepsTime,
        random: Callable[[int], bytes],
        *,
        beat: timedelta = BEAT,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        on_batch: Callable[[int, float], None] = lambda calls, seconds: None,
    ) -> None:
        self._store = store
        self._use_case = use_case
        self._timekeeper = timekeeper
        self._random = random
        self._beat = beat.total_seconds()
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._arrived: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._queue: SimpleQueue[list[_Waiting]] = SimpleQueue()
        self._urgent: deque[_Waiting] = deque()  # of holders: they go first, whatever else waits
        self._others: deque[_Waiting] = deque()
        self._asked = self._taken = 0
        self._closed = False
        self._thread = Thread(target=self._run, name="desk", daemon=True)

    def open(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Answer what waits, then stop."""
        if not self._closed:
            self._closed = True
            for loop in list(self._arrived):
                self._hand_over(loop)
            self._queue.put(_STOP)
            self._thread.join()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._asked - self._taken

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided; the outcome is durable when it is given.

        Raises:
            Overloaded: too many calls wait; nothing was done.
            Closed: the desk has stopped; nothing was done.
            StorageFull, StorageUnavailable: nothing was recorded.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(call, partial(_settle, answer))
        return await answer

    def submit(self, call: Call, on_result: Callable[[Result], None]) -> None:
        """Have a call decided; `on_result` is told the outcome, or why there is none, on the event loop that runs now.

        It is told once, and later: never before this returns. What it raises is logged and harms nobody else. The errors
        are those of `ask`; the first two are raised here.
        """
        if self._closed:
            raise Closed
        if self.waiting >= (self._max_waiting * RESERVE if isinstance(call, HeldCall) else self._max_waiting):
            raise Overloaded
        loop = asyncio.get_running_loop()
        self._asked += 1
        if (arrived := self._arrived.get(loop)) is None:
            arrived = self._arrived[loop] = []
            loop.call_soon(self._hand_over, loop)
        arrived.append(_Waiting(call, loop, on_result))

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the calls that one turn of the loop brought to the desk together.

        One by one, the first would wake the desk, which would commit it alone, and fight for the interpreter with the front.
        """
        if (arrived := self._arrived.pop(loop, None)) is not None:
            self._queue.put(arrived)

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_beat = perf_counter()
        while True:
            batch, stopping = self._gather(max(0.0, next_beat - perf_counter()))
            self._taken += len(batch)
            if batch:
                self._serve(batch)
            if perf_counter() >= next_beat:
                self._sweep()
                next_beat = perf_counter() + self._beat
            if stopping:
                return

    def _gather(self, patience: float) -> tuple[list[_Waiting], bool]:
        """Take what waits, holders' calls first; if nothing does, wait for the first call or the next beat."""
        stopping = False
        try:
            while not stopping:
                waits = patience > 0 and not self._urgent and not self._others
                arrived = self._queue.get(timeout=patience) if waits else self._queue.get_nowait()
                for waiting in arrived:
                    (self._urgent if isinstance(waiting.call, HeldCall) else self._others).append(waiting)
                stopping = arrived is _STOP
        except Empty:
            pass
        batch: list[_Waiting] = []
        for queue in (self._urgent, self._others):
            batch += [queue.popleft() for _ in range(min(len(queue), self._max_batch - len(batch)))]
        if stopping and (self._urgent or self._others):
            self._queue.put(_STOP)
            stopping = False
        return batch, stopping

    def _serve(self, batch: list[_Waiting]) -> None:
        started = perf_counter()
        results = self._results([waiting.call for waiting in batch])
        self._on_batch(len(batch), perf_counter() - started)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Callable[[Result], None], Result]]] = defaultdict(list)
        for waiting, result in zip(batch, results, strict=True):
            by_loop[waiting.loop].append((waiting.on_result, result))
        for loop, answers in by_loop.items():
            with suppress(RuntimeError):  # the loop has ended, and with it everybody who could have been told
                loop.call_soon_threadsafe(_deliver, answers)

    def _results(self, calls: list[Call]) -> Sequence[Result]:
        try:
            return self._transact(calls)
        except (StorageFull, StorageUnavailable) as error:
            return [error] * len(calls)
        except Exception as error:
            if len(calls) == 1:
                _log.exception("call failed")
                return [error]
            _log.warning("batch of %d failed, redone call by call", len(calls), exc_info=error)
            return [result for call in calls for result in self._results([call])]

    def _transact(self, calls: list[Call]) -> list[Outcome]:
        batch_id = b64url(self._random(12))
        outcomes: list[Outcome] = []
        try:
            with self._store.transaction() as tx:
                outcomes = self._use_case.decide(tx, calls, self._timekeeper.begin(tx, batch_id))
        except CommitUnknown:
            if not self._store.was_committed(batch_id):
                return self._transact(calls)
        return outcomes

    def _sweep(self) -> None:
        try:
            with self._store.transaction() as tx:
                self._use_case.sweep(tx, self._timekeeper.begin(tx, b64url(self._random(12))))
        except (StorageFull, StorageUnavailable) as error:
            _log.warning("beat missed: %s", error)
        except Exception:
            _log.exception("sweep failed")


def _deliver(answers: list[tuple[Callable[[Result], None], Result]]) -> None:
    for on_result, result in answers:
        try:
            on_result(result)
        except Exception:
            _log.exception("an answer could not be given")


def _settle(answer: "asyncio.Future[Outcome]", result: Result) -> None:
    if answer.done():
        return  # the caller has gone away; what was decided stands
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
