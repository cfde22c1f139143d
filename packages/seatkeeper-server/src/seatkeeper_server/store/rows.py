"""Turns rows into the domain's values and back. The same on every database: moments are integer microseconds."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import json

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.refusals import Flood, Window
from seatkeeper_server.domain.terms import Kind, Mode, NoncePolicy, Overdraft, Right, Switch, Terms
from seatkeeper_server.domain.timekeeping import MICROSECOND, Alive
from seatkeeper_server.service.calls import Entitlement, Who
from seatkeeper_server.service.ports import (
    FactRecord,
    HolderRecord,
    HoldingRecord,
    KeyedRecord,
    LedgerRecord,
    PoolKey,
    PoolRecord,
)

Row = Sequence[Any]  # a database's row: its types are the schema's

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_read_rights = json.Decoder(dict[str, int]).decode


def micros(moment: datetime) -> int:
    """Give a moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def maybe_micros(moment: datetime | None) -> int | None:
    """Give a moment in microseconds, or nothing."""
    return None if moment is None else (moment - EPOCH) // MICROSECOND


def moment(value: int) -> datetime:
    """Give the moment that many microseconds after 1970."""
    return EPOCH + MICROSECOND * value


def maybe_moment(value: int | None) -> datetime | None:
    """Give the moment, or nothing."""
    return None if value is None else EPOCH + MICROSECOND * value


def span(value: int) -> timedelta:
    """Give a duration of that many microseconds."""
    return MICROSECOND * value


def json_text(value: object) -> str:
    """Give the JSON text in which a set of rows or a mapping is handed to the database."""
    return json.encode(value).decode()


def named(key: PoolKey) -> dict[str, str]:
    """Give the columns by which an entitlement is known."""
    return {"tenant_id": key[0], "entitlement_id": key[1]}


def to_rights(text: str) -> dict[str, int]:
    """Read the amounts that a place takes, by right."""
    return _read_rights(text)


def added_up(found: Iterable[Row]) -> dict[str, int]:
    """Add up the amounts that rows begin with, by right."""
    total: dict[str, int] = {}
    for row in found:
        for key, amount in _read_rights(row[0]).items():
            total[key] = total.get(key, 0) + amount
    return total


def to_alive(row: Row) -> Alive:
    """Read the alive moment, from `at` to `given`."""
    return Alive(moment(row[0]), row[1], span(row[2]), span(row[3]), span(row[4]), row[5])


def from_alive(alive: Alive) -> dict[str, Any]:
    """Give the columns of the alive moment by name."""
    return {
        "at": micros(alive.at),
        "boot_id": alive.boot_id,
        "boot_at": alive.boot_at // MICROSECOND,
        "drift": alive.drift // MICROSECOND,
        "offset": alive.offset // MICROSECOND,
        "given": alive.given,
    }


def to_holding(row: Row) -> Holding:
    """Read the columns of a holding, from `activation_id` to `device_key`."""
    answered = row[14]
    return Holding(
        activation_id=row[0],
        past=row[1],
        generation=row[2],
        holder=row[3],
        state=_STATE[row[4]],
        occupies=row[5] == 1,
        rights=_read_rights(row[6]),
        activated_at=moment(row[7]),
        refreshed_at=moment(row[8]),
        expires_at=moment(row[9]),
        free_at=maybe_moment(row[10]),
        sequence=row[11],
        nonces=Nonces(row[12], row[13], None if answered is None else bytes.fromhex(answered), row[15] == 1),
        noted_at=moment(row[16]),
        floored=row[17] == 1,
        device=row[18],
    )


_STATE = {state.value: state for state in State}


def due_from(held: Holding) -> int | None:
    """Give the moment by which the database finds a place: from when on time may have ended it, or somebody may forget it."""
    return maybe_micros(held.free_at) if held.occupies else micros(held.refreshed_at)


