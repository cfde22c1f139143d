"""Group commit: what the desk promises whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from threading import Event

import pytest

from seatkeeper_server.apps.desk_wire import CallFailed
from seatkeeper_server.apps.remote_desk import RemoteDesk
from seatkeeper_server.service.calls import ActivateCall, Call, HeldCall, Outcome, Refused, Served, Verb
from seatkeeper_server.service.desk import TRIES, Closed, Desk, Overloaded, Registrar
from seatkeeper_server.service.ports import CommitUnknown, Conflict, StorageFull, StorageUnavailable, Transaction
from seatkeeper_server.store.sqlite import SqliteStore, SqliteTransaction
from support.desks import behind_the_wire
from support.house import Drawer, House, activate, held, make_house


@pytest.fixture
def house(store: SqliteStore) -> House:
    return make_house(store, seats=10)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk | RemoteDesk]]


@pytest.fixture(params=["in a thread", "behind the wire"])
def open_desk(request: pytest.FixtureRequest) -> OpenDesk:
    """Give what opens a desk on a house: `Desk`, or the front's and the program's end of a `RemoteDesk`."""
    make = {"in a thread": Desk, "behind the wire": behind_the_wire}[request.param]

    @asynccontextmanager
    async def opened(house: House, **changes: object) -> AsyncIterator[Desk | RemoteDesk]:
        parts = {"store": house.store, "use_case": house.leasing, "timekeeper": house.timekeeper, "random": Drawer()}
        registrar = Registrar(**{name: changes.pop(name, part) for name, part in parts.items()})  # type: ignore[arg-type]
        desk = make(registrar, **changes)  # type: ignore[arg-type]
        desk.open()
        try:
            yield desk
        finally:
            await asyncio.to_thread(desk.close)

    return opened


async def ask(desk: Desk | RemoteDesk, call: Call) -> Outcome:
    return await desk.ask(call)


class Faulty:
    """A store that behaves as told around its commits."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        self.transactions += 1
        with self.store.transaction() as tx:
            yield tx
            self.before_commit()
        self.after_commit()

    def was_committed(self, batch_id: str) -> bool:
        return self.store.was_committed(batch_id)


def once(error: Exception, times: int = 1) -> Callable[[], None]:
    left = [error] * times

    def fail() -> None:
        if left:
            raise left.pop()

    return fail


def always(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def test_what_waits_is_decided_in_one_transaction(open_desk: OpenDesk, house: House) -> None:
    """A hundred calls that arrive together are a few batches, not a hundred transactions; each gets its own answer."""
    batches: list[int] = []
    async with open_desk(house, on_batch=lambda calls, seconds: batches.append(calls)) as desk:
        outcomes = await asyncio.gather(*[desk.ask(activate(f"s{n}")) for n in range(100)])

    assert sum(isinstance(outcome, Served) for outcome in outcomes) == 10
    assert sum(batches) == 100
    assert len(batches) < 30


async def test_nothing_is_answered_before_it_is_committed(open_desk: OpenDesk, house: House) -> None:
    """While the commit is under way the caller waits; the answer comes after it."""
    store = Faulty(house.store)
    reached, let_go = Event(), Event()

    def hold() -> None:
        reached.set()
        let_go.wait(10)

    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)  # the first beat is over
        store.before_commit = hold
        asking = asyncio.create_task(ask(desk, activate("a")))
        assert await asyncio.to_thread(reached.wait, 10)
        await asyncio.sleep(0.05)
        was_answered = asking.done()
        let_go.set()
        outcome = await asking

    assert not was_answered
    assert isinstance(outcome, Served)


@pytest.mark.parametrize(("error", "times"), [(StorageFull("full"), 2), (StorageUnavailable("away"), 1)])
async def test_a_failed_commit_acknowledges_nothing_and_the_next_one_works(
    open_desk: OpenDesk, house: House, error: Exception, times: int
) -> None:
    """Disk full: every caller of the batch is told, nothing was recorded, and the next call is served without a restart."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(error, times)
        with pytest.raises(type(error)):
            await desk.ask(activate("a"))
        assert house.used() == 0
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert house.used() == 1


async def test_a_disk_that_is_full_is_tried_once_more(open_desk: OpenDesk, house: House) -> None:
    """A store that finds a disk full makes what room it can; the caller hears of it only if there is none."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(StorageFull("full"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert house.used() == 1


