"""Hold a network-licensed seat while your program works.

    import seatkeeper

    with seatkeeper.seat():
        work()

takes a seat, keeps it from the background, and gives it back. `async_seat` is the same for asyncio, `borrow` takes a seat
home until a date, `status` asks who holds what, and everything that can go wrong is a `SeatkeeperError` (the tree is drawn in
`seatkeeper.errors`). For your own tests there is `seatkeeper.testing.FakeServer`.

Importing this is cheap: what sends requests is loaded when a seat is asked for.
"""

from typing import TYPE_CHECKING

from seatkeeper.errors import (
    BorrowedSeatUnusable,
    BorrowEnded,
    ClockSetBack,
    ConfigurationError,
    NoFeature,
    NoSeat,
    NotAuthorized,
    OtherDevice,
    Refused,
    SeatGone,
    SeatkeeperError,
    SeatLost,
    SeatTakenOver,
    ServerProblem,
    ServerUnreachable,
    UntrustedServer,
    refusal_text,
)

if TYPE_CHECKING:
    from seatkeeper._async_client import AsyncSeat, async_seat
    from seatkeeper._client import Borrowed, Seat, borrow, return_borrowed, seat, status

__all__ = [
    "AsyncSeat",
    "BorrowEnded",
    "Borrowed",
    "BorrowedSeatUnusable",
    "ClockSetBack",
    "ConfigurationError",
    "NoFeature",
    "NoSeat",
    "NotAuthorized",
    "OtherDevice",
    "Refused",
    "Seat",
    "SeatGone",
    "SeatLost",
    "SeatTakenOver",
    "SeatkeeperError",
    "ServerProblem",
    "ServerUnreachable",
    "UntrustedServer",
    "async_seat",
    "borrow",
    "refusal_text",
    "return_borrowed",
    "seat",
    "status",
]

_LOADED_LATER = {
    "AsyncSeat": "seatkeeper._async_client",
    "async_seat": "seatkeeper._async_client",
    "Borrowed": "seatkeeper._client",
    "Seat": "seatkeeper._client",
    "borrow": "seatkeeper._client",
    "return_borrowed": "seatkeeper._client",
    "seat": "seatkeeper._client",
    "status": "seatkeeper._client",
}


def __getattr__(name: str) -> object:
    """Load what sends requests when it is first asked for (PEP 562): it costs a tenth of a second."""
    module = _LOADED_LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'seatkeeper' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(module), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
