"""The desk as a process of its own, so that deciding and the front each have a processor and an interpreter.

    front (event loop) ── RemoteDesk ══ a pair of sockets ══ this module as a program ── Registrar ── store

The process is the front's child and serves nobody else. It ends when its socket does: a front that is killed takes it along.
If it dies alone, what was asked of it fails as `StorageUnavailable` (whether it was recorded is then as open as after any lost
answer; the rules of repeats settle that), and a new one is started at once.
"""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from time import perf_counter
from typing import Final

import structlog
from msgspec import msgpack

from seatkeeper_server.apps import desk_wire as wire
from seatkeeper_server.apps.deciding import Order, deciding, spare_the_collector
from seatkeeper_server.apps.serving import log_to_stderr
from seatkeeper_server.service.calls import Call, Outcome
from seatkeeper_server.service.desk import MAX_WAITING, Closed, Overloaded, Registrar, Result, Trays, deliver, has_room, settle
from seatkeeper_server.service.ports import StorageUnavailable

CHUNK: Final = 256 * 1024  # bytes read at once
ENDS_WITHIN: Final = 30.0  # seconds for what waits to be answered when the server stops
STARTS_WITHIN: Final = 30.0  # seconds
AGAIN_AFTER: Final = 1.0  # seconds until the next try, if it does not come up

OnResult = Callable[[Result], None]

log = structlog.get_logger("seatkeeper.desk")


# --- the front's end -----------------------------------------------------------------------------------------------


