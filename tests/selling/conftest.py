"""A vendor's shop on a real database, and a house in which seats are held."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seatkeeper_server.domain.catalogue import Sale, Sold, Terms
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import Call, Served
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.vault import KeyVault
from tests.support import stores
from tests.support.house import START, AnyStore, House, activate, make_house, raw
from tests.support.postgres import Clusters


@dataclass
class Shop:
    """Sells with real keys into a real database."""

    store: AnyStore
    seal: SealKey
    now: datetime = START

    @contextmanager
    def opened(self) -> Iterator[tuple[Catalogue, KeyVault]]:
        """Open a transaction."""
        with self.store.transaction() as tx:
            catalogue = Catalogue(tx)
            yield catalogue, KeyVault(catalogue, self.seal)

    def sell(self, customer: str = "acme", product: str = "solver", *, terms: Terms | None = None, **more: Any) -> Sold:
        """Sell, on simple terms unless others are given."""
        sale = Sale(customer=customer, product=product, terms=terms or Terms(seats=3), **more)
        with self.opened() as (catalogue, vault):
            return selling.sell(catalogue, vault, sale, now=self.now, starts_at=self.now, random=os.urandom)

    def change(self, entitlement_id: str, **wanted: Any) -> selling.Changed:
        """Change an entitlement."""
        with self.opened() as (catalogue, _):
            return selling.change(catalogue, entitlement_id, selling.Change(**wanted), self.now)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the tables."""
        with self.store.transaction() as tx:
            return list(raw(tx)(sql, values).fetchall())


@pytest.fixture(params=stores.ONE_OF_EACH)
def store(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[AnyStore]:
    """A store of each kind."""
    with stores.opened(request.param, tmp_path, clusters) as store:
        yield store


@pytest.fixture
def shop(store: AnyStore) -> Shop:
    """A shop that has sold nothing yet."""
    store.migrate(START)
    store.found("db_" + "D" * 22, START)
    return Shop(store, SealKey(os.urandom(32)))


@pytest.fixture
def house(store: AnyStore) -> House:
    """Two seats, sold to acme, with leases of two minutes."""
    return make_house(store, seats=2)


def take(house: House, *seats: str) -> list[Served]:
    """Have these seats taken, all of which must be granted."""
    return [granted(house, activate(seat)) for seat in seats]


def granted(house: House, call: Call) -> Served:
    """Have a call served, which must not be refused."""
    served = house.one(call)
    assert isinstance(served, Served)
    return served


@contextmanager
def books(house: House) -> Iterator[Catalogue]:
    """Open the catalogue of a house."""
    with house.store.transaction() as tx:
        yield Catalogue(tx)


def after(seconds: float) -> datetime:
    """Give the moment so many seconds after the house was opened."""
    return START + timedelta(seconds=seconds)
