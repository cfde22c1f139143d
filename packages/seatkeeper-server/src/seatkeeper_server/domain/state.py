"""What a decision sees of a pool, and what it may say.

A pool is seen as its kept counters and the holdings that a request touches, never as the list of all of them: a decision
costs the same with ten holders as with a million. Loading the right holdings is the service's work.
"""

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from seatkeeper_server.domain.admission import Tallies, Tally
from seatkeeper_server.domain.facts import Fact
from seatkeeper_server.domain.holdings import CURRENT, Holding
from seatkeeper_server.domain.terms import SEAT, Terms


class Pool(Struct, frozen=True, kw_only=True):
    """One entitlement's seats and features, as far as a decision sees them.

    `sequence` numbers the leases signed, `holders` the holders met. `excess` is how many holders still have to go because
    the pool was shrunk below its use. Leases numbered above `lost_after`, up to `lost_until`, may have been signed by a state
    of this database that was lost when it was restored.
    """

    terms: Terms
    tallies: Tallies
    sequence: int = 0
    holders: int = 0
    excess: int = 0
    lost_after: int = 0
    lost_until: int = 0
    holdings: Mapping[tuple[str, int], Holding] = field(default_factory=dict)

    def current(self, activation_id: str) -> Holding | None:
        """Give a seat's present holding."""
        return self.holdings.get((activation_id, CURRENT))

    def seeing(self, holdings: Mapping[tuple[str, int], Holding]) -> "Pool":
        """Give the same pool with other holdings in sight."""
        return replace(self, holdings=holdings)

    @property
    def seats(self) -> Tally:
        """The tally of the seats themselves."""
        return self.tallies[SEAT]


class Rejected(Struct, frozen=True):
    """A request that makes no sense in the present state: nothing changes, nothing is written down."""

    problem: str


Decision = Fact | Rejected
