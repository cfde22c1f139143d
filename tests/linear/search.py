"""Looks for one order of the calls in which the pool of `spec` gives every answer. What it finds is proven by `checker.replay`.

To try all orders takes for ever, and is not needed. Every granted call carries a lease with the pool's own number and moment,
so most of the order is known; what is left is to place the calls that carry none, each somewhere between its sending and its
answer:

- A *return* frees a place. The later, the fuller is the pool in the meantime, which every refusal likes; a grant in a full
  pool needs one before it. So each return is put off to its last moment, and when a grant needs room, the one goes first
  whose place would end next. That keeps the pool as full as it can have been, at every moment at once: no other choice leaves
  a refusal more. It may leave too much of a feature, though, where the seat had drawn some: if a refusal shows that, the
  walk is tried again with that return put off until no other one can make room.
- A *refusal* changes nothing. It is placed at the first moment of its own at which the pool is as full as it says.
- *Gone* and *taken over* change nothing either: they wait for the place to end, or for the newer copy.

One walk along the moments does it, in time n log n. Some things are guessed, and a guess may miss an order that exists (never
the other way round, since what is found is replayed): a call without an answer counts as not done unless something shows that
it was (a repeat under its key, a refusal that nothing else explains, a grant that needs its room); which of several returned
seats goes first, where one had drawn features; whether a return came before or after a take-over of the same seat at the same
time; and, where `lag` is not 0, a decision is put at the earliest moment that its lease allows. `Found.guessed` says whether
any of these was there, so that "no order was found" is then no proof that there is none.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from tests.linear.history import History, Kind, Lease, Operation, Outcome
from tests.linear.spec import FULL, SHORT, TAKES_A_PLACE, Deed, Place, Pool, Seat, Standing

FOREVER = 1 << 62

TRIES = 50  # other ways round
SPARED = 2000  # returns that are put off for the sake of a feature
ALL = -1  # of the calls that wait for a full pool

RETURNS, OPENS, AGAIN, DECIDES, LOOKS, CLOSES = range(6)  # in this order at one moment; the first is a server's

Event = tuple[int, int, int, int]  # moment, what, rank among the like, call


@dataclass(slots=True)
class Found:
    """An order as (call, moment), by index; or why there is none, and the call that stands against it."""

    order: list[tuple[int, int]] = field(default_factory=list)
    complaint: str = ""
    call: int = -1
    guessed: bool = False


class NoOrder(Exception):
    """A call fits nowhere."""

    def __init__(self, call: int, complaint: str) -> None:
        super().__init__(complaint)
        self.call = call


def find_order(history: History) -> Found:
    """Look for an order. What was guessed wrongly about a return is tried the other way round."""
    others: set[int] = set()
    spared: set[int] = set()
    while True:
        walk = _Walk(history, frozenset(others), frozenset(spared))
        try:
            walk.run()
        except NoOrder as none:
            found, most, other = spared, SPARED, walk.freed_too_much(none.call)
            if other is None:
                found, most, other = others, TRIES, walk.other_way_round()
            if other is None or len(found) == most:
                return Found(complaint=str(none), call=none.call, guessed=walk.guessed)
            found.add(other)
        else:
            return Found(order=list(walk.moments.items()), guessed=walk.guessed)


@dataclass(slots=True)
class _Return:
    """A return that was sent and changes something: it may be placed from `since` on, and `natural` is when the place ends
    without it. Once it is placed, `seat` may linger for somewhat less long than that says. `first` is an earlier attempt
    without an answer, if there was one, and `first_since` the first moment of both.
    """

    call: int
    seat: Seat
    since: int
    natural: int
    first: int
    first_since: int


class _Walk:
    """One walk along the moments."""

    def __init__(self, history: History, others: frozenset[int], spared: frozenset[int]) -> None:
        self.rules, self.calls = history.rules, history.operations
        self.others = others  # returns that come before the take-over that they raced with, or only after their lease
        self.spared = spared  # returns that make room only when no other can
        self.early: list[tuple[int, int, frozenset[str]]] = []  # returns that made room: by when they were over, the features
        self.too_late: int | None = None  # a return that should have been one of them
        self.raced: list[tuple[int, Place]] = []  # the others, each with the place that it would have ended
        self.pool = Pool(history.rules)
        self.moments: dict[int, int] = {}  # of the calls that are placed, in the order in which they were
        self.guessed = history.rules.lag > 0 or (history.rules.linger > 0 and _some_seat_is_shared(self.calls))
        self.earlier = _earlier(self.calls)
        self.next_life = _next_lives(self.calls)
        self.answered_later = _answered_later(self.calls)
        self.refused_after = _refused_after(self.calls, self.earlier, self.rules.uncertainty)
        self.opened: set[int] = set()
        self.blocked: dict[int, list[int]] = {}  # calls that wait for an earlier one of the same client
        self.returns: dict[int, _Return] = {}  # by seat
        self.usable: list[tuple[bool, int, int]] = []  # returns that may make room: spared, when their places end, the call
        self.for_full: list[int] = []  # refusals that wait for a full pool
        self.for_short: dict[str, list[int]] = defaultdict(list)  # … or for too little of a feature
        self.for_own: dict[int, list[int]] = defaultdict(list)  # calls that wait for something to become of their own seat
        self.undone: list[int] = []  # feature calls without an answer whose repeat was answered
        self.gaps = _gaps(self.calls)
        self.events: list[Event] = [self._served(event) for event in self._plan()]
        heapify(self.events)

    def other_way_round(self) -> int | None:
        """Give the last return that would have ended a place that counts still, had it come the other way round."""
        if self.too_late is not None:
            return self.too_late
        return next((index for index, place in reversed(self.raced) if place.until is not None), None)

    def freed_too_much(self, index: int) -> int | None:
        """Give the last return that left a refusal too much of a feature, and could have waited until after it."""
        call = self.calls[index]
        if call.rule != SHORT:
            return None
        opens = call.sent - self.rules.uncertainty
        fitting = (r for r, over_by, units in reversed(self.early) if call.feature in units and over_by >= opens)
        return next((r for r in fitting if r not in self.spared), None)

    def run(self) -> None:
        """Place every call.

        Raises:
            NoOrder: one fits nowhere.
        """
        while self.events:
            moment, what, _, call = heappop(self.events)
            if what in (DECIDES, RETURNS):
                self._decide(call, moment)
            elif what == OPENS:
                self._open(call, moment)
            elif what == CLOSES:
                self._close(call, moment)
            elif what == AGAIN:
                self._again(call, moment)
            else:
                self._look(call, moment)

    # --- what is known beforehand ------------------------------------------------------------------------------------

    def _plan(self) -> Iterator[Event]:
        """List when calls are decided, as far as a lease says so, and when the others open and close."""
        decided = _shown_by_repeats(self.calls, self.rules.lease, self.rules.uncertainty, self.gaps)
        yield from _decisions(self.calls, decided)
        last_use = {call.token: i for i, call in enumerate(self.calls) if call.outcome is Outcome.GRANTED}
        for index, call in enumerate(self.calls):
            if call.kind is Kind.DOWNTIME:
                yield call.sent, RETURNS, index, index
            if call.lease is not None or index in decided or call.kind is Kind.DOWNTIME:
                continue
            if call.outcome is Outcome.UNKNOWN:
                self.guessed = True
                if not self._may_be_done(index, call, last_use):
                    continue
            yield call.sent - self.rules.uncertainty, OPENS, index, index
            if call.answered is not None:
                yield call.answered + self.rules.uncertainty, CLOSES, index, index

    def _served(self, event: Event) -> Event:
        """Move what would happen during a downtime to its end, or to its beginning if it must be over by then."""
        moment, what, rank, call = event
        number = bisect_right(self.gaps, (moment, FOREVER)) - 1
        if number < 0 or moment >= self.gaps[number][1] or what in (DECIDES, RETURNS):
            return event
        begins, ends, _ = self.gaps[number]
        return (begins, what, rank, call) if what == CLOSES else (ends, what, rank, call)

    def _may_be_done(self, index: int, call: Operation, last_use: dict[tuple[int, int] | None, int]) -> bool:
        """Tell whether a call without an answer is taken into account, in case that something needs it."""
        if call.kind in (Kind.CHECK_OUT, Kind.GIVE_BACK):
            return index in self.answered_later
        return call.kind is Kind.RETURN and last_use.get(call.token, -1) < index

    # --- calls whose moment is known -----------------------------------------------------------------------------------

    def _decide(self, index: int, moment: int) -> None:
        call = self.calls[index]
        if call.lease is not None:
            self._check_window(index, call)
            self._finish_earlier(index, moment)
        if (raced := self._raced(call)) is not None and raced.call in self.others:
            self._place(raced.call, moment)
        complaint = self._complaint(call, moment)
        while complaint and self._make_room(call, moment):
            complaint = self._complaint(call, moment)
        if complaint:
            raise NoOrder(index, complaint)
        raced = self._raced(call)
        deed = self._place(index, moment)
        if raced is not None and deed is Deed.TAKE_OVER:
            self.guessed = True
            self.raced.append((raced.call, self.pool.left_behind))
        self._wake(call, deed, moment)

    def _raced(self, call: Operation) -> _Return | None:
        """Give the return of this very seat that may come before this activation, or after it."""
        waiting = self.returns.get(call.seat) if call.kind is Kind.ACTIVATE else None
        return None if waiting is None or waiting.call in self.moments else waiting

    def _complaint(self, call: Operation, moment: int) -> str:
        complaint = self.pool.complaint(call, moment)
        if not complaint and call.outcome is Outcome.UNKNOWN and self.pool.deed(call)[0] is Deed.REFUSED:
            return "was done, as its repeat says, and there was no room"
        return complaint

    def _check_window(self, index: int, call: Operation) -> None:
        assert call.lease is not None
        assert call.answered is not None
        too_early = call.sent - self.rules.uncertainty - call.lease.issued
        too_late = call.lease.issued - call.answered - self.rules.uncertainty
        if too_early > 0 or too_late > 0:
            when = f"{too_early} µs before it was asked for" if too_early > 0 else f"{too_late} µs after it was answered"
            raise NoOrder(index, f"its lease was issued {when}")

    def _finish_earlier(self, index: int, moment: int) -> None:
        """Whatever the same client did before must be over by now."""
        before = self.earlier[index]
        if before < 0 or before in self.moments:
            return
        if self.calls[before].lease is not None:
            raise NoOrder(index, "its lease has a lower number than one that the same client got before")
        self._close(before, moment)

    def _wake(self, call: Operation, deed: Deed, moment: int) -> None:
        """See whether calls that were waiting fit now."""
        if self.for_full and self.pool.used >= self.rules.seats:
            if self.rules.linger == 0:
                self.for_full = self._retried(self.for_full, moment)
            else:
                self._push(moment, LOOKS, ALL)
        if deed in (Deed.DRAW, Deed.RETAKE):
            for feature, waiting in self.for_short.items():
                self.for_short[feature] = self._retried(waiting, moment)
        if call.kind is Kind.ACTIVATE:
            self._wake_for(call.seat, moment)

    def _wake_for(self, seat: int, moment: int) -> None:
        """Something became of a seat that calls were waiting for."""
        for index in self.for_own.pop(seat, ()):
            if index not in self.moments:
                self._see(index, moment)

    def _retried(self, waiting: list[int], moment: int) -> list[int]:
        left = []
        for index in waiting:
            if index in self.moments:
                continue
            if self.pool.complaint(self.calls[index], moment):
                left.append(index)
            else:
                self._place(index, moment)
        return left

    # --- making room ---------------------------------------------------------------------------------------------------

    def _make_room(self, call: Operation, moment: int) -> bool:
        """Place a return that this grant needs before it; False if there is none that helps."""
        deed, why = self.pool.deed(call)
        raced = self._raced(call)
        if raced is not None and call.is_new is False:
            self._place(raced.call, moment)  # somebody else returned this very seat, and it lingers
            return True
        if why == SHORT:
            return self._free_units(call.feature, moment)
        if why == FULL or deed is Deed.GONE:
            return self._free_place(moment)
        own = self.returns.get(call.seat)
        if call.kind is Kind.ACTIVATE and own is not None and self._may_end(own, moment):
            return self._end(own, moment)  # somebody else returned this very seat, and that was before
        return False

    def _free_place(self, moment: int) -> bool:
        while self.usable:
            _, _, index = heappop(self.usable)
            waiting = self.returns.get(self.calls[index].seat)
            if waiting is not None and waiting.call == index and self._may_end(waiting, moment):
                if units := frozenset(key for key, n in waiting.seat.units.items() if n):
                    self.guessed = True
                    self.early.append((index, self._over_by(waiting), units))
                return self._end(waiting, moment)
        return False

    def _may_end(self, waiting: _Return, moment: int) -> bool:
        """Tell whether the place of a seat that is being returned counts, and may have ended by now."""
        call, seat = self.calls[waiting.call], waiting.seat
        standing = Standing.RETURNED if waiting.call in self.moments else Standing.HELD
        if seat.until is None or seat.standing is not standing or call.token != (seat.activation, seat.generation):
            return False
        is_new, began = self.next_life.get(call.token, (True, 0))
        if not is_new and moment <= began and self.rules.linger:
            return False  # it lingered until it was taken again
        return moment >= waiting.first_since + self.rules.linger or moment >= waiting.natural

    def _end(self, waiting: _Return, moment: int) -> bool:
        """Have a return been early enough for its place to end now."""
        at = moment - self.rules.linger
        if at < waiting.first_since:
            self.guessed, self.too_late = True, waiting.call
            raise NoOrder(waiting.call, "lingered, and should have been over")
        done = waiting.call if at >= waiting.since else waiting.first
        if waiting.call in self.moments:
            self.pool.linger_until(waiting.seat, moment)
            self.moments[done] = at
        else:
            self.pool.give_back_seat(waiting.seat, moment - self.rules.linger)
            self._note(done, at, moment)
        self.returns.pop(self.calls[waiting.call].seat, None)
        self._wake_for(self.calls[waiting.call].seat, moment)
        return True

    def _free_units(self, feature: str, moment: int) -> bool:
        """Place what gives units of a feature back: a return of a seat that drew some, or one given back without an answer."""
        self.guessed = True
        open_ones = [r for r in self.returns.values() if r.call not in self.moments and r.seat.standing is Standing.HELD]
        holding = [r for r in open_ones if r.seat.units.get(feature)]
        if holding:
            self._place(min(holding, key=self._over_by).call, moment)
            return True
        return self._done_after_all(Kind.GIVE_BACK, feature, moment)

    def _done_after_all(self, kind: Kind, feature: str, moment: int) -> bool:
        """A feature call without an answer was done before its repeat, if that explains what nothing else does."""
        for index in self.undone:
            call = self.calls[index]
            if call.kind is not kind or call.feature != feature or self.answered_later[index] in self.moments:
                continue
            self.pool.settle(moment)
            if self.pool.deed(call)[0] in (Deed.DRAW, Deed.GIVE_BACK):
                self.undone.remove(index)
                self._place(index, moment)
                return True
        return False

    # --- calls that are somewhere between sending and answer -----------------------------------------------------------

    def _open(self, index: int, moment: int) -> None:
        """A call may be placed from here on, unless an earlier one of its client is not over: then that will open it."""
        if index in self.moments or index in self.opened:
            return
        before = self.earlier[index]
        if before >= 0 and before not in self.moments:
            self.blocked.setdefault(before, []).append(index)
            return
        self.opened.add(index)
        call = self.calls[index]
        if call.kind is Kind.RETURN:
            self._open_return(index, call, moment)
        elif call.outcome is Outcome.UNKNOWN:
            self.undone.append(index)
        else:
            self._see(index, moment)

    def _see(self, index: int, moment: int) -> None:
        """Try to place a call; but if places linger, one that needs a full pool only when the decisions of this moment are
        made.

        A decision may say that a place lingered no longer, which it then did not from the beginning of this moment.
        """
        call = self.calls[index]
        if self.rules.linger and (call.rule == FULL or call.kind is Kind.REFRESH):
            self._push(moment, LOOKS, index)
        else:
            self._try(index, moment)

    def _look(self, index: int, moment: int) -> None:
        """The decisions of this moment are made."""
        if index == ALL:
            self.for_full = self._retried(self.for_full, moment) if self.pool.used >= self.rules.seats else self.for_full
        elif index not in self.moments:
            self._try(index, moment)

    def _open_return(self, index: int, call: Operation, moment: int) -> None:
        self.pool.settle(moment)
        seat = self.pool.seats.get(call.seat)
        if seat is None or seat.until is None or self.pool.deed(call)[0] is Deed.NOTHING:
            if call.outcome is not Outcome.UNKNOWN:
                self._place(index, moment)
            return
        if self.rules.linger and index in self.others:
            return  # its place is over before that: there is nothing to linger
        first, first_since = index, moment
        asked_before = self.returns.get(call.seat)
        if asked_before is not None and self.answered_later.get(asked_before.call) == index:
            first, first_since = asked_before.first, asked_before.first_since
        waiting = self.returns[call.seat] = _Return(index, seat, moment, seat.until, first, first_since)
        since = max(moment, first_since + self.rules.linger)
        if self.rules.linger and seat.until <= self._over_by(waiting) < FOREVER:
            since = min(since, seat.until)
            self._push(seat.until - 1, CLOSES, index)  # any later, and there would be nothing to linger
        self._push(since, AGAIN, index)

    def _over_by(self, waiting: _Return) -> int:
        """Tell by when a return was done: it, or its repeat, was answered."""
        done = self.calls[self.answered_later.get(waiting.call, waiting.call)].answered
        return FOREVER if done is None else done + self.rules.uncertainty

    def _again(self, index: int, moment: int) -> None:
        """A call that was opened may be looked at again: a return may make room from now on, a refusal may fit."""
        call = self.calls[index]
        if call.kind is not Kind.RETURN:
            if index not in self.moments:
                self._see(index, moment)
            return
        waiting = self.returns.get(call.seat)
        if waiting is not None and waiting.call == index:
            heappush(self.usable, (index in self.spared, self._ends_by(waiting), index))

    def _ends_by(self, waiting: _Return) -> int:
        """Tell when the place of a seat that is being returned ends at the latest."""
        linger = self.rules.linger
        if linger == 0:
            return min(self._over_by(waiting), waiting.natural)
        last = min(self._over_by(waiting), waiting.natural - 1) + linger
        refused = self.refused_after.get(waiting.call, FOREVER)
        is_new, began = self.next_life.get(self.calls[waiting.call].token, (False, FOREVER))
        if is_new:
            last = min(last, began)  # or it would have been the same place
        return last if began < refused else min(last, refused)

    def _try(self, index: int, moment: int) -> None:
        """Place a call here if it fits; else see what it has to wait for."""
        call = self.calls[index]
        if not self.pool.complaint(call, moment):
            self._place(index, moment)
            return
        deed, _ = self.pool.deed(call)
        seat = self.pool.seats.get(call.seat)
        if call.outcome is Outcome.TAKEN_OVER:
            self.for_own[call.seat].append(index)
        elif call.rule == SHORT and deed is Deed.DRAW:
            self.for_short[call.feature].append(index)
        elif deed in TAKES_A_PLACE:
            self.for_full.append(index)
            if deed is Deed.RETAKE and seat is not None:
                for feature in seat.units:
                    self.for_short[feature].append(index)
        elif seat is not None and seat.until is not None:
            self._push(seat.until, AGAIN, index)  # its own place has to end first, or get another holder
            self.for_own[call.seat].append(index)

    def _close(self, index: int, moment: int) -> None:
        """The last moment of a call has come."""
        if index in self.moments:
            return
        if index not in self.opened:
            self._finish_earlier(index, moment)
            self._open(index, moment)
            if index in self.moments:
                return
        call = self.calls[index]
        complaint = self.pool.complaint(call, moment)
        while complaint and self._done_after_all(Kind.CHECK_OUT, call.feature, moment):
            complaint = self.pool.complaint(call, moment)
        if complaint:
            raise NoOrder(index, complaint)
        self._place(index, moment)

    # --- placing ---------------------------------------------------------------------------------------------------------

    def _place(self, index: int, moment: int) -> Deed:
        deed = self.pool.apply(self.calls[index], moment)
        if self.rules.linger == 0 or deed is not Deed.RETURN:
            waiting = self.returns.get(self.calls[index].seat)
            if waiting is not None and waiting.call == index:
                del self.returns[self.calls[index].seat]
        self._note(index, moment, moment)
        return deed

    def _note(self, index: int, at: int, moment: int) -> None:
        self.moments[index] = at
        for waiting in self.blocked.pop(index, ()):
            self._open(waiting, moment)

    def _push(self, moment: int, what: int, index: int) -> None:
        heappush(self.events, self._served((moment, what, index, index)))


def _decisions(calls: list[Operation], others: dict[int, tuple[int, int]]) -> Iterator[Event]:
    """Decisions go by the numbers of their leases. Those whose number nobody saw go by their moments: at one moment, each comes
    before the number that is given with it.
    """
    unnumbered = sorted(((at, number, i) for i, (at, number) in others.items()), reverse=True)
    moment, rank = -FOREVER, 0
    for number, issued, index in sorted(
        (c.lease.sequence, c.lease.issued, i) for i, c in enumerate(calls) if c.lease is not None
    ):
        moment = max(moment, issued)
        while unnumbered and unnumbered[-1][:2] <= (moment, number):
            at, _, other = unnumbered.pop()
            yield at, DECIDES, rank, other
            rank += 1
        yield moment, DECIDES, rank, index
        rank += 1
    for at, _, other in reversed(unnumbered):
        yield max(at, moment), DECIDES, rank, other
        rank += 1


def _shown_by_repeats(
    calls: list[Operation], lease: int, uncertainty: int, gaps: list[tuple[int, int, int]]
) -> dict[int, tuple[int, int]]:
    """Find activations without an answer whose repeat says that they were done; when, and before which number: the repeat's."""
    made = {c.key for c in calls if c.lease is not None and c.is_new and c.key is not None}
    unknown = {
        c.key: i for i, c in reversed(list(enumerate(calls))) if c.kind is Kind.ACTIVATE and c.outcome is Outcome.UNKNOWN
    }
    repeats = [c for c in calls if c.lease is not None and c.is_new is False and c.key in unknown and c.key not in made]
    found: dict[int, tuple[int, int]] = {}
    for call in sorted(repeats, key=lambda c: c.lease.sequence if c.lease else 0):
        if call.lease is None or call.key not in unknown:
            continue
        index = unknown.pop(call.key)
        since = _granted_at(call.lease, lease, calls[index].sent, gaps)
        if calls[index].sent - uncertainty <= since <= call.lease.issued:
            found[index] = (since, call.lease.sequence)
    return found


