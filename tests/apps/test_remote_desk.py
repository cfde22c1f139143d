"""A desk in a process of its own: what becomes of those who ask when it dies, hangs or can't start, and of it when they do."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from seatkeeper_server.apps import desk_process, remote_desk
from seatkeeper_server.apps import desk_wire as wire
from seatkeeper_server.apps.deciding import Order
from seatkeeper_server.apps.remote_desk import HEAD_START, RemoteDesk
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service.calls import Call, Done, Outcome, Refused, Served, Verb
from seatkeeper_server.service.desk import Closed, Overloaded, settle
from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.store.sqlite import SqliteStore
from support.desks import InThread
from support.house import House, activate, held, make_house
from support.servers import children_of

PATIENCE = 30  # seconds; nothing here takes one, but the machine may be busy
SEATS = 10

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there the desk is a thread")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A database in which ten seats were sold."""
    with closing(SqliteStore(tmp_path / "seatkeeper.db")) as store:
        SealKey.load_or_create(tmp_path / "seal.key")
        yield make_house(store, seats=SEATS)


@pytest.fixture
def order(house: House, tmp_path: Path) -> Order:
    """What a desk on that database is told."""
    return Order(
        database=str(tmp_path / "seatkeeper.db"),
        seal_key=str(tmp_path / "seal.key"),
        database_id="db_" + "D" * 22,
        epoch=1,
        log_level="error",
    )


@contextmanager
def opened(order: Order, **how: object) -> Iterator[RemoteDesk]:
    desk = RemoteDesk(order, **how)  # type: ignore[arg-type]
    desk.open()
    try:
        yield desk
    finally:
        send(desk, signal.SIGCONT)
        desk.close()


def send(desk: RemoteDesk, number: signal.Signals) -> None:
    assert desk.process_id is not None
    if is_alive(desk.process_id):
        os.kill(desk.process_id, number)


