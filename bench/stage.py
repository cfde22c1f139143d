"""The stage: houses for all that is planned, and for each phase its servers, running side by side."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, sleep

from bench import house, postgres, servers
from bench.acts import Act
from bench.asking import BULK_PATH
from bench.cases import NONE, POSTGRES, PROMISED_AT, Phase, Place
from bench.house import House, Recipe
from bench.postgres import Cluster
from bench.servers import Server

READY_IF_WITHIN = 2.0  # seconds in which a lease is refreshed
PATIENCE = 60.0  # seconds for a server to become ready
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
NO_BULK = f"bulk-refresh is not measured: POST {BULK_PATH} is not there yet (404)"


def houses(planned: Sequence[Phase], rounds: int, scratch: Path, cluster: Cluster | None) -> dict[Place, House]:
    """Build every house that the plan needs. One that several phases need is built once."""
    places = [place for phase in planned for place in phase.places if place.store != NONE]
    recipes = {place: _recipe(place, planned, rounds, scratch, cluster) for place in dict.fromkeys(places)}
    return dict(zip(recipes, house.build_all(list(recipes.values())), strict=True))


def _recipe(place: Place, planned: Sequence[Phase], rounds: int, scratch: Path, cluster: Cluster | None) -> Recipe:
    name = f"{place.store}-{place.server}-{place.live_leases}-{place.made.name.lower()}"
    database = None
    if place.store == POSTGRES:
        assert cluster is not None
        database = cluster.made(name)
    warmed = rounds + 1
    cells = [cell for phase in planned for cell in phase.cells if cell.place == place]
    return Recipe(
        data=scratch / name,
        database=database,
        live_leases=place.live_leases,
        made=place.made,
        programs=warmed * sum(cell.connections for cell in cells if cell.asked.alone),
        rounds=warmed,
        left_over=2 * PROMISED_AT,
    )


@contextmanager
def opened(phase: Phase, built: Mapping[Place, House], scratch: Path, cluster: Cluster | None) -> Iterator[dict[Place, Act]]:
    """Run the servers of a phase as long as the block lasts."""
    with ExitStack() as running:
        yield {place: running.enter_context(act(place, built.get(place), scratch, cluster)) for place in phase.places}


@contextmanager
def act(place: Place, built: House | None, scratch: Path, cluster: Cluster | None) -> Iterator[Act]:
    """Run one server, and wait until it is ready: after the time since it was filled it gives that back to every lease."""
    folder = scratch / f"requests-{place.server}-{place.store}-{place.live_leases}-{place.made.name.lower()}"
    folder.mkdir(exist_ok=True)
    if built is None:
        with servers.serving(servers.empty(place.server)) as server:
            yield Act(place, server, None, folder)
        return
    environment = servers.ONE_COMMIT_PER_REQUEST if place.server == "baseline" else {}
    database = cluster.pid if cluster and built.database else None
    with servers.serving(servers.cloud(built.data, built.database), environment, database) as server:
        for left in folder.iterdir():
            left.unlink()  # requests to an earlier server, which had another address
        is_ready = ready(server, built) is not None
        if built.database is not None:
            postgres.settle(built.database)
        yield Act(place, server, built, folder, is_ready)


def ready(server: Server, built: House) -> float | None:
    """Wait until a lease is refreshed as quickly as one may expect; the seconds since the server was started, or None."""
    with built.tokens.open() as lines:
        token = next(lines).rstrip("\n")
    headers = {"N-TenantId": built.full.tenant, "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{server.url}/api/v1/activation/refresh", headers=headers, method="PATCH")
    while perf_counter() - server.began < PATIENCE:
        try:
            _open(request, timeout=READY_IF_WITHIN).close()
            return perf_counter() - server.began
        except (TimeoutError, urllib.error.URLError):
            sleep(0.05)
    return None


def has_bulk(one: Act) -> bool:
    """Tell whether the server has the route by which many leases are refreshed in one call."""
    headers = {"N-TenantId": one.of.full.tenant, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{one.server.url}{BULK_PATH}", b"[]", headers, method="POST")
    try:
        with _open(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 404
