"""The service's outcomes as the wire's documents. Nothing is decided here.

A lease's end is told as it is signed: never beyond the end of the entitlement and its grace. Times in sentences are UTC, and
no sentence says "free at": a lease that ends is an end only if it isn't refreshed.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from seatkeeper.protocol.documents import (
    ActivationState,
    Denial,
    FeatureAnswer,
    FeatureState,
    FeatureType,
    Remedy,
    SeatHolder,
    StatusAnswer,
)
from seatkeeper.protocol.problems import PROBLEMS
from seatkeeper_server.domain.admission import Outlook, Tally
from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.intervals import written
from seatkeeper_server.domain.terms import SEAT, Kind, Terms, is_feature
from seatkeeper_server.service.calls import LentOut, Occupancy, PoolStatus, Refusal, Served

# --- a seat, as its holder sees it ---------------------------------------------------------------------------------


def activation_state(served: Served) -> ActivationState:
    """Say how a seat stands."""
    holding, terms, entitlement, who = served.holding, served.pool.terms, served.entitlement, served.who
    ends_at = terms.bounded(holding.expires_at)
    runs = holding.state is State.HELD and ends_at > served.at
    return ActivationState(
        id=holding.activation_id,
        activation_method="activationCode",
        status="active" if runs else "leaseExpired",
        mode="online",
        product_id=entitlement.product_id,
        edition_id=entitlement.edition_id,
        entitlement_id=entitlement.entitlement_id,
        seat_id=who.seat_id,
        seat_name=who.seat_name,
        username=who.username,
        activated=holding.activated_at,
        last_lease=holding.refreshed_at,
        lease_expiry=ends_at,
        entitlement_expiry_date=terms.ends_at,
        entitlement_grace_period_expiry=_end_of_grace(terms),
        entitlement_status=terms.standing(served.at).value,
        entitlement_concurrency_mode=terms.mode.value,
        has_maintenance=entitlement.has_maintenance,
        maintenance_expiry_date=entitlement.maintenance_ends_at,
        features=[_feature(key, tally, holding) for key, tally in served.pool.tallies.items() if is_feature(key)],
    )


def feature_answer(served: Served, key: str, tally: Tally, lease: str, certificate: str) -> FeatureAnswer:
    """Say how a feature stands after it was drawn or given back."""
    state = _feature(key, tally, served.holding)
    return FeatureAnswer(
        key=state.key,
        type=state.type,
        active=state.active,
        available=state.available,
        total=state.total,
        lease=lease,
        certificate=certificate,
    )


def _feature(key: str, tally: Tally, holding: Holding) -> FeatureState:
    """A bool feature is counted as 1 or 0, since None would say "unlimited" of a thing that may be switched off."""
    right = tally.right
    if right.kind is Kind.BOOL:
        on = 1 if right.bought is None or right.bought > 0 else 0
        return FeatureState(key=key, type="bool", active=on, available=on, total=on)
    return FeatureState(
        key=key, type=_COUNTED[right.kind], active=holding.rights.get(key, 0), available=tally.free, total=right.bought
    )


_COUNTED: Final[dict[Kind, FeatureType]] = {Kind.ELEMENT_POOL: "elementPool", Kind.USAGE_COUNT: "usageCount"}


def _end_of_grace(terms: Terms) -> datetime | None:
    return terms.last_moment if terms.grace else None


# --- a pool, as anybody with the code sees it ----------------------------------------------------------------------


def status_answer(status: PoolStatus) -> StatusAnswer:
    """Say how full a pool is and who is in it."""
    seats = status.pool.tallies[SEAT]
    return StatusAnswer(
        product_id=status.entitlement.product_id,
        product_name=status.entitlement.product_name,
        entitlement_id=status.entitlement.entitlement_id,
        status=status.standing.value,
        seats=seats.right.bought or 0,
        used=seats.used,
        free=seats.free,
        overdraft=seats.overdrawn,
        line=0,
        holders=_holders(status.occupancy),
        next_free_by=status.occupancy.next_free_by,
    )


@lru_cache(maxsize=16)  # as many batches as may be waiting to be answered; the list is only read
def _holders(occupancy: Occupancy) -> list[SeatHolder]:
    return [
        SeatHolder(
            seat_name=view.name,
            since=view.since,
            lease_expiry=view.lease_ends_at,
            borrowed_until=view.lease_ends_at if view.borrowed else None,
        )
        for view in occupancy.holders
    ]


# --- refusals ------------------------------------------------------------------------------------------------------


_SHORT: Final = frozenset({"pool-full", "feature-exhausted"})  # rules by which something ran short that others hold


def denial_of(refusal: Refusal, contact: str | None) -> Denial:
    """Explain a refusal to a program; `contact` is whom its user should ask.

    Who holds and when the first lease ends is told only where it bears on the refusal: to one who is excluded, or whose
    entitlement has ended, it would say that waiting helps.
    """
    there = refusal.occupancy if _is_about_holders(refusal) else _NOBODY
    return Denial(
        id=refusal.denial_id,
        rule=refusal.rule,
        limit=refusal.limit,
        used=refusal.used,
        overdraft=refusal.overdraft,
        line=0,
        feature=refusal.feature or None,
        wanted=refusal.wanted if refusal.feature else None,
        product_name=refusal.product_name,
        holders=_holders(there),
        holders_more=there.more,
        next_free_by=there.next_free_by if refusal.outlook is Outlook.COMES_BACK else None,
        remedies=[*_elsewhere(refusal), *_remedies(refusal.rule, refusal.outlook, contact)],
    )


def _elsewhere(refusal: Refusal) -> list[Remedy]:
    """Name the local servers that seats were lent to, and say how much can be known of them."""
    return [Remedy(kind="point", text=_lent_to(lent, refusal.at)) for lent in refusal.occupancy.lent]


def _lent_to(lent: LentOut, now: datetime) -> str:
    heard = (
        "it has not reported yet"
        if lent.last_report_at is None
        else f"its last report is {_age(now - lent.last_report_at)} old"
    )
    seats = "1 seat is" if lent.seats == 1 else f"{lent.seats} seats are"
    return f"{seats} lent to the local license server {lent.name} until {_clock(lent.counts_until)}; {heard}."


def _age(passed: timedelta) -> str:
    for length, word in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if passed >= length:
            count = passed // length
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return "less than a minute"


def _is_about_holders(refusal: Refusal) -> bool:
    return refusal.rule in _SHORT and refusal.outlook is not Outlook.NEVER


def sentence_for(problem: str, refusal: Refusal) -> str:
    """Explain a refusal to a person."""
    match refusal.rule:
        case "pool-full":
            what = f"Every seat of {refusal.product_name} is taken: {_how_full(refusal)}."
        case "feature-exhausted":
            what = _how_short(refusal)
        case "borrow-limit":
            return _how_borrowed(refusal)
        case _:
            return f"{refusal.product_name}: {PROBLEMS[problem].title}"
    lead = "It was not held any more, and no place is left. " if problem == "seat.gone" else ""
    end = _earliest_end(refusal.occupancy) if refusal.outlook is Outlook.COMES_BACK else ""
    return f"{lead}{what}{end}"


def _how_short(refusal: Refusal) -> str:
    what = f"Not enough of {refusal.feature} is left in {refusal.product_name}"
    return f"{what}: {refusal.wanted} wanted, {_how_full(refusal)} taken."


def _how_borrowed(refusal: Refusal) -> str:
    """Say the limits, whichever of them was met."""
    if not refusal.borrow:
        return f"Seats of {refusal.product_name} may not be borrowed: its vendor allows none."
    at_once = "" if refusal.limit is None else f", at most {refusal.limit} at once, of which {refusal.used} are"
    longest = written(refusal.borrow)
    return (
        f"A seat of {refusal.product_name} may be borrowed for at most {longest}, by a device that proves itself"
        f" (deviceKey, deviceProof){at_once}."
    )


@lru_cache(maxsize=16)
def _earliest_end(occupancy: Occupancy) -> str:
    end = occupancy.next_free_by
    return "" if end is None else f" The earliest lease ends and its place comes back by {_clock(end)}, unless it is refreshed."


def _how_full(refusal: Refusal) -> str:
    full = f"{refusal.used}" if refusal.limit is None else f"{refusal.used} of {refusal.limit}"
    return f"{full} ({refusal.overdraft} in overdraft)" if refusal.overdraft else full


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


_NOBODY: Final = Occupancy(holders=[], more=0, next_free_by=None)

_WAIT: Final = Remedy(
    kind="wait", text="Try again: a place comes back when a holder ends, or when its lease ends without a refresh."
)
_FREE: Final = Remedy(
    kind="free",
    text="If a listed holder is known to be dead, the server's administrator can free its seat: seatkeeper free USER@HOST.",
)
_GIVE_UP: Final = Remedy(
    kind="free",
    text="A place here stays its holder's until it is given back: close a listed program for good, or have the server's"
    " administrator free its seat: seatkeeper free USER@HOST.",
)
_LESS: Final = Remedy(kind="renew", text="Waiting doesn't help: ask for less, or buy more of it.")
_POINT: Final = Remedy(kind="point", text="Point the program at the local license server that serves this entitlement.")
_RENEW: Final = Remedy(kind="renew", text="Renew the entitlement.")
_FRESH_GRANT: Final = Remedy(
    kind="renew",
    text="What was lent to this local license server has ended: its administrator can carry a fresh token from the vendor"
    " (seatkeeper token apply).",
)
_CLEAR: Final = Remedy(
    kind="renew",
    text="This local license server is suspect, and the time for which it serves all the same is over: its administrator can"
    " carry a report to the vendor and a fresh token back (seatkeeper token apply).",
)


@lru_cache(maxsize=256)
def _remedies(rule: str, outlook: Outlook, contact: str | None) -> list[Remedy]:
    ask = Remedy(kind="contact", text=f"Ask {contact or 'the vendor of this program'}.")
    if rule in _SHORT:
        return [*_OF_OUTLOOK[outlook], ask]
    match rule:
        case "entitlement-expired":
            return [_RENEW, ask]
        case "share-expired":
            return [_FRESH_GRANT, ask]
        case "clock" | "restored" | "cloned":
            return [_CLEAR, ask]
        case "exported":
            return [_POINT, ask]
        case _:
            return [ask]


_OF_OUTLOOK: Final[dict[Outlook, list[Remedy]]] = {
    Outlook.COMES_BACK: [_WAIT, _FREE],
    Outlook.GIVEN_BACK: [_GIVE_UP],
    Outlook.NEVER: [_LESS],
}
