"""Serving seats: a batch of calls is read, decided one by one in order, and written, in one transaction.

Refreshes and returns are decided before new activations, so that overload or the minutes after an outage never cost a
running user his seat. Signing comes after the commit and is not done here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.ids import ACTIVATION
from seatkeeper.protocol.trust import read_unverified_lease
from seatkeeper_server.domain.admission import Tallies
from seatkeeper_server.domain.facts import (
    Claimed,
    CloneSuspected,
    Denied,
    Fact,
    Repeated,
    Restored,
    TakenOver,
)
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.pool import Decision, Rejected, nonce_in_order
from seatkeeper_server.domain.refusals import WINDOW
from seatkeeper_server.domain.requests import (
    Activate,
    CheckOut,
    Earlier,
    GiveBack,
    Refresh,
    Request,
    Return,
    ShownLease,
    Use,
)
from seatkeeper_server.domain.terms import BORROWED, is_feature
from seatkeeper_server.service.calls import (
    ActivateCall,
    Call,
    Done,
    HeldCall,
    Key,
    Occupancy,
    Outcome,
    PoolStatus,
    PoolView,
    Refused,
    Served,
    StatusCall,
    Verb,
    Who,
)
from seatkeeper_server.service.drawing import Drawing
from seatkeeper_server.service.ports import (
    Authority,
    HolderRecord,
    HoldingRecord,
    KeyedRecord,
    PoolKey,
    Signer,
    Transaction,
)
from seatkeeper_server.service.refusing import Refusals, Refusing, unknown
from seatkeeper_server.service.workspace import Workspace

SWEPT_AT_ONCE = 64  # pools, and windows, that one beat settles

_ORDER = {Verb.RETURN: 0, Verb.REFRESH: 1, Verb.CHECK_OUT: 2, Verb.GIVE_BACK: 1, Verb.USE: 2, Verb.READ: 2}
_ACTIVATES_LAST = 3
_UNDECIDED = Done()


class Leasing:
    """The use case of serving seats. It keeps nothing of one batch for the next but drawn chance."""

    def __init__(self, authority: Authority, signer: Signer, random: Callable[[int], bytes]) -> None:
        self.authority = authority
        self.signer = signer
        self.draw = Drawing(random)

    def decide(self, tx: Transaction, calls: Sequence[Call], now: datetime) -> list[Outcome]:
        """Decide a batch of calls; the outcomes in the order of the calls."""
        work = Workspace(tx, now)
        return _Batch(self, work, calls, Refusals(work, self.draw)).run()

    def sweep(self, tx: Transaction, now: datetime) -> None:
        """Make facts timely: settle what time has ended, close refusal windows. Nothing's correctness waits for this.

        Every server does it. What another one did meanwhile is seen when the pools have been locked.
        """
        work = Workspace(tx, now)
        keys = tx.pools_with_due(now, SWEPT_AT_ONCE)
        chains = {key for key, _ in tx.windows_ended(now - WINDOW, SWEPT_AT_ONCE)}
        work.load_pools({*keys, *(key for key in chains if key[0] != key[1])})
        work.ledgers.update({r.tenant_id: r for r in tx.ledgers(sorted({key[0] for key in chains if key[0] == key[1]}))})
        for key in keys:
            work.settle_due(key)
        for key, window in tx.windows_ended(now - WINDOW, SWEPT_AT_ONCE) if chains else ():
            if key in chains:
                work.close_window(key, window)
        work.save()
        for key in keys:
            tx.put_off(key, now)


@dataclass(slots=True)
class _Batch:
    """One batch on its way from calls to outcomes."""

    leasing: Leasing
    work: Workspace
    calls: Sequence[Call]
    refusals: Refusals
    codes: dict[tuple[str, str, str], list[PoolKey]] = field(default_factory=dict)
    claims: dict[str, LeaseClaims | None] = field(default_factory=dict)
    full: dict[PoolKey, tuple[Tallies, Denied]] = field(default_factory=dict)  # pools that a newcomer found full, as they were

    def run(self) -> list[Outcome]:
        self._load()
        decided: list[Outcome | Refusing] = [_UNDECIDED] * len(self.calls)
        refusing: list[Refusing] = []
        for index in sorted(range(len(self.calls)), key=[_turn(call) for call in self.calls].__getitem__):
            outcome = decided[index] = self._decide(self.calls[index])
            if isinstance(outcome, Refusing):
                refusing.append(outcome)
        self.refusals.note(refusing)
        self.work.save()
        return [self._explained(item) for item in decided]

    def _explained(self, item: Outcome | Refusing) -> Outcome:
        """Complete what needed the whole batch to be written."""
        match item:
            case Refusing():
                return self.refusals.explained(item)
            case PoolStatus():
                key = (item.entitlement.tenant_id, item.entitlement.entitlement_id)
                return replace(item, occupancy=self.refusals.occupancy(key))
            case _:
                return item

    # --- reading everything the calls touch, set by set ------------------------------------------------------------

    def _load(self) -> None:
        by_code = [call for call in self.calls if isinstance(call, ActivateCall | StatusCall)]
        if by_code:
            asked = {(c.tenant_id, c.code_hash, c.product_id, getattr(c, "edition_id", None)) for c in by_code}
            in_order = sorted(asked, key=lambda a: (a[0], a[1], a[2], a[3] or ""))
            self.codes = dict(self.leasing.authority.pools_for_codes(self.work.tx, in_order))
        opened = {key for keys in self.codes.values() for key in keys}
        held = {(c.tenant_id, c.token.activation_id) for c in self.calls if isinstance(c, HeldCall)}
        self.work.lock(opened | self._claimed(), held)
        self.work.load_keyed(
            (call.tenant_id, call.key.scope, call.key.key)
            for call in self.calls
            if not isinstance(call, StatusCall) and call.key is not None
        )
        self.work.load_held(held | {(record.tenant_id, record.activation_id) for record in self.work.keyed.values()})
        activates = [call for call in self.calls if isinstance(call, ActivateCall)]
        self.work.load_seats((*key, call.who.seat_id) for call in activates for key in self._pools_of(call))
        shown = [self.work.held[place] for place in held if place in self.work.held]
        self.work.load_pools(opened | {(record.tenant_id, record.entitlement_id) for record in shown})

    def _claimed(self) -> set[PoolKey]:
        """Give the pools that leases shown with refreshes speak of: where such a seat is unknown, it may be restored."""
        shown = [call for call in self.calls if isinstance(call, HeldCall) and call.verb is Verb.REFRESH]
        claims = [(call.tenant_id, self._claims(call.last_lease)) for call in shown]
        return {(tenant_id, claim.ent) for tenant_id, claim in claims if claim is not None}

    def _claims(self, lease: str | None) -> LeaseClaims | None:
        """Read what a lease says, once a batch."""
        if lease is None:
            return None
        if lease not in self.claims:
            self.claims[lease] = _claims(lease)
        return self.claims[lease]

    def _pools_of(self, call: ActivateCall | StatusCall) -> list[PoolKey]:
        return self.codes.get((call.tenant_id, call.code_hash, call.product_id), [])

    # --- deciding --------------------------------------------------------------------------------------------------

    def _decide(self, call: Call) -> Outcome | Refusing:
        match call:
            case ActivateCall():
                return self._activate(call)
            case HeldCall():
                return self._held(call)
            case StatusCall():
                return self._status(call)

    def _activate(self, call: ActivateCall) -> Outcome | Refusing:
        if (key := self._choose(call)) is None:
            return unknown(call.tenant_id, call.code_hint, call.who.address, self.work.now)
        known = self.work.holders.get((*key, call.who.seat_id))
        own = self.work.holding_of(known) if known else None
        number = known.number if known else self.work.pool(key).holders + 1
        if own is None and (refusal := self._refused_alike(call, key, known)) is not None:
            return Refusing(key, replace(refusal, holder=number), call.who)
        shown = self._shown(call.last_lease, key, own, call.who.seat_id)
        request = Activate(
            activation_id=own.holding.activation_id if own else shown.act if shown else ACTIVATION + self.leasing.draw.text(),
            holder=number,
            next_nonce=self.leasing.draw.text(),
            features=call.features,
            proof=self._proof(call, own),
            device=call.device,
            earlier=self._earlier(call.tenant_id, call.key),
            shown=_as_shown(shown),
            blocked_until=known.blocked_until if known else None,
            borrow_until=call.borrow_until,
        )
        decision = self._ask(key, request, own, call.who)
        if isinstance(decision, Fact) and not isinstance(decision, Denied | Repeated):
            self.work.know(key, decision.holder, call.who, known.blocked_until if known else None)
        if isinstance(decision, Denied) and decision.rule == "pool-full" and own is None and not call.features:
            self.full[key] = (self.work.pool(key).tallies, replace(decision, activation_id=None))
        return self._answer(key, decision, call.who, request.activation_id, call.key)

    def _refused_alike(self, call: ActivateCall, key: PoolKey, known: HolderRecord | None) -> Denied | None:
        """Give the refusal of another newcomer in this batch, if this one asks for the same and nothing has changed since.

        Who floods a full pool asks for nothing but a seat; the pool machine would say the same of each, time standing still.
        """
        if (full := self.full.get(key)) is None or full[0] is not self.work.pool(key).tallies:
            return None
        is_plain = not call.features and call.last_lease is None and call.borrow_until is None
        is_plain = is_plain and (known is None or known.blocked_until is None)
        return full[1] if is_plain and self._earlier(call.tenant_id, call.key) is None else None

    def _choose(self, call: ActivateCall) -> PoolKey | None:
        """Of several pools that a code opens: the one that knows this seat, else the first with room, else the first."""
        pools = [key for key in self._pools_of(call) if self._edition_fits(key, call.edition_id)]
        if len(pools) < 2:
            return pools[0] if pools else None
        for key in pools:
            known = self.work.holders.get((*key, call.who.seat_id))
            if known and (own := self.work.holding_of(known)) and own.holding.occupies:
                return key
        return next((key for key in pools if self.work.pool(key).seats.has_room_for(1)), pools[0])

    def _edition_fits(self, key: PoolKey, edition_id: str | None) -> bool:
        return edition_id is None or self.work.pools[key].entitlement.edition_id == edition_id

    def _proof(self, call: ActivateCall, own: HoldingRecord | None) -> int | None:
        if call.proof is None or own is None or call.proof.activation_id != own.holding.activation_id:
            return None
        return call.proof.generation

    def _held(self, call: HeldCall) -> Outcome | Refusing:
        own = self.work.held.get((call.tenant_id, call.token.activation_id))
        if own is None:
            return self._forgotten(call)
        key = (own.tenant_id, own.entitlement_id)
        if call.verb is Verb.READ:
            return self._read(call, key, own)
        decision = self._ask(key, self._request(call, own), own, own.who)
        if call.verb is Verb.RETURN:
            return Done()
        return self._answer(key, decision, own.who, call.token.activation_id, call.key, call)

    def _request(self, call: HeldCall, own: HoldingRecord) -> Request:
        if call.verb is Verb.RETURN:
            token = call.token
            return Return(
                activation_id=token.activation_id, generation=token.generation, proven=_is_vouched_for(call, own.holding.device)
            )
        key = (own.tenant_id, own.entitlement_id)
        shown = self._shown(call.last_lease, key, own, own.who.seat_id)
        earlier = self._earlier(call.tenant_id, call.key)
        return _request(call, self.leasing.draw.text(), earlier, _as_shown(shown), own.holding.holder, own.blocked_until)

    def _forgotten(self, call: HeldCall) -> Outcome | Refusing:
        """A seat this database doesn't know: long over, unless its lease proves that the database was restored."""
        if call.verb is Verb.RETURN:
            return Done()
        claims = self._claims(call.last_lease) if call.verb is Verb.REFRESH else None
        if claims is None or claims.act != call.token.activation_id:
            return Refused("seat.gone")
        key = (call.tenant_id, claims.ent)
        self.work.load_pools([key])
        if key not in self.work.pools or (shown := self._shown(call.last_lease, key, None, claims.sub)) is None:
            return Refused("seat.gone")
        self.work.load_seats([(*key, shown.sub)])
        known = self.work.holders.get((*key, shown.sub))
        if known and self.work.holding_of(known):
            return Refused("seat.takenOver")  # under another activation this database does know the seat
        who = known.who if known else Who(seat_id=shown.sub)
        number, blocked_until = (known.number, known.blocked_until) if known else (0, None)
        request = _request(call, self.leasing.draw.text(), None, _as_shown(shown), number, blocked_until)
        decision = self._ask(key, request, None, who)
        if isinstance(decision, Fact) and not isinstance(decision, Denied):
            self.work.know(key, decision.holder, who, known.blocked_until if known else None)
        return self._answer(key, decision, who, call.token.activation_id, call.key, call)

    def _read(self, call: HeldCall, key: PoolKey, own: HoldingRecord) -> Outcome | Refusing:
        holding = self.work.settle(key, own, own.who)
        if holding is None or holding.state not in (State.HELD, State.LAPSED):
            return Refused("seat.gone")
        if call.token.generation != holding.generation:
            return Refused("seat.takenOver" if call.token.generation < holding.generation else "seat.gone")
        if not nonce_in_order(self.work.pool(key), holding, call.nonce):
            return Refusing(key, _stale(holding.activation_id, holding.holder, self.work.now), own.who)
        return self._served(key, own.who, holding.activation_id, sign=False)

    def _status(self, call: StatusCall) -> Outcome | Refusing:
        pools = self._pools_of(call)
        if not pools:
            return unknown(call.tenant_id, call.code_hint, call.address, self.work.now)
        key = pools[0]
        self.work.settle_due(key)
        record = self.work.pools[key]
        pool = self.work.pool(key)
        return PoolStatus(
            entitlement=record.entitlement,
            standing=pool.terms.standing(self.work.now),
            pool=PoolView(pool.terms, pool.tallies),
            occupancy=_EMPTY,
            at=self.work.now,
        )

    def _ask(self, key: PoolKey, request: Request, own: HoldingRecord | None, who: Who) -> Decision:
        """Have it decided; what a shown lease reveals is written down first, then the request is decided as it stands."""
        decision = self.work.decide(key, request, own, who)
        if isinstance(decision, Restored):
            self.work.know(key, decision.holder, who, own.blocked_until if own else None)
        if isinstance(decision, Restored | CloneSuspected):
            self.leasing.authority.noticed(self.work.tx, key, decision, self.work.now)
            again = _without_shown(request)
            decision = self.work.decide(key, again, self.work.held.get((key[0], decision.activation_id or "")), who)
        return decision

    # --- answering -------------------------------------------------------------------------------------------------

    def _answer(
        self,
        key: PoolKey,
        decision: Decision,
        who: Who,
        activation_id: str,
        idempotency: Key | None,
        call: HeldCall | None = None,
    ) -> Outcome | Refusing:
        if isinstance(decision, Rejected):
            return Refused(decision.problem)
        if isinstance(decision, Denied):
            return Refusing(key, self.leasing.authority.worded(self.work.tx, key, decision, self.work.now), who)
        if self._was_cut(key, activation_id):
            return Refused("seat.gone")
        if idempotency is not None:
            self._keep(key, idempotency, decision)
        if call is not None and call.verb is Verb.USE:
            return Done(self.work.held[key[0], activation_id].holding.nonces.current)
        new_place = isinstance(decision, Claimed | TakenOver)
        return self._served(key, who, activation_id, sign=True, new_place=new_place, feature=call.feature if call else "")

    def _was_cut(self, key: PoolKey, activation_id: str) -> bool:
        return self.work.held[key[0], activation_id].holding.state is not State.HELD

    def _keep(self, key: PoolKey, idempotency: Key, fact: Fact) -> None:
        assert fact.activation_id is not None
        terms, holding = self.work.pool(key).terms, self.work.held[key[0], fact.activation_id].holding
        self.work.keep(
            KeyedRecord(
                tenant_id=key[0],
                scope=idempotency.scope,
                key=idempotency.key,
                body=idempotency.body,
                activation_id=fact.activation_id,
                generation=fact.generation,
                kept_until=max(self.work.now + terms.lease, holding.expires_at) + terms.margin,
            )
        )

    def _served(
        self, key: PoolKey, who: Who, activation_id: str, *, sign: bool, new_place: bool = False, feature: str = ""
    ) -> Served:
        record = self.work.pools[key]
        return Served(
            entitlement=record.entitlement,
            pool=self.work.view(key),
            holding=self.work.held[key[0], activation_id].holding,
            who=who,
            at=self.work.now,
            sign=sign,
            new_place=new_place,
            feature=feature,
        )

    # --- keys, nonces, shown leases --------------------------------------------------------------------------------

    def _earlier(self, tenant_id: str, key: Key | None) -> Earlier | None:
        if key is None or (kept := self.work.keyed.get((tenant_id, key.scope, key.key))) is None:
            return None
        return Earlier(kept.generation, kept.body == key.body)

    def _shown(self, lease: str | None, key: PoolKey, own: HoldingRecord | None, seat_id: str) -> LeaseClaims | None:
        """Read a lease a client shows. Its signature is checked only if its number says anything new: that is rare."""
        claims = self._claims(lease)
        if claims is None or lease is None or (claims.ent, claims.sub) != (key[1], seat_id):
            return None
        pool = self.work.pool(key)
        seen = own.holding.sequence if own else pool.lost_after if pool.lost_until else pool.sequence
        if claims.seq <= seen:
            return None
        return self.leasing.signer.recognise(key[0], lease)