def may_be_found_by(known: int | None, held: Holding) -> bool:
    """Tell whether a place that was just refreshed may keep that moment: it comes no later than the end, and not too soon.

    So an index over it changes with every second refresh of a program that asks after a third of its lease, and of one that
    asks more often still less.
    """
    if known is None or held.free_at is None:
        return known is None and held.free_at is None
    ends_at, refreshed_at = micros(held.free_at), micros(held.refreshed_at)
    return (ends_at + refreshed_at) // 2 <= known <= ends_at


def from_holding(record: HoldingRecord) -> list[object]:
    """Give the row of a holding, in the order of `save_holdings`."""
    held = record.holding
    nonces = held.nonces
    return [
        record.tenant_id,
        record.entitlement_id,
        held.activation_id,
        held.past,
        held.generation,
        held.holder,
        held.state.value,
        int(held.occupies),
        json_text(held.rights),
        micros(held.activated_at),
        micros(held.refreshed_at),
        micros(held.expires_at),
        maybe_micros(held.free_at),
        held.sequence,
        nonces.current,
        nonces.previous,
        None if nonces.answered is None else nonces.answered.hex(),
        int(nonces.bound),
        micros(held.noted_at),
        int(held.floored),
        held.device,
        due_from(held),
    ]


def from_moved(record: HoldingRecord) -> list[object]:
    """Give what may change of a holding, then its key, in the order of `move_holdings`."""
    held = record.holding
    nonces = held.nonces
    return [
        held.generation,
        held.state.value,
        int(held.occupies),
        json_text(held.rights),
        micros(held.activated_at),
        micros(held.refreshed_at),
        micros(held.expires_at),
        maybe_micros(held.free_at),
        held.sequence,
        nonces.current,
        nonces.previous,
        None if nonces.answered is None else nonces.answered.hex(),
        int(nonces.bound),
        micros(held.noted_at),
        int(held.floored),
        held.device,
        due_from(held),
        record.tenant_id,
        held.activation_id,
        held.past,
    ]


def from_renewed(record: HoldingRecord) -> list[object]:
    """Give what a refresh changes of a holding, then its key, in the order of `renew_holdings`."""
    held = record.holding
    nonces = held.nonces
    return [
        micros(held.refreshed_at),
        micros(held.expires_at),
        maybe_micros(held.free_at),
        held.sequence,
        nonces.current,
        nonces.previous,
        None if nonces.answered is None else nonces.answered.hex(),
        int(nonces.bound),
        int(held.floored),
        record.tenant_id,
        held.activation_id,
        held.past,
    ]


def to_who(row: Row) -> Who:
    """Read the columns of a holder's words, from `seat_id` to `address`."""
    return Who(
        seat_id=row[0],
        seat_name=row[1],
        username=row[2],
        user=row[3],
        host=row[4],
        process=row[5],
        group=row[6],
        project=row[7],
        address=row[8],
    )


def from_holder(record: HolderRecord) -> list[object]:
    """Give the row of a holder, in the order of `save_holders`."""
    who = record.who
    return [
        record.tenant_id,
        record.chain_id,
        record.number,
        who.seat_id,
        who.seat_name,
        who.username,
        who.user,
        who.host,
        who.process,
        who.group,
        who.project,
        who.address,
        maybe_micros(record.blocked_until),
    ]


def to_tally(row: Row) -> Tally:
    """Read the columns of a counter, from `key` to `above`."""
    right = Right(row[0], Kind(row[1]), row[2], Overdraft(row[3], row[4]))
    return Tally(right, row[5], row[6])


def from_right(right: Right) -> dict[str, Any]:
    """Give the columns of a right by name, from `key` to `cap`: what of them is taken is not said."""
    return {
        "key": right.key,
        "kind": right.kind.value,
        "bought": right.bought,
        "overdraft_kind": right.overdraft.kind,
        "overdraft_value": right.overdraft.value,
        "cap": right.cap,
    }