def state(pid: int) -> str:
    """How a process is: S when it sleeps, T when it is stopped, Z when it has ended and was not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def is_alive(pid: int) -> bool:
    return state(pid) not in ("", "Z")


async def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def begin(desk: RemoteDesk, call: Call) -> "asyncio.Future[Outcome]":
    """Ask now, whether anybody awaits the answer or not."""
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    desk.submit(call, partial(settle, answer))
    return answer


def descriptors() -> list[str]:
    return sorted(os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists())


# --- a life without trouble ----------------------------------------------------------------------------------------


async def test_another_process_decides_and_ends_with_the_desk(order: Order, house: House) -> None:
    """What it acknowledged is in the database; when the desk is closed it is gone."""
    with opened(order) as desk:
        outcomes = await asyncio.gather(*[begin(desk, activate(f"s{n}")) for n in range(12)])
        pid = desk.process_id

    assert [type(outcome) for outcome in outcomes] == [Served] * SEATS + [Refused] * 2
    assert house.used() == SEATS
    assert pid not in (None, os.getpid())
    assert not is_alive(pid)


async def test_every_batch_is_told_of(order: Order) -> None:
    """The metrics count the calls of each, and how long it took."""
    told: list[tuple[int, float]] = []
    with opened(order, on_batch=lambda calls, seconds: told.append((calls, seconds))) as desk:
        await asyncio.gather(*[begin(desk, activate(f"s{n}")) for n in range(5)])
        await desk.ask(activate("last"))

    assert [calls for calls, _ in told] == [5, 1]
    assert all(seconds > 0 for _, seconds in told)


def test_one_loop_after_the_other_is_served(order: Order) -> None:
    """A desk outlives the loops that ask it; what one left behind neither is awaited nor counts as waiting for ever."""

    async def leave_one_behind() -> None:
        begin(desk, activate("never sent"))

    async def leave_one_under_way() -> None:
        begin(desk, activate("sent"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def be_served() -> Outcome:
        outcome = await desk.ask(activate("served"))
        await until(lambda: desk.waiting == 0)
        return outcome

    with opened(order) as desk:
        outcomes = []
        for leave in (leave_one_behind, leave_one_under_way, leave_one_behind):
            asyncio.run(leave())
            outcomes.append(asyncio.run(be_served()))

    assert [type(outcome) for outcome in outcomes] == [Served] * 3


def test_a_process_that_died_between_two_loops_is_replaced(order: Order) -> None:
    """Who asks next is served by a new one."""

    async def be_served() -> Outcome:
        await until(lambda: desk.trouble is None)
        return await desk.ask(activate("a"))

    with opened(order) as desk:
        first = asyncio.run(be_served())
        pid = desk.process_id
        send(desk, signal.SIGKILL)
        asyncio.run(until(lambda: desk.process_id != pid))
        second = asyncio.run(be_served())

    assert [type(first), type(second)] == [Served, Served]


async def test_a_call_without_words_fails_alone(order: Order) -> None:
    """Those that came with it are answered, and so are the next."""
    with opened(order) as desk:
        asked = [begin(desk, activate(name)) for name in ("a", "\ud800", "b")]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        later = await desk.ask(activate("c"))

    assert [type(outcome) for outcome in [*outcomes, later]] == [Served, UnicodeEncodeError, Served, Served]
    assert desk.waiting == 0


async def test_a_call_without_words_fails_alone_and_later_in_a_long_turn_too(order: Order) -> None:
    """Nobody is told anything before `submit` has returned, though an idle desk is set to work within it."""
    told: list[type] = []
    with opened(order) as desk:
        desk.submit(activate("\ud800"), lambda result: told.append(type(result)))
        for number in range(HEAD_START + 1):
            desk.submit(activate(f"s{number}"), lambda result: told.append(type(result)))
        told_at_once = list(told)
        await until(lambda: not desk.waiting)

    assert told_at_once == []
    assert told[0] is UnicodeEncodeError
    assert set(told[1:]) <= {Served, Refused}


async def test_an_idle_desk_begins_before_a_long_turn_of_the_loop_ends(order: Order) -> None:
    """The front may read requests for a millisecond; what comes while the desk is at work goes together."""
    frames_seen, one_seen = list[int](), Event()

    def note(connection: socket.socket) -> None:
        frames = wire.Frames()
        frames.fed(connection.recv(1 << 20))
        connection.sendall(wire.opening_frame(None))
        while sum(frames_seen) < 3 * HEAD_START and (data := connection.recv(1 << 20)):
            frames_seen.extend(len(wire.read_calls(frame)) for frame in frames.fed(data))
            one_seen.set()

    with opened(order, start=lambda theirs: InThread(theirs, note)) as desk:
        for number in range(HEAD_START):
            desk.submit(activate(f"s{number}"), lambda result: None)
        was_seen_within_the_turn = one_seen.wait(PATIENCE)
        for number in range(2 * HEAD_START):
            desk.submit(activate(f"t{number}"), lambda result: None)
        await until(lambda: sum(frames_seen) == 3 * HEAD_START)

    assert was_seen_within_the_turn
    assert frames_seen == [HEAD_START, 2 * HEAD_START]


# --- the process dies ----------------------------------------------------------------------------------------------


async def test_what_was_asked_of_a_killed_process_fails_and_the_next_is_served(order: Order, house: House) -> None:
    """Every caller is told at once, who asks meanwhile too; then another process decides, from what was recorded."""
    with opened(order) as desk:
        first = await desk.ask(activate("first"))
        send(desk, signal.SIGSTOP)
        waiting = [begin(desk, activate(f"s{n}")) for n in range(5)]
        await asyncio.sleep(0)
        send(desk, signal.SIGKILL)
        lost = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE)
        with pytest.raises(StorageUnavailable):
            await desk.ask(activate("meanwhile"))
        trouble = desk.trouble
        await until(lambda: desk.trouble is None)
        again = await desk.ask(activate("again"))

    assert [type(outcome) for outcome in lost] == [StorageUnavailable] * 5
    assert trouble is not None
    assert [type(first), type(again)] == [Served, Served]
    assert house.used() == 2


async def test_calls_of_the_turn_in_which_it_dies_are_answered(order: Order) -> None:
    """Also those that were asked and not handed over yet."""
    with opened(order) as desk:
        await desk.ask(activate("first"))
        send(desk, signal.SIGKILL)
        asked = []
        for n in range(1_000):
            try:
                asked.append(begin(desk, activate(f"s{n}")))
            except StorageUnavailable:
                break
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} <= {Served, Refused, StorageUnavailable}
    assert desk.waiting == 0


async def test_it_is_started_again_though_nobody_asks(order: Order) -> None:
    """A server that is not ready gets no calls, which must not be what it waits for."""
    with opened(order) as desk:
        pid = desk.process_id
        send(desk, signal.SIGKILL)
        await until(lambda: desk.process_id != pid and desk.trouble is None)

        assert isinstance(await desk.ask(activate("a")), Served)


async def test_many_deaths_leave_nothing_behind(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """No open descriptor, and no dead process that nobody waited for."""
    monkeypatch.setattr(remote_desk, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remote_desk, "LONGEST_PAUSE", 0.01)
    before = descriptors()
    with opened(order) as desk:
        await desk.ask(activate("a"))
        pids, counted = [], []
        for _ in range(3):
            pids.append(desk.process_id)
            counted.append(len(descriptors()))
            send(desk, signal.SIGKILL)
            await until(lambda: desk.process_id != pids[-1] and desk.trouble is None)

    assert len(set(counted)) == 1
    assert descriptors() == before
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]  # noqa: ASYNC240


async def test_what_can_not_be_understood_is_as_good_as_dead(order: Order) -> None:
    """A process that speaks no sense is ended, and its callers are told; what it said before was an answer."""

    def babble(connection: socket.socket) -> None:
        connection.recv(1 << 20)
        connection.sendall(wire.opening_frame(None))
        [frame] = wire.Frames().fed(connection.recv(1 << 20))
        number = wire.read_calls(frame)[0][0]
        connection.sendall(wire.batch_frame([number, number + 99], [Done("n"), Done()], 0.1) + wire.framed(b"\xc1"))
        connection.recv(1)

    started: list[remote_desk.Runs] = []

    def start(theirs: socket.socket) -> remote_desk.Runs:
        started.append(desk_process.start(theirs) if started else InThread(theirs, babble))
        return started[-1]

    with opened(order, start=start) as desk:
        asked = [begin(desk, activate(name)) for name in "ab"]
        answered, lost = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE)
        await until(lambda: desk.trouble is None)
        outcome = await desk.ask(activate("a"))

    assert answered == Done("n")
    assert isinstance(lost, StorageUnavailable)
    assert isinstance(outcome, Served)
    assert len(started) == 2


# --- the process hangs ---------------------------------------------------------------------------------------------


async def test_a_stopped_process_lets_no_line_grow_without_end(order: Order, house: House) -> None:
    """Beyond the limit newcomers are turned away, then holders; when it goes on, everybody who waited is answered."""
    holder = await_served(house)
    with opened(order, max_waiting=50) as desk:
        send(desk, signal.SIGSTOP)
        newcomers, holders = [], []
        with pytest.raises(Overloaded):
            for n in range(1_000):
                newcomers.append(begin(desk, activate(f"s{n}")))
                await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            for _ in range(1_000):
                holders.append(begin(desk, held(Verb.REFRESH, holder)))
                await asyncio.sleep(0)
        waited = desk.waiting
        send(desk, signal.SIGCONT)
        outcomes = await asyncio.gather(*newcomers, *holders)

    assert (len(newcomers), len(holders), waited) == (50, 50, 100)
    assert {type(outcome) for outcome in outcomes} == {Served, Refused}
    assert desk.waiting == 0


async def test_holders_pass_those_that_a_slow_process_has_not_taken_yet(order: Order, house: House) -> None:
    """Calls of newcomers may lie on this side of the connection by the thousand: a refresh does not stand behind them."""
    refresh, goes_on, arrived = held(Verb.REFRESH, await_served(house)), Event(), []

    def read_late(connection: socket.socket) -> None:
        frames = wire.Frames()
        frames.fed(connection.recv(1 << 20))
        connection.sendall(wire.opening_frame(None))
        goes_on.wait(PATIENCE)
        while len(arrived) < 4_001 and (data := connection.recv(1 << 20)):
            arrived.extend(call for frame in frames.fed(data) for _, call in wire.read_calls(frame))

    with opened(order, max_waiting=5_000, start=lambda theirs: InThread(theirs, read_late)) as desk:
        for number in range(4_000):
            desk.submit(activate(f"s{number}" + "x" * 500), lambda result: None)
        await asyncio.sleep(0)
        desk.submit(refresh, lambda result: None)
        await asyncio.sleep(0)
        goes_on.set()
        await until(lambda: len(arrived) == 4_001)

    assert arrived.index(refresh) < 2_000


async def test_a_process_that_does_not_answer_is_trouble(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped or stuck, it is left alone, since a slow disk looks the same; but the server is not ready meanwhile."""
    monkeypatch.setattr(remote_desk, "STUCK_AFTER", 0.2)
    with opened(order) as desk:
        await asyncio.sleep(0.3)
        idle = desk.trouble
        pid = desk.process_id
        send(desk, signal.SIGSTOP)
        asked = begin(desk, activate("a"))
        await until(lambda: desk.trouble)
        send(desk, signal.SIGCONT)
        outcome = await asked

        assert idle is None
        assert isinstance(outcome, Served)
        assert (desk.trouble, desk.process_id) == (None, pid)