def _granted_at(shown: Lease, lease: int, sent: int, gaps: list[tuple[int, int, int]]) -> int:
    """Say when a lease was granted that a repeat shows: one lease before its end, but for downtime in between."""
    since = shown.ends - lease
    for begins, ends, given in gaps:
        if sent <= begins and ends <= shown.issued:
            if shown.ends == ends + round(lease / 3):
                return begins  # more can't be known; it was the last that was done before
            since -= given
    return since


def _gaps(calls: list[Operation]) -> list[tuple[int, int, int]]:
    """Give the times in which nothing was decided: from the last decision to when time was given back, and how much was."""
    issued = sorted(call.lease.issued for call in calls if call.lease is not None)
    gaps = []
    for call in calls:
        if call.kind is Kind.DOWNTIME:
            before = bisect_left(issued, call.sent)
            last = issued[before - 1] if before else call.sent - call.amount
            gaps.append((max(last, call.sent - call.amount), call.sent, call.amount))
    return sorted(gaps)


def _earlier(calls: list[Operation]) -> list[int]:
    """Give the call of the same client that must be over before each; -1 for none. Nothing waits for one without an answer."""
    earlier = [-1] * len(calls)
    last: dict[int, int] = {}
    for index, call in enumerate(calls):
        if call.kind is not Kind.DOWNTIME:
            earlier[index] = last.get(call.client, -1)
            if call.outcome is not Outcome.UNKNOWN:
                last[call.client] = index
    return earlier


