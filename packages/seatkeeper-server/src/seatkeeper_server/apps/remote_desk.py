"""The front's end of a desk that is a process of its own (`desk_process.py`).

The rules it keeps
- If the process dies alone, what was asked of it fails as `StorageUnavailable`: whether it was recorded is then as open as
  after any lost answer, and the rules of repeats settle that. A thread, the keeper, starts it again: at once if it had lived
  for a while, else after a pause that grows. Until then callers are told at once; the event loop waits for nothing.
- What was asked and is not answered counts as waiting, wherever it is on its way, so that memory is bounded while the process
  is slow, stopped or stuck. It is not killed for that: a slow disk looks the same. But the server is not ready then.
- The calls of one turn of the loop go together, since a batch costs as much as twenty calls; but a desk that has nothing to do
  is not kept waiting until a long turn ends.
- Calls of holders pass all others on this side of the connection too, should the process not take them as fast as they come.
- What the loop uses is touched by the loop's thread only, until `close` has taken it over; what the keeper hands to the loop
  lies under a lock that no call takes.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final, Protocol

import structlog
from msgspec import msgpack

from seatkeeper_server.apps import desk_process
from seatkeeper_server.apps import desk_wire as wire
from seatkeeper_server.apps.deciding import Order
from seatkeeper_server.apps.desk_process import CHUNK
from seatkeeper_server.service.calls import Call, Outcome
from seatkeeper_server.service.desk import MAX_WAITING, Closed, Overloaded, Result, Trays, deliver, has_room, settle
from seatkeeper_server.service.ports import StorageUnavailable

STARTS_WITHIN: Final = 30.0  # seconds
ENDS_WITHIN: Final = 30.0  # seconds for what waits to be answered when the server stops
DIES_WITHIN: Final = 5.0  # seconds for a killed process to be gone
STUCK_AFTER: Final = 5.0  # seconds without any answer while somebody waits for one
GROWN_UP: Final = 10.0  # seconds of life after which a death is no sign that the next one follows
FIRST_PAUSE: Final = 0.25  # seconds, between the second start in a row and the third; then twice as long each time
LONGEST_PAUSE: Final = 8.0
HEAD_START: Final = 24  # calls that set an idle desk to work while the loop still reads what came with them

_NOTHING: Final = memoryview(b"")

log = structlog.get_logger("seatkeeper.desk")

OnResult = Callable[[Result], None]
Answers = list[tuple[OnResult, Result]]


class Runs(Protocol):
    """What a desk runs in: a process."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        ...

    def kill(self) -> None:
        """End it now; nothing if it has ended."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Life:
    """A process that is open, and the connection to it."""

    process: Runs
    socket: socket.socket


class RemoteDesk:
    """A desk in a process of its own, for one event loop at a time. `on_batch(calls, seconds)` is told of every batch."""

    def __init__(
        self,
        order: Order,
        *,
        max_waiting: int = MAX_WAITING,
        on_batch: Callable[[int, float], None] = lambda calls, seconds: None,
        start: Callable[[socket.socket], Runs] = desk_process.start,
    ) -> None:
        self._order = order
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._start = start

        self._numbers = count()
        self._answers: dict[int, OnResult] = {}  # of all that was asked and is not answered
        self._arrived: list[wire.Numbered] = []  # in this turn of the loop
        self._behind: Trays[wire.Numbered] = Trays()  # while the process does not take more
        self._unsent = _NOTHING  # of the frame that is being sent
        self._last_words = b""
        self._frames = wire.Frames()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: _Life | None = None
        self._heard_at = 0.0
        self._closed = False

        self._lock = Lock()
        self._fresh: _Life | None = None  # started, and known to no loop yet
        self._ended: _Life | None = None  # the last that has died
        self._process: Runs | None = None  # the latest, also while it is being started
        self._home: asyncio.AbstractEventLoop | None = None  # the loop that is told of a fresh one
        self._over = Event()
        self._keeper: Thread | None = None

    def open(self) -> None:
        """Start the process, and from now on start it again whenever it dies.

        Raises:
            SealKeyError: the sealing key is missing.
            StorageFull, StorageUnavailable: it did not come up; the message says why.
        """
        self._fresh = life = self._started()
        self._keeper = Thread(target=self._keep, args=(life,), name="desk-keeper", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """Answer what waits, then stop; from any thread. What is not answered by then fails."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._over.set()
            fresh, self._fresh, process, home = self._fresh, None, self._process, self._home
        self._take_from(home)
        if fresh is not None:
            self._forget_life()
            self._life = fresh
        life, ends_at = self._life, monotonic() + ENDS_WITHIN
        if life is not None:
            self._finish(life, ends_at)
            life.socket.close()
        self._hand_out(self._given_up("the server has stopped"))
        if self._keeper is not None and process is not None:
            self._keeper.join(0.0 if life is None else max(0.0, ends_at - monotonic()))
            process.kill()
            self._keeper.join(DIES_WITHIN)
        self._life = None

    @property
    def waiting(self) -> int:
        """How many calls have no answer yet, those that are being decided included."""
        return len(self._answers)

    @property
    def process_id(self) -> int | None:
        """The latest process."""
        return None if self._process is None else self._process.pid

    @property
    def trouble(self) -> str | None:
        """Why a call would not be answered now; None if it would."""
        if self._fresh is None and self._life in (None, self._ended):
            return "What decides is being started again."
        if self._answers and monotonic() - self._heard_at > STUCK_AFTER:
            return "What decides does not answer."
        return None

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided; the outcome is durable when it is given.

        Raises:
            Overloaded: too many calls wait; nothing was done.
            Closed: the desk has stopped; nothing was done.
            StorageFull: nothing was recorded.
            StorageUnavailable: nothing was recorded, or nothing is known of that.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(call, partial(settle, answer))
        return await answer

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Have a call decided; `on_result` is told the outcome, or why there is none, on the event loop that runs now.

        It is told once, and later: never before this returns. What it raises is logged and harms nobody else. The errors
        are those of `ask`; all but StorageFull may be raised here, and then nothing was done.
        """
        if self._closed:
            raise Closed
        if not has_room(call, len(self._answers), self._max_waiting):
            raise Overloaded
        if not self._arrived:  # the first of a turn: to ask for the loop each time costs as much as all the rest of this
            loop = self._loop
            if loop is None or loop is not asyncio.get_running_loop():
                loop = self._enter_loop()
            loop.call_soon(self._hand_over)
        number = next(self._numbers)
        self._answers[number] = on_result
        self._arrived.append((number, call))
        if len(self._arrived) == HEAD_START and len(self._answers) == HEAD_START:
            self._give_head_start()

    # --- in the loop: sending and receiving ------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Hand the calls that one turn of the loop brought to the desk together."""
        if self._closed or not self._arrived:
            return  # `close` hands them over, a head start has; or the process has just died, and they were failed
        arrived, self._arrived = self._arrived, []
        if len(self._answers) == len(arrived):
            self._heard_at = monotonic()  # until now nobody waited
        if self._unsent or len(arrived) > wire.MOST_CALLS:
            self._put_behind(arrived)
        else:
            self._unsent = self._framed(arrived)
        self._send()

    def _give_head_start(self) -> None:
        """Set an idle desk to work. What can't be put into words waits for the turn's end, as nobody is told anything yet."""
        try:
            self._unsent = memoryview(wire.calls_frame(self._arrived))
        except Exception:
            return
        self._arrived, self._heard_at = [], monotonic()
        self._send()

    def _put_behind(self, calls: list[wire.Numbered]) -> None:
        for numbered in calls:
            self._behind.put(numbered[1], numbered)

    def _send(self) -> None:
        """Send what the process takes now. If it has gone, that is found by reading, behind its last answers."""
        life = self._life
        assert life is not None
        while self._has_more():
            try:
                sent = life.socket.send(self._unsent)
            except BlockingIOError:
                if self._loop is not None:
                    self._loop.add_writer(life.socket, self._send_more)
                return
            except OSError:
                self._behind, self._unsent, self._last_words = Trays(), _NOTHING, b""
                return
            self._unsent = self._unsent[sent:]

    def _send_more(self) -> None:
        if self._life is not None and self._loop is not None:
            self._send()
            if not self._unsent:
                self._loop.remove_writer(self._life.socket)

    def _has_more(self) -> bool:
        """Tell whether there is something to send, and have it ready."""
        if self._unsent:
            return True
        if self._behind:
            self._unsent = self._framed(self._behind.take(wire.MOST_CALLS))
        elif self._last_words:
            self._unsent, self._last_words = memoryview(self._last_words), b""
        return bool(self._unsent)

    def _framed(self, calls: list[wire.Numbered]) -> memoryview:
        """Give the frame of calls; one that can't be put into words fails alone."""
        try:
            return memoryview(wire.calls_frame(calls))
        except Exception:
            bad = {number: error for number, call in calls if (error := wire.why_unsayable(call)) is not None}
            self._hand_out([(self._answers.pop(number), error) for number, error in bad.items()])
            return memoryview(wire.calls_frame([(number, call) for number, call in calls if number not in bad]))

    def _receive(self) -> None:
        answers, goes_on = self._read()
        deliver(answers)
        if not goes_on and self._life is not None:
            self._lose_life()

    def _read(self) -> tuple[Answers, bool]:
        """Read what has arrived; False if the process has gone, or what it says can't be understood."""
        assert self._life is not None
        answers: Answers = []
        try:
            data = self._life.socket.recv(CHUNK)
            for frame in self._frames.fed(data):
                seconds, results = wire.read_batch(frame)
                self._on_batch(len(results), seconds)
                answers += [(self._answers.pop(number, _tell_nobody), result) for number, result in results]
        except BlockingIOError:
            return answers, True
        except ConnectionError:
            return answers, False
        except Exception as error:
            log.error("desk.not_understood", exc_info=error)
            return answers, False
        self._heard_at = monotonic()
        return answers, bool(data)

    def _hand_out(self, answers: Answers) -> None:
        """Hand out answers to whom they belong to; in a loop that is closed that is nobody."""
        if not self._closed:
            deliver(answers)
        elif self._home is not None:
            _deliver_in(self._home, answers)

    # --- in the loop: coming and going -----------------------------------------------------------------------------

    def _enter_loop(self) -> asyncio.AbstractEventLoop:
        """Have the loop that runs now speak with the latest process.

        Raises:
            StorageUnavailable: there is none now.
            Closed: there will be none any more.
        """
        loop = asyncio.get_running_loop()
        if self._home is not None and self._home is not loop:
            self._leave_home(self._home)
        with self._lock:
            if self._over.is_set():
                raise Closed
            self._home = loop
            fresh, self._fresh = self._fresh, None
        if fresh is not None:
            self._lose_life()
            self._life, self._frames = fresh, wire.Frames()
        if self._life is None or self._life is self._ended:
            raise StorageUnavailable("the desk process is being started again")
        loop.add_reader(self._life.socket, self._receive)
        if self._unsent:
            loop.add_writer(self._life.socket, self._send_more)
        self._loop = loop
        return loop

    def _come_back(self) -> None:
        """Speak with the process that has just been started, although nobody asks."""
        if self._home is asyncio.get_running_loop():
            with suppress(Closed, StorageUnavailable):
                self._enter_loop()

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._life is not None and not loop.is_closed():
            loop.remove_reader(self._life.socket)
            loop.remove_writer(self._life.socket)

    def _leave_home(self, home: asyncio.AbstractEventLoop) -> None:
        """Leave a loop for another: what was asked there is given up, though the process may still answer it."""
        self._leave_loop()
        never_sent = {number for number, _ in [*self._arrived, *self._behind.take(len(self._answers))]}
        unsent, numbers = self._unsent, self._answers.keys() - never_sent
        _deliver_in(home, self._given_up("another event loop asks now"))
        self._answers, self._unsent = dict.fromkeys(numbers, _tell_nobody), unsent

    def _lose_life(self) -> None:
        """Fail what was asked: nobody knows how much of it was recorded. The keeper starts the next process."""
        self._leave_loop()
        self._forget_life()
        lost = self._given_up("the desk process has died")
        if lost:
            log.error("desk.lost", unanswered=len(lost))
            deliver(lost)

    def _forget_life(self) -> None:
        """Let go of a process; if it still lives, it ends."""
        life, self._life = self._life, None
        if life is not None:
            life.socket.close()
            life.process.kill()

    def _given_up(self, reason: str) -> Answers:
        answers, self._answers = self._answers, {}
        self._arrived, self._behind, self._unsent = [], Trays(), _NOTHING
        return [(answer, StorageUnavailable(reason)) for answer in answers.values()]

    # --- at the end, in the thread that closes ---------------------------------------------------------------------

    def _take_from(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Take the connection out of a loop, which may be running in another thread. Nothing is asked any more."""
        if loop is not None and loop.is_running() and loop is not _running_here():
            left = Event()

            def leave() -> None:
                self._leave_loop()
                left.set()

            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(leave)
                while loop.is_running() and not left.wait(0.05):
                    pass
        self._leave_loop()

    def _finish(self, life: _Life, ends_at: float) -> None:
        """Send the rest and that it was all, and hand out answers until the process has ended."""
        arrived, self._arrived = self._arrived, []
        self._put_behind(arrived)
        self._last_words = wire.NO_MORE
        with selectors.DefaultSelector() as selector:
            selector.register(life.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while (left := ends_at - monotonic()) > 0:
                for _, events in selector.select(left):
                    if events & selectors.EVENT_READ:
                        answers, goes_on = self._read()
                        self._hand_out(answers)
                        if not goes_on:
                            return
                    self._send()
                    selector.modify(life.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0))

    # --- the keeper's thread ---------------------------------------------------------------------------------------

    def _keep(self, life: _Life | None) -> None:
        """Start the process again whenever it has ended."""
        pause = 0.0
        while life is not None:
            since = monotonic()
            code = life.process.wait()
            if self._over.is_set():
                return
            log.error("desk.died", process=life.process.pid, code=code)
            if monotonic() - since > GROWN_UP:
                pause = 0.0
            self._withdraw(life)
            life, pause = self._started_again(pause)
            self._publish(life)

    def _started_again(self, pause: float) -> tuple[_Life | None, float]:
        """Start it, as often as it takes; nothing if the server has stopped meanwhile. And how long to wait the next time."""
        while not self._over.wait(pause):
            pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
            try:
                life = self._started()
            except Exception as error:
                if not self._over.is_set():
                    log.error("desk.not_started", reason=str(error), again_after=pause)
            else:
                log.warning("desk.started_again", process=life.process.pid)
                return life, pause
        return None, pause

    def _withdraw(self, life: _Life) -> None:
        """Take back a process that has died before any loop knew of it; a loop that knows it finds out by itself."""
        with self._lock:
            self._ended = life
            if self._fresh is life:
                self._fresh = None
                life.socket.close()

    def _publish(self, life: _Life | None) -> None:
        if life is None:
            return
        with self._lock:
            if self._over.is_set():
                life.socket.close()  # by which it ends
                return
            self._fresh, home = life, self._home
        if home is not None:
            with suppress(RuntimeError):  # it is closed; the next one will find it
                home.call_soon_threadsafe(self._come_back)

    def _started(self) -> _Life:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = process = self._start(theirs)
            try:
                self._see_that_it_opens(ours)
            except BaseException:
                process.kill()
                process.wait()
                raise
        except OSError as error:
            ours.close()
            raise StorageUnavailable(f"the desk process did not come up: {error}") from error
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return _Life(process, ours)

    def _see_that_it_opens(self, ours: socket.socket) -> None:
        if self._over.is_set():
            raise Closed  # before that was known, `close` may have ended the process before this one
        ours.settimeout(STARTS_WITHIN)
        frames = wire.Frames()
        with suppress(ConnectionError):
            ours.sendall(wire.framed(msgpack.encode(self._order)))
            while data := ours.recv(CHUNK):
                if whole := frames.fed(data):
                    if (error := wire.read_opening(whole[0])) is not None:
                        raise error
                    return
        raise StorageUnavailable("the desk process ended before it was ready; its last words are on standard error")


def _deliver_in(loop: asyncio.AbstractEventLoop, answers: Answers) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody awaits them
        loop.call_soon_threadsafe(deliver, answers)


def _tell_nobody(result: Result) -> None:
    """Stand for who has left with his event loop."""


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
