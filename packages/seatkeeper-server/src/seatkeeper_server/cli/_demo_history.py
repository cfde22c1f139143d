"""`seatkeeper demo --history 90d`: data with a past, for whoever wants to see charts before he has customers.

People come, work, go, die and are refused, quarter by quarter of an hour, through the very code that decides on a server,
with a clock that is moved by hand. There is a rhythm of weekdays, growth, and a week of a crunch, in which one pool is too
small. The same seed makes the same history. The names say that it is made up, and a fact of each entitlement's does.
"""

import math
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from msgspec.structs import replace

from seatkeeper.protocol import ids
from seatkeeper_server.apps.authorities import Sold as SoldHere
from seatkeeper_server.apps.storage import AnyStore, storage_of
from seatkeeper_server.apps.unsealing import key_at
from seatkeeper_server.domain.catalogue import Feature, Sale, Terms
from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.terms import Kind, Overdraft
from seatkeeper_server.keys import Keyring
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service import recording, selling
from seatkeeper_server.service.calls import ActivateCall, Call, HeldCall, Outcome, Served, TokenClaims, Verb, Who
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.timekeeping import Timekeeper
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.vault import KeyVault

TICK: Final = timedelta(minutes=15)
LEASE: Final = timedelta(hours=1)
VENDOR: Final = "Example Software (made up)"
MADE_UP: Final = "madeUp"

_WORKING: Final = (8, 18)  # hours
_GROWTH: Final = 0.6  # by so much more work at the end than at the beginning
_CRUNCH: Final = (0.72, 0.80)  # of the time that is told of
_DIES: Final = 0.02  # of the programs
_GIVES_UP: Final = timedelta(minutes=90)


@dataclass(frozen=True, slots=True)
class Customer:
    """Who bought what, how many people he has, and how much they work with it: seats on average in the middle of a day."""

    name: str
    product: str
    seats: int
    overdraft: str
    people: int
    busy: float
    projects: tuple[str, ...]
    features: tuple[Feature, ...] = ()


CUSTOMERS: Final = (
    Customer("acme-made-up", "solver", 25, "10%", 70, 19, ("wing", "rotor", "hull"), (Feature("gpu", Kind.ELEMENT_POOL, 8),)),
    Customer("globex-made-up", "solver", 10, "0", 16, 4, ("bridge",)),
    Customer("initech-made-up", "mesher", 5, "0", 20, 4.6, ("tps",)),
)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self, at: datetime) -> None:
        self.time, self._booted = at, timedelta(0)

    def now(self) -> datetime:
        """Give the time."""
        return self.time

    def boot(self) -> tuple[str, timedelta]:
        """Give no boot: there was none."""
        return "", self._booted

    def shift(self, by: timedelta) -> None:
        """Move it."""
        self.time += by
        self._booted += by


@dataclass(slots=True)
class _Program:
    """A program of somebody's: the seat it has, or since when it wants one."""

    who: Who
    wants_since: datetime
    stays: timedelta
    features: dict[str, int]
    served: Served | None = None
    ends_at: datetime | None = None


