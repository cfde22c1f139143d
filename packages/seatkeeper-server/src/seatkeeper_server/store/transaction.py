"""The mapping between rows and values, the same on every database: `service.ports.Transaction` over named queries.

A database's own transaction says how a named query is run; what differs in the SQL is in the database's own file of queries.
Sets of rows go in and out as JSON, a handful of statements for a whole batch.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.refusals import Window
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.domain.timekeeping import MICROSECOND, Alive
from seatkeeper_server.service.calls import HolderView, LentOut
from seatkeeper_server.service.ports import (
    Changes,
    HolderRecord,
    HoldingRecord,
    KeyedRecord,
    LedgerRecord,
    PoolKey,
    PoolRecord,
)
from seatkeeper_server.store import rows
from seatkeeper_server.store.rows import Row, json_text, maybe_moment, micros, moment

LOOKED_AT = 50  # places of a pool that are compared to find those that end first


class SqlTransaction(ABC):
    """One write transaction of a database that runs named queries."""

    def __init__(self) -> None:
        self._found_by: dict[tuple[str, str], int | None] = {}  # places that were read: `rows.may_be_found_by`

    @abstractmethod
    def query(self, name: str, /, **parameters: Any) -> Sequence[Row]:  # any value the schema's column takes
        """Give the rows of a named query."""

    @abstractmethod
    def execute(self, name: str, /, **parameters: Any) -> int:  # any value the schema's column takes
        """Run a named statement; the number of rows it changed."""

    def query_both(self, first: str, second: str, /, **parameters: Any) -> tuple[Sequence[Row], Sequence[Row]]:
        """Give the rows of two named queries that take the same parameters."""
        return self.query(first, **parameters), self.query(second, **parameters)

    def clock(self) -> datetime | None:
        """Give the time this transaction began by the database's own clock; None if it has none."""
        return None

    def alive(self) -> Alive | None:
        """Give the last alive moment; None in a new database."""
        for row in self.query("alive"):
            return rows.to_alive(row)
        return None

    def alone(self) -> Alive | None:
        """Have the alive moment to oneself until the transaction ends, and give it as it is now."""
        return self.alive()

    def mark_alive(self, alive: Alive, batch_id: str) -> None:
        """Record that the database is served now, and which batch said so."""
        self.execute("mark_alive", **rows.from_alive(alive), batch_id=batch_id)

    def extend_leases(self, alive_at: datetime, gap: timedelta, now: datetime) -> int:
        """Give every place, and every idempotency key, the time back that nobody could use; the number of places."""
        self.execute("extend_keyed", alive_at=micros(alive_at), gap=gap // MICROSECOND)
        return self.execute("extend_leases", alive_at=micros(alive_at), gap=gap // MICROSECOND, now=micros(now))

    def shift_leases(self, by: timedelta) -> None:
        """Move every lease and place by this much: the recorded time itself was wrong."""
        self.execute("shift_leases", by=by // MICROSECOND)

    def tenants(self) -> list[str]:
        """Give the ids of all tenants."""
        return [row[0] for row in self.query("tenants")]

    def pools_for_codes(
        self, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        found: dict[tuple[str, str, str], list[PoolKey]] = defaultdict(list)
        for tenant_id, code_hash, product_id, entitlement_id in self.query("pools_for_codes", asked=json_text(asked)):
            found[tenant_id, code_hash, product_id].append((tenant_id, entitlement_id))
        return found

    @abstractmethod
    def lock(self, pools: Collection[PoolKey], activations: Collection[tuple[str, str]]) -> timedelta:
        """Have these pools, and those of these (tenant, activation), to oneself; the time since the transaction began."""

    @abstractmethod
    def lock_chains(self, chains: Collection[PoolKey]) -> None:
        """Have these chains of facts to oneself: entitlements' pools, and (tenant id twice) tenants' own."""

    def pools(self, keys: Sequence[PoolKey]) -> list[PoolRecord]:
        """Give these pools, locked, in one sorted order."""
        self.lock(keys, ())
        return self.pools_seen(keys)

    def pools_seen(self, keys: Sequence[PoolKey]) -> list[PoolRecord]:
        """Give these pools as they are seen now, for a report, in one sorted order."""
        tallies: dict[PoolKey, dict[str, Tally]] = defaultdict(dict)
        rights, pools = self.query_both("rights", "pools", asked=json_text(keys))
        for row in rights:
            tallies[row[0], row[1]][row[2]] = rows.to_tally(row[2:])
        return [rows.to_pool(row, tallies[row[0], row[1]]) for row in pools]

    def ledgers(self, tenant_ids: Sequence[str]) -> list[LedgerRecord]:
        """Give these tenants' own chains, locked; unknown tenants are left out."""
        self.lock_chains([(tenant_id, tenant_id) for tenant_id in tenant_ids])
        return [rows.to_ledger(row) for row in self.query("ledgers", asked=json_text(tenant_ids))]

    def holdings(self, asked: Sequence[tuple[str, str]]) -> list[HoldingRecord]:
        """Give the present holdings of these (tenant, activation)."""
        found = self.query("holdings", asked=json_text(asked))
        self._found_by.update({(row[0], row[2]): row[31] for row in found})
        return [
            HoldingRecord(
                tenant_id=row[0],
                entitlement_id=row[1],
                holding=rows.to_holding(row[2:21]),
                who=rows.to_who(row[21:30]),
                blocked_until=maybe_moment(row[30]),
            )
            for row in found
        ]

    def seats(self, asked: Sequence[tuple[str, str, str]]) -> list[tuple[HolderRecord, Holding | None]]:
        """Give the holders known under these (tenant, chain, seat id), and what they hold."""
        return [
            (
                HolderRecord(
                    tenant_id=row[0],
                    chain_id=row[1],
                    number=row[2],
                    who=rows.to_who(row[4:13]),
                    blocked_until=maybe_moment(row[3]),
                ),
                None if row[13] is None else rows.to_holding(row[13:]),
            )
            for row in self.query("seats", asked=json_text(asked))
        ]

    def due(self, key: PoolKey, now: datetime, limit: int, skip: int = 0) -> list[Holding]:
        """Give the places of a pool that time has ended, oldest first, but for the first `skip` of them."""
        found = self.query("due", tenant_id=key[0], entitlement_id=key[1], now=micros(now), most=limit, skip=skip)
        return [rows.to_holding(row) for row in found]

    def pools_with_due(self, now: datetime, limit: int) -> list[PoolKey]:
        """Find pools in which time may have ended places."""
        return [(row[0], row[1]) for row in self.query("pools_with_due", now=micros(now), most=limit)]

    def put_off(self, key: PoolKey, now: datetime) -> None:
        """See that a pool, which is locked, is found again only when the next of its places may have ended."""
        self.execute("put_off", tenant_id=key[0], entitlement_id=key[1], now=micros(now))

    def roster(self, key: PoolKey, limit: int, *, borrowing: bool = False) -> tuple[list[HolderView], datetime | None]:
        """Give the first holders of a pool by the end of their lease, and the earliest moment a place comes back.

        With `borrowing`, who has borrowed his seat is told apart.
        They are the first of those places that may end first, so exact in a pool of up to `LOOKED_AT` holders. In a larger one
        they are exact where a place ends within a sixth of its lease, if the others refresh after each third (decision 0017).
        """
        limits = {"among": LOOKED_AT, "most": limit, "borrowing": int(borrowing)}
        found = self.query("roster", tenant_id=key[0], entitlement_id=key[1], **limits)
        earliest, *found = sorted(found, key=lambda row: (row[0] is not None, row[3] is None, row[3]))  # SQL keeps no order
        views = [
            HolderView(name=row[0], since=moment(row[1]), lease_ends_at=moment(row[2]), borrowed=row[4] == 1) for row in found
        ]
        return views, maybe_moment(earliest[3])

    def lent_out(self, key: PoolKey, now: datetime) -> list[LentOut]:
        """Give what of a pool is lent to local servers now."""
        found: dict[str, LentOut] = {}
        for name, held, free_at, reported_at in self.query(
            "lent_out", tenant_id=key[0], entitlement_id=key[1], now=micros(now)
        ):
            before, seats = found.get(name), rows.to_rights(held).get(SEAT, 0)
            found[name] = LentOut(
                name=name,
                seats=seats + (before.seats if before else 0),
                counts_until=before.counts_until if before else moment(free_at),  # the layer that ends last comes first
                last_report_at=maybe_moment(reported_at),
            )
        return list(found.values())

    def keyed(self, asked: Sequence[tuple[str, str, str]]) -> list[KeyedRecord]:
        """Give the successes kept under these (tenant, scope, key)."""
        return [rows.to_keyed(row) for row in self.query("keyed", asked=json_text(asked))]

    def windows(self, asked: Sequence[tuple[str, str, int]]) -> list[tuple[PoolKey, Window]]:
        """Give the refusal windows of these (tenant, chain, holder)."""
        return [rows.to_window(row) for row in self.query("windows", asked=json_text(asked))]

    def windows_ended(self, before: datetime, limit: int) -> list[tuple[PoolKey, Window]]:
        """Give refusal windows that began before a moment."""
        return [rows.to_window(row) for row in self.query("windows_ended", before=micros(before), most=limit)]

    def save(self, changes: Changes) -> None:
        """Write all of it, set-wise: holders before the places and facts that name them."""
        self._save("save_holders", [rows.from_holder(record) for record in changes.holders])
        self._save("save_pools", [rows.from_pool(record) for record in changes.pools])
        self._save("save_rights", [row for record in changes.pools for row in rows.from_tallies(record)])
        self._save("save_ledgers", [rows.from_ledger(record) for record in changes.ledgers])
        self._save("remove_holdings", [list(key) for key in changes.removed])
        self._save("save_holdings", [rows.from_holding(record) for record in changes.holdings])
        renewed, put_off = self._parted(changes.renewed)
        self._save("move_holdings", [rows.from_moved(record) for record in changes.moved])
        self._save("renew_holdings", [rows.from_renewed(record) for record in renewed])
        self._save("put_off_holdings", [rows.from_renewed(record) for record in put_off])
        self._save("save_keyed", [rows.from_keyed(record) for record in changes.keyed])
        self._save("close_windows", [[*key, holder] for key, holder in changes.closed])
        self._save("save_windows", [rows.from_window(key, window) for key, window in changes.windows])
        self._save("add_facts", [rows.from_fact(record) for record in changes.facts])

    def put(self, name: str, values: Sequence[list[object]]) -> None:
        """Write rows by a named statement over a set of them."""
        self._save(name, list(values))

    def _parted(self, refreshed: Sequence[HoldingRecord]) -> tuple[list[HoldingRecord], list[HoldingRecord]]:
        """Part what was refreshed into places that are found as before, and places for which an index has to change."""
        parted: tuple[list[HoldingRecord], list[HoldingRecord]] = ([], [])
        for record in refreshed:
            known = self._found_by.get((record.tenant_id, record.holding.activation_id))
            parted[not rows.may_be_found_by(known, record.holding)].append(record)
        return parted

    def _save(self, name: str, values: list[list[object]]) -> None:
        if values:
            self.execute(name, rows=json_text(values))
