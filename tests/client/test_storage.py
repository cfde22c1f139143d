"""What a program remembers of its seat."""

import stat
import sys
from pathlib import Path

import pytest

from seatkeeper._storage import Kept, Memory, memory_of
from seatkeeper._wire import Call

KEPT = Kept(access_token="act_x.1.mac", nonce="n1", pending=Call(kind="refresh", tenant_id="t_1", body="{}", nonce="n1"))


def record(folder: Path) -> Path:
    (found,) = (folder / "seats").iterdir()
    return found


def memory(folder: Path, product: str = "prod_1") -> Memory:
    return memory_of(tenant="t_1", product=product, seat_id="s1", folder=folder)


def test_what_was_kept_is_there_in_the_next_life(tmp_path: Path) -> None:
    """Token, nonce, pending call and last lease survive the process."""
    memory(tmp_path).keep(KEPT)

    assert memory(tmp_path).kept == KEPT


def test_each_product_has_a_record_of_its_own(tmp_path: Path) -> None:
    """Two programs of one vendor don't mix their seats up."""
    memory(tmp_path).keep(KEPT)

    assert memory(tmp_path, product="prod_2").kept == Kept()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_record_is_for_its_user_alone(tmp_path: Path) -> None:
    """A token is a secret: 0600, in a folder 0700."""
    memory(tmp_path / "state").keep(KEPT)
    path = record(tmp_path / "state")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_lying_about(tmp_path: Path) -> None:
    """After many writes there is one file: the record."""
    kept = memory(tmp_path)
    for number in range(20):
        kept.keep(Kept(nonce=str(number)))

    assert len(list((tmp_path / "seats").iterdir())) == 1


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    """Power went at the wrong moment: the program starts as if it were new, and does not crash."""
    memory(tmp_path).keep(KEPT)
    path = record(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])

    assert memory(tmp_path).kept == Kept()


def test_where_nothing_can_be_written_memory_serves(tmp_path: Path) -> None:
    """In a read-only container a program works all the same."""
    (tmp_path / "seats").write_text("in the way")
    kept = memory(tmp_path)
    kept.keep(KEPT)

    assert kept.kept == KEPT


def test_the_older_of_two_programs_leaves_the_record_to_the_newer(tmp_path: Path) -> None:
    """The record follows the seat: the last one to begin has it."""
    older = memory(tmp_path)
    older.keep(KEPT)
    newer = memory(tmp_path)
    newer.keep(Kept(access_token="newer"))
    older.keep(Kept(access_token="older"))

    assert memory(tmp_path).kept == Kept(access_token="newer")
