"""Backups: what is in them, that they are checked, and that nothing half made is left."""

import json
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from seatkeeper_server.store import archive, migrations
from seatkeeper_server.store.migrations import Phase, Step
from seatkeeper_server.store.sqlite import SqliteStore
from tests.cli.commands import command
from tests.moving.conftest import Damage, Sums, names, sums_of_postgres, sums_of_sqlite
from tests.support.disks import fill, small_disk
from tests.support.estate import Estate
from tests.support.servers import Finished

OURS = {str(number): step.recorded for number, step in sorted(migrations.steps("sqlite").items())}  # of this version

REFUSED, UNUSABLE = 1, 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a backup goes: a folder of its own, in which nothing else may be left."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "vendor.tar"


def back_up(estate: Estate, file: Path, *more: str) -> Finished:
    """Back the data directory up."""
    return command("backup", file, "--data", estate.data, *more)


def unpacked(file: Path) -> Path:
    """Unpack a backup beside itself, as anybody would with tar; where its database lies."""
    with tarfile.open(file) as tar:
        tar.extractall(file.parent / "unpacked", filter="data")
    return file.parent / "unpacked" / "seatkeeper.db"


# --- what is in it -------------------------------------------------------------------------------------------------


def test_a_backup_has_every_row(estate: Estate, file: Path) -> None:
    """All tables, each row as it was; the manifest says how many, of which database, in which epoch and schema."""
    done = back_up(estate, file, "--json")
    told = json.loads(done.stdout)
    before = sums_of_sqlite(estate.path)

    assert done.returncode == 0, done.stderr
    assert sums_of_sqlite(unpacked(file)) == before
    assert told["rows"] == {name: sum.rows for name, sum in before.items()}
    assert min(told["rows"][name] for name in ("holding", "holder", "fact", "keyed", "refusal", "checkpoint", "tenant_key")) > 0
    assert (told["databaseId"], told["epoch"], told["schema"]) == ("db_" + "D" * 22, 1, OURS)
    assert told["verified"]["holds"] is True


def test_a_backup_of_postgresql_has_every_row(estate: Estate, on_postgres: str, file: Path) -> None:
    """It is the same file, whatever database it was made from."""
    done = command("backup", file, "--database", on_postgres, "--data", estate.data)
    before: Sums = sums_of_postgres(on_postgres, estate.path)

    assert done.returncode == 0, done.stderr
    assert sums_of_sqlite(unpacked(file)) == before
    assert "from PostgreSQL" in done.stdout


def test_a_backup_can_be_checked_without_us(estate: Estate, file: Path) -> None:
    """It is a tar archive with the SHA-256 of everything in it, as `sha256sum -c` reads them."""
    back_up(estate, file)
    folder = unpacked(file).parent
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())

    assert sums == {name: sha256((folder / name).read_bytes()).hexdigest() for name in ("manifest.json", "seatkeeper.db")}
    assert names(folder) == ["SHA256SUMS", "manifest.json", "seatkeeper.db"]


