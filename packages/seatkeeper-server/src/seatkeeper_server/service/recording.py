"""Writes facts down: each gets its number and the hash that links it to the one before in its chain.

The hash covers exactly the columns that are kept, so that a chain can be checked from the table alone (`body`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import json
from msgspec.structs import replace

from seatkeeper_server.domain.facts import Fact, details, link
from seatkeeper_server.domain.timekeeping import MICROSECOND
from seatkeeper_server.service.ports import Changes, FactRecord, LedgerRecord, PoolRecord, Transaction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.Encoder(order="deterministic").encode


def body(record: FactRecord) -> bytes:
    """Give the bytes of a fact that its hash covers: everything that is kept but the hash itself."""
    return _encode(
        [
            record.number,
            record.kind,
            (record.at - _EPOCH) // MICROSECOND,
            (record.recorded_at - _EPOCH) // MICROSECOND,
            record.activation_id,
            record.generation,
            record.holder,
            record.denial_id,
            record.data,
        ]
    )


def chained(tenant_id: str, chain_id: str, facts: int, head: bytes, fact: Fact, now: datetime) -> FactRecord:
    """Give a fact as it is kept, next in a chain that has `facts` of them and ends in `head`."""
    record = FactRecord(
        tenant_id=tenant_id,
        chain_id=chain_id,
        number=facts + 1,
        kind=fact.kind,
        at=fact.at,
        recorded_at=now,
        activation_id=fact.activation_id,
        generation=fact.generation,
        holder=fact.holder,
        denial_id=getattr(fact, "denial_id", None),
        data=_encode(details(fact)).decode(),
        hash=b"",
    )
    return replace(record, hash=link(head, body(record)))


def in_pool(record: PoolRecord, fact: Fact, now: datetime) -> tuple[PoolRecord, FactRecord]:
    """Write a fact into an entitlement's chain; the pool it changed is the caller's to set."""
    written = chained(*record.key, record.facts, record.head, fact, now)
    return replace(record, facts=written.number, head=written.hash), written


def in_ledger(record: LedgerRecord, fact: Fact, now: datetime) -> tuple[LedgerRecord, FactRecord]:
    """Write a fact into a tenant's own chain."""
    written = chained(record.tenant_id, record.tenant_id, record.facts, record.head, fact, now)
    return replace(record, facts=written.number, head=written.hash), written


def append(tx: Transaction, tenant_id: str, chain_id: str, facts: Iterable[Fact], now: datetime) -> None:
    """Write facts that change no counter into a chain: an entitlement's, or (the tenant's id) the tenant's own.

    Raises:
        LookupError: there is no such chain.
    """
    changes = Changes()
    if chain_id == tenant_id:
        ledger = next(iter(tx.ledgers([tenant_id])), None)
        if ledger is None:
            raise LookupError(f"there is no tenant {tenant_id}")
        for fact in facts:
            ledger, written = in_ledger(ledger, fact, now)
            changes.facts.append(written)
        changes.ledgers.append(ledger)
    else:
        pool = next(iter(tx.pools([(tenant_id, chain_id)])), None)
        if pool is None:
            raise LookupError(f"there is no entitlement {chain_id}")
        for fact in facts:
            pool, written = in_pool(pool, fact, now)
            changes.facts.append(written)
        changes.pools.append(pool)
    tx.save(changes)
