"""What decides, put together: store → keys → leasing → registrar; the same in a thread of the front and in its own process."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from threading import current_thread, main_thread
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.apps.chance import Chance
from seatkeeper_server.apps.clock import SteadyClock
from seatkeeper_server.apps.storage import Storage, storage_at
from seatkeeper_server.domain.facts import CloneSuspected, Denied, Fact
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service.desk import MAX_BATCH, Registrar
from seatkeeper_server.service.grants import suspect
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.ports import PoolKey, StorageUnavailable, Transaction
from seatkeeper_server.service.timekeeping import Timekeeper
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sites import Sites
from seatkeeper_server.store.transaction import SqlTransaction

VERSION: Final = version("seatkeeper-server")  # of the code that runs, also after a newer one was installed over it

log = structlog.get_logger("seatkeeper.desk")


class Order(Struct, frozen=True):
    """What a desk needs to know. `batch_limit` is how many calls one commit makes durable; `version` is the front's code's.

    `database` is the address of a storage, in which a password may be: it travels over a socket and is not shown.
    """

    database: str
    seal_key: str
    database_id: str
    epoch: int
    batch_limit: int = MAX_BATCH
    beat: timedelta = BEAT
    log_level: str = "info"
    version: str = VERSION
    prepare: bool = True

    def __repr__(self) -> str:
        """Give what may be shown."""
        return f"Order({storage_at(self.database).name})"


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


_RULES = {SiteState.CLOCK: "clock", SiteState.RESTORED: "restored", SiteState.CLONED: "cloned"}


@contextmanager
def deciding(order: Order) -> Iterator[Registrar]:
    """Open what decides on a database that is there and up to date; closed at the end of the block.

    It makes nothing: a desk that is started again, hours after its server, must not put an empty database or a new key in the
    place of one that has gone.

    Raises:
        SealKeyError: the sealing key is missing.
        StorageFull, StorageUnavailable: the database can't be opened, or is not the one that was ordered.
    """
    storage, seal_key = storage_at(order.database, prepare=order.prepare), Path(order.seal_key)
    _see_that_it_is_there(order, storage, seal_key)
    with closing(storage.store()) as store, closing(storage.reader()) as reader:
        clock = SteadyClock()
        if store.found(order.database_id, clock.now()) != (order.database_id, order.epoch):
            raise StorageUnavailable(f"{storage.name} has been replaced by another database: start the server anew")
        keyring = Keyring(
            load=lambda tenant_id: reader.read(lambda catalogue: catalogue.keys(tenant_id)),
            seal=SealKey.load_or_create(seal_key),
            database_id=order.database_id,
            epoch=order.epoch,
        )
        timekeeper = Timekeeper(clock, beat=order.beat, on_downtime=_log_downtime)
        with store.transaction() as tx:
            timekeeper.start(tx)
        chance = Chance()
        yield Registrar(store, Leasing(Sold(), keyring, chance), timekeeper, chance)


def _see_that_it_is_there(order: Order, storage: Storage, seal_key: Path) -> None:
    if order.version != VERSION:
        raise StorageUnavailable(
            f"version {VERSION} was installed over version {order.version}, which still serves: start the server anew"
        )
    if not storage.is_there():
        raise StorageUnavailable(f"{storage.name} has gone: put it back, then start the server anew")
    if not seal_key.exists():
        raise SealKeyError(f"{seal_key} is missing, and the keys in {storage.name} are sealed with it: put it back")


def spare_the_collector() -> None:
    """Let the garbage collector look seldom, and only at what was made since: what the server is made of stays.

    Requests leave no cycles behind, but a batch makes thousands of values at once, which starts one collection after the
    other; that was a twentieth of all processor time. In a thread of somebody else's process nothing is changed.
    """
    if current_thread() is not main_thread():
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _log_downtime(gap: timedelta, places: int) -> None:
    log.warning("downtime.given_back", seconds=gap.total_seconds(), places=places)
