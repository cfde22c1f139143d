"""A seat that was taken home: programs start on it without any server, on that device and by an honest clock only."""

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import json

import seatkeeper
from seatkeeper import _clock, _identity, cli
from seatkeeper._storage import key_folder, state_folder
from seatkeeper.testing import FakeServer

DAY = 86_400.0


class Clocks:
    """The device's wall and boot clock, to be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = _clock.now()
        self.wall, self.boot = start.wall, start.boot
        monkeypatch.setattr(_clock, "time", SimpleNamespace(time=lambda: self.wall))
        monkeypatch.setattr(_clock, "_boot", lambda: self.boot)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(seats=2, borrow=14 * DAY, features={"render": 4}) as running:
        yield running


@pytest.fixture
def borrowed(clocks: Clocks, server: FakeServer) -> seatkeeper.Borrowed:
    """A seat at home for a week, and no server any more."""
    taken = seatkeeper.borrow(**server.settings, until=timedelta(days=7), features={"render": 2})
    server.unreachable = True
    return taken


def starts(server: FakeServer) -> bool:
    """Whether a program starts, and what its seat is when it does."""
    with seatkeeper.seat(**server.settings) as seat:
        return seat.state == "held"


def another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_identity, "_machine_or_container", lambda tenant, environment: "machine:another")


def test_a_program_starts_on_a_borrowed_seat_without_a_server(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """`with seatkeeper.seat(...)` starts on the stored borrowed lease when it is valid for this device."""
    with seatkeeper.seat(**server.settings) as seat:
        assert (seat.state, seat.features, seat.seat_id) == ("held", {"render": 2}, borrowed.seat_id)
        assert seat.expires_at is not None
        assert abs(seat.expires_at - borrowed.until) < timedelta(seconds=5)

    with seatkeeper.seat(**server.settings) as again:
        assert again.state == "held"


def test_asyncio_programs_do_too(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """Async and sync are two thin drivers over one pure core."""

    async def work() -> str:
        async with seatkeeper.async_seat(**server.settings) as seat:
            return seat.state

    assert asyncio.run(work()) == "held"


def test_a_program_that_ends_leaves_it_borrowed(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """The seat is at home until its date: the end of a program is no return."""
    server.unreachable = False
    with seatkeeper.seat(**server.settings):
        pass

    assert server.used == 1
    server.unreachable = True
    assert starts(server)


def test_the_second_window_needs_a_server(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """One seat was borrowed: the second program has none, and is told why."""
    with (
        seatkeeper.seat(**server.settings),
        pytest.raises(seatkeeper.BorrowedSeatUnusable, match="in use by another program"),
    ):
        seatkeeper.seat(**server.settings).acquire()


def test_a_program_finds_the_borrowed_seat_whichever_window_it_was(server: FakeServer, clocks: Clocks) -> None:
    """Borrowed beside a running program, the seat is the second window's; later the first one to start takes it."""
    with seatkeeper.seat(**server.settings):
        taken = seatkeeper.borrow(**server.settings, until=timedelta(days=1))
    server.unreachable = True

    with seatkeeper.seat(**server.settings) as seat:
        assert seat.seat_id == taken.seat_id


def test_its_end_is_the_end(server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed) -> None:
    """The end → refused with a clear message; where there is a server again, an ordinary seat is taken."""
    clocks.pass_(7 * DAY + 1)

    with pytest.raises(seatkeeper.BorrowEnded, match="the time for which this seat was borrowed was over at"):
        seatkeeper.seat(**server.settings).acquire()
    server.unreachable = False
    server.advance(7 * DAY + 1)
    with seatkeeper.seat(**server.settings) as seat:
        assert seat.state == "held"


def test_a_program_at_work_loses_it_at_its_end(server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed) -> None:
    """Belief ends with the lease, and the loss says that it was borrowed."""
    with seatkeeper.seat(**server.settings) as seat:
        clocks.pass_(7 * DAY - 10)
        assert seat.state == "held"
        clocks.pass_(11)
        assert seat.state == "lost"
        with pytest.raises(seatkeeper.SeatLost, match="the time for which this seat was borrowed is over"):
            seat.ensure_held()


