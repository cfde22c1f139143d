"""The client's own small state machine: a held seat, what becomes of it, and when to do what next.

Pure: no clock, no network, no chance of its own. Time is an `Instant` handed in, randomness a number in [0, 1) handed in,
every change a changed copy. Knows nothing of requests and nonces; that is `_session.py`.

The rules it keeps
- Belief in a seat ends at the first sending of the call that got the lease + (`exp` − `iat`), whatever the clocks' dates are.
  An answer to a repeated call may have been decided at its first sending, and held back since.
- A lease is refreshed at a jittered third, so that there are two more thirds to be unlucky in.
- A failed attempt is repeated with full jitter, within a budget; after that only now and then, so that a thousand programs
  don't drown a server that comes back.
- `seat.gone` is answered by activating again, once; a take-over is the end.

>>> next_action(Holding(lease=Lease("", Instant(0, 0), 120.0), due=Due(Instant(0, 0), 40.0)), Instant(10, 10))
Wait(seconds=5.0)
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from seatkeeper._clock import Instant

State = Literal["held", "at risk", "lost", "returned"]
Step = Literal["refresh", "activate"]

LONGEST_WAIT: Final = 5.0  # seconds; a timer sleeps through a suspend, so we look at the clocks at least this often
SHORTEST_INTERVAL: Final = 0.25  # seconds between refreshes, however short what is left of the lease
RETRY_BUDGET: Final = 10  # failures answered by a quick retry
LONGEST_RETRY: Final = 30.0  # seconds between quick retries, at most
LONGEST_PATIENCE: Final = 900.0  # seconds between attempts once the budget is spent


@dataclass(frozen=True, slots=True)
class Lease:
    """A verified lease: the token, when the call that got it was first sent, and for how many seconds from then it holds."""

    token: str
    sent_at: Instant
    length: float

    def left(self, now: Instant) -> float:
        """Give the seconds left; negative once it has ended."""
        return self.length - now.since(self.sent_at)

    def or_longer(self, earlier: "Lease", now: Instant) -> "Lease":
        """Give this lease, to hold as long as an earlier one of the same life does: a place counts until its last lease ends.

        A lease that came late, to a repeated call, may seem to end before the one that it prolongs.
        """
        return self if self.left(now) >= earlier.left(now) else replace(earlier, token=self.token)


@dataclass(frozen=True, slots=True)
class Due:
    """When the next attempt is due: so many seconds after an instant."""

    since: Instant
    after: float

    def left(self, now: Instant) -> float:
        """Give the seconds until it is due."""
        return self.after - now.since(self.since)


@dataclass(frozen=True, slots=True)
class Holding:
    """A seat that this program holds, or held."""

    lease: Lease
    due: Due
    failures: int = 0
    step: Step = "refresh"
    gone: bool = False  # the server said so, though the lease may not have ended
    second_chance: bool = True  # may activate again after seat.gone
    ended: Literal["lost", "returned"] | None = None  # nothing more will be attempted


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for this long, then ask again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """Call the server now."""

    step: Step


@dataclass(frozen=True, slots=True)
class Stop:
    """There is nothing left to do for this seat."""


Action = Wait | Attempt | Stop


def next_action(holding: Holding, now: Instant) -> Action:
    """Say what to do now. A wait ends no later than the moment at which the state may change by itself."""
    if holding.ended is not None:
        return Stop()
    due = holding.due.left(now)
    if due <= 0:
        return Attempt(holding.step)
    left = holding.lease.left(now)
    turns = [turn for turn in (left - holding.lease.length / 2, left) if turn > 0]
    return Wait(min(due, LONGEST_WAIT, *turns))


def state_at(holding: Holding, now: Instant) -> State:
    """Say how the seat stands.

    At risk: attempts fail, or the seat has to be taken anew, and less than half of the lease is left.
    """
    if holding.ended == "returned":
        return "returned"
    left = holding.lease.left(now)
    if holding.ended or holding.gone or left <= 0:
        return "lost"
    troubled = holding.failures > 0 or holding.step == "activate" or holding.due.left(now) < -holding.lease.length / 6
    return "at risk" if troubled and left <= holding.lease.length / 2 else "held"


def held(lease: Lease, *, draw: float, second_chance: bool = True) -> Holding:
    """Give the seat as it is after a lease came: due for a refresh at a jittered third of it."""
    third = max(lease.length / 3 * (0.8 + 0.4 * draw), SHORTEST_INTERVAL)
    return Holding(lease=lease, due=Due(lease.sent_at, third), second_chance=second_chance)


def borrowed(lease: Lease, now: Instant) -> Holding:
    """Give the seat that a device took home: nobody needs to be asked before its lease has ended."""
    return Holding(lease=lease, due=Due(now, lease.left(now)))


def with_lease(holding: Holding, lease: Lease) -> Holding:
    """Replace the lease and leave the timetable alone: a feature call's lease is no longer than what was left."""
    return replace(holding, lease=lease)


def failed(holding: Holding, now: Instant, *, draw: float, retry_after: float = 0.0) -> Holding:
    """Give the seat after an attempt that brought nothing; `retry_after` is what the server asked for, in seconds.

    It is granted as far as the lease allows: a server, or whoever poses as one, may ask for peace but not for the seat.
    """
    failures, left = holding.failures + 1, holding.lease.left(now)
    peace = min(retry_after, left / 3 if left > 0 else LONGEST_PATIENCE)
    return replace(holding, failures=failures, due=Due(now, max(_pause(holding.lease.length, failures, draw), peace)))


def gone(holding: Holding, now: Instant) -> Holding:
    """Give the seat after `seat.gone`: lost, and due for one new activation if there wasn't one just now."""
    if not holding.second_chance:
        return lost(holding)
    return replace(holding, gone=True, step="activate", second_chance=False, due=Due(now, 0.0))


def doubted(holding: Holding, now: Instant) -> Holding:
    """Give the seat after the server no longer took our word (`nonce.stale`, a token it doesn't know).

    The lease still holds, so the seat isn't gone; activating with the token puts the conversation right, once.
    """
    if not holding.second_chance:
        return lost(holding)
    return replace(holding, step="activate", second_chance=False, due=Due(now, 0.0))


def lost(holding: Holding) -> Holding:
    """Give the seat as lost for good."""
    return replace(holding, ended="lost")


def returned(holding: Holding) -> Holding:
    """Give the seat as given back."""
    return replace(holding, ended="returned")


def _pause(length: float, failures: int, draw: float) -> float:
    """Full jitter within the budget (a random point below a doubling ceiling), a patient third of the lease beyond it."""
    if failures > RETRY_BUDGET:
        return max(min(length / 3, LONGEST_PATIENCE), 1.0) * (0.5 + draw)
    ceiling = min(max(length / 120, 0.1) * 2.0**failures, max(length / 6, 0.2), LONGEST_RETRY)
    return draw * ceiling
