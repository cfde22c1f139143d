"""Upgrades that roll: what was released stays as it is, and code goes on beside newer code's additions."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from seatkeeper_server.domain.terms import Kind, Right
from seatkeeper_server.service.calls import Done, Key, Refused, Served, Verb
from seatkeeper_server.store import migrations
from seatkeeper_server.store.migrations import Phase, SchemaTooNew, Step
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore
from support import postgres
from support.house import START, AnyStore, House, activate, held, make_house, raw
from support.postgres import Clusters, HandTimedStore

RELEASED = {
    "0001_seats.postgres.sql": "0e38d43356d8741c4feb11175b9e418712048cd474fbb4316143f286fd02021f",
    "0001_seats.sqlite.sql": "df7806cb566025e1570643bbe8610541cce87689cad2c0dab6af3de316677524",
    "0002_due_from.pre.postgres.sql": "ce7fdca40dd584607d43de51f2bf2d6d779f28d58ff9a12adf287d8741890dd8",
    "0002_due_from.pre.sqlite.sql": "707fd1330e2ff9dfe11c4189272605f80a637300d449503cc19aecf15358cc6d",
    "0003_due_from.post.postgres.sql": "f74f35ee4b5c1d976d5b7db3ba12214cc128af7c3162a596f94acd7cbcf64902",
    "0003_due_from.post.sqlite.sql": "8ab404b636177b6f7b04674edda52e10daf3c680ba872c22e5e8474768b853c4",
}
RENDER = Right("render", Kind.ELEMENT_POOL, 5)
OURS = [  # the steps of this code
    "seats",
    "due_from.pre",
    "due_from.post",
    "sites.pre",
    "api_clients.pre",
    "borrowing.pre",
    "connect.pre",
    "account_key.pre",
    "usage.pre",
]

# What a next release could bring: additions now, and later the end of what only this code needs.
ADDS = Step(
    1002,
    "regions",
    "CREATE TABLE region (name TEXT NOT NULL PRIMARY KEY); ALTER TABLE holding ADD COLUMN region TEXT;"
    " ALTER TABLE pool ADD COLUMN burst INTEGER NOT NULL DEFAULT 0; ALTER TABLE fact ADD COLUMN region TEXT;"
    " ALTER TABLE holder ADD COLUMN region TEXT; CREATE INDEX holders_by_name ON holder (tenant_id, username)",
    Phase.PRE,
)
TAKES_AWAY = Step(1003, "regions", "ALTER TABLE holder DROP COLUMN project", Phase.POST)

Newer = Callable[..., None]


@pytest.fixture(params=["sqlite", *sorted(postgres.servers())])
def start(request: pytest.FixtureRequest, tmp_path: Path, clusters: Clusters) -> Iterator[Callable[[], AnyStore]]:
    """What opens a new database, and opens it again as another process would."""
    with ExitStack() as opened:
        if request.param == "sqlite":
            yield lambda: opened.enter_context(closing(SqliteStore(tmp_path / "seatkeeper.db")))
        else:
            uri = opened.enter_context(clusters[request.param].database())
            yield lambda: opened.enter_context(closing(HandTimedStore(uri)))


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Newer:
    """What lets a store behave like newer code, which knows more steps, for one call."""
    known = migrations.steps

    def run(work: Callable[..., None], *more: Step) -> None:
        def steps(database: str) -> Mapping[int, Step]:
            return {**known(database), **{step.number: step for step in more}}

        with monkeypatch.context() as patch:
            patch.setattr(migrations, "steps", steps)
            work(START)

    return run


def names(store: AnyStore) -> list[str]:
    """Give the steps that a database remembers."""
    with store.transaction() as tx:
        return [row[0] for row in raw(tx)("SELECT name FROM migration ORDER BY number").fetchall()]


def live(house: House) -> None:
    """Live through everything that can happen to a seat."""
    first = house.one(activate("a", features={"render": 2}))
    assert isinstance(first, Served)
    key = Key("give back", "key", "body")
    assert isinstance(house.one(held(Verb.REFRESH, first)), Served)
    assert isinstance(house.one(held(Verb.GIVE_BACK, first, feature="render", amount=1, key=key)), Served)
    assert isinstance(house.one(activate("b")), Served)
    assert isinstance(house.one(activate("c")), Refused)
    house.pass_(60, beating=False)
    assert isinstance(house.one(held(Verb.RETURN, first)), Done)
    house.pass_(400)
    house.sweep()
    assert house.used() == 0


def test_what_was_released_is_never_edited() -> None:
    """A database that was made by a released step can't be made again differently: a change is a step of its own."""
    schema = files(migrations.__package__) / "schema"
    found = {file.name: sha256(file.read_bytes()).hexdigest() for file in schema.iterdir() if file.name.endswith(".sql")}

    assert {name: found.get(name) for name in RELEASED} == RELEASED


