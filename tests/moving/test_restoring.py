"""Restoring: into an empty place, all of it or nothing, with a new epoch, and programs that go on."""

import io
import json
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.restoring import numbers_from, set_back
from seatkeeper_server.domain.terms import SEAT, Kind, Right, Terms
from seatkeeper_server.service.calls import Done, Refused, Served, Verb
from seatkeeper_server.store import migrations
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.migrations import Phase, Step
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.restoring import Restoring
from seatkeeper_server.store.sqlite import SqliteStore
from tests.cli.commands import command
from tests.moving.conftest import Damage, Sums, cut_line, names, sums_of_postgres, sums_of_sqlite, tables_in
from tests.support import stores
from tests.support.disks import fill, small_disk
from tests.support.estate import Estate, granted
from tests.support.house import AnyStore, make_house, raw
from tests.support.postgres import Cluster, Clusters, HandTimedStore
from tests.support.servers import BIN, Finished, clean_environment

REFUSED, UNUSABLE = 1, 3
CHANGED = {"history", "pool", "tenant", "fact"}  # tables in which a restore writes


@pytest.fixture
def backup(estate: Estate, tmp_path: Path) -> Path:
    """A backup of the vendor's data."""
    path = tmp_path / "vendor.tar"
    done = command("backup", path, "--data", estate.data)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that isn't there yet."""
    return tmp_path / "restored"


def restore(backup: Path, data: Path, *more: str) -> Finished:
    """Restore into a data directory."""
    return command("restore", backup, "--data", data, *more)


@contextmanager
def opened(estate: Estate, where: Path | str) -> Iterator[AnyStore]:
    """Open what was restored, time moved by hand."""
    store: AnyStore = SqliteStore(where / "seatkeeper.db") if isinstance(where, Path) else HandTimedStore(where)
    with closing(store):
        estate.clock.pass_(timedelta(seconds=1))
        yield store


# --- what is there afterwards --------------------------------------------------------------------------------------


def test_everything_is_there(estate: Estate, backup: Path, data: Path) -> None:
    """Every row of every table, but for what says that it was restored; and that adds up."""
    done = restore(backup, data, "--json")
    before, after = sums_of_sqlite(estate.path), sums_of_sqlite(data / "seatkeeper.db")

    assert done.returncode == 0, done.stderr
    assert {name for name in before if before[name] != after[name]} == CHANGED
    assert after["fact"].rows == before["fact"].rows + 2, "a fact in the chain of each of two vendors"
    assert json.loads(done.stdout)["verified"]["holds"] is True
    assert command("verify", "--data", data).returncode == 0
    assert stat.S_IMODE((data / "seatkeeper.db").stat().st_mode) == 0o600


def test_everything_is_there_in_postgresql(estate: Estate, backup: Path, empty: str) -> None:
    """A backup of SQLite becomes a PostgreSQL database."""
    done = command("restore", backup, "--database", empty, "--data", estate.data, "--json")
    before, after = sums_of_sqlite(estate.path), sums_of_postgres(empty, estate.path)

    assert done.returncode == 0, done.stderr
    assert {name for name in before if before[name] != after[name]} == {*CHANGED, "holder"}, "one has a character 0 in his name"
    assert after["fact"].rows == before["fact"].rows + 2
    assert json.loads(done.stdout)["verified"]["holds"] is True


def test_a_backup_of_postgresql_becomes_a_data_directory(estate: Estate, on_postgres: str, data: Path, tmp_path: Path) -> None:
    """That is the way back from PostgreSQL."""
    command("backup", tmp_path / "back.tar", "--database", on_postgres)
    done = restore(tmp_path / "back.tar", data)
    before: Sums = sums_of_postgres(on_postgres, estate.path)
    after = sums_of_sqlite(data / "seatkeeper.db")

    assert done.returncode == 0, done.stderr
    assert {name for name in before if before[name] != after[name]} == CHANGED