async def test_one_bad_call_spoils_no_other(open_desk: OpenDesk, house: House) -> None:
    """A batch that fails is redone call by call: only the bad call's caller is told."""

    class Fussy:
        def decide(self, tx: Transaction, calls: Sequence[Call], now: datetime) -> list[Outcome]:
            if any(isinstance(call, ActivateCall) and call.who.seat_id == "bad" for call in calls):
                raise ZeroDivisionError
            return house.leasing.decide(tx, calls, now)

        def sweep(self, tx: Transaction, now: datetime) -> None: ...

    async with open_desk(house, use_case=Fussy()) as desk:
        calls = [desk.ask(activate(name)) for name in ("a", "bad", "b")]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) in {ZeroDivisionError, CallFailed} for outcome in outcomes] == [False, True, False]
    assert house.used() == 2


async def test_an_unknown_commit_that_happened_is_not_redone(open_desk: OpenDesk, house: House) -> None:
    """Attack 8: the answer to COMMIT was lost, but it happened: it is looked up, and nothing happens twice."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.after_commit = once(CommitUnknown("lost"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_an_unknown_commit_that_did_not_happen_is_redone(open_desk: OpenDesk, house: House) -> None:
    """The connection was lost before COMMIT: looked up, not found, done again, once."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(CommitUnknown("lost"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_a_batch_that_another_server_got_in_the_way_of_is_done_again(open_desk: OpenDesk, house: House) -> None:
    """A conflict is nobody's business: nothing was recorded, and the second try is served."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(Conflict("in the way"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_a_batch_is_not_done_again_for_ever(open_desk: OpenDesk, house: House) -> None:
    """Whoever is always in the way is trouble: the caller is told, and the desk goes on."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.transactions, store.before_commit = 0, always(Conflict("in the way"))
        with pytest.raises(StorageUnavailable):
            await desk.ask(activate("a"))
        tries, store.before_commit = store.transactions, lambda: None
        outcome = await desk.ask(activate("a"))

    assert tries == TRIES
    assert isinstance(outcome, Served)


