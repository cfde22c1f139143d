"""THE state machine of a pool of seats: settle · decide · apply.

One entitlement is one pool. Everything that may happen to it goes through three pure functions:

    settle(pool, now)           what time alone has made true; precedes every decision
    decide(pool, request, now)  → a fact, a refusal being one too, or a `Rejected` for a request that makes no sense now
    apply(pool, fact)           the only way a pool changes

Rules kept here (`contract.md`, "Rules of the seat", by number):

 1. Every activate that is not a keyed repeat raises the generation.
 2. A repeat is answered anew from the present state and extends nothing; if its holding has ended it is decided as new.
 3. A place is free only when the last lease signed for it has ended, and a margin, or when its holder returned it. What was
    taken over, taken back or cut counts until then.
 4. Activating a held seat id without its token is a take-over: a new place, if there is room.
 5. A return by an older generation changes nothing. A refresh takes back only a *lapsed* seat.
 6. The current nonce is accepted; the one before it only for the same request.
 8. A lease newer than the database proves that the database was restored.

A pool is seen as its kept counters and the holdings that a request touches, never as the list of all of them: a decision
costs the same with ten holders as with a million. Loading the right holdings is the service's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from seatkeeper_server.domain.admission import Shortage, Tallies, Tally, counted, returnable, shortage, used_up
from seatkeeper_server.domain.facts import (
    CheckedOut,
    Claimed,
    CloneSuspected,
    Denied,
    DeniedAgain,
    Expired,
    Fact,
    Freed,
    GivenBack,
    Granted,
    Note,
    Refreshed,
    Repeated,
    Restored,
    Resumed,
    Retaken,
    Returned,
    TakenBack,
    TakenOver,
    Used,
)
from seatkeeper_server.domain.holdings import CURRENT, Holding, Nonces, State
from seatkeeper_server.domain.requests import (
    Activate,
    Call,
    CheckOut,
    GiveBack,
    Refresh,
    Request,
    Return,
    ShownLease,
    TakeBack,
    Use,
)
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, NoncePolicy, Standing, Terms

NOTED_EVERY = timedelta(hours=1)  # a refresh is written down at most this often for a holder
LONG_LEASE = timedelta(minutes=15)  # beyond this a token alone doesn't prove whose place it is (rule 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One entitlement's seats and features, as far as a decision sees them.

    `sequence` numbers the leases signed, `holders` the holders met. `excess` is how many holders still have to go because
    the pool was shrunk below its use. Leases numbered above `lost_after`, up to `lost_until`, may have been signed by a state
    of this database that was lost when it was restored.
    """

    terms: Terms
    tallies: Tallies
    sequence: int = 0
    holders: int = 0
    excess: int = 0
    lost_after: int = 0
    lost_until: int = 0
    holdings: Mapping[tuple[str, int], Holding] = field(default_factory=dict)

    def current(self, activation_id: str) -> Holding | None:
        """Give a seat's present holding."""
        return self.holdings.get((activation_id, CURRENT))

    def seeing(self, holdings: Mapping[tuple[str, int], Holding]) -> "Pool":
        """Give the same pool with other holdings in sight."""
        return Pool(
            terms=self.terms,
            tallies=self.tallies,
            sequence=self.sequence,
            holders=self.holders,
            excess=self.excess,
            lost_after=self.lost_after,
            lost_until=self.lost_until,
            holdings=holdings,
        )  # each request makes one, and `replace` takes four times as long

    @property
    def seats(self) -> Tally:
        """The tally of the seats themselves."""
        return self.tallies[SEAT]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that makes no sense in the present state: nothing changes, nothing is written down."""

    problem: str


Decision = Fact | Rejected


# --- settle --------------------------------------------------------------------------------------------------------


def settle(pool: Pool, now: datetime) -> tuple[Pool, list[Fact]]:
    """Apply what time alone has made true of the holdings in sight, oldest first."""
    due = sorted((h for h in pool.holdings.values() if h.is_due(now)), key=lambda h: (h.free_at, h.key))
    facts = [_ended(pool, holding) for holding in due]
    for fact in facts:
        pool = apply(pool, fact)
    return pool, facts


def _ended(pool: Pool, holding: Holding) -> Fact:
    assert holding.free_at is not None
    who = {"activation_id": holding.activation_id, "generation": holding.generation, "holder": holding.holder}
    taken = _negative(returnable(pool.tallies, holding.rights))
    if holding.state is State.HELD:
        return Expired(at=holding.expires_at, free_at=holding.free_at, taken=taken, **who)  # type: ignore[arg-type]
    return Freed(at=holding.free_at, past=holding.past, cause=holding.state.value, taken=taken, **who)  # type: ignore[arg-type]


# --- decide --------------------------------------------------------------------------------------------------------


def decide(pool: Pool, request: Request, now: datetime) -> Decision:
    """Say what happens to a settled pool when this is asked of it."""
    match request:
        case Activate():
            return _activate(pool, request, now)
        case Refresh():
            return _refresh(pool, request, now)
        case CheckOut() | GiveBack() | Use():
            return _feature_call(pool, request, now)
        case Return():
            return _return(pool, request, now)
        case TakeBack():
            return _take_back(pool, request, now)
        case _:
            assert_never(request)


def _activate(pool: Pool, ask: Activate, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if ask.earlier is not None:
        if not ask.earlier.same_body:
            return Rejected("idempotency.mismatch")
        if own is not None and own.state is State.HELD:
            return _repeat(own, now) if own.generation == ask.earlier.generation else Rejected("seat.takenOver")
    if ask.shown is not None:
        kept = own.nonces if own else Nonces(current=ask.next_nonce)
        if (news := _restored(pool, own, ask.activation_id, ask.holder, ask.shown, kept, now)) is not None:
            return news
    if (refusal := _closed(pool, now)) is not None:
        return replace(refusal, activation_id=ask.activation_id, holder=ask.holder)
    if ask.blocked_until is not None and now < ask.blocked_until:
        return _denied(pool, "excluded", "policy.refused", now, ask.activation_id, ask.holder)
    if own is None or not own.occupies:
        return _claim(pool, own, ask, now)
    if _is_its_own(pool, own, ask, now):
        return _resume(pool, own, ask, now)
    return _take_over(pool, own, ask, now)


def _is_its_own(pool: Pool, own: Holding, ask: Activate, now: datetime) -> bool:
    """Nobody else can believe in this place: the token proves it, its holder returned it, or its lease is long over.

    The token alone may be a copy, or in a proxy's hands while the program goes on: the device that a place was given to
    proves itself too, and on a long lease there has to be one.
    """
    if ask.proof is not None and ask.proof == own.generation:
        is_long = pool.terms.lease > LONG_LEASE or own.expires_at - now > LONG_LEASE
        return not is_long if own.device is None else ask.device == own.device
    if own.state is State.RETURNED:
        return True
    return own.free_at is None and own.state is State.HELD and own.expires_at + pool.terms.margin <= now


def _claim(pool: Pool, own: Holding | None, ask: Activate, now: datetime) -> Decision:
    wanted = {**ask.features, SEAT: 1}
    if (short := shortage(pool.tallies, wanted)) is not None:
        return _short(pool, short, now, ask.activation_id, ask.holder)
    return Claimed(
        at=now,
        activation_id=ask.activation_id,
        generation=own.generation + 1 if own else 1,
        holder=ask.holder,
        taken=counted(pool.tallies, wanted),
        rights=wanted,
        expires_at=pool.terms.lease_end(now),
        nonces=_first_nonces(pool, ask),
        device=ask.device,
    )


def _resume(pool: Pool, own: Holding, ask: Activate, now: datetime) -> Decision:
    if _has_to_go(pool, own):
        return _short(pool, Shortage(SEAT, own.seats), now, ask.activation_id, own.holder)
    wanted = {**ask.features, SEAT: own.seats}
    held = returnable(pool.tallies, own.rights)
    change = {key: wanted.get(key, 0) - held.get(key, 0) for key in {**held, **wanted}}
    if (short := shortage(pool.tallies, {key: n for key, n in change.items() if n > 0})) is not None:
        return _short(pool, short, now, ask.activation_id, own.holder)
    drawn = used_up(pool.tallies, own.rights)
    return Resumed(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation + 1,
        holder=own.holder,
        taken=counted(pool.tallies, change),
        rights={key: wanted.get(key, 0) + drawn.get(key, 0) for key in {**drawn, **wanted}},
        expires_at=pool.terms.lease_end(now),
        nonces=_first_nonces(pool, ask),
        device=ask.device,
    )


def _has_to_go(pool: Pool, own: Holding) -> bool:
    """The pool was shrunk, and this place is one that must not be kept: else whoever is cut would walk in again."""
    return pool.excess > 0 if own.state is State.HELD else pool.seats.is_overfull


def _take_over(pool: Pool, own: Holding, ask: Activate, now: datetime) -> Decision:
    wanted = {**ask.features, SEAT: 1}
    if (short := shortage(pool.tallies, wanted)) is not None:
        return _short(pool, short, now, ask.activation_id, own.holder)
    return TakenOver(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation + 1,
        holder=own.holder,
        taken=counted(pool.tallies, wanted),
        rights=wanted,
        expires_at=pool.terms.lease_end(now),
        nonces=_first_nonces(pool, ask),
        device=ask.device,
    )


def _refresh(pool: Pool, ask: Refresh, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if (news := _restored_call(pool, own, ask, now)) is not None:
        return news
    if (early := _out_of_order(pool, own, ask, now)) is not None or own is None:
        return early or Rejected("seat.gone")
    if (refusal := _closed(pool, now)) is not None:
        return replace(refusal, activation_id=own.activation_id, generation=own.generation, holder=own.holder)
    nonces = _next_nonces(own.nonces, ask)
    if own.state is State.LAPSED:
        if ask.blocked_until is not None and now < ask.blocked_until:
            return _denied(pool, "excluded", "policy.refused", now, own.activation_id, own.holder)
        return _retake(pool, own, nonces, now)
    if pool.excess > 0:
        return _cut(pool, own, now)
    return Refreshed(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        rights=own.rights,
        expires_at=max(pool.terms.lease_end(now), pool.terms.bounded(own.expires_at)),
        nonces=nonces,
        device=own.device,
        noted=now - own.noted_at >= NOTED_EVERY,
    )


def _retake(pool: Pool, own: Holding, nonces: Nonces, now: datetime) -> Decision:
    drawn = used_up(pool.tallies, own.rights)
    back = {key: n for key, n in own.rights.items() if key not in drawn}
    if (short := shortage(pool.tallies, back)) is not None:
        return replace(_short(pool, short, now, own.activation_id, own.holder), problem="seat.gone")
    return Retaken(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        taken=counted(pool.tallies, back),
        rights=own.rights,
        expires_at=pool.terms.lease_end(now),
        nonces=nonces,
        device=own.device,
    )


def _cut(pool: Pool, own: Holding, now: datetime) -> TakenBack:
    """The pool was shrunk: this holder goes at its refresh; its place counts until the lease it still has ends."""
    return TakenBack(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        by="shrinking",
        free_at=own.free_at or own.expires_at + pool.terms.margin,
    )


def _feature_call(pool: Pool, ask: CheckOut | GiveBack | Use, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if (early := _out_of_order(pool, own, ask, now)) is not None or own is None:
        return early or Rejected("seat.gone")
    if own.state is not State.HELD:
        return Rejected("seat.gone")
    if not ask.keyed and ask.nonce is None:
        return Rejected("nonce.stale")
    if ask.key == SEAT or (tally := pool.tallies.get(ask.key)) is None:
        return Rejected("feature.unknown")
    if (refusal := _closed(pool, now)) is not None:
        return replace(refusal, activation_id=own.activation_id, generation=own.generation, holder=own.holder)
    nonces = _next_nonces(own.nonces, ask)
    who = {"at": now, "activation_id": own.activation_id, "generation": own.generation, "holder": own.holder, "nonces": nonces}
    match ask:
        case CheckOut():
            return _check_out(pool, own, ask, who, now)
        case GiveBack():
            return _give_back(tally, own, ask, who)
        case Use():
            if shortage(pool.tallies, {ask.key: 1} if tally.right.kind is Kind.BOOL else {}) is not None:
                return _short(pool, Shortage(ask.key, 1), now, own.activation_id, own.holder)
            return Used(key=ask.key, **who)  # type: ignore[arg-type]


def _check_out(pool: Pool, own: Holding, ask: CheckOut, who: dict[str, object], now: datetime) -> Decision:
    wanted = {ask.key: ask.amount}
    if (short := shortage(pool.tallies, wanted)) is not None:
        return _short(pool, short, now, own.activation_id, own.holder)
    return CheckedOut(key=ask.key, amount=ask.amount, taken=counted(pool.tallies, wanted), **who)  # type: ignore[arg-type]


def _give_back(tally: Tally, own: Holding, ask: GiveBack, who: dict[str, object]) -> Decision:
    if not tally.right.returnable:
        return Rejected("feature.notReturnable")
    if ask.amount > own.rights.get(ask.key, 0):
        return Rejected("feature.overReturn")
    return GivenBack(key=ask.key, amount=ask.amount, taken={ask.key: -ask.amount}, **who)  # type: ignore[arg-type]


def _return(pool: Pool, ask: Return, now: datetime) -> Decision:
    """Returning is always a success; only the current generation's seat, still held, changes anything."""
    own = pool.current(ask.activation_id)
    if own is None or ask.generation != own.generation or own.state in (State.RETURNED, State.SUPERSEDED):
        return Repeated(at=now, activation_id=ask.activation_id, generation=ask.generation)
    if own.device is not None and not ask.proven and own.occupies:
        return _returned_by_whom(pool, own, now)
    lingers = own.state is State.HELD and pool.terms.linger > timedelta(0)
    back = returnable(pool.tallies, own.rights) if own.occupies else {}
    taken = {key: n for key, n in back.items() if not (lingers and key == SEAT)}
    return Returned(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        taken=_negative(taken),
        free_at=now + pool.terms.linger if lingers else None,
    )


