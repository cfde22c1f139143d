"""Who asks for a seat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seatkeeper import ConfigurationError
from seatkeeper._identity import By, Identity, identify, in_container, take_slot

TAKE_A_SLOT = """
import sys
from seatkeeper._identity import identify
who = identify(tenant="t_1", product="prod_1")
print(who.seat_id, flush=True)
sys.stdin.read()
"""


class Window:
    """A second window of the program: a process that has taken a slot and lives until told otherwise."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_A_SLOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.seat_id = self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it as a user would."""
        self._process.communicate("", timeout=30)

    def crash(self) -> None:
        """End it as fate would."""
        self._process.kill()
        self._process.communicate(timeout=30)


def test_a_second_window_is_a_second_seat() -> None:
    """Each living process has the lowest slot that no other has."""
    first, second = Window(), Window()
    first.close()
    second.close()

    assert first.seat_id.endswith("/0")
    assert second.seat_id.endswith("/1")


def test_a_restart_finds_its_own_seat() -> None:
    """When the first window is closed and opened again, it gets its slot back, though the second is still open."""
    first, second = Window(), Window()
    first.close()
    again = Window()
    for window in (second, again):
        window.close()

    assert again.seat_id == first.seat_id


def test_a_crash_lets_go_of_the_slot() -> None:
    """The lock is the operating system's."""
    crashed = Window()
    crashed.crash()
    again = Window()
    again.close()

    assert again.seat_id == crashed.seat_id


def test_one_process_can_hold_two_seats(tmp_path: Path) -> None:
    """Two seats of one process have two slots."""
    first = take_slot(tenant="t", product="p", folder=tmp_path)
    second = take_slot(tenant="t", product="p", folder=tmp_path)
    first.release()
    third = take_slot(tenant="t", product="p", folder=tmp_path)
    numbers = (first.number, second.number, third.number)
    second.release()
    third.release()

    assert numbers == (0, 1, 0)


def test_slots_of_other_products_are_not_in_the_way(tmp_path: Path) -> None:
    """Slots are counted per product."""
    first = take_slot(tenant="t", product="p", folder=tmp_path)
    other = take_slot(tenant="t", product="q", folder=tmp_path)
    numbers = (first.number, other.number)
    first.release()
    other.release()

    assert numbers == (0, 0)


def test_slots_of_other_users_are_not_in_the_way(tmp_path: Path) -> None:
    """Who shares a state folder with another has a first window all the same."""
    slots = [take_slot(tenant="t", product="p", user=user, folder=tmp_path) for user in ("ada", "bob")]
    numbers = [slot.number for slot in slots]
    for slot in slots:
        slot.release()

    assert numbers == [0, 0]


def test_without_a_place_for_locks_the_seat_is_one_of_its_own(tmp_path: Path) -> None:
    """Nobody is counted together with somebody else just because a home is read-only."""
    (tmp_path / "slots").write_text("in the way")

    assert take_slot(tenant="t", product="p", folder=tmp_path).number >= 1000


def who(by: By, environment: dict[str, str] | None = None) -> Identity:
    return identify(tenant="t_1", product="prod_1", by=by, environment=environment or {})


def test_a_user_is_the_same_wherever_he_sits() -> None:
    """By user: the name, and nothing of the machine."""
    assert who("user").seat_id == "user:" + (who("user").holder.user or "")


def test_each_process_is_someone_else() -> None:
    """By process: no two lives are the same."""
    assert who("process").seat_id != who("process").seat_id


def test_a_job_is_known_by_its_number() -> None:
    """By job: what the batch system calls it."""
    assert who("job", {"SLURM_JOB_ID": "4711"}).seat_id == "job:4711"


def test_no_job_to_go_by_is_a_mistake_of_configuration() -> None:
    """Outside a job, `by="job"` says so instead of making something up."""
    with pytest.raises(ConfigurationError, match="SLURM_JOB_ID"):
        who("job")


def test_the_machine_id_is_not_used_in_a_container() -> None:
    """Containers of one image share it; they are known by their host name."""
    assert who("machine", {"container": "podman"}).seat_id.startswith("container:")


def test_the_machine_id_does_not_leave_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent is a digest, and another one for every vendor."""
    monkeypatch.setattr("seatkeeper._identity.in_container", lambda environment: False)
    monkeypatch.setattr("seatkeeper._identity._machine_id", lambda: "0123456789abcdef")
    ours = identify(tenant="t_1", product="p", by="machine").seat_id
    others = identify(tenant="t_2", product="p", by="machine").seat_id

    assert "0123456789abcdef" not in ours
    assert ours != others


@pytest.mark.parametrize(
    ("mark", "content"), [(".dockerenv", ""), ("run/.containerenv", ""), ("proc/1/cgroup", "0::/kubepods/besteffort/pod1")]
)
def test_containers_are_recognised_by_their_marks(tmp_path: Path, mark: str, content: str) -> None:
    """The marks that engines leave in the file system."""
    (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mark).write_text(content)

    assert in_container(tmp_path, {})


def test_a_plain_machine_is_no_container(tmp_path: Path) -> None:
    """No mark, no container."""
    assert not in_container(tmp_path, {})


@pytest.mark.parametrize("seat_id", ["", "x" * 201, "new\nline", "esc\x9b2J", "txt\u202eexe"])
def test_a_seat_id_is_printable_and_not_too_long(seat_id: str) -> None:
    """The contract's limit is 200 characters."""
    with pytest.raises(ConfigurationError, match="200"):
        identify(tenant="t", product="p", seat_id=seat_id)


def test_an_unknown_way_is_refused() -> None:
    """A typing error is not a seat id."""
    with pytest.raises(ConfigurationError, match="window, user, machine"):
        identify(tenant="t", product="p", by="usr")  # type: ignore[arg-type]


def test_lists_tell_windows_apart() -> None:
    """The second window of a user on a machine is shown with its number."""
    first, second = who("window"), who("window")
    names = (first.seat_name, second.seat_name)
    for identity in (first, second):
        assert identity.slot is not None
        identity.slot.release()

    assert names[1] == f"{names[0]} 2"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_slots_file_is_its_users_own(tmp_path: Path) -> None:
    """0600, whatever the umask."""
    before = os.umask(0)
    take_slot(tenant="t", product="p", folder=tmp_path).release()
    os.umask(before)

    assert [file.stat().st_mode & 0o777 for file in (tmp_path / "slots").iterdir()] == [0o600]


def test_the_seat_is_shown_as_user_at_host() -> None:
    """What others see in a refusal."""
    identity = who("process")

    assert identity.seat_name == f"{identity.holder.user}@{identity.holder.host}"
