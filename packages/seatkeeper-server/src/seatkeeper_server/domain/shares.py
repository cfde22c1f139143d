"""What is lent to a local license server, and until when each part of it counts (decision 10).

A *grant* is one signed document: so much of each right, until a moment. Documents travel by hand, so of several grants of one
share nobody can know which of them the server has applied, until it says so. Each of them may be in force until it ends; so at
every moment the share counts as the most that any of them allows then. Over time that is a staircase which only goes down, and
each of its steps is a *layer*: what comes back at one moment.

>>> from datetime import UTC, datetime
>>> june, july = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
>>> some = layers([Grant(1, {"": 30}, june), Grant(2, {"": 20}, july)], timedelta(days=1))
>>> [(layer.rights, layer.until.month) for layer in some]
[({'': 20}, 7), ({'': 10}, 6)]
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

Amounts = Mapping[str, int]


class Grant(Struct, frozen=True):
    """One document of a share: what it lends, and until when its server may give it away. Numbers rise within a share."""

    number: int
    rights: Amounts
    until: datetime


class Layer(Struct, frozen=True):
    """What of a share comes back at one moment: its grant ends at `until`, the seats may be given away again at `free_at`."""

    rights: Amounts
    until: datetime
    free_at: datetime


def layers(grants: Iterable[Grant], skew: timedelta) -> list[Layer]:
    """Give the layers of a share, the one that comes back last first; `skew` is by how much its server's clock may be off."""
    by_end = sorted(grants, key=lambda grant: grant.until, reverse=True)
    found: list[Layer] = []
    most: dict[str, int] = {}
    for end in dict.fromkeys(grant.until for grant in by_end):
        allowed = [grant.rights for grant in by_end if grant.until >= end]
        now = {
            key: max(rights.get(key, 0) for rights in allowed) for key in sorted({*(k for rights in allowed for k in rights)})
        }
        more = {key: n - most.get(key, 0) for key, n in now.items() if n > most.get(key, 0)}
        if more:
            found.append(Layer(more, end, end + skew))
        most = now
    return found


def in_force(grants: Iterable[Grant], skew: timedelta, now: datetime) -> list[Grant]:
    """Keep the grants that may still be in force somewhere."""
    return [grant for grant in grants if grant.until + skew > now]


def together(some: Iterable[Layer]) -> dict[str, int]:
    """Add up what layers take."""
    total: dict[str, int] = {}
    for layer in some:
        for key, amount in layer.rights.items():
            total[key] = total.get(key, 0) + amount
    return total