def _answered_later(calls: list[Operation]) -> dict[int, int]:
    """Give the calls without an answer that were repeated and then served, each with that repeat."""
    open_ones: dict[tuple[int, Kind, tuple[int, int] | None, int | None], list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    for index, call in enumerate(calls):
        which = (call.client, call.kind, call.token, call.key)
        if call.outcome is Outcome.UNKNOWN:
            open_ones[which].append(index)
        elif which in open_ones and call.outcome in (Outcome.GRANTED, Outcome.DONE):
            found.update(dict.fromkeys(open_ones.pop(which), index))
    return found


def _some_seat_is_shared(calls: list[Operation]) -> bool:
    users = {(call.seat, call.client) for call in calls}
    return len(users) > len({seat for seat, _ in users})


def _next_lives(calls: list[Operation]) -> dict[tuple[int, int] | None, tuple[bool, int]]:
    """Give for each activation and generation whether the next generation got a new place, and when, where that was
    answered."""
    found: dict[tuple[int, int] | None, tuple[bool, int]] = {}
    unknown = {call.key for call in calls if call.outcome is Outcome.UNKNOWN}
    for call in calls:
        if call.kind is Kind.ACTIVATE and call.lease is not None and call.is_new is not None and call.key not in unknown:
            life = (call.lease.activation, call.lease.generation - 1)
            if life not in found or call.lease.issued < found[life][1]:  # later ones are repeats
                found[life] = (call.is_new, call.lease.issued)
    return found


def _refused_after(calls: list[Operation], earlier: list[int], uncertainty: int) -> dict[int, int]:
    """Give for each return after which the same client was refused this very seat, when that was over: it lingered no
    longer."""
    return {
        earlier[i]: call.answered + uncertainty
        for i, call in enumerate(calls)
        if call.kind is Kind.ACTIVATE
        and call.outcome is Outcome.REFUSED
        and call.answered is not None
        and earlier[i] >= 0
        and calls[earlier[i]].kind is Kind.RETURN
    }
