"""Why something is refused: an entitlement that is not to be used now, or a right that there is not enough of."""

from datetime import datetime

from seatkeeper_server.domain.admission import Shortage
from seatkeeper_server.domain.facts import Denied
from seatkeeper_server.domain.state import Pool, Rejected
from seatkeeper_server.domain.terms import SEAT, Standing

_CLOSED = {
    Standing.EXPIRED: ("entitlement-expired", "entitlement.expired"),
    Standing.CREATED: ("entitlement-disabled", "entitlement.notActive"),
    Standing.DISABLED: ("entitlement-disabled", "entitlement.disabled"),
    Standing.CUSTOMER_DISABLED: ("entitlement-disabled", "entitlement.disabled"),
    Standing.EXPORTED: ("exported", "entitlement.exported"),
}


def closed(pool: Pool, now: datetime) -> Denied | None:
    """Refuse on behalf of an entitlement that is not to be used now."""
    if (refusal := _CLOSED.get(pool.terms.standing(now))) is None:
        return None
    return denied(pool, *refusal, now, None, 0)


def short_of(pool: Pool, short: Shortage, now: datetime, activation_id: str, holder: int) -> Denied | Rejected:
    if short.key not in pool.tallies:
        return Rejected("feature.unknown")
    rule, problem = ("pool-full", "seats.exhausted") if short.key == SEAT else ("feature-exhausted", "feature.exhausted")
    return denied(pool, rule, problem, now, activation_id, holder, short)


def denied(
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
