"""The blocking driver: a seat for ordinary programs. Runs the talks of `_session.py`, decides nothing itself."""

import atexit
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from seatkeeper._identity import By
from seatkeeper._keeper import Keeper, OnChange, OnLoss
from seatkeeper._session import Session
from seatkeeper._settings import Given, Settings, find_settings
from seatkeeper._status import status_talk
from seatkeeper._talk import BRISK, Pause, Result, Runtime, Talk
from seatkeeper._transport import HttpTransport
from seatkeeper._view import Plan, SeatView, plan
from seatkeeper._wire import Outgoing, Transport, Unreachable
from seatkeeper.errors import ConfigurationError
from seatkeeper.protocol.documents import ActivationEntitlement, FeatureAnswer, StatusAnswer

if TYPE_CHECKING:
    import httpx2


class Seat(SeatView):
    """A seat of a product: taken by `with` or `acquire()`, kept by a background thread, given back by `close()`.

    Safe to use from several threads; calls to the server are made one at a time. A forked child does not hold the seat: it
    has no keeper, and its copy gives nothing back.
    """

    def __init__(
        self,
        planned: Plan,
        *,
        on_change: OnChange | None = None,
        on_loss: OnLoss | None = None,
        transport: "httpx2.BaseTransport | None" = None,
    ) -> None:
        self._plan = planned
        self._on_change = on_change
        self._on_loss = on_loss
        self._through = transport
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._keeper: Keeper | None = None
        self._owner = 0  # the process that took it

    def acquire(self) -> Self:
        """Take the seat and begin to keep it. Call `close()` when done; if the program forgets, its exit does.

        Raises:
            NoSeat: every seat is taken; `denial` says by whom.
            SeatkeeperError: any other reason.
        """
        if self._keeper is not None:
            return self
        self._transport = HttpTransport(self._plan.settings, self._through)
        session = self._plan.session()
        try:
            self._perform(session.begin())
        except BaseException:  # also Ctrl-C, which may come between the grant and here
            if session.holding is not None:
                self._perform(session.leave(), patience=BRISK)
            self._let_go(session)
            raise
        self._session, self._owner = session, os.getpid()
        self._keeper = Keeper(session, lambda: self._perform(session.attend()), self._on_change, self._on_loss)
        self._keeper.start()
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Give the seat back. Never raises: a seat that can't be given back comes back by itself when its lease ends.

        A borrowed seat stays borrowed.
        """
        session, keeper = self._session, self._keeper
        if session is None or keeper is None or self._owner != os.getpid():
            return  # not taken, or given back already, or a fork's copy: the seat is the parent's
        self._keeper = None
        atexit.unregister(self.close)
        keeper.stop(patience=BRISK)
        self._perform(session.leave(), patience=BRISK)
        self._let_go(session)

    def checkout(self, key: str, amount: int = 1) -> "Checkout":
        """Draw an amount of a feature; as a context manager, it is given back at the end of the block.

        If no server answers, calling again with the same key and amount collects the answer and does not draw twice.

        Raises:
            NoFeature: not enough is left (`denial` says who has it), or it is a switch and not counted at all.
            ServerUnreachable: no answer came; the amount may have been drawn.
        """
        return Checkout(self, amount, self._perform(self._taken().checkout(key, amount)))

    def give_back(self, key: str, amount: int = 1) -> FeatureAnswer:
        """Give an amount of a feature back.

        Raises:
            NoFeature: more than was checked out, or a feature that is used up when drawn.
        """
        return self._perform(self._taken().give_back(key, amount))

    def use(self, key: str) -> None:
        """Say that a feature was used; it is recorded for the vendor.

        Raises:
            NoFeature: the entitlement has no such feature.
        """
        self._perform(self._taken().use(key))

    def entitlement(self) -> ActivationEntitlement:
        """Ask the server what was bought: offering, plan, seat count, expiry. Not signed: for showing, not for deciding."""
        return self._perform(self._taken().entitlement())

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __aenter__(self) -> NoReturn:
        raise TypeError("this seat is for `with`; for `async with` write seatkeeper.async_seat(…)")

    def __aexit__(self, *told: object) -> NoReturn:
        raise TypeError("this seat is for `with`; for `async with` write seatkeeper.async_seat(…)")

    def _perform(self, talk: Talk[Result], patience: float = -1) -> Result:
        """Run a talk, alone; with patience (seconds), go ahead even if another call is stuck (only for giving back)."""
        transport = self._transport
        assert transport is not None
        alone = self._lock.acquire(timeout=patience)
        try:
            return run(talk, transport)
        finally:
            if alone:
                self._lock.release()

    def _let_go(self, session: Session) -> None:
        if self._transport is not None:
            self._transport.close()
        session.close()


class Checkout:
    """An amount of a feature, drawn. `state` is the feature as the server counted it."""

    def __init__(self, seat: Seat, amount: int, state: FeatureAnswer) -> None:
        self._seat = seat
        self.key = state.key
        self.amount = amount
        self.state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.state.type == "elementPool" and self._seat.state in {"held", "at risk"}:
            self._seat.give_back(self.key, self.amount)


def run(talk: Talk[Result], transport: Transport) -> Result:
    """Run a talk over a blocking transport."""
    try:
        step = next(talk)
        while True:
            match step:
                case Pause(seconds):
                    time.sleep(seconds)
                    step = next(talk)
                case Outgoing():
                    try:
                        reply = transport.send(step)
                    except Unreachable as error:
                        step = talk.throw(error)
                    else:
                        step = talk.send(reply)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        talk.close()


def seat(
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
    transport: "httpx2.BaseTransport | None" = None,
) -> Seat:
    """Prepare a seat of a product: `with seatkeeper.seat(): work()`. Whatever isn't given comes from settings.

    Args:
        product: the product's id, or SEATKEEPER_PRODUCT.
        tenant: the vendor's tenant id, or SEATKEEPER_TENANT.
        public_key: the vendor's root public key as `seatkeeper sell` prints it (two while it is being replaced), or
            SEATKEEPER_PUBLIC_KEY. In a shipped program, pin it here.
        server: a URL, or `port@host[,port@host…]`; SEATKEEPER_SERVER comes before it, so that a site can use its own.
        code: the activation code; SEATKEEPER_CODE (or SEATKEEPER_CODE_FILE) comes before it.
        features: how much of which features is to be granted with the seat, all or none.
        seat_id: who asks, in words of your own. Normally left to `by`.
        by: whom a seat belongs to: `window` (machine, user and slot), `user`, `machine`, `process`, `container` or `job`.
        on_change: called with `held`, `at risk` or `lost` whenever that changes, from the keeper's thread.
        on_loss: called with a SeatLost when the seat is lost and could not be taken again.
        name: the product's short name: for settings of its own (SEATKEEPER_SOLVER_SERVER) and for messages.
        ca_file: certificates to trust instead of the system's (SEATKEEPER_CA_FILE).
        client_cert_file: our certificate, where the server asks for one (SEATKEEPER_CLIENT_CERT_FILE).
        client_key_file: its key (SEATKEEPER_CLIENT_KEY_FILE).
        contact: whom to ask when refused (SEATKEEPER_CONTACT).
        transport: an httpx2 transport to send through, such as `FakeServer().transport`. Who gives it means the settings
            given with it: they then come before environment and files.

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
    return Seat(planned, on_change=on_change, on_loss=on_loss, transport=transport)


