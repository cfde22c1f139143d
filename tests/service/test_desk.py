"""Group commit: what the desk promises whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from threading import Event

import pytest

from seatkeeper_server.service.calls import ActivateCall, Call, HeldCall, Outcome, Refused, Served, Verb
from seatkeeper_server.service.desk import TRIES, Closed, Desk, Overloaded
from seatkeeper_server.service.ports import CommitUnknown, Conflict, StorageFull, StorageUnavailable, Transaction
from seatkeeper_server.store.sqlite import SqliteStore, SqliteTransaction
from support.house import Drawer, House, activate, held, make_house


@pytest.fixture
def house(store: SqliteStore) -> House:
    return make_house(store, seats=10)


@asynccontextmanager
async def open_desk(house: House, **changes: object) -> AsyncIterator[Desk]:
    parts = {"store": house.store, "use_case": house.leasing, "timekeeper": house.timekeeper, "random": Drawer(), **changes}
    desk = Desk(**parts)  # type: ignore[arg-type]
    desk.open()
    try:
        yield desk
    finally:
        await asyncio.to_thread(desk.close)


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


def once(error: Exception) -> Callable[[], None]:
    left = [error]

    def fail() -> None:
        if left:
            raise left.pop()

    return fail


def always(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def test_what_waits_is_decided_in_one_transaction(house: House) -> None:
    """A hundred calls that arrive together are a few batches, not a hundred transactions; each gets its own answer."""
    batches: list[int] = []
    async with open_desk(house, on_batch=lambda calls, seconds: batches.append(calls)) as desk:
        outcomes = await asyncio.gather(*[desk.ask(activate(f"s{n}")) for n in range(100)])

    assert sum(isinstance(outcome, Served) for outcome in outcomes) == 10
    assert sum(batches) == 100
    assert len(batches) < 30


async def test_nothing_is_answered_before_it_is_committed(house: House) -> None:
    """While the commit is under way the caller waits; the answer comes after it."""
    store = Faulty(house.store)
    reached, let_go = Event(), Event()

    def hold() -> None:
        reached.set()
        let_go.wait(10)

    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)  # the first beat is over
        store.before_commit = hold
        asking = asyncio.create_task(desk.ask(activate("a")))
        assert await asyncio.to_thread(reached.wait, 10)
        await asyncio.sleep(0.05)
        was_answered = asking.done()
        let_go.set()
        outcome = await asking

    assert not was_answered
    assert isinstance(outcome, Served)


@pytest.mark.parametrize("error", [StorageFull("full"), StorageUnavailable("away")])
async def test_a_failed_commit_acknowledges_nothing_and_the_next_one_works(house: House, error: Exception) -> None:
    """Disk full: every caller of the batch is told, nothing was recorded, and the next call is served without a restart."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(error)
        with pytest.raises(type(error)):
            await desk.ask(activate("a"))
        assert house.used() == 0
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert house.used() == 1


async def test_one_bad_call_spoils_no_other(house: House) -> None:
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

    assert [type(outcome) for outcome in outcomes] == [Served, ZeroDivisionError, Served]
    assert house.used() == 2


async def test_an_unknown_commit_that_happened_is_not_redone(house: House) -> None:
    """Attack 8: the answer to COMMIT was lost, but it happened: it is looked up, and nothing happens twice."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.after_commit = once(CommitUnknown("lost"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_an_unknown_commit_that_did_not_happen_is_redone(house: House) -> None:
    """The connection was lost before COMMIT: looked up, not found, done again, once."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(CommitUnknown("lost"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_a_batch_that_another_server_got_in_the_way_of_is_done_again(house: House) -> None:
    """A conflict is nobody's business: nothing was recorded, and the second try is served."""
    store = Faulty(house.store)
    async with open_desk(house, store=store, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = once(Conflict("in the way"))
        outcome = await desk.ask(activate("a"))

    assert isinstance(outcome, Served)
    assert (house.used(), house.facts()) == (1, ["Claimed"])


async def test_a_batch_is_not_done_again_for_ever(house: House) -> None:
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


async def test_too_many_waiting_calls_are_turned_away_at_once(house: House) -> None:
    """Memory is bounded under overload: beyond a number of waiting calls, the next is told to come back."""
    store = Faulty(house.store)
    let_go = Event()
    async with open_desk(house, store=store, max_waiting=5, max_batch=1, beat=timedelta(hours=1)) as desk:
        await asyncio.sleep(0.05)
        store.before_commit = lambda: bool(let_go.wait(10)) and None
        asked = [asyncio.create_task(desk.ask(activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        turned_away = [task for task in asked if task.done() and isinstance(task.exception(), Overloaded)]
        let_go.set()
        await asyncio.gather(*asked, return_exceptions=True)

    assert len(turned_away) >= 14


async def test_who_holds_a_seat_goes_before_newcomers_and_is_turned_away_last(house: House) -> None:
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
        newcomers = [asyncio.create_task(desk.ask(activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        refresh = asyncio.create_task(desk.ask(held(Verb.REFRESH, first)))
        await asyncio.sleep(0.1)
        let_go.set()
        outcome = await refresh
        await asyncio.gather(*newcomers, return_exceptions=True)

    assert isinstance(outcome, Served)
    assert order.index(HeldCall) == 1  # right behind the one that was being committed


async def test_closing_answers_what_waits_and_refuses_what_comes(house: House) -> None:
    """Graceful stop: what is under way is answered, then nothing more is taken."""
    async with open_desk(house) as desk:
        asked = [asyncio.create_task(desk.ask(activate(f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked)
        with pytest.raises(Closed):
            await desk.ask(activate("late"))

    assert all(isinstance(outcome, Served | Refused) for outcome in outcomes)


async def test_a_caller_that_goes_away_spoils_nothing(house: House) -> None:
    """What was decided for a caller who hung up stands, and the others are answered."""
    async with open_desk(house) as desk:
        gone = asyncio.create_task(desk.ask(activate("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        outcome = await desk.ask(activate("here"))

    assert isinstance(outcome, Served)


async def test_the_desk_beats_while_nobody_asks(house: House) -> None:
    """Ended places become facts within a beat or two although nobody calls."""
    house.ask(activate("a"))
    house.pass_(200)
    async with open_desk(house, beat=timedelta(milliseconds=20)):
        for _ in range(200):
            await asyncio.sleep(0.02)
            if house.used() == 0:
                break

    assert house.facts() == ["Claimed", "Expired"]


async def test_calls_that_arrive_together_are_one_batch(house: House) -> None:
    """What one turn of the front's loop brings is handed over together, and so is made durable by one commit."""
    batches: list[int] = []
    async with open_desk(house, beat=timedelta(hours=1), on_batch=lambda calls, seconds: batches.append(calls)) as desk:
        await asyncio.gather(*(desk.ask(activate(f"s{number}")) for number in range(8)))

    assert batches == [8]


async def test_a_small_batch_limit_is_kept_and_nobody_is_forgotten(house: House) -> None:
    """What is above the limit waits for the next batch; closing answers all of it first."""
    batches: list[int] = []
    async with open_desk(
        house, beat=timedelta(hours=1), max_batch=3, on_batch=lambda calls, seconds: batches.append(calls)
    ) as desk:
        asked = [asyncio.ensure_future(desk.ask(activate(f"s{number}"))) for number in range(8)]
        await asyncio.sleep(0)  # all have asked, none has been handed over
        await asyncio.to_thread(desk.close)
        outcomes = await asyncio.gather(*asked)

    assert all(isinstance(outcome, Served) for outcome in outcomes)
    assert batches == [3, 3, 2]
