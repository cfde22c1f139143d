"""Opens the data directory for a verb: the database, the sealing key, the time. Verbs work beside a running server.

Each transaction is short. Its `now` is the server's time while one serves, and stands still while none does
(`timekeeping.clerk_now`), so that a verb never ends a lease that nobody could refresh.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seatkeeper.protocol import ids
from seatkeeper_server.cli._failures import Unusable, wrong_values_told
from seatkeeper_server.keys import SealKey
from seatkeeper_server.service.timekeeping import clerk_now
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault


@dataclass(frozen=True, slots=True)
class Desk:
    """One transaction: what is sold, and the time. `today` is the calendar's, `now` the leases'."""

    catalogue: Catalogue
    now: datetime
    today: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """An opened data directory."""

    settings: Settings
    store: SqliteStore

    @contextmanager
    def transaction(self) -> Iterator[Desk]:
        """Open a short transaction."""
        with self.store.transaction() as tx:
            today = datetime.now(UTC)
            yield Desk(Catalogue(tx), clerk_now(tx, today), today)

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        """Open a short transaction for somebody who needs no time."""
        with self.transaction() as desk:
            yield desk.catalogue

    def vault(self, desk: Desk) -> KeyVault:
        """Give the keys. A sealing key is made only while nothing has been sealed yet: a new one could open nothing."""
        path = self.settings.seal_key_path
        seal = SealKey.load(path) if desk.catalogue.tenants() else SealKey.load_or_create(path)
        return KeyVault(desk.catalogue, seal)


@contextmanager
def opened(data: Path | None, *, create: bool = False) -> Iterator[Place]:
    """Open the data directory; `create` makes one that isn't there.

    Raises:
        Unusable: there is none, or it can't be made.
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
    store = SqliteStore(path)
    try:
        now = datetime.now(UTC)
        store.migrate(now)
        store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), now)
        yield Place(settings, store)
    finally:
        store.close()


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"the data directory {directory} can't be made: {error.strerror or error}") from error
