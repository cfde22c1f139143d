"""A database that was restored, and what its clients' leases say about what it forgot (rule 8).

A valid lease with a number above the database's proves that the database was set back. The number goes up to it, and the
seat counts as held to the end of that lease, whether there is room or not: its program believes in it. The first client to
show its lease may not have the lowest number, so the range of lost numbers is remembered. A number that is not new and not
lost, but newer than what its seat was given, was signed by a copy of this database.

Whoever restores a database himself knows all that beforehand (`set_back`): then every number that may have been signed since
the backup is lost at once, and what is signed from now on has numbers above all of them.
"""

from datetime import UTC, datetime

from msgspec.structs import replace

from seatkeeper_server.domain.admission import returnable
from seatkeeper_server.domain.facts import CloneSuspected, Fact, Restored
from seatkeeper_server.domain.holdings import Holding, Nonces
from seatkeeper_server.domain.requests import Refresh, ShownLease
from seatkeeper_server.domain.state import Pool
from seatkeeper_server.domain.terms import BORROWED, SEAT
from seatkeeper_server.domain.timekeeping import MICROSECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def numbers_from(now: datetime) -> int:
    """Give a number above every one that a pool can have signed until now: the microseconds since 1970.

    No pool signs a million leases a second, so numbers that began below stay below. The same backup may be restored again
    and again. Such numbers are exact in every language for two centuries (2^53).
    """
    return (now - _EPOCH) // MICROSECOND


def set_back(pool: Pool, number: int) -> Pool:
    """Give a pool of a database that was restored from a backup: what was numbered since, up to this number, is lost."""
    lost_after = pool.lost_after if pool.lost_until else pool.sequence
    last = max(pool.sequence, number)
    return replace(pool, sequence=last, lost_after=lost_after, lost_until=last)


def restored_by_call(pool: Pool, own: Holding | None, ask: Refresh, now: datetime) -> Fact | None:
    if ask.shown is None:
        return None
    if ask.nonce is not None:
        ahead = Nonces(current=ask.nonce, bound=True)  # it is newer than the database, as the lease is
    else:
        ahead = own.nonces if own else Nonces(current=ask.next_nonce)
    return restored(pool, own, ask.activation_id, own.holder if own else ask.holder, ask.shown, ahead, now)


def restored(
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
    if BORROWED not in pool.tallies:
        rights.pop(BORROWED, None)
    kept = own if own is not None and own.occupies else None
    runs = shown.expires_at + pool.terms.margin > now and shown.activation_id in (None, activation_id)
    later = kept is not None and shown.generation > kept.generation  # a place of its own, not the one that is kept
    counts = runs and (kept is None or later)
    same = kept is not None and not counts and not (later and kept.believed_until(pool.terms.margin) > now)
    return Restored(
        at=now,
        activation_id=activation_id,
        generation=max(shown.generation, own.generation if own else 1),
        holder=holder or pool.holders + 1,
        taken=returnable(pool.tallies, rights) if counts else {},
        sequence=shown.sequence,
        rights=kept.rights if kept and same else rights,
        expires_at=shown.expires_at,
        nonces=nonces,
        device=shown.device,
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
