"""Keeping a seat while the program works: a daemon thread, or a task, that asks the machine what to do and does it.

All decisions are in `_seat.py`; here is only the loop, and the telling. The keeper looks at the clocks at least every few
seconds, so a suspended and resumed machine is noticed soon after it wakes. A callback runs outside the lock, may call the
seat, and may fail: that is logged and changes nothing.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from typing import TypeVar, assert_never

from seatkeeper._seat import Attempt, State, Stop, Wait
from seatkeeper._session import Session
from seatkeeper.errors import SeatLost

log = logging.getLogger("seatkeeper")

OnChange = Callable[[State], object]
OnLoss = Callable[[SeatLost], object]
Told = TypeVar("Told", State, SeatLost)


class Keeper:
    """Keeps a seat from a daemon thread; `attend` makes the attempt that is due and raises nothing."""

    def __init__(
        self, session: Session, attend: Callable[[], None], on_change: OnChange | None, on_loss: OnLoss | None
    ) -> None:
        self._session = session
        self._attend = attend
        self._on_change = on_change
        self._on_loss = on_loss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seatkeeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Stop keeping; wait for an attempt under way, at most `patience` seconds."""
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(patience)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._tell()
            match self._session.next_action():
                case Stop():
                    return
                case Wait(seconds):
                    self._stop.wait(seconds)
                case Attempt():
                    self._attend()
                case never:
                    assert_never(never)

    def _tell(self) -> None:
        state, loss = self._session.change(), self._session.fresh_loss()
        if state is not None and self._on_change is not None:
            _guarded(self._on_change, state)
        if loss is not None and self._on_loss is not None:
            _guarded(self._on_loss, loss)


class AsyncKeeper:
    """The same as a task; callbacks may be coroutine functions."""

    def __init__(
        self, session: Session, attend: Callable[[], Awaitable[None]], on_change: OnChange | None, on_loss: OnLoss | None
    ) -> None:
        self._session = session
        self._attend = attend
        self._on_change = on_change
        self._on_loss = on_loss
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="seatkeeper")

    async def stop(self) -> None:
        """Stop keeping; an attempt under way is abandoned, and asked for again should the seat be taken anew."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._tell()
            match self._session.next_action():
                case Stop():
                    return
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Attempt():
                    await self._attend()
                case never:
                    assert_never(never)

    async def _tell(self) -> None:
        state, loss = self._session.change(), self._session.fresh_loss()
        if state is not None and self._on_change is not None:
            await _settled(_guarded(self._on_change, state))
        if loss is not None and self._on_loss is not None:
            await _settled(_guarded(self._on_loss, loss))


def _guarded(callback: Callable[[Told], object], told: Told) -> object:
    try:
        return callback(told)
    except Exception:
        log.exception("seat.callback-failed told=%s", told)
        return None


async def _settled(result: object) -> None:
    if isawaitable(result):
        try:
            await result
        except Exception:
            log.exception("seat.callback-failed")
