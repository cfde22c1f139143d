"""Several processes that serve one listening socket, and the parent that keeps them up.

    parent: opens the socket, starts workers, starts them again ── fork ── worker: the whole server but for the socket

The rules it keeps
- The parent has no thread and no connection to the database, so that it can fork at any time; a worker starts in an instant,
  and runs the very code that the parent does, whatever was installed since.
- A worker that dies is started again: at once if it had served for a while, else after a pause that grows. While any other
  serves, that goes on for ever; when none does and starting is in vain again and again, the parent gives up and says so.
- The socket is the parent's: connections that wait to be accepted survive a worker.
- A worker stops when it is told to, or when its parent has gone; then what is under way is answered.
"""

import asyncio
import os
import select
import signal
import socket
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import mmap
from time import monotonic, sleep
from typing import Final

import structlog

from seatkeeper_server.apps.accepting import Shares
from seatkeeper_server.apps.process import STOPS
from seatkeeper_server.apps.remote_desk import ENDS_WITHIN
from seatkeeper_server.apps.serving import CannotServe, Server

GROWN_UP: Final = 10.0  # seconds of service after which a death is no sign that the next one follows
FIRST_PAUSE: Final = 0.25  # seconds before a start that follows a death in youth; then twice as long each time
LONGEST_PAUSE: Final = 8.0
MOST_IN_VAIN: Final = 5  # starts of each worker in a row, after which none of them ever served
LOOK_EVERY: Final = 0.02  # seconds, while workers are being stopped
AWAY: Final = 1 << 62  # connections of a worker that can't take any
FAILED: Final = 1  # a worker's exit code

log = structlog.get_logger("seatkeeper.workers")


@dataclass(frozen=True, slots=True)
class _Pipes:
    """What ties workers to their parent: `up` is written to by who serves, `life` is closed when the parent has gone."""

    up: tuple[int, int]
    life: tuple[int, int]
    wake: tuple[int, int]

    def leave(self) -> None:
        """Close what is the parent's, in a worker."""
        for end in (self.up[0], self.life[1], *self.wake):
            os.close(end)


class Worker:
    """A worker's end of the tie to its parent."""

    def __init__(self, pipes: _Pipes, shares: Shares) -> None:
        self._pipes = pipes
        self.shares = shares
        self._server: Server | None = None

    def obeys(self, server: Server) -> None:
        """Note what is to be stopped when the parent has gone."""
        self._server = server

    def serves(self) -> None:
        """Tell the parent, and watch it; on the event loop."""
        self.shares.is_ahead(0)
        with suppress(OSError):
            os.write(self._pipes.up[1], b"%d\n" % os.getpid())
        asyncio.get_running_loop().add_reader(self._pipes.life[0], self._orphaned)

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipes.life[0])
        assert self._server is not None
        self._server.stop()


@dataclass(slots=True)
class _Post:
    """What the parent knows of one worker's place."""

    pid: int | None = None
    serves_since: float | None = None
    start_at: float = 0.0
    pause: float = 0.0
    in_vain: int = 0


