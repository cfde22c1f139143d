"""A vendor and license servers at his customer's sites, each on a database of its own; documents are carried by hand.

Everything is real but time, which one hand moves for all, or for one server alone.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from seatkeeper.protocol import ids
from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Expected, Trust
from seatkeeper_server.apps.authorities import Lent, Sold
from seatkeeper_server.domain.catalogue import Feature, Sale, Terms
from seatkeeper_server.domain.catalogue import Sold as Sale_
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import ActivateCall, Call, HeldCall, Outcome, Refused, Served, TokenClaims, Verb, Who
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.lending import Lending, site_code
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault
from tests.support.house import START, AnyStore

Result = TypeVar("Result")
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Server:
    """One server: its database, its keys, its time."""

    name: str
    store: AnyStore
    seal: SealKey
    is_local: bool = False
    now: datetime = START
    database_id: str = ""

    def __post_init__(self) -> None:
        self.store.migrate(self.now)
        self.database_id, epoch = self.store.found(ids.make_id(ids.DATABASE, os.urandom(16)), self.now)
        self.keyring = Keyring(load=self._keys, seal=self.seal, database_id=self.database_id, epoch=epoch, clock=lambda: 1e12)
        authority = Lent() if self.is_local else Sold()
        self._leasing = Leasing(authority, self.keyring, os.urandom)

    def _keys(self, tenant_id: str):
        with self.opened() as (catalogue, _):
            return catalogue.keys(tenant_id)

    @contextmanager
    def opened(self) -> Iterator[tuple[Catalogue, KeyVault]]:
        """Open a transaction."""
        with self.store.transaction() as tx:
            catalogue = Catalogue(tx)
            yield catalogue, KeyVault(catalogue, self.seal)

    def grants(self, work: Callable[[Grants], Result]) -> Result:
        """Do something as a local server."""
        with self.opened() as (catalogue, vault):
            done = work(Grants(catalogue, vault, now=self.now, random=os.urandom))
        self.keyring.forget()
        return done

    def lending(self, tenant_id: str, work: Callable[[Lending], Result]) -> Result:
        """Do something as a vendor."""
        with self.opened() as (catalogue, vault):
            return work(Lending(catalogue, vault, tenant_id=tenant_id, now=self.now, random=os.urandom))

    def ask(self, *calls: Call) -> list[Outcome]:
        """Have a batch of calls decided."""
        for tenant_id in {call.tenant_id for call in calls}:
            self.keyring.tenant(tenant_id)  # read before the transaction, as servers do by a connection of its own
        with self.store.transaction() as tx:
            return self._leasing.decide(tx, calls, self.now)

    def used(self, key: tuple[str, str]) -> int:
        """Give how many seats count."""
        with self.opened() as (catalogue, _):
            found = catalogue.bought(*key)
            return found[0].pool.seats.used if found else 0


@dataclass
class Town:
    """A vendor who has sold seats of `solver` to acme, and acme's sites."""

    cloud: Server
    directory: Path
    sold: Sale_ = field(init=False)
    code: str = ""  # by which sites are licensed
    sites: dict[str, Server] = field(default_factory=dict)
    site_ids: dict[str, str] = field(default_factory=dict)
    stores: list[AnyStore] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The vendor's time."""
        return self.cloud.now

    @property
    def tenant(self) -> str:
        """The vendor."""
        return self.sold.tenant_id

    @property
    def key(self) -> tuple[str, str]:
        """What was sold."""
        return self.sold.tenant_id, self.sold.entitlement_id

    def sell(
        self, seats: int = 50, features: tuple[Feature, ...] = (), days: int | None = 365, product: str = "solver", **more
    ) -> None:
        """Sell to acme."""
        terms = Terms(seats=seats, features=features, days=days, **more)
        with self.cloud.opened() as (catalogue, vault):
            sale = Sale(customer="acme", product=product, terms=terms)
            self.sold = selling.sell(catalogue, vault, sale, now=self.now, starts_at=self.now, random=os.urandom)
            _, self.code = site_code(catalogue, vault, None, now=self.now, random=os.urandom)

    def sell_another(self, product: str, **terms) -> str:
        """Sell another product to acme; the entitlement's id."""
        with self.cloud.opened() as (catalogue, vault):
            sale = Sale(customer="acme", product=product, terms=Terms(**terms))
            return selling.sell(catalogue, vault, sale, now=self.now, starts_at=self.now, random=os.urandom).entitlement_id

    def open_site(self, name: str) -> Server:
        """Have a new local server, which is licensed."""
        site = self.unlicensed(name)
        answer = self.vendor(lambda lending: lending.license(site.grants(lambda g: g.request(self.tenant, self.code, name))))
        site.grants(lambda grants: grants.apply(answer))
        self.site_ids[name] = site.grants(lambda grants: grants.license(self.tenant)).site_id
        return site

    def unlicensed(self, name: str) -> Server:
        """Have a new local server that nobody knows."""
        directory = self.directory / name
        directory.mkdir()
        store = SqliteStore(directory / "seatkeeper.db")
        self.stores.append(store)
        site = self.sites[name] = Server(name, store, SealKey(os.urandom(32)), is_local=True, now=self.now)
        return site

    def copy_of(self, name: str, new: str) -> Server:
        """Have a second server on a copy of a server's data."""
        site = self.sites[name]
        site.store.close()
        shutil.copytree(self.directory / name, self.directory / new)
        store = SqliteStore(self.directory / new / "seatkeeper.db")
        self.stores.append(store)
        copy = self.sites[new] = Server(new, store, site.seal, is_local=True, now=site.now)
        return copy

    def vendor(self, work: Callable[[Lending], Result]) -> Result:
        """Have the vendor do something."""
        return self.cloud.lending(self.tenant, work)

    def lend(self, name: str, seats: int | None = None, *, days: float = 30, carried: bool = True, **more) -> str:
        """Lend seats to a site, and carry the document there."""
        until = more.pop("until", self.now + days * DAY)
        token = self.vendor(lambda lending: lending.lend(self.key[1], self.site_ids[name], seats=seats, until=until, **more))
        if carried:
            self.sites[name].grants(lambda grants: grants.apply(token))
        return token

    def give_back(self, name: str, *, carried: bool = True) -> str:
        """Have a site give its share back, and carry the document to the vendor."""
        token = self.sites[name].grants(lambda grants: grants.remove(*self.key))
        if carried:
            self.vendor(lambda lending: lending.take_back(self.key[1], token))
        return token

    def report(self, name: str, *, carried: bool = True) -> str:
        """Have a site report."""
        token = self.sites[name].grants(lambda grants: grants.report(self.tenant))
        if carried:
            self.vendor(lambda lending: lending.report(token))
        return token

    def pass_(self, length: timedelta) -> None:
        """Let time pass for everybody."""
        for server in (self.cloud, *self.sites.values()):
            server.now += length

    def take(self, server: Server, seat: str, features: Mapping[str, int] | None = None) -> Outcome:
        """Have a program ask a server for a seat."""
        call = ActivateCall(
            tenant_id=self.tenant,
            code_hash=server.keyring.code_hash(self.tenant, self.sold.code),
            code_hint="",
            product_id=self.sold.product_id,
            who=Who(seat_id=seat),
            features=features or {},
        )
        return server.ask(call)[0]

    def return_(self, server: Server, served: Served) -> None:
        """Have a program give its seat back."""
        token = TokenClaims(served.holding.activation_id, served.holding.generation)
        server.ask(HeldCall(verb=Verb.RETURN, tenant_id=self.tenant, token=token))

    def refresh(self, server: Server, served: Served, last_lease: str | None = None) -> Outcome:
        """Have a program refresh."""
        token = TokenClaims(served.holding.activation_id, served.holding.generation)
        call = HeldCall(
            verb=Verb.REFRESH, tenant_id=self.tenant, token=token, nonce=served.nonce, fingerprint=b"f", last_lease=last_lease
        )
        return server.ask(call)[0]

    def believed(self, server: Server, served: Served) -> LeaseClaims:
        """Give what a program makes of its lease, knowing nothing but the vendor's root."""
        trust = Trust((read_public_key(self.sold.public_key),))
        lease = server.keyring.sign(served, "n" * 22)
        certificate = trust.certificate(server.keyring.certificate(self.tenant))
        return trust.lease(lease, certificate, Expected(self.tenant, self.sold.product_id, served.who.seat_id, "n" * 22))

    def lent(self) -> int:
        """Give how many seats of shares count at the vendor's."""
        with self.cloud.opened() as (catalogue, _):
            shares = [share.share_id for share in catalogue.sites.shares(self.tenant)]
            places = [place for share in shares for place in catalogue.sites.layers(self.tenant, share)]
        return sum(p.seats for p in places if p.occupies and p.free_at and p.free_at > self.now)

    def lent_until(self) -> list[datetime | None]:
        """Give until when each part of what is lent counts at the vendor's."""
        with self.cloud.opened() as (catalogue, _):
            shares = [share.share_id for share in catalogue.sites.shares(self.tenant)]
            return [place.free_at for share in shares for place in catalogue.sites.layers(self.tenant, share)]

    def close(self) -> None:
        """Let go of every database."""
        for store in self.stores:
            store.close()


RENDER = Feature("render", Kind.ELEMENT_POOL, 10)
EXPORT = Feature("export", Kind.BOOL)


@contextmanager
def a_town(directory: Path, cloud: AnyStore | None = None) -> Iterator[Town]:
    """Have a vendor and no site yet."""
    store = cloud or SqliteStore(directory / "cloud.db")
    with closing(store):
        town = Town(Server("cloud", store, SealKey(os.urandom(32))), directory)
        with closing(town):
            yield town


def problem(outcome: Outcome) -> str:
    """Give the code of a refusal."""
    assert isinstance(outcome, Refused), outcome
    return outcome.problem


def rule(outcome: Outcome) -> str:
    """Give the rule of a refusal."""
    assert isinstance(outcome, Refused), outcome
    assert outcome.refusal is not None
    return outcome.refusal.rule
