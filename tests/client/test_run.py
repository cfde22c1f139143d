"""`seat run`: real servers, real children, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from seatkeeper.testing import FakeServer

SOON = 30.0  # seconds; a bound
SEAT = [sys.executable, "-m", "seatkeeper.cli"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and shells of POSIX")


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; a bound, not a timing."""
    end = time.monotonic() + SOON
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """One seat, leases of two seconds."""
    with FakeServer(seats=1, lease=2.0, features={"render": 4}) as running:
        yield running


def surroundings(server: FakeServer, **changes: str | None) -> dict[str, str]:
    """Give the environment of a command; None removes a variable."""
    wanted: dict[str, str | None] = {**os.environ, **server.environment, **changes}
    return {key: value for key, value in wanted.items() if value is not None}


def seat_run(server: FakeServer, *arguments: str, **changes: str | None) -> "subprocess.CompletedProcess[str]":
    """Run `seat run …` to its end."""
    return subprocess.run(
        [*SEAT, "run", *arguments],
        env=surroundings(server, **changes),
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: FakeServer) -> Iterator[Start]:
    """Starts `seat run …`, each apart from the test's own terminal; whatever is left is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        running = subprocess.Popen(
            [*SEAT, "run", *arguments],
            env=surroundings(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(running)
        return running

    yield begin
    for running in started:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=SOON)


@pytest.mark.parametrize("code", [0, 7, 255])
def test_the_exit_code_is_the_commands(server: FakeServer, code: int) -> None:
    """Nothing is added to what the command does, prints or returns, and the seat is given back."""
    done = seat_run(server, "--", "sh", "-c", f"echo out; exit {code}")

    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "")
    assert server.requests[-1] == ("DELETE", "/api/v1/activation")
    assert server.used == 0


def test_the_seat_is_held_while_the_command_lives(server: FakeServer) -> None:
    """Features too; and a command may itself have a `--`."""
    done = seat_run(server, "--feature", "render=3", "--", sys.executable, "-m", "seatkeeper.cli", "status", "--json")

    assert '"used":1' in done.stdout


def test_a_command_killed_by_a_signal_is_128_and_its_number(server: FakeServer) -> None:
    """As shells say it."""
    assert seat_run(server, "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(server: FakeServer, start: Start, number: signal.Signals) -> None:
    """The command decides what a signal means: here it tidies up and returns 9."""
    script = f"trap 'exit 9' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    running = start("--", "sh", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    running.communicate(timeout=SOON)

    assert (running.returncode, server.used) == (9, 0)


def test_no_seat_is_75_and_the_command_does_not_start(server: FakeServer, start: Start, tmp_path: Path) -> None:
    """The refusal says which product, how full, who holds; it fits on a terminal."""
    holder = start("--", "sleep", "60")
    assert eventually(lambda: server.used == 1)
    done = seat_run(server, "--", "touch", str(tmp_path / "started"), SEATKEEPER_CONTACT="it@example.com")
    holder.terminate()
    holder.communicate(timeout=SOON)

    assert done.returncode == 75
    assert not (tmp_path / "started").exists()
    assert "No seat is free for fake: 1 of 1 are taken." in done.stderr
    assert "Ask: it@example.com" in done.stderr


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SEATKEEPER_CODE": "wrong"}, 77),
        ({"SEATKEEPER_PUBLIC_KEY": None}, 78),
        ({"SEATKEEPER_SERVER": "http://127.0.0.1:1"}, 69),
        ({"SEATKEEPER_PUBLIC_KEY": FakeServer().public_key}, 76),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(server: FakeServer, changes: dict[str, str | None], code: int) -> None:
    """69 unreachable, 76 not to be trusted, 77 not authorised, 78 configuration; and one line that says what to do."""
    done = seat_run(server, "--", "true", **changes)

    assert done.returncode == code
    assert done.stderr.startswith("seat: ")


def test_a_command_that_does_not_exist_takes_no_seat(server: FakeServer) -> None:
    """127, as shells say it."""
    assert seat_run(server, "--", "no-such-command").returncode == 127
    assert server.requests == []


def test_a_file_that_is_no_program_takes_no_seat(server: FakeServer, tmp_path: Path) -> None:
    """126, as shells say it."""
    (tmp_path / "notes").write_text("not a program")
    done = seat_run(server, "--", str(tmp_path / "notes"))

    assert (done.returncode, server.requests) == (126, [])
    assert "notes" in done.stderr


def test_a_seat_of_one_process_leaves_nothing_behind(server: FakeServer, tmp_path: Path) -> None:
    """Nobody will ever ask by that id again; the record of a window stays, for the next start."""
    folders = [tmp_path / "process", tmp_path / "window"]
    for folder in folders:
        seat_run(server, "--seat-id", folder.name, "--", "true", SEATKEEPER_STATE_DIR=str(folder))

    assert [len(list((folder / "seats").iterdir())) for folder in folders] == [0, 1]


def test_the_command_goes_on_when_the_seat_is_lost(server: FakeServer, start: Start) -> None:
    """The default: warn on the terminal, and don't throw the user's work away."""
    running = start("--", "sh", "-c", "sleep 5; exit 3")
    assert eventually(lambda: server.used == 1)
    server.unreachable = True
    _, warned = running.communicate(timeout=SOON)

    assert running.returncode == 3
    assert "the seat is lost" in warned


def test_the_command_is_ended_on_loss_if_asked_for(server: FakeServer, start: Start) -> None:
    """--on-loss term: SIGTERM, so that it can save its work."""
    running = start("--on-loss", "term", "--", "sleep", "60")
    assert eventually(lambda: server.used == 1)
    server.unreachable = True
    running.communicate(timeout=SOON)

    assert running.returncode == 128 + signal.SIGTERM


def test_a_killed_holder_frees_its_seat_when_its_lease_ends(server: FakeServer, start: Start) -> None:
    """SIGKILL leaves no time for goodbyes; the lease does it, and a restart has it back before."""
    killed = start("--", "sleep", "60")
    assert eventually(lambda: server.used == 1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=SOON)
    restarted = seat_run(server, "--", "true")

    assert restarted.returncode == 0


def test_a_seat_id_may_be_chosen(server: FakeServer, start: Start) -> None:
    """A way of choosing, or an id of one's own."""
    running = start("--seat-id", "bench 7", "--", "sleep", "60")
    assert eventually(lambda: server.used == 1)
    ids = server.seat_ids
    running.terminate()
    running.communicate(timeout=SOON)

    assert ids == ["bench 7"]


def test_a_signal_at_any_moment_leaves_nothing_behind(server: FakeServer, start: Start) -> None:
    """However early it comes (before the seat, between seat and command, after), command and seat are gone in the end."""
    codes = []
    for delay in (0.0, 0.15, 0.25, 0.3, 0.35, 0.4, 0.45, 0.6):
        running = start("--", "sleep", "60")
        time.sleep(delay)
        running.terminate()
        running.communicate(timeout=SOON)  # ends only when nobody holds the pipes any more
        codes.append(abs(running.returncode))

    assert set(codes) <= {signal.SIGTERM, 128 + signal.SIGTERM}
    assert eventually(lambda: server.used == 0)