@dataclass(frozen=True)
class Borrowed:
    """A seat that this device has taken home: it needs no server until `until` (UTC, by this device's clock)."""

    until: datetime
    seat_id: str
    seat_name: str
    server: str | None


def borrow(
    product: str | None = None,
    *,
    until: datetime | timedelta,
    tenant: str | None = None,
    public_key: str | Sequence[str] | None = None,
    server: str | None = None,
    code: str | None = None,
    features: Mapping[str, int] | None = None,
    seat_id: str | None = None,
    by: By = "window",
    name: str | None = None,
    ca_file: str | None = None,
    client_cert_file: str | None = None,
    client_key_file: str | None = None,
    contact: str | None = None,
    transport: "httpx2.BaseTransport | None" = None,
) -> Borrowed:
    """Take a seat home, until a moment or for a time: then `seat` needs no server on this device. Arguments are as with `seat`.

    Borrowing again moves the end on, never back. The end may come sooner than asked for: with the license itself.

    Raises:
        Refused: the license lets no seats be borrowed, or not for so long, or not so many; the message says what it allows.
        NoSeat: every seat is taken.
        ConfigurationError: something is missing or wrong, or nothing can be kept on this device.
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
    return borrow_planned(plan(given, features=features, seat_id=seat_id, by=by), until, transport)


def borrow_planned(planned: Plan, until: datetime | timedelta, transport: "httpx2.BaseTransport | None" = None) -> Borrowed:
    """Borrow the seat of a plan."""
    if isinstance(until, timedelta):
        until = planned.runtime.now().moment + until
    if until.tzinfo is None:
        raise ConfigurationError("until: say in which time zone, such as datetime(2027, 1, 31, tzinfo=UTC)")
    session, way = planned.session(), HttpTransport(planned.settings, transport)
    try:
        granted = run(session.borrow(until), way)
        return Borrowed(granted, session.identity.seat_id, session.identity.seat_name, session.home())
    finally:
        way.close()
        session.close()


def return_borrowed(
    product: str | None = None,
    *,
    tenant: str | None = None,
    public_key: str | Sequence[str] | None = None,
    server: str | None = None,
    code: str | None = None,
    seat_id: str | None = None,
    by: By = "window",
    name: str | None = None,
    ca_file: str | None = None,
    client_cert_file: str | None = None,
    client_key_file: str | None = None,
    contact: str | None = None,
    transport: "httpx2.BaseTransport | None" = None,
) -> datetime:
    """Give a borrowed seat back before its time, and the moment until when its place counts all the same.

    Raises:
        BorrowedSeatUnusable: none is borrowed on this device.
        ServerUnreachable: it can only be given back to the server; it stays borrowed.
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
    return return_planned(plan(given, features=None, seat_id=seat_id, by=by), transport)


def return_planned(planned: Plan, transport: "httpx2.BaseTransport | None" = None) -> datetime:
    """Give the borrowed seat of a plan back."""
    session, way = planned.session(), HttpTransport(planned.settings, transport)
    try:
        return run(session.bring_home(), way)
    finally:
        way.close()
        session.close()


def status(
    product: str | None = None,
    *,
    tenant: str | None = None,
    server: str | None = None,
    code: str | None = None,
    name: str | None = None,
    ca_file: str | None = None,
    transport: "httpx2.BaseTransport | None" = None,
) -> StatusAnswer:
    """Ask how full the pool is and who is in it. Takes no seat; the answer is not signed.

    Raises:
        SeatkeeperError: the settings are incomplete, or the server didn't answer or refused.
    """
    given = Given(
        product=product, tenant=tenant, server=server, code=code, name=name, ca_file=ca_file, insists=transport is not None
    )
    return status_of(find_settings(given, trusting=False), transport)


def status_of(settings: Settings, transport: "httpx2.BaseTransport | None" = None) -> StatusAnswer:
    """Ask the same with settings that have been found."""
    way = HttpTransport(settings, transport)
    try:
        return run(status_talk(settings, Runtime()), way)
    finally:
        way.close()