def test_the_sealing_key_is_not_in_it(estate: Estate, file: Path) -> None:
    """Unless it was asked for; then that is said aloud. Nobody but the owner reads the file either way."""
    without = back_up(estate, file)
    alone = file.read_bytes()
    with_key = back_up(estate, file, "--with-seal-key", "--force")
    key = (estate.data / "seal.key").read_bytes()

    assert key not in alone
    assert "keep a copy of" in without.stdout
    assert key in file.read_bytes()
    assert "WARNING: the sealing key is in it" in with_key.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_of_one_moment_and_waits_for_nobody(estate: Estate, file: Path) -> None:
    """What somebody is just writing is not in it, and he goes on."""
    with closing(sqlite3.connect(estate.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE tenant SET contact = 'half written'")
        done = back_up(estate, file)
        other.execute("COMMIT")

    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(unpacked(file))) as copy:
        assert copy.execute("SELECT count(*) FROM tenant WHERE contact = 'half written'").fetchone() == (0,)


def test_the_schema_of_the_data_is_left_as_it_is(estate: Estate, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer code backs older data up, beside its server, before an upgrade; what it writes is of the older schema."""
    newer = Step(1002, "more", "CREATE TABLE region (name TEXT NOT NULL PRIMARY KEY) STRICT", Phase.PRE)
    known = migrations.steps
    monkeypatch.setattr(migrations, "steps", lambda database: {**known(database), 1002: newer})
    done = back_up(estate, file, "--json")

    assert json.loads(done.stdout)["schema"] == OURS
    assert json.loads(done.stdout)["verified"]["holds"] is True
    with closing(SqliteStore(estate.path)) as store:
        assert {str(number): name for number, name in store.steps().items()} == OURS


def test_what_does_not_verify_is_kept_and_told(estate: Estate, file: Path, tamper: Damage) -> None:
    """Better than none: the backup is made, and 1 says that something is wrong with what it was made from."""
    tamper("DELETE FROM fact WHERE kind = 'Denied'")
    done = back_up(estate, file)

    assert done.returncode == REFUSED
    assert "is missing" in done.stdout
    assert sums_of_sqlite(unpacked(file)) == sums_of_sqlite(estate.path)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_no_file_is_written_over(estate: Estate, file: Path) -> None:
    """Unless that was asked for."""
    file.write_text("something of mine")
    refused = back_up(estate, file)
    folder = back_up(estate, file.parent)
    kept = file.read_text()
    forced = back_up(estate, file, "--force")

    assert (refused.returncode, folder.returncode, kept) == (UNUSABLE, UNUSABLE, "something of mine")
    assert "--force" in refused.stderr
    assert "name a file" in folder.stderr
    assert forced.returncode == 0
    assert tarfile.is_tarfile(file)
    assert names(file.parent) == ["vendor.tar"]


def test_a_file_that_appears_meanwhile_is_not_written_over(estate: Estate, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two backups under one name: one of them gets it."""
    write = archive.write

    def slower(path: Path, *arguments: object, **more: object) -> str:
        path.write_text("the other one")
        return write(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "write", slower)
    done = back_up(estate, file)

    assert done.returncode == UNUSABLE
    assert file.read_text() == "the other one"
    assert names(file.parent) == ["vendor.tar"]


@pytest.mark.parametrize("what", ["no directory", "nothing begun"])
def test_nothing_is_no_backup(tmp_path: Path, file: Path, what: str) -> None:
    """Where there are no data, it says so."""
    data = tmp_path / "nothing"
    if what == "nothing begun":
        data.mkdir()
        with closing(SqliteStore(data / "seatkeeper.db")) as store:
            store.steps()
    done = command("backup", file, "--data", data)

    assert done.returncode == UNUSABLE
    assert "there is no" in done.stderr
    assert names(file.parent) == []


def test_a_database_that_is_not_there_is_no_backup(empty: str, estate: Estate, file: Path) -> None:
    """Nor an empty PostgreSQL, nor one that can't be reached, nor what is no name of a database."""
    nothing = command("backup", file, "--database", empty)
    nowhere = command("backup", file, "--database", "postgresql:///x?host=/nowhere")
    mistyped = command("backup", file, "--database", "what is this")

    assert (nothing.returncode, nowhere.returncode, mistyped.returncode) == (UNUSABLE, UNUSABLE, 2)
    assert "there is no Seatkeeper data in PostgreSQL" in nothing.stderr
    assert names(file.parent) == []


@pytest.mark.parametrize("key", ["missing", "another"])
def test_a_key_that_does_not_fit_is_not_put_into_it(estate: Estate, file: Path, key: str) -> None:
    """A backup that brings a key brings the right one."""
    path = estate.data / "seal.key"
    path.unlink()
    if key == "another":
        path.write_bytes(bytes(32))
    done = back_up(estate, file, "--with-seal-key")

    assert done.returncode == UNUSABLE
    assert "seal.key" in done.stderr
    assert names(file.parent) == []


def test_a_damaged_database_is_no_backup(estate: Estate, file: Path) -> None:
    """What can't be read soundly is told, and nothing is left."""
    with closing(apsw.Connection(str(estate.path))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'fact'").get
        size = connection.pragma("page_size")
    with estate.path.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xff" * 64)
    done = back_up(estate, file)

    assert done.returncode == UNUSABLE
    assert "malformed" in done.stderr
    assert names(file.parent) == []


# --- the disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    with small_disk(tmp_path / "disk", "3m") as disk:
        yield disk


@pytest.mark.parametrize("left", [0, 64 << 10, 320 << 10])
def test_a_full_disk_leaves_nothing_behind(estate: Estate, disk: Path, left: int) -> None:
    """However far it came: before the copy, in the copy, in the archive. Then, with room, it works."""
    filler = fill(disk, left)
    full = back_up(estate, disk / "vendor.tar")
    kept = names(disk)
    filler.unlink()
    done = back_up(estate, disk / "vendor.tar")

    assert full.returncode == UNUSABLE
    assert "full" in full.stderr or "No space left" in full.stderr
    assert kept == ["filler"]
    assert done.returncode == 0, done.stderr
    assert names(disk) == ["vendor.tar"]


@pytest.mark.parametrize("left", [0, 64 << 10, 320 << 10])
def test_a_full_disk_leaves_nothing_of_postgresql_behind(estate: Estate, on_postgres: str, disk: Path, left: int) -> None:
    """The same where the copy is written row by row."""
    fill(disk, left)
    full = command("backup", disk / "vendor.tar", "--database", on_postgres)

    assert full.returncode == UNUSABLE
    assert names(disk) == ["filler"]
