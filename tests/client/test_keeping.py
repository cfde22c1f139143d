"""Keeping a seat in real time: the thread, the task, callbacks, a server that goes and comes. Leases are short here."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import seatkeeper
from seatkeeper.testing import FakeServer

SOON = 20.0  # seconds: a bound for what should take a fraction of one


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; a bound, not a timing."""
    end = time.monotonic() + SOON
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A real server on a real socket: one seat, leases of one second, ten renders."""
    with FakeServer(seats=1, lease=1.0, features={"render": 10, "export": "bool", "credits": "usageCount:5"}) as running:
        yield running


def refreshes(server: FakeServer) -> int:
    return sum(path.endswith("/refresh") for _, path in server.requests)


def test_a_seat_is_taken_kept_and_given_back(server: FakeServer) -> None:
    """The main path: `with` takes it, the thread keeps it, the end of the block gives it back."""
    with seatkeeper.seat(**server.settings) as seat:
        kept = eventually(lambda: refreshes(server) >= 3)
        during = (seat.state, server.used)

    assert kept
    assert (during, seat.state, server.used) == (("held", 1), "returned", 0)


def test_acquire_and_close_do_without_a_block(server: FakeServer) -> None:
    """For programs whose beginning and end are in different places; closing twice is harmless."""
    seat = seatkeeper.seat(**server.settings).acquire()
    used = server.used
    seat.close()
    seat.close()

    assert (used, server.used) == (1, 0)


def test_a_program_that_forgets_to_close_gives_its_seat_back(server: FakeServer) -> None:
    """Its exit does it: a script that just ends leaves no seat to run out."""
    script = "import seatkeeper; print(seatkeeper.seat().acquire().state)"
    surroundings = {**os.environ, **server.environment}
    done = subprocess.run([sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, timeout=SOON)

    assert (done.returncode, done.stdout) == (0, "held\n")
    assert [method for method, _ in server.requests][-1] == "DELETE"


def test_the_settings_may_all_come_from_the_environment(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`. ./acme.env`, then `with seatkeeper.seat():` and nothing else."""
    for variable, value in server.environment.items():
        monkeypatch.setenv(variable, value)
    with seatkeeper.seat() as seat:
        status = seatkeeper.status()

        assert seat.state == "held"
        assert [holder.seat_name for holder in status.holders] == [seat.seat_name]


def test_a_server_restart_is_worked_through(server: FakeServer) -> None:
    """The server stops and starts again while a seat is held; nobody loses it."""
    states: list[str] = []
    with seatkeeper.seat(**server.settings, on_change=states.append) as seat:
        server.stop()
        time.sleep(0.4)
        server.start()
        before = refreshes(server)

        assert eventually(lambda: refreshes(server) >= before + 2)
        assert seat.state == "held"
    assert "lost" not in states


def test_the_program_is_told_of_risk_loss_and_return(server: FakeServer) -> None:
    """held, at risk, lost, and held again when the server comes back; on_loss once."""
    states: list[str] = []
    losses: list[seatkeeper.SeatLost] = []
    with seatkeeper.seat(**server.settings, on_change=states.append, on_loss=losses.append):
        server.unreachable = True
        assert eventually(lambda: "lost" in states)
        server.unreachable = False
        assert eventually(lambda: states[-1] == "held")

    assert states == ["held", "at risk", "lost", "held"]
    assert len(losses) == 1
    assert isinstance(losses[0].__cause__, seatkeeper.ServerUnreachable)


