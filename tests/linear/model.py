"""A crowd in made-up time: programs that ask one small server, and the history of what they were told.

    history = crowd(Server(rules), rules, random.Random(7), clients=6, calls=200)

The server is the specification itself, so its histories are linearizable; `faulty` has servers that are not. Programs
overlap, lose answers, forget their tokens, sleep through their leases, repeat themselves, and use one seat in pairs.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from msgspec.structs import replace as changed

from tests.linear.history import Feature, History, Kind, Lease, Operation, Outcome, Rules
from tests.linear.spec import ANSWERED, CHANGES_NOTHING, NEW, Deed, Pool, Seat

RULES = Rules(
    seats=3,
    lease=300,
    margin=60,
    features={"render": Feature(4, returnable=True), "pages": Feature(9, returnable=False)},
)


@dataclass
class Server:
    """A server that does what the specification says."""

    rules: Rules
    pool: Pool = field(init=False)
    sequence: int = 0

    def __post_init__(self) -> None:
        self.pool = Pool(self.rules)

    def serve(self, call: Operation, now: int) -> Operation:
        """Decide a call, and give it with its outcome."""
        self.pool.settle(now)
        deed, why = self.pool.deed(call)
        self.act(call, deed, now)
        return self.answer(call, deed, why, now)

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        """Change the pool."""
        if deed not in CHANGES_NOTHING:
            self.pool.apply(call, now)

    def answer(self, call: Operation, deed: Deed, why: str, now: int) -> Operation:
        """Say what came of a call."""
        if (outcome := ANSWERED.get(deed)) is not None:
            return changed(call, outcome=outcome, rule=why)
        is_new = deed in NEW if call.kind is Kind.ACTIVATE else None
        seat = self.pool.seats[call.seat]
        if seat.activation is None:
            self.pool.name(seat, call.seat)
        return changed(call, outcome=Outcome.GRANTED, is_new=is_new, lease=self.lease(seat, now))

    def lease(self, seat: Seat, now: int) -> Lease:
        """Sign a lease."""
        assert seat.activation is not None
        self.sequence += 1
        held = {**seat.units, **seat.drawn}
        features = tuple(sorted((key, n) for key, n in held.items() if n))
        return Lease(seat.activation, seat.generation, now, seat.ends, self.sequence, features)


class Serves(Protocol):
    """A server, as the crowd sees it."""

    def serve(self, call: Operation, now: int) -> Operation:
        """Decide a call, and give it with its outcome; one that does not arrive is given as it is."""
        ...


@dataclass(frozen=True)
class Habits:
    """How programs behave: how long they think and how long a call takes, and how likely they are to …"""

    think: int = 40
    lasts: int = 12
    loses: float = 0.0  # … get no answer
    dies: float = 0.04
    sleeps: float = 0.04  # … through the end of the lease
    repeats: float = 0.05
    haunts: float = 0.1  # … refresh once more with a token that they returned
    pairs: bool = True  # two of them with one seat


@dataclass
class Program:
    """One client: what it holds, and what it has to ask again."""

    number: int
    seat: int
    chance: random.Random
    token: tuple[int, int] | None = None
    kept: tuple[int, int] | None = None  # a token of an earlier life
    drawn: int = 0
    returned: tuple[int, int] | None = None
    again: Operation | None = None
    last: Operation | None = None

    def next_call(self, keys: "count[int]", habits: Habits) -> Operation:
        """Say what it asks next."""
        if self.again is not None:
            return self.again
        if self.last is not None and self.last.key is not None and self.chance.random() < habits.repeats:
            return self.last
        returned, self.returned = self.returned, None
        if returned is not None and self.chance.random() < habits.haunts:
            return self._call(Kind.REFRESH, token=returned)
        if self.token is None:
            return self._call(Kind.ACTIVATE, token=self.kept, key=next(keys))
        draw = self.chance.random()
        if draw < 0.45:
            return self._call(Kind.REFRESH, token=self.token)
        if draw < 0.60:
            return self._call(Kind.RETURN, token=self.token)
        if draw < 0.68:
            return self._call(Kind.CHECK_OUT, token=self.token, feature="pages", amount=1, key=next(keys))
        if draw < 0.88 or not self.drawn:
            return self._call(
                Kind.CHECK_OUT, token=self.token, feature="render", amount=self.chance.choice((1, 1, 2)), key=next(keys)
            )
        return self._call(Kind.GIVE_BACK, token=self.token, feature="render", amount=self.drawn, key=next(keys))

    def learn(self, done: Operation) -> None:
        """Take in what became of a call."""
        asked = changed(done, outcome=Outcome.UNKNOWN, rule="", is_new=None, lease=None, answered=None)
        self.again = asked if done.outcome is Outcome.UNKNOWN else None
        if done.outcome is Outcome.UNKNOWN:
            return
        self.last = asked if done.lease is not None else None
        if done.lease is not None:
            self.token = (done.lease.activation, done.lease.generation)
            self.drawn = dict(done.lease.features).get("render", 0)
        elif done.outcome is not Outcome.REFUSED:
            self.returned = self.token if done.outcome is Outcome.DONE else None
            self.token, self.kept, self.drawn = None, None, 0

    def die(self) -> None:
        """Start anew: with the stored token, or without."""
        if self.token is not None and self.again is None:
            self.kept = self.token if self.chance.random() < 0.5 else None
            self.token, self.last, self.drawn = None, None, 0

    def _call(self, kind: Kind, **said: object) -> Operation:
        return Operation(
            client=self.number,
            kind=kind,
            seat=self.seat,
            sent=0,
            answered=None,
            outcome=Outcome.UNKNOWN,
            **said,  # type: ignore[arg-type]
        )


def crowd(
    server: Serves,
    rules: Rules,
    chance: random.Random,
    *,
    clients: int = 6,
    calls: int = 200,
    habits: Habits | None = None,
) -> History:
    """Have programs ask a server, and give the history; `rules` are those that are said to be kept."""
    habits = habits or Habits()
    programs = [Program(n, n // 2 if habits.pairs else n, chance) for n in range(clients)]
    return History(rules=rules, operations=list(_Crowd(server, rules, chance, programs, habits).live(calls)))


class _Crowd:
    """Programs and one server on one clock: whose call is decided when."""

    def __init__(self, server: Serves, rules: Rules, chance: random.Random, programs: list[Program], habits: Habits) -> None:
        self._server, self._chance, self._habits = server, chance, habits
        self._longest_sleep = rules.lease * 3 // 2
        self._keys, self._ties = count(1), count()
        self._decided_at: list[tuple[int, int, Program, Operation]] = []
        for program in programs:
            self._ask(program, 0)

    def live(self, calls: int) -> Iterator[Operation]:
        """Give so many calls as they are answered, and what is still asked again after that."""
        while self._decided_at:
            moment, _, program, call = heappop(self._decided_at)
            done, over = self._serve(call, moment)
            program.learn(done)
            yield done
            calls -= 1
            if calls > 0 or program.again is not None:
                self._ask(program, over + 1)

    def _ask(self, program: Program, after: int) -> None:
        sent = after + self._chance.randrange(self._habits.think + 1)
        if program.again is None and self._chance.random() < self._habits.dies:
            program.die()
        if program.again is None and self._chance.random() < self._habits.sleeps:
            sent += self._chance.randrange(self._longest_sleep)
        call = changed(program.next_call(self._keys, self._habits), sent=sent)
        heappush(self._decided_at, (sent + self._chance.randrange(1, self._habits.lasts), next(self._ties), program, call))

    def _serve(self, call: Operation, moment: int) -> tuple[Operation, int]:
        """Decide a call, and give it and when its client went on; the call or its answer may be lost."""
        if self._chance.random() < self._habits.loses:
            if self._chance.random() < 0.5:
                self._server.serve(call, moment)
            return call, moment
        over = moment + self._chance.randrange(1, self._habits.lasts)
        done = self._server.serve(call, moment)
        return (done, moment) if done.outcome is Outcome.UNKNOWN else (changed(done, answered=over), over)
