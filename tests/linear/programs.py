"""Programs that live on a real server: they take seats, keep them, draw features, die, sleep too long, lose answers, take over.

Each is a client of its own, with one connection, and makes one call at a time; what it was not answered, it asks again until
it is. `Record` writes down what was asked and answered, in the words of `history`.
"""

import asyncio
import random
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from msgspec import Struct, json

from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.trust import Expected, Trust
from tests.linear.history import Kind, Lease, Operation, Outcome
from tests.linear.wire import Line, Lost, Reply, Unreachable
from tests.support.servers import Sold

ROUTES = {
    Kind.ACTIVATE: ("POST", "/api/v1/activate"),
    Kind.REFRESH: ("PATCH", "/api/v1/activation/refresh"),
    Kind.RETURN: ("DELETE", "/api/v1/activation"),
    Kind.CHECK_OUT: ("PATCH", "/api/v1/activation/features/checkout"),
    Kind.GIVE_BACK: ("PATCH", "/api/v1/activation/features/return"),
}
PROBLEMS = {
    "seats.exhausted": (Outcome.REFUSED, "pool-full"),
    "feature.exhausted": (Outcome.REFUSED, "feature-exhausted"),
    "feature.overReturn": (Outcome.REFUSED, "over-return"),
    "feature.notReturnable": (Outcome.REFUSED, "not-returnable"),
    "entitlement.expired": (Outcome.REFUSED, "entitlement-expired"),
    "seat.gone": (Outcome.GONE, ""),
    "seat.takenOver": (Outcome.TAKEN_OVER, ""),
}
CHECKED = 50  # one in so many leases has its signature checked


class _Granted(Struct, rename="camel"):
    lease: str
    access_token: str | None = None
    certificate: str | None = None


class _Problem(Struct, rename="camel"):
    error_code: str


_read_granted = json.Decoder(_Granted).decode
_read_problem = json.Decoder(_Problem).decode
_read_lease = json.Decoder(LeaseClaims).decode


@dataclass(frozen=True)
class Habits:
    """How programs behave. Times in seconds; the rest are chances per call of a holder, or per call where it says so."""

    think: float = 0.03  # between two calls of a holder, on average
    asks_again: float = 0.2  # after a refusal, on average
    dies: float = 0.0015
    sleeps: float = 0.001
    sleeps_for: tuple[float, float] = (2.0, 12.0)
    repeats: float = 0.04
    restarts: float = 0.02
    cuts: float = 0.004  # per call: hangs up before the answer may be there
    cuts_within: float = 0.03
    haunts: float = 0.05  # per return: refreshes once more with the returned token
    features: bool = True
    pairs: float = 0.1  # the share of programs that use a seat in twos


@dataclass
class Record:
    """Everything that was asked and answered, by everybody. Numbers stand for ids."""

    trust: Trust
    clock_offset: int  # microseconds from the monotonic clock to the wall clock
    operations: list[Operation] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that make no sense
    put_off: int = 0  # answers that only asked to come again
    checked: int = 0  # signatures
    ended: int = 0  # leases that had ended when they were signed: within the margin, a call that is no refresh gets such a one
    latencies: list[int] = field(default_factory=list)  # microseconds
    keys: "count[int]" = field(default_factory=lambda: count(1))
    seats: "count[int]" = field(default_factory=count)
    _activations: dict[str, int] = field(default_factory=dict)

    def moment(self, nanoseconds: int) -> int:
        """Put a moment of the monotonic clock on the history's clock."""
        return nanoseconds // 1000 + self.clock_offset

    def lease(self, claims: LeaseClaims) -> Lease:
        """Read a lease's claims as the checker wants them."""
        return Lease(
            activation=self._activations.setdefault(claims.act, len(self._activations)),
            generation=claims.gen,
            issued=round(claims.iat * 1e6),
            ends=round(claims.exp * 1e6),
            sequence=claims.seq,
            features=tuple(sorted(claims.feat.items())),
        )


@dataclass(frozen=True)
class Asked:
    """A call as a program makes it, and makes it again."""

    kind: Kind
    token: str | None = None
    life: tuple[int, int] | None = None  # the activation and generation that the token names
    key: int | None = None
    feature: str = ""
    amount: int = 0


