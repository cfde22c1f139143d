"""What a server may serve: a vendor's what he sold, a local one what it was lent. Each is a `service.ports.Authority`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog
from msgspec.structs import replace

from seatkeeper_server.domain.facts import CloneSuspected, Denied, Fact
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.ports import PoolKey, Transaction
from seatkeeper_server.service.suspicion import suspect
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sites import Sites
from seatkeeper_server.store.transaction import SqlTransaction

log = structlog.get_logger("seatkeeper.desk")


class Sold:
    """A cloud may serve what was sold: it asks its own database."""

    def pools_for_codes(
        self, tx: Transaction, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        return tx.pools_for_codes(asked)

    def noticed(self, tx: Transaction, key: PoolKey, fact: Fact, now: datetime) -> None:
        """A database that was restored counts what it had forgotten, and goes on."""

    def worded(self, tx: Transaction, key: PoolKey, denied: Denied, now: datetime) -> Denied:
        """What the pool says is what there is to say."""
        return denied


class Lent:
    """A local server may serve what verified grants lend: its tables hold nothing else."""

    def pools_for_codes(
        self, tx: Transaction, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        return tx.pools_for_codes(asked)

    def noticed(self, tx: Transaction, key: PoolKey, fact: Fact, now: datetime) -> None:
        """A database that has forgotten what it signed, or never did, is not to be believed until the vendor says so."""
        assert isinstance(tx, SqlTransaction)
        state = SiteState.CLONED if isinstance(fact, CloneSuspected) else SiteState.RESTORED
        if suspect(Catalogue(tx), key[0], state, now):
            log.warning("suspect", state=state.value, tenant=key[0])

    def worded(self, tx: Transaction, key: PoolKey, denied: Denied, now: datetime) -> Denied:
        """What has ended is the grant; or the time for which a suspect server serves."""
        if denied.rule != "entitlement-expired":
            return denied
        assert isinstance(tx, SqlTransaction)
        own = next((one for one in Sites(tx).own_licenses() if one.tenant_id == key[0]), None)
        lent = next((one for one in Sites(tx).lent(key[0]) if one.key == key), None)
        over = lent is None or lent.until <= now
        return replace(denied, rule="share-expired" if own is None or over else _RULES.get(own.state, "share-expired"))


_RULES: Final = {SiteState.CLOCK: "clock", SiteState.RESTORED: "restored", SiteState.CLONED: "cloned"}