def test_a_new_epoch_begins_and_the_log_says_so(backup: Path, data: Path) -> None:
    """A lease of the new history can't be taken for one of the lost one; every vendor can read when that was."""
    told = restore(backup, data)
    with closing(sqlite3.connect(data / "seatkeeper.db")) as database:
        history = database.execute("SELECT database_id, epoch FROM history").fetchone()
        notes = database.execute("SELECT DISTINCT tenant_id FROM fact WHERE chain_id = tenant_id AND data LIKE '%restored%'")
        tenants = len(notes.fetchall())
    log = command("log", "--data", data)

    assert history == ("db_" + "D" * 22, 2)
    assert tenants == 2
    assert "now in epoch 2" in told.stdout
    assert "restored from the backup of" in log.stdout


@pytest.mark.parametrize("kind", ["directory", "postgres"])
def test_programs_go_on_and_what_the_backup_does_not_know_is_learned(
    estate: Estate, backup: Path, data: Path, empty: str, kind: str
) -> None:
    """Rule 8: whoever held a seat holds it still, in whatever order they call; there is no room for others."""
    with closing(SqliteStore(estate.path)) as store:
        here = estate.serve(store)
        here.held("ann", Verb.RETURN)  # the backup doesn't know it
        here.house.pass_(200)  # whoever else was in is gone
        for late in ("late", "later"):
            granted(here.activate(late))
        for _ in range(3):
            granted(here.refresh("late"))
        granted(here.activate("latest", features={"render": 4}))
        here.held("later", Verb.RETURN)
    where: Path | str = data if kind == "directory" else empty
    done = command("restore", backup, *(("--data", data) if kind == "directory" else ("--database", empty)))
    assert done.returncode == 0, done.stderr

    with opened(estate, where) as store:
        there = estate.serve(store)
        learned = [there.refresh(name) for name in ("latest", "late")]
        newcomer = there.activate("newcomer")
        there.house.pass_(30)
        again = [there.refresh(name) for name in ("late", "latest")]

    assert [type(outcome) for outcome in [*learned, *again]] == [Served] * 4
    assert isinstance(newcomer, Refused)
    assert newcomer.problem == "seats.exhausted"
    assert [kind for kind in _kinds(estate, where) if kind in ("Restored", "CloneSuspected")] == ["Restored", "Restored"]


def _kinds(estate: Estate, where: Path | str) -> list[str]:
    with opened(estate, where) as store:
        return estate.serve(store).kinds()


def test_a_program_that_the_backup_knows_goes_on_with_its_own_nonce(estate: Estate, tmp_path: Path, data: Path) -> None:
    """Although it has called often since, and a newcomer was served before it."""
    with closing(SqliteStore(estate.path)) as store:
        here = estate.serve(store)
        for _ in range(3):  # until the others are gone
            here.house.pass_(60)
            granted(here.refresh("ann"))
        command("backup", tmp_path / "vendor.tar", "--data", estate.data)
        for _ in range(4):
            granted(here.refresh("ann"))
        sequence = estate.programs["ann"].served.holding.sequence
    restore(tmp_path / "vendor.tar", data)

    with opened(estate, data) as store:
        there = estate.serve(store)
        granted(there.activate("newcomer"))
        first = granted(there.refresh("ann"))
        second = granted(there.refresh("ann"))

    assert sequence < first.holding.sequence < second.holding.sequence
    assert first.holding.generation == 1


def test_the_same_backup_can_be_restored_again(estate: Estate, backup: Path, data: Path, tmp_path: Path) -> None:
    """Numbers given out after the first restore are below those after the second: no program sees one fall."""
    restore(backup, data)
    with opened(estate, data) as store:
        first = granted(estate.serve(store).activate("first", customer="cone"))
        lost = estate.programs["first"]
    restore(backup, tmp_path / "again")
    estate.programs["first"] = lost

    with opened(estate, tmp_path / "again") as store:
        second = granted(estate.serve(store).refresh("first"))

    assert second.holding.sequence > first.holding.sequence > 1 << 50


