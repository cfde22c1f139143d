"""The vendor's cloud server, put together: the only module that knows which parts it is made of.

    settings → store, keys, clock → leasing → desk → front → uvicorn

Everything is opened in that order and closed in the opposite one, so that no answer is given by something half closed.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import structlog

from seatkeeper.protocol import ids
from seatkeeper.protocol.documents import ActivationEntitlement
from seatkeeper_server.apps.clock import SteadyClock
from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.apps.serving import Server, log_to_stderr
from seatkeeper_server.apps.serving import serve as serve_http
from seatkeeper_server.http.application import Application, application
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.licensing import Front
from seatkeeper_server.http.metrics import Metrics, PoolUse
from seatkeeper_server.keys import Keyring, SealKey, SealKeyError, TenantKeys, renewed_signing_key
from seatkeeper_server.service import reporting
from seatkeeper_server.service.desk import Desk
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.ports import PoolKey, StorageFull, StorageUnavailable, Transaction
from seatkeeper_server.service.timekeeping import ClockState, Timekeeper
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.sqlite import SqliteStore

KEYS_LOOKED_AT = timedelta(days=1)  # how often a running server sees whether a signing key wears out

log = structlog.get_logger("seatkeeper.cloud")


class Sold:
    """A cloud may serve what was sold: it asks its own database."""

    def pools_for_codes(
        self, tx: Transaction, asked: Sequence[tuple[str, str, str, str | None]]
    ) -> Mapping[tuple[str, str, str], list[PoolKey]]:
        """Find the pools that (tenant, code hash, product, edition or None) may use, by the first three."""
        return tx.pools_for_codes(asked)


@dataclass(frozen=True, slots=True)
class Cloud:
    """A server that is open and not yet listening."""

    app: Application
    desk: Desk
    health: Health
    keyring: Keyring
    clock_state: ClockState


@contextmanager
def build(settings: Settings) -> Iterator[Cloud]:
    """Open a server on its data directory, which is made if there is none; closed at the end of the block.

    Raises:
        DirectoryInUse: another server has the directory.
        SchemaTooNew: the data was written by newer code.
        SealKeyError: the sealing key is missing or does not fit.
        StorageFull, StorageUnavailable: the database can't be opened.
    """
    with ExitStack() as closing:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        closing.enter_context(DirectoryLock(settings.data))
        clock, store = SteadyClock(), SqliteStore(settings.database_path)
        closing.callback(store.close)
        store.migrate(clock.now())
        database_id, epoch = store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), clock.now())
        timekeeper = Timekeeper(clock, on_downtime=_log_downtime)
        with store.transaction() as tx:
            clock_state = timekeeper.start(tx)

        seal = _seal_key(settings, store)
        keys = _Keys(store, seal, database_id, clock.now)
        keys.renew()
        closing.enter_context(keys.renewing())
        for_keys, for_reports = Reader(settings.database_path), Reader(settings.database_path)
        closing.callback(for_keys.close)
        closing.callback(for_reports.close)
        keyring = Keyring(
            load=lambda tenant_id: for_keys.read(lambda catalogue: catalogue.keys(tenant_id)),
            seal=seal,
            database_id=database_id,
            epoch=epoch,
        )

        metrics = Metrics(
            lambda: for_reports.read(lambda sold: _pool_uses(sold, clock.now())), most_pools=settings.metrics_pools
        )
        leasing = Leasing(Sold(), keyring, os.urandom)
        desk = Desk(
            store,
            leasing,
            timekeeper,
            os.urandom,
            max_batch=settings.batch_limit,
            max_waiting=settings.queue_limit,
            on_batch=metrics.batch,
        )
        desk.open()
        closing.callback(desk.close)

        def entitlement(tenant_id: str, entitlement_id: str) -> ActivationEntitlement | None:
            return for_reports.read(lambda sold: reporting.activation_entitlement(sold, tenant_id, entitlement_id, clock.now()))

        front = Front(
            desk=desk,
            keyring=keyring,
            entitlements=entitlement,
            failures=Failures(settings.failures_per_minute),
            metrics=metrics,
            contact=settings.contact,
        )
        health = Health()
        app = application(front, health, access_log=settings.log_level == "debug")
        yield Cloud(app, desk, health, keyring, clock_state)


def serve(
    settings: Settings,
    *,
    announce: Callable[[str], None] = lambda line: print(line, flush=True),  # noqa: T201  (the command's one line of output)
    running: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until SIGTERM or SIGINT. The start line goes to `announce`; `running` is handed what can stop the server.

    Raises:
        CannotServe: it can't listen as it was told to.
        DirectoryInUse, SchemaTooNew, SealKeyError, StorageFull, StorageUnavailable: see `build`.
    """
    log_to_stderr(settings.log_level)
    with build(settings) as cloud:
        serve_http(cloud.app, settings, lambda url: announce(start_line(settings, url, cloud.clock_state)), running=running)


