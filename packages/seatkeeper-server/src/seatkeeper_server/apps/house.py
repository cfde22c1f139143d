"""A license server, put together, of whichever kind: what a vendor's cloud server and a site's local one have in common.

    settings → store, keys, clock → leasing → desks → front → uvicorn

With several workers the parent opens the socket, and each worker, a process, the rest of it on the same database.
Everything is opened in that order and closed in the opposite one, so that no answer is given by something half closed.

What differs between kinds is in a `Kind`: `cloud.py` and `local.py` make theirs, and nothing in here asks which one it is.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from mmap import mmap

from seatkeeper.protocol import ids
from seatkeeper.protocol.documents import ActivationEntitlement
from seatkeeper_server.apps.chores import Chores
from seatkeeper_server.apps.clock import SteadyClock
from seatkeeper_server.apps.deciding import Order, deciding
from seatkeeper_server.apps.desks import AnyDesk, Desks
from seatkeeper_server.apps.door import Door
from seatkeeper_server.apps.process import log_to_stderr, spare_the_collector
from seatkeeper_server.apps.remote_desk import RemoteDesk
from seatkeeper_server.apps.serving import Server, listen, tls_context, url_of
from seatkeeper_server.apps.serving import serve as serve_http
from seatkeeper_server.apps.storage import AnyStore, Reads, Storage, storage_of
from seatkeeper_server.apps.unsealing import key_at, unopened
from seatkeeper_server.apps.workers import Crew, Worker
from seatkeeper_server.http.application import Application, Further, application
from seatkeeper_server.http.counting import PROCESS_BYTES, Board
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.licensing import Front
from seatkeeper_server.http.metrics import Metrics, PoolUse, Readers
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.keys import Keyring, KeyRow
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service import reporting
from seatkeeper_server.service.desk import Desk
from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.service.tidying import CHECKPOINT, Tidying
from seatkeeper_server.service.timekeeping import ClockState, Timekeeper
from seatkeeper_server.settings import Settings

Kept = list[list[KeyRow]]


@dataclass(frozen=True, slots=True)
class House:
    """A server that is open and not yet listening. `words` are lines about what its first start has made."""

    app: Application
    desk: AnyDesk
    keyring: Keyring
    clock_state: ClockState
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fittings:
    """What of a server its further application may use. `beside` has something done for as long as the server is open."""

    settings: Settings
    store: AnyStore
    reader: Reads
    seal: SealKey
    keyring: Keyring
    tenants: Tenants
    failures: Failures
    beside: Callable[[AbstractContextManager[None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What one kind of server has and others don't.

    `authority` is its desks' (`deciding.AUTHORITIES`); `further` makes what answers everything that is not hot; `first_words`
    makes on a first start what lies beside the database, and gives lines about it, to be said once.
    """

    name: str
    authority: str
    further: Callable[[Fittings], Further]
    chores: type[Chores] = Chores
    first_words: Callable[[Settings], Sequence[str]] = lambda settings: ()


@dataclass(frozen=True, slots=True)
class _Base:
    """The database of a server, up to date, and what it takes to read it."""

    storage: Storage
    store: AnyStore
    reader: Reads
    clock: SteadyClock
    clock_state: ClockState
    database_id: str
    epoch: int
    seal: SealKey


@contextmanager
def _based(settings: Settings) -> Iterator[_Base]:
    """Open the database, which is made if there is none, and bring it up to date."""
    with ExitStack() as opened:
        _make_directory(settings)
        storage = storage_of(settings)
        opened.enter_context(storage.claimed())
        clock, store = SteadyClock(), opened.enter_context(closing(storage.store()))
        store.migrate(clock.now())
        database_id, epoch = store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), clock.now())
        with store.transaction() as tx:
            clock_state = Timekeeper(clock).start(tx)
        reader = opened.enter_context(closing(storage.reader()))
        seal = _seal_key(settings, storage, reader)
        yield _Base(storage, store, reader, clock, clock_state, database_id, epoch, seal)


