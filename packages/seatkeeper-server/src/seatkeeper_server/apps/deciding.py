"""What decides, put together: store → keys → leasing → registrar; the same in a thread of the front and in its own process."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import current_thread, main_thread

import structlog
from msgspec import Struct

from seatkeeper_server.apps.chance import Chance
from seatkeeper_server.apps.clock import SteadyClock
from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service.desk import MAX_BATCH, Registrar
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.ports import PoolKey, Transaction
from seatkeeper_server.service.timekeeping import Timekeeper
from seatkeeper_server.store.sqlite import SqliteStore

log = structlog.get_logger("seatkeeper.desk")


class Order(Struct, frozen=True):
    """What a desk needs to know. `batch_limit` is how many calls one commit makes durable."""

    database: str
    seal_key: str
    database_id: str
    epoch: int
    batch_limit: int = MAX_BATCH
    beat: timedelta = BEAT
    log_level: str = "info"


class Sold:
    """A cloud may serve what was sold: it asks its own database."""

    def pools_for_codes(
        self, tx: Transaction, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        return tx.pools_for_codes(asked)


@contextmanager
def deciding(order: Order) -> Iterator[Registrar]:
    """Open what decides on a database that is up to date; closed at the end of the block.

    Raises:
        SealKeyError: the sealing key is missing.
        StorageFull, StorageUnavailable: the database can't be opened.
    """
    with closing(SqliteStore(Path(order.database))) as store, closing(Reader(Path(order.database))) as reader:
        keyring = Keyring(
            load=lambda tenant_id: reader.read(lambda catalogue: catalogue.keys(tenant_id)),
            seal=SealKey.load_or_create(Path(order.seal_key)),
            database_id=order.database_id,
            epoch=order.epoch,
        )
        timekeeper = Timekeeper(SteadyClock(), beat=order.beat, on_downtime=_log_downtime)
        with store.transaction() as tx:
            timekeeper.start(tx)
        chance = Chance()
        yield Registrar(store, Leasing(Sold(), keyring, chance), timekeeper, chance)


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
