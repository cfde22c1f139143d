"""What decides, put together: store → keys → leasing → registrar; the same in a thread of the front and in its own process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from seatkeeper_server.apps.authorities import Lent, Sold
from seatkeeper_server.apps.chance import Chance
from seatkeeper_server.apps.clock import SteadyClock
from seatkeeper_server.apps.storage import Storage, storage_at
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service.desk import MAX_BATCH, Registrar
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.ports import Authority, StorageUnavailable
from seatkeeper_server.service.timekeeping import Timekeeper

VERSION: Final = version("seatkeeper-server")  # of the code that runs, also after a newer one was installed over it

SOLD: Final = "sold"
LENT: Final = "lent"

log = structlog.get_logger("seatkeeper.desk")


class Order(Struct, frozen=True):
    """What a desk needs to know. `batch_limit` is how many calls one commit makes durable; `version` is the front's code's.

    `authority` says what may be served: one of `AUTHORITIES`.
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
    authority: str = SOLD

    def __repr__(self) -> str:
        """Give what may be shown."""
        return f"Order({storage_at(self.database).name})"


AUTHORITIES: Final[Mapping[str, Callable[[], Authority]]] = {SOLD: Sold, LENT: Lent}


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
        yield Registrar(store, Leasing(AUTHORITIES[order.authority](), keyring, chance), timekeeper, chance)


def _see_that_it_is_there(order: Order, storage: Storage, seal_key: Path) -> None:
    if order.version != VERSION:
        raise StorageUnavailable(
            f"version {VERSION} was installed over version {order.version}, which still serves: start the server anew"
        )
    if not storage.is_there():
        raise StorageUnavailable(f"{storage.name} has gone: put it back, then start the server anew")
    if not seal_key.exists():
        raise SealKeyError(f"{seal_key} is missing, and the keys in {storage.name} are sealed with it: put it back")


def _log_downtime(gap: timedelta, places: int) -> None:
    log.warning("downtime.given_back", seconds=gap.total_seconds(), places=places)