@contextmanager
def build(kind: Kind, settings: Settings, board: Board | None = None) -> Iterator[House]:
    """Open a server on its data, which is made if there is none; closed at the end of the block.

    A `board` is what several workers count on.

    Raises:
        DirectoryInUse: another server has the directory.
        SchemaTooNew: the data was written by newer code.
        SealKeyError: the sealing key is missing or does not fit.
        StorageFull, StorageUnavailable: the database can't be opened.
    """
    with ExitStack() as opened:
        base = opened.enter_context(_based(settings))
        keyring = Keyring(
            load=lambda tenant_id: base.reader.read(lambda catalogue: catalogue.keys(tenant_id)),
            seal=base.seal,
            database_id=base.database_id,
            epoch=base.epoch,
        )
        tidying = Tidying(lambda tenant_id, payload: keyring.sign_document(tenant_id, payload, typ=CHECKPOINT))
        chores = kind.chores(
            store=base.store, seal=base.seal, database_id=base.database_id, tidying=tidying, now=base.clock.now
        )
        chores.renew_keys()
        opened.enter_context(chores.being_done())

        reports = _Reports(opened.enter_context(closing(base.storage.reader())), base.clock.now)
        metrics = Metrics(reports.pool_uses, most_pools=settings.metrics_pools, readers=_readers(settings), board=board)
        desk = opened.enter_context(_desk(kind, settings, base, metrics))
        tenants = opened.enter_context(closing(Tenants(keyring)))
        failures = Failures(settings.failures_per_minute)
        front = Front(
            desk=desk,
            keyring=keyring,
            tenants=tenants,
            entitlements=reports.entitlement,
            failures=failures,
            metrics=metrics,
            contact=settings.contact,
        )
        words = kind.first_words(settings)
        further = kind.further(
            Fittings(
                settings=settings,
                store=base.store,
                reader=opened.enter_context(closing(base.storage.reader())),  # its own: who reports must not delay keys
                seal=base.seal,
                keyring=keyring,
                tenants=tenants,
                failures=failures,
                beside=opened.enter_context,
            )
        )
        health = Health(desk=lambda: desk.trouble)
        app = application(front, health, further=further, access_log=settings.log_level == "debug")
        yield House(app, desk, keyring, base.clock_state, words)


def print_line(line: str) -> None:
    """Print what a server says when it begins to serve."""
    print(line, flush=True)  # noqa: T201  (the command's output)