async def test_too_many_waiting_calls_are_turned_away_at_once(open_desk: OpenDesk, house: House) -> None:
    """Memory is bounded under overload: beyond a number of waiting calls, the next is told to come back."""
    store = Faulty(house.store)
    let_go = Event()
    async with open_desk(house, store=store, max_waiting=5, max_batch=1, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = lambda: bool(let_go.wait(10)) and None
        asked = [asyncio.create_task(ask(desk, activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        turned_away = [task for task in asked if task.done() and isinstance(task.exception(), Overloaded)]
        let_go.set()
        await asyncio.gather(*asked, return_exceptions=True)

    assert len(turned_away) >= 14


async def test_who_holds_a_seat_goes_before_newcomers_and_is_turned_away_last(open_desk: OpenDesk, house: House) -> None:
    """Overload never costs a running user his seat: his refresh passes waiting activations, and there is a reserve for it."""
    first = house.one(activate("holder"))
    assert isinstance(first, Served)
    store, order = Faulty(house.store), []
    let_go = Event()

    class Watched:
        def decide(self, tx: Transaction, calls: Sequence[Call], now: datetime) -> list[Outcome]:
            order.extend(type(call) for call in calls)
            return house.leasing.decide(tx, calls, now)

        def sweep(self, tx: Transaction, now: datetime) -> None: ...

    limits = {"max_waiting": 5, "max_batch": 1, "beat": timedelta(hours=1)}
    async with open_desk(house, store=store, use_case=Watched(), **limits) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = lambda: bool(let_go.wait(10)) and None
        newcomers = [asyncio.create_task(ask(desk, activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        refresh = asyncio.create_task(ask(desk, held(Verb.REFRESH, first)))
        await asyncio.sleep(0.1)
        let_go.set()
        outcome = await refresh
        await asyncio.gather(*newcomers, return_exceptions=True)

    assert isinstance(outcome, Served)
    assert order.index(HeldCall) == 1  # right behind the one that was being committed


async def test_closing_answers_what_waits_and_refuses_what_comes(open_desk: OpenDesk, house: House) -> None:
    """Graceful stop: what is under way is answered, then nothing more is taken."""
    async with open_desk(house) as desk:
        asked = [asyncio.create_task(ask(desk, activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked)
        with pytest.raises(Closed):
            await desk.ask(activate("late"))

    assert all(isinstance(outcome, Served | Refused) for outcome in outcomes)


async def test_a_caller_that_goes_away_spoils_nothing(open_desk: OpenDesk, house: House) -> None:
    """What was decided for a caller who hung up stands, and the others are answered."""
    async with open_desk(house) as desk:
        gone = asyncio.create_task(ask(desk, activate("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        outcome = await desk.ask(activate("here"))

    assert isinstance(outcome, Served)


async def test_the_desk_beats_while_nobody_asks(open_desk: OpenDesk, house: House) -> None:
    """Ended places become facts within a beat or two although nobody calls."""
    house.ask(activate("a"))
    house.pass_(200)
    async with open_desk(house, beat=timedelta(milliseconds=20)):
        for _ in range(200):
            await asyncio.sleep(0.02)
            if house.used() == 0:
                break

    assert house.facts() == ["Claimed", "Expired"]


async def test_calls_that_arrive_together_are_one_batch(open_desk: OpenDesk, house: House) -> None:
    """What one turn of the front's loop brings is handed over together, and so is made durable by one commit."""
    batches: list[int] = []
    async with open_desk(house, beat=timedelta(hours=1), on_batch=lambda calls, seconds: batches.append(calls)) as desk:
        await asyncio.gather(*(desk.ask(activate(f"s{number}")) for number in range(8)))

    assert batches == [8]


async def test_a_small_batch_limit_is_kept_and_nobody_is_forgotten(open_desk: OpenDesk, house: House) -> None:
    """What is above the limit waits for the next batch; closing answers all of it first."""
    batches: list[int] = []
    async with open_desk(
        house, beat=timedelta(hours=1), max_batch=3, on_batch=lambda calls, seconds: batches.append(calls)
    ) as desk:
        asked = [asyncio.create_task(ask(desk, activate(f"s{number}"))) for number in range(8)]
        await asyncio.sleep(0)  # all have asked, none has been handed over
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked)

    assert all(isinstance(outcome, Served) for outcome in outcomes)
    assert batches == [3, 3, 2]


async def test_who_submits_is_told_later_and_once(open_desk: OpenDesk, house: House) -> None:
    """The outcome never comes before `submit` has returned."""
    told: list[object] = []
    async with open_desk(house) as desk:
        desk.submit(activate("a"), told.append)
        told_at_once = list(told)
        await desk.ask(activate("b"))

    assert told_at_once == []
    assert [type(outcome) for outcome in told] == [Served]


async def test_who_fails_over_his_answer_harms_nobody_else(open_desk: OpenDesk, house: House) -> None:
    """The others of the batch are told all the same."""
    told: list[object] = []

    def fail(outcome: object) -> None:
        raise ZeroDivisionError

    async with open_desk(house) as desk:
        desk.submit(activate("bad"), fail)
        desk.submit(activate("good"), told.append)
        outcome = await desk.ask(activate("later"))

    assert [type(each) for each in (*told, outcome)] == [Served, Served]


async def test_a_loop_that_has_ended_harms_nobody_else(open_desk: OpenDesk, house: House) -> None:
    """Who went without waiting for his answer takes nobody else's."""
    async with open_desk(house) as desk:

        async def ask_and_go() -> None:
            desk.submit(activate("gone"), print)
            await asyncio.sleep(0)

        await asyncio.to_thread(asyncio.run, ask_and_go())
        outcome = await desk.ask(activate("here"))

    assert isinstance(outcome, Served)
    assert house.used() == 2
