"""The only way a pool changes: `apply(pool, fact)`. What a fact says has been decided; nothing is judged here."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

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
    ShareLent,
    TakenBack,
    TakenOver,
    Used,
)
from seatkeeper_server.domain.holdings import CURRENT, Holding, Nonces, State
from seatkeeper_server.domain.state import Pool
from seatkeeper_server.domain.terms import SEAT, Mode


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
        case ShareLent():
            return _apply_lent(pool, fact)
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
    """Tell when a place comes back: a refresh never brings that forward, since its answer may not arrive.

    Nor does anything of a borrowed one: its first lease may still be somewhere.
    """
    ends_at = fact.expires_at + margin
    keeps = own is not None and (isinstance(fact, Refreshed) or (own.is_borrowed and isinstance(fact, Resumed)))
    return max(ends_at, own.free_at) if keeps and own and own.free_at else ends_at


def _keep_superseded(pool: Pool, own: Holding) -> Pool:
    """Keep the older copy's place until the lease it may still believe in has ended."""
    ends_at = own.believed_until(pool.terms.margin)
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
    if own is not None and _is_older_copy(pool, own, fact):
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
        device=own.device if own else fact.device,
    )
    after = _with_holding(pool, fact, new, sequence=max(pool.sequence, fact.sequence), forced=True)
    if fact.sequence <= pool.sequence:
        return after
    lost_after = pool.lost_after if pool.lost_until else pool.sequence
    return replace(after, lost_after=lost_after, lost_until=fact.sequence)


def _apply_lent(pool: Pool, fact: ShareLent) -> Pool:
    """Replace the layers of a share; the one that comes back last is its present holding."""
    assert fact.activation_id is not None
    others = {key: holding for key, holding in pool.holdings.items() if key[0] != fact.activation_id}
    own = pool.current(fact.activation_id)
    layered = [_layer(fact, past, own) for past in range(len(fact.layers))] or [_given_back(pool, fact, own)]
    return _changed(pool, fact, {**others, **{holding.key: holding for holding in layered}})


def _layer(fact: ShareLent, past: int, own: Holding | None) -> Holding:
    assert fact.activation_id is not None
    layer = fact.layers[past]
    return Holding(
        activation_id=fact.activation_id,
        past=past,
        generation=fact.generation,
        holder=fact.holder,
        state=State.HELD if past == CURRENT else State.SUPERSEDED,
        occupies=True,
        rights=layer.rights,
        activated_at=own.activated_at if own else fact.at,
        refreshed_at=fact.at,
        expires_at=layer.until,
        free_at=layer.free_at,
        sequence=0,
        nonces=Nonces(current=""),
        noted_at=fact.at,
    )


def _given_back(pool: Pool, fact: ShareLent, own: Holding | None) -> Holding:
    if own is None:
        raise LookupError(f"a share comes back that is not in sight: {fact.activation_id}")
    return replace(own, state=State.RETURNED, occupies=False, free_at=None, rights=fact.used_up, refreshed_at=fact.at)


def _is_older_copy(pool: Pool, own: Holding, fact: Restored) -> bool:
    """Tell whether a place is kept for who may believe in an earlier life of a seat than the one that was shown."""
    believed = bool(fact.taken) or own.believed_until(pool.terms.margin) > fact.at
    return own.occupies and fact.generation > own.generation and believed


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
    return replace(
        pool,
        tallies=tallies,
        sequence=pool.sequence if sequence is None else sequence,
        holders=max(pool.holders, fact.holder),
        excess=excess,
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
