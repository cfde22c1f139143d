"""What one transaction works on: everything its calls touch, read set-wise, changed in memory, written set-wise.

A workspace holds complete values and knows which of them have changed. It decides nothing: it hands the pool machine the
little that it needs to see, applies the facts, and gives each recorded fact its place in its chain.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from seatkeeper_server.domain.admission import Tallies
from seatkeeper_server.domain.facts import Denied, Fact, Refreshed
from seatkeeper_server.domain.holdings import CURRENT, Holding
from seatkeeper_server.domain.pool import Decision, Pool, apply, decide, settle
from seatkeeper_server.domain.refusals import THE_FLOOD, Flood, Window, note
from seatkeeper_server.domain.requests import Request
from seatkeeper_server.domain.terms import is_feature
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import PoolView, Who
from seatkeeper_server.service.ports import (
    Changes,
    HolderRecord,
    HoldingRecord,
    KeyedRecord,
    LedgerRecord,
    PoolKey,
    PoolRecord,
    Transaction,
)

DUE_AT_ONCE = 1024  # places read at once; a decision that needs more room reads on
ALL_SEEN = None  # nothing more is due in a pool
_NOBODY_ASKED = Who(seat_id="?")  # places that time ended: nobody in this batch needs to know whose they were
_NEEDS_ROOM = frozenset({"pool-full", "feature-exhausted", "borrow-limit"})


@dataclass(slots=True)
class Workspace:
    """The values one transaction touches, and which of them have to be written."""

    tx: Transaction
    now: datetime
    pools: dict[PoolKey, PoolRecord] = field(default_factory=dict)
    ledgers: dict[str, LedgerRecord] = field(default_factory=dict)
    held: dict[tuple[str, str], HoldingRecord] = field(default_factory=dict)
    holders: dict[tuple[str, str, str], HolderRecord] = field(default_factory=dict)
    keyed: dict[tuple[str, str, str], KeyedRecord] = field(default_factory=dict)
    windows: dict[tuple[PoolKey, int], Window] = field(default_factory=dict)
    _counters: dict[PoolKey, Pool] = field(default_factory=dict)
    _views: dict[PoolKey, tuple[Tallies, PoolView]] = field(default_factory=dict)
    _by_holder: dict[tuple[str, str, int], str] = field(default_factory=dict)
    _changes: Changes = field(default_factory=Changes)
    _changed_pools: set[PoolKey] = field(default_factory=set)
    _changed_ledgers: set[str] = field(default_factory=set)
    _changed_holders: set[tuple[str, str, str]] = field(default_factory=set)
    _changed_keyed: set[tuple[str, str, str]] = field(default_factory=set)
    _changed_windows: set[tuple[PoolKey, int]] = field(default_factory=set)
    _placed: dict[tuple[str, str, int], HoldingRecord] = field(default_factory=dict)  # new places, or any that were set
    _moved: dict[tuple[str, str, int], HoldingRecord] = field(default_factory=dict)  # places that were read, and changed
    _renewed: dict[tuple[str, str, int], HoldingRecord] = field(default_factory=dict)  # places that were only refreshed
    _removed: set[tuple[str, str, int]] = field(default_factory=set)
    _due_seen: dict[PoolKey, int | None] = field(default_factory=dict)

    # --- reading ---------------------------------------------------------------------------------------------------

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> None:
        """Have these pools, and those of these (tenant, activation), to oneself; the time that took has passed."""
        self.now += self.tx.lock(pools, activations)

    def load_pools(self, keys: Iterable[PoolKey]) -> None:
        """Read these pools, if they are not here yet."""
        if missing := sorted(set(keys) - self.pools.keys()):
            for record in self.tx.pools(missing):
                self.pools[record.key] = record
                self._counters[record.key] = record.pool

    def pool(self, key: PoolKey) -> Pool:
        """Give a pool's counters as they are now; `pools` has what was read, and its chain."""
        return self._counters[key]

    def view(self, key: PoolKey) -> PoolView:
        """Give what a seat's answer says about its pool; the same object while nothing of it has changed."""
        pool, seen = self._counters[key], self._views.get(key)
        if seen is None or (len(pool.tallies) > 1 and seen[0] is not pool.tallies):
            features = {key: tally for key, tally in pool.tallies.items() if is_feature(key)}
            seen = self._views[key] = (pool.tallies, PoolView(pool.terms, features))
        return seen[1]

    def load_held(self, asked: Iterable[tuple[str, str]]) -> None:
        """Read the present holdings of these (tenant, activation)."""
        if missing := sorted(set(asked) - self.held.keys()):
            for record in self.tx.holdings(missing):
                self._see(record)

    def load_seats(self, asked: Iterable[tuple[str, str, str]]) -> None:
        """Read who is known under these (tenant, chain, seat id), and what they hold."""
        if missing := sorted(set(asked) - self.holders.keys()):
            for holder, holding in self.tx.seats(missing):
                self.holders[holder.tenant_id, holder.chain_id, holder.who.seat_id] = holder
                if holding is not None and (holder.tenant_id, holding.activation_id) not in self.held:
                    self._see(
                        HoldingRecord(
                            tenant_id=holder.tenant_id,
                            entitlement_id=holder.chain_id,
                            holding=holding,
                            who=holder.who,
                            blocked_until=holder.blocked_until,
                        )
                    )

    def load_keyed(self, asked: Iterable[tuple[str, str, str]]) -> None:
        """Read the successes kept under these (tenant, scope, key), as far as their time is not over."""
        if missing := sorted(set(asked)):
            found = self.tx.keyed(missing)
            self.keyed.update({(r.tenant_id, r.scope, r.key): r for r in found if r.kept_until > self.now})

    def load_windows(self, asked: Iterable[tuple[PoolKey, int]]) -> None:
        """Read the refusal windows of these holders."""
        if missing := sorted(set(asked) - self.windows.keys()):
            found = self.tx.windows([(*key, holder) for key, holder in missing])
            self.windows.update({(key, window.holder): window for key, window in found})

    def holding_of(self, holder: HolderRecord) -> HoldingRecord | None:
        """Give what a known holder holds at present."""
        activation_id = self._by_holder.get((holder.tenant_id, holder.chain_id, holder.number))
        return self.held[holder.tenant_id, activation_id] if activation_id else None

    def _see(self, record: HoldingRecord) -> None:
        holding = record.holding
        self.held[record.tenant_id, holding.activation_id] = record
        self._by_holder[record.tenant_id, record.entitlement_id, holding.holder] = holding.activation_id

    # --- deciding --------------------------------------------------------------------------------------------------

    def decide(self, key: PoolKey, request: Request, own: HoldingRecord | None, who: Who) -> Decision:
        """Have the pool machine decide a request, settling as many ended places as that needs, and apply what it says."""
        if self._counters[key].excess:
            self.settle_every(key)  # whoever is gone already must not have the living cut in his place
        pool = self._settle(key, self._again(own) or own, who)
        decision = decide(pool, request, self.now)
        while isinstance(decision, Denied) and decision.rule in _NEEDS_ROOM and self._make_room(key):
            pool = self._settle(key, self._again(own), who)
            decision = decide(pool, request, self.now)
        if isinstance(decision, Fact) and not isinstance(decision, Denied):
            self.apply(key, pool, decision, who)
        return decision

    def settle(self, key: PoolKey, own: HoldingRecord | None, who: Who) -> Holding | None:
        """Apply what time has done to one holding; what it is afterwards."""
        pool = self._settle(key, own, who)
        return pool.current(own.holding.activation_id) if own else None

    def settle_due(self, key: PoolKey) -> None:
        """Apply what time alone has made true of a pool, as far as one batch may."""
        self._make_room(key)

    def settle_every(self, key: PoolKey) -> None:
        """Apply all that time alone has made true of a pool."""
        while self._make_room(key):
            pass

    def apply(self, key: PoolKey, pool: Pool, fact: Fact, who: Who) -> Pool:
        """Apply a fact to a pool as a decision saw it, and write it down if it is one that is recorded."""
        after = apply(pool, fact)
        self._take(key, pool, after, who, renews=isinstance(fact, Refreshed) and not fact.noted)
        if fact.recorded:
            self.write(key, fact)
        return after

    def write(self, key: PoolKey, fact: Fact) -> None:
        """Write a fact into a pool's chain, or (tenant id twice) into the tenant's own."""
        if key[0] == key[1]:
            ledger, written = recording.in_ledger(self.ledgers[key[0]], fact, self.now)
            self.ledgers[key[0]] = ledger
            self._changed_ledgers.add(key[0])
        else:
            record, written = recording.in_pool(self.pools[key], fact, self.now)
            self.pools[key] = record
            self._changed_pools.add(key)
        self._changes.facts.append(written)

    def _settle(self, key: PoolKey, own: HoldingRecord | None, who: Who) -> Pool:
        pool = self._counters[key]
        if own is None:
            return pool.seeing(_NONE) if pool.holdings else pool
        pool = pool.seeing({own.holding.key: own.holding})
        if not own.holding.is_due(self.now):
            return pool
        after, facts = settle(pool, self.now)
        self._take(key, pool, after, who)
        for fact in facts:
            self.write(key, fact)
        return after

    def _make_room(self, key: PoolKey) -> bool:
        """Settle places that time has ended, oldest first, a good number at a time; False if none is left."""
        seen = self._due_seen.get(key, 0)
        if seen is ALL_SEEN:
            return False
        due = self.tx.due(key, self.now, DUE_AT_ONCE, skip=seen)
        self._due_seen[key] = seen + len(due) if len(due) == DUE_AT_ONCE else ALL_SEEN
        for holding in due:
            place = (key[0], *holding.key)
            if place in self._placed or place in self._moved or place in self._renewed or place in self._removed:
                continue  # this batch has already said what became of it
            record = self.held.get((key[0], holding.activation_id)) if holding.past == CURRENT else None
            self._settle(
                key,
                HoldingRecord(
                    tenant_id=key[0], entitlement_id=key[1], holding=holding, who=record.who if record else _NOBODY_ASKED
                ),
                record.who if record else _NOBODY_ASKED,
            )
        return bool(due)

    def _again(self, own: HoldingRecord | None) -> HoldingRecord | None:
        return self.held.get((own.tenant_id, own.holding.activation_id)) if own else None

    def _take(self, key: PoolKey, before: Pool, after: Pool, who: Who, *, renews: bool = False) -> None:
        """Take over what an `apply` has changed. `renews`: of a holding, nothing but its lease and nonces."""
        if after is before:
            return
        for place, holding in after.holdings.items():
            if before.holdings.get(place) is not holding:
                self._set(key, holding, who, renews=renews)
        if len(after.holdings) < len(before.holdings) or not before.holdings.keys() <= after.holdings.keys():
            for place in before.holdings.keys() - after.holdings.keys():
                self._removed.add((key[0], *place))
                self._placed.pop((key[0], *place), None)
                self._moved.pop((key[0], *place), None)
                self._renewed.pop((key[0], *place), None)
        self._counters[key] = after
        self._changed_pools.add(key)

    def _set(self, key: PoolKey, holding: Holding, who: Who, *, renews: bool) -> None:
        place = (key[0], holding.activation_id, holding.past)
        before = self.held.get(place[:2])
        if before is not None and holding.past == CURRENT and before.who is who:
            record = self.held[place[:2]] = replace(before, holding=holding)
            if renews and place not in self._placed and place not in self._moved:
                self._renewed[place] = record
                return
            self._renewed.pop(place, None)
            (self._placed if place in self._placed else self._moved)[place] = record
        else:
            blocked_until = before.blocked_until if before else None
            record = HoldingRecord(
                tenant_id=key[0], entitlement_id=key[1], holding=holding, who=who, blocked_until=blocked_until
            )
            if holding.past == CURRENT:
                self._see(record)
            self._moved.pop(place, None)
            self._renewed.pop(place, None)
            self._placed[place] = record
        if self._removed:
            self._removed.discard(place)

    # --- who, keys, refusals ---------------------------------------------------------------------------------------

    def know(self, key: PoolKey, number: int, who: Who, blocked_until: datetime | None = None) -> None:
        """Remember who has a number, or that his words have changed."""
        place = (*key, who.seat_id)
        record = HolderRecord(tenant_id=key[0], chain_id=key[1], number=number, who=who, blocked_until=blocked_until)
        if self.holders.get(place) != record:
            self.holders[place] = record
            self._changed_holders.add(place)

    def keep(self, record: KeyedRecord) -> None:
        """Keep a success for a repeat under the same key."""
        place = (record.tenant_id, record.scope, record.key)
        self.keyed[place] = record
        self._changed_keyed.add(place)

    def note_refusal(self, key: PoolKey, denied: Denied, who: Who, new_id: str) -> str:
        """Write a refusal down, or count it; the id under which it can be quoted. Windows must have been loaded."""
        known = self.holders.get((*key, who.seat_id))
        before = self._flood(key)
        flood = before.at(self.now)
        earlier = self.windows.get((key, known.number)) if known else None
        if flood.is_over and not (earlier and earlier.is_open(self.now) and earlier.is_about(denied)):
            earlier = self.windows.get((key, THE_FLOOD))
        number = known.number if known else self._next_number(key)
        denied = denied if denied.holder == number else replace(denied, holder=number)
        noted = note(denied, earlier, flood, self.now, new_id)
        if any(isinstance(fact, Denied) for fact in noted.facts):
            self._register(key, number, who, known)
        if noted.flood is not before:
            self._set_flood(key, noted.flood)
        for fact in noted.facts:
            self.write(key, fact)
        self.windows[key, noted.window.holder] = noted.window
        self._changed_windows.add((key, noted.window.holder))
        return noted.window.denial_id

    def close_window(self, key: PoolKey, window: Window) -> None:
        """Write down how many refusals were counted in a window, and forget it."""
        for fact in window.closed():
            self.write(key, fact)
        self.windows.pop((key, window.holder), None)
        self._changes.closed.append((key, window.holder))

    def _register(self, key: PoolKey, number: int, who: Who, known: HolderRecord | None) -> None:
        if known is not None:
            return
        self.know(key, number, who)
        if key[0] == key[1]:
            self.ledgers[key[0]] = replace(self.ledgers[key[0]], holders=number)
        else:
            self._counters[key] = replace(self._counters[key], holders=number)
            self._changed_pools.add(key)

    def _next_number(self, key: PoolKey) -> int:
        return (self.ledgers[key[0]].holders if key[0] == key[1] else self._counters[key].holders) + 1

    def _flood(self, key: PoolKey) -> Flood:
        return self.ledgers[key[0]].flood if key[0] == key[1] else self.pools[key].flood

    def _set_flood(self, key: PoolKey, flood: Flood) -> None:
        if key[0] == key[1]:
            self.ledgers[key[0]] = replace(self.ledgers[key[0]], flood=flood)
        else:
            self.pools[key] = replace(self.pools[key], flood=flood)

    # --- writing ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write what has changed, set-wise, in one sorted order."""
        changes = self._changes
        changes.pools = [replace(self.pools[key], pool=self._counters[key]) for key in sorted(self._changed_pools)]
        changes.ledgers = [self.ledgers[key] for key in sorted(self._changed_ledgers)]
        changes.holders = [self.holders[place] for place in sorted(self._changed_holders)]
        changes.holdings = [self._placed[place] for place in sorted(self._placed)]
        changes.moved = [self._moved[place] for place in sorted(self._moved)]
        changes.renewed = [self._renewed[place] for place in sorted(self._renewed)]
        changes.removed = sorted(self._removed)
        changes.keyed = [self.keyed[place] for place in sorted(self._changed_keyed)]
        changes.windows = [(place[0], self.windows[place]) for place in sorted(self._changed_windows) if place in self.windows]
        self.tx.save(changes)


_NONE: Mapping[tuple[str, int], Holding] = {}


def settled(tx: Transaction, key: PoolKey, now: datetime) -> None:
    """Apply all that time alone has made true of a pool, and write it down."""
    work = Workspace(tx, now)
    work.load_pools([key])
    work.settle_every(key)
    work.save()
