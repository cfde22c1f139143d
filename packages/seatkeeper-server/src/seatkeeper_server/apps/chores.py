"""What a running server does on the side: renews keys before they wear out, and tidies. In a thread, in short transactions.

Nothing is served late or wrongly while a chore waits: a key is renewed when a third of its year is left, and what is tidied
is of no use to anybody. So trouble is logged, and the chore is done the next time.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread

import structlog

from seatkeeper_server.apps.storage import AnyStore
from seatkeeper_server.keys import KeyRow, renewed_signing_key
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.suspicion import look_after
from seatkeeper_server.service.tidying import ChainIsBroken, Tidying
from seatkeeper_server.service.usage import roll_up
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.pruning import Pruning

EVERY = timedelta(minutes=1)
ROLLED_UP_EVERY = timedelta(minutes=15)  # whoever looks at usage has it rolled up at once
BREATHER = 0.02  # seconds between two parts, in which whoever waits gets his turn
HOLDERS_EVERY = timedelta(hours=6)  # it looks at every holder

log = structlog.get_logger("seatkeeper.chores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chores:
    """The chores of one server."""

    store: AnyStore
    seal: SealKey
    database_id: str
    tidying: Tidying
    now: Callable[[], datetime]

    def renew_keys(self) -> None:
        """Renew every signing key of which less than a third of its validity is left; of several servers one does it."""
        with self.store.transaction() as tx:
            catalogue = Catalogue(tx)
            worn = [tenant.tenant_id for tenant in catalogue.tenants() if self._renewed(catalogue, tenant.tenant_id)]
            tx.lock_chains([(tenant_id, tenant_id) for tenant_id in worn])  # and see what has become of it meanwhile
            for tenant_id in worn:
                for row in self._renewed(catalogue, tenant_id):
                    catalogue.add_key(row)
                    log.info("key.renewed", tenant=tenant_id, kid=row.kid, state=row.state)

    def _renewed(self, catalogue: Catalogue, tenant_id: str) -> list[KeyRow]:
        kept = catalogue.keys(tenant_id)
        return renewed_signing_key(kept, database_id=self.database_id, seal=self.seal, now=self.now(), random=os.urandom)

    def tidy(self, over: Event) -> None:
        """Tidy step by step, each a transaction of its own, so that the desk gets its turn in between."""
        with self._step() as kept:
            self.tidying.forget(kept, self.now())
        with self._step() as kept:
            chains = self.tidying.old_chains(kept, self.now())
        for key in chains:
            try:
                self._prune(key, over)
            except ChainIsBroken as error:
                log.error("chain.broken", tenant=key[0], chain=key[1], reason=str(error))

    def _prune(self, key: PoolKey, over: Event) -> None:
        if key[0] != key[1]:
            self._roll_up(key, over)  # first, as what is pruned can't be any more
        more = True
        while more and not over.is_set():
            with self._step() as kept:
                more = self.tidying.prune(kept, key, self.now())

    def forget_holders(self) -> None:
        """Forget names and addresses that nothing speaks of any more."""
        more = True
        while more:
            with self._step() as kept:
                more = self.tidying.forget_holders(kept, self.now())

    def roll_up(self, over: Event) -> None:
        """Roll up what has happened, some facts at a time, each a transaction of its own."""
        with self.store.transaction() as tx:
            behind = Catalogue(tx).usage.behind()
        for key in behind:
            self._roll_up(key, over)

    def _roll_up(self, key: PoolKey, over: Event) -> None:
        more = True
        while more and not over.wait(BREATHER):
            with self.store.transaction() as tx:
                more = roll_up(Catalogue(tx), key)

    @contextmanager
    def _step(self) -> Iterator[Pruning]:
        with self.store.transaction() as tx:
            yield Pruning(tx)

    @contextmanager
    def being_done(self) -> Iterator[None]:
        """Do the chores every minute, as long as the block lasts."""
        over = Event()
        thread = Thread(target=self._run, args=(over,), name="chores", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _run(self, over: Event) -> None:
        forgot_at = rolled_up_at = self.now()
        while not over.wait(EVERY.total_seconds()):
            try:
                self.renew_keys()
                if self.now() - rolled_up_at >= ROLLED_UP_EVERY:
                    rolled_up_at = self.now()
                    self.roll_up(over)
                self.tidy(over)
                if self.now() - forgot_at >= HOLDERS_EVERY:
                    self.forget_holders()
                    forgot_at = self.now()
            except Exception as error:
                log.warning("chores.put_off", reason=str(error), exc_info=error)


class SiteChores(Chores):
    """The chores of a local server. Its keys are certified by the vendor, anew with every grant, and not by itself."""

    def renew_keys(self) -> None:
        """Look after what was lent: there is no root key here to renew others by."""
        with self.store.transaction() as tx:
            said = look_after(Catalogue(tx), self.now())
        for sentence in said:
            log.warning("lent", what=sentence)
