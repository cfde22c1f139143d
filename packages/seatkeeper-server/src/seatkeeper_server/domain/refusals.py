"""How refusals are written down without filling the disk.

A holder's first refusal is a fact; what it is refused again within a minute is only counted, and written down once, as one
later fact with the count. A pool that is flooded with ever new seat ids writes at most `FIRSTS_PER_MINUTE` first refusals a
minute; the rest goes into one count of the pool's (holder 0). Every refusal has an id that can be quoted: a counted one has
the id of the window it was counted in.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.domain.facts import Denied, DeniedAgain, Fact

WINDOW = timedelta(minutes=1)
FIRSTS_PER_MINUTE = 60
THE_FLOOD = 0  # the holder number under which a pool's flood is counted


class Window(Struct, frozen=True):
    """A minute in which one holder's refusals for one reason are counted; `key` is the right that was short."""

    holder: int
    denial_id: str
    rule: str
    since: datetime
    until: datetime
    count: int = 0
    key: str = ""

    def is_open(self, now: datetime) -> bool:
        """Tell whether another refusal now would be counted here."""
        return now < self.since + WINDOW

    def counting(self, now: datetime) -> "Window":
        """Give the window after one more refusal."""
        return Window(self.holder, self.denial_id, self.rule, self.since, now, self.count + 1, self.key)

    def is_about(self, denied: Denied) -> bool:
        """Tell whether a refusal has the reason of those that are counted here."""
        return (self.rule, self.key) == (denied.rule, denied.key)

    def closed(self) -> list[Fact]:
        """Give the fact that says how many refusals were counted; none if it was only the first."""
        if not self.count:
            return []
        return [
            DeniedAgain(
                at=self.since,
                holder=self.holder,
                denial_id=self.denial_id,
                rule=self.rule,
                key=self.key,
                count=self.count,
                until=self.until,
            )
        ]


class Flood(Struct, frozen=True):
    """How many first refusals a pool has written down in the present minute."""

    since: datetime
    firsts: int = 0

    def at(self, now: datetime) -> "Flood":
        """Give the count that holds now: a new minute starts from nothing."""
        return self if now < self.since + WINDOW else Flood(now)

    @property
    def is_over(self) -> bool:
        """Whether further first refusals of this minute are only counted."""
        return self.firsts >= FIRSTS_PER_MINUTE


class Noted(Struct, frozen=True):
    """What noting a refusal comes to: the window it is in, the facts to write down, the flood count after it."""

    window: Window
    facts: list[Fact]
    flood: Flood


def note(denied: Denied, earlier: Window | None, flood: Flood, now: datetime, new_id: str) -> Noted:
    """Count a refusal or write it down. `earlier` is the holder's own window, or the pool's once its flood is over."""
    flood = flood.at(now)
    if (
        earlier is not None
        and earlier.is_open(now)
        and (earlier.is_about(denied) or earlier.holder == THE_FLOOD or flood.is_over)
    ):
        return Noted(earlier.counting(now), [], flood)
    facts = earlier.closed() if earlier is not None else []
    if flood.is_over:
        return Noted(Window(THE_FLOOD, new_id, denied.rule, now, now, 1), facts, flood)
    window = Window(denied.holder, new_id, denied.rule, now, now, key=denied.key)
    return Noted(window, [*facts, replace(denied, denial_id=new_id)], replace(flood, firsts=flood.firsts + 1))