def test_a_callback_that_fails_does_not_cost_the_seat(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged, the keeper goes on."""

    def broken(state: str) -> None:
        raise RuntimeError("a bug in the program")

    with seatkeeper.seat(**server.settings, on_change=broken) as seat:
        kept = eventually(lambda: refreshes(server) >= 2)

        assert (kept, seat.state) == (True, "held")
    assert "callback-failed" in caplog.text


def test_a_seat_can_be_closed_from_its_own_callback(server: FakeServer) -> None:
    """A program that ends itself on a change does not wait for itself."""
    ready, closed = threading.Event(), threading.Event()

    def on_change(state: str) -> None:
        ready.wait(SOON)
        seat.close()
        closed.set()

    seat = seatkeeper.seat(**server.settings, on_change=on_change)
    seat.acquire()
    ready.set()

    assert closed.wait(SOON)
    assert eventually(lambda: server.used == 0)


def test_a_lost_seat_can_be_asked_for(server: FakeServer) -> None:
    """`ensure_held` is for programs that check before they start something long."""
    with seatkeeper.seat(**server.settings) as seat:
        seat.ensure_held()
        server.unreachable = True
        assert eventually(lambda: seat.state == "lost")

        with pytest.raises(seatkeeper.SeatLost):
            seat.ensure_held()
        server.unreachable = False


def test_features_are_drawn_and_given_back(server: FakeServer) -> None:
    """As a block, they come back by themselves; otherwise when the program says so."""
    with seatkeeper.seat(**server.settings, features={"render": 2}) as seat:
        with seat.checkout("render", 3):
            inside = seat.features["render"]
        seat.checkout("render", 1)
        after = seat.features["render"]
        seat.give_back("render", 3)

        assert (inside, after) == (5, 3)
        assert "render" not in seat.features


def test_usage_counts_stay_drawn(server: FakeServer) -> None:
    """What is used up is not given back at the end of the block."""
    with seatkeeper.seat(**server.settings) as seat:
        with seat.checkout("credits", 2) as drawn:
            pass

        assert drawn.state.available == 3
        assert seat.checkout("credits", 1).state.available == 2


def test_use_is_reported(server: FakeServer) -> None:
    """A bool feature's use reaches the server; an unknown one is refused."""
    with seatkeeper.seat(**server.settings) as seat:
        seat.use("export")

        with pytest.raises(seatkeeper.NoFeature):
            seat.use("exprot")
    assert ("POST", "/api/v1/activation/features/usage") in server.requests


def test_a_switch_is_not_drawn(server: FakeServer) -> None:
    """A bool feature is on in every lease: to let `checkout` pass would hide that a lease grants no more than before."""
    with seatkeeper.seat(**server.settings) as seat:
        with pytest.raises(seatkeeper.NoFeature, match="use"):
            seat.checkout("export")

        assert seat.features == {"export": 1}
        assert eventually(lambda: refreshes(server) >= 2)
        assert seat.state == "held"


def test_what_was_bought_can_be_shown(server: FakeServer) -> None:
    """The commercial side, for an about box."""
    with seatkeeper.seat(**server.settings) as seat:
        assert seat.entitlement().seat_count == 1


def test_many_threads_may_use_one_seat(server: FakeServer) -> None:
    """Calls are made one at a time; none gets another's nonce."""
    with seatkeeper.seat(**server.settings) as seat:
        threads = [threading.Thread(target=lambda: seat.checkout("render", 1)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)

        assert seat.features == {"render": 10, "export": 1}


def test_the_async_client_does_the_same(server: FakeServer) -> None:
    """One machine, two drivers: taken, kept, features, callbacks (coroutines too), given back."""
    states: list[str] = []

    async def on_change(state: str) -> None:
        states.append(state)

    async def program() -> tuple[dict[str, int], dict[str, int], int]:
        async with seatkeeper.async_seat(**server.settings, on_change=on_change) as seat:
            await seat.checkout("render", 2)
            async with seat.checkout("render", 1):
                inside = seat.features
            await seat.use("export")
            before = refreshes(server)
            await asyncio.to_thread(eventually, lambda: refreshes(server) >= before + 2)
            return inside, seat.features, (await seat.entitlement()).seat_count

    inside, after, seats = asyncio.run(program())

    assert (inside["render"], after["render"], seats) == (3, 2, 1)
    assert (states, server.used) == (["held"], 0)


def test_the_async_client_is_refused_like_any_other(server: FakeServer) -> None:
    """And leaves nothing running behind."""

    async def program() -> None:
        async with seatkeeper.async_seat(**server.settings), seatkeeper.async_seat(**server.settings):
            pass

    with pytest.raises(seatkeeper.NoSeat):
        asyncio.run(program())
    assert server.used == 0


def test_a_cancelled_program_gives_its_seat_back(server: FakeServer) -> None:
    """Cancellation is an end like any other."""

    async def work(begun: asyncio.Event) -> None:
        async with seatkeeper.async_seat(**server.settings):
            begun.set()
            await asyncio.sleep(SOON)

    async def program() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(work(begun))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(program())

    assert server.used == 0


FORK = """
import os, sys, seatkeeper
with seatkeeper.seat() as seat:
    child = os.fork()
    if child == 0:
        seat.close()
        sys.exit(0)  # with its copies of everything: the block, the exit handlers
    os.waitpid(child, 0)
    print(seatkeeper.status().used)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_give_its_parents_seat_back(server: FakeServer) -> None:
    """The seat belongs to the process that took it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env=dict(os.environ) | server.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=SOON,
    )

    assert done.stdout == "1\n"
