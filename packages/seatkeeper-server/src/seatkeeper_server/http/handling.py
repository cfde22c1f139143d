"""Takes a handler to its answer by hand, without a task and, where it asks the desk, without a future.

A handler is an ordinary coroutine. It may await `decided` and `all_decided`, which ask the desk, and futures (so
`asyncio.to_thread` too). What needs to know the task it runs in, such as `asyncio.timeout`, is not for handlers: there is none.
One way of running them serves every road to them, so that there is nothing to keep alike.

>>> async def handler(desk, call):
...     return await decided(desk, call)
>>> class Desk:
...     def submit(self, call, on_result):
...         on_result(call.upper())
>>> class Printed(Handling):
...     def end(self, result):
...         print(result)
>>> Printed(handler(Desk(), "a call")).go_on()
A CALL
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from types import coroutine
from typing import Any, Generic, Protocol, TypeVar

from seatkeeper_server.service.calls import Call, Outcome

Result = TypeVar("Result")

OnResult = Callable[[Outcome | Exception], None]
Wanted = tuple[Callable[[Any, Callable[[Any], None]], None], Any] | asyncio.Future[Any]  # of whom it waits for, who knows
Handled = Coroutine[Wanted, Any, Result]


class Decides(Protocol):
    """The desk, as a handler sees it."""

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Have a call decided and, where it changes anything, recorded durably; later, tell the outcome or an error.

        Raises:
            Overloaded, Closed: it was not taken.
        """
        ...


@coroutine
def decided(desk: Decides, call: Call) -> Generator[Wanted, Outcome, Outcome]:
    """Have the desk decide a call.

    Raises:
        Overloaded, Closed, StorageFull: nothing was recorded.
        StorageUnavailable: nothing was acknowledged.
    """
    return (yield desk.submit, call)


@coroutine
def all_decided(
    desk: Decides, calls: Sequence[Call]
) -> Generator[Wanted, list[Outcome | Exception], list[Outcome | Exception]]:
    """Have the desk decide many calls, in their order; the outcomes, or why there is none, in the same order.

    Raises:
        Overloaded, Closed, StorageUnavailable: not even the first was taken; nothing was done.
    """
    if not calls:
        return []
    return (yield partial(_submit_all, desk), calls)


def _submit_all(desk: Decides, calls: Sequence[Call], on_all: Callable[[list[Outcome | Exception]], None]) -> None:
    gathering = _Gathering(len(calls), on_all)
    desk.submit(calls[0], partial(gathering.tell, 0))
    for index, call in enumerate(calls[1:], 1):
        try:
            desk.submit(call, partial(gathering.tell, index))
        except Exception as error:
            gathering.tell(index, error)


class _Gathering:
    """The results of many calls, until the last of them is there."""

    __slots__ = ("_missing", "_on_all", "_results")

    def __init__(self, count: int, on_all: Callable[[list[Any]], None]) -> None:
        self._results: list[Any] = [None] * count
        self._missing = count
        self._on_all = on_all

    def tell(self, index: int, result: Outcome | Exception) -> None:
        """Take one in."""
        self._results[index] = result
        self._missing -= 1
        if not self._missing:
            self._on_all(self._results)


class Handling(Generic[Result]):
    """A handler on its way to its end. What becomes of its result is a subclass's."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Handled[Result]) -> None:
        self._handler = handler

    def end(self, result: Result | Exception) -> None:
        """Take the handler's result, or what it raised; at once, or when what it waited for is there."""
        raise NotImplementedError

    def go_on(self, result: Any = None) -> None:
        """Begin, or give the handler what it waited for."""
        while True:
            try:
                wanted = self._handler.throw(result) if isinstance(result, Exception) else self._handler.send(result)
            except StopIteration as end:
                self.end(end.value)
                return
            except Exception as error:
                self.end(error)
                return
            try:
                if isinstance(wanted, tuple):
                    start, argument = wanted
                    start(argument, self.go_on)
                else:
                    wanted.add_done_callback(self._go_on_after)
            except Exception as error:
                result = error
            else:
                return

    def _go_on_after(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self.go_on(RuntimeError("what was waited for was cancelled"))
        else:
            self.go_on(future.exception() or future.result())
