"""The examples do what their first lines say: compiled, run, refused and robbed of their seat against a running server."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from os import environ
from pathlib import Path
from typing import IO

import pytest

import seatkeeper
from seatkeeper.protocol.ids import b64url
from seatkeeper.testing import FakeServer
from tests.examples.licence_server import LEASE, SEATS, LicenceServer

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / "examples" / "python"
CURL = ROOT / "examples" / "curl" / "seat.sh"
VECTORS = ROOT / "tests" / "vectors"

Finished = subprocess.CompletedProcess[str]


def run(*command: str | Path, settings: Mapping[str, str]) -> Finished:
    """Run a program to its end under a server's settings."""
    return subprocess.run(command, env={**environ, **settings}, capture_output=True, text=True, timeout=60)


@contextmanager
def running(*command: str | Path, settings: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a program beside the test, from its first line of output on; it is ended with the test."""
    process = subprocess.Popen(command, env={**environ, **settings}, stdout=-1, stderr=-1, text=True)
    with process:
        try:
            first_line(process.stdout)
            yield process
        finally:
            process.kill()


def first_line(stream: IO[str] | None) -> str:
    """Wait for a line."""
    assert stream is not None
    return stream.readline()


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def full(server: LicenceServer) -> Iterator[None]:
    """Hold every seat."""
    seats = [server.take(f"colleague-{number}@elsewhere") for number in range(SEATS)]
    try:
        for seat in seats:
            seat.acquire()
        yield
    finally:
        for seat in seats:
            seat.close()


# --- every example ---------------------------------------------------------------------------------------------------

PROGRAMS: dict[str, list[str | Path]] = {
    "two-lines": [sys.executable, PYTHON / "two_lines.py"],
    "features": [sys.executable, PYTHON / "features.py"],
    "asyncio": [sys.executable, PYTHON / "with_asyncio.py"],
    "curl": [CURL, "render"],
    "cpp": ["--seconds", "0", "--feature", "render=2"],
}


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> list[str | Path]:
    """Give each example's command line in turn; the C++ one is compiled when its turn comes."""
    command = PROGRAMS[request.param]
    return [request.getfixturevalue("cpp_seat"), *command] if request.param == "cpp" else command


def test_an_example_works_and_gives_its_seat_back(program: list[str | Path], licence_server: LicenceServer) -> None:
    """It ends well, and no seat is taken afterwards."""
    finished = run(*program, settings=licence_server.environment)

    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout
    assert licence_server.status().used == 0


def test_an_example_that_finds_no_seat_says_so(program: list[str | Path], licence_server: LicenceServer) -> None:
    """It fails, and shows the refusal with its id, which the user may quote."""
    with full(licence_server):
        finished = run(*program, settings=licence_server.environment)

    assert finished.returncode != 0
    assert " D-" in finished.stderr.replace("(D-", " D-")


def test_an_example_without_settings_says_what_is_missing(program: list[str | Path]) -> None:
    """It names a variable to set."""
    finished = run(*program, settings={})

    assert finished.returncode != 0
    assert "SEATKEEPER_" in finished.stderr


# --- what each of them shows -----------------------------------------------------------------------------------------


def test_features_shows_two_and_then_three(licence_server: LicenceServer) -> None:
    """Features come with the seat, and more can be checked out for a while."""
    finished = run(sys.executable, PYTHON / "features.py", settings=licence_server.environment)

    assert "renders with 2\nand now with 3\n" in finished.stdout


def test_features_names_a_holder_when_refused(licence_server: LicenceServer) -> None:
    """The refusal says who has the seats."""
    with full(licence_server):
        finished = run(sys.executable, PYTHON / "features.py", settings=licence_server.environment)

    assert "No seat is free" in finished.stderr
    assert "since" in finished.stderr


def test_curl_goes_once_through_the_wire(licence_server: LicenceServer) -> None:
    """Activate, refresh, check out, check in, return."""
    finished = run(CURL, "render", settings=licence_server.environment)
    verbs = [line.split(":")[0] for line in finished.stdout.splitlines()]

    assert verbs == ["activated", "refreshed", "checked out", "checked in", "returned"]


def test_curl_gives_the_seat_back_when_a_later_call_is_refused(licence_server: LicenceServer) -> None:
    """A seat is never left behind."""
    finished = run(CURL, "no-such-feature", settings=licence_server.environment)

    assert (finished.returncode, "returned" in finished.stdout) == (75, True)
    assert "feature.unknown" in finished.stderr
    assert licence_server.status().used == 0


# --- C++: the vectors ------------------------------------------------------------------------------------------------


def test_cpp_agrees_with_the_vectors(cpp_seat: Path) -> None:
    """A reader in another language believes and refuses exactly what the Python one does, for the same reasons."""
    files = [VECTORS / name for name in ("leases.json", "tree_leases.json", "certificates.json")]
    finished = run(cpp_seat, "--verify-vectors", *files, settings={})
    counts = [len(json.loads(path.read_text())["cases"]) for path in files]

    assert finished.returncode == 0
    assert finished.stdout.splitlines() == [
        f"{path}: {count} passed, 0 failed" for path, count in zip(files, counts, strict=True)
    ]


@pytest.mark.parametrize("result", [{"claims": {}}, {"document": "lease", "reason": "nonce"}])
def test_the_vector_mode_can_fail(cpp_seat: Path, tmp_path: Path, result: dict[str, object]) -> None:
    """A case whose result is not the reader's is reported by name, with exit code 1."""
    (forged,) = [case for case in json.loads((VECTORS / "leases.json").read_text())["cases"] if case["name"] == "impostor"]
    (tmp_path / "wrong.json").write_text(json.dumps({"cases": [{**forged, "result": result}]}))

    finished = run(cpp_seat, "--verify-vectors", tmp_path / "wrong.json", settings={})

    assert finished.returncode == 1
    assert "FAIL impostor" in finished.stdout


# --- C++: a seat's life ----------------------------------------------------------------------------------------------


def test_cpp_holds_its_seat_beyond_a_lease(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """The background thread refreshes: the lease's end moves on by two leases, and the seat stays the same."""
    with running(cpp_seat, settings=licence_server.environment):
        (first,) = licence_server.status().holders
        much_later = first.lease_expiry + timedelta(seconds=2 * LEASE)

        assert eventually(lambda: licence_server.status().holders[0].lease_expiry > much_later)
        assert licence_server.status().holders[0].since == first.since


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cpp_gives_its_seat_back_when_interrupted(cpp_seat: Path, licence_server: LicenceServer, number: int) -> None:
    """Ctrl-C and a polite kill return the seat at once, not at its lease's end."""
    with running(cpp_seat, settings=licence_server.environment) as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)

        assert process.returncode == 0
        assert "Seat given back" in output
        assert licence_server.status().used == 0


def test_cpp_says_which_features_its_lease_names(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """What is granted is read from the verified lease."""
    finished = run(cpp_seat, "--seconds", "0", "--feature", "render=3", settings=licence_server.environment)

    assert "Feature render: 3\n" in finished.stdout


def test_cpp_is_refused_a_feature_that_is_not_left(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """All or nothing: without the feature there is no seat either."""
    finished = run(cpp_seat, "--feature", "render=99", settings=licence_server.environment)

    assert finished.returncode == 75
    assert "feature.exhausted" in finished.stderr
    assert licence_server.status().used == 0


def test_cpp_notices_that_its_seat_was_taken_over(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """Another copy under the same seat id takes the seat; the older one stops at its next refresh."""
    with running(cpp_seat, "--seat-id", "twin", settings=licence_server.environment) as process, licence_server.take("twin"):
        _, errors = process.communicate(timeout=30)

        assert process.returncode == 75
        assert "seat.takenOver" in errors


def test_cpp_is_not_taken_in_by_a_proxy_that_leaves_its_wishes_out(cpp_seat: Path, fake_server: FakeServer) -> None:
    """A lease without the features that were asked for is refused, however well it is signed."""
    fake_server._pool.features["render"].type = "bool"  # whatever the amount: one, if it is on

    finished = run(cpp_seat, "--feature", "render=2", settings=fake_server.environment)

    assert finished.returncode == 76
    assert "not to be trusted: asked" in finished.stderr


def test_cpp_believes_only_leases_given_to_its_own_device(
    cpp_seat: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One given to nobody in particular could be given back by a proxy that saw the token."""
    monkeypatch.setattr(fake_server._api, "_device", lambda asked: None)

    finished = run(cpp_seat, settings=fake_server.environment)

    assert finished.returncode == 76
    assert "not to be trusted: device" in finished.stderr


def test_cpp_prints_names_that_command_no_terminal(cpp_seat: Path, fake_server: FakeServer) -> None:
    """A refusal shows what others call themselves; what a terminal would obey is shown as an escape."""
    with seatkeeper.seat(**fake_server.settings, seat_id="0"), seatkeeper.seat(**fake_server.settings, seat_id="1"):
        fake_server._pool.places["0"].seat_name = "ann\x1b[2J\x9b2J\u202e@host"
        finished = run(cpp_seat, settings=fake_server.environment)

    assert finished.returncode == 75
    assert "ann<U+001B>[2J<U+009B>2J<U+202E>@host" in finished.stderr
    assert all(line.isprintable() for line in finished.stderr.splitlines())


def test_cpp_refuses_a_server_with_another_root(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """A fake server has the vendor's protocol, but not his key."""
    finished = run(cpp_seat, settings={**licence_server.environment, "SEATKEEPER_PUBLIC_KEY": b64url(bytes(32))})

    assert finished.returncode == 76
    assert "not to be trusted: unknown-key" in finished.stderr


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("CODE", "00000-00000-00000-00000-00000", 77),
        ("PUBLIC_KEY", "too-short", 78),
        ("PUBLIC_KEY", "", 78),
        ("SERVER", "license.example", 78),
        ("SERVER", "9@127.0.0.1", 69),
    ],
)
def test_cpp_tells_causes_apart(cpp_seat: Path, licence_server: LicenceServer, setting: str, value: str, code: int) -> None:
    """Exit codes are those of `seat run`, so that scripts can act on them."""
    finished = run(cpp_seat, settings={**licence_server.environment, f"SEATKEEPER_{setting}": value})

    assert finished.returncode == code
    assert finished.stderr


def test_cpp_asks_the_next_server_when_one_is_unreachable(cpp_seat: Path, licence_server: LicenceServer) -> None:
    """A list of servers is a list of second chances."""
    servers = f"9@127.0.0.1,{licence_server.environment['SEATKEEPER_SERVER']}"

    assert (
        run(cpp_seat, "--seconds", "0", settings={**licence_server.environment, "SEATKEEPER_SERVER": servers}).returncode == 0
    )


# --- C++: broken connections, which only the SDK's own server can bring about ------------------------------------------


def test_cpp_takes_one_seat_when_the_first_answers_are_lost(cpp_seat: Path, fake_server: FakeServer) -> None:
    """Asking again with the same nonce is the same request."""
    fake_server.lose_next_answer(2)

    finished = run(cpp_seat, "--seconds", "0", settings=fake_server.environment)

    assert finished.returncode == 0
    assert fake_server.requests.count(("POST", "/api/v1/activate")) == 3
    assert fake_server.used == 0


def test_cpp_keeps_its_seat_when_a_refresh_goes_unanswered(cpp_seat: Path, fake_server: FakeServer) -> None:
    """The refresh is repeated word for word, with the nonce it had, and the server gives its answer again."""
    with running(cpp_seat, settings=fake_server.environment) as process:
        fake_server.lose_next_answer(1)
        seen = len(fake_server.requests)

        assert eventually(lambda: len(fake_server.requests) >= seen + 4)
        assert process.poll() is None
        assert fake_server.used == 1


def test_cpp_stops_when_its_lease_ends_unrefreshed(cpp_seat: Path, fake_server: FakeServer) -> None:
    """Without a server, belief ends with the lease, and the program is told."""
    with running(cpp_seat, settings=fake_server.environment) as process:
        fake_server.unreachable = True
        _, errors = process.communicate(timeout=30)

        assert process.returncode == 75
        assert "Seat lost: the lease has ended" in errors
