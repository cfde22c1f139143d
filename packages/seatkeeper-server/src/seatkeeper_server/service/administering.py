"""What an administrator does to holders: take a seat back (*free*), refuse somebody for a while (*block*), or no longer.

Freeing keeps rule 3 of the contract: the place counts until the last lease signed for it has ended, because the program that
has it goes on believing in it till then. `at_once` gives the place away all the same, for those who know that they over-use
for that long. All of it is written down as facts.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from seatkeeper_server.domain.facts import Note, TakenBack
from seatkeeper_server.domain.holdings import SHARE, Holding, State
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.domain.requests import TakeBack
from seatkeeper_server.service.catalogue import CannotDo, Catalogue, NotFound
from seatkeeper_server.service.ports import HolderRecord, PoolKey
from seatkeeper_server.service.workspace import Workspace

OPERATOR = "operator"  # who took a seat back, in its fact


class Ambiguous(CannotDo):
    """Several holders go by that name. Name one of their activations instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeing:
    """Whose seat is taken back (seat id, name, user@host or activation), at once or not, and for how long he is refused.

    `unblock` takes nothing back: it only ends an earlier block.
    """

    holder: str
    at_once: bool = False
    block: timedelta | None = None
    unblock: bool = False

    def __post_init__(self) -> None:
        if self.unblock and (self.at_once or self.block is not None):
            raise ValueError("unblock: it takes no seat back, and goes with neither --block nor --now")
        if self.block is not None and self.block <= timedelta(0):
            raise ValueError("block: say for how long, such as 10m")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreedSeat:
    """What became of it: the place counts until `counts_until` (None: it is free now), he is refused until `blocked_until`.

    `overused_until` is when the lease ends whose place was given away at once; `lingered` says that its holder had given it
    back himself; `unblocked` that he was blocked, and isn't any more.
    """

    holder: str
    entitlement_id: str
    activation_id: str | None
    counts_until: datetime | None = None
    overused_until: datetime | None = None
    lingered: bool = False
    blocked_until: datetime | None = None
    unblocked: bool = False


def free(catalogue: Catalogue, wanted: Freeing, now: datetime) -> FreedSeat:
    """Take a seat from its holder, and refuse him for a while if asked to.

    Raises:
        NotFound: nobody is called that.
        Ambiguous: several are.
        CannotDo: he holds nothing, and was not to be blocked either; or he was to be unblocked, and isn't blocked.
    """
    holder, activation_id = _the_one(catalogue, wanted.holder, now)
    if wanted.unblock:
        return _unblocked(catalogue, holder, wanted.holder, now)
    key = holder.tenant_id, holder.chain_id
    if activation_id is not None and activation_id.startswith(SHARE):
        raise CannotDo(f"{_name(holder)} was lent these seats: they come back by its token, or when its grant has ended")
    before = _place(catalogue, key[0], activation_id, now)
    taken = _take_back(catalogue, key, activation_id, wanted, now) if activation_id else None
    if taken is None and wanted.block is None:
        raise CannotDo(f"{wanted.holder} holds no seat now: there is nothing to free; to keep him out use --block 10m")
    blocked_until = holder.blocked_until if holder.blocked_until and holder.blocked_until > now else None
    if wanted.block is not None:
        blocked_until = now + wanted.block
        _block(catalogue, holder, blocked_until, now)
    freed = FreedSeat(holder=_name(holder), entitlement_id=holder.chain_id, activation_id=None, blocked_until=blocked_until)
    return freed if taken is None or before is None else _with_place(freed, taken, before, now)


def _with_place(freed: FreedSeat, taken: TakenBack, before: Holding, now: datetime) -> FreedSeat:
    """Say what is true of the place. One whose lease is over (a node lock's) is free at once, and nobody over-uses it."""
    counts = taken.free_at is not None and taken.free_at > now
    lingered = before.state is State.RETURNED and not before.is_borrowed
    runs = before.expires_at > now and not lingered
    return replace(
        freed,
        activation_id=before.activation_id,
        counts_until=taken.free_at if counts else None,
        overused_until=before.expires_at if runs and not counts else None,
        lingered=lingered,
    )


def _unblocked(catalogue: Catalogue, holder: HolderRecord, called: str, now: datetime) -> FreedSeat:
    if holder.blocked_until is None or holder.blocked_until <= now:
        raise CannotDo(f"{called} is not blocked")
    _block(catalogue, holder, None, now)
    return FreedSeat(holder=_name(holder), entitlement_id=holder.chain_id, activation_id=None, unblocked=True)


def _name(holder: HolderRecord) -> str:
    return holder.who.seat_name or holder.who.seat_id


def _the_one(catalogue: Catalogue, called: str, now: datetime) -> tuple[HolderRecord, str | None]:
    """Find the one holder who is meant: of several, the only one who has a place that counts."""
    found = catalogue.holders_called(called)
    if not found:
        raise NotFound("holder", called, catalogue.holder_names(), "nobody holds a seat")
    if len(found) > 1:
        found = [one for one in found if _place(catalogue, one[0].tenant_id, one[1], now)] or found
    if len(found) > 1:
        choices = ", ".join(activation or f"{holder.who.seat_id} in {holder.chain_id}" for holder, activation in found[:5])
        raise Ambiguous(f"{len(found)} holders are called {quoted(called)}: name one activation of {choices}")
    return found[0]


def _place(catalogue: Catalogue, tenant_id: str, activation_id: str | None, now: datetime) -> Holding | None:
    """Give the place of an activation, if it counts."""
    held = catalogue.tx.holdings([(tenant_id, activation_id)]) if activation_id else []
    return next((one.holding for one in held if one.holding.occupies and not one.holding.is_due(now)), None)


def _take_back(catalogue: Catalogue, key: PoolKey, activation_id: str, wanted: Freeing, now: datetime) -> TakenBack | None:
    """Have the pool machine decide it; None if there was nothing to take."""
    work = Workspace(catalogue.tx, now)
    work.load_pools([key])
    work.load_held([(key[0], activation_id)])
    own = work.held[key[0], activation_id]
    ask = TakeBack(activation_id=activation_id, by=OPERATOR, at_once=wanted.at_once)
    decision = work.decide(key, ask, own, own.who)
    work.save()
    return decision if isinstance(decision, TakenBack) else None


def _block(catalogue: Catalogue, holder: HolderRecord, until: datetime | None, now: datetime) -> None:
    work = Workspace(catalogue.tx, now)
    work.load_pools([(holder.tenant_id, holder.chain_id)])
    catalogue.block(holder, until)
    what, data = ("unblocked", {}) if until is None else ("blocked", {"until": until.isoformat()})
    note = Note(at=now, holder=holder.number, what=what, data=data)
    work.write((holder.tenant_id, holder.chain_id), note)
    work.save()
