"""What is particular to SQLite."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
from seatkeeper_server.store.locking import DirectoryInUse, DirectoryLock
from seatkeeper_server.store.migrations import SchemaTooNew
from seatkeeper_server.store.sqlite import SqliteStore
from support.disks import fill, small_disk
from support.house import START, activate, make_house


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seatkeeper.db"


def test_commits_are_synchronous_and_in_a_write_ahead_log(path: Path) -> None:
    """Durable means WAL with synchronous=FULL (2), on the very connection that commits."""
    store = SqliteStore(path)
    make_house(store)
    with store.transaction() as tx:
        settings = [tx._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    store.close()

    assert settings == ["wal", 2]


def write(store: SqliteStore, commits: int) -> list[bool]:
    """Commit a page so many times; which of them fitted."""
    fitted = []
    for number in range(commits):
        try:
            with store.transaction() as tx:
                tx.mark_alive(Alive(START, "", timedelta(0), timedelta(0), timedelta(0), 0), f"batch-{number}")
            fitted.append(True)
        except StorageFull:
            fitted.append(False)
    return fitted


def test_the_log_fills_no_small_disk(tmp_path: Path) -> None:
    """On a disk of 6 MB twice as much goes through the log; it is folded in time."""
    with small_disk(tmp_path / "small", "6m") as disk, closing(SqliteStore(disk / "seatkeeper.db")) as store:
        store.migrate(START)
        fitted = write(store, 3_000)

    assert all(fitted)


def test_on_a_disk_that_others_have_filled_the_log_makes_room_for_itself(tmp_path: Path) -> None:
    """What finds the disk full folds the log, which begins anew: the next commit fits."""
    with small_disk(tmp_path / "small", "30m") as disk, closing(SqliteStore(disk / "seatkeeper.db")) as store:
        store.migrate(START)
        store.close()
        assert all(write(store, 300))
        fill(disk, leave=100_000)
        fitted = write(store, 200)

    assert fitted.count(False) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other means than permission bits")
@pytest.mark.parametrize("before", [None, 0o644])
def test_nobody_but_the_owner_reads_the_files(path: Path, before: int | None) -> None:
    """Neither the database nor its log and index, whether they are made now or were open to others before."""
    if before is not None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (x)")
            for file in path.parent.glob("seatkeeper.db*"):
                file.chmod(before)
    store = SqliteStore(path)
    store.migrate(START)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("seatkeeper.db*")}
    store.close()
    if before is not None:
        connection.close()

    assert modes == {"seatkeeper.db": 0o600, "seatkeeper.db-wal": 0o600, "seatkeeper.db-shm": 0o600}


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A database of newer code is refused with a sentence that says what to do, and left as it is."""
    store = SqliteStore(path)
    store.migrate(START)
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO migration VALUES (9999, 'future', 0)")
    connection.close()

    again = SqliteStore(path)
    with pytest.raises(SchemaTooNew, match="upgrade this Seatkeeper"):
        again.migrate(START)
    again.close()


def test_a_file_that_is_no_database_is_trouble_told_in_our_words(path: Path) -> None:
    """Damage is told as StorageUnavailable, and nothing is written over it."""
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    store = SqliteStore(path)

    with pytest.raises(StorageUnavailable, match="not a database"):
        store.migrate(START)
    assert path.read_bytes().startswith(b"not a database")


def test_two_processes_write_beside_each_other(path: Path) -> None:
    """A command-line verb writes beside a running server, in short transactions."""
    store = SqliteStore(path)
    house = make_house(store)
    other = SqliteStore(path)
    with other.transaction() as tx:
        tx._connection.execute("UPDATE tenant SET contact = 'licenses@vendor.example'")
    house.one(activate("a"))
    other.close()
    contact = house.rows("SELECT contact FROM tenant")
    store.close()

    assert contact == [("licenses@vendor.example",)]


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    """A second server on a directory is refused and told which process has it; after the first died it is free."""
    hold = f"""
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from seatkeeper_server.store.locking import DirectoryLock
with DirectoryLock(Path({str(tmp_path)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DirectoryInUse, match=str(holder.pid)), DirectoryLock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()

    with DirectoryLock(tmp_path):
        pass
