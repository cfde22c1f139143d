"""The server of the model: a database, and the production functions that decide what becomes of it.

Everything a rule could be wrong about is the product's own: `settle`, `decide`, `apply`, `nonce_in_order`, `extended`, and the
`Timekeeper` that finds downtime and steps of the clock. What stands here is what the service and the front do around them,
as short as can be: find the earlier success of a key, look at a shown lease first, answer from the present state.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from seatkeeper_server.domain import pool as rules
from seatkeeper_server.domain import timekeeping
from seatkeeper_server.domain.facts import CheckedOut, CloneSuspected, Denied, Fact, Restored, TakenBack
from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.pool import Decision, Pool, Rejected
from seatkeeper_server.domain.requests import Activate, CheckOut, Earlier, Refresh, Request, Return, TakeBack
from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service.ports import Transaction
from seatkeeper_server.service.timekeeping import Timekeeper
from tests.model.messages import Answer, Message

if TYPE_CHECKING:
    from tests.model.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
PAGES = "pages"


def at(seconds: float) -> datetime:
    """Give the moment so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def seconds(moment: datetime) -> float:
    """Give a moment as seconds since the start."""
    return (moment - START).total_seconds()


class Broken(AssertionError):
    """A rule was broken; the message says which, and when."""


@dataclass
class Database:
    """What is on disk. A copy of it is a backup."""

    pool: Pool
    alive: Alive | None = None
    seats: dict[str, str] = field(default_factory=dict)  # the activation of each seat id that was ever seen
    keyed: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)  # the calls that drew a page
    served: float = 0.0  # for how long this database has been served, downtime and steps left out
    signed_at: dict[tuple[str, int], float] = field(default_factory=dict)  # `served` when a lease was last signed
    given_back: float = 0.0  # in this transaction
    extended_by: float = 0.0  # in all

    def backup(self) -> "Database":
        """Give a copy that what happens later doesn't change."""
        copies = {name: getattr(self, name).copy() for name in ("seats", "keyed", "drawn", "signed_at")}
        return dataclasses.replace(self, **copies)

    # --- as much of a store's transaction as the timekeeper needs ---

    def mark_alive(self, alive: Alive, batch_id: str) -> None:
        """Record that the database is served now."""
        if self.alive is not None:
            self.served += (alive.at - self.alive.at).total_seconds() - self.given_back
        self.alive, self.given_back = alive, 0.0

    def extend_leases(self, alive_at: datetime, gap: timedelta, now: datetime) -> int:
        """Give every place the time back that nobody could refresh in."""
        kept = self.pool.holdings
        given = {key: timekeeping.extended(holding, self.pool.terms, gap, now) for key, holding in kept.items()}
        self.pool = replace(self.pool, holdings=given)
        self.given_back += gap.total_seconds()
        self.extended_by += gap.total_seconds()
        return len(given)

    def tenants(self) -> Sequence[str]:
        """Nobody's ledger is kept here."""
        return []


class _Tx:
    """The database as a transaction: `alive` is a question there and a value here."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mark_alive, self.extend_leases, self.tenants = database.mark_alive, database.extend_leases, database.tenants

    def clock(self) -> datetime | None:
        return None

    def alive(self) -> Alive | None:
        return self.database.alive

    alone = alive


@dataclass
class MachineClock:
    """The clocks of the machine a server process runs on: the wall clock read at its start, and the boot clock."""

    world: "World"
    wall_at_start: float
    started: float
    shifted: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Give the time in UTC."""
        return at(self.wall_at_start + self.world.now - self.started) + self.shifted

    def boot(self) -> tuple[str, timedelta]:
        """Give the boot and the time it counts since."""
        return f"boot {self.world.boots}", timedelta(seconds=self.world.now - self.world.booted)

    def shift(self, by: timedelta) -> None:
        """Run ahead of the wall clock by this much more."""
        self.shifted += by


