"""Features of a held seat: drawn, given back, used. An element pool's units come back; what was used up doesn't."""

from datetime import datetime

from msgspec.structs import replace

from seatkeeper_server.domain.admission import Shortage, Tally, counted, shortage
from seatkeeper_server.domain.facts import CheckedOut, GivenBack, Used
from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.order import next_nonces, out_of_order
from seatkeeper_server.domain.reasons import closed, short_of
from seatkeeper_server.domain.requests import CheckOut, GiveBack, Use
from seatkeeper_server.domain.state import Decision, Pool, Rejected
from seatkeeper_server.domain.terms import BORROWED, SEAT, Kind


def feature_call(pool: Pool, ask: CheckOut | GiveBack | Use, now: datetime) -> Decision:
    own = pool.current(ask.activation_id)
    if (early := out_of_order(pool, own, ask, now)) is not None or own is None:
        return early or Rejected("seat.gone")
    if own.state is not State.HELD:
        return Rejected("seat.gone")
    if not ask.keyed and ask.nonce is None:
        return Rejected("nonce.stale")
    if ask.key in (SEAT, BORROWED) or (tally := pool.tallies.get(ask.key)) is None:
        return Rejected("feature.unknown")
    if (refusal := closed(pool, now)) is not None:
        return replace(refusal, activation_id=own.activation_id, generation=own.generation, holder=own.holder)
    nonces = next_nonces(own.nonces, ask)
    who = {"at": now, "activation_id": own.activation_id, "generation": own.generation, "holder": own.holder, "nonces": nonces}
    match ask:
        case CheckOut():
            return _check_out(pool, own, ask, who, now)
        case GiveBack():
            return _give_back(tally, own, ask, who)
        case Use():
            if shortage(pool.tallies, {ask.key: 1} if tally.right.kind is Kind.BOOL else {}) is not None:
                return short_of(pool, Shortage(ask.key, 1), now, own.activation_id, own.holder)
            return Used(key=ask.key, **who)  # type: ignore[arg-type]


def _check_out(pool: Pool, own: Holding, ask: CheckOut, who: dict[str, object], now: datetime) -> Decision:
    wanted = {ask.key: ask.amount}
    if (short := shortage(pool.tallies, wanted)) is not None:
        return short_of(pool, short, now, own.activation_id, own.holder)
    return CheckedOut(key=ask.key, amount=ask.amount, taken=counted(pool.tallies, wanted), **who)  # type: ignore[arg-type]


def _give_back(tally: Tally, own: Holding, ask: GiveBack, who: dict[str, object]) -> Decision:
    if not tally.right.returnable or own.is_borrowed:  # the lease at home grants it to its end
        return Rejected("feature.notReturnable")
    if ask.amount > own.rights.get(ask.key, 0):
        return Rejected("feature.overReturn")
    return GivenBack(key=ask.key, amount=ask.amount, taken={ask.key: -ask.amount}, **who)  # type: ignore[arg-type]
