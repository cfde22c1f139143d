"""Rolls facts up into usage, and answers how full a pool was, who was in it, and who would have been.

What the facts of an entitlement come to is kept beside them (`UsageBook`), so that a page about a year reads some rows instead
of millions of facts, and goes on to be true when those are pruned. The folds are `domain/usage.py`; here they are fed.

Rules that are kept here
- Facts are rolled up once, in the order of their numbers, up to a *mark* that is moved in the same transaction. However
  they are cut into parts, it comes to the same.
- A fact that says late what was true earlier (a lease that ended while nobody looked) has the slots from there on folded anew,
  from the facts themselves.
- Rolling up locks nothing that a seat is decided by, and is done some facts at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, json
from msgspec.structs import replace

from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.domain.usage import SLOT, Demand, Level, Move, Slot, slot_of, slots
from seatkeeper_server.service.catalogue import Catalogue
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.service.tidying import start_of
from seatkeeper_server.service.usage_book import Break, Count, Mark, Session, UsageBook, Wish

AT_ONCE: Final = 1_000  # facts rolled up in one transaction
PAGE: Final = 500  # facts read at once on the way back
OUT_OF_ORDER: Final = timedelta(minutes=1)  # by so much facts may be written down out of order without being remembered for it

_BEYOND: Final = 2**63 - 1  # no fact has this number
_CAME: Final = frozenset({"Claimed", "Resumed", "TakenOver", "Retaken", "Restored"})
_WENT: Final = {"Returned": "returned", "Expired": "expired", "TakenBack": "takenBack"}
_SHORTAGES: Final = frozenset(
    {"pool-full", "feature-exhausted", "group-limit", "reserved"}
)  # rules of who wants more than there is


# --- rolling up ----------------------------------------------------------------------------------------------------


def roll_up(catalogue: Catalogue, key: PoolKey, most: int = AT_ONCE) -> bool:
    """Roll up the next facts of an entitlement; tell whether there may be more."""
    book = catalogue.usage
    mark = book.mark(key)
    new = catalogue.chain(key, mark.number, _BEYOND, most)
    if not new:
        return False
    if mark.number == 0 and new[0].number > 1:
        _begin_behind(catalogue, key, new[0])
    since = slot_of(min(fact.at for fact in new))
    known = [fact for fact in _back_to(catalogue, key, mark, since) if fact.at >= since]
    said = [*reversed(list(map(_read, known))), *map(_read, new)]
    moves = (Move(each.fact.at, each.data.taken, each.bought) for each in said)
    book.fold_anew(key, since, slots(book.levels(key, since), moves), _counts(said))
    stays = _Stays(book, key)
    stays.take(said[len(known) :])
    book.set_mark(key, _moved_on(mark, new))
    return len(new) == most


def _begin_behind(catalogue: Catalogue, key: PoolKey, first: FactRecord) -> None:
    """Begin with what the facts that were pruned came to."""
    pruned = start_of(catalogue.checkpoint(key))
    start = slot_of(first.at) - SLOT
    held = {} if pruned is None else pruned.counters
    still = [Slot(right, start, n, n, 0, 0, Level(n)) for right, n in held.items()]
    catalogue.usage.fold_anew(key, start, still, [])


def _back_to(catalogue: Catalogue, key: PoolKey, mark: Mark, since: datetime) -> Iterator[FactRecord]:
    """Give the facts before a mark, the newest first, back to where none can speak of a moment as late as this."""
    before, breaks = mark.number + 1, list(mark.breaks)
    while page := catalogue.chain_back(key, before, PAGE):
        for fact in page:
            latest = max([fact.recorded_at, *(each.recorded_at for each in breaks if each.number <= fact.number)])
            if latest < since - OUT_OF_ORDER:
                return
            yield fact
        before = page[-1].number


def _moved_on(mark: Mark, new: Sequence[FactRecord]) -> Mark:
    latest, breaks = mark.recorded_at or new[0].recorded_at, list(mark.breaks)
    for fact in new:
        if latest - fact.recorded_at > OUT_OF_ORDER and (not breaks or breaks[-1].recorded_at != latest):
            breaks.append(Break(fact.number, latest))
        latest = max(latest, fact.recorded_at)
    return Mark(new[-1].number, latest, tuple(breaks))


# --- reading facts -------------------------------------------------------------------------------------------------


class _Data(Struct):
    """What a fact's data says, as far as usage goes."""

    taken: Mapping[str, int] = {}
    rule: str = ""
    key: str = ""
    wanted: int = 1
    count: int = 1
    until: datetime | None = None
    what: str = ""
    data: Mapping[str, Any] = {}  # of a note; what it is depends on `what`


