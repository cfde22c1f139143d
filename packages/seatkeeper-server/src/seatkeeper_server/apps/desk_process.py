"""The desk as a process of its own: how it is started, and the program it runs.

    front (event loop) ── RemoteDesk ══ a pair of sockets ══ this module as a program ── Registrar ── store

It is the front's child and serves nobody else. Before each batch it looks at the connection, and ends when the front has gone:
beside a new server on the same data an old desk finishes at most the batch it is at. That batch is one transaction, decided by
what the database says in it, like every other; so it needs no lock beyond SQLite's own (decision 0012).
"""

import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from time import perf_counter
from typing import Final

import structlog
from msgspec import msgpack

from seatkeeper_server.apps import desk_wire as wire
from seatkeeper_server.apps.deciding import Order, deciding
from seatkeeper_server.apps.process import STOPS, log_to_stderr, spare_the_collector
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service.desk import Registrar, Trays
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

CHUNK: Final = 256 * 1024  # bytes read at once

log = structlog.get_logger("seatkeeper.desk")


def start(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    """Start the process whose end of the connection this is.

    Until it ignores them, the signals that stop a server are held back: a Ctrl-C goes to every process of a terminal, and what
    is under way must still be decided. It imports nothing from the current directory (-P), and the standard output is the
    command's alone.

    Raises:
        OSError: it can't be started.
    """
    program = [sys.executable, "-P", "-m", "seatkeeper_server.apps.desk_process", str(theirs.fileno())]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        return subprocess.Popen(  # noqa: S603  (us)
            program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(descriptor: int) -> None:
    """Be the desk of the front at the other end of this socket."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # the front says when to end
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    with socket.socket(fileno=descriptor) as connection:
        attend(connection, _opened)


@contextmanager
def _opened(order: Order) -> Iterator[Registrar]:
    log_to_stderr(order.log_level)
    with deciding(order) as registrar:
        spare_the_collector()
        yield registrar


def attend(connection: socket.socket, opened: Callable[[Order], AbstractContextManager[Registrar]]) -> None:
    """Serve the front at the other end until it says that no call follows, or has gone."""
    frames = wire.Frames()
    with ExitStack() as stack, suppress(ConnectionError):  # to answer a front that has gone is all that can raise one
        if (ordered := _first_frame(connection, frames)) is None:
            return
        try:
            order = msgpack.decode(ordered, type=Order)
            registrar = stack.enter_context(opened(order))
        except Exception as error:
            if not isinstance(error, SealKeyError | StorageFull | StorageUnavailable):
                log.error("desk.not_open", exc_info=error)
            connection.sendall(wire.opening_frame(error))  # by which the front tells what is wrong
            return
        connection.sendall(wire.opening_frame(None))
        _Desk(connection, frames, registrar, order).run()


def _first_frame(connection: socket.socket, frames: wire.Frames) -> memoryview | None:
    while data := connection.recv(CHUNK):
        if whole := frames.fed(data):
            return whole[0]
    return None


class _Desk:
    """Takes what has arrived, serves a batch, answers it; sweeps at every beat."""

    def __init__(self, connection: socket.socket, frames: wire.Frames, registrar: Registrar, order: Order) -> None:
        self._socket, self._frames, self._registrar = connection, frames, registrar
        self._max_batch, self._beat = order.batch_limit, order.beat.total_seconds()
        self._trays: Trays[wire.Numbered] = Trays()
        self._that_was_all = self._front_is_gone = False
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def run(self) -> None:
        """Serve until there is nobody to answer, or nothing more to decide."""
        next_beat = perf_counter()
        while True:
            self._gather(max(0.0, next_beat - perf_counter()))
            if self._front_is_gone or (self._that_was_all and not self._trays):
                return
            if batch := self._trays.take(self._max_batch):
                self._serve(batch)
            if perf_counter() >= next_beat:
                self._registrar.sweep()
                next_beat = perf_counter() + self._beat

    def _serve(self, batch: list[wire.Numbered]) -> None:
        started = perf_counter()
        results = self._registrar.serve([call for _, call in batch])
        frame = wire.batch_frame([number for number, _ in batch], results, perf_counter() - started)
        try:
            self._socket.sendall(frame)
        except OSError:
            self._front_is_gone = True  # what was decided stands

    def _gather(self, patience: float) -> None:
        """Take in what has arrived; if nothing waits, wait so many seconds for a call."""
        events = self._poll.poll(0 if self._trays or self._that_was_all else patience * 1000)
        while events:
            if events[0][1] & ~select.POLLIN:  # a front that has gone needs none of what it has sent
                self._front_is_gone = True
                return
            try:
                data = self._socket.recv(CHUNK)
            except OSError:
                data = b""
            if not data:
                self._front_is_gone = True
                return
            for frame in self._frames.fed(data):
                if not frame:
                    self._that_was_all = True
                    break
                for numbered in wire.read_calls(frame):
                    self._trays.put(numbered[1], numbered)
            events = self._poll.poll(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
