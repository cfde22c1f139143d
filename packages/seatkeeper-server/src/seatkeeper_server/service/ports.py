"""The one door to the outside world: what the service needs, as Protocols.

`Store` and `Transaction` keep (their promises in sentences: `store/contract.md`), `Authority` says what may be served,
`Signer` signs and checks leases, `Runtime` knows the time, waits, starts things and draws random bytes. Nothing else below
`apps` touches the world, so that the whole can run under a seeded simulation.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper_server.domain.facts import Denied, Fact
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.refusals import Flood, Window
from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service.calls import Entitlement, HolderView, LentOut, Served, Who

Random = Callable[[int], bytes]  # so many random bytes
PoolKey = tuple[str, str]  # tenant id, entitlement id; or tenant id twice for the tenant's own ledger


class StorageFull(Exception):
    """The disk is full. Nothing was recorded; make room and try again."""


class StorageUnavailable(Exception):
    """The database can't be reached or doesn't answer. Nothing was acknowledged; try again."""


class Conflict(StorageUnavailable):
    """Another transaction stood in the way. Nothing was recorded; do it again."""


class CommitUnknown(StorageUnavailable):
    """The connection was lost during commit: whether it happened must be looked up before anything is answered or redone."""


class PoolRecord(Struct, frozen=True, kw_only=True):
    """A pool as it is kept: its counters, its chain of facts, its refusals of this minute. Holdings are kept apart."""

    entitlement: Entitlement
    pool: Pool
    facts: int
    head: bytes
    flood: Flood
    contact: str | None = None

    @property
    def key(self) -> PoolKey:
        """Tell pools apart."""
        return self.entitlement.tenant_id, self.entitlement.entitlement_id


class HolderRecord(Struct, frozen=True, kw_only=True):
    """Who has a number in a pool, and until when he is blocked."""

    tenant_id: str
    chain_id: str
    number: int
    who: Who
    blocked_until: datetime | None = None


class HoldingRecord(Struct, frozen=True, kw_only=True):
    """A holding with where it belongs and who it is."""

    tenant_id: str
    entitlement_id: str
    holding: Holding
    who: Who
    blocked_until: datetime | None = None


class LedgerRecord(Struct, frozen=True, kw_only=True):
    """A tenant's own chain of facts: what concerns no single entitlement."""

    tenant_id: str
    facts: int
    head: bytes
    holders: int
    flood: Flood


class KeyedRecord(Struct, frozen=True, kw_only=True):
    """A success that may be asked for again under the same idempotency key."""

    tenant_id: str
    scope: str
    key: str
    body: str
    activation_id: str
    generation: int
    kept_until: datetime


class FactRecord(Struct, frozen=True, kw_only=True):
    """A fact as it is kept: its place in its chain, its fixed columns, the rest as JSON, and the hash that links it."""

    tenant_id: str
    chain_id: str
    number: int
    kind: str
    at: datetime
    recorded_at: datetime
    activation_id: str | None
    generation: int
    holder: int
    denial_id: str | None
    data: str
    hash: bytes


@dataclass(slots=True)
class Changes:
    """Everything one transaction writes: the differences, complete values, each at most once."""

    pools: list[PoolRecord] = field(default_factory=list)
    ledgers: list[LedgerRecord] = field(default_factory=list)
    holders: list[HolderRecord] = field(default_factory=list)
    holdings: list[HoldingRecord] = field(default_factory=list)
    moved: list[HoldingRecord] = field(default_factory=list)  # holdings that were read in this transaction, and changed
    renewed: list[HoldingRecord] = field(default_factory=list)  # the same, but only in what a refresh changes: lease and nonces
    removed: list[tuple[str, str, int]] = field(default_factory=list)  # tenant, activation, past
    keyed: list[KeyedRecord] = field(default_factory=list)
    windows: list[tuple[PoolKey, Window]] = field(default_factory=list)
    closed: list[tuple[PoolKey, int]] = field(default_factory=list)  # windows to forget: pool, holder
    facts: list[FactRecord] = field(default_factory=list)