class Crew:
    """Keeps a number of workers up. `work(place, worker)` is what one does, in a process of its own, until it is stopped."""

    def __init__(self, count: int, work: Callable[[int, Worker], None], *, stops_within: float) -> None:
        self._work = work
        self._stops_within = stops_within + ENDS_WITHIN
        self._posts = [_Post() for _ in range(count)]
        self._connections = memoryview(mmap(-1, 8 * count)).cast("q")  # of each worker; shared with all of them
        self._connections[:] = array("q", [AWAY] * count)
        self._stopping = False

    def run(self, listener: socket.socket, all_serve: Callable[[], None]) -> None:
        """Keep them up until SIGTERM or SIGINT; `all_serve` is told once that every one of them serves.

        Raises:
            CannotServe: none of them stays up.
        """
        with _pipes() as pipes, self._signals(pipes):
            told = False
            try:
                while not self._stopping:
                    self._start_who_is_due(pipes)
                    self._wait(pipes)
                    self._see_who_died()
                    if not told and all(post.serves_since is not None for post in self._posts):
                        told = True
                        all_serve()
            finally:
                listener.close()
                self._stop_all()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    @contextmanager
    def _signals(self, pipes: _Pipes) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in STOPS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only to wake
        woken = signal.set_wakeup_fd(pipes.wake[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_who_is_due(self, pipes: _Pipes) -> None:
        now = monotonic()
        for place, post in enumerate(self._posts):
            if post.pid is None and post.start_at <= now:
                post.serves_since = None
                post.pid = self._forked(place, pipes)

    def _forked(self, place: int, pipes: _Pipes) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # what arrives meanwhile is for whom it is sent to
        try:
            pid = os.fork()
            if pid:
                return pid
            code = FAILED
            try:
                signal.set_wakeup_fd(-1)
                for number in (*STOPS, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                pipes.leave()
                self._work(place, Worker(pipes, Shares(self._connections, place)))
                code = 0
            except Exception as error:
                log.error("worker.failed", place=place, reason=str(error), exc_info=error)
            finally:
                os._exit(code)  # nothing of the parent's is ended here
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wait(self, pipes: _Pipes) -> None:
        """Wait for a signal, a death, a worker that serves, or the next start."""
        due = [post.start_at for post in self._posts if post.pid is None]
        patience = max(0.0, min(due) - monotonic()) if due else None
        ready, _, _ = select.select([pipes.wake[0], pipes.up[0]], [], [], patience)
        if pipes.wake[0] in ready:
            with suppress(BlockingIOError):
                os.read(pipes.wake[0], 4096)
        if pipes.up[0] in ready:
            serving = {int(line) for line in os.read(pipes.up[0], 4096).split()}
            for post in self._posts:
                if post.pid in serving:
                    post.serves_since, post.in_vain = monotonic(), 0

    def _see_who_died(self) -> None:
        for place, post in enumerate(self._posts):
            if post.pid is None or (code := _ended(post.pid)) is None or self._stopping:
                continue
            now = monotonic()
            lived = 0.0 if post.serves_since is None else now - post.serves_since
            post.pause = 0.0 if lived >= GROWN_UP else min(max(2 * post.pause, FIRST_PAUSE), LONGEST_PAUSE)
            post.in_vain += post.serves_since is None
            log.warning("worker.ended", place=place, pid=post.pid, code=code, again_in=post.pause)
            post.pid, post.serves_since, post.start_at = None, None, now + post.pause
            self._connections[place] = AWAY
        if all(post.serves_since is None and post.in_vain >= MOST_IN_VAIN for post in self._posts):
            raise CannotServe("none of the workers stays up; its log says why")

    def _stop_all(self) -> None:
        """Stop every worker, gracefully as long as there is time."""
        for number, patience in ((signal.SIGTERM, self._stops_within), (signal.SIGKILL, self._stops_within)):
            self._tell(number)
            deadline = monotonic() + patience
            while any(post.pid is not None for post in self._posts) and monotonic() < deadline:
                for post in self._posts:
                    if post.pid is not None and _ended(post.pid) is not None:
                        post.pid = None
                sleep(LOOK_EVERY)

    def _tell(self, number: signal.Signals) -> None:
        for post in self._posts:
            if post.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(post.pid, number)


def _ended(pid: int) -> int | None:
    """Give the exit code of a worker that has ended, negative for a signal; None while it runs."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return FAILED  # somebody else has waited for it
    return os.waitstatus_to_exitcode(status) if ended else None


@contextmanager
def _pipes() -> Iterator[_Pipes]:
    pipes = _Pipes(os.pipe(), os.pipe(), os.pipe())
    for end in pipes.wake:
        os.set_blocking(end, False)
    try:
        yield pipes
    finally:
        for end in (*pipes.up, *pipes.life, *pipes.wake):
            os.close(end)
