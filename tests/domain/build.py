"""Builders for tests of the domain: a pool in one line, and a `Bench` on which things happen to it in order.

A `Bench` does what the service does and nothing else: settle, decide, apply, keep the facts. Time is a number of seconds
since `START`; a program's nonce and token are remembered by the `Seat` that `take` gives, so that a test only says what
matters to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.catalogue import resized
from seatkeeper_server.domain.facts import Fact
from seatkeeper_server.domain.holdings import CURRENT, Holding, State
from seatkeeper_server.domain.pool import Decision, Pool, apply, decide, settle
from seatkeeper_server.domain.requests import Activate, Earlier, Request, Return, ShownLease, TakeBack
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, NoncePolicy, Overdraft, Right, Switch, Terms
from seatkeeper_server.domain.timekeeping import extended

START = datetime(2026, 1, 1, tzinfo=UTC)
NONE = Overdraft()
LEASE = 60
MARGIN = 6


def at(seconds: float) -> datetime:
    """Give the moment so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def since_start(moment: datetime | None) -> float | None:
    """Give a moment as seconds since the start."""
    return None if moment is None else (moment - START).total_seconds()


def terms(
    *,
    mode: Mode = Mode.CONCURRENT,
    lease: float = LEASE,
    linger: float = 0,
    margin: float = MARGIN,
    nonce: NoncePolicy = NoncePolicy.REQUIRED,
    switch: Switch = Switch.ON,
    starts: float | None = None,
    ends: float | None = None,
    grace: float = 0,
    borrow: float = 0,
) -> Terms:
    """Give terms whose durations and moments are in seconds."""
    return Terms(
        mode=mode,
        lease=timedelta(seconds=lease),
        linger=timedelta(seconds=linger),
        margin=timedelta(seconds=margin),
        nonce=nonce,
        switch=switch,
        starts_at=None if starts is None else at(starts),
        ends_at=None if ends is None else at(ends),
        grace=timedelta(seconds=grace),
        borrow=timedelta(seconds=borrow),
    )


def pool(
    seats: int | None = 1,
    *rights: Right,
    overdraft: Overdraft = NONE,
    on: Terms | None = None,
) -> Pool:
    """Give an empty pool of so many seats and some features."""
    bought = [Right(SEAT, Kind.SEAT, seats, overdraft), *rights]
    return Pool(terms=on or terms(), tallies={right.key: Tally(right) for right in bought})


def elements(key: str, bought: int | None, overdraft: Overdraft = NONE) -> Right:
    """Give a feature that is held and given back."""
    return Right(key, Kind.ELEMENT_POOL, bought, overdraft)


def usage(key: str, bought: int | None, overdraft: Overdraft = NONE) -> Right:
    """Give a feature that is used up."""
    return Right(key, Kind.USAGE_COUNT, bought, overdraft)


def switch(key: str, *, on: bool = True) -> Right:
    """Give a feature that is only on or off."""
    return Right(key, Kind.BOOL, 1 if on else 0)


@dataclass
class Seat:
    """What a program remembers of its seat."""

    name: str
    generation: int
    nonce: str