class RemoteDesk:
    """A desk in a process of its own, for one event loop at a time. `on_batch(calls, seconds)` is told of every batch."""

    def __init__(
        self,
        order: Order,
        *,
        max_waiting: int = MAX_WAITING,
        on_batch: Callable[[int, float], None] = lambda calls, seconds: None,
    ) -> None:
        self._order = order
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._numbers = count()
        self._answers: dict[int, OnResult] = {}
        self._arrived: list[wire.Numbered] = []
        self._unsent: deque[bytes] = deque()
        self._frames = wire.Frames()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._coming_back: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        """Start the process.

        Raises:
            StorageUnavailable: it did not come up.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            program = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603  (us)
        ours.settimeout(STARTS_WITHIN)
        try:
            ours.sendall(wire.framed(msgpack.encode(self._order)))
            if ours.recv(1) != _READY:
                raise StorageUnavailable("the desk process did not come up; its reason is in the log")
        except OSError as error:
            raise StorageUnavailable(f"the desk process did not come up: {error}") from error
        ours.setblocking(False)
        self._socket = ours

    def close(self) -> None:
        """Answer what waits, then stop."""
        if self._closed:
            return
        self._closed = True
        self._leave_loop()
        process, ours = self._process, self._socket
        if ours is not None:
            ours.close()
        if process is not None:
            try:
                process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._answers)

    @property
    def process_id(self) -> int | None:
        """The process that decides now."""
        return None if self._process is None else self._process.pid

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided; the outcome is durable when it is given.

        Raises:
            Overloaded: too many calls wait; nothing was done.
            Closed: the desk has stopped; nothing was done.
            StorageFull, StorageUnavailable: nothing was recorded, or nothing is known of that.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(call, partial(settle, answer))
        return await answer

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Have a call decided; `on_result` is told the outcome, or why there is none, on the event loop that runs now.

        It is told once, and later: never before this returns. The errors are those of `ask`; all but StorageFull may be
        raised here, and then nothing was done.
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

    # --- the loop --------------------------------------------------------------------------------------------------

    def _enter_loop(self) -> asyncio.AbstractEventLoop:
        self._leave_loop()
        if self._socket is None:
            raise StorageUnavailable("the desk process is being started again")
        loop = self._loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._receive)
        return loop

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._socket is not None and not loop.is_closed():
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)

    def _hand_over(self) -> None:
        """Hand the calls that one turn of the loop brought to the desk together."""
        arrived, self._arrived = self._arrived, []
        if self._socket is None:
            return  # it has just died, and they were failed
        self._unsent.append(wire.calls_frame(arrived))
        if len(self._unsent) == 1:
            self._send()

    def _send(self) -> None:
        assert self._socket is not None
        while self._unsent:
            frame = self._unsent[0]
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._has_died()
                return
            if sent < len(frame):
                self._unsent[0] = frame[sent:]
                assert self._loop is not None
                self._loop.add_writer(self._socket, self._send)
                return
            self._unsent.popleft()
        if self._loop is not None:
            self._loop.remove_writer(self._socket)

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._has_died()
            return
        for frame in self._frames.fed(data):
            seconds, results = wire.read_batch(frame)
            self._on_batch(len(results), seconds)
            deliver([(self._answers.pop(number), result) for number, result in results])

    def _has_died(self) -> None:
        """Fail what was asked: nobody knows how much of it was recorded. The next call starts a new process."""
        self._leave_loop()
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            code = self._process.wait()
            log.error("desk.died", process=self._process.pid, code=code, unanswered=len(self._answers))
        self._socket, self._frames = None, wire.Frames()
        self._coming_back = asyncio.get_running_loop().create_task(self._come_back())
        answers, self._answers, self._arrived = self._answers, {}, []
        self._unsent.clear()
        deliver([(answer, StorageUnavailable("the desk process has died")) for answer in answers.values()])

    async def _come_back(self) -> None:
        """Start a new process, again and again until one comes up."""
        while not self._closed:
            try:
                await asyncio.to_thread(self.open)
            except StorageUnavailable as error:
                log.error("desk.not_started", reason=str(error))
                await asyncio.sleep(AGAIN_AFTER)
            else:
                log.warning("desk.started_again", process=self.process_id)
                return


# --- the process ---------------------------------------------------------------------------------------------------

_READY: Final = b"\x01"


class _Process:
    """The loop of the process: take what has arrived, serve a batch, answer it; sweep at every beat."""

    def __init__(self, connection: socket.socket, registrar: Registrar, order: Order, frames: wire.Frames) -> None:
        self._socket, self._registrar, self._frames = connection, registrar, frames
        self._max_batch, self._beat = order.batch_limit, order.beat.total_seconds()
        self._trays: Trays[wire.Numbered] = Trays()

    def run(self) -> None:
        """Serve until the front closes its end; what has arrived by then is still decided."""
        next_beat, open_ = perf_counter(), True
        while open_ or self._trays:
            open_ = open_ and self._gather(max(0.0, next_beat - perf_counter()))
            if batch := self._trays.take(self._max_batch):
                self._serve(batch)
            if perf_counter() >= next_beat:
                self._registrar.sweep()
                next_beat = perf_counter() + self._beat

    def _serve(self, batch: list[wire.Numbered]) -> None:
        started = perf_counter()
        results = self._registrar.serve([call for _, call in batch])
        frame = wire.batch_frame([number for number, _ in batch], results, perf_counter() - started)
        with suppress(OSError):  # the front has gone; what was decided stands
            self._socket.settimeout(None)
            self._socket.sendall(frame)

    def _gather(self, patience: float) -> bool:
        """Take in what has arrived; if nothing waits, wait for a call or the next beat. False when the front has gone."""
        while True:
            try:
                self._socket.settimeout(patience if not self._trays else 0.0)
                data = self._socket.recv(CHUNK)
            except (BlockingIOError, TimeoutError):
                return True
            except OSError:
                return False
            if not data:
                return False
            for frame in self._frames.fed(data):
                for numbered in wire.read_calls(frame):
                    self._trays.put(numbered[1], numbered)


def main(descriptor: int) -> None:
    """Be the desk process of the front at the other end of this socket."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front tells when to end
    connection, frames = socket.socket(fileno=descriptor), wire.Frames()
    first: list[memoryview] = []
    while not first:
        data = connection.recv(CHUNK)
        if not data:
            return
        first = list(frames.fed(data))
    order = msgpack.decode(first[0], type=Order)
    log_to_stderr(order.log_level)
    with deciding(order) as registrar:
        spare_the_collector()
        connection.sendall(_READY)
        _Process(connection, registrar, order, frames).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