# --- the desk is closed --------------------------------------------------------------------------------------------


async def test_closing_answers_a_long_line(order: Order) -> None:
    """More than both ends' buffers hold, some of it not even sent: all are answered, then the process ends."""
    with opened(order) as desk:
        asked = [begin(desk, activate(f"s{n}" + "x" * 300)) for n in range(4_000)]
        await asyncio.sleep(0)
        pid = desk.process_id
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked)
        with pytest.raises(Closed):
            await desk.ask(activate("late"))

    assert [type(outcome) for outcome in outcomes] == [Served] * SEATS + [Refused] * (4_000 - SEATS)
    assert not is_alive(pid or 0)


async def test_closing_in_the_loop_itself_answers_too(order: Order) -> None:
    """Whoever closes it, from wherever."""
    with opened(order) as desk:
        asked = [begin(desk, activate(f"s{n}")) for n in range(3)]
        desk.close()
        outcomes = await asyncio.gather(*asked)

    assert [type(outcome) for outcome in outcomes] == [Served] * 3


async def test_closing_does_not_wait_for_ever(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs is ended at last, and who waited for it is told."""
    monkeypatch.setattr(remote_desk, "ENDS_WITHIN", 0.2)
    with opened(order) as desk:
        await desk.ask(activate("first"))
        pid = desk.process_id
        send(desk, signal.SIGSTOP)
        asked = [begin(desk, activate(f"s{n}")) for n in range(3)]
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 3
    assert not is_alive(pid or 0)


async def test_closing_while_it_is_started_again_ends_it(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a death and the next process nothing is left running."""
    started: list[subprocess.Popen[bytes]] = []

    def start(theirs: socket.socket) -> remote_desk.Runs:
        started.append(desk_process.start(theirs))
        return started[-1]

    with opened(order, start=start) as desk:
        send(desk, signal.SIGKILL)
        await until(lambda: len(started) == 2)
        await asyncio.to_thread(desk.close)

    assert [process.returncode is not None for process in started] == [True, True]


# --- it can't start ------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("/nowhere/python", "No such file"),
        ("exit 7", "ended before it was ready"),
        ("exec sleep 600", "timed out"),
    ],
)
def test_a_program_that_can_not_run_is_told_at_the_start(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """No interpreter, one that fails, one that does not come up in time: said in a sentence, and nothing is left behind."""
    monkeypatch.setattr(remote_desk, "STARTS_WITHIN", 0.5)
    executable = program if program.startswith("/") else script(tmp_path / "python", program)
    monkeypatch.setattr(sys, "executable", executable)
    before, desk = (descriptors(), children_of(os.getpid())), RemoteDesk(order)
    with pytest.raises(StorageUnavailable, match=reason):
        desk.open()
    desk.close()

    assert (descriptors(), children_of(os.getpid())) == before


def test_a_database_that_has_gone_is_told_and_not_made_anew(order: Order) -> None:
    """An empty one in its place would be the end of every seat."""
    database = Path(order.database)
    database.unlink()
    with pytest.raises(StorageUnavailable, match="has gone"):
        RemoteDesk(order).open()

    assert not database.exists()


def test_a_key_that_is_missing_is_told_and_not_made_anew(order: Order) -> None:
    """Under a new one nothing in the database would open."""
    key = Path(order.seal_key)
    key.unlink()
    with pytest.raises(SealKeyError, match="put it back"):
        RemoteDesk(order).open()

    assert not key.exists()


def test_another_database_in_the_place_of_ours_is_refused(order: Order) -> None:
    """A copy that somebody put there while the server ran needs a server that starts on it."""
    other = Order(order.database, order.seal_key, "db_" + "X" * 22, order.epoch, log_level="error")
    with pytest.raises(StorageUnavailable, match="another database"):
        RemoteDesk(other).open()


def test_code_that_was_upgraded_under_a_running_server_is_refused(order: Order) -> None:
    """Two versions do not understand each other; the server says so until it is started anew."""
    old = Order(order.database, order.seal_key, order.database_id, order.epoch, log_level="error", version="0.0.1")
    with pytest.raises(StorageUnavailable, match=r"installed over version 0\.0\.1"):
        RemoteDesk(old).open()


async def test_it_is_tried_again_ever_more_seldom_until_it_starts(
    order: Order, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the database away there is a pause between two tries, and it grows up to a bound; the server is not ready. When
    the database is back, so is the desk."""
    monkeypatch.setattr(remote_desk, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remote_desk, "LONGEST_PAUSE", 0.04)
    away = f"{order.database}.away"
    with capture_logs() as logs, opened(order) as desk:
        os.rename(order.database, away)
        send(desk, signal.SIGKILL)
        await until(lambda: sum(event["event"] == "desk.not_started" for event in logs) >= 4)
        trouble = desk.trouble
        os.rename(away, order.database)
        await until(lambda: desk.trouble is None)
        outcome = await desk.ask(activate("a"))

    failures = [event for event in logs if event["event"] == "desk.not_started"]
    assert [event["again_after"] for event in failures[:4]] == [0.01, 0.02, 0.04, 0.04]
    assert "has gone" in failures[0]["reason"]
    assert trouble is not None
    assert isinstance(outcome, Served)


# --- the front dies, and signals -----------------------------------------------------------------------------------

FRONT = """
import asyncio, os, sys
from msgspec import json
from seatkeeper_server.apps.deciding import Order
from seatkeeper_server.apps.remote_desk import HEAD_START, RemoteDesk
from support.house import activate

async def main():
    print(desk.process_id, flush=True)
    sys.stdin.readline()
    asked = [asyncio.create_task(desk.ask(activate(f"s{n}"))) for n in range(200)]
    await asyncio.sleep(0.1)
    print("asked", flush=True)
    await asyncio.gather(*asked)

desk = RemoteDesk(json.decode(os.environ["ORDER"], type=Order))
desk.open()
asyncio.run(main())
"""


@contextmanager
def front(order: Order) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A front in a process of its own, which asks for 200 seats when told to; and the desk's process."""
    from msgspec import json

    environment = {**os.environ, "ORDER": json.encode(order).decode(), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", FRONT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def test_a_front_that_is_killed_takes_its_desk_along(order: Order, house: House) -> None:
    """At once, though nobody asks; and the database is free for the next server."""
    with front(order) as (process, pid):
        process.kill()
        await until(lambda: not is_alive(pid))

    assert isinstance(house.one(activate("next")), Served)


async def test_what_waits_for_a_killed_front_is_not_decided(order: Order, house: House) -> None:
    """Beside the next server an old desk ends at most the batch it is at: of those that wait, nobody gets a seat."""
    with front(order) as (process, pid):
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: state(pid) == "T")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("ask\n")
        process.stdin.flush()
        assert process.stdout.readline() == "asked\n"
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGCONT)
        await until(lambda: not is_alive(pid))

    assert house.used() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_that_stop_a_server_do_not_stop_its_desk(order: Order, number: signal.Signals) -> None:
    """Ctrl-C and a service manager send them to all processes: the front must still be answered. Also while it starts."""

    def start(theirs: socket.socket) -> remote_desk.Runs:
        process = desk_process.start(theirs)
        process.send_signal(number)
        return process

    with opened(order, start=start) as desk:
        send(desk, number)
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)


