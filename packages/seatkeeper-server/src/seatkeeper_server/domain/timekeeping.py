"""Downtime does not count: what an outage, a suspend or a step of the clock does to leases (decision 8).

A server commits an alive moment with every transaction and at least every beat. A transaction that finds the last one more
than three beats old knows that nobody could refresh in between, and gives that time back, once:

    expires_at := max(expires_at + gap, now + one refresh interval)

The second part of that maximum is given at most once between two refreshes (`floored`), so that a server in a crash loop
still frees the seats of the dead: they get the time the server was down, never more.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.domain.holdings import Holding, State
from seatkeeper_server.domain.terms import Mode, Terms

BEAT = timedelta(seconds=2)
BEATS_MISSED = 3  # a gap of more beats than this is downtime
MICROSECOND = timedelta(microseconds=1)
EARLIER_BY = timedelta(days=1)  # a certificate is valid from before it was made: two clocks may differ, a site's be behind


class Alive(Struct, frozen=True):
    """The last moment at which this database was known to be served.

    `boot_id` and `boot_at` are the operating system's boot and the time counted since, when it was written; `drift` is how
    far the wall clock has moved against that, in steps too small to be downtime; `offset` keeps time running when the wall
    clock is behind what was recorded. `given` counts how many times lost time was given back, so that of several servers only
    one does it.
    """

    at: datetime
    boot_id: str = ""
    boot_at: timedelta = timedelta(0)
    drift: timedelta = timedelta(0)
    offset: timedelta = timedelta(0)
    given: int = 0


def margin_for(beat: timedelta) -> timedelta:
    """Tell how long a place is kept beyond its lease: as long as the longest gap that is not treated as downtime."""
    return beat * BEATS_MISSED


def downtime(alive_at: datetime, now: datetime, beat: timedelta) -> timedelta:
    """Tell how much time nobody could refresh in; nothing if the gap is small enough for the margin."""
    gap = now - alive_at
    return gap if gap > margin_for(beat) else timedelta(0)


def offset(alive: Alive, told: datetime, beat: timedelta) -> timedelta:
    """Tell how far a database's time runs ahead of its clock: as far as it did, and so far that time goes on.

    Nothing once the clock has caught up with what was recorded. Less than a beat is no matter: time stands still for so long.
    """
    if told >= alive.at:
        return timedelta(0)
    return alive.offset if told + alive.offset >= alive.at - beat else alive.at - told


def step(alive: Alive, now: datetime, boot_id: str, boot_at: timedelta) -> timedelta:
    """Tell by how much a database's time moved against the boot clock since it was last served.

    After a reboot that can't be known, so that all of the time since may have been a step.
    """
    if not boot_id or boot_id != alive.boot_id:
        return max(now - alive.at, timedelta(0))
    return (now - alive.at) - (boot_at - alive.boot_at)


def extended(holding: Holding, terms: Terms, gap: timedelta, now: datetime) -> Holding:
    """Give a holding the time back that nobody could refresh in.

    A place that only waits for a lease to end is kept longer too: if the clock has stepped, no time has passed for whoever
    believes in that lease. So is a borrowed one, whose lease needs no server (a node lock's place has no end to move). A
    returned one isn't, unless it was borrowed: nobody believes in it. A share isn't: its server goes by its own clock.
    """
    if not holding.occupies or holding.is_share or holding.is_due(now - gap):
        return holding
    if holding.state is State.RETURNED and not holding.is_borrowed:
        return holding
    if holding.state is not State.HELD or (holding.is_borrowed and holding.free_at is not None):
        return replace(holding, free_at=holding.free_at + gap if holding.free_at else None)
    floor = holding.expires_at if holding.floored else now + terms.refresh_interval
    ends_at = max(holding.expires_at + gap, floor)
    return replace(
        holding,
        expires_at=max(holding.expires_at, terms.bounded(ends_at)),
        free_at=ends_at + terms.margin if terms.mode is Mode.CONCURRENT else None,
        floored=holding.floored or floor > holding.expires_at + gap,
    )
