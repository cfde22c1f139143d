"""Keeps time for a database: the alive moment, downtime that does not count, a clock that is behind (decision 8).

The rules are in `domain/timekeeping.py`; here they are applied once, in the transaction that finds the gap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec.structs import replace

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.timekeeping import BEAT, Alive, downtime, margin_for, step
from seatkeeper_server.service import recording
from seatkeeper_server.service.ports import Transaction

NOTHING = timedelta(0)


class Clock(Protocol):
    """A clock that never jumps, and what it was set by."""

    def now(self) -> datetime:
        """Give the time in UTC: the wall clock read at the start plus what has passed since, plus `shift`."""
        ...

    def boot(self) -> tuple[str, timedelta]:
        """Give the operating system's boot ("" where it can't be known) and the time it counts since."""
        ...

    def shift(self, by: timedelta) -> None:
        """Let the clock run ahead of the wall clock by this much more."""
        ...


class ClockState(StrEnum):
    """Whether this database believes its clock."""

    OK = "ok"
    SUSPECT = "clock-suspect"


@dataclass
class Timekeeper:
    """Says what time it is in each transaction of a server, and gives lost time back before anything is decided."""

    clock: Clock
    beat: timedelta = BEAT
    on_downtime: Callable[[timedelta, int], None] = lambda gap, places: None
    _offset: timedelta = NOTHING
    _drift: timedelta = NOTHING

    def start(self, tx: Transaction) -> ClockState:
        """Compare the wall clock with what was recorded, once, when a server starts.

        A wall clock that is behind is set forward by a stored offset: time goes on from the last alive moment.
        """
        alive = tx.alive()
        if alive is None:
            return ClockState.OK
        wall = self.clock.now()
        if wall < alive.at:
            self._offset = max(alive.offset, alive.at - wall)
            self.clock.shift(self._offset)
        self._drift = alive.drift + step(alive, wall + self._offset, *self.clock.boot())
        return self.state

    @property
    def state(self) -> ClockState:
        """Tell whether the clock had to be set forward."""
        return ClockState.SUSPECT if self._offset else ClockState.OK

    def begin(self, tx: Transaction, batch_id: str) -> datetime:
        """Give the one `now` of a transaction; time that nobody could refresh in has been given back."""
        now = self.clock.now()
        alive = tx.alive()
        if alive is not None:
            now = max(now, alive.at)
            self._give_back(tx, alive.at, now)
        tx.mark_alive(self._alive(now), batch_id)
        return now

    def _give_back(self, tx: Transaction, alive_at: datetime, now: datetime) -> None:
        gap = downtime(alive_at, now, self.beat)
        if gap == NOTHING and self._drift >= margin_for(self.beat) / 2:
            gap = self._drift
        if gap == NOTHING:
            return
        self._drift = NOTHING
        places = tx.extend_leases(alive_at, gap, now)
        for tenant_id in tx.tenants():
            seconds = gap.total_seconds()
            note = Note(at=now, what="downtime", data={"seconds": seconds, "since": alive_at.isoformat()})
            recording.append(tx, tenant_id, tenant_id, [note], now)
        self.on_downtime(gap, places)

    def _alive(self, now: datetime) -> Alive:
        boot_id, boot_at = self.clock.boot()
        return Alive(now, boot_id, boot_at, self._drift, self._offset)


def clerk_now(tx: Transaction, wall: datetime, beat: timedelta = BEAT) -> datetime:
    """Give the time for a command-line verb beside a server: the server's own, and none passes while there is no server."""
    alive = tx.alive()
    if alive is None:
        return wall
    return min(max(wall + alive.offset, alive.at), alive.at + margin_for(beat))


def set_clock_back(tx: Transaction, wall: datetime) -> timedelta:
    """Lower the recorded moment to the wall clock's, for an operator who knows that the recorded one was wrong.

    Every lease moves with it. Gives by how much time was set back; nothing if the wall clock is not behind.
    """
    alive = tx.alive()
    if alive is None or wall >= alive.at:
        return NOTHING
    back = alive.at - wall
    tx.shift_leases(-back)
    tx.mark_alive(replace(alive, at=wall, offset=NOTHING, drift=NOTHING), "clock")
    for tenant_id in tx.tenants():
        note = Note(at=wall, what="clockSetBack", data={"seconds": back.total_seconds()})
        recording.append(tx, tenant_id, tenant_id, [note], wall)
    return back
