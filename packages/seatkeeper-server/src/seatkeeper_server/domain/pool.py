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

In here are seats: taking, keeping, giving back. Beside it: what a decision sees (`state`), the order of calls (`order`),
features of a held seat (`features`), seats that a device takes home (`borrowing`), a restored database (`restoring`), why
something is refused (`reasons`), and the change itself (`applying`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from seatkeeper_server.domain import borrowing
from seatkeeper_server.domain.admission import Shortage, counted, returnable, shortage, used_up
from seatkeeper_server.domain.applying import apply
from seatkeeper_server.domain.facts import (
    Claimed,
    Expired,
    Fact,
    Freed,
    Refreshed,
    Repeated,
    Resumed,
    Retaken,
    Returned,
    TakenBack,
    TakenOver,
)
from seatkeeper_server.domain.features import feature_call
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.order import first_nonces, next_nonces, nonce_in_order, out_of_order, repeat
from seatkeeper_server.domain.reasons import closed, denied, short_of
from seatkeeper_server.domain.requests import (
    Activate,
    CheckOut,
    GiveBack,
    Refresh,
    Request,
    Return,
    TakeBack,
    Use,
)
from seatkeeper_server.domain.restoring import restored, restored_by_call
from seatkeeper_server.domain.state import Decision, Pool, Rejected
from seatkeeper_server.domain.terms import BORROWED, SEAT

__all__ = ["Decision", "Pool", "Rejected", "apply", "decide", "nonce_in_order", "settle"]

NOTED_EVERY = timedelta(hours=1)  # a refresh is written down at most this often for a holder
LONG_LEASE = timedelta(minutes=15)  # beyond this a token alone doesn't prove whose place it is (rule 3)


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
            return feature_call(pool, request, now)
        case Return():
            return _return(pool, request, now)
        case TakeBack():
            return _take_back(pool, request, now)
        case _:
            assert_never(request)


# --- taking a seat -------------------------------------------------------------------------------------------------


def _activate(pool: Pool, ask: Activate, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if ask.earlier is not None:
        if not ask.earlier.same_body:
            return Rejected("idempotency.mismatch")
        if own is not None and own.state is State.HELD:
            return repeat(own, now) if own.generation == ask.earlier.generation else Rejected("seat.takenOver")
    if ask.shown is not None:
        kept = own.nonces if own else Nonces(current=ask.next_nonce)
        if (news := restored(pool, own, ask.activation_id, ask.holder, ask.shown, kept, now)) is not None:
            return news
    if (refusal := closed(pool, now)) is not None:
        return replace(refusal, activation_id=ask.activation_id, holder=ask.holder)
    if ask.blocked_until is not None and now < ask.blocked_until:
        return denied(pool, "excluded", "policy.refused", now, ask.activation_id, ask.holder)
    if BORROWED in ask.features:
        return Rejected("feature.unknown")
    if (over := borrowing.refused(pool, ask, now)) is not None:
        return over
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
        return not own.is_borrowed or (ask.device is not None and ask.device == own.device)
    return own.free_at is None and own.state is State.HELD and own.expires_at + pool.terms.margin <= now


def _claim(pool: Pool, own: Holding | None, ask: Activate, now: datetime) -> Decision:
    wanted = borrowing.wanted(ask)
    if (short := shortage(pool.tallies, wanted)) is not None:
        return _short(pool, short, now, ask.activation_id, ask.holder)
    return Claimed(
        at=now,
        activation_id=ask.activation_id,
        generation=own.generation + 1 if own else 1,
        holder=ask.holder,
        taken=counted(pool.tallies, wanted),
        rights=wanted,
        expires_at=borrowing.lease_end(pool, ask, None, now),
        nonces=first_nonces(pool, ask),
        device=ask.device,
    )


def _resume(pool: Pool, own: Holding, ask: Activate, now: datetime) -> Decision:
    if _has_to_go(pool, own):
        return short_of(pool, Shortage(SEAT, own.seats), now, ask.activation_id, own.holder)
    held = returnable(pool.tallies, own.rights)
    wanted = borrowing.wanted(ask, held)
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
        expires_at=borrowing.lease_end(pool, ask, own, now),
        nonces=first_nonces(pool, ask),
        device=ask.device,
    )


def _has_to_go(pool: Pool, own: Holding) -> bool:
    """The pool was shrunk, and this place is one that must not be kept: else whoever is cut would walk in again."""
    return pool.excess > 0 if own.state is State.HELD else pool.seats.is_overfull


def _take_over(pool: Pool, own: Holding, ask: Activate, now: datetime) -> Decision:
    wanted = borrowing.wanted(ask)
    if (short := shortage(pool.tallies, wanted)) is not None:
        return _short(pool, short, now, ask.activation_id, own.holder)
    return TakenOver(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation + 1,
        holder=own.holder,
        taken=counted(pool.tallies, wanted),
        rights=wanted,
        expires_at=borrowing.lease_end(pool, ask, None, now),
        nonces=first_nonces(pool, ask),
        device=ask.device,
    )


def _short(pool: Pool, short: Shortage, now: datetime, activation_id: str, holder: int) -> Decision:
    if short.key == BORROWED:
        return borrowing.over_limit(pool, now, activation_id, holder)
    return short_of(pool, short, now, activation_id, holder)


# --- keeping it ----------------------------------------------------------------------------------------------------


def _refresh(pool: Pool, ask: Refresh, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if (news := restored_by_call(pool, own, ask, now)) is not None:
        return news
    if (early := out_of_order(pool, own, ask, now)) is not None or own is None:
        return early or Rejected("seat.gone")
    if (refusal := closed(pool, now)) is not None:
        return replace(refusal, activation_id=own.activation_id, generation=own.generation, holder=own.holder)
    nonces = next_nonces(own.nonces, ask)
    if own.state is State.LAPSED:
        if ask.blocked_until is not None and now < ask.blocked_until:
            return denied(pool, "excluded", "policy.refused", now, own.activation_id, own.holder)
        return _retake(pool, own, nonces, now)
    if pool.excess > 0:
        return _cut(pool, own, now)
    is_home, ends_at = False, pool.terms.lease_end(now)
    if own.is_borrowed and not (is_home := borrowing.is_over(pool, own, now)):
        ends_at = min(ends_at, borrowing.believed_until(pool, own))
    return Refreshed(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        taken=_negative(returnable(pool.tallies, {BORROWED: 1})) if is_home else {},
        rights=borrowing.at_home(own.rights) if is_home else own.rights,
        expires_at=max(ends_at, pool.terms.bounded(own.expires_at)),
        nonces=nonces,
        device=own.device,
        noted=is_home or now - own.noted_at >= NOTED_EVERY,
    )


def _retake(pool: Pool, own: Holding, nonces: Nonces, now: datetime) -> Decision:
    drawn = used_up(pool.tallies, own.rights)
    rights = borrowing.at_home(own.rights)
    back = {key: n for key, n in rights.items() if key not in drawn}
    if (short := shortage(pool.tallies, back)) is not None:
        return replace(short_of(pool, short, now, own.activation_id, own.holder), problem="seat.gone")
    return Retaken(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        taken=counted(pool.tallies, back),
        rights=rights,
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


# --- giving it back, or having to ----------------------------------------------------------------------------------


def _return(pool: Pool, ask: Return, now: datetime) -> Decision:
    """Returning is always a success; only the current generation's seat, still held, changes anything."""
    own = pool.current(ask.activation_id)
    if own is None or ask.generation != own.generation or own.state in (State.RETURNED, State.SUPERSEDED):
        return Repeated(at=now, activation_id=ask.activation_id, generation=ask.generation)
    if (own.device is not None or own.is_borrowed) and not ask.proven and own.occupies:
        return _returned_by_whom(pool, own, now)
    if own.is_borrowed and own.occupies:
        return _returned_early(pool, own, now)
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


def _returned_early(pool: Pool, own: Holding, now: datetime) -> Returned:
    """A borrowed seat came home before its time. A copy of the device may still believe in it: the place counts to its end."""
    return Returned(
        at=now,
        activation_id=own.activation_id,
        generation=own.generation,
        holder=own.holder,
        free_at=own.free_at or own.expires_at + pool.terms.margin,
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


def _negative(amounts: Mapping[str, int]) -> dict[str, int]:
    return {key: -n for key, n in amounts.items()}