class _Said(Struct, frozen=True):
    """A fact and its data."""

    fact: FactRecord
    data: _Data

    @property
    def is_refusal(self) -> bool:
        """Whether somebody was refused, once or more often."""
        return self.fact.kind in ("Denied", "DeniedAgain")

    @property
    def came(self) -> bool:
        """Whether somebody has come into the pool, or come back."""
        return self.fact.kind in _CAME and (self.fact.kind != "Restored" or self.data.taken.get(SEAT, 0) > 0)

    @property
    def bought(self) -> dict[str, int | None]:
        """How much is bought from now on, of the rights of which it says so."""
        if self.fact.kind != "Note" or self.data.what not in ("sold", "granted", "changed"):
            return {}
        said = self.data.data
        bought = {each["key"]: each["value"] for each in said.get("features", ()) if each["type"] != "bool"}
        if "seats" in said:
            bought[SEAT] = said["seats"]["after"] if isinstance(said["seats"], Mapping) else said["seats"]
        return bought


_read_data = json.Decoder(_Data).decode


def _read(fact: FactRecord) -> _Said:
    return _Said(fact, _read_data(fact.data))


def _counts(said: Iterable[_Said]) -> list[Count]:
    counted: dict[tuple[datetime, str, str, str], int] = {}
    for each in said:
        if each.is_refusal:
            what, times = ("denied", each.data.rule, each.data.key), each.data.count if each.fact.kind == "DeniedAgain" else 1
        elif each.fact.kind in ("Claimed", "TakenOver", "Retaken"):
            what, times = ("came", "", SEAT), 1
        elif each.fact.kind == "Used":
            what, times = ("used", "", each.data.key), 1
        else:
            continue
        place = (slot_of(each.fact.at), *what)
        counted[place] = counted.get(place, 0) + times
    return [Count(*place, times) for place, times in sorted(counted.items())]


@dataclass(slots=True)
class _Stays:
    """Who came and went, and who was refused, in a part of a chain; kept as it is afterwards."""

    book: UsageBook
    key: PoolKey
    _sessions: dict[str, Session] = field(default_factory=dict)  # that last, by activation
    _wishes: dict[tuple[int, str], Wish] = field(default_factory=dict)  # the last of each holder, by right
    _changed: dict[int, Session] = field(default_factory=dict)
    _wished: dict[int, Wish] = field(default_factory=dict)

    def take(self, said: Sequence[_Said]) -> None:
        """Take facts in, in the order of their numbers."""
        activations = sorted({each.fact.activation_id for each in said if each.fact.activation_id})
        holders = sorted({each.fact.holder for each in said if each.fact.holder})
        self._sessions = {session.activation_id: session for session in self.book.open_sessions(self.key, activations)}
        self._wishes = {(wish.demand.holder, wish.demand.right): wish for wish in self.book.last_wishes(self.key, holders)}
        for each in said:
            self._take(each)
        self.book.save_sessions(self.key, [session for _, session in sorted(self._changed.items())])
        self.book.save_wishes(self.key, [wish for _, wish in sorted(self._wished.items())])

    def _take(self, said: _Said) -> None:
        fact, data = said.fact, said.data
        if said.came:
            self._come(fact)
            self._grant(fact, SEAT)
        elif fact.kind in _WENT:
            self._go(fact, _WENT[fact.kind])
        elif said.is_refusal and data.rule in _SHORTAGES and fact.holder:
            self._refuse(fact, data)
        for right, amount in data.taken.items():
            if amount > 0 and right != SEAT:
                self._grant(fact, right)

    def _come(self, fact: FactRecord) -> None:
        activation_id = fact.activation_id or ""
        if activation_id in self._sessions:
            if fact.kind in ("Resumed", "Restored"):
                return
            self._go(fact, "takenOver")
        self._put(Session(number=fact.number, activation_id=activation_id, holder=fact.holder, started_at=fact.at))

    def _go(self, fact: FactRecord, cause: str) -> None:
        session = self._sessions.pop(fact.activation_id or "", None)
        if session is not None:
            ended_at = max(session.started_at, fact.at)
            self._changed[session.number] = replace(session, ended_at=ended_at, cause=cause)

    def _put(self, session: Session) -> None:
        self._sessions[session.activation_id] = self._changed[session.number] = session

    def _refuse(self, fact: FactRecord, data: _Data) -> None:
        known = self._wishes.get((fact.holder, data.key))
        until = data.until or fact.at
        if fact.kind == "DeniedAgain" and known is not None and known.demand.since <= fact.at <= known.demand.until:
            met_at = known.demand.met_at
            again = known.demand.refused(fact.at, 1, data.count, until if met_at is None else min(until, met_at))
            self._wish(known.number, again if met_at is None else again.met(met_at))
        elif fact.kind == "Denied" and known is not None and known.demand.goes_on(fact.at):
            self._wish(known.number, known.demand.refused(fact.at, data.wanted, 1, fact.at))
        else:
            times = data.count if fact.kind == "DeniedAgain" else 1
            self._wish(fact.number, Demand(fact.holder, data.key, data.wanted, fact.at, until, times))

    def _grant(self, fact: FactRecord, right: str) -> None:
        known = self._wishes.get((fact.holder, right))
        if known is not None and known.demand.goes_on(fact.at):
            self._wish(known.number, known.demand.met(fact.at))

    def _wish(self, number: int, demand: Demand) -> None:
        self._wishes[demand.holder, demand.right] = self._wished[number] = Wish(number, demand)
