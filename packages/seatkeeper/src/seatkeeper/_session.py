"""One program's dealings with its license servers about one seat: what to send, and what an answer means.

No socket, no thread, no sleep in here: each dealing is a *talk* (`_talk.py`) that the blocking and the asyncio driver both
run (`_client.py`, `_async_client.py`), so there is one copy of the logic. When to do what is `_seat.py`'s to say.

The rules it keeps (contract, "Rules of the seat")
- One call at a time; the exact call, nonce and body, is stored before it is sent, and only a decision of the server makes
  us forget it. A lost answer is asked for again with the same nonce and the same body (1, 2, 6).
- Every call that grants sends a fresh `clientNonce`. What makes a lease believed is `_belief.py`'s to say; it is believed from
  the moment its call was first sent, for the first answer may be a recording by the time it is delivered (7, 8).
- It never starts on a stored lease, but for a borrowed one (`_borrowed.py`). It sends it along as `lastLease`, with the
  stored token, to get its own seat back (3, 8). Nor does it start on the answer to an activate sent earlier: it asks once
  more, with a fresh nonce.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct, json, structs

from seatkeeper import _seat
from seatkeeper._belief import Belief
from seatkeeper._borrowed import Borrowings
from seatkeeper._calls import Calls
from seatkeeper._identity import Identity
from seatkeeper._seat import Attempt, Holding, Lease, State
from seatkeeper._settings import Settings
from seatkeeper._storage import Memory
from seatkeeper._talk import BRISK, PATIENT, Pause, Runtime, Talk
from seatkeeper._wire import Answered, Call, Kind, Outgoing, Reply, Unreachable, is_final, problem_in, read_answer, unanswered
from seatkeeper.errors import (
    BorrowedSeatUnusable,
    ConfigurationError,
    NoFeature,
    NoSeat,
    NotAuthorized,
    Refused,
    SeatGone,
    SeatkeeperError,
    SeatLost,
    SeatTakenOver,
    ServerProblem,
    ServerUnreachable,
    UntrustedServer,
)
from seatkeeper.protocol.documents import (
    ActivateAnswer,
    ActivationEntitlement,
    FeatureAnswer,
    FeatureRequest,
    FeatureState,
    LeaseClaims,
    RefreshAnswer,
)
from seatkeeper.protocol.envelopes import public_key_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

START_ATTEMPTS: Final = 4  # at the start, before the user is told that no server answers

Document = Struct | None


class Session:
    """The state of one seat and the talks about it. `holding` is None until a seat was taken."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        memory: Memory,
        *,
        features: Mapping[str, int],
        runtime: Runtime,
        device: "Ed25519PrivateKey",
        borrowings: Borrowings | None = None,
    ) -> None:
        self.settings = settings
        self.identity = identity
        self.holding: Holding | None = None
        self.cause: SeatkeeperError | None = None  # of the latest trouble
        self._taken_back: SeatGone | None = None  # the server's word for it, while our lease was not over
        self._memory = memory
        self._calls = Calls(settings, identity, runtime, device)
        self._runtime = runtime
        self._belief = Belief(
            settings,
            seat_id=identity.seat_id,
            device_key=public_key_text(device.public_key()),
            stored_lease=memory.kept.last_lease,
        )
        self._drawn = dict(features)  # what a new activation has to ask for
        self._unclaimed: dict[tuple[Kind, str, int], Document] = {}  # answers that came after their caller had given up
        self._doubtful: set[str] = set()  # servers that may have seen a call and did not answer
        self._borrowings = borrowings or Borrowings(tenant=settings.tenant, product=settings.product, device=device)
        self._borrow_until: datetime | None = None  # what a new activation asks for
        self._was_borrowed = self._borrowings.of(identity.seat_id) is not None
        if self._was_borrowed:
            self._calls.bind(self._borrowings.bound)
        self._told: State | None = None
        self._loss_told = False

    @property
    def claims(self) -> LeaseClaims | None:
        """What the latest believed lease says; None before the first."""
        return self._belief.claims

    # --- what a program may ask of its seat ------------------------------------------------------------------------

    def begin(self) -> Talk[None]:
        """Take the seat: the one that was borrowed, which needs no server; else ask, and try a few times while none answers.

        Raises:
            SeatkeeperError: any of them.
        """
        unusable = self._start_on_what_was_borrowed()
        if self.holding is not None:
            return
        try:
            yield from self._begin_anew()
        except (ServerUnreachable, ServerProblem) as error:
            if unusable is None:
                raise
            raise unusable from error

    def borrow(self, until: datetime) -> Talk[datetime]:
        """Take the seat home until a moment; give the moment until when it was granted, by this device's clock.

        Raises:
            Refused: not at all, or not for so long; the message says what the limits are.
            SeatkeeperError: any other reason.
        """
        if self._borrowings.slots and self._borrowings.of(self.identity.seat_id) is None and self.identity.slot is not None:
            raise ConfigurationError("a program is using the seat that is borrowed on this device: end it first")
        if self.identity.is_for_one_life:
            raise ConfigurationError('by="process" is for one life of a program: borrow by another way')
        self._borrowings.require_place()
        self._borrow_until = until
        self._calls.bind(self._borrowings.bound)
        yield from self._begin_anew()
        ends_at = self.expires_at()
        assert ends_at is not None
        return ends_at

    def bring_home(self) -> Talk[datetime]:
        """Give a borrowed seat back before its time; give the moment until when its place counts all the same.

        Raises:
            BorrowedSeatUnusable: none is borrowed on this device.
            SeatkeeperError: the server didn't answer, or refused; the seat stays borrowed.
        """
        record, token = self._borrowings.of(self.identity.seat_id), self._memory.kept.access_token
        if record is None or token is None:
            why = self._borrowings.elsewhere(self.identity.seat_id)
            raise why or BorrowedSeatUnusable("no seat is borrowed on this device")
        self._borrowings.require_own(record)
        self._belief.borrowed(record.lease, record.certificate, nonce=record.nonce)
        assert self.claims is not None
        yield from self._ask(self._calls.deactivate(token, self.claims), self._servers()[:1])
        self._borrowings.forget(self.identity.seat_id)
        self._keep(access_token=None, nonce=None, pending=None, server=None)
        return datetime.fromtimestamp(self.claims.exp, UTC)

    def _start_on_what_was_borrowed(self) -> BorrowedSeatUnusable | None:
        """Hold the seat that this device has borrowed, if it may be used; else give why not."""
        record, now = self._borrowings.of(self.identity.seat_id), self._runtime.now()
        if record is None:
            return self._borrowings.elsewhere(self.identity.seat_id)
        try:
            self._borrowings.require_own(record)
            length = self._belief.borrowed(record.lease, record.certificate, nonce=record.nonce)
            elapsed = self._borrowings.elapsed(record, length, now)
        except BorrowedSeatUnusable as error:
            return error
        if missing := [key for key, amount in self._drawn.items() if not self.has(key, amount)]:
            return BorrowedSeatUnusable(f"the borrowed seat has not as much of {', '.join(missing)} as is asked for")
        self.holding = _seat.borrowed(Lease(record.lease, now.later(-elapsed), length), now)
        self._borrowings.saw(record.seat_id, now, at_once=True)
        return None

    def has(self, key: str, amount: int) -> bool:
        """Tell whether the latest believed lease grants so much of a feature."""
        return self.claims is not None and self.claims.feat.get(key, 0) >= amount

    def _begin_anew(self) -> Talk[None]:
        """Ask for the seat; while no server answers, try a few times."""
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                yield from self.activate()
            except (ServerUnreachable, ServerProblem) as error:
                if attempt == START_ATTEMPTS or self._memory.kept.pending is None:
                    raise
                yield Pause(max(self._runtime.draw() * 0.2 * 2**attempt, min(error.retry_after, BRISK)))
            else:
                return

    def activate(self) -> Talk[None]:
        """Take the seat, or take our own back with the token of an earlier life; a full server passes us to the next."""
        asked = self._memory.kept.pending
        is_wanted = asked is not None and self._calls.asks_the_same(asked, self._drawn, self._borrow_until)
        if (yield from self._settle_pending()) == "activate" and is_wanted and (yield from self._is_confirmed()):
            return
        call, refusal = self._calls.activate(self._memory.kept, self._drawn, self._borrow_until), None
        servers: Sequence[str] = self._servers()
        while servers:
            try:
                yield from self._ask(call, servers)
            except NoSeat as full:
                refusal = refusal or full
                servers = servers[servers.index(full.server or "") + 1 :]
            except ServerUnreachable as error:
                raise refusal or error from None
            except (NotAuthorized, SeatLost) as error:
                if call.token is None or error.problem == "credentials.unknown":
                    raise
                self._keep(access_token=None, nonce=None)  # a token of another server, or of a time before
                call = self._calls.activate(self._memory.kept, self._drawn, self._borrow_until)
            else:
                if self.state() == "lost":  # the answer came after a search longer than the lease
                    yield from self.refresh()
                return
        if refusal is not None:
            raise refusal

    def _is_confirmed(self) -> Talk[bool]:
        """Ask whether the seat still is ours that an earlier activate got: its answer may have been held back for long."""
        try:
            yield from self.refresh()
        except (Refused, NotAuthorized, SeatLost):
            return False
        return True

    def refresh(self) -> Talk[None]:
        """Keep the seat. An answer that was still due tells how things stand, but it may be old: it is no refresh."""
        yield from self._settle_pending()
        yield from self._ask(self._calls.refresh(self._memory.kept))

    def checkout(self, key: str, amount: int) -> Talk[FeatureAnswer]:
        """Draw an amount of a feature."""
        answer = yield from self._once("checkout", key, amount)
        assert isinstance(answer, FeatureAnswer)
        if answer.type == "bool":
            raise NoFeature(f"{key} is a switch and can't be drawn: look for it in `features`, and report it with `use`")
        if answer.type == "elementPool":
            self._drawn[key] = self._drawn.get(key, 0) + amount
        return answer

    def give_back(self, key: str, amount: int) -> Talk[FeatureAnswer]:
        """Give an amount of a feature back."""
        answer = yield from self._once("return", key, amount)
        assert isinstance(answer, FeatureAnswer)
        self._drawn[key] = max(self._drawn.get(key, 0) - amount, 0)
        return answer

    def use(self, key: str) -> Talk[None]:
        """Say that a feature was used."""
        yield from self._once("usage", key, 1)

    def entitlement(self) -> Talk[ActivationEntitlement]:
        """Ask what was bought."""
        answer = yield from self._in_turn(lambda: self._calls.entitlement(self._memory.kept))
        assert isinstance(answer, ActivationEntitlement)
        return answer

    def leave(self) -> Talk[None]:
        """Give the seat back. If that can't be said, the token is kept: the next start takes the seat back by it."""
        if self.holding is not None:
            self.holding = _seat.returned(self.holding)
        token = self._memory.kept.access_token
        if self._borrowings.of(self.identity.seat_id) is not None:
            self._borrowings.saw(self.identity.seat_id, self._runtime.now(), at_once=True)
            return  # the device keeps it until its date
        if token is None:
            return
        try:
            yield from self._ask(self._calls.deactivate(token, self.claims), self._servers()[:1], timeout=BRISK)
        except (ServerUnreachable, ServerProblem):
            return
        except SeatkeeperError:
            pass  # not ours any more: given back all the same
        self._keep(access_token=None, nonce=None, pending=None, server=None)

    def close(self) -> None:
        """Let the next program have the slot; a record that only this life could use is removed."""
        if self.identity.is_for_one_life:
            self._memory.forget()
        if self.identity.slot is not None:
            self.identity.slot.release()

    # --- what the keeper does --------------------------------------------------------------------------------------

    def attend(self) -> Talk[None]:
        """Make the attempt that is due, and take in what becomes of it. Raises nothing."""
        if self.holding is None:
            return
        match _seat.next_action(self.holding, self._runtime.now()):
            case Attempt("refresh"):
                yield from self._attempt_refresh(self.holding)
            case Attempt("activate"):
                yield from self._attempt_activate(self.holding)

    def state(self) -> State:
        """Say how the seat stands, by the clocks, at this very moment."""
        return "returned" if self.holding is None else _seat.state_at(self.holding, self._runtime.now())

    def change(self) -> State | None:
        """Give the state, if it is one that the program has not been told of. What it does itself needs no telling."""
        state = self.state()
        if state in {self._told, "returned"}:
            return None
        self._told = state
        return state

    def fresh_loss(self) -> SeatLost | None:
        """Give the loss, once for each, when the second chance has been tried or there is none."""
        if self.holding is None or self.state() != "lost":
            self._loss_told = False
            return None
        at_it = self.holding.gone and self.holding.ended is None and self.holding.failures == 0
        if at_it or self._loss_told:
            return None
        self._loss_told = True
        return self.loss()

    def loss(self) -> SeatLost:
        """Give the error that says why the seat is lost."""
        if self._taken_back is not None and not isinstance(self.cause, SeatTakenOver):
            return self._loss_of_what_was_taken_back(self._taken_back)
        if isinstance(self.cause, SeatLost):
            return self.cause
        why = f": {self.cause}" if self.cause else ""
        what = (
            "the time for which this seat was borrowed is over, and it"
            if self._was_borrowed
            else "the lease of this seat has ended and"
        )
        loss = SeatLost(f"{what} could not be refreshed{why}", server=self._memory.kept.server)
        loss.__cause__ = self.cause
        return loss

    def _loss_of_what_was_taken_back(self, word: SeatGone) -> SeatGone:
        latest = self.cause or word
        decided = isinstance(latest, Refused | NotAuthorized)
        then = "" if latest is word else f"; a new one {'was refused' if decided else 'was not to be had'}: {latest}"
        loss = SeatGone(
            f"the seat was taken back by an administrator before its lease had ended{then or f': {word}'}",
            problem=word.problem,
            details=word.details,
            denial=latest.denial,
            server=latest.server or word.server,
            at=latest.at,
        )
        loss.__cause__ = latest
        return loss

    def next_action(self) -> _seat.Action:
        """Say what the keeper has to do now."""
        self._borrowings.saw(self.identity.seat_id, self._runtime.now())
        return _seat.Stop() if self.holding is None else _seat.next_action(self.holding, self._runtime.now())

    def expires_at(self) -> datetime | None:
        """Give the end of the lease by this machine's clock, UTC."""
        if self.holding is None:
            return None
        now = self._runtime.now()
        return now.later(self.holding.lease.left(now)).moment

    def home(self) -> str | None:
        """Give the URL of the server that granted the seat."""
        return self._memory.kept.server

    def _attempt_refresh(self, holding: Holding) -> Talk[None]:
        try:
            yield from self.refresh()
        except SeatkeeperError as error:
            now_held = self.holding or holding  # settling what was pending may have changed it
            self._trouble(self._after(error, now_held) or self._failed(now_held, error), error)

    def _after(self, error: SeatkeeperError, holding: Holding) -> Holding | None:
        """Give what an error makes of the seat, if it says anything about the seat and not just about the call."""
        now = self._runtime.now()
        match error:
            case SeatTakenOver():
                self._memory.let_go()  # the record belongs to the copy that has the seat
                return _seat.lost(holding)
            case SeatGone():
                self._taken_back = error if holding.lease.left(now) > 0 else None
                return _seat.gone(holding, now)
            case NotAuthorized():
                return _seat.doubted(holding, now)
        return _seat.doubted(holding, now) if error.problem == "nonce.stale" else None

    def _attempt_activate(self, holding: Holding) -> Talk[None]:
        try:
            yield from self.activate()
        except (Refused, NotAuthorized, SeatLost) as error:
            self._trouble(_seat.lost(holding), error)
        except SeatkeeperError as error:
            self._trouble(self._failed(self.holding or holding, error), error)

    def _failed(self, holding: Holding, error: SeatkeeperError) -> Holding:
        return _seat.failed(holding, self._runtime.now(), draw=self._runtime.draw(), retry_after=error.retry_after)

    def _trouble(self, holding: Holding, error: SeatkeeperError) -> None:
        if self.holding is not None and self.holding.ended is None:  # not given back meanwhile
            self.holding, self.cause = holding, error

    # --- one call at a time ----------------------------------------------------------------------------------------

    def _once(self, kind: Kind, key: str, amount: int) -> Talk[Document]:
        """Make a call about a feature, or collect the answer of the same call whose caller had given up waiting."""

        def call() -> Call:
            return self._calls.feature(kind, self._memory.kept, key, amount)

        return (yield from self._in_turn(call, collect=(kind, key, amount)))

    def _in_turn(self, call: Callable[[], Call], *, collect: tuple[Kind, str, int] | None = None) -> Talk[Document]:
        """Settle what is unanswered, then make the program's own call; what it reveals about the seat is taken in."""
        try:
            yield from self._settle_pending()
            if collect in self._unclaimed:
                return self._unclaimed.pop(collect)
            return (yield from self._ask(call()))
        except SeatkeeperError as error:
            after = self._after(error, self.holding) if self.holding is not None else None
            if after is not None:
                self._trouble(after, error)
            raise

    def _settle_pending(self) -> Talk[Kind | None]:
        """Ask again, word for word, for the answer that got lost; only then is it known how things stand.

        A pending call about a seat of an earlier life (all but activate) is moot: activating starts a new conversation. So is
        one by a device key that is no more.
        """
        pending = self._memory.kept.pending
        if pending is None or (self.holding is None and not self._calls.is_our_activate(pending)):
            return None
        try:
            answer = yield from self._ask(pending)
        except (Refused, NotAuthorized, SeatLost, ServerProblem) as error:
            undecided = self._memory.kept.pending is not None
            if undecided or (self.holding is not None and not isinstance(error, Refused)):
                raise
            return None  # decided, and no use to us: what we ask next speaks for itself
        if pending.kind in {"checkout", "return", "usage"}:
            request = json.decode(pending.body, type=FeatureRequest)
            self._unclaimed[pending.kind, request.key, request.amount] = answer
        return pending.kind

    # --- sending and understanding ---------------------------------------------------------------------------------

    def _ask(self, call: Call, servers: Sequence[str] = (), *, timeout: float = PATIENT) -> Talk[Document]:
        """Send a call, and take in the answer.

        Raises:
            SeatkeeperError: no server answered, the answer is an error, or not to be believed.
        """
        if call.kind not in {"entitlement", "deactivate"}:
            self._keep(pending=call)
        server, reply = yield from self._send(call, servers or self._servers(), timeout)
        if not reply.is_success:
            raise self._problem(call, server, reply)
        answer = self._understand(call, server, reply)
        self._keep(pending=None, nonce=reply.headers.get("n-nonce", self._memory.kept.nonce), server=server)
        return answer

    def _send(self, call: Call, servers: Sequence[str], timeout: float) -> Talk[tuple[str, Reply]]:
        """Give the first reply of a server; one that may have seen the call is not passed over for another."""
        reasons = []
        for server in servers:
            try:
                reply = yield Outgoing(server=server, call=call, timeout=timeout)
            except Unreachable as error:
                reasons.append(f"{server}: {error}")
                if error.maybe_sent and call.kind == "activate" and server not in self._doubtful:
                    self._doubtful.add(server)  # it may have given us a seat: ask it once more before another
                    break
                continue
            assert reply is not None
            if not self._is_stranger(server, call, reply):
                return server, reply
            reasons.append(f"{server}: does not know this seat")
        raise unanswered(servers, reasons)

    def _is_stranger(self, server: str, call: Call, reply: Reply) -> bool:
        """Tell whether another server than ours, asked in its place, knows nothing of our seat."""
        return reply.status == 401 and call.kind != "activate" and server != self._memory.kept.server

    def _problem(self, call: Call, server: str, reply: Reply) -> SeatkeeperError:
        settings, at = self.settings, self._runtime.now().moment
        features = self._calls.features_in(call)
        error = problem_in(reply, server=server, at=at, product=settings.name, contact=settings.contact, features=features)
        if is_final(reply) and error.problem is not None and self._memory.kept.pending == call:
            self._keep(pending=None, nonce=reply.headers.get("n-nonce", self._memory.kept.nonce))
        return error

    def _understand(self, call: Call, server: str, reply: Reply) -> Document:
        """Read a successful reply, verify what it grants, and let the state follow."""
        match call.kind:
            case "activate":
                granted = self._read(server, reply, ActivateAnswer)
                lease = self._belief.lease(granted.lease, granted.certificate, call=call, server=server)
                if self._calls.asks_the_same(call, self._drawn, self._borrow_until):
                    self._drawn = _without_used_up(self._drawn, granted.activation.features)
                first = self.holding is None or self.holding.step != "activate"
                self._granted(lease, granted.access_token, second_chance=first)
                self._keep_what_was_borrowed(call, lease)
                return granted
            case "refresh":
                kept_on = self._read(server, reply, RefreshAnswer)
                lease = self._belief.lease(kept_on.lease, kept_on.certificate, call=call, server=server)
                self._granted(self._prolonged(lease), kept_on.access_token, second_chance=True)
                self._keep_what_was_borrowed(call, lease)
                return kept_on
            case "checkout" | "return":
                feature = self._read_feature(call, server, reply)
                counted = feature.type != "bool"  # nobody takes the server's word: a switch is refused in `checkout`
                lease = self._belief.lease(feature.lease, feature.certificate, call=call, server=server, counted=counted)
                self._redrawn(self._prolonged(lease))
                self._keep_what_was_borrowed(call, lease)
                return feature
            case "entitlement":
                return self._read(server, reply, ActivationEntitlement)
            case "usage" | "deactivate" | "status":
                return None
        assert_never(call.kind)

    def _read(self, server: str, reply: Reply, kind: type[Answered]) -> Answered:
        return read_answer(server, reply, kind, self._runtime.now().moment)

    def _read_feature(self, call: Call, server: str, reply: Reply) -> FeatureAnswer:
        answer, asked = self._read(server, reply, FeatureAnswer), json.decode(call.body, type=FeatureRequest)
        if answer.key != asked.key:
            raise UntrustedServer(f"the answer of {server} is about another feature than {asked.key}", server=server)
        return answer

    def _prolonged(self, lease: Lease) -> Lease:
        return lease if self.holding is None else lease.or_longer(self.holding.lease, self._runtime.now())

    def _granted(self, lease: Lease, token: str, *, second_chance: bool) -> None:
        self._keep(access_token=token, last_lease=lease.token)
        if self.holding is None or self.holding.ended is None:
            self.holding = _seat.held(lease, draw=self._runtime.draw(), second_chance=second_chance)
            self.cause = self._taken_back = None

    def _keep_what_was_borrowed(self, call: Call, lease: Lease) -> None:
        """Keep a borrowed lease that is bound to this machine; one that isn't borrowed any more ends what was."""
        seat_id, slot = self.identity.seat_id, self.identity.slot
        if self.claims is None or self.claims.bor is not True:
            self._borrowings.forget(seat_id)
            return
        if not self._borrowings.is_bound(call.client_nonce):
            return
        self._was_borrowed = True
        self._borrowings.keep(
            seat_id=seat_id,
            slot=None if slot is None else slot.number,
            lease=lease.token,
            certificate=self._belief.certificate,
            nonce=call.client_nonce,
            sent_at=call.asked_at.wall,
            now=self._runtime.now(),
        )
        if self.holding is not None:
            self.holding = _seat.borrowed(self.holding.lease, self._runtime.now())

    def _redrawn(self, lease: Lease) -> None:
        self._keep(last_lease=lease.token)
        if self.holding is not None:
            self.holding = _seat.with_lease(self.holding, lease)

    def _servers(self) -> tuple[str, ...]:
        """Give the servers, the one that granted our seat first."""
        home = self._memory.kept.server
        servers = self.settings.servers
        return (home, *(server for server in servers if server != home)) if home in servers else servers

    def _keep(self, **changes: object) -> None:
        self._memory.keep(structs.replace(self._memory.kept, **changes))


def _without_used_up(drawn: Mapping[str, int], states: Sequence[FeatureState]) -> dict[str, int]:
    """Leave out what a usage count has paid for: a seat that has to be taken anew must not pay twice."""
    used_up = {state.key for state in states if state.type == "usageCount"}
    return {key: amount for key, amount in drawn.items() if key not in used_up}
