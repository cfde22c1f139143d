"""A small house of real parts: a store, an entitlement in it, the leasing use case, and a clock moved by hand."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper_server.domain.facts import CHAIN_START
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, NoncePolicy, Overdraft, Right
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.service.calls import (
    ActivateCall,
    Call,
    HeldCall,
    Key,
    Outcome,
    Served,
    TokenClaims,
    Verb,
    Who,
)
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.timekeeping import Timekeeper
from seatkeeper_server.store.postgres import PostgresStore, PostgresTransaction
from seatkeeper_server.store.rows import micros
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.transaction import SqlTransaction

AnyStore = SqliteStore | PostgresStore

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
TENANT = "t_" + "T" * 22
PRODUCT = "prod_" + "P" * 22
CODE_HASH = "code-hash"


@dataclass
class HandClock:
    """A clock that stands until it is moved."""

    time: datetime = START
    boot_id: str = "boot-1"
    booted: timedelta = timedelta(hours=1)

    def now(self) -> datetime:
        return self.time

    def boot(self) -> tuple[str, timedelta]:
        return self.boot_id, self.booted

    def shift(self, by: timedelta) -> None:
        self.time += by

    def pass_(self, by: timedelta) -> None:
        self.time += by
        self.booted += by


class Drawer:
    """Draws bytes that are different each time and the same in every run."""

    def __init__(self) -> None:
        self._chance = Random(1)

    def __call__(self, count: int) -> bytes:
        return self._chance.randbytes(count)


@dataclass
class KnownLeases:
    """Recognises leases that were put into it: signing itself is tested elsewhere."""

    leases: dict[str, LeaseClaims] = field(default_factory=dict)

    def sign(self, served: Served, client_nonce: str | None) -> str:
        raise NotImplementedError

    def certificate(self, tenant_id: str) -> str:
        raise NotImplementedError

    def recognise(self, tenant_id: str, lease: str) -> LeaseClaims | None:
        return self.leases.get(lease)


def raw(tx: SqlTransaction) -> Callable[..., Any]:
    """Give what runs SQL with `?` for parameters in a transaction, on every database."""
    if isinstance(tx, PostgresTransaction):
        return lambda sql, parameters=(): tx._connection.execute(sql.replace("?", "%s"), parameters)
    return tx._connection.execute  # type: ignore[attr-defined, no-any-return]


class Sold:
    """Serves what was sold: asks the store."""

    def pools_for_codes(self, tx, asked):
        return tx.pools_for_codes(asked)

    def noticed(self, tx, key, fact, now):
        pass

    def worded(self, tx, key, denied, now):
        return denied


@dataclass
class House:
    """Serves calls as a server does, one transaction a batch."""

    store: AnyStore
    clock: HandClock
    timekeeper: Timekeeper
    leasing: Leasing
    signer: KnownLeases
    entitlement_id: str
    batches: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def ask(self, *calls: Call) -> list[Outcome]:
        with self.store.transaction() as tx:
            return self.leasing.decide(tx, calls, self.timekeeper.begin(tx, f"batch-{next(self.batches)}"))

    def one(self, call: Call) -> Outcome:
        return self.ask(call)[0]

    def sweep(self) -> None:
        with self.store.transaction() as tx:
            self.leasing.sweep(tx, self.timekeeper.begin(tx, f"sweep-{next(self.batches)}"))

    def rows(self, sql: str) -> list[tuple]:
        with self.store.transaction() as tx:
            found = raw(tx)(sql)
            nothing = isinstance(tx, PostgresTransaction) and found.description is None
            return [] if nothing else list(found.fetchall())

    def used(self, key: str = SEAT) -> int:
        return self.rows(f"SELECT used FROM pool_right WHERE key = '{key}'")[0][0]

    def facts(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT kind FROM fact ORDER BY tenant_id, chain_id, number")]

    def pass_(self, seconds: float, beating: bool = True) -> None:
        """Let time pass; a server that beats marks itself alive all along."""
        end = self.clock.time + timedelta(seconds=seconds)
        while beating and self.clock.time + BEAT < end:
            self.clock.pass_(BEAT)
            with self.store.transaction() as tx:
                self.timekeeper.begin(tx, f"beat-{next(self.batches)}")
        self.clock.pass_(end - self.clock.time)


def make_house(
    store: AnyStore,
    *,
    seats: int = 2,
    overdraft: Overdraft | None = None,
    features: tuple[Right, ...] = (),
    lease: timedelta = timedelta(minutes=2),
    linger: timedelta = timedelta(0),
    mode: Mode = Mode.CONCURRENT,
    nonce: NoncePolicy = NoncePolicy.OPTIONAL,
    ends_at: datetime | None = None,
) -> House:
    """Give a house with one entitlement in it."""
    clock = HandClock()
    store.migrate(clock.now())
    store.found("db_" + "D" * 22, clock.now())
    rights = (Right(SEAT, Kind.SEAT, seats, overdraft or Overdraft()), *features)
    entitlement_id = sell(store, rights, lease=lease, linger=linger, mode=mode, nonce=nonce, ends_at=ends_at)
    signer = KnownLeases()
    return House(store, clock, Timekeeper(clock), Leasing(Sold(), signer, Drawer()), signer, entitlement_id)


def sell(
    store: AnyStore,
    rights: tuple[Right, ...],
    *,
    lease: timedelta,
    linger: timedelta = timedelta(0),
    mode: Mode = Mode.CONCURRENT,
    nonce: NoncePolicy = NoncePolicy.OPTIONAL,
    ends_at: datetime | None = None,
) -> str:
    """Put a tenant with one entitlement into a store, row by row; selling itself is tested elsewhere."""
    entitlement_id = "ent_" + "E" * 22
    head = CHAIN_START.hex()
    at = micros(START)
    margin = margin_for(BEAT) // timedelta(microseconds=1)
    with store.transaction() as tx:
        run = raw(tx)
        run("INSERT INTO tenant (tenant_id, name, created_at, head) VALUES (?, 'vendor', ?, ?)", (TENANT, at, head))
        run("INSERT INTO product VALUES (?, ?, 'solver', ?)", (TENANT, PRODUCT, at))
        run("INSERT INTO edition VALUES (?, 'ed_1', ?, 'Standard', ?)", (TENANT, PRODUCT, at))
        run(
            "INSERT INTO plan VALUES (?, 'plan_1', 'Paid', 'perpetual', 'entitlementCreation', 'none', NULL, 'paid', ?)",
            (TENANT, at),
        )
        run(
            "INSERT INTO offering VALUES (?, 'off_1', 'ed_1', 'plan_1', 'solver', 'SKU', ?, ?, 'none', 0, '[]', ?, 0, 0, ?)",
            (TENANT, rights[0].bought, mode.value, lease // timedelta(microseconds=1), at),
        )
        run("INSERT INTO customer VALUES (?, 'cust_1', 'acme', NULL, NULL, ?)", (TENANT, at))
        run("INSERT INTO entitlement_group VALUES (?, 'egr_1', 'cust_1', NULL, ?)", (TENANT, at))
        run("INSERT INTO entitlement VALUES (?, ?, 'egr_1', 'off_1', ?, 0, NULL, ?)", (TENANT, entitlement_id, at, at))
        run("INSERT INTO activation_code VALUES (?, ?, 'egr_1', ?, 'ABCD', ?)", (TENANT, CODE_HASH, b"\0", at))
        run(
            "INSERT INTO pool (tenant_id, entitlement_id, group_id, product_id, edition_id, mode, lease, linger, margin,"
            " nonce, switch, starts_at, ends_at, grace, head)"
            " VALUES (?, ?, 'egr_1', ?, 'ed_1', ?, ?, ?, ?, ?, 'on', ?, ?, 0, ?)",
            (
                TENANT,
                entitlement_id,
                PRODUCT,
                mode.value,
                lease // timedelta(microseconds=1),
                linger // timedelta(microseconds=1),
                margin,
                nonce.value,
                at,
                None if ends_at is None else micros(ends_at),
                head,
            ),
        )
        for right in rights:
            run(
                "INSERT INTO pool_right VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
                (
                    TENANT,
                    entitlement_id,
                    right.key,
                    right.kind.value,
                    right.bought,
                    right.overdraft.kind,
                    right.overdraft.value,
                    right.cap,
                ),
            )
    return entitlement_id


def activate(seat_id: str, key: str | None = None, *, body: str = "body", **changes: object) -> ActivateCall:
    """Give the call of a program that wants a seat."""
    call = {
        "tenant_id": TENANT,
        "code_hash": CODE_HASH,
        "code_hint": "ABCD",
        "product_id": PRODUCT,
        "who": Who(seat_id=seat_id, seat_name=f"{seat_id}@host"),
        "key": Key("activate", key, body) if key else None,
    }
    return ActivateCall(**{**call, **changes})  # type: ignore[arg-type]


def held(verb: Verb, served: Served, **changes: object) -> HeldCall:
    """Give a call of a seat's holder."""
    token = TokenClaims(served.holding.activation_id, served.holding.generation)
    return HeldCall(**{"verb": verb, "tenant_id": TENANT, "token": token, **changes})  # type: ignore[arg-type]
