"""A laptop takes a seat home from a real server, and works without it; nobody else gains anything by its files or its clock."""

import json
import shutil
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatkeeper import _clock, _identity, cli
from tests.support.servers import BIN, CloudServer, Finished, Sold, clean_environment


@pytest.fixture
def sold(cloud: CloudServer) -> Sold:
    """Two seats of `solver`, one of which may be borrowed for two weeks."""
    return cloud.sell("acme", "solver", seats=2, borrow="14d:1")


class Laptop:
    """A device with the settings it was sold, and a home of its own."""

    def __init__(self, sold: Sold, home: Path) -> None:
        self.home = home
        self.environment = clean_environment(**sold.environment, HOME=str(home), SEATKEEPER_STATE_DIR=str(home / "state"))

    def seat(self, *arguments: str) -> Finished:
        """Run `seat` as a program of its own."""
        return subprocess.run([BIN / "seat", *arguments], env=self.environment, capture_output=True, text=True, timeout=60)

    def here(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        """Run `seat` in this process, whose machine and clock can be another's."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return cli.main([*arguments])


@pytest.fixture
def laptop(sold: Sold, tmp_path: Path) -> Laptop:
    return Laptop(sold, tmp_path / "laptop")


def at(monkeypatch: pytest.MonkeyPatch, **away: float) -> None:
    """Set this device's clock so far off; what it has counted since it was started stays."""
    wall = _clock.now().wall + timedelta(**away).total_seconds()
    monkeypatch.setattr(_clock, "time", SimpleNamespace(**{**vars(time), "time": lambda: wall}))


def test_a_laptop_works_at_home(
    cloud: CloudServer, sold: Sold, laptop: Laptop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Borrow, stop the server, run; a copy on another machine, a clock set back and the end are refused, each by its name."""
    assert laptop.seat("borrow", "--for", "7d").returncode == 0
    held = cloud.ask_json("seats")[0]
    assert [(one["state"], one["borrowed"]) for one in held["holders"]] == [("borrowed", True)]
    assert held["borrowed"] == 1
    assert "1 of 1 borrowed, for 14d at most" in cloud.ask("seats")
    assert "took a seat, borrowed until" in cloud.ask("log")
    assert "borrowed until" in laptop.seat("status").stdout
    cloud.stop()

    done = laptop.seat("run", "--", "echo", "at work")
    assert (done.returncode, done.stdout) == (0, "at work\n"), done.stderr

    copy = Laptop(sold, laptop.home.with_name("copy"))
    shutil.copytree(laptop.home, copy.home)
    with monkeypatch.context() as patch:
        patch.setattr(_identity, "_machine_or_container", lambda tenant, environment: "machine:another")
        assert copy.here(patch, "run", "--", "true") == 77
    assert "borrowed by another device" in capfd.readouterr().err

    with monkeypatch.context() as patch:
        at(patch, days=-1)
        assert laptop.here(patch, "run", "--", "true") == 77
    assert "this device's clock says" in capfd.readouterr().err

    with monkeypatch.context() as patch:
        at(patch, days=7, minutes=1)
        assert laptop.here(patch, "run", "--", "true") == 75
    assert "the time for which this seat was borrowed was over" in capfd.readouterr().err


def test_an_early_return_is_shown_and_counts_on(cloud: CloudServer, sold: Sold, laptop: Laptop, tmp_path: Path) -> None:
    """Returned, and its place counts to the end, unless an administrator frees it, who knows what that means."""
    laptop.seat("borrow", "--for", "7d")
    another = Laptop(sold, tmp_path / "another")
    refused = another.seat("borrow", "--for", "1d", "--seat-id", "another")
    assert (refused.returncode, "at most 14d" in refused.stderr, "at most 1 at once, of which 1 are" in refused.stderr) == (
        77, True, True,
    ), refused.stderr  # fmt: skip

    assert laptop.seat("return").returncode == 0
    [holder] = cloud.ask_json("seats")[0]["holders"]
    assert (holder["state"], holder["counts"]) == ("returned", True)
    ends = datetime.fromisoformat(holder["countsUntil"]) - datetime.fromisoformat(holder["since"])
    assert ends >= timedelta(days=7)
    assert "gave the seat back, its place counts until" in cloud.ask("log")
    assert another.seat("borrow", "--for", "1d", "--seat-id", "another").returncode == 77

    freed = cloud.ask_json("free", holder["activationId"], "--now")
    assert freed["overusedUntil"]
    assert another.seat("borrow", "--for", "1d", "--seat-id", "another").returncode == 0
    assert cloud.verb("verify").returncode == 0


def test_the_vendor_changes_what_may_be_borrowed(cloud: CloudServer, sold: Sold, laptop: Laptop) -> None:
    """`seatkeeper change ENT --borrow …|none`; what it was before is written down too."""
    changed = json.loads(cloud.ask("change", sold.entitlement, "--borrow", "none", "--json"))
    assert (changed["borrow"], changed["before"]["borrow"]) == ("none", "14d:1")

    refused = laptop.seat("borrow", "--for", "1d")
    assert (refused.returncode, "may not be borrowed" in refused.stderr) == (77, True), refused.stderr
    assert "refused: borrow-limit" in cloud.ask("log")

    cloud.ask("change", sold.entitlement, "--borrow", "1d")
    assert "changed: borrowing none to 1d" in cloud.ask("log")
    assert laptop.seat("borrow", "--for", "2d").returncode == 77
    assert laptop.seat("borrow", "--for", "1d").returncode == 0


def test_a_seat_at_home_survives_what_happens_to_the_server(cloud: CloudServer, sold: Sold, laptop: Laptop) -> None:
    """A crash and a restart move no end: the device is believed by the server as by itself."""
    laptop.seat("borrow", "--for", "7d")
    before = cloud.ask_json("seats")[0]["holders"][0]["leaseEndsAt"]
    cloud.restart()

    assert laptop.seat("borrow", "--for", "6d").returncode == 0
    assert cloud.ask_json("seats")[0]["holders"][0]["leaseEndsAt"] == before
    assert cloud.ask_json("seats")[0]["held"] == 1
