"""What crosses between a front and a desk that is a process of its own: frames of MessagePack over a socket.

A frame is its length (four bytes, big-endian) and that many bytes. A front sends its order, the desk whether it is open; then
the front sends frames of calls, each call under a number of its own, and the desk frames of outcomes under the same numbers,
in any order. An empty frame of the front's says that no call follows. What the outcomes of a batch share (whose pool it is,
who is in it) is sent once a frame and named by its place in a list.

Both ends are of one version, which the order names, and on one machine: nothing here is a public format.
"""

import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, msgpack

from seatkeeper_server.domain.admission import Outlook
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.terms import Standing
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service.calls import (
    ActivateCall,
    Call,
    Done,
    Entitlement,
    HeldCall,
    HolderView,
    LentOut,
    Occupancy,
    PoolStatus,
    PoolView,
    Refusal,
    Refused,
    Served,
    StatusCall,
    Who,
)
from seatkeeper_server.service.desk import Result
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

MOST_CALLS: Final = 256  # in a frame of calls, so that holders' calls wait behind few others; and a frame has bounds
MAX_FRAME: Final = 1 << 30  # bytes; what claims to be longer is no frame
NO_MORE: Final = b"\0\0\0\0"  # the front's last frame
_LENGTH: Final = struct.Struct(">I")

Numbered = tuple[int, Call]


# --- frames --------------------------------------------------------------------------------------------------------


def framed(body: bytes) -> bytes:
    """Give a frame."""
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._size = 0  # of what is kept, in bytes
        self._wanted = _LENGTH.size  # bytes until there is something to do

    def fed(self, data: bytes) -> list[memoryview]:
        """Give the frames that are whole now that this has arrived.

        Raises:
            ValueError: a frame claims to be longer than any can be.
        """
        if self._kept or len(data) < self._wanted:
            self._kept.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data, self._kept, self._size = b"".join(self._kept), [], 0
        whole, start, end, view = [], 0, len(data), memoryview(data)
        self._wanted = _LENGTH.size
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            after = start + _LENGTH.size + length
            if after > end:
                self._wanted = after - start
                break
            whole.append(view[start + _LENGTH.size : after])
            start = after
        if start < end:
            self._kept, self._size = [data[start:]], end - start
        return whole


# --- calls ---------------------------------------------------------------------------------------------------------

_encode = msgpack.Encoder().encode
_read_calls = msgpack.Decoder(list[tuple[int, ActivateCall | HeldCall | StatusCall]]).decode


def calls_frame(calls: Sequence[Numbered]) -> bytes:
    """Give the frame of calls, each with its number."""
    return framed(_encode(calls))


def why_unsayable(call: Call) -> Exception | None:
    """Tell why a call can't be put into words (a lone surrogate, a number beyond 64 bits); None if it can."""
    try:
        _encode(call)
    except Exception as error:
        return error
    return None


def read_calls(frame: memoryview) -> Sequence[Numbered]:
    """Give the calls of a frame."""
    return _read_calls(frame)


# --- outcomes ------------------------------------------------------------------------------------------------------


class _Pool(Struct, array_like=True):
    entitlement: Entitlement
    view: PoolView


class _Roster(Struct, array_like=True):
    holders: list[HolderView]
    more: int
    next_free_by: datetime | None
    group_id: str | None
    lent: list[LentOut]


class _Served(Struct, array_like=True, tag=0):
    pool: int
    holding: Holding
    who: Who
    at: datetime
    sign: bool
    new_place: bool
    feature: str


class _Done(Struct, array_like=True, tag=1):
    nonce: str | None


class _Why(Struct, array_like=True):
    denial_id: str
    rule: str
    feature: str
    limit: int | None
    used: int
    overdraft: int
    product_name: str
    at: datetime
    roster: int
    contact: str | None
    wanted: int
    outlook: Outlook
    borrow: timedelta


class _Refused(Struct, array_like=True, tag=2):
    problem: str
    why: _Why | None


class _Status(Struct, array_like=True, tag=3):
    pool: int
    standing: Standing
    roster: int
    at: datetime


class _Failed(Struct, array_like=True, tag=4):
    kind: str
    text: str


class Batch(Struct, array_like=True):
    """The outcomes of one batch, and how long it took in seconds."""

    seconds: float
    pools: list[_Pool]
    rosters: list[_Roster]
    numbers: list[int]
    outcomes: list[_Served | _Done | _Refused | _Status | _Failed]


class CallFailed(Exception):
    """The desk could not decide a call, for a reason that is in its log."""


_FAILURES: Final[dict[str, type[Exception]]] = {
    "full": StorageFull,
    "unavailable": StorageUnavailable,
    "seal": SealKeyError,
    "failed": CallFailed,
}
_read_batch = msgpack.Decoder(Batch).decode


def batch_frame(numbers: list[int], results: Sequence[Result], seconds: float) -> bytes:
    """Give the frame of a batch's outcomes, under the numbers of their calls.

    An outcome that can't be put into words fails alone, as `CallFailed`.
    """
    try:
        return framed(_Writer().batch(numbers, results, seconds))
    except Exception:
        return framed(_Writer().batch(numbers, [_sayable(result) for result in results], seconds))


