"""Databases with live leases in them, made as users make them: sold by the command, filled through the desk.

Every lease is one that was really decided, in batches of thousands that one commit makes durable; so every row, counter and
link of a chain is what it would be after as many activations over the network. Only the million facts beside a few leases
are written by the use case that writes facts, without a decision behind each.

What is sold: `solver`, every seat of which is held; `spare`, which always has room; where programs of their own are needed,
`mesher`, with a feature, whose holders know their nonce and their last lease; two pools, a large one that is nearly full and
small ones that are empty.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random

import structlog

from bench import postgres
from bench.cases import LARGE_POOL, MANY_ENTITLEMENTS, MANY_FACTS, SMALL_POOL, Made
from bench.servers import SEATKEEPER
from seatkeeper.protocol.ids import ACTIVATION
from seatkeeper_server.apps import cloud
from seatkeeper_server.apps.chance import Chance
from seatkeeper_server.domain.catalogue import Sale, Terms
from seatkeeper_server.domain.facts import Claimed, Fact, Returned
from seatkeeper_server.domain.holdings import Nonces
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.domain.terms import SEAT
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service import recording, selling
from seatkeeper_server.service.calls import ActivateCall, Served, Who
from seatkeeper_server.service.drawing import Drawing
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault

LEASE = "12h"  # none of those that are refreshed may end during the run
SHORT_LEASE = "15m"  # of what is taken and given back, again and again
ROOM = 1_000_000  # seats that always suffice
AT_ONCE = 5_000  # activations that one commit makes durable while a house is filled
FEATURE = "render"
FEATURE_AMOUNT = 1_000_000_000

Store = SqliteStore | PostgresStore


@dataclass(frozen=True, slots=True)
class Sold:
    """What a program needs to take a seat."""

    tenant: str
    product: str
    code: str
    public_key: str = ""
    entitlement: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a house is to be. `programs` are holders of `mesher`; `rounds` says how often the small pools are needed."""

    data: Path
    database: str | None
    live_leases: int
    made: Made = Made.PLAIN
    programs: int = 0
    rounds: int = 0
    left_over: int = 0  # seats that one round may leave behind in the large pool

    @property
    def settings(self) -> Settings:
        """The settings of a server that fills it."""
        chosen = {} if self.database is None else {"database": self.database}
        return Settings(
            data=self.data,
            desk_process=False,
            queue_limit=2 * AT_ONCE,
            batch_limit=AT_ONCE,
            log_level="warning",
            **chosen,  # type: ignore[arg-type]
        )


@dataclass(slots=True)
class House:
    """A filled database. Files name, line by line: `tokens` the access token of every live lease, `codes` the codes by which
    seats are taken and given back, `programs` the token, nonce and last lease of every holder of `mesher`."""

    data: Path
    database: str | None
    live_leases: int
    full: Sold
    spare: Sold
    tokens: Path
    codes: Path
    programs: Path
    mesher: Sold | None = None
    large: Sold | None = None
    small: list[Sold] = field(default_factory=list)
    programs_used: int = 0

    def next_programs(self, count: int) -> int:
        """Give after how many lines of `programs` the next ones stand that nobody has used: their nonces are current."""
        first, self.programs_used = self.programs_used, self.programs_used + count
        return first


def build_all(recipes: Sequence[Recipe]) -> list[House]:
    """Build houses, as many at a time as there are processors; the houses in the order of their recipes."""
    order = sorted(range(len(recipes)), key=lambda index: -_work(recipes[index]))
    with multiprocessing.get_context("spawn").Pool(min(len(recipes), len(os.sched_getaffinity(0))) or 1) as pool:
        built = pool.imap(build, [recipes[index] for index in order], chunksize=1)
        by_index = dict(zip(order, built, strict=True))
    return [by_index[index] for index in range(len(recipes))]


