"""A data directory in which much has happened, with real keys, and programs that go on wherever its database goes.

estate = lived_in(tmp_path / "vendor")
estate.serve(a_store).refresh("ann")      # the same program, on another database
"""

import os
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from seatkeeper_server.domain.catalogue import Sale, Sold, Terms, read_feature
from seatkeeper_server.domain.terms import Mode
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service import administering, selling, vendors
from seatkeeper_server.service.administering import Freeing
from seatkeeper_server.service.calls import Outcome, Refused, Served, Verb, Who
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.tidying import CHECKPOINT, Tidying
from seatkeeper_server.service.timekeeping import Timekeeper
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.pruning import Pruning
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault

from .house import AnyStore, Drawer, HandClock, House, activate, held
from .house import Sold as SoldHere

FEATURES = (read_feature("render=elementPool:10"), read_feature("pages=usageCount:100"))
NAME_WITH_ZERO = "zoe\0@host"


@dataclass
class Program:
    """What a program remembers of its seat."""

    served: Served
    lease: str


@dataclass
class Estate:
    """A vendor's data, and the programs of his customer acme; `house` serves them."""

    data: Path
    seal: SealKey
    clock: HandClock
    drawer: Drawer = field(default_factory=Drawer)
    programs: dict[str, Program] = field(default_factory=dict)
    sold: dict[str, Sold] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the database lies."""
        return self.data / "seatkeeper.db"

    def serve(self, store: AnyStore) -> "Serving":
        """Serve the estate's programs from a database."""
        return Serving(self, store)


class Serving:
    """A server on one of the databases in which the estate lies, and its programs."""

    def __init__(self, estate: Estate, store: AnyStore) -> None:
        self.estate, self.store = estate, store
        with store.transaction() as tx:
            database_id, epoch = tx.query("history")[0]
            keys = {tenant_id: Catalogue(tx).keys(tenant_id) for tenant_id in tx.tenants()}
        self.keyring = Keyring(load=keys.__getitem__, seal=estate.seal, database_id=database_id, epoch=epoch)
        keeper = Timekeeper(estate.clock)
        with store.transaction() as tx:
            keeper.start(tx)
        leasing = Leasing(SoldHere(), self.keyring, estate.drawer)
        self.house = House(store, estate.clock, keeper, leasing, self.keyring, "")  # type: ignore[arg-type]  # a real signer

    def activate(
        self, name: str, *, customer: str = "acme", seat_name: str = "", key: str | None = None, **more: Any
    ) -> Outcome:
        """Have a program ask for a seat with its last lease; what it gets, it remembers."""
        sold, known = self.estate.sold[customer], self.estate.programs.get(name)
        call = activate(
            name,
            key,
            tenant_id=sold.tenant_id,
            code_hash=self.keyring.code_hash(sold.tenant_id, sold.code),
            product_id=sold.product_id,
            who=Who(seat_id=name, seat_name=seat_name or f"{name}@host"),
            last_lease=known.lease if known else None,
            **more,
        )
        return self._remembered(name, self.house.one(call))

    def refresh(self, name: str) -> Outcome:
        """Have a program keep its seat, with its nonce and its last lease."""
        program = self.estate.programs[name]
        return self.held(name, Verb.REFRESH, nonce=program.served.nonce, last_lease=program.lease)

    def held(self, name: str, verb: Verb, **more: Any) -> Outcome:
        """Have a program make a call of a seat's holder."""
        served = self.estate.programs[name].served
        return self._remembered(name, self.house.one(held(verb, served, tenant_id=served.entitlement.tenant_id, **more)))

    def _remembered(self, name: str, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Served):
            self.estate.programs[name] = Program(outcome, self.keyring.sign(outcome, "nonce-of-the-client"))
        return outcome

    def used(self, right: str = "", customer: str = "acme") -> int:
        """Give a counter."""
        entitlement = self.estate.sold[customer].entitlement_id
        return self.house.rows(f"SELECT used FROM pool_right WHERE entitlement_id = '{entitlement}' AND key = '{right}'")[0][0]

    def kinds(self, customer: str = "acme") -> list[str]:
        """Give the kinds of an entitlement's facts, in order."""
        entitlement = self.estate.sold[customer].entitlement_id
        rows = self.house.rows(f"SELECT kind FROM fact WHERE chain_id = '{entitlement}' ORDER BY number")
        return [row[0] for row in rows]


def new(data: Path) -> Estate:
    """Make a data directory in which seats were sold: three of solver to acme, one (nodeLock) to bolt, another vendor's."""
    data.mkdir(mode=0o700, parents=True)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)  # all that happens lies in the past
    estate = Estate(data, SealKey.load_or_create(data / "seal.key"), HandClock(now))
    with closing(SqliteStore(estate.path)) as store:
        store.migrate(now)
        store.found("db_" + "D" * 22, now)
        for sale in (
            Sale(customer="acme", product="solver", terms=Terms(seats=3, features=FEATURES, linger=timedelta(seconds=20))),
            Sale(customer="bolt", product="solver", terms=Terms(seats=1, mode=Mode.NODE_LOCK)),
            Sale(customer="cone", product="mesher", terms=Terms(seats=2), tenant="other", contact="licenses@example.com"),
        ):
            with store.transaction() as tx:
                catalogue = Catalogue(tx)
                vault = KeyVault(catalogue, estate.seal)
                sold = selling.sell(catalogue, vault, sale, now=now, starts_at=now, random=os.urandom)
            estate.sold[sale.customer] = sold
    return estate


def lived_in(data: Path) -> Estate:
    """Make a data directory in which seats are held, lapsed, returned, superseded, taken back, refused; facts were pruned."""
    estate = new(data)
    with closing(SqliteStore(estate.path)) as store:
        here = estate.serve(store)
        granted(here.activate("lapsed"))
        granted(here.activate("gone", features={"render": 2, "pages": 7}))
        here.held("gone", Verb.RETURN)
        here.house.pass_(200)  # the first lapses, the second has lingered
        here.house.sweep()
        prune(here)
        granted(here.activate("ann", key="a key", features={"render": 3}))
        granted(here.activate("node", customer="bolt"))
        granted(here.activate("cat"))
        copied = estate.programs["cat"]
        granted(here.activate("cat"))  # without its token: the older copy is superseded
        assert isinstance(here.activate("eve"), Refused)
        assert isinstance(here.activate("eve"), Refused)  # counted, and not written down yet
        estate.programs["older cat"] = copied
        granted(here.activate("zoe", customer="cone", seat_name=NAME_WITH_ZERO))
        here.held("zoe", Verb.RETURN)
        here.house.pass_(30, beating=False)  # an outage, given back
        granted(here.refresh("ann"))
        with store.transaction() as tx:
            catalogue = Catalogue(tx)
            administering.free(catalogue, Freeing(holder="cat", block=timedelta(minutes=10)), estate.clock.now())
            vendors.change_contact(catalogue, "other", "new@example.com", estate.clock.now())
    return estate


def granted(outcome: Outcome) -> Served:
    """Give what was granted, which it must have been."""
    assert isinstance(outcome, Served), outcome
    return outcome


def prune(serving: Serving) -> None:
    """Forget all facts so far, behind signed checkpoints."""
    tidying = Tidying(lambda tenant, payload: serving.keyring.sign_document(tenant, payload, typ=CHECKPOINT), timedelta(0))
    now = serving.estate.clock.now() + timedelta(seconds=1)
    with serving.store.transaction() as tx:
        for chain in tidying.old_chains(Pruning(tx), now):
            tidying.prune(Pruning(tx), chain, now)
