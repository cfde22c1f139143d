"""`seatkeeper schema`: what a database has of the schema, and the end of an upgrade."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seatkeeper_server.store import migrations
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.migrations import Phase, Step
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore
from tests.cli.commands import command
from tests.support import stores
from tests.support.postgres import Clusters

UNUSABLE = 3
OURS = {str(number): step.recorded for number, step in sorted(migrations.steps("sqlite").items())}  # of this version
ADDS = Step(1002, "regions", "ALTER TABLE holder ADD COLUMN region TEXT", Phase.PRE)
TAKES_AWAY = Step(1003, "regions", "ALTER TABLE holder DROP COLUMN project", Phase.POST)


@pytest.fixture(params=stores.ONE_OF_EACH)
def where(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[tuple[str, str]]:
    """A database of this version, as an option names it."""
    with ExitStack() as opened:
        if request.param == "disk":
            store: SqliteStore | PostgresStore = opened.enter_context(closing(SqliteStore(tmp_path / "seatkeeper.db")))
            option = ("--data", str(tmp_path))
        else:
            url = opened.enter_context(clusters[request.param].empty())
            store = opened.enter_context(closing(PostgresStore(url)))
            option = ("--database", url)
        store.migrate(datetime.now(UTC))
        yield option


@pytest.fixture
def _newer(where: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command be of a newer version, which knows two more steps."""
    monkeypatch.setattr(migrations, "steps", _with_more(migrations.steps))


def _with_more(known: Callable[[str], Mapping[int, Step]]) -> Callable[[str], Mapping[int, Step]]:
    return lambda database: {**known(database), ADDS.number: ADDS, TAKES_AWAY.number: TAKES_AWAY}


def test_it_shows_what_is_applied(where: tuple[str, str]) -> None:
    """And that nothing waits, where this version made the database."""
    done = command("schema", *where)

    assert done.returncode == 0, done.stderr
    applied = [word for number, name in OURS.items() for word in (number, name, "applied")]
    assert done.stdout.split() == ["step", "name", "state", *applied]
    assert json.loads(command("schema", *where, "--json").stdout) == {"applied": OURS, "waiting": {}}


@pytest.mark.usefixtures("_newer")
def test_to_look_changes_nothing(where: tuple[str, str]) -> None:
    """What adds comes with a server, what takes away waits until it is asked for."""
    told = [json.loads(command("schema", *where, "--json").stdout) for _ in range(2)]

    assert told[0] == told[1] == {"applied": OURS, "waiting": {"1002": "regions.pre", "1003": "regions.post"}}
    assert "seatkeeper schema --finish" in command("schema", *where).stdout


@pytest.mark.usefixtures("_newer")
def test_an_upgrade_is_finished_when_it_is_asked_for(where: tuple[str, str]) -> None:
    """Everything is applied then."""
    done = command("schema", *where, "--finish", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "applied": {**OURS, "1002": "regions.pre", "1003": "regions.post"},
        "waiting": {},
    }


def test_an_upgrade_is_not_finished_under_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite it is seen whether there is one, which may be older."""
    with closing(SqliteStore(tmp_path / "seatkeeper.db")) as store, DirectoryLock(tmp_path):
        store.migrate(datetime.now(UTC))
        monkeypatch.setattr(migrations, "steps", _with_more(migrations.steps))
        done = command("schema", "--finish", "--data", tmp_path)
        steps = store.steps()

    assert done.returncode == UNUSABLE
    assert "is being served" in done.stderr
    assert {str(number): name for number, name in steps.items()} == OURS


def test_there_must_be_data(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    done = command("schema", "--data", tmp_path / "nothing")

    assert done.returncode == UNUSABLE
    assert not (tmp_path / "nothing").exists()