def _sayable(result: Result) -> Result:
    try:
        _Writer().batch([0], [result], 0.0)
    except Exception as error:
        return CallFailed(f"{type(result).__name__}: {error}")
    return result


def read_batch(frame: memoryview) -> tuple[float, list[tuple[int, Result]]]:
    """Give how long a batch took, and its outcomes under their numbers."""
    batch = _read_batch(frame)
    pools = batch.pools
    rosters = [
        Occupancy(holders=each.holders, more=each.more, next_free_by=each.next_free_by, group_id=each.group_id, lent=each.lent)
        for each in batch.rosters
    ]
    return batch.seconds, [
        (number, _read(outcome, pools, rosters)) for number, outcome in zip(batch.numbers, batch.outcomes, strict=True)
    ]


class _Writer:
    """Puts the outcomes of one batch into words, with what they share."""

    def __init__(self) -> None:
        self._pools: list[_Pool] = []
        self._rosters: list[_Roster] = []
        self._known: dict[int, int] = {}  # by identity: the outcomes keep what they share alive meanwhile

    def batch(self, numbers: list[int], results: Sequence[Result], seconds: float) -> bytes:
        outcomes = [self._written(result) for result in results]
        return _encode(Batch(seconds, self._pools, self._rosters, numbers, outcomes))

    def _written(self, result: Result) -> _Served | _Done | _Refused | _Status | _Failed:
        match result:
            case Served():
                pool = self._pool(result.entitlement, result.pool)
                return _Served(pool, result.holding, result.who, result.at, result.sign, result.new_place, result.feature)
            case Refused():
                return _Refused(result.problem, None if result.refusal is None else self._why(result.refusal))
            case Done():
                return _Done(result.nonce)
            case PoolStatus():
                pool = self._pool(result.entitlement, result.pool)
                return _Status(pool, result.standing, self._roster(result.occupancy), result.at)
            case _:
                return _failed(result)

    def _pool(self, entitlement: Entitlement, view: PoolView) -> int:
        place = self._known.get(id(view))
        if place is None or self._pools[place].entitlement is not entitlement:
            place = self._known[id(view)] = len(self._pools)
            self._pools.append(_Pool(entitlement, view))
        return place

    def _roster(self, occupancy: Occupancy) -> int:
        place = self._known.get(id(occupancy))
        if place is None:
            place = self._known[id(occupancy)] = len(self._rosters)
            self._rosters.append(
                _Roster(occupancy.holders, occupancy.more, occupancy.next_free_by, occupancy.group_id, occupancy.lent)
            )
        return place

    def _why(self, why: Refusal) -> _Why:
        return _Why(
            why.denial_id,
            why.rule,
            why.feature,
            why.limit,
            why.used,
            why.overdraft,
            why.product_name,
            why.at,
            self._roster(why.occupancy),
            why.contact,
            why.wanted,
            why.outlook,
            why.borrow,
        )


def _read(outcome: _Served | _Done | _Refused | _Status | _Failed, pools: list[_Pool], rosters: list[Occupancy]) -> Result:
    match outcome:
        case _Served():
            pool = pools[outcome.pool]
            return Served(
                entitlement=pool.entitlement,
                pool=pool.view,
                holding=outcome.holding,
                who=outcome.who,
                at=outcome.at,
                sign=outcome.sign,
                new_place=outcome.new_place,
                feature=outcome.feature,
            )
        case _Refused():
            return Refused(outcome.problem, None if outcome.why is None else _refusal(outcome.why, rosters))
        case _Done():
            return Done(outcome.nonce)
        case _Status():
            pool = pools[outcome.pool]
            return PoolStatus(
                entitlement=pool.entitlement,
                standing=outcome.standing,
                pool=pool.view,
                occupancy=rosters[outcome.roster],
                at=outcome.at,
            )
        case _Failed():
            return _FAILURES[outcome.kind](outcome.text)


def _failed(error: Exception) -> _Failed:
    match error:
        case StorageFull():
            return _Failed("full", str(error))
        case StorageUnavailable():
            return _Failed("unavailable", str(error))
        case SealKeyError():
            return _Failed("seal", str(error))
        case _:
            return _Failed("failed", f"{type(error).__name__}: {error}")


def _refusal(why: _Why, rosters: list[Occupancy]) -> Refusal:
    return Refusal(
        denial_id=why.denial_id,
        rule=why.rule,
        feature=why.feature,
        limit=why.limit,
        used=why.used,
        overdraft=why.overdraft,
        product_name=why.product_name,
        at=why.at,
        occupancy=rosters[why.roster],
        contact=why.contact,
        wanted=why.wanted,
        outlook=why.outlook,
        borrow=why.borrow,
    )


# --- the opening ---------------------------------------------------------------------------------------------------

_read_opening = msgpack.Decoder(_Failed | None).decode


def opening_frame(error: Exception | None) -> bytes:
    """Give the frame that says that the desk is open, or why it isn't."""
    return framed(_encode(None if error is None else _failed(error)))


def read_opening(frame: memoryview) -> Exception | None:
    """Give why the desk is not open; None if it is."""
    failed = _read_opening(frame)
    if failed is None:
        return None
    if failed.kind == "failed":
        return StorageUnavailable(f"the desk process did not come up: {failed.text}")
    return _FAILURES[failed.kind](failed.text)