@dataclass
class Bench:
    """A pool to which things happen, and all that has been decided."""

    pool: Pool
    now: float = 0
    decisions: list[Decision] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    nonces: int = 0

    def ask(self, request: Request, when: float | None = None) -> Decision:
        """Settle, decide and apply, as one transaction does."""
        self.wait_until(self.now if when is None else when)
        decision = decide(self.pool, request, at(self.now))
        self.decisions.append(decision)
        if isinstance(decision, Fact):
            self._happened(decision)
        return decision

    def wait_until(self, seconds: float) -> list[Fact]:
        """Let time pass, and give what it alone has made true."""
        assert seconds >= self.now, "a bench's time doesn't go backwards"
        self.now = seconds
        settled, facts = settle(self.pool, at(seconds))
        self.pool = settled
        self.facts.extend(facts)
        return facts

    def outage(self, gap: float) -> None:
        """Let time pass in which nobody could refresh, as the server finds it when it is back."""
        assert gap > MARGIN, "a shorter gap is no downtime"
        now, kept = at(self.now + gap), self.pool.holdings
        given = {key: extended(h, self.pool.terms, timedelta(seconds=gap), now) for key, h in kept.items()}
        self.now += gap
        self.pool = replace(self.pool, holdings=given)

    def _happened(self, fact: Fact) -> None:
        self.pool = apply(self.pool, fact)
        self.facts.append(fact)

    def fresh_nonce(self) -> str:
        """Give a nonce never given before."""
        self.nonces += 1
        return f"n{self.nonces}"

    # --- what programs and people do ---

    def activate(
        self,
        name: str,
        when: float | None = None,
        *,
        proof: int | None = None,
        features: Mapping[str, int] | None = None,
        earlier: Earlier | None = None,
        shown: ShownLease | None = None,
        blocked_until: float | None = None,
        device: str | None = None,
        borrow: float | None = None,
    ) -> Decision:
        """Activate a seat id, and give what was decided."""
        own = self.pool.current(name)
        request = Activate(
            activation_id=name,
            holder=own.holder if own else self.pool.holders + 1,
            next_nonce=self.fresh_nonce(),
            features=features or {},
            proof=proof,
            device=device,
            earlier=earlier,
            shown=shown,
            blocked_until=None if blocked_until is None else at(blocked_until),
            borrow_until=None if borrow is None else at(borrow),
        )
        return self.ask(request, when)

    def take(
        self,
        name: str,
        when: float | None = None,
        *,
        proof: int | None = None,
        features: Mapping[str, int] | None = None,
    ) -> Seat:
        """Activate a seat id that is bound to succeed, and give what its program then remembers."""
        decision = self.activate(name, when, proof=proof, features=features)
        own = self.holding(name)
        assert own.state is State.HELD, decision
        return Seat(name, own.generation, own.nonces.current)

    def call(self, kind: type, seat: Seat, when: float | None = None, **more: object) -> Decision:
        """Make a call with the seat's token and, unless told otherwise, its nonce; the program remembers the next one."""
        asked = {"nonce": seat.nonce, "next_nonce": self.fresh_nonce(), **more}
        decision = self.ask(kind(activation_id=seat.name, generation=seat.generation, **asked), when)
        own = self.pool.current(seat.name)
        if own is not None and isinstance(decision, Fact) and own.generation == seat.generation:
            seat.nonce = own.nonces.current
        return decision

    def give_back(self, seat: Seat, when: float | None = None) -> Decision:
        """Return the seat with its program's token."""
        return self.ask(Return(activation_id=seat.name, generation=seat.generation), when)

    def take_back(self, name: str, when: float | None = None, *, at_once: bool = False) -> Decision:
        """Let an administrator free a seat."""
        return self.ask(TakeBack(activation_id=name, by="ada", at_once=at_once), when)

    def resize(self, seats: int) -> None:
        """Sell more or fewer seats, as the seller's verb does it."""
        leaving = sum(h.seats for h in self.pool.holdings.values() if h.occupies and h.state is not State.HELD)
        tally, excess = resized(self.pool.seats, seats, leaving)
        self.pool = replace(self.pool, tallies={**self.pool.tallies, SEAT: tally}, excess=excess)

    def set_terms(self, new: Terms) -> None:
        """Change the terms of the entitlement."""
        self.pool = replace(self.pool, terms=new)

    # --- what there is to see ---

    def holding(self, name: str, past: int = CURRENT) -> Holding:
        """Give a holding that must be there."""
        return self.pool.holdings[name, past]

    def used(self, key: str = SEAT) -> int:
        """Tell how many of a right are taken."""
        return self.pool.tallies[key].used

    def kinds(self) -> list[str]:
        """Give the kinds of all facts so far."""
        return [fact.kind for fact in self.facts]


def bench(seats: int | None = 1, *rights: Right, overdraft: Overdraft = NONE, **on: object) -> Bench:
    """Give a bench with an empty pool; keywords are those of `terms`."""
    return Bench(pool(seats, *rights, overdraft=overdraft, on=terms(**on)))  # type: ignore[arg-type]


def refused(decision: Decision) -> str:
    """Give the problem code of a refusal; "" if it is none."""
    return getattr(decision, "problem", "")
