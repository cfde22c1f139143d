"""What restoring needs of the store, in its own words."""

from datetime import timedelta

from seatkeeper_server.store.rows import span
from seatkeeper_server.store.transaction import SqlTransaction


class Restoring:
    """A transaction in which a database is told that it was restored."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def raise_epoch(self) -> int:
        """Begin a new part of the database's history; which one that is."""
        self._tx.execute("raise_epoch")
        return int(self._tx.query("history")[0][1])

    def set_back(self, number: int) -> None:
        """Take every lease up to this number, and above what is known, for one that was signed since the backup."""
        self._tx.execute("set_back", number=number)

    def longest_lease(self) -> timedelta:
        """Give how long the longest lease of any entitlement lasts; nothing where nothing was sold."""
        return span(self._tx.query("longest_lease")[0][0] or 0)
