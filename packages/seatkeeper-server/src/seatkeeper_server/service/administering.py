"""What an administrator does to holders: take a seat back (*free*), and refuse somebody for a while (*block*).

Freeing keeps rule 3 of the contract: the place counts until the last lease signed for it has ended, because the program that
has it goes on believing in it till then. `at_once` gives the place away all the same, for those who know that they over-use
for that long. Both are facts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from seatkeeper_server.domain.facts import Note, TakenBack
from seatkeeper_server.domain.holdings import Holding
from seatkeeper_server.domain.requests import TakeBack
from seatkeeper_server.service.catalogue import CannotDo, Catalogue, NotFound
from seatkeeper_server.service.ports import HolderRecord, PoolKey
from seatkeeper_server.service.workspace import Workspace

OPERATOR = "operator"  # who took a seat back, in its fact


class Ambiguous(CannotDo):
    """Several holders go by that name. Name one of their activations instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeing:
    """Whose seat is taken back (seat id, name, user@host or activation), at once or not, and for how long he is refused."""

    holder: str
    at_once: bool = False
    block: timedelta | None = None

    def __post_init__(self) -> None:
        if self.block is not None and self.block <= timedelta(0):
            raise ValueError("block: say for how long, such as 10m")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreedSeat:
    """What became of it: the place counts until `counts_until` (None: it is free now), he is refused until `blocked_until`."""

    holder: str
    entitlement_id: str
    activation_id: str | None
    counts_until: datetime | None
    blocked_until: datetime | None


def free(catalogue: Catalogue, wanted: Freeing, now: datetime) -> FreedSeat:
    """Take a seat from its holder, and refuse him for a while if asked to.

    Raises:
        NotFound: nobody is called that.
        Ambiguous: several are.
        CannotDo: he holds nothing, and was not to be blocked either.
    """
    holder, activation_id = _the_one(catalogue, wanted.holder, now)
    key = holder.tenant_id, holder.chain_id
    taken = _take_back(catalogue, key, activation_id, wanted, now) if activation_id else None
    if taken is None and wanted.block is None:
        raise CannotDo(f"{wanted.holder} holds no seat now: there is nothing to free; to keep him out use --block 10m")
    blocked_until = None if wanted.block is None else now + wanted.block
    if blocked_until is not None:
        _block(catalogue, holder, blocked_until, now)
    return FreedSeat(
        holder=holder.who.seat_name or holder.who.seat_id,
        entitlement_id=holder.chain_id,
        activation_id=activation_id if taken else None,
        counts_until=taken.free_at if taken else None,
        blocked_until=blocked_until,
    )


def _the_one(catalogue: Catalogue, called: str, now: datetime) -> tuple[HolderRecord, str | None]:
    """Find the one holder who is meant: of several, the only one who has a place that counts."""
    found = catalogue.holders_called(called)
    if not found:
        raise NotFound("holder", called, catalogue.holder_names(), "nobody holds a seat")
    if len(found) > 1:
        found = [one for one in found if _place(catalogue, one[0].tenant_id, one[1], now)] or found
    if len(found) > 1:
        choices = ", ".join(activation or f"{holder.who.seat_id} in {holder.chain_id}" for holder, activation in found[:5])
        raise Ambiguous(f"{len(found)} holders are called {called!r}: name one activation of {choices}")
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


def _block(catalogue: Catalogue, holder: HolderRecord, until: datetime, now: datetime) -> None:
    catalogue.block(holder, until)
    work = Workspace(catalogue.tx, now)
    work.load_pools([(holder.tenant_id, holder.chain_id)])
    note = Note(at=now, holder=holder.number, what="blocked", data={"until": until.isoformat()})
    work.write((holder.tenant_id, holder.chain_id), note)
    work.save()