class Transaction(Protocol):
    """One write transaction. Every reading method takes a set and answers for the whole set in one statement."""

    def clock(self) -> datetime | None:
        """Give the time this transaction began by the database's own clock; None if it has none."""
        ...

    def alive(self) -> Alive | None:
        """Give the last alive moment; None in a new database."""
        ...

    def alone(self) -> Alive | None:
        """Have the alive moment to oneself until the transaction ends, and give it as it is now."""
        ...

    def mark_alive(self, alive: Alive, batch_id: str) -> None:
        """Record that the database is served now, and which batch said so ("": one that nobody will ask about)."""
        ...

    def extend_leases(self, alive_at: datetime, gap: timedelta, now: datetime) -> int:
        """Give every place, and every idempotency key, the time back that nobody could use; the number of places."""
        ...

    def shift_leases(self, by: timedelta) -> None:
        """Move every lease and place by this much: the recorded time itself was wrong."""
        ...

    def tenants(self) -> list[str]:
        """Give the ids of all tenants."""
        ...

    def pools_for_codes(
        self, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        ...

    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        """Have these pools, and those of these (tenant, activation), to oneself until the transaction ends.

        Gives how much time has passed since it began. What is read of a pool afterwards is true until it ends: counters,
        holders, places, kept successes, refusals. What was read before is good only for finding the pool.
        """
        ...

    def pools(self, keys: Sequence[PoolKey]) -> list[PoolRecord]:
        """Give these pools, locked, in one sorted order."""
        ...

    def ledgers(self, tenant_ids: Sequence[str]) -> list[LedgerRecord]:
        """Give these tenants' own chains, locked; unknown tenants are left out."""
        ...

    def holdings(self, asked: Sequence[tuple[str, str]]) -> list[HoldingRecord]:
        """Give the present holdings of these (tenant, activation)."""
        ...

    def seats(self, asked: Sequence[tuple[str, str, str]]) -> list[tuple[HolderRecord, Holding | None]]:
        """Give the holders known under these (tenant, chain, seat id), and what they hold."""
        ...

    def due(self, key: PoolKey, now: datetime, limit: int, skip: int = 0) -> list[Holding]:
        """Give the places of a pool that time has ended, oldest first, but for the first `skip` of them."""
        ...

    def pools_with_due(self, now: datetime, limit: int) -> list[PoolKey]:
        """Find pools in which time may have ended places; `due` tells."""
        ...

    def put_off(self, key: PoolKey, now: datetime) -> None:
        """See that a pool, which is locked, is found again only when the next of its places may have ended."""
        ...

    def roster(self, key: PoolKey, limit: int, *, borrowing: bool = False) -> tuple[list[HolderView], datetime | None]:
        """Give the first holders of a pool by the end of their lease, and the earliest moment a place comes back.

        With `borrowing`, who has borrowed his seat is told apart.
        """
        ...

    def lent_out(self, key: PoolKey, now: datetime) -> list[LentOut]:
        """Give what of a pool is lent to local servers now."""
        ...

    def keyed(self, asked: Sequence[tuple[str, str, str]]) -> list[KeyedRecord]:
        """Give the successes kept under these (tenant, scope, key)."""
        ...

    def windows(self, asked: Sequence[tuple[str, str, int]]) -> list[tuple[PoolKey, Window]]:
        """Give the refusal windows of these (tenant, chain, holder)."""
        ...

    def windows_ended(self, before: datetime, limit: int) -> list[tuple[PoolKey, Window]]:
        """Give refusal windows that began before a moment."""
        ...

    def save(self, changes: Changes) -> None:
        """Write all of it, set-wise."""
        ...


class Store(Protocol):
    """Keeps everything, durably: what a transaction wrote is on disk when it has ended without an error."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a write transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            StorageFull: nothing was recorded.
            StorageUnavailable: nothing was recorded.
            Conflict: nothing was recorded, and it is worth doing again at once.
            CommitUnknown: the commit may or may not have happened; ask `was_committed`.
        """
        ...

    def was_committed(self, batch_id: str) -> bool:
        """Tell whether the transaction that marked this batch alive has been committed; if not, it never will be.

        Raises:
            StorageUnavailable: it can't be known now.
        """
        ...


class Authority(Protocol):
    """Says what this server may serve: on a cloud what was sold, on a local server what verified grants lend."""

    def pools_for_codes(
        self, tx: Transaction, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        ...

    def noticed(self, tx: Transaction, key: PoolKey, fact: Fact, now: datetime) -> None:
        """Hear that a lease was shown which this database doesn't remember, or can't have signed."""
        ...

    def worded(self, tx: Transaction, key: PoolKey, denied: Denied, now: datetime) -> Denied:
        """Give a refusal as this server has to word it: what has ended may be the grant, not the entitlement."""
        ...


class Signer(Protocol):
    """Signs leases for this database, and recognises its own."""

    def sign(self, served: Served, client_nonce: str | None) -> str:
        """Give the signed lease for a served call."""
        ...

    def certificate(self, tenant_id: str) -> str:
        """Give the certificate under which this tenant's leases are signed."""
        ...

    def recognise(self, tenant_id: str, lease: str) -> LeaseClaims | None:
        """Give the claims of a lease that this database's keys signed; None for anything else."""
        ...


class Runtime(Protocol):
    """Time, waiting, starting and chance."""

    def now(self) -> datetime:
        """Give the time in UTC; it never jumps within a process."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start something that runs beside."""
        ...

    def random(self, count: int) -> bytes:
        """Draw random bytes."""
        ...
