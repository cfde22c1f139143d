"""Moving to PostgreSQL: everything or nothing, the same afterwards, and never two that serve."""

import json
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.moved import DirectoryMoved, State, mark_of
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore
from tests.cli.commands import command
from tests.moving.conftest import Damage, cut_line, sums_of_postgres, sums_of_sqlite, tables_in
from tests.support.estate import NAME_WITH_ZERO, Estate, granted
from tests.support.postgres import Cluster, HandTimedStore
from tests.support.servers import BIN, Finished, clean_environment, seatkeeper

REFUSED, MISTYPED, UNUSABLE = 1, 2, 3
PATIENCE = 30  # seconds


def migrate(estate: Estate, to: str, *more: str) -> Finished:
    """Move the data directory."""
    return command("migrate", "--to", to, "--data", estate.data, *more)


def state(estate: Estate) -> State | None:
    """Tell how the data directory is marked."""
    mark = mark_of(estate.data)
    return None if mark is None else mark.state


def has_moved(estate: Estate, to: str) -> bool:
    """Tell whether everything is there, and the directory is closed."""
    there, here = sums_of_postgres(to, estate.path), sums_of_sqlite(estate.path)
    return state(estate) is State.MOVED and {name for name in here if here[name] != there[name]} == {"holder"}


def has_not_moved(estate: Estate, to: str) -> bool:
    """Tell whether nothing is there, and the directory is open."""
    return state(estate) is None and tables_in(to) == []


# --- what is there afterwards --------------------------------------------------------------------------------------


def test_everything_is_moved(estate: Estate, empty: str) -> None:
    """Every row of every table; the same database in the same epoch; and it verifies."""
    done = migrate(estate, empty, "--json")
    told = json.loads(done.stdout)
    with psycopg.connect(empty) as there:
        history = there.execute("SELECT database_id, epoch FROM history").fetchone()
        states = {row[0] for row in there.execute("SELECT state FROM holding")}
        names = {row[0] for row in there.execute("SELECT seat_name FROM holder")}

    assert done.returncode == 0, done.stderr
    assert has_moved(estate, empty)
    assert history == ("db_" + "D" * 22, 1) == (told["databaseId"], told["epoch"])
    assert states == {"held", "lapsed", "returned", "superseded", "takenBack"}
    assert NAME_WITH_ZERO.replace("\0", "\ufffd") in names
    assert told["verified"]["holds"] is True
    assert told["rows"] == {name: sum.rows for name, sum in sums_of_sqlite(estate.path).items()}


def test_programs_go_on_as_if_nothing_had_happened(estate: Estate, empty: str) -> None:
    """Their tokens, nonces, leases and numbers go on; who was blocked, superseded or lapsed is so still; then it verifies."""
    with closing(SqliteStore(estate.path)) as store:
        before = estate.serve(store).used(), estate.serve(store).used("render"), estate.serve(store).used("pages")
    last = estate.programs["ann"].served.holding
    migrate(estate, empty)

    with closing(HandTimedStore(empty)) as store:
        there = estate.serve(store)
        counted = there.used(), there.used("render"), there.used("pages")
        kept = granted(there.refresh("ann")).holding
        outcomes = {
            "blocked": there.activate("cat"),
            "superseded": there.refresh("older cat"),
            "full": there.activate("newcomer"),
            "node lock": there.refresh("node"),
            "returned": there.held("zoe", Verb.REFRESH),
        }
        there.house.pass_(60)
        there.refresh("ann")
        there.house.pass_(90)
        there.house.sweep()
        newcomers = [there.activate(name) for name in ("lapsed", "second")]
        verified = command("backup", estate.data / "after.tar", "--database", empty)

    assert counted == before
    assert (kept.generation, kept.sequence > last.sequence, kept.rights) == (last.generation, True, last.rights)
    assert {name: getattr(outcome, "problem", "served") for name, outcome in outcomes.items()} == {
        "blocked": "policy.refused",
        "superseded": "seat.takenOver",
        "full": "seats.exhausted",
        "node lock": "served",
        "returned": "seat.gone",
    }
    assert [type(outcome) for outcome in newcomers] == [Served, Served]
    assert "everything fits" in verified.stdout


def test_the_directory_says_where_its_data_went(estate: Estate, empty: str) -> None:
    """Servers and verbs refuse it with that sentence, and nothing in it is changed any more."""
    migrate(estate, empty)
    before = estate.path.read_bytes()
    server = seatkeeper("cloud", "--port", "0", "--data", estate.data)
    verbs = [
        command(*words, "--data", estate.data)
        for words in (
            ("ls",),
            ("seats",),
            ("sell", "new", "solver", "--seats", "1"),
            ("free", "ann@host"),
            ("verify",),
            ("doctor",),
            ("backup", estate.data / "b.tar"),
            ("migrate", "--to", empty),
            ("schema",),
        )
    ]

    assert {done.returncode for done in [server, *verbs]} == {UNUSABLE}
    assert all("were moved to PostgreSQL own_" in done.stderr for done in [server, *verbs])
    assert "name that database with --database or SEATKEEPER_DATABASE" in server.stderr
    assert estate.path.read_bytes() == before


