"""The desk: group commit. It takes everything that waits, decides it in one write transaction, commits, then answers all.

Nothing is acknowledged before it is durable, and there is never one transaction per request. Under no load a call is
decided at once; under load, what arrives while one batch is being committed is the next batch, so the batch size follows the
load by itself. A batch that fails is redone call by call, so that one bad call spoils no other; a commit whose outcome is
unknown is looked up by its batch's id before anything is redone or answered; a batch that another server got in the way of is
done again.

The desk is one thread with plain synchronous code (`Desk`), here or in a process of its own (`apps/remote_desk.py`); only
the front is asynchronous. Both are made of the same two parts: what waits, in two `Trays`, and a `Registrar` that serves a
batch of it.
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
from typing import Generic, Protocol, TypeVar

from seatkeeper.protocol.ids import b64url
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.service.calls import Call, HeldCall, Outcome
from seatkeeper_server.service.ports import CommitUnknown, Conflict, StorageFull, StorageUnavailable, Store, Transaction

MAX_BATCH = 256  # calls; beyond that a batch's own work delays its first caller more than a second commit would
RESERVE = 2  # times as many may wait if they hold a seat: overload turns newcomers away first
MAX_WAITING = 4096  # calls; beyond that a caller is better told to come back than kept
TRIES = 8  # times a batch is done again because another server was in its way, or its commit got lost

_log = logging.getLogger(__name__)

Result = Outcome | Exception
Item = TypeVar("Item")


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


def has_room(call: Call, waiting: int, most: int) -> bool:
    """Tell whether one more call may wait: holders' calls beyond the number at which newcomers are turned away."""
    return waiting < (most * RESERVE if isinstance(call, HeldCall) else most)


class Trays(Generic[Item]):
    """What waits, in two trays: calls of holders, which go first whatever else waits, and all others."""

    def __init__(self) -> None:
        self._urgent: deque[Item] = deque()
        self._others: deque[Item] = deque()

    def __bool__(self) -> bool:
        return bool(self._urgent or self._others)

    def put(self, call: Call, item: Item) -> None:
        """Let a call wait."""
        (self._urgent if isinstance(call, HeldCall) else self._others).append(item)

    def take(self, most: int) -> list[Item]:
        """Take the next batch."""
        if len(self._urgent) + len(self._others) <= most:
            batch = [*self._urgent, *self._others]
            self._urgent.clear()
            self._others.clear()
            return batch
        batch = []
        for tray in (self._urgent, self._others):
            batch += [tray.popleft() for _ in range(min(len(tray), most - len(batch)))]
        return batch


class Registrar:
    """Serves batches, one transaction each, and sweeps at every beat."""

    def __init__(self, store: Store, use_case: Decides, timekeeper: KeepsTime, random: Callable[[int], bytes]) -> None:
        self._store = store
        self._use_case = use_case
        self._timekeeper = timekeeper
        self._random = random

    def serve(self, calls: list[Call]) -> Sequence[Result]:
        """Decide and record a batch; the outcomes, or what went wrong, in the order of the calls. It raises nothing."""
        try:
            return self._transact(calls)
        except (StorageFull, StorageUnavailable) as error:
            return [error] * len(calls)
        except Exception as error:
            if len(calls) == 1:
                _log.exception("call failed")
                return [error]
            _log.warning("batch of %d failed, redone call by call", len(calls), exc_info=error)
            return [result for call in calls for result in self.serve([call])]

    def sweep(self) -> None:
        """Make facts timely, and say that the database is served. Trouble is logged; the next beat tries again."""
        try:
            with self._store.transaction() as tx:
                self._use_case.sweep(tx, self._timekeeper.begin(tx, self._batch_id()))
        except (StorageFull, StorageUnavailable) as error:
            _log.warning("beat missed: %s", error)
        except Exception:
            _log.exception("sweep failed")

    def _transact(self, calls: list[Call]) -> list[Outcome]:
        """Decide a batch; again, if another server got in its way, or if a full disk has room now: stores make some."""
        may_be_full = True
        for _ in range(TRIES - 1):
            try:
                return self._try(calls)
            except Conflict:
                continue
            except StorageFull:
                if not may_be_full:
                    raise
                may_be_full = False
        return self._try(calls)

    def _try(self, calls: list[Call]) -> list[Outcome]:
        batch_id = self._batch_id()
        outcomes: list[Outcome] = []
        try:
            with self._store.transaction() as tx:
                outcomes = self._use_case.decide(tx, calls, self._timekeeper.begin(tx, batch_id))
        except CommitUnknown as error:
            if not self._store.was_committed(batch_id):
                raise Conflict("the commit got lost, and did not happen") from error
        return outcomes

    def _batch_id(self) -> str:
        return b64url(self._random(12))


