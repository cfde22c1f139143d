"""`seat status` and `seat doctor`, and the help."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seatkeeper
from seatkeeper import cli
from seatkeeper._fake_api import Request
from seatkeeper._wire import Reply
from seatkeeper.testing import FakeServer

HOSTILE = "ann\x1b[2J\x9b2J"
HOLDER = {"seatName": "ann@ws-1", "since": "2026-01-01T00:00:00Z", "leaseExpiry": "2026-01-01T00:00:00Z"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A running server whose settings are in the environment."""
    with FakeServer(seats=20) as running:
        for variable, value in running.environment.items():
            monkeypatch.setenv(variable, value)
        yield running


def hops(output: str) -> dict[str, str]:
    """Read `seat doctor`: hop and mark."""
    return {line.split()[1]: line[0] for line in output.splitlines()}


def test_status_shows_who_holds(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """How full, and the holders."""
    with seatkeeper.seat() as seat:
        code = cli.main(["status"])
    output = capsys.readouterr().out

    assert code == 0
    assert "fake: 1 of 20 seats taken, 19 free" in output
    assert f"{seat.seat_name}  since" in output


def test_status_shows_ten_and_counts_the_others(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them with -a."""
    seats = [seatkeeper.seat(seat_id=f"s{number}").acquire() for number in range(12)]
    cli.main(["status"])
    some = capsys.readouterr().out
    cli.main(["status", "-a"])
    everyone = capsys.readouterr().out
    for seat in seats:
        seat.close()

    assert (some.count("since"), "and 2 more" in some) == (10, True)
    assert (everyone.count("since"), "more" in everyone) == (12, False)


def told(server: FakeServer, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let the server answer something else about its pool."""
    answer = server._api._status

    def status(request: Request) -> Reply:
        return Reply(200, {}, json.dumps(json.loads(answer(request).body) | changes).encode())

    monkeypatch.setitem(server._api._routes, ("POST", "/api/v1/status"), status)


@pytest.mark.parametrize(("status", "word"), [("expired", "expired"), ("disabled", "disabled"), ("exported", "local")])
def test_status_of_an_ended_entitlement_says_so(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, word: str
) -> None:
    """Seats that nobody may take are not free; the exit code is that of a refusal by the license."""
    told(server, monkeypatch, status=status)
    code = cli.main(["status"])
    output = capsys.readouterr().out

    assert code == 77
    assert word in output
    assert "free" not in output


def test_status_counts_overdraft_apart(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was bought, and what would be granted beyond it."""
    told(server, monkeypatch, seats=1, used=0, free=11)
    cli.main(["status"])

    assert "0 of 1 seats taken, 1 free and 10 in overdraft" in capsys.readouterr().out


def test_all_is_all_that_the_server_names(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names twenty; the help says so, and the rest is counted."""
    told(server, monkeypatch, used=25, seats=30, holders=[HOLDER] * 20)
    cli.main(["status", "-a"])
    output = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["status", "--help"])

    assert (output.count("since"), "and 5 more" in output) == (20, True)
    assert "up to 20" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["doctor"], ["--help"]])
def test_a_reader_who_has_seen_enough_is_no_error(server: FakeServer, arguments: list[str]) -> None:
    """`seat status | grep -q x`: not a word, and no failure."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "seatkeeper.cli", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


def test_status_is_json_for_programs(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract's document, as it came."""
    cli.main(["status", "--json"])

    assert json.loads(capsys.readouterr().out)["seats"] == 20


