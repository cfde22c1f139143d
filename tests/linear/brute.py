"""The same question asked of every order there is (Wing and Gong, 1993, with Lowe's memory): for histories of a handful of
calls.

It tries every call next that may be next, at every moment that it may have, and remembers from where there was no way.
Nothing is shared with `search` but the pool that is asked; where the two disagree, one of them is wrong.
"""

from collections.abc import Hashable, Iterator

from tests.linear.history import History, Kind, Operation, Outcome
from tests.linear.spec import Pool


def is_linearizable(history: History) -> bool:
    """Tell whether there is an order, by looking at all of them. Moments must be few: microseconds are counted one by one."""
    return _Exhaustive(history).leads_on(frozenset(), Pool(history.rules))


class _Exhaustive:
    def __init__(self, history: History) -> None:
        self.calls, self.rules = history.operations, history.rules
        self.must = frozenset(i for i, call in enumerate(self.calls) if call.outcome is not Outcome.UNKNOWN)
        self.before = _before(self.calls)
        known = [c.answered for c in self.calls if c.answered is not None] + [c.sent for c in self.calls]
        self.end = max(known, default=0) + self.rules.uncertainty + self.rules.lag
        self.dead_ends: set[Hashable] = set()

    def leads_on(self, placed: frozenset[int], pool: Pool) -> bool:
        if self.must <= placed:
            return True
        here = (placed, pool.signature())
        if here in self.dead_ends:
            return False
        self.dead_ends.add(here)
        return any(self.leads_on(placed | {index}, after) for index, after in self._next(placed, pool))

    def _next(self, placed: frozenset[int], pool: Pool) -> Iterator[tuple[int, Pool]]:
        for index, call in enumerate(self.calls):
            if index in placed or not self.before[index] <= placed:
                continue
            for moment in self._moments(call, pool.now):
                after = pool.copy()
                if not after.complaint(call, moment):
                    after.apply(call, moment)
                    after.settle(moment)
                    yield index, after

    def _moments(self, call: Operation, now: int) -> range:
        if call.kind is Kind.DOWNTIME:
            return range(call.sent, call.sent + 1)
        early, late = call.sent - self.rules.uncertainty, (self.end if call.answered is None else call.answered)
        late = late if call.answered is None else late + self.rules.uncertainty + self.rules.lag
        if call.lease is None:
            return range(max(now, early), late + 1)
        issued = call.lease.issued
        if not early <= issued <= late - self.rules.lag:
            return range(0)
        return range(max(now, issued), min(issued + self.rules.lag, late) + 1)


def _before(calls: list[Operation]) -> list[frozenset[int]]:
    """Give for each call those that must be placed before it: the last one of its client; its moments see to all others."""
    last: dict[int, int] = {}
    before = []
    for index, call in enumerate(calls):
        before.append(frozenset({last[call.client]} if call.client in last and call.kind is not Kind.DOWNTIME else ()))
        if call.outcome is not Outcome.UNKNOWN and call.kind is not Kind.DOWNTIME:
            last[call.client] = index
    return before
