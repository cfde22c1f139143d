"""Tells a database that it was restored from a backup (rule 8), before anybody is served from it.

- The epoch rises: a lease of the new history can't be taken for one of the lost one, though their numbers meet.
- Every lease that was signed since the backup counts as soon as its program shows it, whoever comes first: the numbers that
  may have been given out since then are lost, and new ones are above all of them.
- A fact in each tenant's own chain says so.

What it can't know: who returned his seat since the backup (he counts as held until his lease would have ended), and who took
one since and has not called yet. Such a seat may be given to somebody else meanwhile; the two count, and when both have
called the pool is above its limit until one of them is gone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.restoring import numbers_from
from seatkeeper_server.service import recording
from seatkeeper_server.service.ports import Transaction

RESTORED = "restored"  # what the fact is called


class History(Protocol):
    """What is done to a database as a whole."""

    def raise_epoch(self) -> int:
        """Begin a new part of the database's history; which one that is."""
        ...

    def set_back(self, number: int) -> None:
        """Take every lease up to this number, and above what is known, for one that was signed since the backup."""
        ...

    def longest_lease(self) -> timedelta:
        """Give how long the longest lease of any entitlement lasts."""
        ...


@dataclass(frozen=True, slots=True)
class Reopened:
    """The new epoch, and after how long nobody can believe any more in a seat that the backup doesn't know."""

    epoch: int
    unknown_for: timedelta


def reopen(tx: Transaction, history: History, *, made_at: datetime, wall: datetime) -> Reopened:
    """Begin a new epoch in a database that was restored from a backup made at `made_at`."""
    alive = tx.alive()
    now = wall if alive is None else max(wall, alive.at)  # a clock that is behind gives no low numbers
    epoch = history.raise_epoch()
    history.set_back(numbers_from(now))
    for tenant_id in tx.tenants():
        note = Note(at=now, what=RESTORED, data={"backup": made_at.isoformat(), "epoch": epoch})
        recording.append(tx, tenant_id, tenant_id, [note], now)
    return Reopened(epoch, history.longest_lease())
