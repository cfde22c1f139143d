"""The order of calls: which one is next in a seat's present life, and which one is a repeat (rules 1, 2, 5 and 6).

A call shows the generation of its token, and a nonce or an idempotency key. The next call in order shows the current nonce;
a repeat shows what it showed before, and is answered anew from the present state, extending nothing.
"""

from datetime import datetime

from seatkeeper_server.domain.facts import Repeated
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.reasons import denied
from seatkeeper_server.domain.requests import Activate, Call
from seatkeeper_server.domain.state import Decision, Pool, Rejected
from seatkeeper_server.domain.terms import NoncePolicy


def out_of_order(pool: Pool, own: Holding | None, ask: Call, now: datetime) -> Decision | None:
    """Check that a call is the next one of the seat's present life; None if it is."""
    if own is None:
        return Rejected("seat.gone")
    if ask.earlier is not None and not ask.earlier.same_body:
        return Rejected("idempotency.mismatch")
    if ask.generation != own.generation:
        return Rejected("seat.takenOver" if ask.generation < own.generation else "seat.gone")
    if own.state is not State.HELD and own.state in (State.RETURNED, State.TAKEN_BACK, State.SUPERSEDED):
        return Rejected("seat.gone")
    if ask.earlier is not None and _is_repeatable(pool, own.nonces, ask):
        return repeat(own, now) if own.state is State.HELD else Rejected("seat.gone")
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
        return repeat(own, now) if own.state is State.HELD else Rejected("seat.gone")
    return denied(pool, "nonce", "nonce.stale", now, own.activation_id, own.holder)


def repeat(own: Holding, now: datetime) -> Repeated:
    return Repeated(at=now, activation_id=own.activation_id, generation=own.generation, holder=own.holder)


def next_nonces(nonces: Nonces, ask: Call) -> Nonces:
    if ask.nonce is None:
        return nonces
    return Nonces(current=ask.next_nonce, previous=ask.nonce, answered=ask.fingerprint, bound=True)


def first_nonces(pool: Pool, ask: Activate) -> Nonces:
    return Nonces(current=ask.next_nonce, bound=pool.terms.nonce is NoncePolicy.REQUIRED)


def nonce_in_order(pool: Pool, own: Holding, nonce: str | None) -> bool:
    """Tell whether a reading call shows the current nonce, which it does not consume."""
    if nonce is None:
        return not own.nonces.bound and pool.terms.nonce is NoncePolicy.OPTIONAL
    return nonce == own.nonces.current
