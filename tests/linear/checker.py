"""Says whether a history could have been seen at one counter of seats: whether it is linearizable.

    verdict = check(history)
    assert verdict.accepted, verdict.complaint

What is proven. A history is accepted only if an order of its calls was found, with a moment for each, such that
- the pool of `spec`, asked one call after the other in that order at those moments, gives each the answer that it got, down
  to the generation, the end and the number of its lease;
- the moments never fall, each lies between the sending and the answer of its call, and where there is a lease, it is the
  lease's;
- each client's calls stand in the order in which it made them.

That is linearizability with respect to `spec` (Herlihy and Wing, 1990), calls without an answer counting as pending: they may
have been done at any moment after they were sent, or never. The order is looked for in `search` and then, here, replayed from
the start by code that knows nothing of how it was found (`replay`): a fault in the search can make it miss an order, not accept
a wrong one.

What is approximated, all of it stated in the history's rules
- Moments of tests and servers are compared only within `uncertainty`. So calls of two clients that lie less than twice that
  apart count as having overlapped, and a refusal may take a place that ended so lately as still taken. A grant is not judged
  by that: a lease's moments and the end of its predecessor are both the server's own, and are compared to the microsecond.
- Where `lag` is not 0, a grant may be judged by a time up to that much later than its lease says.
- A call without an answer may be done at any later time, although a server that was killed does nothing more.
- What `spec` leaves out (nonces, devices, the line) must not occur; driver and tests see to that.

What a rejection means. `certain` tells whether it is proven that there is no order. Otherwise the history has something that
the search had to guess at (`search` says what), and all that is known is that the likely orders are none. Tests take both for
a failure.
"""

from dataclasses import dataclass

from tests.linear.history import History, Kind, Operation, Outcome
from tests.linear.search import find_order
from tests.linear.spec import Pool


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How full the pool was: the most places taken at once, for which share of the time all were, and the longest time in which
    not all were, in microseconds. Counted from when it was full first until the last call.
    """

    most: int
    full_share: float
    longest_not_full: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a history. `call` is the index of the call that stands against it, -1 if none does."""

    accepted: bool
    complaint: str = ""
    call: int = -1
    certain: bool = True
    occupancy: Occupancy | None = None
    order: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        if self.accepted:
            return "accepted"
        return f"{'rejected' if self.certain else 'no order found'}: call {self.call} {self.complaint}"


def check(history: History) -> Verdict:
    """Say whether there is an order in which one pool gives all these answers."""
    found = find_order(history)
    if found.complaint:
        told = f"({_told(history.operations[found.call])}) {found.complaint}"
        return Verdict(False, told, found.call, certain=not found.guessed)
    order = sorted(found.order, key=lambda placed: placed[1])  # what was placed first at a moment stays first
    replayed = replay(history, order)
    if replayed.complaint:
        told = (
            f"({_told(history.operations[replayed.call])}) {replayed.complaint}" if replayed.call >= 0 else replayed.complaint
        )
        return Verdict(False, told, replayed.call, certain=False)
    return Verdict(True, occupancy=replayed.occupancy, order=tuple(order))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of replaying an order."""

    complaint: str = ""
    call: int = -1
    occupancy: Occupancy | None = None


def replay(history: History, order: list[tuple[int, int]]) -> Replayed:
    """Prove an order, of (call, moment): one pool, asked in this order at these moments, gives every answer."""
    calls, rules = history.operations, history.rules
    pool, gauge = Pool(rules), _Gauge(rules.seats)
    last_of: dict[int, int] = {}
    seen = bytearray(len(calls))
    for index, moment in order:
        call = calls[index]
        complaint = _misplaced(call, moment, rules.uncertainty, rules.lag)
        if not complaint and seen[index]:
            complaint = "is there twice"
        if not complaint and call.outcome is not Outcome.UNKNOWN and call.kind is not Kind.DOWNTIME:
            if last_of.get(call.client, -1) > index:
                complaint = "comes after a later call of the same client"
            last_of[call.client] = index
        complaint = complaint or pool.complaint(call, moment)
        if complaint:
            return Replayed(complaint, index)
        seen[index] = 1
        gauge.read(pool, moment)
        pool.apply(call, moment)
        gauge.read(pool, moment)
    missing = next((i for i, call in enumerate(calls) if not seen[i] and call.outcome is not Outcome.UNKNOWN), -1)
    return Replayed("has no place in the order", missing) if missing >= 0 else Replayed(occupancy=gauge.total())


def _misplaced(call: Operation, moment: int, uncertainty: int, lag: int) -> str:
    """Say why a call can't stand at a moment; that its lease's own moment fits it is the pool's to say."""
    answered = moment if call.answered is None else call.answered
    if not call.sent - uncertainty <= moment <= answered + uncertainty + lag:
        return f"is placed at {moment}, and lasted from {call.sent} to {call.answered}"
    if call.lease is not None and not call.sent - uncertainty <= call.lease.issued <= answered + uncertainty:
        return f"has a lease of {call.lease.issued}, and lasted from {call.sent} to {call.answered}"
    return ""


class _Gauge:
    """Reads how full a pool is. A place that ends between two calls counts as ended since the first of them."""

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._most = 0
        self._begun: int | None = None
        self._last = 0
        self._free_since: int | None = None
        self._free_in_all = 0
        self._longest = 0

    def read(self, pool: Pool, moment: int) -> None:
        self._most = max(self._most, pool.used)
        if pool.used >= self._seats:
            self._begun = moment if self._begun is None else self._begun
            self._close(moment)
        elif self._begun is not None and self._free_since is None:
            self._free_since = self._last
        self._last = moment

    def total(self) -> Occupancy:
        self._close(self._last)
        lasted = 0 if self._begun is None else self._last - self._begun
        return Occupancy(self._most, 1 - self._free_in_all / lasted if lasted else 0.0, self._longest)

    def _close(self, moment: int) -> None:
        if self._free_since is not None:
            self._free_in_all += moment - self._free_since
            self._longest = max(self._longest, moment - self._free_since)
            self._free_since = None


def _told(call: Operation) -> str:
    said = f"client {call.client}: {call.kind.value} of seat {call.seat}"
    if call.token is not None:
        said += f", generation {call.token[1]}"
    return f"{said}, from {call.sent} to {call.answered}"
