"""What tidying needs of the store, in its own words."""

from datetime import datetime

from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.store import rows
from seatkeeper_server.store.transaction import SqlTransaction


class Pruning:
    """A transaction in which old things are forgotten."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def forget_keyed(self, now: datetime) -> None:
        """Forget idempotency keys whose time is over."""
        self._tx.execute("forget_keyed", now=rows.micros(now))

    def forget_holdings(self, before: datetime) -> None:
        """Forget seats that ended before a moment."""
        self._tx.execute("forget_holdings", before=rows.micros(before))

    def forget_holders(self, now: datetime, most: int) -> int:
        """Forget who is who where nothing is left that speaks of him, in so many chains; how many holders were forgotten."""
        at = rows.micros(now)
        chains = [(row[0], row[1]) for row in self._tx.query("idle_chains", now=at, most=most)]
        self._tx.lock_chains(chains)  # whoever comes back at this very moment does so before, and is kept, or after
        return sum(self._tx.execute("forget_holders", tenant_id=key[0], chain_id=key[1], now=at) for key in chains)

    def old_chains(self, before: datetime) -> list[PoolKey]:
        """Give the chains that have facts recorded before a moment."""
        return [
            (tenant_id, row[0])
            for tenant_id in self._tx.tenants()
            for row in self._tx.query("old_chains", tenant_id=tenant_id, before=rows.micros(before))
        ]

    def facts_before(self, key: PoolKey, before: datetime, limit: int) -> list[FactRecord]:
        """Give the first facts of a chain, up to the first one that was recorded at a moment or later; locked."""
        self._tx.lock_chains([key])
        found = self._tx.query("facts_before", tenant_id=key[0], chain_id=key[1], before=rows.micros(before), most=limit)
        return [rows.to_fact(row) for row in found]

    def checkpoint(self, key: PoolKey) -> str | None:
        """Give a chain's last checkpoint."""
        for row in self._tx.query("last_checkpoint", tenant_id=key[0], chain_id=key[1]):
            return str(row[0])
        return None

    def prune(self, key: PoolKey, number: int, at: datetime, signed: str) -> None:
        """Forget a chain's facts up to a number, behind a checkpoint."""
        chain = {"tenant_id": key[0], "chain_id": key[1], "number": number}
        self._tx.execute("add_checkpoint", **chain, at=rows.micros(at), signed=signed)
        self._tx.execute("forget_facts", **chain)
