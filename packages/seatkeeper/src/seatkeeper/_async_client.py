"""The asyncio driver: the same seat for programs with a loop. Runs the talks of `_session.py`, decides nothing itself."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from seatkeeper._identity import By
from seatkeeper._keeper import AsyncKeeper, OnChange, OnLoss
from seatkeeper._session import Session
from seatkeeper._settings import Given
from seatkeeper._talk import Pause, Result, Talk
from seatkeeper._transport import AsyncHttpTransport
from seatkeeper._view import Plan, SeatView, plan
from seatkeeper._wire import AsyncTransport, Outgoing, Unreachable
from seatkeeper.protocol.documents import ActivationEntitlement, FeatureAnswer

if TYPE_CHECKING:
    import httpx2


class AsyncSeat(SeatView):
    """A seat of a product: taken by `async with` or `acquire()`, kept by a task, given back by `close()`."""

    def __init__(
        self,
        planned: Plan,
        *,
        on_change: OnChange | None = None,
        on_loss: OnLoss | None = None,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        self._plan = planned
        self._on_change = on_change
        self._on_loss = on_loss
        self._through = transport
        self._lock = asyncio.Lock()
        self._transport: AsyncTransport | None = None
        self._keeper: AsyncKeeper | None = None

    async def acquire(self) -> Self:
        """Take the seat and begin to keep it. Call `close()` when done.

        Raises:
            NoSeat: every seat is taken; `denial` says by whom.
            SeatkeeperError: any other reason.
        """
        if self._keeper is not None:
            return self
        self._transport = AsyncHttpTransport(self._plan.settings, self._through)
        session = self._plan.session()
        try:
            await self._perform(session.begin())
        except BaseException:  # also cancellation, which may come between the grant and here
            if session.holding is not None:
                await self._perform(session.leave())
            await self._let_go(session)
            raise
        self._session = session
        self._keeper = AsyncKeeper(session, lambda: self._perform(session.attend()), self._on_change, self._on_loss)
        self._keeper.start()
        return self

    async def close(self) -> None:
        """Give the seat back. Never raises: a seat that can't be given back comes back by itself when its lease ends."""
        session, keeper = self._session, self._keeper
        if session is None or keeper is None:
            return
        self._keeper = None
        await keeper.stop()
        await self._perform(session.leave())
        await self._let_go(session)

    def checkout(self, key: str, amount: int = 1) -> "AsyncCheckout":
        """Draw an amount of a feature: `await` it, or `async with` it to give it back at the end of the block.

        If no server answers, calling again with the same key and amount collects the answer and does not draw twice.

        Raises:
            NoFeature: not enough is left (`denial` says who has it), or it is a switch and not counted at all.
            ServerUnreachable: no answer came; the amount may have been drawn.
        """
        return AsyncCheckout(self, key, amount)

    async def give_back(self, key: str, amount: int = 1) -> FeatureAnswer:
        """Give an amount of a feature back.

        Raises:
            NoFeature: more than was checked out, or a feature that is used up when drawn.
        """
        return await self._perform(self._taken().give_back(key, amount))

    async def use(self, key: str) -> None:
        """Say that a feature was used; it is recorded for the vendor.

        Raises:
            NoFeature: the entitlement has no such feature.
        """
        await self._perform(self._taken().use(key))

    async def entitlement(self) -> ActivationEntitlement:
        """Ask the server what was bought: offering, plan, seat count, expiry. Not signed: for showing, not for deciding."""
        return await self._perform(self._taken().entitlement())

    async def __aenter__(self) -> Self:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> NoReturn:
        raise TypeError("this seat is for `async with`; for `with` write seatkeeper.seat(…)")

    def __exit__(self, *told: object) -> NoReturn:
        raise TypeError("this seat is for `async with`; for `with` write seatkeeper.seat(…)")

    async def _perform(self, talk: Talk[Result]) -> Result:
        """Run a talk, alone."""
        transport = self._transport
        assert transport is not None
        async with self._lock:
            return await run(talk, transport)

    async def _draw(self, key: str, amount: int) -> FeatureAnswer:
        return await self._perform(self._taken().checkout(key, amount))

    async def _let_go(self, session: Session) -> None:
        if self._transport is not None:
            await self._transport.close()
        session.close()


class AsyncCheckout:
    """An amount of a feature, drawn once awaited or entered; `state` is the feature as the server counted it."""

    def __init__(self, seat: AsyncSeat, key: str, amount: int) -> None:
        self._seat = seat
        self.key = key
        self.amount = amount
        self.state: FeatureAnswer | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        self.state = await self._seat._draw(self.key, self.amount)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        returnable = self.state is not None and self.state.type == "elementPool"
        if returnable and self._seat.state in {"held", "at risk"}:
            await self._seat.give_back(self.key, self.amount)


async def run(talk: Talk[Result], transport: AsyncTransport) -> Result:
    """Run a talk over an asyncio transport."""
    try:
        step = next(talk)
        while True:
            match step:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                    step = next(talk)
                case Outgoing():
                    try:
                        reply = await transport.send(step)
                    except Unreachable as error:
                        step = talk.throw(error)
                    else:
                        step = talk.send(reply)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        talk.close()


def async_seat(
    product: str | None = None,
    *,
    tenant: str | None = None,
    public_key: str | Sequence[str] | None = None,
    server: str | None = None,
    code: str | None = None,
    features: Mapping[str, int] | None = None,
    seat_id: str | None = None,
    by: By = "window",
    on_change: OnChange | None = None,
    on_loss: OnLoss | None = None,
    name: str | None = None,
    ca_file: str | None = None,
    client_cert_file: str | None = None,
    client_key_file: str | None = None,
    contact: str | None = None,
    transport: "httpx2.AsyncBaseTransport | None" = None,
) -> AsyncSeat:
    """Prepare a seat for `async with`; everything is as with `seat`, and callbacks may be coroutine functions.

    Raises:
        ConfigurationError: something is missing or wrong; nothing was sent.
    """
    given = Given(
        product=product,
        tenant=tenant,
        public_key=public_key,
        server=server,
        code=code,
        name=name,
        ca_file=ca_file,
        client_cert_file=client_cert_file,
        client_key_file=client_key_file,
        contact=contact,
        insists=transport is not None,
    )
    planned = plan(given, features=features, seat_id=seat_id, by=by)
    return AsyncSeat(planned, on_change=on_change, on_loss=on_loss, transport=transport)