@dataclass
class Program:
    """One program. `ports` are the servers it knows; it stays with one until that one is gone."""

    number: int
    sold: Sold
    ports: Sequence[int]
    record: Record
    habits: Habits
    chance: random.Random
    is_over: Callable[[], bool]
    seat: int
    is_one_of_two: bool = False
    held: Asked | None = None  # whose token and life are shown from now on
    kept: Asked | None = None  # … of an earlier life, if it was stored
    last: Asked | None = None  # what may be asked once more under its key
    drawn: int = 0
    _certificate: str = ""
    _line: Line | None = None
    _at: int = 0

    async def live(self) -> None:
        """Live until it is over. What was asked by then is asked until it is answered."""
        self._at = self.number % len(self.ports)
        await self._pause(self.habits.asks_again)
        while not self.is_over():
            await (self._take() if self.held is None else self._use(self.held))
        if self._line is not None:
            self._line.hang_up()

    # --- what it does ----------------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        stored = self.kept or Asked(Kind.ACTIVATE)
        await self._ask(Asked(Kind.ACTIVATE, token=stored.token, life=stored.life, key=next(self.record.keys)))
        if self.held is None:
            await self._pause(self.habits.asks_again)

    async def _use(self, held: Asked) -> None:
        await self._pause(self.habits.think)
        habits, draw = self.habits, self.chance.random()
        if draw < habits.dies:
            self._die(held)
        elif draw < habits.dies + habits.sleeps:
            await self._sleep(self.chance.uniform(*habits.sleeps_for))
            await self._ask(replace(held, kind=Kind.REFRESH))
        elif self.last is not None and self.chance.random() < habits.repeats:
            await self._ask(self.last)
        elif self.chance.random() < habits.restarts:
            await self._ask(replace(held, kind=Kind.ACTIVATE, key=next(self.record.keys)))
        else:
            await self._work(held)

    async def _work(self, held: Asked) -> None:
        draw = self.chance.random()
        if draw < 0.2 and not self.is_one_of_two:
            await self._ask(replace(held, kind=Kind.RETURN))
            if self.chance.random() < self.habits.haunts:
                await self._ask(replace(held, kind=Kind.REFRESH))
        elif draw < 0.6 or not self.habits.features:
            await self._ask(replace(held, kind=Kind.REFRESH))
        elif draw < 0.63:
            await self._ask(replace(held, kind=Kind.CHECK_OUT, feature="pages", amount=1, key=next(self.record.keys)))
        elif draw < 0.8 or not self.drawn:
            amount = self.chance.choice((1, 1, 2))
            await self._ask(replace(held, kind=Kind.CHECK_OUT, feature="render", amount=amount, key=next(self.record.keys)))
        else:
            amount = self.chance.randint(1, self.drawn)
            await self._ask(replace(held, kind=Kind.GIVE_BACK, feature="render", amount=amount, key=next(self.record.keys)))

    def _die(self, held: Asked) -> None:
        """End without a word. What starts next has the stored token, or lost it, or is another machine."""
        fate = self.chance.random()
        self.kept = held if fate < 0.5 else None
        if fate > 0.8 and not self.is_one_of_two:
            self.seat = next(self.record.seats)
        self.held, self.last, self.drawn = None, None, 0

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_over() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110  others' calls end it
            await asyncio.sleep(min(left, 0.2))

    async def _pause(self, average: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, 2 * average))

    # --- asking, and learning ----------------------------------------------------------------------------------------------

    async def _ask(self, asked: Asked) -> None:
        """Make a call until it is answered."""
        nonce = asked.key if asked.key is not None else next(self.record.keys)
        request = self._request(asked, nonce)
        while True:
            line = await self._connected()
            cut = self._cut(asked)
            try:
                reply = await line.ask(request, cut)
            except Lost:
                self._note(asked, line.sent, None, Outcome.UNKNOWN)
                self._at += cut is None  # it is gone: another server may be there
                continue
            if self._learn(asked, nonce, reply):
                return
            await self._pause(self.habits.asks_again)

    def _cut(self, asked: Asked) -> float | None:
        """Say when to hang up on a call, if at all: not on features, and not with a seat that somebody else has too.

        What happened to those could not be told apart afterwards: see `search`.
        """
        is_clear = not self.is_one_of_two and asked.kind not in (Kind.CHECK_OUT, Kind.GIVE_BACK)
        return self.chance.uniform(0, self.habits.cuts_within) if is_clear and self.chance.random() < self.habits.cuts else None

    async def _connected(self) -> Line:
        while self._line is None or not self._line.is_open:
            try:
                self._line = await Line.to(self.ports[self._at % len(self.ports)])
            except Unreachable:
                self._at += 1
                await asyncio.sleep(0.02)
        return self._line

    def _request(self, asked: Asked, nonce: int) -> bytes:
        method, path = ROUTES[asked.kind]
        head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"n-tenantid: {self.sold.tenant}"]
        head += [f"authorization: Bearer {asked.token}"] if asked.token else []
        said: dict[str, object] = {"clientNonce": f"{nonce:032x}"}
        if asked.kind is Kind.ACTIVATE:
            said |= {"productId": self.sold.product, "activationCode": self.sold.code, "seatId": f"seat-{self.seat}"}
        elif asked.feature:
            said |= {"key": asked.feature, "amount": asked.amount}
            head += [f"idempotency-key: {nonce:032x}"]
        body = b"" if asked.kind is Kind.RETURN else json.encode(said)
        head += [f"content-length: {len(body)}"] if body else []
        return "\r\n".join([*head, "", ""]).encode() + body

    def _learn(self, asked: Asked, nonce: int, reply: Reply) -> bool:
        """Take in an answer; False if it only says to come again."""
        self.record.latencies.append((reply.answered - reply.sent) // 1000)
        if reply.status in (200, 201):
            self._granted(asked, nonce, reply)
            return True
        if reply.status in (429, 503):
            self.record.put_off += 1
            self._note(asked, reply.sent, None, Outcome.UNKNOWN)
            return False
        problem = "" if reply.status == 204 else _read_problem(reply.body).error_code
        outcome, rule = (Outcome.DONE, "") if reply.status == 204 else PROBLEMS.get(problem, (Outcome.UNKNOWN, ""))
        if outcome is Outcome.UNKNOWN:
            self.record.odd.append(f"{reply.status} {problem} to {asked.kind.value}")
        self._note(asked, reply.sent, reply.answered, outcome, rule)
        if outcome is not Outcome.REFUSED:
            self.held, self.kept, self.last, self.drawn = None, None, None, 0
        return True

    def _granted(self, asked: Asked, nonce: int, reply: Reply) -> None:
        granted = _read_granted(reply.body)
        claims = _read_lease(urlsafe_b64decode(granted.lease.split(".", 2)[1] + "=="))
        self._certificate = granted.certificate or self._certificate
        self.record.ended += claims.exp <= claims.iat
        if len(self.record.operations) % CHECKED == 0 and claims.iat < claims.exp:
            self._check(granted.lease, nonce)
        lease = self.record.lease(claims)
        is_new = reply.status == 201 if asked.kind is Kind.ACTIVATE else None
        self._note(asked, reply.sent, reply.answered, Outcome.GRANTED, lease=lease, is_new=is_new)
        token = granted.access_token or asked.token
        self.held = Asked(asked.kind, token=token, life=(lease.activation, lease.generation))
        self.kept, self.drawn = None, claims.feat.get("render", 0)
        self.last = asked if asked.key is not None else None

    def _check(self, lease: str, nonce: int) -> None:
        """Check a lease as an application does: by the root that it pins."""
        expected = Expected(self.sold.tenant, self.sold.product, f"seat-{self.seat}", f"{nonce:032x}")
        self.record.trust.lease(lease, self.record.trust.certificate(self._certificate), expected)
        self.record.checked += 1

    def _note(
        self,
        asked: Asked,
        sent: int,
        answered: int | None,
        outcome: Outcome,
        rule: str = "",
        lease: Lease | None = None,
        is_new: bool | None = None,
    ) -> None:
        self.record.operations.append(
            Operation(
                client=self.number,
                kind=asked.kind,
                seat=self.seat,
                sent=self.record.moment(sent),
                answered=None if answered is None else self.record.moment(answered),
                outcome=outcome,
                token=asked.life,
                key=asked.key,
                feature=asked.feature,
                amount=asked.amount,
                rule=rule,
                is_new=is_new,
                lease=lease,
            )
        )


def crowd(
    number: int, sold: Sold, ports: Sequence[int], record: Record, habits: Habits, seed: int, is_over: Callable[[], bool]
) -> list[Program]:
    """Make so many programs; the first of them use a seat in twos."""
    in_twos = round(number * habits.pairs) // 2 * 2
    seats = [n // 2 if n < in_twos else n - in_twos // 2 for n in range(number)]
    record.seats = count(number)
    return [
        Program(n, sold, ports, record, habits, random.Random(f"{seed}-{n}"), is_over, seat, is_one_of_two=n < in_twos)
        for n, seat in enumerate(seats)
    ]