@pytest.fixture
def hostile(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows a product and a holder by a name that clears the screen, by either of two commands."""
    answer = server._api._status

    def status(request: Request) -> Reply:
        holder = {"seatName": HOSTILE, "since": "2026-01-01T00:00:00Z", "leaseExpiry": "2026-01-01T00:00:00Z"}
        told = json.loads(answer(request).body) | {"productName": HOSTILE, "holders": [holder], "used": 1}
        return Reply(200, {}, json.dumps(told).encode())

    monkeypatch.setitem(server._api._routes, ("POST", "/api/v1/status"), status)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("verb", ["status", "doctor"])
def test_strangers_names_command_no_terminal(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a holder's name nor a product's: what could act on a terminal is shown as an escape."""
    cli.main([verb])
    output = capsys.readouterr().out

    assert all(line.isprintable() for line in output.splitlines())
    assert r"ann\x1b[2J\x9b2J" in output


@pytest.mark.usefixtures("hostile")
def test_json_is_printable_and_means_what_the_server_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The escapes are JSON's own."""
    cli.main(["status", "--json"])
    output = capsys.readouterr().out

    assert output.rstrip("\n").isprintable()
    assert json.loads(output)["productName"] == HOSTILE


def test_a_command_lines_server_comes_before_the_environments(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes --server means it."""
    monkeypatch.setenv("SEATKEEPER_SERVER", "http://127.0.0.1:1")

    assert cli.main(["status", "--server", server.url]) == 0


def test_doctor_finds_a_sound_way(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Every hop has a line and a mark, and no seat is taken."""
    code = cli.main(["doctor"])
    found = hops(capsys.readouterr().out)

    assert code == 0
    assert list(found) == ["settings", "name", "proxy", "tcp", "tls", "tenant", "key", "clock", "code"]
    assert "".join(found.values()) == "✓✓–✓–✓✓✓✓"
    assert server.used == 0


@pytest.mark.parametrize(
    ("variable", "value", "hop", "code"),
    [
        ("SEATKEEPER_SERVER", "", "settings", 78),
        ("SEATKEEPER_SERVER", "http://no-such-host.invalid", "name", 69),
        ("SEATKEEPER_SERVER", "http://127.0.0.1:1", "tcp", 69),
        pytest.param("SEATKEEPER_PUBLIC_KEY", FakeServer().public_key, "key", 76, id="another-vendors-key"),
        ("SEATKEEPER_CODE", "wrong", "code", 77),
        ("SEATKEEPER_TENANT", "t_wrong", "tenant", 77),
    ],
)
def test_doctor_says_which_hop_fails(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    hop: str,
    code: int,
) -> None:
    """The first hop that fails is named, with the exit code of its kind."""
    monkeypatch.setenv(variable, value)
    exit_code = cli.main(["doctor"])
    found = hops(capsys.readouterr().out)

    assert next(name for name, mark in found.items() if mark == "✗") == hop
    assert exit_code == code


def test_doctor_does_not_blame_the_code_for_the_tenant(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown tenant is said in a user's words, and the code is not judged before it is right."""
    cli.main(["doctor", "--tenant", "t_x"])
    output = capsys.readouterr().out

    assert "t_x is not known here" in output
    assert hops(output)["code"] == "–"


def test_doctor_reports_a_file_that_is_not_there(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among the settings, by its name and the variable's."""
    missing = str(tmp_path / "nope.pem")
    code = cli.main(["doctor", "--ca-file", missing])
    output = capsys.readouterr().out

    assert (code, hops(output)) == (78, {"settings": "✗"})
    assert f"{missing} (SEATKEEPER_CA_FILE)" in output


def test_doctor_names_a_proxy_that_is_in_the_way(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy that can't be reached is found at its own hop, by its variable."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SEATKEEPER_SERVER", "http://licenses.example")
    cli.main(["doctor"])
    output = capsys.readouterr().out

    assert "http://127.0.0.1:1 (HTTP_PROXY)" in output
    assert hops(output)["tcp"] == "✗"


def test_doctor_finds_a_server_without_tls(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """https to an http port fails at the TLS hop, and the hint is about the address."""
    monkeypatch.setenv("SEATKEEPER_SERVER", server.url.replace("http:", "https:"))
    cli.main(["doctor"])
    output = capsys.readouterr().out

    assert hops(output)["tls"] == "✗"
    assert "write http:// in SEATKEEPER_SERVER" in output


def test_doctor_notices_something_that_is_no_license_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that accepts and hangs up is not the server."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.1)
        monkeypatch.setenv("SEATKEEPER_SERVER", f"http://127.0.0.1:{other.getsockname()[1]}")
        monkeypatch.setattr("seatkeeper._doctor.PATIENCE", 0.3)
        cli.main(["doctor"])

    assert hops(capsys.readouterr().out)["http"] == "✗"


def test_doctor_is_json_for_programs(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """One object for each hop."""
    cli.main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)

    assert {finding["hop"] for finding in findings} >= {"settings", "tcp", "key", "code"}


@pytest.mark.parametrize("verb", ["run", "status", "doctor"])
def test_help_shows_the_variables_and_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who has only --help gets there."""
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    output = capsys.readouterr().out

    assert "SEATKEEPER_SERVER" in output
    assert "exit codes:" in output
    assert "where the license server is" in output
    assert "--client-cert-file" in output
    assert f"example:\n  seat {verb}" in output


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("render=2", 75), ("render=5", 78), ("rendr=1", 78), ("credits=1", 78)],
    ids=["taken", "more-than-there-is", "unknown", "used-up"],
)
def test_75_means_that_waiting_may_help(monkeypatch: pytest.MonkeyPatch, wanted: str, code: int) -> None:
    """A feature that doesn't exist, is used up or was never bought in that amount is no reason to try again."""
    with FakeServer(seats=3, features={"render": 4, "credits": "usageCount:1"}) as server:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        with seatkeeper.seat(features={"render": 3, "credits": 1}):
            assert cli.main(["run", "--feature", wanted, "--", sys.executable, "-c", ""]) == code


@pytest.mark.parametrize("arguments", [["run"], ["run", "--feature", "render=x", "--", "true"]])
def test_a_mistake_on_the_command_line_is_78(
    server: FakeServer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what was meant."""
    assert cli.main(arguments) == 78
    assert capsys.readouterr().err.startswith("seat: ")
