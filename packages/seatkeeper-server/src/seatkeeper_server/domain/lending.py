"""Lending a part of a pool to a local license server: a share is an ordinary holding (decision 10).

One entitlement's counters count seats and shares alike, so what is given away here and there never exceeds what was bought.
`relend` is asked with the grants that may be in force afterwards; whether that is a new share, a larger or smaller one, one
more renewed, or the end of it, is all the same to it. A share is never granted from an overdraft: that stays with the vendor.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from seatkeeper_server.domain.admission import Shortage, counted
from seatkeeper_server.domain.facts import Denied, ShareLent
from seatkeeper_server.domain.reasons import denied
from seatkeeper_server.domain.shares import Grant, Layer, in_force, layers, together
from seatkeeper_server.domain.state import Pool, Rejected
from seatkeeper_server.domain.terms import Kind

LENT = "lent"  # why a share changes: a document was made; else its server said something


class Lend(Struct, frozen=True, kw_only=True):
    """Have these grants in force of a share, and no others; `cause` says in a word why.

    Usage counts that were lent stay drawn when a grant ends, unless its server says that it used only `used_up` of them.
    """

    share_id: str
    holder: int
    grants: tuple[Grant, ...]
    skew: timedelta
    cause: str  # lent, confirmed, returned
    used_up: Mapping[str, int] = field(default_factory=dict)


def relend(pool: Pool, ask: Lend, now: datetime) -> ShareLent | Denied | Rejected:
    """Say what happens to a settled pool, of which all layers of the share are in sight, when this is asked of it."""
    after = _keeping(pool, ask.used_up, layers(in_force(ask.grants, ask.skew, now), ask.skew))
    had = _held(pool, ask.share_id)
    wanted = {**ask.used_up, **together(after)}
    if unknown := next((key for key in wanted if key not in pool.tallies), None):
        return Rejected(f"feature.unknown: {unknown}")
    change = {key: wanted.get(key, 0) - had.get(key, 0) for key in {**had, **wanted}}
    newest = max(ask.grants, key=lambda grant: grant.number).rights if ask.grants and ask.cause == LENT else {}
    if (short := _short(pool, change, newest, had, may_overdraw=ask.cause != LENT)) is not None:
        rule, problem = ("pool-full", "seats.exhausted") if not short.key else ("feature-exhausted", "feature.exhausted")
        return denied(pool, rule, problem, now, ask.share_id, ask.holder, short)
    return ShareLent(
        at=now,
        activation_id=ask.share_id,
        generation=max((grant.number for grant in ask.grants), default=1),
        holder=ask.holder,
        taken=counted(pool.tallies, change),
        cause=ask.cause,
        layers=tuple(after),
        used_up=ask.used_up,
    )


def _keeping(pool: Pool, used_up: Mapping[str, int], found: Sequence[Layer]) -> Sequence[Layer]:
    """Have what is used up lie with the layer that comes back last, which stays on record: so much as is lent or was used."""
    total = together(found)
    usage = {key for key, tally in pool.tallies.items() if tally.right.kind is Kind.USAGE_COUNT}
    drawn = {key: max(total.get(key, 0), used_up.get(key, 0)) for key in usage & {*total, *used_up}}
    if not found or not drawn:
        return found
    last, *others = [replace(one, rights={k: n for k, n in one.rights.items() if k not in drawn}) for one in found]
    return [replace(last, rights={**last.rights, **drawn}), *(one for one in others if one.rights)]


def _held(pool: Pool, share_id: str) -> dict[str, int]:
    """Add up what the share takes now. What was used up is kept on record by its present holding although that is over."""
    total: dict[str, int] = {}
    for holding in pool.holdings.values():
        if holding.activation_id != share_id:
            continue
        for key, amount in holding.rights.items():
            if holding.occupies or (key in pool.tallies and not pool.tallies[key].right.returnable):
                total[key] = total.get(key, 0) + amount
    return total


def _short(
    pool: Pool, change: Mapping[str, int], newest: Mapping[str, int], had: Mapping[str, int], *, may_overdraw: bool
) -> Shortage | None:
    """Find what there is not enough of: for what counts from now on, and for the newest document when it alone is in force."""
    for key, more in change.items():
        right, used = pool.tallies[key].right, pool.tallies[key].used
        most = right.cap if may_overdraw else right.bought
        if not right.counted or most is None:
            continue
        if more > 0 and used + more > most:
            return Shortage(key, more)
        if (beyond := newest.get(key, 0) + used - had.get(key, 0) - most) > 0:
            return Shortage(key, beyond)
    return None
