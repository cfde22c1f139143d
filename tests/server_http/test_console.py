"""The console's password: checked slowly once, known afterwards, and not to be guessed."""

from base64 import b64encode
from threading import Event, Thread

import pytest

from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.site import console as module
from seatkeeper_server.http.site.console import Console
from seatkeeper_server.service.desk import Overloaded

ADDRESS = "192.0.2.7"
RIGHT = "correct horse"


def shown(user: str, password: str) -> str:
    """An HTTP Basic header."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class Proof:
    """Tells the right password, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, password: str) -> bool:
        self.asked += 1
        return password == RIGHT


@pytest.fixture
def proof() -> Proof:
    return Proof()


@pytest.fixture
def console(proof: Proof) -> Console:
    return Console("admin", proof, Failures(3))


def refused(console: Console, authorization: str, address: str = ADDRESS) -> str:
    """Give the code that a try is refused with."""
    with pytest.raises(ProblemError) as told:
        console.admit(authorization, address)
    return told.value.code


def test_a_password_that_has_proven_right_is_known_again(console: Console, proof: Proof) -> None:
    """Each request of a script shows it, and only the first is slow."""
    for _ in range(5):
        console.admit(shown("admin", RIGHT), ADDRESS)

    assert proof.asked == 1


def test_wrong_ones_are_not_looked_at_after_a_while(console: Console, proof: Proof) -> None:
    """Three a minute from one address, here; the fourth costs us nothing."""
    codes = [refused(console, shown("admin", f"guess {n}")) for n in range(5)]

    assert codes == ["credentials.unknown"] * 3 + ["rate.limited"] * 2
    assert proof.asked == 3


def test_the_administrator_is_not_kept_out_by_others_guesses(console: Console) -> None:
    """He logged in before, from the same address; from another one he may log in anyway."""
    console.admit(shown("admin", RIGHT), ADDRESS)
    for n in range(4):
        refused(console, shown("admin", f"guess {n}"))
    console.admit(shown("admin", RIGHT), ADDRESS)


def test_another_user_is_checked_as_long(console: Console, proof: Proof) -> None:
    """Time doesn't tell who the user is; and the right password is not his."""
    assert refused(console, shown("root", RIGHT)) == "credentials.unknown"
    assert proof.asked == 1


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic !", "Bearer abc", shown("admin", "")])
def test_who_shows_nothing_is_told_what_to_show(console: Console, proof: Proof, authorization: str) -> None:
    """And not counted: a browser asks first."""
    codes = {refused(console, authorization) for _ in range(5)}

    assert (codes, proof.asked) == ({"credentials.unknown"}, 0)


def test_passwords_are_checked_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would wait too long is told to come back: a flood takes one processor, not all threads."""
    monkeypatch.setattr(module, "TURN_WITHIN", 0.05)
    begun, go_on = Event(), Event()

    def slow(password: str) -> bool:
        begun.set()
        return go_on.wait(10)

    console = Console("admin", slow, Failures(3))
    first = Thread(target=console.admit, args=(shown("admin", RIGHT), ADDRESS))
    first.start()
    begun.wait(10)
    with pytest.raises(Overloaded):
        console.admit(shown("admin", "another"), "192.0.2.8")
    go_on.set()
    first.join(10)
    console.admit(shown("admin", RIGHT), ADDRESS)