@dataclass(slots=True)
class _Waiting:
    """A call, and who is told what becomes of it, on which event loop."""

    call: Call
    loop: asyncio.AbstractEventLoop
    on_result: Callable[[Result], None]


_STOP: list[_Waiting] = []  # told apart by identity


class Desk:
    """Serves calls in batches, in a thread. `on_batch(calls, seconds)` is told of every one, for the metrics."""

    def __init__(
        self,
        registrar: Registrar,
        *,
        beat: timedelta = BEAT,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        on_batch: Callable[[int, float], None] = lambda calls, seconds: None,
    ) -> None:
        self._registrar = registrar
        self._beat = beat.total_seconds()
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._arrived: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._queue: SimpleQueue[list[_Waiting]] = SimpleQueue()
        self._trays: Trays[_Waiting] = Trays()
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

    @property
    def trouble(self) -> str | None:
        """Why a call would not be answered now; None if it would."""
        return None if self._thread.is_alive() else "What decides has ended."

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided; the outcome is durable when it is given.

        Raises:
            Overloaded: too many calls wait; nothing was done.
            Closed: the desk has stopped; nothing was done.
            StorageFull, StorageUnavailable: nothing was recorded.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(call, partial(settle, answer))
        return await answer

    def submit(self, call: Call, on_result: Callable[[Result], None]) -> None:
        """Have a call decided; `on_result` is told the outcome, or why there is none, on the event loop that runs now.

        It is told once, and later: never before this returns. What it raises is logged and harms nobody else. The errors
        are those of `ask`; the first two are raised here.
        """
        if self._closed:
            raise Closed
        if not has_room(call, self.waiting, self._max_waiting):
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
            stopping = self._gather(max(0.0, next_beat - perf_counter()))
            batch = self._trays.take(self._max_batch)
            self._taken += len(batch)
            if batch:
                self._serve(batch)
            if perf_counter() >= next_beat:
                self._registrar.sweep()
                next_beat = perf_counter() + self._beat
            if stopping and not self._trays:
                return
            if stopping:
                self._queue.put(_STOP)

    def _gather(self, patience: float) -> bool:
        """Take in what has arrived; if nothing waits, wait for the first call or the next beat. True when told to stop."""
        stopping = False
        try:
            while not stopping:
                waits = patience > 0 and not self._trays
                arrived = self._queue.get(timeout=patience) if waits else self._queue.get_nowait()
                for waiting in arrived:
                    self._trays.put(waiting.call, waiting)
                stopping = arrived is _STOP
        except Empty:
            pass
        return stopping

    def _serve(self, batch: list[_Waiting]) -> None:
        started = perf_counter()
        results = self._registrar.serve([waiting.call for waiting in batch])
        self._on_batch(len(batch), perf_counter() - started)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Callable[[Result], None], Result]]] = defaultdict(list)
        for waiting, result in zip(batch, results, strict=True):
            by_loop[waiting.loop].append((waiting.on_result, result))
        for loop, answers in by_loop.items():
            with suppress(RuntimeError):  # the loop has ended, and with it everybody who could have been told
                loop.call_soon_threadsafe(deliver, answers)


def deliver(answers: Sequence[tuple[Callable[[Result], None], Result]]) -> None:
    """Hand out answers, in the loop that waits for them."""
    for on_result, result in answers:
        try:
            on_result(result)
        except Exception:
            _log.exception("an answer could not be given")


def settle(answer: "asyncio.Future[Outcome]", result: Result) -> None:
    """Give a future its outcome, or its error."""
    if answer.done():
        return  # the caller has gone away; what was decided stands
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
