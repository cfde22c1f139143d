"""The specification: one counter of seats whose leases expire, asked one call at a time.

Written from the contract ("Rules of the seat") and the design (decisions 3 and 8), not from the product; it shares no code with
it. `Pool.complaint(call, now)` says what is wrong with the answer that a call is said to have got, "" if this pool, at this
moment, gives that answer; `Pool.apply(call, now)` then changes the pool. `now` never falls.

What this pool promises
- There are `seats` places. A place is taken by an activation and counts until it is returned (and `linger` has passed), or
  until the last lease that was signed for it and the `margin` have passed. Time alone ends it, to the microsecond.
- An activation of a seat that nobody holds takes a place, or is refused if there is none. Of a seat that is held: with the
  token, it is the same place; without, a new one, while the older one counts on; after a return, as long as the place
  lingers, the same.
- Each raises the generation by one. A call that shows an older one is told so, and a return by it changes nothing.
- A refresh moves the end of the lease, never back. Of a seat whose place has ended it takes a new place if there is room
  (with the features it held), else the seat is gone. A returned seat is gone.
- A call that is repeated under its key is answered from the present state and changes nothing, as long as the seat is held.
- A feature is drawn by who holds a seat, within its amount. What is returnable comes back with the place; what isn't, never
  does.
- A lease lasts from its own moment for one `lease`, never beyond the end of what was sold. Its number is above all earlier
  ones.
- Downtime moves the end of every place that it found taken.

Left out: nonces, devices, waiting, taking back by an administrator, shrinking, overdraft, node locks, restored databases.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import count

from tests.linear.history import Feature, Kind, Lease, Operation, Outcome, Rules


class Standing(Enum):
    """How a seat stands."""

    HELD = auto()
    LAPSED = auto()
    RETURNED = auto()


class Deed(Enum):
    """What a call comes to."""

    CLAIM = auto()  # a new place
    TAKE_OVER = auto()  # a new place, beside the one of an older copy
    RETAKE = auto()  # a new place for a seat that had lapsed
    RESUME = auto()  # the same place, next generation
    REFRESH = auto()
    DRAW = auto()
    GIVE_BACK = auto()
    REPEAT = auto()
    RETURN = auto()
    NOTHING = auto()  # a return that changes nothing
    REFUSED = auto()
    GONE = auto()
    TAKEN_OVER = auto()


TAKES_A_PLACE = frozenset({Deed.CLAIM, Deed.TAKE_OVER, Deed.RETAKE})
NEW = frozenset({Deed.CLAIM, Deed.TAKE_OVER})
ANSWERED = {
    Deed.RETURN: Outcome.DONE,
    Deed.NOTHING: Outcome.DONE,
    Deed.REFUSED: Outcome.REFUSED,
    Deed.GONE: Outcome.GONE,
    Deed.TAKEN_OVER: Outcome.TAKEN_OVER,
}  # all others are granted
CHANGES_NOTHING = frozenset({Deed.NOTHING, Deed.REFUSED, Deed.GONE, Deed.TAKEN_OVER})

FULL = "pool-full"
SHORT = "feature-exhausted"

Amounts = dict[str, int]


@dataclass(slots=True)
class Place:
    """What counts against the limit, until a moment; None if it doesn't. `entry` is its line in the list of ends."""

    until: int | None
    units: Amounts
    entry: int = -1


@dataclass(slots=True)
class Seat(Place):
    """One seat with what its holder knows: which life it is in, and when its lease ends."""

    activation: int | None = None  # not known yet, if its first answer was lost
    generation: int = 0
    standing: Standing = Standing.LAPSED
    ends: int = 0
    drawn: Amounts = field(default_factory=dict)
    is_floored: bool = False


