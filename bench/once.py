"""What isn't measured under load: start-up, memory, the SDK's import, and how long `seat run` takes to start a program."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import servers, stage
from bench.acts import Act
from bench.cases import POSTGRES, SQLITE, Place
from bench.house import House
from bench.postgres import Cluster


@dataclass(frozen=True, slots=True)
class Once:
    """Something that was measured a few times; `value` is the median."""

    what: str
    store: str
    live_leases: int | None
    value: float | None
    unit: str
    times: int


def _of(what: str, unit: str, values: Sequence[float], *, store: str = "", live_leases: int | None = None) -> Once:
    return Once(what, store, live_leases, round(median(values), 1) if values else None, unit, len(values))


def start_ups(built: Mapping[Place, House], scratch: Path, cluster: Cluster | None, times: int) -> list[Once]:
    """Start servers on nothing, and on the largest house of each store: first after the outage since it was filled, which is
    given back to every lease, then, unless that is too much for it, again at once."""
    found: list[Once] = []
    for store in (SQLITE, POSTGRES):
        places = [place for place in built if place.store == store and place.server == "ours"]
        if not places:
            continue
        fresh = [_started(*_fresh(store, scratch, cluster, number)) for number in range(times)]
        found.append(
            _of("new database: until it says that it serves", "ms", [ms for ms, _ in fresh], store=store, live_leases=0)
        )
        found.append(_of("memory after start-up", "MB", [mb for _, mb in fresh], store=store, live_leases=0))
        house = built[max(places, key=lambda place: place.live_leases)]
        found += _again(house, store, times)
    return found


def _again(house: House, store: str, times: int) -> list[Once]:
    late = _refreshed(house)
    if late is None:
        return [
            _of(
                f"after an outage: no lease is refreshed within {stage.PATIENCE:g} s",
                "",
                [],
                store=store,
                live_leases=house.live_leases,
            )
        ]
    again = [seconds for _ in range(times) if (seconds := _refreshed(house)) is not None]
    return [
        _of("after an outage: until a lease is refreshed", "ms", [late * 1000], store=store, live_leases=house.live_leases),
        _of(
            "again at once: until a lease is refreshed",
            "ms",
            [each * 1000 for each in again],
            store=store,
            live_leases=house.live_leases,
        ),
    ]


def _refreshed(house: House) -> float | None:
    with servers.serving(servers.cloud(house.data, house.database)) as server:
        return stage.ready(server, house)


def _fresh(store: str, scratch: Path, cluster: Cluster | None, number: int) -> tuple[Path, str | None]:
    name = f"{store}-new-{number}"
    return scratch / name, cluster.made(name) if store == POSTGRES and cluster else None


def _started(data: Path, database: str | None) -> tuple[float, float]:
    """Start a server and stop it: milliseconds until it served, and its memory then."""
    with servers.serving(servers.cloud(data, database)) as server:
        return server.started_in * 1000, server.memory_mb()


def memory(acts: Mapping[Place, Act]) -> list[Once]:
    """Give the memory of servers that have been under load."""
    return [
        _of("memory after the load", "MB", [one.server.memory_mb()], store=place.store, live_leases=place.live_leases)
        for place, one in acts.items()
        if place.server == "ours"
    ]


def sdk(acts: Mapping[Place, Act], scratch: Path, times: int) -> list[Once]:
    """Import the SDK, and have `seat run` start a program, with a server on SQLite beside it."""
    plain, imported = _in_turn(times, lambda: _run("pass"), lambda: _run("import seatkeeper"))
    found = [
        _of("Python starts and ends", "ms", plain),
        _of("… and imports seatkeeper", "ms", imported),
        _of("import seatkeeper", "ms", [b - a for a, b in zip(plain, imported, strict=True)]),
    ]
    act = next((one for place, one in acts.items() if place.server == "ours" and place.store == SQLITE), None)
    if act is not None:
        environment = _environment(act, scratch)
        held, alone = _in_turn(times, lambda: _until_child([SEAT, "run", "--"], environment), lambda: _until_child([], {}))
        found.append(_of("a program starts", "ms", alone))
        found.append(_of("`seat run` to the program's start", "ms", held, store=SQLITE, live_leases=act.place.live_leases))
    return found


SEAT = Path(sys.executable).with_name("seat")


def _in_turn(times: int, *measured: Callable[[], float]) -> list[list[float]]:
    """Give what each comes to, in milliseconds, taking turns; the first time does not count."""
    taken = [[one() for one in measured] for _ in range(times + 1)][1:]
    return [list(column) for column in zip(*taken, strict=True)]


def _run(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000


def _until_child(before: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    """Start a program, which says what time it is."""
    began = time.time_ns()
    command = [*before, "date", "+%s%N"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    return (int(said.stdout) - began) / 1e6


def _environment(act: Act, scratch: Path) -> dict[str, str]:
    sold = act.of.spare
    return {
        "SEATKEEPER_SERVER": act.server.url,
        "SEATKEEPER_TENANT": sold.tenant,
        "SEATKEEPER_PRODUCT": sold.product,
        "SEATKEEPER_CODE": sold.code,
        "SEATKEEPER_PUBLIC_KEY": sold.public_key,
        "XDG_STATE_HOME": str(scratch / "state"),
        "NO_PROXY": "127.0.0.1",
    }