def test_the_front_itself_can_still_be_interrupted(order: Order) -> None:
    """That signals were held back while the process was started is over when it runs."""
    with opened(order):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


# --- what it shares with others ------------------------------------------------------------------------------------


def opened_by(pid: int) -> list[str]:
    """Give what a process has open; it may close some of it meanwhile."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names


def test_the_connection_is_inherited_by_nobody_else(order: Order, tmp_path: Path) -> None:
    """Another program that the server starts does not keep the desk alive; and the desk has nothing of the server's open."""
    with (tmp_path / "the server's own").open("w") as file, opened(order) as desk:
        os.set_inheritable(file.fileno(), True)
        stranger = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            theirs = opened_by(stranger.pid)
        finally:
            stranger.kill()
            stranger.wait()
        ours = opened_by(desk.process_id or 0)

    assert not [name for name in theirs if name.startswith("socket:")]
    assert len([name for name in ours if name.startswith("socket:")]) == 1
    assert file.name not in ours


def test_nothing_is_imported_from_the_current_directory(order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server started in a directory that others write to runs none of their code."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "msgspec.py").write_text("raise SystemExit('a stranger ran')")
    monkeypatch.chdir(tmp_path / "elsewhere")

    with opened(order) as desk:
        assert desk.trouble is None


def await_served(house: House) -> Served:
    """A holder of a seat."""
    served = house.one(activate("holder"))
    assert isinstance(served, Served)
    return served