class Server:
    """One server process on a database."""

    def __init__(self, world: "World", database: Database) -> None:
        self.world, self.database = world, database
        self.keeper = Timekeeper(MachineClock(world, world.now + world.stepped, world.now))
        self.keeper.start(self._tx)
        self.beat()

    @property
    def _tx(self) -> Transaction:
        return cast("Transaction", _Tx(self.database))

    def beat(self) -> datetime:
        """Do what every transaction begins with: find out what time it is, and what that alone has made true."""
        now = self.keeper.begin(self._tx, "batch")
        self.database.pool, _ = rules.settle(self.database.pool, now)
        return now

    # --- calls ---

    def answer(self, message: Message) -> Answer:
        """Serve one call in one transaction."""
        now = self.beat()
        if message.verb == "read":
            return self._read(message, now)
        token, message = message.activation, replace(message, activation=self._activation(message))
        before = self._own(message)
        decision = self._decided(self._request(message, token), now)
        self._check_no_resurrection(message, before)
        if isinstance(decision, Rejected | Denied):
            return self._refusal(message, decision.problem)
        if isinstance(decision, TakenBack):
            return self._refusal(message, "seat.gone")
        if isinstance(decision, CheckedOut):
            self._check_drawn_once(message)
        return self._served(message, now)

    def _decided(self, request: Request, now: datetime) -> Decision:
        decision = self._apply(rules.decide(self.database.pool, request, now))
        if isinstance(decision, Restored | CloneSuspected):
            assert isinstance(request, Activate | Refresh)
            decision = self._apply(rules.decide(self.database.pool, replace(request, shown=None), now))
        return decision

    def _apply(self, decision: Decision) -> Decision:
        if isinstance(decision, Fact):
            self.database.pool = rules.apply(self.database.pool, decision)
        return decision

    def take_back(self, name: str, *, at_once: bool) -> bool:
        """Let an administrator free a seat; whether there was anything to take."""
        now = self.beat()
        request = TakeBack(activation_id=self.database.seats.get(name, ""), by="ada", at_once=at_once)
        return isinstance(self._decided(request, now), TakenBack)

    def _activation(self, message: Message) -> str:
        """Find which activation a call speaks of: the token's, or the seat's own, or the one a lease was shown for."""
        if message.verb != "activate":
            return message.activation or ""
        if message.name in self.database.seats:
            return self.database.seats[message.name]
        pool = self.database.pool
        seen = pool.lost_after if pool.lost_until else pool.sequence
        ahead = message.shown is not None and message.shown.sequence > seen
        return message.activation if ahead and message.activation else self.world.fresh("activation")

    def _own(self, message: Message) -> Holding | None:
        return self.database.pool.current(message.activation or "")

    def _request(self, message: Message, token: str | None) -> Request:
        own = self._own(message)
        assert message.activation is not None
        fresh = self.world.fresh("nonce")
        if message.verb == "activate":
            return Activate(
                activation_id=message.activation,
                holder=own.holder if own else self.database.pool.holders + 1,
                next_nonce=fresh,
                proof=message.generation if token == message.activation else None,
                earlier=self._earlier(message),
                shown=message.shown,
            )
        assert message.generation is not None
        if message.verb == "return":
            return Return(activation_id=message.activation, generation=message.generation)
        asked = {
            "activation_id": message.activation,
            "generation": message.generation,
            "next_nonce": fresh,
            "nonce": message.nonce,
            "fingerprint": self._fingerprint(message),
            "shown": message.shown,
        }
        if message.verb == "draw":
            return CheckOut(key=PAGES, amount=1, **asked)  # type: ignore[arg-type]
        return Refresh(**asked)  # type: ignore[arg-type]

    def _fingerprint(self, message: Message) -> bytes | None:
        """Only a request whose body bears a client's nonce can be told from another with the same words."""
        return f"{message.verb} {message.body}".encode() if message.body is not None else None

    def _earlier(self, message: Message) -> Earlier | None:
        kept = self.database.keyed.get(message.call)
        return None if kept is None else Earlier(kept[1], same_body=kept[0] == message.body)

    # --- answers ---

    def _read(self, message: Message, now: datetime) -> Answer:
        own = self._own(message)
        if own is None or own.generation != message.generation or own.state not in (State.HELD, State.LAPSED):
            return self._refusal(message, "seat.gone")
        if not rules.nonce_in_order(self.database.pool, own, message.nonce):
            return self._refusal(message, "nonce.stale")
        return replace(self._refusal(message, ""), nonce=own.nonces.current, generation=own.generation)

    def _refusal(self, message: Message, problem: str) -> Answer:
        return Answer(program=message.program, attempt=message.attempt, problem=problem)

    def _served(self, message: Message, now: datetime) -> Answer:
        if message.verb == "return":
            return self._refusal(message, "")
        own = self._own(message)
        assert own is not None
        self.database.seats[message.name] = own.activation_id
        if message.verb == "activate":
            self.database.keyed[message.call] = (message.body, own.generation)
        self.database.signed_at[own.activation_id, own.generation] = self.database.served
        return Answer(
            program=message.program,
            attempt=message.attempt,
            activation=own.activation_id,
            generation=own.generation,
            nonce=own.nonces.current,
            sequence=own.sequence,
            issued=seconds(now),
            ends=seconds(own.expires_at),
            history=self.world.restores,
        )

    # --- what no transition may do ---

    def _check_drawn_once(self, message: Message) -> None:
        if message.call in self.database.drawn:
            raise Broken(f"at {self.world.now:.1f}: usage drawn twice by {message.call}")
        self.database.drawn.add(message.call)

    def _check_no_resurrection(self, message: Message, before: Holding | None) -> None:
        after = self._own(message)
        if message.verb == "activate" or before is None or before.state not in (State.RETURNED, State.TAKEN_BACK):
            return
        shown = message.shown  # what proves that the database was restored: a newer lease, or one of a later life
        proven = shown is not None and (shown.sequence > before.sequence or shown.generation > before.generation)
        if after is not None and after.state is State.HELD and not proven:
            raise Broken(f"at {self.world.now:.1f}: a late {message.verb} took a seat that {message.name} no longer had")