def start_line(settings: Settings, url: str, clock: ClockState) -> str:
    """Say where the server listens, for whom, and where its data lies."""
    reach = "this machine only; --host 0.0.0.0 opens it to the network" if settings.is_local_only else "the network"
    if not settings.is_local_only and settings.tls_cert is None:
        reach += ", WITHOUT TLS: use --tls-cert and --tls-key, or a proxy that has it"
    suspect = (
        "" if clock is ClockState.OK else f" · {clock.value}: the clock is behind what was recorded, see `seatkeeper doctor`"
    )
    return f"seatkeeper cloud: {url} · for {reach} · data {settings.data}{suspect}"


# --- keys ----------------------------------------------------------------------------------------------------------


def _seal_key(settings: Settings, store: SqliteStore) -> SealKey:
    """Read or make the sealing key, and see that it fits: better no server than one that finds out at the first request."""
    with store.transaction() as tx:
        catalogue = Catalogue(tx)
        rows = [catalogue.keys(tenant.tenant_id) for tenant in catalogue.tenants()]
    path = settings.seal_key_path
    if any(rows) and not path.exists():
        raise SealKeyError(f"{path} is missing, and the keys in {settings.database_path} are sealed with it: put it back")
    seal = SealKey.load_or_create(path)
    for tenants in rows:
        TenantKeys(tenants, seal)
    return seal


@dataclass(frozen=True, slots=True)
class _Keys:
    """Sees to it that no signing key wears out."""

    store: SqliteStore
    seal: SealKey
    database_id: str
    now: Callable[[], datetime]

    def renew(self) -> None:
        """Renew every signing key of which less than a third of its validity is left."""
        with self.store.transaction() as tx:
            catalogue = Catalogue(tx)
            for tenant in catalogue.tenants():
                kept = catalogue.keys(tenant.tenant_id)
                for row in renewed_signing_key(
                    kept, database_id=self.database_id, seal=self.seal, now=self.now(), random=os.urandom
                ):
                    catalogue.add_key(row)
                    log.info("key.renewed", tenant=tenant.tenant_id, kid=row.kid, state=row.state)

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Look once a day, as long as the block lasts."""
        over = Event()
        thread = Thread(target=self._look, args=(over,), name="keys", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, over: Event) -> None:
        while not over.wait(KEYS_LOOKED_AT.total_seconds()):
            try:
                self.renew()
            except (StorageFull, StorageUnavailable) as error:
                log.warning("key.renewal_put_off", reason=str(error))  # a third of a year is left to try again


# --- what is read ---------------------------------------------------------------------------------------------------


def _pool_uses(catalogue: Catalogue, now: datetime) -> list[PoolUse]:
    return [
        PoolUse(each.bought.tenant, each.bought.entitlement_id, each.bought.product, each.used, each.seats)
        for each in reporting.overviews(catalogue, now, datetime.now(UTC))
    ]


def _log_downtime(gap: timedelta, places: int) -> None:
    log.warning("downtime.given_back", seconds=gap.total_seconds(), places=places)
