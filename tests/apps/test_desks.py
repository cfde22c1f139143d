"""Several desks behind one front: which one a call goes to, and that it makes no difference to the answer."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from seatkeeper_server.apps import desks as module
from seatkeeper_server.apps.desks import Desks
from seatkeeper_server.service.calls import Call, HeldCall, Outcome, Refused, Served, Verb
from seatkeeper_server.service.desk import Desk, Registrar
from seatkeeper_server.store.sqlite import SqliteStore
from support.house import Drawer, House, activate, held, make_house

pytestmark = pytest.mark.anyio

COUNT = 5  # desks, so that chance alone would seldom send all calls to one


class Watched(Registrar):
    """A registrar that remembers what it decided."""

    seen: list[Call]

    def serve(self, calls: list[Call]):
        self.seen.extend(calls)
        return super().serve(calls)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Two seats, on disk."""
    with closing(SqliteStore(tmp_path / "seatkeeper.db")) as store:
        yield make_house(store, seats=2)


@pytest.fixture
def seen() -> list[list[Call]]:
    """What each desk has decided."""
    return [[] for _ in range(COUNT)]


@pytest.fixture
def start(house: House, seen: list[list[Call]]) -> Iterator[Callable[[], Desks]]:
    """What starts a server's desks."""
    with ExitStack() as opened:

        def started() -> Desks:
            made = []
            for calls in seen:
                registrar = Watched(house.store, house.leasing, house.timekeeper, Drawer())
                registrar.seen = calls
                desk = Desk(registrar)
                desk.open()
                opened.callback(desk.close)
                made.append(desk)
            return Desks(made)

        yield started


async def submitted(desks: Desks, call: Call) -> Outcome:
    """Have a call decided as a front does."""
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    desks.submit(call, answer.set_result)
    return await answer


async def served(desks: Desks, call: Call) -> Served:
    """Have a call decided that is served."""
    outcome = await submitted(desks, call)
    assert isinstance(outcome, Served)
    return outcome


def busy(seen: list[list[Call]]) -> list[int]:
    """Give the desks that decided anything, and forget what it was."""
    found = [place for place, calls in enumerate(seen) if calls]
    for calls in seen:
        calls.clear()
    return found


async def test_a_group_is_always_at_the_same_desk(start: Callable[[], Desks], seen: list[list[Call]]) -> None:
    """Once a first answer has told whose code it is: activates, refusals, refreshes and returns of all holders."""
    desks = start()
    first = await served(desks, activate("a"))
    busy(seen)
    second = await served(desks, activate("b"))
    assert isinstance(await submitted(desks, activate("c")), Refused)
    for granted in (first, second):
        await served(desks, held(Verb.REFRESH, granted))
        await submitted(desks, held(Verb.RETURN, granted))

    assert len(busy(seen)) == 1


async def test_a_server_that_knows_nothing_yet_learns_from_the_first_answer(
    start: Callable[[], Desks], seen: list[list[Call]]
) -> None:
    """A new one, to which programs come that hold seats: after one refresh each they are all at the desk of their group."""
    before = start()
    granted = [await served(before, activate(name)) for name in ("a", "b")]
    desks = start()
    for one in granted:
        await served(desks, held(Verb.REFRESH, one))
    await submitted(desks, activate("c"))
    busy(seen)
    for one in granted:
        await served(desks, held(Verb.REFRESH, one))
    await submitted(desks, activate("d"))

    assert len(busy(seen)) == 1


async def test_what_was_forgotten_is_decided_all_the_same(start: Callable[[], Desks], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered has a bound; a seat that fell out of it is refreshed like any other."""
    monkeypatch.setattr(module, "REMEMBERED", 1)
    desks = start()
    granted = [await served(desks, activate(name)) for name in ("a", "b")]

    assert [(await served(desks, held(Verb.REFRESH, one))).holding.holder for one in granted] == [1, 2]


async def test_awaiting_an_answer_learns_as_well(start: Callable[[], Desks], seen: list[list[Call]]) -> None:
    """`ask` and `submit` go the same ways."""
    desks = start()
    first = await desks.ask(activate("a"))
    assert isinstance(first, Served)
    busy(seen)
    call = held(Verb.REFRESH, first)
    assert isinstance(call, HeldCall)
    await desks.ask(call)
    await served(desks, activate("b"))

    assert len(busy(seen)) == 1


async def test_one_desk_in_trouble_is_the_servers_trouble(start: Callable[[], Desks], house: House) -> None:
    """Some calls would not be answered: a load balancer should look for another server."""
    desks = start()
    well = desks.trouble
    desks._desks[3].close()  # type: ignore[attr-defined]

    assert well is None
    assert desks.trouble is not None
