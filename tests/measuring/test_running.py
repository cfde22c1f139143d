"""Real servers, asked by wrk for a second: every answer is the one that was asked for, and a wrong one is noticed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench import house, once, postgres, stage
from bench.acts import Act
from bench.cases import CASES, LARGE_POOL, POOL_CASES, POSTGRES, SQLITE, Cell, Made, Place
from bench.house import House, Recipe
from bench.servers import SEATKEEPER

pytestmark = [
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
    pytest.mark.timeout(300),
]

CONNECTIONS, PROGRAMS, ROUNDS = 64, 200, 2
PLAIN, MANY, POOLS = (Place("ours", SQLITE, 3_000, made) for made in (Made.PLAIN, Made.MANY, Made.POOLS))
MEASURED = [name for name in CASES if not name.startswith(("baseline-", "bulk-"))]


class Stage:
    """Servers of this module, each started when it is first wanted."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running
        self._acts: dict[Place, Act] = {}

    def __getitem__(self, place: Place) -> Act:
        if place not in self._acts:
            built = None if place.server in ("floor", "hello") else self.built(place)
            self._acts[place] = self._running.enter_context(stage.act(place, built, self._folder, None))
        return self._acts[place]

    def built(self, place: Place) -> House:
        """Fill a database."""
        data = self._folder / f"data-{place.made.name.lower()}"
        left_over = (LARGE_POOL - place.live_leases) // ROUNDS
        return house.build(Recipe(data, None, place.live_leases, place.made, PROGRAMS, ROUNDS, left_over))


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give the servers."""
    with ExitStack() as running:
        yield Stage(tmp_path_factory.mktemp("stage"), running)


@pytest.mark.parametrize("name", MEASURED)
def test_every_answer_is_the_one_that_was_asked_for(acts: Stage, name: str) -> None:
    """A second of each case brings right answers and no others."""
    server = CASES[name].server
    place = PLAIN if server == "ours" else Place(server)
    sample = acts[place].measure(Cell(name, place, CONNECTIONS), 1)

    assert (sample.errors, sample.wrong) == (0, "")
    assert sample.right > CONNECTIONS


@pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
def test_on_postgresql(tmp_path: Path) -> None:
    """The same on a PostgreSQL of the bench's own, whose processor time counts."""
    place = Place("ours", POSTGRES, 1_000)
    with postgres.running() as cluster:
        built = house.build(Recipe(tmp_path / "data", cluster.made("seats"), place.live_leases, programs=PROGRAMS))
        with stage.act(place, built, tmp_path, cluster) as act:
            names = ("refresh", "refusal", "activate+return", "checkout")
            samples = [act.measure(Cell(name, place, CONNECTIONS), 1) for name in names]

    assert [(sample.errors, sample.wrong) for sample in samples] == [(0, "")] * len(names)
    assert min(sample.right for sample in samples) > CONNECTIONS


@pytest.mark.parametrize("name", ["refresh", "activate+return"])
def test_a_thousand_entitlements(acts: Stage, name: str) -> None:
    """Seats are kept, taken and given back in a thousand entitlements in turn."""
    sample = acts[MANY].measure(Cell(name, MANY, CONNECTIONS), 1)

    assert (sample.errors, sample.wrong) == (0, "")


@pytest.mark.parametrize("name", POOL_CASES)
def test_a_large_pool_and_a_small_one(acts: Stage, name: str) -> None:
    """There is room in both for a round's seats."""
    sample = acts[POOLS].measure(Cell(name, POOLS, CONNECTIONS), 1)

    assert (sample.errors, sample.wrong) == (0, "")


def test_a_wrong_answer_is_counted_and_told(acts: Stage, tmp_path: Path) -> None:
    """Tokens that nobody gave are answered 401, and so the run has no right answers."""
    act = acts[PLAIN]
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("act_nobody.1.x\n" * 10)
    forged = House(**{**{name: getattr(act.of, name) for name in House.__slots__}, "tokens": tokens})
    sample = Act(act.place, act.server, forged, act.folder).measure(Cell("refresh", PLAIN, CONNECTIONS), 1)

    assert sample.right == 0
    assert sample.errors > CONNECTIONS
    assert "401" in sample.wrong
    assert "token.invalid" in sample.wrong


def test_processor_time_and_memory_are_those_of_both_processes(acts: Stage) -> None:
    """A server that has worked has used time, and memory beyond an interpreter's."""
    server = acts[PLAIN].server

    assert server.cpu_seconds() > 0
    assert server.memory_mb() > 20


def test_a_route_that_is_not_there_is_found_out(acts: Stage) -> None:
    """Whether bulk refreshes can be measured is asked of the server."""
    table = Path("docs/reference/licensing-api.md").read_text()

    assert stage.has_bulk(acts[PLAIN]) is ("/api/v1/activations/refresh" in table)


def test_facts_beside_the_leases_fit_their_chain(tmp_path: Path) -> None:
    """What is written without decisions is what `seatkeeper verify` expects."""
    recipe = Recipe(tmp_path / "data", None, 10)
    house.write_facts(recipe, house.build(recipe).full, 500)
    done = subprocess.run([SEATKEEPER, "verify", "--data", recipe.data], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "facts" in done.stdout


def test_seat_run_starts_a_program(acts: Stage, tmp_path: Path) -> None:
    """The application's side is measured by a program that has its seat."""
    found = once.sdk({PLAIN: acts[PLAIN]}, tmp_path, 1)

    assert [one.what for one in found if one.value <= 0] == []
    assert "`seat run` to the program's start" in [one.what for one in found]
