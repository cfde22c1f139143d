"""Keeps time for a database: the alive moment, downtime that does not count, a clock that is behind (decision 8).

The rules are in `domain/timekeeping.py`; here they are applied once, in the transaction that finds the gap.

Where the database has a clock of its own, that one is everybody's, so that several servers agree; each watches it against its
own, which never jumps. Whatever one server gives back or sets right stands in the alive moment, and the others follow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.timekeeping import BEAT, Alive, downtime, margin_for, offset, step
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
    _carried: timedelta = NOTHING  # of the drift, what was there before this process started
    _given: int = 0
    _noted: bool = False  # whether our offset stands in the database

    def start(self, tx: Transaction) -> ClockState:
        """Compare the wall clock with what was recorded, once, when a server starts.

        A wall clock that is behind is set forward by a stored offset: time goes on from the last alive moment.
        """
        alive, told = tx.alive(), tx.clock()
        if told is not None:
            self.clock.shift(told - self.clock.now())
        if alive is None:
            return ClockState.OK
        wall = self.clock.now()
        if wall < alive.at:
            self._offset = max(alive.offset, alive.at - wall)
            self.clock.shift(self._offset)
        self._drift = alive.drift
        if told is None or not self._others_beat(alive, told):
            self._drift += step(alive, wall + self._offset, *self.clock.boot())
        self._carried, self._given = self._drift, alive.given
        return self.state

    def _others_beat(self, alive: Alive, told: datetime) -> bool:
        """Whether another server has this database, as it seems: then no step of its clock goes unseen."""
        return told - alive.at <= 2 * self.beat

    @property
    def state(self) -> ClockState:
        """Tell whether the clock had to be set forward."""
        return ClockState.SUSPECT if self._offset else ClockState.OK

    def begin(self, tx: Transaction, batch_id: str) -> datetime:
        """Give the one `now` of a transaction; time that nobody could refresh in has been given back."""
        alive = tx.alive()
        time = self._look(tx, alive)
        if alive is not None and time.corrects(alive):
            alive = tx.alone()  # of several servers that see it, the first has done it by now
            time = self._look(tx, alive)
            if alive is not None and time.gap:
                time = self._give_back(tx, alive, time)
        tx.mark_alive(Alive(time.now, *self.clock.boot(), time.drift, time.offset, time.given), batch_id)
        self._noted = True
        return time.now

    def _look(self, tx: Transaction, alive: Alive | None) -> "_Time":
        """Tell what time it is, and how much of it nobody could refresh in."""
        told = tx.clock()
        if told is None and alive is not None and self._noted and self._offset and not alive.offset:
            self.clock.shift(-self._offset)  # the recorded moment was lowered: a document of the vendor's said so
            self._offset = NOTHING
        now = self.clock.now() if told is None else self._shared(told, alive)
        if alive is None:
            return _Time(now, NOTHING, self._drift, self._offset, 0)
        now = max(now, alive.at)
        gap = downtime(alive.at, now, self.beat)
        if gap == NOTHING and self._drift >= margin_for(self.beat) / 2:
            gap = self._drift
        return _Time(now, gap, self._drift, self._offset, alive.given)

    def _shared(self, told: datetime, alive: Alive | None) -> datetime:
        """Give the time by the database's clock, and note how far it has moved against this process's own.

        What was given back for that is noted by who gave it; then this process's clock follows.
        """
        self._offset = NOTHING if alive is None else offset(alive, told, self.beat)
        now = told + self._offset
        ahead = now - self.clock.now()
        if alive is not None and alive.given != self._given:
            self._given, self._carried = alive.given, NOTHING
            self.clock.shift(ahead)
            ahead = NOTHING
        elif ahead < NOTHING:
            self.clock.shift(ahead)
            ahead = NOTHING
        self._drift = self._carried + ahead
        return now

    def _give_back(self, tx: Transaction, alive: Alive, time: "_Time") -> "_Time":
        """Give lost time back; what time it is afterwards: with a million places that takes longer than a server may be silent.

        Whoever is extended has a refresh interval from the moment before on, so that he finds the server again in time.
        """
        began = self.clock.now()
        if tx.clock() is None:
            self._drift = NOTHING
        places = tx.extend_leases(alive.at, time.gap, time.now)
        for tenant_id in tx.tenants():
            data = {"seconds": time.gap.total_seconds(), "since": alive.at.isoformat()}
            recording.append(tx, tenant_id, tenant_id, [Note(at=time.now, what="downtime", data=data)], time.now)
        self.on_downtime(time.gap, places)
        return replace(time, now=time.now + (self.clock.now() - began), drift=NOTHING, given=alive.given + 1)


class _Time(Struct, frozen=True):
    """What a transaction makes of the clocks: its `now`, what is to be given back, and what is to be remembered."""

    now: datetime
    gap: timedelta
    drift: timedelta
    offset: timedelta
    given: int

    def corrects(self, alive: Alive) -> bool:
        """Whether something has to be set right for everybody."""
        return bool(self.gap) or self.offset != alive.offset


def clerk_now(tx: Transaction, wall: datetime, beat: timedelta = BEAT) -> datetime:
    """Give the time for a command-line verb beside a server: the server's own, and none passes while there is no server."""
    alive, wall = tx.alive(), tx.clock() or wall
    if alive is None:
        return wall
    return min(max(wall + alive.offset, alive.at), alive.at + margin_for(beat))


def set_clock_back(tx: Transaction, wall: datetime) -> timedelta:
    """Lower the recorded moment to the wall clock's, for an operator who knows that the recorded one was wrong.

    Where the database has a clock of its own, that is the one that counts. Every lease moves with it. Gives by how much time
    was set back; nothing if the clock is not behind.
    """
    alive, wall = tx.alone(), tx.clock() or wall
    if alive is None or wall >= alive.at:
        return NOTHING
    back = alive.at - wall
    tx.shift_leases(-back)
    tx.mark_alive(replace(alive, at=wall, offset=NOTHING, drift=NOTHING, given=alive.given + 1), "")
    for tenant_id in tx.tenants():
        note = Note(at=wall, what="clockSetBack", data={"seconds": back.total_seconds()})
        recording.append(tx, tenant_id, tenant_id, [note], wall)
    return back
