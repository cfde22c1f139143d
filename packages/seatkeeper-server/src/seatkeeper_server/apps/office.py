"""Where everything that is not hot is done on a running server: short transactions and snapshots, from any thread.

What is in one is a *visit*: the catalogue, the vault, the time, and the use cases of this kind of server. The time is the
server's own (`timekeeping.clerk_now`), as it is for the verbs that work beside it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from seatkeeper_server.apps.storage import AnyStore, Reads
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service.ports import Conflict
from seatkeeper_server.service.timekeeping import clerk_now
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.vault import KeyVault

TRIES: Final = 8  # times something is done again because another server was in its way

Visit = TypeVar("Visit")
Result = TypeVar("Result")


class Office(Generic[Visit]):
    """Opens visits, each made by `opened` of a catalogue, a vault, leases' and calendar's time; `after` hears of changes."""

    def __init__(
        self,
        store: AnyStore,
        reader: Reads,
        seal: SealKey,
        opened: Callable[[Catalogue, KeyVault, datetime, datetime], Visit],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._reader, self._seal, self._opened, self._after = store, reader, seal, opened, after

    def do(self, work: Callable[[Visit], Result]) -> Result:
        """Have something done in one transaction; what it comes to is durable when it is given.

        Raises:
            StorageFull, StorageUnavailable: nothing was acknowledged.
        """
        for _ in range(TRIES - 1):
            try:
                return self._done(work)
            except Conflict:
                continue
        return self._done(work)

    def read(self, question: Callable[[Visit], Result]) -> Result:
        """Have a question answered from one snapshot, which waits for nobody.

        Raises:
            StorageUnavailable: the database can't be read.
        """
        return self._reader.read(lambda catalogue: question(self._visit(catalogue)))

    def _done(self, work: Callable[[Visit], Result]) -> Result:
        with self._store.transaction() as tx:
            result = work(self._visit(Catalogue(tx)))
        self._after()
        return result

    def _visit(self, catalogue: Catalogue) -> Visit:
        today = datetime.now(UTC)
        return self._opened(catalogue, KeyVault(catalogue, self._seal), clerk_now(catalogue.tx, today), today)
