"""What verbs print is read by people on terminals, and may have been written by anybody who can reach the server."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from seatkeeper_server.cli._failures import Unusable, end_with
from seatkeeper_server.cli._output import print_json, print_table, say
from tests.cli.commands import command
from tests.cli.test_beside_a_server import Counter, activate, call

SPOKEN = "eve\x1b[2J\u009b2J\u202e@node"
SHOWN = r"eve\x1b[2J\x9b2J\u202e@node"


def obeyed(text: str) -> list[str]:
    """Give the characters that a terminal would obey or hide."""
    return [character for character in text if not character.isprintable() and character != "\n"]


def test_a_line_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What a terminal would obey, or that would begin a line of its own, is shown as an escape."""
    say(f"{SPOKEN} took a seat", "two\nlines")

    assert capsys.readouterr().out == f"{SHOWN} took a seat\ntwo\\nlines\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_so_do_the_cells_of_a_table(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal and in a pipe."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    print_table(("holder",), [[SPOKEN]])
    out = capsys.readouterr().out

    assert SHOWN in out
    assert obeyed(out) == []


@pytest.mark.parametrize("line", [True, False])
def test_json_says_the_same_in_its_own_escapes(line: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads what was there; letters of any script stand as they are."""
    value = {"holder": f"Öberg {SPOKEN}\n", "more": ["\U000e0001"]}
    print_json(value, line=line)
    out = capsys.readouterr().out

    assert json.loads(out) == value
    assert (obeyed(out), "Öberg" in out) == ([], True)


def test_a_failure_is_told_as_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; a message of two lines stays one."""
    end_with(Unusable(f"there is no {SPOKEN}\nlook elsewhere"))

    assert capsys.readouterr().err == f"seatkeeper: there is no {SHOWN}\nlook elsewhere\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Counter]:
    """A server of this test's own, since its database is tampered with."""
    with Counter(tmp_path / "data") as server:
        yield server


def test_no_verb_lets_a_name_or_a_code_speak_to_the_terminal(server: Counter) -> None:
    """Neither a wrong code, which needs no credentials, nor a name that was recorded before such names were refused."""
    sold = server.sell("acme", "solver", seats=1)
    activate(sold, "eve")
    denial_id = activate(sold, "ann")["denial"]["id"]
    wrong = {"productId": sold.product, "seatId": "x", "activationCode": "A" * 20 + "\x1b[2J"}
    told = call(sold, "POST", "/api/v1/activate", wrong, {})
    with closing(sqlite3.connect(server.data / "seatkeeper.db")) as database, database:
        database.execute("UPDATE holder SET seat_name = ?", (SPOKEN,))
    verbs = (("log",), ("log", "--json"), ("seats",), ("seats", "--json"), ("why", denial_id), ("free", SPOKEN, "--now"))
    printed = [command(*verb, "--data", server.data) for verb in verbs]
    nobody = command("free", f"nobody{SPOKEN}", "--data", server.data)

    assert told["errorCode"] == "credentials.unknown"
    assert [done.returncode for done in printed] == [0] * len(verbs)
    assert [obeyed(done.stdout) for done in printed] == [[]] * len(verbs)
    assert all(r"\x1b[2J" in done.stdout or r"\u001b[2J" in done.stdout for done in printed)
    assert (nobody.returncode, obeyed(nobody.stderr)) == (1, [])
