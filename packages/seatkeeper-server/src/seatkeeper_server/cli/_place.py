"""Opens the data directory for a verb: the database, the sealing key, the time. Verbs work beside a running server.

Whoever only asks reads a snapshot and holds nobody up; whoever changes something does it in a short transaction. `now` is the
server's time while one serves, and stands still while none does (`timekeeping.clerk_now`), so that a verb never ends a lease
that nobody could refresh. Data of an older schema is brought up to date by who has the directory to himself: beside an older
server that still serves it a verb changes nothing.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from seatkeeper.protocol import ids
from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.cli._failures import Unusable, wrong_values_told
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service.timekeeping import clerk_now
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.health import is_behind
from seatkeeper_server.store.locking import DirectoryInUse, DirectoryLock
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault

UPDATED_WITHIN = timedelta(seconds=3)  # how long a server that has just been started may take to bring its data up to date
LOOK_EVERY = 0.05  # seconds

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Desk:
    """One transaction or snapshot: what is sold, and the time. `today` is the calendar's, `now` the leases'."""

    catalogue: Catalogue
    now: datetime
    today: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """An opened data directory."""

    settings: Settings
    store: SqliteStore
    reader: Reader

    @contextmanager
    def transaction(self) -> Iterator[Desk]:
        """Open a short transaction that may change something."""
        with self.store.transaction() as tx:
            yield _desk(Catalogue(tx))

    def read(self, question: Callable[[Desk], Result]) -> Result:
        """Have a question answered from one snapshot."""
        return self.reader.read(lambda catalogue: question(_desk(catalogue)))

    def vault(self, desk: Desk) -> KeyVault:
        """Give the keys and codes of the database.

        Raises:
            SealKeyError: the sealing key is missing, or isn't a key.
        """
        return KeyVault(desk.catalogue, self.seal_key(desk))

    def seal_key(self, desk: Desk) -> SealKey:
        """Give the sealing key. It is made only while nothing has been sealed yet: a new one would open nothing.

        Raises:
            SealKeyError: it is missing, or isn't a key.
        """
        path = self.settings.seal_key_path
        if desk.catalogue.tenants() and not path.exists():
            raise SealKeyError(f"{path} is missing, and the keys in this database are sealed with it: put it back")
        return SealKey.load_or_create(path)


def _desk(catalogue: Catalogue) -> Desk:
    today = datetime.now(UTC)
    return Desk(catalogue, clerk_now(catalogue.tx, today), today)


@contextmanager
def opened(data: Path | None, *, create: bool = False) -> Iterator[Place]:
    """Open the data directory; `create` makes one that isn't there.

    Raises:
        Unusable: there is none, it can't be made, or an older server is serving it.
        SchemaTooNew: it was written by newer code.
    """
    with wrong_values_told():
        settings = Settings() if data is None else Settings(data=data)
    path = settings.database_path
    if create:
        _make(settings.data)
    elif not path.exists():
        raise Unusable(
            f"there is no Seatkeeper data in {settings.data}: name its directory with --data or SEATKEEPER_DATA,"
            " or begin with `seatkeeper sell` or `seatkeeper cloud`"
        )
    store, reader = SqliteStore(path), Reader(path)
    try:
        now = datetime.now(UTC)
        _bring_up_to_date(settings, store, now)
        if create:
            store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), now)
        yield Place(settings, store, reader)
    finally:
        reader.close()
        store.close()


def _bring_up_to_date(settings: Settings, store: SqliteStore, now: datetime) -> None:
    """Apply the steps that the schema lacks. Who has the directory meanwhile is a server that does so too, or an older one."""
    deadline = time.monotonic() + UPDATED_WITHIN.total_seconds()
    while is_behind(store):
        try:
            with DirectoryLock(settings.data):
                store.migrate(now)
        except DirectoryInUse as error:
            if time.monotonic() >= deadline:
                raise Unusable(
                    f"the data in {settings.data} is older than this Seatkeeper, and an older server is serving it: stop that"
                    " server and start it with this version, which brings the data up to date"
                ) from error
            time.sleep(LOOK_EVERY)
    store.migrate(now)  # a new database gets its tables; one of newer code is refused


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"the data directory {directory} can't be made: {error.strerror or error}") from error