def test_where_to_is_told_without_a_password(estate: Estate, empty: str) -> None:
    """Neither the mark nor what is printed holds it."""
    done = migrate(estate, f"{empty}&password=very-secret")

    assert done.returncode == 0, done.stderr
    assert "very-secret" not in done.stdout + (estate.data / "moved.json").read_text()


def test_a_database_whose_schema_was_made_already_will_do(estate: Estate, empty: str) -> None:
    """As long as nothing is in it."""
    with closing(PostgresStore(empty)) as store:
        store.migrate(estate.clock.now())
    done = migrate(estate, empty)

    assert done.returncode == 0, done.stderr
    assert has_moved(estate, empty)


def test_postgresql_knows_how_large_the_tables_are(estate: Estate, empty: str) -> None:
    """It was told before the rows that refer to them came: else a hundred thousand of them are not in after minutes."""
    migrate(estate, empty)
    with psycopg.connect(empty) as there:
        known = dict(there.execute("SELECT relname, reltuples::int FROM pg_class WHERE relkind = 'r'").fetchall())

    here = {name: sum.rows for name, sum in sums_of_sqlite(estate.path).items()}
    assert {name: known[name] for name in here} == here


def test_a_check_changes_nothing_and_needs_no_stop(estate: Estate, empty: str) -> None:
    """With --check-only all of it is copied and compared beside a running server, and taken back."""
    before = estate.path.read_bytes()
    with DirectoryLock(estate.data):
        done = migrate(estate, empty, "--check-only")

    assert done.returncode == 0, done.stderr
    assert "and taken back" in done.stdout
    assert has_not_moved(estate, empty)
    assert estate.path.read_bytes() == before


# --- refusals ------------------------------------------------------------------------------------------------------


def test_nothing_is_moved_under_a_server(estate: Estate, empty: str) -> None:
    """The server must be stopped first."""
    with DirectoryLock(estate.data):
        done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "is being served by another server" in done.stderr
    assert has_not_moved(estate, empty)


def test_nothing_is_moved_over_data(estate: Estate, on_postgres: str) -> None:
    """Not even over the same."""
    before = sums_of_postgres(on_postgres, estate.path)
    done = migrate(estate, on_postgres)
    check = migrate(estate, on_postgres, "--check-only")

    assert (done.returncode, check.returncode) == (UNUSABLE, UNUSABLE)
    assert "the database db_DDDDDDDDDDDDDDDDDDDDDD, epoch 1" in done.stderr
    assert state(estate) is None
    assert sums_of_postgres(on_postgres, estate.path) == before


def test_nothing_is_moved_among_tables_of_others(estate: Estate, empty: str) -> None:
    """A database that has a table called `customer` belongs to somebody else."""
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE TABLE customer (name TEXT)")
    done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "has a table customer that isn't Seatkeeper's" in done.stderr
    assert tables_in(empty) == ["customer"]
    assert state(estate) is None


def test_a_user_who_may_make_no_tables_is_told_so(estate: Estate, empty: str) -> None:
    """Since PostgreSQL 15 nobody but the owner may, in the schema everybody uses."""
    with psycopg.connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE ROLE stranger LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    done = migrate(estate, empty.replace("user=postgres", "user=stranger"))

    assert done.returncode == UNUSABLE
    assert "permission denied" in done.stderr
    assert "own the database" in done.stderr
    assert has_not_moved(estate, empty)


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("sqlite:/somewhere", MISTYPED, "seatkeeper backup FILE --database …, then seatkeeper restore FILE"),
        ("what is this", MISTYPED, "to: write postgresql://USER@HOST/NAME"),
        ("postgresql://a@b@c/d", MISTYPED, "in a password, write %40"),
        ("postgresql:///x?host=/nowhere", UNUSABLE, "/nowhere"),
    ],
)
def test_a_place_that_is_none_is_refused(estate: Estate, to: str, code: int, said: str) -> None:
    """In a sentence that says what to write, or what could not be reached."""
    done = migrate(estate, to)

    assert done.returncode == code
    assert said in done.stderr
    assert state(estate) is None


def test_what_does_not_verify_is_moved_only_by_force(estate: Estate, empty: str, tamper: Damage) -> None:
    """Then as it is, and 1 says that it doesn't fit."""
    tamper("DELETE FROM fact WHERE kind = 'Denied'")
    refused = migrate(estate, empty)
    nothing = has_not_moved(estate, empty)
    forced = migrate(estate, empty, "--force")

    assert (refused.returncode, nothing) == (REFUSED, True)
    assert "is missing" in refused.stderr
    assert forced.returncode == REFUSED
    assert has_moved(estate, empty)