@dataclass(slots=True)
class _Site:
    """A customer at work."""

    customer: Customer
    call: ActivateCall
    programs: dict[str, _Program] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made."""

    since: datetime
    until: datetime
    facts: int
    refused: int


def make(directory: Path, length: timedelta, seed: int, now: datetime) -> Made:
    """Make a history that ends now, in a data directory in which there is nothing yet.

    Raises:
        StorageFull, StorageUnavailable: it can't be written.
    """
    settings = Settings(data=directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    storage = storage_of(settings)
    until = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    since = (until - length).replace(hour=0, minute=0)
    with closing(storage.store()) as store:
        store.migrate(since)
        database_id, epoch = store.found(ids.make_id(ids.DATABASE, os.urandom(ids.RANDOM_BYTES)), since)
        seal = key_at(settings.seal_key_path, storage.name, is_new=True)
        with closing(storage.reader()) as reader:
            keyring = Keyring(
                load=lambda tenant_id: reader.read(lambda catalogue: catalogue.keys(tenant_id)),
                seal=seal,
                database_id=database_id,
                epoch=epoch,
            )
            leasing = Leasing(SoldHere(), keyring, os.urandom)
            return _History(store, leasing, seal, Random(seed), since, until).told()  # noqa: S311  (a seeded story)


class _History:
    """A history in the making."""

    def __init__(
        self, store: AnyStore, leasing: Leasing, seal: SealKey, chance: Random, since: datetime, until: datetime
    ) -> None:
        self._store, self._leasing, self._seal, self._chance = store, leasing, seal, chance
        self._since, self._until = since, until
        self._clock = HandClock(since)
        self._timekeeper = Timekeeper(self._clock, beat=TICK)
        self._batch = self._refused = 0

    def told(self) -> Made:
        """Let it happen."""
        sites = [self._sell(customer) for customer in CUSTOMERS]
        while self._clock.time < self._until:
            self._clock.shift(TICK)
            doing = [(site, program, call) for site in sites for program, call in self._calls(site)]
            for (site, program, call), outcome in zip(doing, self._decided([call for *_, call in doing]), strict=True):
                self._take(site, program, call, outcome)
        with self._store.transaction() as tx:
            facts = sum(bought.record.facts for bought in Catalogue(tx).bought())
        return Made(since=self._since, until=self._until, facts=facts, refused=self._refused)

    def _sell(self, customer: Customer) -> _Site:
        terms = Terms(
            seats=customer.seats, lease=LEASE, overdraft=_overdraft(customer.overdraft), features=customer.features, days=365
        )
        sale = Sale(customer=customer.name, product=customer.product, terms=terms, tenant=VENDOR)
        with self._store.transaction() as tx:
            catalogue = Catalogue(tx)
            vault = KeyVault(catalogue, self._seal)
            sold = selling.sell(catalogue, vault, sale, now=self._since, starts_at=self._since, random=os.urandom)
            note = Note(
                at=self._since, what=MADE_UP, data={"why": "made by seatkeeper demo --history: nothing of this happened"}
            )
            recording.append(tx, sold.tenant_id, sold.entitlement_id, [note], self._since)
            call = ActivateCall(
                tenant_id=sold.tenant_id,
                code_hash=vault.code_hash(sold.tenant_id, sold.code),
                code_hint="",
                product_id=sold.product_id,
                who=Who(seat_id="-"),
            )
        return _Site(customer, call)

    def _decided(self, calls: list[Call]) -> list[Outcome]:
        self._batch += 1
        with self._store.transaction() as tx:
            now = self._timekeeper.begin(tx, f"made-up-{self._batch}")
            self._leasing.sweep(tx, now)
        if not calls:
            return []
        with self._store.transaction() as tx:
            return self._leasing.decide(tx, calls, self._timekeeper.begin(tx, f"made-up-{self._batch}-calls"))

    # --- what people do ---------------------------------------------------------------------------------------------

    def _calls(self, site: _Site) -> Iterator[tuple[_Program, Call]]:
        now = self._clock.time
        for program in list(site.programs.values()):
            if program.served is None:
                if now - program.wants_since > _GIVES_UP:
                    del site.programs[program.who.seat_id]
                else:
                    yield program, self._wish(site, program)
            elif program.ends_at is not None and program.ends_at <= now:
                del site.programs[program.who.seat_id]
                if self._chance.random() >= _DIES:
                    yield program, _held(Verb.RETURN, site, program.served)
            else:
                yield program, _held(Verb.REFRESH, site, program.served)
        for _ in range(self._come(site)):
            program = self._new(site)
            if program.who.seat_id not in site.programs:
                site.programs[program.who.seat_id] = program
                yield program, self._wish(site, program)

    def _wish(self, site: _Site, program: _Program) -> Call:
        return replace(site.call, who=program.who, features=program.features)

    def _take(self, site: _Site, program: _Program, call: Call, outcome: Outcome) -> None:
        if isinstance(outcome, Served):
            program.served = outcome
            program.ends_at = program.ends_at or self._clock.time + program.stays
        elif isinstance(call, ActivateCall):
            self._refused += 1
        elif isinstance(call, HeldCall) and call.verb is Verb.REFRESH:
            site.programs.pop(program.who.seat_id, None)

    def _come(self, site: _Site) -> int:
        """Draw how many come now: as many as keep the pool as busy as it is at this hour, on average."""
        mean = site.customer.busy * self._pace() * (TICK / _MEAN_STAY)
        return _poisson(self._chance, mean)

    def _pace(self) -> float:
        """Tell how much is going on, 1 in the middle of a weekday at the beginning."""
        now, told = self._clock.time, (self._clock.time - self._since) / (self._until - self._since)
        hour = now.hour + now.minute / 60
        first, last = _WORKING
        by_day = math.sin(math.pi * (hour - first) / (last - first)) if first <= hour < last else 0.04
        by_week = 1.0 if now.weekday() < 5 else 0.12
        crunch = 1.7 if _CRUNCH[0] <= told < _CRUNCH[1] else 1.0
        return by_day * by_week * (0.8 + _GROWTH * told) * crunch

    def _new(self, site: _Site) -> _Program:
        number = self._chance.randrange(site.customer.people)
        user = f"user{number:02}"
        slot = self._chance.randrange(2) if self._chance.random() < 0.1 else 0
        who = Who(
            seat_id=f"{user}-{slot}",
            seat_name=f"{user}@ws{number:02}",
            user=user,
            host=f"ws{number:02}",
            group="research" if number % 3 == 0 else "engineering",
            project=site.customer.projects[number % len(site.customer.projects)],
        )
        longer = self._chance.random() < 0.5
        stays = timedelta(hours=self._chance.uniform(3, 7) if longer else self._chance.uniform(0.25, 1.5))
        features = {"gpu": self._chance.choice([1, 1, 2, 4])} if site.customer.features and self._chance.random() < 0.2 else {}
        return _Program(who, self._clock.time, stays, features)


_MEAN_STAY: Final = timedelta(hours=(5 + 0.875) / 2)


def _held(verb: Verb, site: _Site, served: Served) -> HeldCall:
    token = TokenClaims(served.holding.activation_id, served.holding.generation)
    return HeldCall(verb=verb, tenant_id=site.call.tenant_id, token=token)


def _overdraft(text: str) -> Overdraft:
    return Overdraft("percentage", int(text[:-1])) if text.endswith("%") else Overdraft()


def _poisson(chance: Random, mean: float) -> int:
    """Draw from a Poisson distribution (Knuth's way; the means are small)."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count