@dataclass(slots=True)
class Pool:
    """The counter. `used` are the places that count; `taken` is what is out of each feature."""

    rules: Rules
    now: int = -(1 << 62)
    sequence: int = 0
    used: int = 0
    taken: Amounts = field(default_factory=dict)
    seats: dict[int, Seat] = field(default_factory=dict)
    left_behind: Place = field(default_factory=lambda: Place(None, {}))  # of the last take-over
    _seat_of: dict[int, Seat] = field(default_factory=dict)
    _keys: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # seat, generation, until
    _ends: list[tuple[int, int, Place]] = field(default_factory=list)
    _entries: "count[int]" = field(default_factory=count)

    # --- asking ----------------------------------------------------------------------------------------------------

    def complaint(self, call: Operation, now: int) -> str:
        """Say why this pool doesn't give this answer at this moment; "" if it does."""
        if call.kind is Kind.DOWNTIME:
            return self._mistimed(call, now)
        if now < self.now:
            return f"the pool's time would go back by {self.now - now} µs"
        self.settle(now)
        deed, why = self.deed(call)
        if call.outcome is Outcome.UNKNOWN:
            return ""
        expected = ANSWERED.get(deed, Outcome.GRANTED)
        if call.outcome is not expected or (expected is Outcome.REFUSED and call.rule != why):
            told = f"{call.outcome.value} {call.rule}".strip()
            return f"was answered {told!r}, where it is {f'{expected.value} {why}'.strip()!r} ({self._state(call)})"
        return self._lease_complaint(call, deed) if expected is Outcome.GRANTED else ""

    def apply(self, call: Operation, now: int) -> Deed:
        """Do what the call comes to. Its answer must fit, or be unknown."""
        if call.kind is Kind.DOWNTIME:
            self._give_back_downtime(call.amount, now)
            return Deed.NOTHING
        self.settle(now)
        deed, _ = self.deed(call)
        if deed not in CHANGES_NOTHING:
            self._do(call, deed)
        return deed

    def settle(self, now: int) -> None:
        """Let time pass."""
        self.now = max(self.now, now)
        while self._ends and self._ends[0][0] <= self.now:
            _, entry, place = heappop(self._ends)
            if place.entry != entry or place.until is None:
                continue
            if place.until > self.now:
                heappush(self._ends, (place.until, entry, place))
            else:
                self._end(place)

    def seat_of(self, activation: int) -> Seat | None:
        """Give the seat that an activation is of."""
        return self._seat_of.get(activation)

    def deed(self, call: Operation) -> tuple[Deed, str]:
        """Say what a call comes to now, and by which rule if it is refused. Time must have been settled."""
        match call.kind:
            case Kind.ACTIVATE:
                return self._activate(call)
            case Kind.RETURN:
                return self._return(call)
            case _:
                return self._held(call)

    def _activate(self, call: Operation) -> tuple[Deed, str]:
        seat = self.seats.get(call.seat)
        if seat is not None and seat.standing is Standing.HELD and (kept := self._kept(call.key)) is not None:
            return (Deed.REPEAT if kept == (call.seat, seat.generation) else Deed.TAKEN_OVER), ""
        if self._is_over():
            return Deed.REFUSED, "entitlement-expired"
        if seat is None or seat.until is None:
            deed = Deed.CLAIM
        elif seat.standing is Standing.RETURNED or call.token == (seat.activation, seat.generation):
            return Deed.RESUME, ""
        else:
            deed = Deed.TAKE_OVER
        return (deed, "") if self.used < self.rules.seats else (Deed.REFUSED, FULL)

    def _return(self, call: Operation) -> tuple[Deed, str]:
        activation, generation = call.token or (-1, 0)
        seat = self._seat_of.get(activation)
        changes = seat is not None and generation == seat.generation and seat.standing is not Standing.RETURNED
        return (Deed.RETURN if changes else Deed.NOTHING), ""

    def _held(self, call: Operation) -> tuple[Deed, str]:
        activation, generation = call.token or (-1, 0)
        seat = self._seat_of.get(activation)
        if seat is None or generation > seat.generation:
            return Deed.GONE, ""
        if generation < seat.generation:
            return Deed.TAKEN_OVER, ""
        if seat.standing is Standing.RETURNED:
            return Deed.GONE, ""
        is_held = seat.standing is Standing.HELD
        if self._kept(call.key) is not None:
            return (Deed.REPEAT if is_held else Deed.GONE), ""
        if not is_held and call.kind is not Kind.REFRESH:
            return Deed.GONE, ""
        if self._is_over():
            return Deed.REFUSED, "entitlement-expired"
        if call.kind is Kind.REFRESH:
            return (Deed.REFRESH if is_held else self._retake(seat)), ""
        return self._feature(seat, call)

    def _retake(self, seat: Seat) -> Deed:
        has_room = self.used < self.rules.seats and all(n <= self.left_of(key) for key, n in seat.units.items())
        return Deed.RETAKE if has_room else Deed.GONE

    def _feature(self, seat: Seat, call: Operation) -> tuple[Deed, str]:
        feature = self.rules.features[call.feature]
        if call.kind is Kind.CHECK_OUT:
            return (Deed.DRAW, "") if call.amount <= self.left_of(call.feature) else (Deed.REFUSED, SHORT)
        if not feature.returnable:
            return Deed.REFUSED, "not-returnable"
        return (Deed.GIVE_BACK, "") if call.amount <= seat.units.get(call.feature, 0) else (Deed.REFUSED, "over-return")

    def left_of(self, feature: str) -> int:
        """Tell how much of a feature is left."""
        return self.rules.features[feature].amount - self.taken.get(feature, 0)

    def _kept(self, key: int | None) -> tuple[int, int] | None:
        kept = None if key is None else self._keys.get(key)
        return None if kept is None or kept[2] <= self.now else kept[:2]

    def _is_over(self) -> bool:
        return self.rules.ends is not None and self.now >= self.rules.ends

    # --- what a granted lease must say ------------------------------------------------------------------------------

    def _lease_complaint(self, call: Operation, deed: Deed) -> str:
        lease = call.lease
        if lease is None:
            return "was granted without a lease"
        if lease.sequence <= self.sequence:
            return f"its lease has number {lease.sequence}, and an earlier one has {self.sequence}"
        if not lease.issued <= self.now <= lease.issued + self.rules.lag:
            return f"its lease is of {lease.issued}, and decided at {self.now}"
        seat = self.seats.get(call.seat)
        generation = (seat.generation if seat else 0) + (deed in NEW or deed is Deed.RESUME)
        if seat is not None and seat.activation not in (None, lease.activation):
            return f"its lease is of activation {lease.activation}, and the seat's is {seat.activation}"
        if self._seat_of.get(lease.activation, seat) is not seat:
            return f"its lease is of activation {lease.activation}, which is another seat's"
        if lease.generation != generation:
            return f"its lease has generation {lease.generation}, not {generation}"
        if call.kind is Kind.ACTIVATE and call.is_new is not (deed in NEW):
            return f"was told that its place is {'new' if call.is_new else 'the same'}, and it is not"
        if lease.ends != (ends := self._lease_end(seat, deed, lease.issued)):
            return f"its lease ends {lease.ends - ends:+} µs from where it should ({deed.name})"
        if dict(lease.features) != (features := self._features(seat, call, deed)):
            return f"its lease speaks of features {dict(lease.features)}, and they are {features}"
        return ""

    def _lease_end(self, seat: Seat | None, deed: Deed, issued: int) -> int:
        if seat is not None and deed in (Deed.DRAW, Deed.GIVE_BACK, Deed.REPEAT):
            return self._bounded(seat.ends)
        ends = self._bounded(issued + self.rules.lease)
        return max(ends, self._bounded(seat.ends)) if seat is not None and deed is Deed.REFRESH else ends

    def _features(self, seat: Seat | None, call: Operation, deed: Deed) -> Amounts:
        if seat is None or deed in NEW:
            return {}
        held = {**({} if deed is Deed.RESUME else seat.units), **seat.drawn}
        if deed in (Deed.DRAW, Deed.GIVE_BACK):
            held[call.feature] = held.get(call.feature, 0) + (call.amount if deed is Deed.DRAW else -call.amount)
        return {key: n for key, n in held.items() if n}

    def _bounded(self, moment: int) -> int:
        return moment if self.rules.ends is None else min(moment, self.rules.ends)

    def _state(self, call: Operation) -> str:
        seat = self.seats.get(call.seat)
        said = "seat unknown" if seat is None else f"seat {seat.standing.name}, generation {seat.generation}"
        if seat is not None and seat.until is not None:
            said += f", its place until {seat.until - self.now:+} µs"
        return f"{said}; {self.used} of {self.rules.seats} taken" + "".join(
            f", {n} of {self.rules.features[key].amount} {key}" for key, n in self.taken.items()
        )

    # --- doing ------------------------------------------------------------------------------------------------------

    def _do(self, call: Operation, deed: Deed) -> None:
        seat = self.seats.get(call.seat) if call.kind is Kind.ACTIVATE else self._seat_of[(call.token or (-1, 0))[0]]
        if deed is Deed.RETURN:
            assert seat is not None
            self.give_back_seat(seat, self.now)
            return
        seat = self._life(seat, call, deed)
        if call.lease is not None and seat.activation is None:
            self.name(seat, call.lease.activation)
        if deed in (Deed.DRAW, Deed.GIVE_BACK):
            self._move(seat, call.feature, call.amount if deed is Deed.DRAW else -call.amount)
        elif deed is not Deed.REPEAT:
            self._lengthen(seat, deed, call.lease.issued if call.lease else self.now)
        self.sequence = call.lease.sequence if call.lease else self.sequence
        if call.key is not None:
            until = self.now + self.rules.lease + self.rules.margin
            self._keys[call.key] = (call.seat, seat.generation, until)

    def _life(self, seat: Seat | None, call: Operation, deed: Deed) -> Seat:
        """Begin a new life of a seat where the deed is one: its generation, its place, and nothing drawn yet."""
        if seat is None:
            seat = self.seats[call.seat] = Seat(None, {})
        if deed is Deed.TAKE_OVER:
            self.left_behind = Place(seat.until, seat.units)
            self._list(self.left_behind)
            seat.units = {}
        if deed in NEW or deed is Deed.RESUME:
            seat.generation += 1
            self._free_units(seat)
        if deed in NEW:
            seat.units, seat.drawn = {}, {}
        if deed is Deed.RETAKE:
            for key, n in seat.units.items():
                self.taken[key] = self.taken.get(key, 0) + n
        return seat

    def _lengthen(self, seat: Seat, deed: Deed, issued: int) -> None:
        """Give a seat a lease from a moment on, and a place if it has none."""
        seat.standing, seat.is_floored = Standing.HELD, False
        new = issued + self.rules.lease
        seat.ends = max(self._bounded(new), seat.ends) if deed is Deed.REFRESH else self._bounded(new)
        until = max(seat.ends, self._bounded(new)) + self.rules.margin
        if deed in TAKES_A_PLACE:
            seat.until = until
            self._place(seat)
        elif deed is Deed.RESUME:
            seat.until = until
            self._list(seat)
        else:
            seat.until = max(until, seat.until or until)

    def _move(self, seat: Seat, feature: str, amount: int) -> None:
        kept = seat.units if self.rules.features[feature].returnable else seat.drawn
        kept[feature] = kept.get(feature, 0) + amount
        self.taken[feature] = self.taken.get(feature, 0) + amount

    def give_back_seat(self, seat: Seat, at: int) -> None:
        """Return a seat at a moment: what it held is free at once, its place when it has lingered."""
        was_held = seat.standing is Standing.HELD
        seat.standing = Standing.RETURNED
        if not was_held:
            return
        self._free_units(seat)
        self.linger_until(seat, at + self.rules.linger)

    def linger_until(self, seat: Seat, moment: int) -> None:
        """Let the place of a returned seat end at a moment."""
        seat.until = moment
        if moment <= self.now:
            self._end(seat)
        else:
            self._list(seat)

    def _place(self, place: Place) -> None:
        self.used += 1
        self._list(place)

    def _list(self, place: Place) -> None:
        assert place.until is not None
        place.entry = next(self._entries)
        heappush(self._ends, (place.until, place.entry, place))

    def _end(self, place: Place) -> None:
        """A place ends. A seat that lapses remembers what it held, for when it is taken again."""
        place.until = None
        self.used -= 1
        for key, n in place.units.items():
            self.taken[key] -= n
        if isinstance(place, Seat) and place.standing is Standing.HELD:
            place.standing = Standing.LAPSED

    def _free_units(self, seat: Seat) -> None:
        if seat.until is not None:
            for key, n in seat.units.items():
                self.taken[key] -= n
        seat.units = {}

    # --- downtime ---------------------------------------------------------------------------------------------------

    def _mistimed(self, call: Operation, now: int) -> str:
        """Servers say only every beat that they are there, so what they give back may begin a beat before the last decision."""
        late = self.now - (now - call.amount)
        if now < self.now:
            return f"a downtime ended {self.now - now} µs before the last decision"
        return f"a downtime began {late} µs before the last decision" if late > self.rules.beat else ""

    def _give_back_downtime(self, gap: int, now: int) -> None:
        """Move every place's end by a time in which nobody could be served. Who holds gets a third of a lease at least, once.

        Keys are kept for as much longer.
        """
        self.settle(max(self.now, now - gap))
        self.now = now
        for key, (seat, generation, until) in self._keys.items():
            if until > now - gap:
                self._keys[key] = (seat, generation, until + gap)
        for _, entry, place in self._ends:
            if place.entry != entry or place.until is None:
                continue
            if not isinstance(place, Seat):
                place.until += gap
            elif place.standing is Standing.HELD:
                self._extend(place, gap)
        self.settle(now)

    def _extend(self, seat: Seat, gap: int) -> None:
        floor = seat.ends if seat.is_floored else self.now + round(self.rules.lease / 3)
        ends = max(seat.ends + gap, floor)
        seat.is_floored = seat.is_floored or floor > seat.ends + gap
        seat.ends = max(seat.ends, self._bounded(ends))
        seat.until = ends + self.rules.margin

    def name(self, seat: Seat, activation: int) -> None:
        """Say which activation a seat has."""
        seat.activation = activation
        self._seat_of[activation] = seat

    # --- for who tries one order after the other --------------------------------------------------------------------

    def copy(self) -> "Pool":
        """Give the same pool once more, to be changed by itself."""
        new = Pool(self.rules, self.now, self.sequence)
        new.used, new.taken, new._keys = self.used, dict(self.taken), dict(self._keys)
        for number, seat in self.seats.items():
            twin = Seat(seat.until, dict(seat.units), -1, seat.activation, seat.generation, seat.standing, seat.ends)
            twin.drawn, twin.is_floored = dict(seat.drawn), seat.is_floored
            new.seats[number] = twin
            if twin.activation is not None:
                new._seat_of[twin.activation] = twin
            if twin.until is not None:
                new._list(twin)
        for left in self._left():
            new._list(Place(left.until, dict(left.units)))
        return new

    def signature(self) -> Hashable:
        """Give what tells pools apart that may answer differently."""
        seats = tuple(
            (n, s.activation, s.generation, s.standing, s.ends, s.until, s.is_floored, _of(s.units), _of(s.drawn))
            for n, s in sorted(self.seats.items())
        )
        left = tuple(sorted((p.until or 0, _of(p.units)) for p in self._left()))
        return self.now, self.sequence, _of(self.taken), seats, left, tuple(sorted(self._keys.items()))

    def _left(self) -> list[Place]:
        """Give the places of older copies that still count."""
        return [p for _, entry, p in self._ends if p.entry == entry and p.until is not None and not isinstance(p, Seat)]


def _of(amounts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((key, n) for key, n in amounts.items() if n))


__all__ = ["FULL", "SHORT", "TAKES_A_PLACE", "Deed", "Feature", "Lease", "Pool", "Seat", "Standing"]
