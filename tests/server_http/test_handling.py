"""Handlers are run without tasks: what they may await, and what becomes of what they raise."""

import asyncio

import pytest

from seatkeeper_server.http.handling import Handling, all_decided, decided
from seatkeeper_server.service.desk import Overloaded
from seatkeeper_server.service.ports import StorageFull
from tests.server_http.front import Scripted


class AtOnce:
    """A desk that tells within `submit`."""

    def submit(self, call, on_result):
        on_result(f"{call}, decided")


class Full:
    """A desk that takes nothing."""

    def submit(self, call, on_result):
        raise Overloaded


class Room:
    """A desk that takes so many calls and tells all of them later, the last one first."""

    def __init__(self, room):
        self.room, self.waiting = room, []

    def submit(self, call, on_result):
        if len(self.waiting) == self.room:
            raise Overloaded
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.tell)
        self.waiting.append((call, on_result))

    def tell(self):
        for call, on_result in reversed(self.waiting):
            on_result(f"{call}, decided")


class Told(Handling):
    """Tells somebody."""

    def __init__(self, handler, tell):
        super().__init__(handler)
        self.end = tell


def ended(handler):
    """What became of a handler."""

    async def run():
        end = asyncio.get_running_loop().create_future()
        Told(handler, end.set_result).go_on()
        return await end

    return asyncio.run(run())


@pytest.mark.parametrize("desk", [Scripted(lambda call: f"{call}, decided"), AtOnce()], ids=["later", "at once"])
def test_the_desk_is_asked_as_often_as_one_likes(desk):
    """Whether it tells later or at once."""

    async def handler():
        return await decided(desk, await decided(desk, "a call"))

    assert ended(handler()) == "a call, decided, decided"


def test_who_waits_for_nothing_ends_at_once():
    """There is an end before `go_on` returns, and no loop is needed."""
    ends = []

    async def handler():
        return "the end"

    Told(handler(), ends.append).go_on()

    assert ends == ["the end"]


def test_a_thread_may_be_waited_for():
    """Also twice, and before or after the desk."""

    async def handler():
        first = await asyncio.to_thread(str.upper, "a")
        second = await decided(AtOnce(), first)
        return await asyncio.to_thread(str.lower, second)

    assert ended(handler()) == "a, decided"


@pytest.mark.parametrize(
    ("desk", "error"), [(Scripted(StorageFull("full")), StorageFull), (Full(), Overloaded)], ids=["told", "raised"]
)
def test_what_the_desk_says_went_wrong_is_raised_where_it_was_asked(desk, error):
    """A handler may do something about it."""

    async def handler():
        with pytest.raises(error):
            await decided(desk, "a call")
        return "something else"

    assert ended(handler()) == "something else"


def test_what_goes_wrong_in_a_thread_is_raised_where_it_was_waited_for():
    """As in a task."""

    async def handler():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        return "something else"

    assert ended(handler()) == "something else"


def test_what_is_waited_for_and_cancelled_is_an_error():
    """Nothing that a handler waits for may leave it hanging."""

    async def handler():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        return await future

    assert isinstance(ended(handler()), RuntimeError)


def test_what_a_handler_raises_is_its_end():
    """Whoever runs it decides what to make of it."""

    async def handler():
        raise ZeroDivisionError

    assert isinstance(ended(handler()), ZeroDivisionError)


# --- many calls at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("desk", [Room(3), AtOnce()], ids=["later", "at once"])
def test_many_calls_are_answered_in_their_order(desk):
    """In whatever order the desk tells, now or later."""

    async def handler():
        return await all_decided(desk, ["a", "b", "c"])

    assert ended(handler()) == ["a, decided", "b, decided", "c, decided"]


def test_of_many_calls_each_has_its_own_end():
    """What went wrong with one stands in its place."""
    full = StorageFull("full")

    async def handler():
        return await all_decided(Scripted(lambda call: full if call == "b" else f"{call}, decided"), ["a", "b", "c"])

    assert ended(handler()) == ["a, decided", full, "c, decided"]


def test_of_many_calls_those_that_find_no_room_are_told_so():
    """The others go on."""

    async def handler():
        return await all_decided(Room(2), ["a", "b", "c", "d"])

    *taken, third, fourth = ended(handler())
    assert taken == ["a, decided", "b, decided"]
    assert isinstance(third, Overloaded)
    assert isinstance(fourth, Overloaded)


def test_if_not_even_the_first_of_many_calls_is_taken_it_is_raised():
    """Nothing was done, and one answer says so."""

    async def handler():
        with pytest.raises(Overloaded):
            await all_decided(Full(), ["a", "b"])
        return "something else"

    assert ended(handler()) == "something else"


def test_of_no_calls_there_is_nothing_to_wait_for():
    """The desk is not asked."""

    async def handler():
        return await all_decided(Full(), [])

    assert ended(handler()) == []