def test_rows_that_refer_to_nothing_are_found_before_anything_is_moved(estate: Estate, empty: str, tamper: Damage) -> None:
    """PostgreSQL would refuse them one by one; they are named instead."""
    tamper("PRAGMA foreign_keys=OFF; DELETE FROM holder WHERE seat_id = 'zoe'")
    done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "a row of holding refers to no holder" in done.stderr
    assert has_not_moved(estate, empty)


def test_two_names_that_become_one_are_told(estate: Estate, empty: str, tamper: Damage) -> None:
    """PostgreSQL keeps no character 0; where that would make two holders one, nothing is moved."""
    tamper("UPDATE holder SET seat_id = 'twin' || char(0) WHERE seat_id = 'cat'")
    tamper("UPDATE holder SET seat_id = 'twin' || char(65533) WHERE seat_id = 'ann'")
    done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "PostgreSQL refuses what is in the table holder" in done.stderr
    assert has_not_moved(estate, empty)


def test_what_is_not_the_same_afterwards_is_not_kept(estate: Estate, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: one counter that is off by one on the other side, and nothing is moved."""
    with closing(PostgresStore(empty)) as store:
        store.migrate(estate.clock.now())
    with psycopg.connect(empty) as connection:
        off = "BEGIN NEW.used := NEW.used - 1; RETURN NEW; END"
        connection.execute(f"CREATE FUNCTION off() RETURNS trigger LANGUAGE plpgsql AS $$ {off} $$")
        when = "WHEN (NEW.used > 0 AND NEW.key = '')"
        connection.execute(f"CREATE TRIGGER off BEFORE INSERT ON pool_right FOR EACH ROW {when} EXECUTE FUNCTION off()")
    done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "the table pool_right is not the same after copying" in done.stderr
    assert state(estate) is None
    assert sums_of_postgres(empty, estate.path)["tenant"].rows == 0


# --- never two that serve ------------------------------------------------------------------------------------------


@contextmanager
def held_up(uri: str, table: str, when: str) -> Iterator[psycopg.Connection]:
    """Have whoever fills a database wait: `before` a row of a table is in, or `after`, when he commits."""
    with closing(PostgresStore(uri)) as store:
        store.migrate(datetime.now(UTC))
    with psycopg.connect(uri, autocommit=True) as gate:
        wait = "BEGIN PERFORM pg_advisory_lock_shared(7); PERFORM pg_advisory_unlock_shared(7); RETURN NEW; END"
        gate.execute(f"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ {wait} $$")
        kind = "TRIGGER wait BEFORE" if when == "before" else "CONSTRAINT TRIGGER wait AFTER"
        late = "" if when == "before" else "DEFERRABLE INITIALLY DEFERRED"
        gate.execute(f"CREATE {kind} INSERT ON {table} {late} FOR EACH ROW EXECUTE FUNCTION wait()")
        gate.execute("SELECT pg_advisory_lock(7)")
        yield gate


def await_waiting(gate: psycopg.Connection) -> int:
    """Wait until somebody waits; the process of PostgreSQL that does."""
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
    for _ in range(PATIENCE * 50):
        row = gate.execute(query).fetchone()
        if row is not None:
            return int(row[0])
        threading.Event().wait(0.02)
    raise AssertionError("nobody came so far")


def await_end(gate: psycopg.Connection, pid: int) -> None:
    """Wait until a process of PostgreSQL has done what it was doing."""
    for _ in range(PATIENCE * 50):
        if gate.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None:
            return
        threading.Event().wait(0.02)
    raise AssertionError("it goes on")


@contextmanager
def moving(estate: Estate, to: str) -> Iterator["subprocess.Popen[str]"]:
    """Move in a process of its own."""
    words = [BIN / "seatkeeper", "migrate", "--to", to, "--data", estate.data]
    process = subprocess.Popen(words, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_killed_in_the_middle_nothing_has_happened(estate: Estate, empty: str) -> None:
    """The target is empty and the source unmarked; then it can be done again."""
    with held_up(empty, "fact", "before") as gate:
        with moving(estate, empty) as process:
            pid = await_waiting(gate)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        marked = state(estate)
        gate.execute("SELECT pg_advisory_unlock(7)")
        await_end(gate, pid)
        left = sums_of_postgres(empty, estate.path)
    again = migrate(estate, empty)

    assert marked is None
    assert {sum.rows for sum in left.values()} == {0}
    assert again.returncode == 0, again.stderr
    assert has_moved(estate, empty)


@pytest.mark.parametrize("committed", [True, False])
def test_killed_while_it_commits_nobody_serves_until_it_is_known(estate: Estate, empty: str, committed: bool) -> None:
    """Servers and verbs refuse the directory; the next call finds out what happened, and finishes it or does it again."""
    with held_up(empty, "history", "after") as gate:
        with moving(estate, empty) as process:
            pid = await_waiting(gate)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        marked = state(estate)
        refused = [command(*words, "--data", estate.data) for words in (("ls",), ("cloud", "--port", "0"))]
        if not committed:
            gate.execute("SELECT pg_terminate_backend(%s)", (pid,))
        gate.execute("SELECT pg_advisory_unlock(7)")
        if not committed:
            await_end(gate, pid)
    again = migrate(estate, empty)

    assert marked is State.MOVING
    assert {done.returncode for done in refused} == {UNUSABLE}
    assert all("it isn't known whether that was finished" in done.stderr for done in refused)
    assert again.returncode == 0, again.stderr
    assert ("had been finished" in again.stdout) is committed
    assert has_moved(estate, empty)


@pytest.mark.parametrize("lost", [False, True])
def test_a_connection_lost_during_commit_is_told_and_found_out(estate: Estate, cluster: Cluster, lost: bool) -> None:
    """Whether or not the other side got the COMMIT, the answer is: not known, ask once more."""
    with cluster.empty() as url, cut_line(cluster, url, lost) as through:
        first = migrate(estate, through)
        marked = state(estate)
        again = migrate(estate, through)

        assert (first.returncode, marked) == (UNUSABLE, State.MOVING)
        assert "ask once more" in first.stderr
        assert again.returncode == 0, again.stderr
        assert ("had been finished" in again.stdout) is not lost
        assert has_moved(estate, url)


def test_a_move_that_was_broken_off_is_not_begun_to_another_place(estate: Estate, cluster: Cluster, empty: str) -> None:
    """The first place may have everything: only it can tell."""
    with held_up(empty, "history", "after") as gate, cluster.empty() as other:
        with moving(estate, empty) as process:
            await_waiting(gate)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        done = migrate(estate, other)
        gate.execute("SELECT pg_advisory_unlock(7)")

        assert done.returncode == UNUSABLE
        assert "were being moved to PostgreSQL own_" in done.stderr
        assert tables_in(other) == []
        assert state(estate) is State.MOVING


def test_a_commit_that_fails_leaves_the_directory_open(estate: Estate, empty: str) -> None:
    """What was rolled back for sure has not moved."""
    with held_up(empty, "history", "after") as gate:
        fail = "BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END"
        gate.execute(f"CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ {fail} $$")
        done = migrate(estate, empty)

    assert done.returncode == UNUSABLE
    assert "no room" in done.stderr
    assert state(estate) is None
    assert command("ls", "--data", estate.data).returncode == 0


def test_a_verb_that_waited_for_its_turn_writes_nothing_into_what_was_moved(estate: Estate, empty: str) -> None:
    """It had opened the directory before the move, and got its turn after it."""
    with closing(SqliteStore(estate.path)) as store, held_up(empty, "fact", "before") as gate:
        store.was_committed("open it")
        told: list[BaseException] = []

        def write() -> None:
            try:
                with store.transaction() as tx:
                    tx._connection.execute("UPDATE tenant SET contact = 'too late'")
            except DirectoryMoved as refused:
                told.append(refused)

        with moving(estate, empty) as process:
            await_waiting(gate)
            verb = threading.Thread(target=write)
            verb.start()
            gate.execute("SELECT pg_advisory_unlock(7)")
            code = process.wait(PATIENCE)
            verb.join(PATIENCE)

    assert (code, len(told)) == (0, 1)
    with closing(sqlite3.connect(estate.path)) as database:
        assert database.execute("SELECT count(*) FROM tenant WHERE contact = 'too late'").fetchone() == (0,)


# --- and back ------------------------------------------------------------------------------------------------------


def test_the_way_back_is_a_backup(estate: Estate, empty: str, tmp_path: Path) -> None:
    """Restored into a new directory it is in a new epoch, and programs go on there."""
    migrate(estate, empty)
    with closing(HandTimedStore(empty)) as store:
        granted(estate.serve(store).refresh("ann"))
    command("backup", tmp_path / "back.tar", "--database", empty)
    back = command("restore", tmp_path / "back.tar", "--data", tmp_path / "back")
    shutil.copy(estate.data / "seal.key", tmp_path / "back" / "seal.key")
    estate.clock.pass_(timedelta(seconds=1))
    with closing(SqliteStore(tmp_path / "back" / "seatkeeper.db")) as store:
        there = estate.serve(store)
        served = there.refresh("ann")

    assert back.returncode == 0, back.stderr
    assert isinstance(served, Served)
    assert there.keyring.epoch == 2