def _returned_by_whom(pool: Pool, own: Holding, now: datetime) -> Decision:
    """A token came back without its device: perhaps a proxy's doing, while the program goes on. The place counts to its end."""
    if own.state is State.TAKEN_BACK:
        return Repeated(at=now, activation_id=own.activation_id, generation=own.generation)
    return TakenBack(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        by="return without the device",
        free_at=own.free_at or own.expires_at + pool.terms.margin,
    )


def _take_back(pool: Pool, ask: TakeBack, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if own is None or not own.occupies:
        return Rejected("seat.gone")
    ends_at = None if ask.at_once else (own.free_at or own.expires_at + pool.terms.margin)
    return TakenBack(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        by=ask.by,
        taken=_negative(returnable(pool.tallies, own.rights)) if ask.at_once else {},
        free_at=ends_at,
    )


# --- order, repeats, proofs ----------------------------------------------------------------------------------------


def _out_of_order(pool: Pool, own: Holding | None, ask: Call, now: datetime) -> Decision | None:
    """Check that a call is the next one of the seat's present life; None if it is."""
    if own is None:
        return Rejected("seat.gone")
    if ask.earlier is not None and not ask.earlier.same_body:
        return Rejected("idempotency.mismatch")
    if ask.generation != own.generation:
        return Rejected("seat.takenOver" if ask.generation < own.generation else "seat.gone")
    if own.state in (State.RETURNED, State.TAKEN_BACK, State.SUPERSEDED):
        return Rejected("seat.gone")
    if ask.earlier is not None and _is_repeatable(pool, own.nonces, ask):
        return _repeat(own, now) if own.state is State.HELD else Rejected("seat.gone")
    return _nonce_problem(pool, own, ask, now)


def _is_repeatable(pool: Pool, nonces: Nonces, ask: Call) -> bool:
    """A keyed repeat shows what it showed at first: no nonce, or one of the last two. Others don't learn the current one."""
    if ask.nonce is None:
        return not nonces.bound and pool.terms.nonce is NoncePolicy.OPTIONAL
    return ask.nonce in (nonces.current, nonces.previous)


def _nonce_problem(pool: Pool, own: Holding, ask: Call, now: datetime) -> Decision | None:
    nonces = own.nonces
    if ask.nonce is None:
        if not nonces.bound and pool.terms.nonce is NoncePolicy.OPTIONAL:
            return None
    elif ask.nonce == nonces.current:
        return None
    elif ask.nonce == nonces.previous and ask.fingerprint is not None and ask.fingerprint == nonces.answered:
        return _repeat(own, now) if own.state is State.HELD else Rejected("seat.gone")
    return _denied(pool, "nonce", "nonce.stale", now, own.activation_id, own.holder)


def _repeat(own: Holding, now: datetime) -> Repeated:
    return Repeated(at=now, activation_id=own.activation_id, generation=own.generation, holder=own.holder)


def _next_nonces(nonces: Nonces, ask: Call) -> Nonces:
    if ask.nonce is None:
        return nonces
    return Nonces(current=ask.next_nonce, previous=ask.nonce, answered=ask.fingerprint, bound=True)


def _first_nonces(pool: Pool, ask: Activate) -> Nonces:
    return Nonces(current=ask.next_nonce, bound=pool.terms.nonce is NoncePolicy.REQUIRED)


def nonce_in_order(pool: Pool, own: Holding, nonce: str | None) -> bool:
    """Tell whether a reading call shows the current nonce, which it does not consume."""
    if nonce is None:
        return not own.nonces.bound and pool.terms.nonce is NoncePolicy.OPTIONAL
    return nonce == own.nonces.current


def _restored_call(pool: Pool, own: Holding | None, ask: Refresh, now: datetime) -> Fact | None:
    if ask.shown is None:
        return None
    if ask.nonce is not None:
        ahead = Nonces(current=ask.nonce, bound=True)  # it is newer than the database, as the lease is
    else:
        ahead = own.nonces if own else Nonces(current=ask.next_nonce)
    return _restored(pool, own, ask.activation_id, own.holder if own else ask.holder, ask.shown, ahead, now)


def _restored(
    pool: Pool, own: Holding | None, activation_id: str, holder: int, shown: ShownLease, nonces: Nonces, now: datetime
) -> Fact | None:
    """Rule 8: a signed lease that this database does not remember. The caller decides its request again afterwards."""
    if shown.sequence <= pool.sequence and not _is_lost(pool, own, activation_id, shown, now):
        if own is not None and shown.generation == own.generation and shown.sequence > own.sequence:
            return CloneSuspected(
                at=now, activation_id=activation_id, generation=shown.generation, holder=holder, sequence=shown.sequence
            )
        return None
    rights = {SEAT: 1, **shown.rights}
    kept = own if own is not None and own.occupies else None
    runs = shown.expires_at + pool.terms.margin > now and shown.activation_id in (None, activation_id)
    counts = runs and (kept is None or shown.generation > kept.generation)  # a place of its own, not the one that is kept
    return Restored(
        at=now,
        activation_id=activation_id,
        generation=kept.generation if kept and not counts else max(shown.generation, own.generation if own else 1),
        holder=holder or pool.holders + 1,
        taken=returnable(pool.tallies, rights) if counts else {},
        sequence=shown.sequence,
        rights=kept.rights if kept and not counts else rights,
        expires_at=shown.expires_at,
        nonces=nonces,
    )


def _is_lost(pool: Pool, own: Holding | None, activation_id: str, shown: ShownLease, now: datetime) -> bool:
    """Tell whether a lease was signed by the lost state although another program was first to show a newer number."""
    if shown.activation_id not in (None, activation_id):
        return False
    if (own is None or shown.sequence > own.sequence) and pool.lost_after < shown.sequence <= pool.lost_until:
        return own is None or not own.occupies or shown.generation >= own.generation
    if own is None or shown.generation <= own.generation:
        return False
    return not own.occupies or shown.expires_at + pool.terms.margin > now


# --- refusals ------------------------------------------------------------------------------------------------------

_CLOSED = {
    Standing.EXPIRED: ("entitlement-expired", "entitlement.expired"),
    Standing.CREATED: ("entitlement-disabled", "entitlement.notActive"),
    Standing.DISABLED: ("entitlement-disabled", "entitlement.disabled"),
    Standing.CUSTOMER_DISABLED: ("entitlement-disabled", "entitlement.disabled"),
    Standing.EXPORTED: ("exported", "entitlement.exported"),
}


def _closed(pool: Pool, now: datetime) -> Denied | None:
    """Refuse on behalf of an entitlement that is not to be used now."""
    if (refusal := _CLOSED.get(pool.terms.standing(now))) is None:
        return None
    return _denied(pool, *refusal, now, None, 0)


def _short(pool: Pool, short: Shortage, now: datetime, activation_id: str, holder: int) -> Denied | Rejected:
    if short.key not in pool.tallies:
        return Rejected("feature.unknown")
    rule, problem = ("pool-full", "seats.exhausted") if short.key == SEAT else ("feature-exhausted", "feature.exhausted")
    return _denied(pool, rule, problem, now, activation_id, holder, short)


def _denied(
    pool: Pool, rule: str, problem: str, now: datetime, activation_id: str | None, holder: int, short: Shortage | None = None
) -> Denied:
    tally = pool.tallies[short.key if short else SEAT]
    return Denied(
        at=now,
        activation_id=activation_id,
        holder=holder,
        rule=rule,
        problem=problem,
        key=short.key if short else SEAT,
        wanted=short.wanted if short else 1,
        limit=tally.right.bought,
        used=tally.used,
        overdraft=tally.overdrawn,
    )


# --- apply ---------------------------------------------------------------------------------------------------------


def apply(pool: Pool, fact: Fact) -> Pool:
    """Give the pool after a fact. Nothing else changes a pool."""
    match fact:
        case Claimed() | Resumed() | TakenOver() | Retaken() | Refreshed():
            return _apply_granted(pool, fact)
        case Repeated():
            return _apply_repeated(pool, fact)
        case Expired():
            return _depart(_with_holding(pool, fact, _of(pool, fact).freed(State.LAPSED)), 1)
        case Returned():
            return _apply_returned(pool, fact)
        case Freed():
            return _apply_freed(pool, fact)
        case TakenBack():
            return _apply_taken_back(pool, fact)
        case CheckedOut() | GivenBack():
            sign = 1 if isinstance(fact, CheckedOut) else -1
            own = _of(pool, fact)
            rights = {**own.rights, fact.key: own.rights.get(fact.key, 0) + sign * fact.amount}
            return _signed(pool, fact, replace(own, rights=rights, nonces=fact.nonces))
        case Used():
            return _with_holding(pool, fact, replace(_of(pool, fact), nonces=fact.nonces))
        case Restored():
            return _apply_restored(pool, fact)
        case Denied() | DeniedAgain() | CloneSuspected() | Note():
            return replace(pool, holders=max(pool.holders, fact.holder))
        case _:
            raise TypeError(f"a pool can't apply {fact!r}")


def _apply_granted(pool: Pool, fact: Granted) -> Pool:
    assert fact.activation_id is not None
    own = pool.current(fact.activation_id)
    concurrent = pool.terms.mode is Mode.CONCURRENT
    new = Holding(
        activation_id=fact.activation_id,
        generation=fact.generation,
        holder=fact.holder,
        state=State.HELD,
        occupies=True,
        rights=fact.rights,
        activated_at=own.activated_at if own and isinstance(fact, Refreshed | Retaken) else fact.at,
        refreshed_at=fact.at,
        expires_at=pool.terms.bounded(fact.expires_at),
        free_at=_place_end(own, fact, pool.terms.margin) if concurrent else None,
        sequence=pool.sequence + 1,
        nonces=fact.nonces,
        noted_at=fact.at if fact.recorded or own is None else own.noted_at,
        device=fact.device,
    )
    if own is not None and own.occupies and isinstance(fact, TakenOver):
        pool = _keep_superseded(pool, own)
    return _with_holding(pool, fact, new, sequence=new.sequence)


def _place_end(own: Holding | None, fact: Granted, margin: timedelta) -> datetime:
    """Tell when a place comes back: a refresh never brings that forward, since its answer may not arrive."""
    ends_at = fact.expires_at + margin
    return max(ends_at, own.free_at) if own and own.free_at and isinstance(fact, Refreshed) else ends_at


def _keep_superseded(pool: Pool, own: Holding) -> Pool:
    """Keep the older copy's place until the lease it may still believe in has ended."""
    ends_at = own.free_at or own.expires_at + pool.terms.margin
    old = replace(own, past=own.generation, state=State.SUPERSEDED, free_at=ends_at)
    return replace(pool, holdings={**pool.holdings, old.key: old})


def _apply_repeated(pool: Pool, fact: Repeated) -> Pool:
    own = pool.current(fact.activation_id) if fact.activation_id else None
    if own is None or own.state is not State.HELD or own.generation != fact.generation:
        return pool  # a seat returned twice: there is nothing to sign
    return _signed(pool, fact, own)


def _apply_returned(pool: Pool, fact: Returned) -> Pool:
    own = _of(pool, fact)
    was_held = own.state is State.HELD
    if fact.free_at is None:
        new = own.freed(State.RETURNED)
    else:
        new = replace(own, state=State.RETURNED, free_at=fact.free_at, rights=_after(own.rights, fact.taken))
    return _depart(_with_holding(pool, fact, new), 1 if was_held else 0)


def _apply_freed(pool: Pool, fact: Freed) -> Pool:
    if fact.past == CURRENT:
        own = _of(pool, fact)
        return _with_holding(pool, fact, own.freed(own.state))
    holdings = {key: h for key, h in pool.holdings.items() if key != (fact.activation_id, fact.past)}
    return _changed(pool, fact, holdings)


def _apply_taken_back(pool: Pool, fact: TakenBack) -> Pool:
    own = _of(pool, fact)
    if fact.free_at is None:
        new = own.freed(State.TAKEN_BACK)
    else:
        new = replace(own, state=State.TAKEN_BACK, free_at=fact.free_at)
    return _depart(_with_holding(pool, fact, new), 1 if own.state is State.HELD else 0)


def _apply_restored(pool: Pool, fact: Restored) -> Pool:
    assert fact.activation_id is not None
    own = pool.current(fact.activation_id)
    if own is not None and own.occupies and fact.taken:  # a later life than the one in sight: that is an older copy now
        pool, own = _keep_superseded(pool, own), None
    ends_at = max(fact.expires_at, own.expires_at) if own and own.occupies else fact.expires_at
    runs = bool(fact.taken) or (own is not None and own.occupies)
    state = own.state if own and (own.occupies or not runs) else State.HELD if runs else State.LAPSED
    ends = runs and (pool.terms.mode is Mode.CONCURRENT or state is not State.HELD)
    kept_until = max(ends_at + pool.terms.margin, own.free_at) if own and own.free_at else ends_at + pool.terms.margin
    new = Holding(
        activation_id=fact.activation_id,
        generation=fact.generation,
        holder=fact.holder,
        state=state,
        occupies=runs,
        rights=fact.rights,
        activated_at=own.activated_at if own else fact.at,
        refreshed_at=own.refreshed_at if own else fact.at,
        expires_at=ends_at,
        free_at=kept_until if ends else None,
        sequence=fact.sequence,
        nonces=fact.nonces,
        noted_at=fact.at,
        device=own.device if own else None,
    )
    after = _with_holding(pool, fact, new, sequence=max(pool.sequence, fact.sequence), forced=True)
    if fact.sequence <= pool.sequence:
        return after
    lost_after = pool.lost_after if pool.lost_until else pool.sequence
    return replace(after, lost_after=lost_after, lost_until=fact.sequence)


def _signed(pool: Pool, fact: Fact, own: Holding) -> Pool:
    """A lease is signed for this: the sequence rises, in the pool and in the holding; it never ends after the entitlement."""
    number = pool.sequence + 1
    signed = replace(own, sequence=number, expires_at=pool.terms.bounded(own.expires_at))
    return _with_holding(pool, fact, signed, sequence=number)


def _with_holding(pool: Pool, fact: Fact, new: Holding, *, sequence: int | None = None, forced: bool = False) -> Pool:
    return _changed(pool, fact, {**pool.holdings, new.key: new}, sequence=sequence, forced=forced)


def _changed(
    pool: Pool,
    fact: Fact,
    holdings: Mapping[tuple[str, int], Holding],
    *,
    sequence: int | None = None,
    forced: bool = False,
) -> Pool:
    """Give the pool with these holdings in sight, its counters moved by what the fact says it took."""
    tallies, excess = pool.tallies, pool.excess
    if fact.taken:
        moved = {key: tallies[key].changed(n, forced=forced) for key, n in fact.taken.items() if key in tallies}
        tallies = {**tallies, **moved}
        excess = min(excess, tallies[SEAT].too_many)
    return Pool(
        terms=pool.terms,
        tallies=tallies,
        sequence=pool.sequence if sequence is None else sequence,
        holders=max(pool.holders, fact.holder),
        excess=excess,
        lost_after=pool.lost_after,
        lost_until=pool.lost_until,
        holdings=holdings,
    )


def _depart(pool: Pool, holders: int) -> Pool:
    """A holder has gone: one less has to go because of shrinking."""
    return replace(pool, excess=max(0, pool.excess - holders)) if holders and pool.excess else pool


def _of(pool: Pool, fact: Fact) -> Holding:
    own = pool.current(fact.activation_id or "")
    if own is None:
        raise LookupError(f"{fact.kind} speaks of a holding that is not in sight: {fact.activation_id}")
    return own


def _after(rights: Mapping[str, int], taken: Mapping[str, int]) -> dict[str, int]:
    return {key: left for key, n in rights.items() if (left := n + taken.get(key, 0)) > 0}


def _negative(amounts: Mapping[str, int]) -> dict[str, int]:
    return {key: -n for key, n in amounts.items()}