def test_a_copied_folder_is_refused_on_another_machine(
    server: FakeServer, borrowed: seatkeeper.Borrowed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a copied file: everything was copied, the device's key among it."""
    shutil.copytree(state_folder(), tmp_path / "copy")
    monkeypatch.setenv("SEATKEEPER_STATE_DIR", str(tmp_path / "copy"))
    assert starts(server)  # it is the machine that matters
    another_machine(monkeypatch)

    with pytest.raises(seatkeeper.OtherDevice, match="borrowed by another device"):
        seatkeeper.seat(**server.settings).acquire()
    with pytest.raises(seatkeeper.OtherDevice):  # although the seat's id is the same on both
        seatkeeper.seat(**server.settings, seat_id=borrowed.seat_id).acquire()


def test_a_record_signed_anew_on_another_machine_is_refused(
    server: FakeServer, borrowed: seatkeeper.Borrowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the key can sign the record; the nonce with the first machine's fingerprint was signed by the server."""
    from seatkeeper._borrowed import Borrowings
    from seatkeeper._storage import device_key

    another_machine(monkeypatch)
    mine = Borrowings(tenant=server.tenant, product=server.product, device=device_key())
    [record] = mine.records.values()
    mine._write(record)

    with pytest.raises(seatkeeper.OtherDevice):
        seatkeeper.seat(**server.settings, seat_id=borrowed.seat_id).acquire()


def test_a_lease_without_its_key_is_refused(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """The lease names the device's key, which is kept apart."""
    (key_folder() / "device.key").unlink()

    with pytest.raises(seatkeeper.OtherDevice):
        seatkeeper.seat(**server.settings).acquire()


def test_a_changed_record_is_refused(server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed) -> None:
    """What counts from when is signed by the device's key."""
    [path] = (state_folder() / "borrowed").glob("*.json")
    kept = json.decode(path.read_bytes())
    path.write_bytes(json.encode({**kept, "sent_at": kept["sent_at"] + 30 * DAY}))

    with pytest.raises(seatkeeper.OtherDevice):
        seatkeeper.seat(**server.settings).acquire()


def test_a_clock_set_back_is_refused(server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed) -> None:
    """Refuse to start when now is before the latest seen moment by more than a small allowance."""
    clocks.pass_(2 * DAY)
    with seatkeeper.seat(**server.settings):
        pass
    clocks.wall -= DAY

    with pytest.raises(seatkeeper.ClockSetBack, match="this device's clock says"):
        seatkeeper.seat(**server.settings).acquire()
    clocks.wall += DAY - 200  # people and time servers correct clocks a little
    assert starts(server)


def test_a_clock_set_back_gains_nothing_within_the_allowance(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed
) -> None:
    """Count the remaining time against the latest moment seen."""
    clocks.pass_(7 * DAY - 100)
    with seatkeeper.seat(**server.settings):
        pass
    clocks.wall -= 250

    seat = seatkeeper.seat(**server.settings).acquire()
    assert seat._taken().holding is not None
    assert seat._taken().holding.lease.left(_clock.now()) == pytest.approx(100, abs=2)  # type: ignore[union-attr]
    seat.close()


def test_the_boot_clock_carries_the_latest_moment_on(server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed) -> None:
    """A clock set back while no program ran is found out by the clock that can't be set, until the machine is restarted."""
    clocks.boot += 3 * DAY

    with pytest.raises(seatkeeper.ClockSetBack):
        seatkeeper.seat(**server.settings).acquire()


def test_an_older_copy_of_the_record_does_not_turn_time_back(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed
) -> None:
    """The latest moment is kept in two places: a record put back from before is no use."""
    [path] = (state_folder() / "borrowed").glob("*.json")
    older = path.read_bytes()
    clocks.pass_(6 * DAY)
    with seatkeeper.seat(**server.settings):
        pass
    path.write_bytes(older)
    clocks.wall, clocks.boot = clocks.wall - 6 * DAY, 1.0

    with pytest.raises(seatkeeper.ClockSetBack):
        seatkeeper.seat(**server.settings).acquire()
    (key_folder() / "seen.json").unlink()
    with pytest.raises(seatkeeper.ClockSetBack, match="what this device knew of the time is gone"):
        seatkeeper.seat(**server.settings).acquire()


def test_a_servers_word_begins_the_latest_moment_anew(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed
) -> None:
    """Who once had a wrong clock is not locked out: the server says how much is left, whatever the dates are."""
    clocks.wall += 5 * DAY
    with seatkeeper.seat(**server.settings):
        pass
    clocks.wall -= 5 * DAY
    server.unreachable = False
    with seatkeeper.seat(**server.settings) as seat:
        assert seat.state == "held"
    server.unreachable = True

    assert starts(server)
    assert server.used == 1


def test_a_forged_certificate_is_not_believed(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """Lease and certificate are verified against the pinned root every time."""
    stranger = FakeServer().public_key
    with pytest.raises(seatkeeper.BorrowedSeatUnusable, match="can't be trusted"):
        seatkeeper.seat(**{**server.settings, "public_key": stranger}).acquire()


def test_an_ordinary_lease_is_no_borrowed_one(server: FakeServer, clocks: Clocks) -> None:
    """Rule 7: a program never starts on a stored lease, except a borrowed one."""
    seat = seatkeeper.seat(**server.settings).acquire()
    seat._taken()._calls.bind(seat._taken()._borrowings.bound)
    seat._perform(seat._taken().refresh())
    lease, certificate = seat._taken().holding.lease.token, seat._taken()._belief.certificate  # type: ignore[union-attr]
    nonce = seat._taken().claims.nonce  # type: ignore[union-attr]
    seat._taken()._borrowings.keep(
        seat_id=seat.seat_id or "", slot=0, lease=lease, certificate=certificate,
        nonce=nonce or "", sent_at=clocks.wall, now=_clock.now(),
    )  # fmt: skip
    seat.close()
    server.unreachable = True

    with pytest.raises(seatkeeper.BorrowedSeatUnusable, match="not a borrowed lease"):
        seatkeeper.seat(**server.settings).acquire()


def test_more_features_than_were_borrowed_need_a_server(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """What the lease at home does not grant, nobody grants without a server."""
    with pytest.raises(seatkeeper.BorrowedSeatUnusable, match="render"):
        seatkeeper.seat(**server.settings, features={"render": 3}).acquire()


def test_an_early_return_is_told_to_the_server(server: FakeServer, borrowed: seatkeeper.Borrowed) -> None:
    """An early return is accepted with the device's proof; the place counts until its end, and nothing starts here any more."""
    with pytest.raises(seatkeeper.ServerUnreachable):
        seatkeeper.return_borrowed(**server.settings)
    assert starts(server)
    server.unreachable = False

    until = seatkeeper.return_borrowed(**server.settings)

    assert abs(until - borrowed.until) < timedelta(seconds=5)
    assert server.used == 1
    server.unreachable = True
    with pytest.raises(seatkeeper.ServerUnreachable):
        seatkeeper.seat(**server.settings).acquire()
    with pytest.raises(seatkeeper.BorrowedSeatUnusable, match="no seat is borrowed"):
        seatkeeper.return_borrowed(**server.settings)


def test_what_the_license_does_not_allow_is_refused(clocks: Clocks) -> None:
    """Refused with `borrow.refused`, and nothing is kept."""
    with FakeServer(borrow=DAY) as server:
        with pytest.raises(seatkeeper.Refused) as refused:
            seatkeeper.borrow(**server.settings, until=timedelta(days=7))
        assert refused.value.problem == "borrow.refused"
        assert server.used == 0


def test_what_can_not_be_kept_is_not_borrowed(
    server: FakeServer, clocks: Clocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seat that nobody could start on would only be taken from others."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEATKEEPER_STATE_DIR", str(tmp_path / "file" / "state"))

    with pytest.raises(seatkeeper.ConfigurationError, match="can't be kept"):
        seatkeeper.borrow(**server.settings, until=timedelta(days=1))
    assert server.used == 0


def test_a_moment_has_a_zone(server: FakeServer) -> None:
    """Every moment is UTC, or says what it is."""
    with pytest.raises(seatkeeper.ConfigurationError, match="time zone"):
        seatkeeper.borrow(**server.settings, until=datetime(2027, 1, 31))  # noqa: DTZ001


def test_the_key_is_kept_apart_from_what_it_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private key made on the device, stored 0600 in a place apart; one that lay beside the seats is moved there."""
    from seatkeeper._storage import device_key

    monkeypatch.delenv("SEATKEEPER_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    state_folder().mkdir(parents=True)
    (state_folder() / "device.key").write_bytes(b"k" * 32)

    assert device_key().private_bytes_raw() == b"k" * 32
    assert not (state_folder() / "device.key").exists()
    kept = tmp_path / "d" / "seatkeeper" / "device.key"
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (b"k" * 32, 0o600)


# --- the command line ---------------------------------------------------------------------------------------------


def test_seat_borrow_and_return(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`seat borrow --for 7d`, `seat run` without a server, `seat return`."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    assert cli.main(["borrow", "--for", "7d"]) == 0
    assert "borrowed until" in capsys.readouterr().out
    assert cli.main(["status"]) == 0
    assert "borrowed until" in capsys.readouterr().out
    server.unreachable = True
    assert cli.main(["run", "--", "true"]) == 0
    server.unreachable = False
    assert cli.main(["return"]) == 0
    assert "its place counts until" in capsys.readouterr().out
    assert cli.main(["return"]) == 77


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--for", "a week"], "no length of time"),
        (["--until", "tomorrow"], "no date"),
        (["--until", "2027-01-31T12:00"], "time zone"),
        (["--until", "2027-02-31"], "no date"),
    ],
)
def test_what_can_not_be_read_is_said(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    complaint: str,
) -> None:
    """Failure says what to do next and exits non-zero."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    assert cli.main(["borrow", *options]) == 78
    assert complaint in capsys.readouterr().err


def test_a_day_is_included(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--until 2027-01-31` ends when that day does, where the device is."""
    assert cli._moment("2027-01-31") == datetime(2027, 2, 1).astimezone()
    assert cli._moment("2027-01-31T12:00:00Z") == datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_a_lease_that_is_not_for_home_is_not_taken_for_one(
    server: FakeServer, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stands in between can take `borrowUntil` out of a request, not put it into the lease that comes of it."""
    monkeypatch.setattr(server._api, "_borrowed_until", lambda asked, now: 0.0)
    fresh = server._api._fresh

    def ordinary(asked, now):  # type: ignore[no-untyped-def]
        place = fresh(asked, now)
        place.borrowed = False
        return place

    monkeypatch.setattr(server._api, "_fresh", ordinary)

    with pytest.raises(seatkeeper.UntrustedServer, match="not for taking home"):
        seatkeeper.borrow(**server.settings, until=timedelta(days=1))


# --- seat doctor ---------------------------------------------------------------------------------------------------


def examined(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Have `seat doctor` look: its exit code, and what it says of borrowed seats."""
    trust = ("--tenant", server.tenant, "--product", server.product, "--public-key", server.public_key)
    code = cli.main(["doctor", "--server", server.url, "--code", server.code, *trust])
    return code, [line for line in capsys.readouterr().out.splitlines() if line.split()[1] == "borrowed"]


def test_doctor_tells_until_when_a_seat_is_borrowed(
    server: FakeServer, borrowed: seatkeeper.Borrowed, capsys: pytest.CaptureFixture[str]
) -> None:
    """For which product, and that it is this device's; the way to the server is another matter."""
    server.unreachable = False
    code, (line,) = examined(server, capsys)

    assert code == 0
    assert line.startswith(f"✓ borrowed {server.product} is borrowed until {seatkeeper.errors.local_time(borrowed.until)[:10]}")
    assert "on this device only; no server is needed till then" in line


def test_doctor_says_nothing_where_nothing_is_borrowed(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it make anything: no key, no folder."""
    before = sorted(state_folder().rglob("*"))

    assert examined(server, capsys) == (0, [])
    assert sorted(state_folder().rglob("*")) == before


def test_doctor_changes_nothing(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it finds: the latest moment that was seen stays the latest that a program has seen."""
    kept = {path: path.read_bytes() for path in state_folder().rglob("*") if path.is_file()}
    clocks.pass_(2 * DAY)
    examined(server, capsys)

    assert {path: path.read_bytes() for path in state_folder().rglob("*") if path.is_file()} == kept


def test_doctor_finds_a_clock_that_was_set_back(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the clock says, what was seen before, and what to do."""
    server.unreachable = False
    clocks.pass_(DAY)
    clocks.wall -= 2 * DAY
    code, (line,) = examined(server, capsys)

    assert (code, line[0]) == (77, "✗")
    assert "this device's clock says" in line
    assert "set it right, or connect to the license server" in line


@pytest.mark.parametrize("what", ["machine", "key", "record"])
def test_doctor_finds_what_another_device_has_borrowed(
    server: FakeServer,
    borrowed: seatkeeper.Borrowed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """Copied from another machine, without its key, or changed; no key is made for it."""
    server.unreachable = False
    [path] = (state_folder() / "borrowed").glob("*.json")
    match what:
        case "machine":
            another_machine(monkeypatch)
        case "key":
            (key_folder() / "device.key").unlink()
        case _:
            path.write_bytes(json.encode({**json.decode(path.read_bytes()), "sent_at": 9e9}))
    code, (line,) = examined(server, capsys)

    assert (code, line[0]) == (77, "✗")
    assert "was borrowed by another device: borrow one on this device, or connect" in line
    assert (key_folder() / "device.key").exists() == (what != "key")


def test_doctor_finds_a_borrowed_seat_of_another_vendor(
    server: FakeServer, borrowed: seatkeeper.Borrowed, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pinned root's chain is verified, as it is when a program starts."""
    with FakeServer(seats=1) as other:
        trust = ("--tenant", server.tenant, "--product", server.product, "--public-key", other.public_key)
        cli.main(["doctor", "--server", server.url, "--code", server.code, *trust])

    assert "the borrowed seat that lies here can't be trusted" in capsys.readouterr().out


def test_doctor_says_that_the_time_is_over(
    server: FakeServer, clocks: Clocks, borrowed: seatkeeper.Borrowed, capsys: pytest.CaptureFixture[str]
) -> None:
    """No fault where a server answers; where none does, its hop fails."""
    clocks.pass_(7 * DAY + 1)
    server.unreachable = False
    code, (line,) = examined(server, capsys)

    assert (code, line[0]) == (0, "–")
    assert "was over at" in line
    assert "connect to the license server to take a seat, or to borrow one again" in line