def test_every_database_has_the_same_steps() -> None:
    """A step that a database doesn't need is there all the same, empty: numbers, names and phases agree."""
    told = [[(step.number, step.recorded) for step in migrations.steps(name).values()] for name in ("sqlite", "postgres")]

    assert sorted(told[0]) == sorted(told[1])


def test_code_goes_on_beside_additions_of_newer_code(start: Callable[[], AnyStore], newer: Newer) -> None:
    """While an upgrade rolls, older servers serve a database to which newer code has added: also one that starts just then."""
    store = start()
    house = make_house(store, features=(RENDER,))
    newer(store.migrate, ADDS, TAKES_AWAY)
    live(house)
    beside = start()
    beside.migrate(START)

    assert names(beside) == [*OURS, "regions.pre"]
    live(replace(house, store=beside))


def test_nothing_is_taken_away_while_older_code_may_be_at_work(start: Callable[[], AnyStore], newer: Newer) -> None:
    """Starting applies what adds; what takes away waits until somebody says that all older code is gone."""
    store = start()
    store.migrate(START)
    newer(store.migrate, ADDS, TAKES_AWAY)
    before = names(store)
    newer(store.finish_migration, ADDS, TAKES_AWAY)

    assert (before, names(store)) == ([*OURS, "regions.pre"], [*OURS, "regions.pre", "regions.post"])


def test_code_refuses_what_newer_code_has_taken_away_from(start: Callable[[], AnyStore], newer: Newer) -> None:
    """Older code that starts after the upgrade was finished says what to do, and touches nothing."""
    store = start()
    store.migrate(START)
    newer(store.migrate, ADDS, TAKES_AWAY)
    newer(store.finish_migration, ADDS, TAKES_AWAY)
    late = start()

    with pytest.raises(SchemaTooNew, match=r"schema 1003.*upgrade this Seatkeeper"):
        late.migrate(START)


def test_a_new_database_gets_every_step_at_once(start: Callable[[], AnyStore], newer: Newer) -> None:
    """No older code can be at work where nothing was: nobody has to finish an upgrade of a new database."""
    store = start()
    newer(store.migrate, ADDS, TAKES_AWAY)

    assert names(store) == [*OURS, "regions.pre", "regions.post"]


def test_a_step_that_fails_leaves_nothing_behind(start: Callable[[], AnyStore], newer: Newer) -> None:
    """A step is a transaction: after its cause is gone it can be applied again."""
    store = start()
    store.migrate(START)
    broken = replace(ADDS, script="CREATE TABLE region (name TEXT); SELECT no_such_column FROM region")
    with pytest.raises(Exception, match="no_such_column"):
        newer(store.migrate, broken)
    newer(store.migrate, ADDS)

    assert names(store) == [*OURS, "regions.pre"]


@pytest.mark.parametrize("name", sorted(postgres.servers()))
def test_of_servers_that_start_at_once_one_makes_the_schema(name: str, clusters: Clusters) -> None:
    """Four servers meet on a database in which there is nothing yet: all of them find the whole schema."""
    with clusters[name].database() as uri, ThreadPoolExecutor(4) as beside:

        def begin(number: int) -> str:
            with closing(PostgresStore(uri)) as store:
                store.migrate(START)
                return store.found(f"db_{number}", START)[0]

        found = set(beside.map(begin, range(4)))

    assert len(found) == 1


def test_what_older_code_writes_is_found_in_time(start: Callable[[], AnyStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """While an upgrade rolls, servers go on that know nothing of where places are found."""
    store = start()
    known = migrations.steps
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "steps", lambda database: {1: known(database)[1]})
        store.migrate(START)
    house = make_house(store)  # adds, and takes nothing away
    house.ask(activate("a"), activate("b"))
    columns = ", ".join(_columns())
    with store.transaction() as tx:
        run = raw(tx)
        run("UPDATE holding SET due_from = NULL WHERE holder = 1")
        run("CREATE TEMP TABLE written AS SELECT * FROM holding")
        run("DELETE FROM holding")
        run(f"INSERT INTO holding ({columns}) SELECT {columns} FROM written")
        run("UPDATE holding SET free_at = free_at - 60000000 WHERE holder = 2")  # it was given back, and lingers
        run("DROP TABLE written")

    assert (store.steps()[2], 3 in store.steps()) == ("due_from.pre", False)
    assert _found_after(house) == [126, 66]
    store.finish_migration(START)
    house.pass_(70)
    house.sweep()
    assert house.used() == 1
    assert not store.waiting()


def _columns() -> list[str]:
    """Give the columns of a place that older code knows."""
    script = migrations.missing("sqlite", {}, Phase.PRE)[0].script
    table = script.partition("CREATE TABLE holding (")[2].partition("PRIMARY KEY")[0]
    return [line.split()[0] for line in table.splitlines() if line.strip()]


def _found_after(house: House) -> list[int]:
    """Give, for each place, after how many seconds the database looks whether it has ended."""
    return [round(row[0] / 1e6 - START.timestamp()) for row in house.rows("SELECT due_from FROM holding ORDER BY holder")]