def to_pool(row: Row, tallies: dict[str, Tally]) -> PoolRecord:
    """Read the columns of a pool, from `tenant_id` to `borrow`."""
    terms = Terms(
        mode=Mode(row[5]),
        lease=span(row[6]),
        linger=span(row[7]),
        margin=span(row[8]),
        nonce=NoncePolicy(row[9]),
        switch=Switch(row[10]),
        starts_at=maybe_moment(row[11]),
        ends_at=maybe_moment(row[12]),
        grace=span(row[13]),
        borrow=span(row[27]),
    )
    entitlement = Entitlement(
        tenant_id=row[0],
        entitlement_id=row[1],
        group_id=row[2],
        product_id=row[3],
        edition_id=row[4],
        product_name=row[21],
        has_maintenance=row[22] == 1,
        maintenance_ends_at=maybe_moment(row[23]),
    )
    return PoolRecord(
        entitlement=entitlement,
        pool=Pool(
            terms=terms,
            tallies=tallies,
            sequence=row[14],
            holders=row[15],
            excess=row[16],
            lost_after=row[25],
            lost_until=row[26],
        ),
        facts=row[17],
        head=bytes.fromhex(row[18]),
        flood=Flood(moment(row[19]), row[20]),
        contact=row[24],
    )


def from_pool(record: PoolRecord) -> list[object]:
    """Give what is kept of a pool, in the order of `save_pools`."""
    pool = record.pool
    flood = record.flood
    kept = [pool.sequence, pool.holders, pool.excess, record.facts, record.head.hex(), micros(flood.since), flood.firsts]
    return [*record.key, *kept, pool.lost_after, pool.lost_until]


def from_tallies(record: PoolRecord) -> Iterable[list[object]]:
    """Give the counters of a pool, in the order of `save_rights`."""
    return ([*record.key, key, tally.used, tally.above] for key, tally in record.pool.tallies.items())


def to_ledger(row: Row) -> LedgerRecord:
    """Read a tenant's own chain."""
    return LedgerRecord(
        tenant_id=row[0], facts=row[1], head=bytes.fromhex(row[2]), holders=row[3], flood=Flood(moment(row[4]), row[5])
    )


def from_ledger(record: LedgerRecord) -> list[object]:
    """Give a tenant's own chain, in the order of `save_ledgers`."""
    flood = record.flood
    return [record.tenant_id, record.facts, record.head.hex(), record.holders, micros(flood.since), flood.firsts]


def to_keyed(row: Row) -> KeyedRecord:
    """Read a kept success."""
    return KeyedRecord(
        tenant_id=row[0],
        scope=row[1],
        key=row[2],
        body=row[3],
        activation_id=row[4],
        generation=row[5],
        kept_until=moment(row[6]),
    )


def from_keyed(record: KeyedRecord) -> list[object]:
    """Give the row of a kept success, in the order of `save_keyed`."""
    seat = [record.activation_id, record.generation, micros(record.kept_until)]
    return [record.tenant_id, record.scope, record.key, record.body, *seat]


def to_window(row: Row) -> tuple[PoolKey, Window]:
    """Read a refusal window with the chain it belongs to."""
    return (row[0], row[1]), Window(row[2], row[3], row[4], moment(row[5]), moment(row[6]), row[7], row[8])


def from_window(key: PoolKey, window: Window) -> list[object]:
    """Give the row of a refusal window, in the order of `save_windows`."""
    times = [micros(window.since), micros(window.until), window.count, window.key]
    return [*key, window.holder, window.denial_id, window.rule, *times]


def from_fact(fact: FactRecord) -> list[object]:
    """Give the row of a fact, in the order of `add_facts`."""
    return [
        fact.tenant_id,
        fact.chain_id,
        fact.number,
        fact.kind,
        micros(fact.at),
        micros(fact.recorded_at),
        fact.activation_id,
        fact.generation,
        fact.holder,
        fact.denial_id,
        fact.data,
        fact.hash.hex(),
    ]


def to_fact(row: Row) -> FactRecord:
    """Read a fact, its columns in the order of `add_facts`."""
    return FactRecord(
        tenant_id=row[0],
        chain_id=row[1],
        number=row[2],
        kind=row[3],
        at=moment(row[4]),
        recorded_at=moment(row[5]),
        activation_id=row[6],
        generation=row[7],
        holder=row[8],
        denial_id=row[9],
        data=row[10],
        hash=bytes.fromhex(row[11]),
    )