def serve(
    kind: Kind,
    settings: Settings,
    *,
    announce: Callable[[str], None] = print_line,
    running: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until SIGTERM or SIGINT. The start line goes to `announce`; `running` is handed what can stop the server.

    Raises:
        CannotServe: it can't listen as it was told to.
        DirectoryInUse, SchemaTooNew, SealKeyError, StorageFull, StorageUnavailable: see `build`.
    """
    log_to_stderr(settings.log_level)
    if settings.workers > 1:
        _serve_with_workers(kind, settings, announce)
        return
    # It listens before everything is open, so that who comes early waits a moment rather than being refused.
    with closing(listen(settings)) as listener, build(kind, settings) as house:
        spare_the_collector()

        def listening(url: str) -> None:
            _say(settings, url, [start_line(kind, settings, url, house.clock_state), *house.words], announce)

        serve_http(house.app, settings, listening, running=running, protocol=Door, listener=listener)


def _serve_with_workers(kind: Kind, settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve with several processes on one socket. What is wrong with the settings or the data is found before they start."""
    tls_context(settings)
    with _based(settings) as base:
        clock_state = base.clock_state
    memory = mmap(-1, settings.workers * PROCESS_BYTES)
    listener = listen(settings)
    words = kind.first_words(settings)
    url = url_of(settings, listener)

    def work(place: int, worker: Worker) -> None:
        with build(kind, settings, Board(memory, place)) as house:
            spare_the_collector()
            serve_http(
                house.app,
                settings,
                lambda url: worker.serves(),
                running=worker.obeys,
                protocol=Door,
                listener=listener,
                shares=worker.shares,
            )

    lines = [start_line(kind, settings, url, clock_state), *words]
    Crew(settings.workers, work, stops_within=settings.stop_within).run(listener, lambda: _say(settings, url, lines, announce))


def _say(settings: Settings, url: str, lines: Sequence[str], announce: Callable[[str], None]) -> None:
    with suppress(OSError):  # where there is no data directory, `sell --env` has to be told the URL
        settings.url_path.write_text(url, encoding="ascii")
    for line in lines:
        announce(line)


def start_line(kind: Kind, settings: Settings, url: str, clock: ClockState) -> str:
    """Say where the server listens, for whom, and where its data lies."""
    reach = "this machine only; --host 0.0.0.0 opens it to the network" if settings.is_local_only else "the network"
    if not settings.is_local_only and settings.tls_cert is None:
        reach += ", WITHOUT TLS: use --tls-cert and --tls-key, or a proxy that has it"
    where = settings.data if settings.database is None else storage_of(settings).name
    suspect = (
        "" if clock is ClockState.OK else f" · {clock.value}: the clock is behind what was recorded, see `seatkeeper doctor`"
    )
    crew = f" · {settings.workers} workers" if settings.workers > 1 else ""
    return f"seatkeeper {kind.name}: {url} · for {reach} · data {where}{crew}{suspect}"


def _make_directory(settings: Settings) -> None:
    """Make the data directory, unless nothing has to lie in it.

    Raises:
        StorageUnavailable: it can't be made.
    """
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if settings.database is not None and settings.seal_key_file is not None:
            return  # nothing has to lie in it
        raise StorageUnavailable(f"the data directory {settings.data} can't be made: {error.strerror or error}") from error


def _seal_key(settings: Settings, storage: Storage, reader: Reads) -> SealKey:
    """Read or make the sealing key, and see that it fits: better no server than one that finds out at the first request."""
    kept: Kept = reader.read(lambda catalogue: [catalogue.keys(tenant.tenant_id) for tenant in catalogue.tenants()])
    seal = key_at(settings.seal_key_path, storage.name, is_new=not kept)
    if (error := unopened(seal, kept)) is not None:
        raise SealKeyError(f"{settings.seal_key_path} with {storage.name}: {error}") from error
    return seal


@contextmanager
def _desk(kind: Kind, settings: Settings, base: _Base, metrics: Metrics) -> Iterator[AnyDesk]:
    """Open the desk, or several, each in a process of its own where there is a second processor for it."""
    order = Order(
        database=base.storage.address,
        prepare=settings.database_prepare,
        seal_key=str(settings.seal_key_path),
        database_id=base.database_id,
        epoch=base.epoch,
        batch_limit=settings.batch_limit,
        log_level=settings.log_level,
        authority=kind.authority,
    )
    with ExitStack() as opened:
        desks = [opened.enter_context(_one_desk(settings, order, metrics)) for _ in range(settings.desk_count)]
        yield desks[0] if len(desks) == 1 else Desks(desks)


@contextmanager
def _one_desk(settings: Settings, order: Order, metrics: Metrics) -> Iterator[Desk | RemoteDesk]:
    with ExitStack() as opened:
        desk: Desk | RemoteDesk
        if settings.has_desk_process:
            desk = RemoteDesk(order, max_waiting=settings.queue_limit, on_batch=metrics.batch)
        else:
            registrar = opened.enter_context(deciding(order))
            desk = Desk(
                registrar,
                max_batch=settings.batch_limit,
                max_waiting=settings.queue_limit,
                on_batch=metrics.batch,
            )
        desk.open()
        opened.callback(desk.close)
        yield desk


def _readers(settings: Settings) -> Readers:
    token = settings.metrics_token
    return Readers(everybody=settings.metrics_open, token=None if token is None else token.get_secret_value())


@dataclass(frozen=True, slots=True)
class _Reports:
    """What is read beside the desk."""

    reader: Reads
    now: Callable[[], datetime]

    def entitlement(self, tenant_id: str, entitlement_id: str) -> ActivationEntitlement | None:
        """Give what an application may read of its entitlement's commercial side."""
        return self.reader.read(
            lambda catalogue: reporting.activation_entitlement(catalogue, tenant_id, entitlement_id, self.now())
        )

    def pool_uses(self) -> list[PoolUse]:
        """Give how full every entitlement is."""
        return [
            PoolUse(each.bought.tenant, each.bought.entitlement_id, each.bought.product, each.used, each.seats)
            for each in self.reader.read(lambda catalogue: reporting.overviews(catalogue, self.now(), datetime.now(UTC)))
        ]
