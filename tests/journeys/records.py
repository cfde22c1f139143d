"""What a server's database says about its seats, read beside it: the counter, the places, the facts."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path


@dataclass(frozen=True)
class Counted:
    """An entitlement's seats: as the counter has them, as the places add up to, and how many there may be."""

    counter: int
    places: int
    cap: int

    @property
    def fits(self) -> bool:
        """Whether counter and places agree and are not above the limit."""
        return self.counter == self.places <= self.cap


def counted(data: Path, entitlement: str) -> Counted:
    """Read the seats of one entitlement, all in one snapshot."""
    with closing(_connected(data)) as database:
        row = database.execute(
            "SELECT used, (SELECT coalesce(sum(json_extract(rights, '$.\"\"')), 0) FROM holding AS h"
            "              WHERE h.entitlement_id = r.entitlement_id AND occupies = 1), cap"
            " FROM pool_right AS r WHERE entitlement_id = ? AND key = ''",
            (entitlement,),
        ).fetchone()
    return Counted(*row)


def fullest(data: Path, entitlement: str) -> int:
    """Give the most seats that were ever taken at once, by adding up the facts in their order."""
    with closing(_connected(data)) as database:
        rows = database.execute("SELECT data FROM fact WHERE chain_id = ? ORDER BY number", (entitlement,)).fetchall()
    return max(accumulate(json.loads(row[0]).get("taken", {}).get("", 0) for row in rows), default=0)


def _connected(data: Path) -> sqlite3.Connection:
    database = sqlite3.connect(data / "seatkeeper.db", timeout=20)
    database.execute("PRAGMA query_only=ON")
    return database
