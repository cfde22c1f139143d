"""A vendor and a customer at their command lines, beside a running server: sell, work, be refused, look, free, verify."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.servers import BIN, CloudServer, Finished, Sold, clean_environment

PROGRAM = "import time; print('working', flush=True); time.sleep(600)"


class Customer:
    """Somebody with the settings he was sold, and a home of his own."""

    def __init__(self, sold: Sold, home: Path) -> None:
        self._sold, self._home = sold, home

    def environment(self, user: str) -> dict[str, str]:
        """Give the environment of one of the customer's users."""
        home = str(self._home)
        state = {"HOME": home, "XDG_CONFIG_HOME": home, "SEATKEEPER_STATE_DIR": f"{home}/state"}
        return clean_environment(**self._sold.environment, **state, USER=user, LOGNAME=user)

    def seat(self, user: str, *arguments: str | Path) -> Finished:
        """Run `seat` to its end."""
        command = [BIN / "seat", *arguments]
        return subprocess.run(command, env=self.environment(user), capture_output=True, text=True, timeout=60)

    @contextmanager
    def working(self, user: str) -> Iterator["subprocess.Popen[str]"]:
        """Have a program work under `seat run`; it and the command are killed at the end if they still run."""
        process = subprocess.Popen(
            [BIN / "seat", "run", "--", sys.executable, "-c", PROGRAM],
            env=self.environment(user),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "working\n"
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def sold(cloud: CloudServer) -> Sold:
    """Give two sold seats of `solver`."""
    return cloud.sell("acme", "solver", seats=2, lease="60s", contact="licenses@example.com")


@pytest.fixture
def acme(sold: Sold, tmp_path: Path) -> Customer:
    """Give the customer who bought them."""
    home = tmp_path / "home"
    home.mkdir()
    return Customer(sold, home)


@contextmanager
def two_working(acme: Customer) -> Iterator[None]:
    """Have both seats taken by ada and bob."""
    with ExitStack() as working:
        for user in ("ada", "bob"):
            working.enter_context(acme.working(user))
        yield


def test_a_third_user_is_refused_with_the_whole_story(cloud: CloudServer, acme: Customer) -> None:
    """He is told which product, how full, who holds it since when, the earliest end, what to do, and an id; exit code 75."""
    with two_working(acme):
        refused = acme.seat("cleo", "run", "--", "true")

    assert refused.returncode == 75
    assert "No seat is free for solver: 2 of 2 are taken." in refused.stderr
    assert re.search(r"ada@\S+  since \d\d:\d\d:\d\d", refused.stderr)
    assert re.search(r"bob@\S+  since \d\d:\d\d:\d\d", refused.stderr)
    assert re.search(r"comes back by \d\d:\d\d:\d\d, unless it is refreshed", refused.stderr)
    assert "To do: " in refused.stderr
    assert re.search(rf"\(D-\w+ · {cloud.url} · ", refused.stderr)


def test_the_vendor_finds_out_why(cloud: CloudServer, acme: Customer) -> None:
    """`why` explains a refusal by its id, after the fact; `log --denied` lists it."""
    with two_working(acme):
        refused = acme.seat("cleo", "run", "--", "true")
    denial = re.findall(r"D-\w+", refused.stderr)[0]
    why = cloud.ask("why", denial)
    log = cloud.ask("log", "--denied")

    assert "cleo@" in why
    assert "pool-full" in why
    assert "ada@" in why
    assert "cleo@" in log
    assert denial in log


def test_seats_shows_who_works(cloud: CloudServer, acme: Customer, sold: Sold) -> None:
    """`seatkeeper seats` beside the running server shows bought, held, free and each holder; so does `seat status` to users."""
    with two_working(acme):
        (pool,) = cloud.ask_json("seats", sold.entitlement)
        status = acme.seat("cleo", "status")
    (after,) = cloud.ask_json("seats", sold.entitlement)

    assert (pool["seats"], pool["held"], pool["free"]) == (2, 2, 0)
    assert sorted(holder["user"] for holder in pool["holders"]) == ["ada", "bob"]
    assert {holder["state"] for holder in pool["holders"]} == {"held"}
    assert "solver: 2 of 2 seats taken" in status.stdout
    assert after["held"] == 2, "both were killed, and their leases have not ended"


def test_a_returned_seat_is_free_at_once(cloud: CloudServer, acme: Customer) -> None:
    """When a command ends, by itself or asked to, its seat is free for the next."""
    with acme.working("ada") as ada, acme.working("bob"):
        ada.send_signal(signal.SIGTERM)
        code = ada.wait(30)
        next_one = acme.seat("cleo", "run", "--", "true")

    assert code == 128 + signal.SIGTERM
    assert (next_one.returncode, next_one.stderr) == (0, "")


def test_a_stuck_seat_is_freed(cloud: CloudServer, acme: Customer) -> None:
    """`free` takes a dead holder's seat back and says until when it counts; `free --now` gives the place away at once."""
    with two_working(acme):
        host = socket.gethostname()
        honest = cloud.ask("free", f"bob@{host}")
        still_full = acme.seat("cleo", "run", "--", "true")
        cloud.ask("free", f"ada@{host}", "--now")
        gets_in = acme.seat("cleo", "run", "--", "true")

    assert "the place counts until" in honest
    assert still_full.returncode == 75
    assert gets_in.returncode == 0


def test_a_killed_program_finds_its_own_seat(acme: Customer) -> None:
    """A program that is started again after a crash takes its own place back at once, though the pool is full."""
    with acme.working("ada") as ada, acme.working("bob"):
        os.killpg(ada.pid, signal.SIGKILL)
        ada.wait(30)
        again = acme.seat("ada", "run", "--", "true")

    assert (again.returncode, again.stderr) == (0, "")


def test_nothing_is_found_amiss_afterwards(cloud: CloudServer, acme: Customer, sold: Sold) -> None:
    """After a day's work the log tells it in order, and `verify` and `doctor` find nothing amiss."""
    with two_working(acme):
        acme.seat("cleo", "run", "--", "true")
    cloud.ask("change", sold.entitlement, "--seats", "3")
    more = acme.seat("cleo", "run", "--", "true")
    kinds = [line.split('"kind": "')[1].split('"')[0] for line in cloud.ask("log", "--json").splitlines()]

    assert more.returncode == 0
    assert [kind for kind in kinds if kind in {"Claimed", "Denied", "Returned"}] == [
        "Claimed",
        "Claimed",
        "Denied",
        "Claimed",
        "Returned",
    ]
    assert cloud.ask_json("verify")["holds"]


def test_what_was_sold_is_not_sold_twice(cloud: CloudServer, sold: Sold) -> None:
    """The same sale again is refused unless it is meant; the code can be shown again."""
    again = cloud.verb("sell", "acme", "solver", "--seats", "2")
    meant = cloud.verb("sell", "acme", "solver", "--seats", "2", "--another")
    shown = cloud.ask("code", "show", sold.entitlement)

    assert again.returncode == 1
    assert "--another" in again.stderr
    assert meant.returncode == 0
    assert sold.code in shown