_EMPTY = Occupancy(holders=[], more=0, next_free_by=None)


def _turn(call: Call) -> int:
    """Tell which calls of a batch go first."""
    return _ORDER[call.verb] if isinstance(call, HeldCall) else _ACTIVATES_LAST


def _request(
    call: HeldCall,
    next_nonce: str,
    earlier: Earlier | None,
    shown: ShownLease | None,
    holder: int,
    blocked_until: datetime | None,
) -> Request:
    """Give the pool machine's request for a call of a seat's holder."""
    token, keyed = call.token, call.key is not None
    if call.verb is Verb.REFRESH:
        return Refresh(
            activation_id=token.activation_id,
            generation=token.generation,
            next_nonce=next_nonce,
            nonce=call.nonce,
            fingerprint=call.fingerprint,
            earlier=earlier,
            keyed=keyed,
            shown=shown,
            holder=holder,
            blocked_until=blocked_until,
        )
    common = {
        "activation_id": token.activation_id,
        "generation": token.generation,
        "next_nonce": next_nonce,
        "nonce": call.nonce,
        "fingerprint": call.fingerprint,
        "earlier": earlier,
        "keyed": keyed,
    }
    match call.verb:
        case Verb.CHECK_OUT:
            return CheckOut(key=call.feature, amount=call.amount, **common)  # type: ignore[arg-type]
        case Verb.GIVE_BACK:
            return GiveBack(key=call.feature, amount=call.amount, **common)  # type: ignore[arg-type]
        case _:
            return Use(key=call.feature, **common)  # type: ignore[arg-type]


def _is_vouched_for(call: HeldCall, device: str | None) -> bool:
    if device is None or call.device_proof is None:
        return False
    returned = devices.Returned(call.tenant_id, call.token.activation_id, call.token.generation)
    return devices.is_proven(device, call.device_proof, returned)


def _without_shown(request: Request) -> Request:
    return replace(request, shown=None) if isinstance(request, Activate | Refresh) else request


def _claims(lease: str) -> LeaseClaims | None:
    try:
        return read_unverified_lease(lease)
    except EnvelopeError:
        return None


def _as_shown(claims: LeaseClaims | None) -> ShownLease | None:
    if claims is None:
        return None
    rights = {key: amount for key, amount in claims.feat.items() if is_feature(key)}
    if claims.bor:
        rights[BORROWED] = 1
    return ShownLease(claims.seq, claims.gen, rights, datetime.fromtimestamp(claims.exp, tz=UTC), claims.act, claims.dev)


def _stale(activation_id: str, holder: int, now: datetime) -> Denied:
    return Denied(at=now, activation_id=activation_id, holder=holder, rule="nonce", problem="nonce.stale")
