"""Takes a handler to its answer by hand, without a task and, where it asks the desk, without a future.

A handler is an ordinary coroutine. It may await `decided`, which asks the desk, and futures (so `asyncio.to_thread` too). What
needs to know the task it runs in, such as `asyncio.timeout`, is not for handlers: there is none. One way of running them
serves every road to them, so that there is nothing to keep alike.

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
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Generic, Protocol, TypeVar

from seatkeeper_server.service.calls import Call, Outcome

Result = TypeVar("Result")

OnResult = Callable[[Outcome | Exception], None]
Wanted = tuple[Callable[[Call, OnResult], None], Call] | asyncio.Future[Any]
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
                    submit, call = wanted
                    submit(call, self.go_on)
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
