"""Several desks of one server on one database, each with a batch of its own under way: the same to a front as one desk.

Two batches that touch the same entitlement wait for each other at its row, so all calls of an entitlement group go to the same
desk, where they share a batch. A call doesn't say which group it is of: it names an activation code, or the activation that is
held. Which group that is, the answer to the first such call tells, and it is remembered, for the last hundred thousand or so.
Until then a call goes to the desk that a checksum of its code or activation gives. So a group may for a moment have calls at
two desks, and another server knows nothing of this at all: seats are counted under row locks, in whatever desk.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol
from zlib import crc32

from seatkeeper_server.service.calls import Call, HeldCall, Outcome, PoolStatus, Refused, Served
from seatkeeper_server.service.desk import Result

REMEMBERED: Final = 65_536  # codes and activations, until as many new ones have been met

OnResult = Callable[[Result], None]


class AnyDesk(Protocol):
    """A desk: here, in a process of its own, or several."""

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why a call would not be answered now; None if it would."""
        ...

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided."""
        ...

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Have a call decided; `on_result` is told."""
        ...


class Desks:
    """Hands each call to the desk of its entitlement group. Who made the desks opens and closes them."""

    def __init__(self, desks: Sequence[AnyDesk]) -> None:
        self._desks = tuple(desks)
        self._places = _Places(len(desks))

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(desk.waiting for desk in self._desks)

    @property
    def trouble(self) -> str | None:
        """Why some calls would not be answered now; None if all would."""
        return next((trouble for desk in self._desks if (trouble := desk.trouble) is not None), None)

    async def ask(self, call: Call) -> Outcome:
        """Have a call decided; the outcome is durable when it is given.

        Raises:
            Overloaded, Closed, StorageFull, StorageUnavailable: as that desk.
        """
        name = _name(call)
        outcome = await self._desk(name, self._places.known(name)).ask(call)
        self._places.learn(name, outcome)
        return outcome

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Have a call decided; `on_result` is told the outcome, or why there is none, as by a single desk."""
        name = _name(call)
        place = self._places.known(name)
        if place is not None and isinstance(call, HeldCall):
            self._desks[place].submit(call, on_result)
        else:  # the answer tells something
            self._desk(name, place).submit(call, partial(self._told, name, on_result))

    def _desk(self, name: str, place: int | None) -> AnyDesk:
        return self._desks[self._places.of(name) if place is None else place]

    def _told(self, name: str, on_result: OnResult, result: Result) -> None:
        self._places.learn(name, result)
        on_result(result)


class _Places:
    """Which desk codes and activations belong to: two generations of what was learned, of which the older one is forgotten."""

    def __init__(self, desks: int) -> None:
        self._count = desks
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def of(self, text: str) -> int:
        """Give the desk for a text of which nothing is known; the same in every process."""
        return crc32(text.encode(errors="surrogatepass")) % self._count

    def known(self, name: str) -> int | None:
        """Give the desk of a code or an activation; None for a stranger."""
        place = self._young.get(name)
        if place is None and (place := self._old.pop(name, None)) is not None:
            self._remember(name, place)
        return place

    def learn(self, name: str, result: Result) -> None:
        """Learn from an answer where the code or activation that was asked for belongs, and the activation that was granted."""
        if (group_id := _group(result)) is None:
            return
        place = self.of(group_id)
        self._remember(name, place)
        if isinstance(result, Served):
            self._remember(result.holding.activation_id, place)

    def _remember(self, name: str, place: int) -> None:
        if len(self._young) >= REMEMBERED:
            self._old, self._young = self._young, {}
        self._young[name] = place


def _name(call: Call) -> str:
    return call.token.activation_id if isinstance(call, HeldCall) else call.code_hash


def _group(result: Result) -> str | None:
    match result:
        case Served() | PoolStatus():
            return result.entitlement.group_id
        case Refused() if result.refusal is not None:
            return result.refusal.occupancy.group_id
    return None