def test_usage_and_returns_of_the_lost_time_are_forgotten_and_said_so(estate: Estate, backup: Path, data: Path) -> None:
    """A seat returned since counts as held until its lease would have ended; the output says what is learned and what isn't."""
    with closing(SqliteStore(estate.path)) as store:
        assert isinstance(estate.serve(store).held("ann", Verb.RETURN), Done)
    done = restore(backup, data)
    with opened(estate, data) as store:
        there = estate.serve(store)
        before = there.used()
        there.house.pass_(400)
        there.house.sweep()
        after = there.used()

    assert (before, after) == (3, 0)
    assert "learned from the programs that have them" in done.stdout
    assert "No lease lasts longer than 2m" in done.stdout


def test_older_data_are_brought_up_to_date(estate: Estate, backup: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of an earlier version gets the steps that are missing before anybody sees it."""
    newer = Step(1002, "more", "CREATE TABLE region (name TEXT NOT NULL PRIMARY KEY)", Phase.PRE)
    with closing(SqliteStore(estate.path)) as store:
        before = store.steps()
    known = migrations.steps
    monkeypatch.setattr(migrations, "steps", lambda database: {**known(database), 1002: newer})
    done = restore(backup, data)

    assert done.returncode == 0, done.stderr
    with closing(SqliteStore(data / "seatkeeper.db")) as store:
        assert store.steps() == {**before, 1002: "more.pre"}


@pytest.mark.parametrize("kind", stores.ONE_OF_EACH)
def test_the_store_sets_numbers_back_as_the_rules_say(kind: str, tmp_path: Path, clusters: Clusters) -> None:
    """The statement does for every pool what `domain.restoring.set_back` says of one, restored once or twice."""
    tallies = {SEAT: Tally(Right(SEAT, Kind.SEAT, 1))}
    terms = Terms(lease=timedelta(minutes=2), margin=timedelta(seconds=6))
    with stores.opened(kind, tmp_path, clusters) as store:
        make_house(store)
        for sequence, lost_after, lost_until in [(7, 0, 0), (7, 3, 5), (2000, 0, 0), (2000, 3, 5)]:
            with store.transaction() as tx:
                raw(tx)("UPDATE pool SET sequence = ?, lost_after = ?, lost_until = ?", (sequence, lost_after, lost_until))
                Restoring(tx).set_back(1000)
                found = raw(tx)("SELECT sequence, lost_after, lost_until FROM pool").fetchone()
            pool = set_back(
                Pool(terms=terms, tallies=tallies, sequence=sequence, lost_after=lost_after, lost_until=lost_until), 1000
            )

            assert tuple(found) == (pool.sequence, pool.lost_after, pool.lost_until)


# --- the sealing key -----------------------------------------------------------------------------------------------


def test_it_says_where_the_sealing_key_has_to_be_put(estate: Estate, backup: Path, data: Path) -> None:
    """Without it no server starts; one that is there already is looked at."""
    told = restore(backup, data)
    (data / "seatkeeper.db").unlink()
    (data / "seal.key").write_bytes(bytes(32))
    another = restore(backup, data)
    (data / "seatkeeper.db").unlink()
    shutil.copy(estate.data / "seal.key", data / "seal.key")
    right = restore(backup, data)

    assert f"put it at {data / 'seal.key'}" in told.stdout
    assert f"{data / 'seal.key'} is not the sealing key of this database" in another.stdout
    assert "seal.key" not in right.stdout
    assert [done.returncode for done in (told, another, right)] == [0, 0, 0]


def test_a_sealing_key_that_the_backup_brings_is_put_in_place(estate: Estate, data: Path, tmp_path: Path) -> None:
    """Where the server looks for it, readable by its owner alone; one that is there already is never written over."""
    backup = tmp_path / "with-key.tar"
    command("backup", backup, "--with-seal-key", "--data", estate.data)
    done = restore(backup, data)
    key = data / "seal.key"
    elsewhere = tmp_path / "another"
    elsewhere.mkdir()
    (elsewhere / "seal.key").write_bytes(bytes(32))
    refused = restore(backup, elsewhere)

    assert (done.returncode, key.read_bytes()) == (0, (estate.data / "seal.key").read_bytes())
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert command("doctor", "--data", data).returncode == 0
    assert refused.returncode == UNUSABLE
    assert "another one lies at" in refused.stderr
    assert names(elsewhere) == ["seal.key", "server.lock"]


# --- where nothing is restored -------------------------------------------------------------------------------------


def test_nothing_is_restored_over_data(estate: Estate, backup: Path, on_postgres: str) -> None:
    """It says what is there and what to do, and changes nothing."""
    before = sums_of_sqlite(estate.path)
    directory = restore(backup, estate.data)
    database = command("restore", backup, "--database", on_postgres)

    assert (directory.returncode, database.returncode) == (UNUSABLE, UNUSABLE)
    assert "there is a database in" in directory.stderr
    assert "the database db_DDDDDDDDDDDDDDDDDDDDDD, epoch 1" in database.stderr
    assert sums_of_sqlite(estate.path) == before


def test_nothing_is_restored_under_a_server(backup: Path, data: Path) -> None:
    """Also one that has not begun its database yet."""
    data.mkdir()
    with DirectoryLock(data):
        done = restore(backup, data)

    assert done.returncode == UNUSABLE
    assert "is being served by another server" in done.stderr
    assert names(data) == ["server.lock"]


def test_a_database_that_somebody_begins_meanwhile_is_not_written_over(
    backup: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seatkeeper sell` needs no server to begin one."""
    from seatkeeper_server.service import restoring

    reopen = restoring.reopen

    def slower(*arguments: object, **more: object) -> object:
        command("sell", "acme", "solver", "--seats", "1", "--data", data)
        return reopen(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(restoring, "reopen", slower)
    done = restore(backup, data)

    assert done.returncode == UNUSABLE
    assert "nothing was written over" in done.stderr
    assert "acme" in command("ls", "--data", data).stdout
    assert not list(data.glob(".restoring-*"))


def repacked(backup: Path, **changed: bytes) -> Path:
    """Give a backup with other members, and sums that fit them: not damaged, but different."""
    path = backup.with_name("repacked.tar")
    with tarfile.open(backup) as old:
        members = {name: file.read() for name in old.getnames() if (file := old.extractfile(name)) is not None}
    members |= {name.replace("_", "."): content for name, content in changed.items()}
    sums = "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in members.items() if name != "SHA256SUMS")
    members["SHA256SUMS"] = sums.encode()
    with tarfile.open(path, "w") as new:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return path


def manifest_of(backup: Path) -> dict[str, object]:
    """Read a backup's manifest."""
    with tarfile.open(backup) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        manifest: dict[str, object] = json.loads(file.read())
    return manifest


def test_a_backup_of_a_newer_seatkeeper_is_refused(backup: Path, data: Path) -> None:
    """Whether it is the file's format that is newer, or the schema of what is in it."""
    manifest = manifest_of(backup)
    newer_format = restore(repacked(backup, manifest_json=json.dumps({"format": 2, "something": "else"}).encode()), data)
    schema = json.dumps({**manifest, "schema": {"1": "seats", "99": "less.post"}})
    newer_schema = restore(repacked(backup, manifest_json=schema.encode()), data)

    assert (newer_format.returncode, newer_schema.returncode) == (UNUSABLE, UNUSABLE)
    assert "made by a newer Seatkeeper (format 2)" in newer_format.stderr
    known = max(migrations.steps("sqlite"))
    assert f"schema 99, this Seatkeeper knows {known}: upgrade this Seatkeeper" in newer_schema.stderr
    assert not data.exists()


def test_additions_of_newer_code_are_not_lost_in_postgresql(estate: Estate, tmp_path: Path, data: Path, empty: str) -> None:
    """A directory takes a backup with an unknown addition as it is; in PostgreSQL it would be lost, so it is refused."""
    with closing(sqlite3.connect(estate.path)) as database, database:
        database.execute("CREATE TABLE region (name TEXT NOT NULL PRIMARY KEY) STRICT")
        database.execute("INSERT INTO region VALUES ('north')")
        database.execute("INSERT INTO migration VALUES (1002, 'regions.pre', 0)")
    command("backup", tmp_path / "newer.tar", "--data", estate.data)
    directory = restore(tmp_path / "newer.tar", data)
    postgres = command("restore", tmp_path / "newer.tar", "--database", empty)

    assert directory.returncode == 0, directory.stderr
    assert sums_of_sqlite(data / "seatkeeper.db")["region"].rows == 1
    assert postgres.returncode == UNUSABLE
    assert "upgrade this Seatkeeper" in postgres.stderr
    assert tables_in(empty) == []


def test_a_backup_with_another_database_than_it_says_is_refused(backup: Path, data: Path) -> None:
    """The manifest and what is in the database must say the same."""
    manifest = json.dumps({**manifest_of(backup), "databaseId": "db_another"})
    done = restore(repacked(backup, manifest_json=manifest.encode()), data)

    assert done.returncode == UNUSABLE
    assert "another database in it than it says" in done.stderr
    assert not data.exists()


@pytest.mark.parametrize("what", ["no such file", "a text", "another archive", "empty"])
def test_what_is_no_backup_is_refused(tmp_path: Path, data: Path, what: str) -> None:
    """In a sentence, and nothing is made."""
    path = tmp_path / "file"
    if what == "a text":
        path.write_text("not a backup\n" * 1000)
    elif what == "another archive":
        with tarfile.open(path, "w") as tar:
            tar.add(__file__, "test.py")
    elif what == "empty":
        path.touch()
    done = restore(path, data)

    assert done.returncode == UNUSABLE
    assert "No such file" in done.stderr if what == "no such file" else "is no backup" in done.stderr
    assert not data.exists()


def test_a_damaged_backup_is_refused_wherever_it_is_damaged(backup: Path, data: Path) -> None:
    """A bit turned over: it is found, or it is one of those that mean nothing, and then what is restored is what was there."""
    whole, chance = backup.read_bytes(), random.Random(1)
    restore(backup, data)
    right = _content(data)
    found = 0
    for _ in range(40):
        at = chance.randrange(len(whole))
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        shutil.rmtree(data)
        done = restore(backup, data)
        if done.returncode == 0:
            assert _content(data) == right, at
        else:
            assert done.returncode == UNUSABLE
            assert "damaged" in done.stderr
            assert not data.exists()
            data.mkdir()
            found += 1

    assert found >= 35, "nearly every bit of it means something"


def _content(data: Path) -> Sums:
    sums = sums_of_sqlite(data / "seatkeeper.db")
    return {name: sum for name, sum in sums.items() if name not in CHANGED}


def test_a_backup_that_was_cut_off_is_refused(backup: Path, data: Path) -> None:
    """A copy that didn't get to its end."""
    whole = backup.read_bytes()
    for part in (0.001, 0.3, 0.9, 0.97):
        backup.write_bytes(whole[: int(len(whole) * part)])
        done = restore(backup, data)

        assert done.returncode == UNUSABLE
        assert "damaged" in done.stderr
        assert not data.exists()


def test_what_does_not_verify_is_restored_only_by_force(estate: Estate, tmp_path: Path, data: Path, tamper: Damage) -> None:
    """It was like that when the backup was made; then it is had as it is, and 1 says that it doesn't fit."""
    tamper("UPDATE pool_right SET used = 1 WHERE key = '' AND used = 3")
    command("backup", tmp_path / "off.tar", "--data", estate.data)
    refused = restore(tmp_path / "off.tar", data)
    made = data.exists()
    forced = restore(tmp_path / "off.tar", data, "--force")

    assert refused.returncode == REFUSED
    assert "the counter says 1" in refused.stderr
    assert not made
    assert forced.returncode == REFUSED
    assert "the counter says 1" in forced.stdout
    assert (data / "seatkeeper.db").exists()


# --- never half ----------------------------------------------------------------------------------------------------


def test_a_full_disk_restores_nothing(backup: Path, tmp_path: Path) -> None:
    """Neither a new directory nor one with a sealing key in it has anything half made in it."""
    with small_disk(tmp_path / "disk", "3m") as disk:
        (disk / "kept").mkdir()
        (disk / "kept" / "seal.key").write_bytes(bytes(32))
        filler = fill(disk, 100 << 10)
        new = restore(backup, disk / "new")
        kept = restore(backup, disk / "kept")
        left = names(disk), names(disk / "kept")
        filler.unlink()
        done = restore(backup, disk / "new")

    assert (new.returncode, kept.returncode) == (UNUSABLE, UNUSABLE)
    assert "No space left" in new.stderr or "full" in new.stderr
    assert left == (["filler", "kept"], ["seal.key", "server.lock"])
    assert done.returncode == 0, done.stderr


def killed_at(call: str, *arguments: str | Path) -> Finished:
    """Run a verb in a process that is killed when it makes a system call."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing (Debian: strace)")
    inject = f"inject={call}:signal=SIGKILL:when=1"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, BIN / "seatkeeper", *arguments]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    if "ptrace" in done.stderr:
        pytest.skip(f"strace is not allowed here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_restore_that_was_killed_leaves_nothing_that_is_served(backup: Path, data: Path, call: str) -> None:
    """There is no database until all of it is there; the next try takes away what was left."""
    killed = killed_at(call, "restore", backup, "--data", data)
    left = names(data)
    served = command("ls", "--data", data)
    done = restore(backup, data)

    assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert "seatkeeper.db" not in left
    assert served.returncode == UNUSABLE
    assert done.returncode == 0, done.stderr
    assert names(data) == ["seatkeeper.db", "server.lock"]


def test_a_restore_into_postgresql_that_fails_leaves_nothing(estate: Estate, backup: Path, empty: str) -> None:
    """It is one transaction, tables and all: whatever fails in it, also at its very end, nothing was ever there."""
    with psycopg.connect(empty, autocommit=True) as connection:
        fail = "BEGIN RAISE 'too late' USING ERRCODE = 'disk_full'; END"
        connection.execute(f"CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ {fail} $$")
    with closing(PostgresStore(empty)) as store:
        store.migrate(datetime.now(UTC))
    with psycopg.connect(empty, autocommit=True) as connection:
        late = "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON checkpoint DEFERRABLE INITIALLY DEFERRED"
        connection.execute(f"{late} FOR EACH ROW EXECUTE FUNCTION late()")
    done = command("restore", backup, "--database", empty)
    with psycopg.connect(empty) as connection:
        rows = [connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("history", "tenant", "fact")]

    assert done.returncode == UNUSABLE
    assert "too late" in done.stderr
    assert rows == [(0,), (0,), (0,)]


def test_a_restore_whose_commit_got_lost_is_asked_for_again(backup: Path, cluster: Cluster) -> None:
    """It is refused then if everything was there, and done if nothing was."""
    again = []
    for lost in (False, True):
        with cluster.empty() as url, cut_line(cluster, url, lost) as through:
            first = command("restore", backup, "--database", through)
            again.append(command("restore", backup, "--database", url).returncode)

            assert first.returncode == UNUSABLE
            assert "ask once more" in first.stderr

    assert again == [UNUSABLE, 0]


def test_numbers_begin_above_all_that_can_have_been_signed() -> None:
    """Microseconds: more than any pool signs in that time."""
    assert numbers_from(datetime(2026, 6, 1, tzinfo=UTC)) == 1_780_272_000_000_000
