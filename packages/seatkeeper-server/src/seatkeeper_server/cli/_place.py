"""Opens the data for a verb: the database, the sealing key, the time. Verbs work beside running servers.

Whoever only asks reads a snapshot and holds nobody up; whoever changes something does it in a short transaction. `now` is the
server's time while one serves, and stands still while none does (`timekeeping.clerk_now`), so that a verb never ends a lease
that nobody could refresh. Data of an older schema is brought up to date as far as that breaks no older server that serves it
(`Storage.bring_up_to_date`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from seatkeeper.protocol import ids
from seatkeeper_server.apps.storage import AnyStore, OlderServer, Reads, Storage, storage_of
from seatkeeper_server.apps.unsealing import key_at, unopened
from seatkeeper_server.cli._failures import Unusable, wrong_values_told
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.timekeeping import clerk_now
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.vault import KeyVault

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Desk:
    """One transaction or snapshot: what is sold, and the time. `today` is the calendar's, `now` the leases'."""

    catalogue: Catalogue
    now: datetime
    today: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """An opened database."""

    settings: Settings
    storage: Storage
    store: AnyStore
    reader: Reads

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
            SealKeyError: the sealing key is missing, isn't a key, or opens nothing in this database.
        """
        seal, tenants = self.seal_key(desk), desk.catalogue.tenants()
        if tenants and all(unopened(seal, [desk.catalogue.keys(tenant.tenant_id)]) for tenant in tenants):
            raise SealKeyError(
                f"{self.settings.seal_key_path} does not open the keys in {self.storage.name}: every host that works with this"
                " database needs the key file it was made with; name it with --data or SEATKEEPER_SEAL_KEY_FILE"
            )
        return KeyVault(desk.catalogue, seal)

    def seal_key(self, desk: Desk) -> SealKey:
        """Give the sealing key. It is made only while nothing has been sealed yet: a new one would open nothing.

        Raises:
            SealKeyError: it is missing, or isn't a key.
        """
        return key_at(self.settings.seal_key_path, self.storage.name, is_new=not desk.catalogue.tenants())


def refuse_local(desk: Desk) -> None:
    """Leave what was lent to a local server as it is.

    Raises:
        CannotDo: this is a local server's data.
    """
    if desk.catalogue.sites.own_licenses():
        raise CannotDo("this is a local license server: only the vendor changes what was lent to it (`seatkeeper site lend`)")


def _desk(catalogue: Catalogue) -> Desk:
    today = datetime.now(UTC)
    return Desk(catalogue, clerk_now(catalogue.tx, today), today)


@contextmanager
def opened(data: Path | None, database: str | None = None, *, create: bool = False) -> Iterator[Place]:
    """Open the data; `create` makes what isn't there.

    Raises:
        Mistyped: the database's URL can't be read.
        Unusable: there is none, it can't be made, or an older server is serving it.
        SchemaTooNew: it was written by newer code.
    """
    given = {"data": data, "database": database}
    with wrong_values_told():
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    storage = storage_of(settings)
    if create:
        _make(settings)
    elif not storage.is_there():
        raise Unusable(_nothing_there(settings, storage))
    with closing(storage.store()) as store, closing(storage.reader()) as reader:
        now = datetime.now(UTC)
        try:
            storage.bring_up_to_date(store, now)
        except OlderServer as error:
            raise Unusable(str(error)) from error
        if create:
            store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), now)
        yield Place(settings, storage, store, reader)


def _nothing_there(settings: Settings, storage: Storage) -> str:
    begin = "or begin with `seatkeeper sell` or `seatkeeper cloud`"
    if settings.database is not None:
        return (
            f"there is no Seatkeeper data in {storage.name}: name its database with --database or SEATKEEPER_DATABASE, {begin}"
        )
    return f"there is no Seatkeeper data in {settings.data}: name its directory with --data or SEATKEEPER_DATA, {begin}"


def _make(settings: Settings) -> None:
    """Make the data directory. Beside a PostgreSQL database it is only for the sealing key, which makes it if need be."""
    if settings.database is not None:
        return
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"the data directory {settings.data} can't be made: {error.strerror or error}") from error
