"""Keeps what facts come to: `service.usage.UsageBook`, over named queries."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import json

from seatkeeper_server.domain.usage import PATIENCE, Demand, Level, Slot
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.usage_book import Break, Count, Mark, Session, Stay, Wish
from seatkeeper_server.store.rows import Row, json_text, maybe_micros, maybe_moment, micros, moment, named, span, to_who
from seatkeeper_server.store.transaction import SqlTransaction

_read_breaks = json.Decoder(tuple[Break, ...]).decode


class Usage:
    """What facts came to, within one transaction or snapshot."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    # --- rolling up -------------------------------------------------------------------------------------------------

    def mark(self, key: PoolKey) -> Mark:
        """Have a chain's mark to oneself until the transaction ends, and give it."""
        if not self._tx.execute("hold_mark", **named(key)):
            self._tx.execute("begin_mark", **named(key))
            self._tx.execute("hold_mark", **named(key))
        row = self._tx.query("mark", **named(key))[0]
        return Mark(row[0], maybe_moment(row[1]), _read_breaks(row[2]))

    def set_mark(self, key: PoolKey, mark: Mark) -> None:
        """Move a chain's mark."""
        at, breaks = maybe_micros(mark.recorded_at), json_text(mark.breaks)
        self._tx.execute("set_mark", **named(key), number=mark.number, recorded_at=at, breaks=breaks)

    def behind(self) -> list[PoolKey]:
        """Give the entitlements that have facts beyond their mark."""
        return [(row[0], row[1]) for row in self._tx.query("behind")]

    def levels(self, key: PoolKey, before: datetime) -> dict[str, Level]:
        """Give how each right stood when the slot began that begins at a moment."""
        return {row[0]: Level(row[1], row[2]) for row in self._tx.query("levels", **named(key), before=micros(before))}

    def fold_anew(self, key: PoolKey, since: datetime, slots: Sequence[Slot], counts: Sequence[Count]) -> None:
        """Put these slots and counts in the place of all from a moment on."""
        self._tx.execute("forget_slots", **named(key), since=micros(since))
        self._tx.execute("forget_counts", **named(key), since=micros(since))
        self._tx.put("save_slots", [_from_slot(key, slot) for slot in slots])
        self._tx.put("save_counts", [[*key, micros(c.start), c.what, c.rule, c.right, c.count] for c in counts])

    def open_sessions(self, key: PoolKey, activation_ids: Sequence[str]) -> list[Session]:
        """Give the sessions of these activations that last."""
        return [_to_session(row) for row in self._tx.query("open_sessions", **named(key), asked=json_text(activation_ids))]

    def save_sessions(self, key: PoolKey, sessions: Sequence[Session]) -> None:
        """Keep sessions as they are now."""
        self._tx.put("save_sessions", [_from_session(key, session) for session in sessions])

    def last_wishes(self, key: PoolKey, holders: Sequence[int]) -> list[Wish]:
        """Give the last demand of each of these holders, of each right."""
        return [_to_wish(row) for row in self._tx.query("last_demands", **named(key), asked=json_text(holders))]

    def save_wishes(self, key: PoolKey, wishes: Sequence[Wish]) -> None:
        """Keep demands as they are now."""
        self._tx.put("save_demands", [_from_wish(key, wish) for wish in wishes])

    # --- reading ----------------------------------------------------------------------------------------------------

    def rights(self, key: PoolKey) -> list[str]:
        """Give the rights that ever moved."""
        return [row[0] for row in self._tx.query("usage_rights", **named(key))]

    def level(self, key: PoolKey, right: str, before: datetime) -> Level:
        """Give how a right stood when the slot began that begins at a moment."""
        for row in self._tx.query("level", **named(key), right_key=right, before=micros(before)):
            return Level(row[0], row[1])
        return Level()

    def slots(self, key: PoolKey, right: str, since: datetime, until: datetime) -> list[Slot]:
        """Give the slots between two moments in which a right moved."""
        found = self._tx.query("slots", **named(key), right_key=right, since=micros(since), until=micros(until))
        return [_to_slot(row) for row in found]

    def counts(self, key: PoolKey, since: datetime, until: datetime) -> list[Count]:
        """Give what was counted in the slots between two moments."""
        found = self._tx.query("counts", **named(key), since=micros(since), until=micros(until))
        return [Count(moment(row[0]), row[1], row[2], row[3], row[4]) for row in found]

    def demands(self, key: PoolKey, since: datetime, until: datetime) -> list[Demand]:
        """Give what was asked for in vain at some time between two moments."""
        around = micros(since - PATIENCE)
        found = self._tx.query("demands", **named(key), since=micros(since), until=micros(until), around=around)
        return [_to_wish(row).demand for row in found]

    def stays(self, key: PoolKey, since: datetime, until: datetime) -> list[Stay]:
        """Give how long, and how often, each holder was there between two moments."""
        found = self._tx.query("stays", **named(key), since=micros(since), until=micros(until))
        return [
            Stay(holder=row[0], sessions=row[1], lasting=row[2], time=span(int(row[3])), who=_to_who(row[4:])) for row in found
        ]

    def sessions(
        self, key: PoolKey, since: datetime, until: datetime, skip: int, most: int
    ) -> list[tuple[Session, Who | None]]:
        """Give stays that touch a time, the latest first."""
        which = {**named(key), "since": micros(since), "until": micros(until)}
        found = self._tx.query("sessions_between", **which, skip=skip, most=most)
        return [(_to_session(row), _to_who(row[6:])) for row in found]

    def count_sessions(self, key: PoolKey, since: datetime, until: datetime) -> int:
        """Tell how many stays touch a time."""
        return int(self._tx.query("count_sessions", **named(key), since=micros(since), until=micros(until))[0][0])


def _to_who(row: Row) -> Who | None:
    return None if row[0] is None else to_who(row)


def _from_slot(key: PoolKey, slot: Slot) -> list[object]:
    level = slot.level
    return [*key, slot.right, micros(slot.start), slot.high, slot.low, slot.held, slot.over, level.amount, level.bought]


def _to_slot(row: Row) -> Slot:
    return Slot(row[0], moment(row[1]), row[2], row[3], row[4], row[5], Level(row[6], row[7]))


def _from_session(key: PoolKey, session: Session) -> list[object]:
    started_at, ended_at = micros(session.started_at), maybe_micros(session.ended_at)
    return [*key, session.number, session.activation_id, session.holder, started_at, ended_at, session.cause]


def _to_session(row: Row) -> Session:
    return Session(
        number=row[0],
        activation_id=row[1],
        holder=row[2],
        started_at=moment(row[3]),
        ended_at=maybe_moment(row[4]),
        cause=row[5],
    )


def _from_wish(key: PoolKey, wish: Wish) -> list[object]:
    it = wish.demand
    began_at, last_at, met_at = micros(it.since), micros(it.last), maybe_micros(it.met_at)
    return [*key, wish.number, it.holder, it.right, it.wanted, began_at, last_at, it.tries, met_at]


def _to_wish(row: Row) -> Wish:
    return Wish(row[0], Demand(row[1], row[2], row[3], moment(row[4]), moment(row[5]), row[6], maybe_moment(row[7])))
