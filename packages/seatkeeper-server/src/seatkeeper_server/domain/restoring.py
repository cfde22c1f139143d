"""A database that was restored, and what its clients' leases say about what it forgot (rule 8).

A valid lease with a number above the database's proves that the database was set back. The number goes up to it, and the
seat counts as held to the end of that lease, whether there is room or not: its program believes in it. The first client to
show its lease may not have the lowest number, so the range of lost numbers is remembered. A number that is not new and not
lost, but newer than what its seat was given, was signed by a copy of this database.
"""

from datetime import datetime

from seatkeeper_server.domain.admission import returnable
from seatkeeper_server.domain.facts import CloneSuspected, Fact, Restored
from seatkeeper_server.domain.holdings import Holding, Nonces
from seatkeeper_server.domain.requests import Refresh, ShownLease
from seatkeeper_server.domain.state import Pool
from seatkeeper_server.domain.terms import SEAT


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
    kept = own if own is not None and own.occupies else None
    runs = shown.expires_at + pool.terms.margin > now and shown.activation_id in (None, activation_id)
    counts = runs and (kept is None or shown.generation > kept.generation)  # a place of its own, not the one that is kept
    return Restored(
        at=now,
        activation_id=activation_id,
        generation=kept.generation if kept and not counts else max(shown.generation, own.generation if own else 1),
        holder=holder or pool.holders + 1,
        taken=returnable(pool.tallies, rights) if counts else {},
        sequence=shown.sequence,
        rights=kept.rights if kept and not counts else rights,
        expires_at=shown.expires_at,
        nonces=nonces,
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
