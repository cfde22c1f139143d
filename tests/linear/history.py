"""What programs did and were told: one value per call, all on one clock.

Moments are whole microseconds since 1970 on the clock of the machine that tests: its monotonic clock, set by the wall clock
once. Leases carry the server's own moments. Seats, activations and keys are numbered in the order in which they were met, so
that a million calls stay small.
"""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct, msgpack

SECOND = 1_000_000  # microseconds


class Kind(StrEnum):
    """What was asked."""

    ACTIVATE = "activate"
    REFRESH = "refresh"
    RETURN = "return"
    CHECK_OUT = "checkout"
    GIVE_BACK = "giveBack"
    DOWNTIME = "downtime"  # asked by nobody: the server says that it gave time back


class Outcome(StrEnum):
    """What was answered."""

    GRANTED = "granted"
    REFUSED = "refused"
    GONE = "gone"
    TAKEN_OVER = "takenOver"
    DONE = "done"
    UNKNOWN = "unknown"  # no answer came: it may have been done, at any moment since, or never


class Lease(Struct, array_like=True, frozen=True, gc=False):
    """What a signed lease said: whose, since when, until when, and its number."""

    activation: int
    generation: int
    issued: int
    ends: int
    sequence: int
    features: tuple[tuple[str, int], ...] = ()  # by key


class Operation(Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One call of one client. `token` is the activation and generation that it showed; `key` makes a repeat harmless.

    `is_new` tells 201 from 200. `amount` is of a feature, or the microseconds of a downtime.
    """

    client: int
    kind: Kind
    sent: int
    answered: int | None
    outcome: Outcome
    seat: int = -1
    token: tuple[int, int] | None = None
    key: int | None = None
    feature: str = ""
    amount: int = 0
    rule: str = ""  # by which it was refused
    is_new: bool | None = None
    lease: Lease | None = None


class Feature(Struct, array_like=True, frozen=True):
    """A counted feature: how many there are, and whether they come back."""

    amount: int
    returnable: bool


class Rules(Struct, frozen=True, kw_only=True):
    """What was sold, and how exactly moments are known. All times in microseconds.

    `beat` is how often servers say that they are there. `uncertainty` is how far a server's clock may be from the test's,
    either way. `lag` is by how much the moment in a lease may be older than the pool's own time: 0 where a clock is read under
    the lock that orders decisions.
    """

    seats: int
    lease: int
    margin: int
    linger: int = 0
    beat: int = 0
    ends: int | None = None
    features: dict[str, Feature] = {}
    uncertainty: int = 0
    lag: int = 0


class History(Struct, frozen=True, kw_only=True):
    """Rules, and what happened under them. The calls of one client come in the order in which it made them."""

    rules: Rules
    operations: list[Operation]

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_bytes(msgpack.encode(self))

    @classmethod
    def load(cls, path: Path) -> "History":
        """Read what `save` wrote."""
        return msgpack.decode(path.read_bytes(), type=cls)


def lost(history: History) -> list[Operation]:
    """Give the calls by which a program heard that its seat is gone, while its lease was running and it had not returned it.

    Where nobody else uses its seat, that must never happen: whatever dies meanwhile, a running program keeps what it holds.
    """
    shared = {seat for seat, users in _users(history.operations).items() if len(users) > 1}
    holds: dict[int, Lease] = {}
    found = []
    for call in history.operations:
        lease = holds.get(call.client)
        if call.lease is not None:
            holds[call.client] = call.lease
        elif call.outcome is Outcome.GONE and lease is not None and call.seat not in shared:
            if call.token == (lease.activation, lease.generation) and call.answered is not None and call.answered < lease.ends:
                found.append(call)
        elif call.kind is Kind.RETURN:
            holds.pop(call.client, None)
    return found


def _users(calls: list[Operation]) -> dict[int, set[int]]:
    users: dict[int, set[int]] = {}
    for call in calls:
        if call.kind is not Kind.DOWNTIME:
            users.setdefault(call.seat, set()).add(call.client)
    return users