def _work(recipe: Recipe) -> int:
    return recipe.live_leases + (MANY_FACTS // 4 if recipe.made is Made.FACTS else 0)


def build(recipe: Recipe) -> House:
    """Sell, and take every seat of the full pools."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    spare = _sell(recipe, "acme", "spare", ROOM, lease=SHORT_LEASE)
    match recipe.made:
        case Made.POOLS:
            house = _pools(recipe, spare)
        case Made.MANY:
            house = _many(recipe)
        case Made.FACTS:
            house = _plain(recipe, spare)
            write_facts(recipe, house.full, MANY_FACTS)
        case Made.PLAIN:
            house = _plain(recipe, spare)
    if recipe.database is not None:
        postgres.settle(recipe.database)
    return house


# --- the kinds of houses -------------------------------------------------------------------------------------------


def _plain(recipe: Recipe, spare: Sold) -> House:
    seats = recipe.live_leases - recipe.programs
    full = _sell(recipe, "acme", "solver", seats)
    mesher = _sell(recipe, "acme", "mesher", recipe.programs, "--feature", _FEATURE_SOLD) if recipe.programs else None
    with _filling(recipe) as server:
        house = _house(recipe, full, spare, _taken(server, [full], seats))
        house.codes.write_text(f"{spare.code}\n")
        if mesher is not None:
            house.mesher = mesher
            house.programs.write_text("".join(_program(server, each) for each in _activated(server, [mesher], recipe.programs)))
    return house


_FEATURE_SOLD = f"{FEATURE}=elementPool:{FEATURE_AMOUNT}"


def _many(recipe: Recipe) -> House:
    """A thousand customers with an entitlement of the same product each, in which there is room, and a lease or more."""
    first = _sell(recipe, "customer 0", "solver", ROOM // MANY_ENTITLEMENTS)
    sold = [first, *_sell_many(recipe, first, MANY_ENTITLEMENTS - 1)]
    with _filling(recipe) as server:
        house = _house(recipe, first, first, _taken(server, sold, recipe.live_leases))
    house.codes.write_text("".join(f"{each.code}\n" for each in sold))
    return house


def _pools(recipe: Recipe, spare: Sold) -> House:
    """A large pool with just enough room left for every round, and a small one, empty, for each."""
    large = _sell(recipe, "acme", "large", LARGE_POOL)
    small = [_sell(recipe, f"customer {number}", "small", SMALL_POOL) for number in range(recipe.rounds)]
    with _filling(recipe) as server:
        house = _house(recipe, large, spare, _taken(server, [large], LARGE_POOL - recipe.rounds * recipe.left_over))
    house.large, house.small = large, small
    return house


def _house(recipe: Recipe, full: Sold, spare: Sold, tokens: Iterator[str]) -> House:
    house = House(
        data=recipe.data,
        database=recipe.database,
        live_leases=recipe.live_leases,
        full=full,
        spare=spare,
        tokens=recipe.data / "tokens.txt",
        codes=recipe.data / "codes.txt",
        programs=recipe.data / "programs.txt",
    )
    lines = [f"{token}\n" for token in tokens]
    Random(0).shuffle(lines)  # the order in which leases are refreshed is not the one in which they were taken
    house.tokens.write_text("".join(lines))
    return house


# --- selling -------------------------------------------------------------------------------------------------------


def _sell(recipe: Recipe, customer: str, product: str, seats: int, *more: str, lease: str = LEASE) -> Sold:
    asked = [customer, product, "--seats", str(seats), "--lease", lease, *more]
    where = (
        ["--data", str(recipe.data)] if recipe.database is None else ["--data", str(recipe.data), "--database", recipe.database]
    )
    said = subprocess.run([SEATKEEPER, "sell", *asked, *where, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    sold = json.loads(said.stdout)
    return Sold(sold["tenantId"], sold["productId"], sold["activationCode"], sold["publicKey"], sold["entitlementId"])


def _sell_many(recipe: Recipe, first: Sold, count: int) -> list[Sold]:
    """Sell to many customers what was sold to the first, as the command does, in one transaction."""
    terms = Terms(seats=ROOM // MANY_ENTITLEMENTS, lease=read_interval(LEASE))
    now, sold = datetime.now(UTC), []
    with closing(_store(recipe)) as store, store.transaction() as tx:
        catalogue = Catalogue(tx)
        vault = KeyVault(catalogue, SealKey.load_or_create(recipe.settings.seal_key_path))
        for number in range(1, count + 1):
            sale = Sale(customer=f"customer {number}", product="solver", terms=terms, another=True)
            sold.append(selling.sell(catalogue, vault, sale, now=now, starts_at=now, random=os.urandom))
    return [Sold(first.tenant, first.product, each.code) for each in sold]


def _store(recipe: Recipe) -> Store:
    return SqliteStore(recipe.settings.database_path) if recipe.database is None else PostgresStore(recipe.database)


# --- filling -------------------------------------------------------------------------------------------------------


@contextmanager
def _filling(recipe: Recipe) -> Iterator[cloud.House]:
    with cloud.build(recipe.settings) as server:
        yield server


def _taken(server: cloud.House, sold: Sequence[Sold], count: int) -> Iterator[str]:
    """Take so many seats, in turn of each that was sold; the access tokens."""
    return (_token(server, each) for each in _activated(server, sold, count))


def _activated(server: cloud.House, sold: Sequence[Sold], count: int) -> Iterator[Served]:
    hashes = [server.keyring.code_hash(each.tenant, each.code) for each in sold]
    calls = (_activation(sold[n % len(sold)], hashes[n % len(sold)], n) for n in range(count))
    while batch := list(islice(calls, AT_ONCE)):
        for outcome in asyncio.run(_asked(server, batch)):
            assert isinstance(outcome, Served), "a seat was refused while the house was filled"
            yield outcome


async def _asked(server: cloud.House, batch: list[ActivateCall]) -> list[object]:
    return list(await asyncio.gather(*map(server.desk.ask, batch)))


def _activation(sold: Sold, code_hash: str, number: int) -> ActivateCall:
    host = f"machine-{number:07}"
    return ActivateCall(
        tenant_id=sold.tenant,
        code_hash=code_hash,
        code_hint="",
        product_id=sold.product,
        who=Who(seat_id=host, seat_name=f"user{number}@{host}", user=f"user{number}", host=host, address="127.0.0.1"),
    )


def _token(server: cloud.House, served: Served) -> str:
    keys = server.keyring.tenant(served.entitlement.tenant_id)
    assert keys is not None, "the tenant has just been served"
    return keys.access_token(served.holding.activation_id, served.holding.generation)


def _program(server: cloud.House, served: Served) -> str:
    return f"{_token(server, served)} {served.nonce} {server.keyring.sign(served, None)}\n"


def write_facts(recipe: Recipe, sold: Sold, count: int) -> None:
    """Write facts of places that were taken and given back long ago; they leave the counters as they are."""
    draw, now = Drawing(Chance()), datetime.now(UTC)
    with closing(_store(recipe)) as store:
        for first in range(0, count // 2, AT_ONCE):
            lives = range(first, min(count // 2, first + AT_ONCE))
            facts = [fact for life in lives for fact in _life(ACTIVATION + draw.text(), life % recipe.live_leases + 1, now)]
            with store.transaction() as tx:
                recording.append(tx, sold.tenant, sold.entitlement, facts, now)


def _life(activation_id: str, holder: int, now: datetime) -> tuple[Fact, Fact]:
    who = {"at": now, "activation_id": activation_id, "generation": 1, "holder": holder}
    claimed = Claimed(**who, taken={SEAT: 1}, rights={SEAT: 1}, expires_at=now, nonces=Nonces(""))  # type: ignore[arg-type]
    return claimed, Returned(**who, taken={SEAT: -1})  # type: ignore[arg-type]
