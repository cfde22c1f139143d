"""One time for several servers: the database's own clock, watched by each of them (decision 8)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import psycopg
import pytest

from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.service.ports import Transaction
from seatkeeper_server.service.timekeeping import ClockState, Timekeeper, clerk_now, set_clock_back
from seatkeeper_server.store.postgres import PostgresStore
from support.house import HandClock, House, activate, held, make_house
from support.postgres import Cluster

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

# The database's clock can be moved by hand: what PostgreSQL finds under this name before its own.
MOVABLE = """
CREATE SCHEMA hand;
CREATE TABLE hand.shift (by interval NOT NULL);
INSERT INTO hand.shift VALUES ('0');
CREATE FUNCTION hand.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM hand.shift';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, hand, pg_catalog', current_database()); END $$;
"""


@dataclass
class Machines:
    """Servers on one database, each on a machine of its own, and the database's machine."""

    uri: str
    opened: ExitStack
    servers: list[House] = field(default_factory=list)

    def serve(self, wall: datetime, boot: str) -> House:
        """Start a server on a machine whose clock shows this."""
        clock = HandClock(wall, boot)
        store = self.opened.enter_context(closing(PostgresStore(self.uri)))
        house = make_house(store) if not self.servers else self.servers[0]
        server = replace(house, store=store, clock=clock, timekeeper=Timekeeper(clock))
        with store.transaction() as tx:
            server.timekeeper.start(tx)
        self.servers.append(server)
        self.beat(server)
        return server

    def beat(self, server: House) -> datetime:
        """Do what every transaction begins with; the time it is for that server."""
        with server.store.transaction() as tx:
            return server.timekeeper.begin(tx, "")

    def step(self, by: timedelta) -> None:
        """Set the clock of the database's machine."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute("UPDATE hand.shift SET by = by + %s", (by,))

    def pass_(self, by: timedelta) -> None:
        """Let time pass, for the database and all servers."""
        self.step(by)
        for server in self.servers:
            server.clock.pass_(by)

    def alive(self) -> tuple[int, timedelta]:
        """How many times time was given back, and how far the database's time runs ahead of its clock."""
        with self.servers[0].store.transaction() as tx:
            alive = tx.alive()
        assert alive is not None
        return alive.given, alive.offset


@pytest.fixture
def machines(cluster: Cluster) -> Iterator[Machines]:
    """A database whose clock is moved by hand, and no server yet."""
    with cluster.database() as uri, ExitStack() as opened:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(MOVABLE.encode())
        yield Machines(uri, opened)


@pytest.fixture
def two(machines: Machines) -> tuple[House, House]:
    """Two servers, whose machines don't agree what year it is."""
    return (
        machines.serve(datetime(2019, 1, 1, tzinfo=UTC), "boot-a"),
        machines.serve(datetime(2031, 1, 1, tzinfo=UTC), "boot-b"),
    )


def expiry(house: House) -> datetime:
    """When the one lease that is held ends."""
    micros = house.rows("SELECT expires_at FROM holding WHERE occupies = 1")[0][0]
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def take(house: House) -> datetime:
    """Have a seat taken; when its lease ends."""
    assert isinstance(house.one(activate("a")), Served)
    return expiry(house)


def test_servers_whose_clocks_differ_agree_on_the_databases_time(machines: Machines, two: tuple[House, House]) -> None:
    """Whatever the machines' clocks show, a lease of one server is served on by the other, and no time is lost or given."""
    one, other = two
    now = datetime.now(UTC)
    seat = one.one(activate("a"))
    assert isinstance(seat, Served)
    other.clock.pass_(HOUR)  # its machine counts hours that don't pass
    refreshed = other.one(held(Verb.REFRESH, seat))

    assert isinstance(refreshed, Served)
    assert max(abs(moment - now) for moment in (seat.at, refreshed.at, one.clock.now(), other.clock.now())) < 5 * SECOND
    assert machines.alive() == (0, timedelta(0))


def test_an_outage_is_given_back_once(machines: Machines, two: tuple[House, House]) -> None:
    """Two servers find the same gap at the same moment: every lease gets that time once."""
    before = take(two[0])
    machines.pass_(HOUR)
    together = Barrier(2)

    def begin(server: House) -> datetime:
        together.wait()
        return machines.beat(server)

    with ThreadPoolExecutor(2) as beside:
        moments = list(beside.map(begin, two))

    assert abs(expiry(two[0]) - before - HOUR) < 5 * SECOND
    assert abs(moments[0] - moments[1]) < SECOND
    assert machines.alive()[0] == 1
    assert two[0].facts().count("Note") == 1


@pytest.mark.parametrize("steps", [[HOUR], [2 * SECOND, 2 * SECOND]], ids=["one of an hour", "two of two seconds"])
def test_a_step_of_the_databases_clock_is_given_back_once(
    machines: Machines, two: tuple[House, House], steps: list[timedelta]
) -> None:
    """A clock that is set forward ends no lease: small steps are summed until they count, and both servers count them once."""
    before = take(two[0])
    for step in steps:
        machines.step(step)
        for server in two:
            machines.beat(server)
    for server in two:
        machines.beat(server)

    assert machines.alive()[0] == 1
    assert abs(expiry(two[0]) - before - sum(steps, timedelta(0))) < SECOND


def test_a_small_step_alone_is_within_the_margin(machines: Machines, two: tuple[House, House]) -> None:
    """Two seconds change nothing: places are kept six seconds longer than their leases."""
    before = take(two[0])
    machines.step(2 * SECOND)
    for server in two:
        machines.beat(server)

    assert (machines.alive()[0], expiry(two[0])) == (0, before)


def test_time_goes_on_when_the_databases_clock_falls_behind(machines: Machines, two: tuple[House, House]) -> None:
    """A fail-over to a machine whose clock is an hour behind: time goes on from what was recorded, for all servers alike."""
    before = machines.beat(two[0])
    machines.step(-HOUR)
    after = [machines.beat(server) for server in two]
    machines.pass_(3 * SECOND)
    later = [machines.beat(server) for server in two]

    assert [abs(moment - before) < SECOND for moment in after] == [True, True]
    assert [abs(moment - before - 3 * SECOND) < SECOND for moment in later] == [True, True]
    assert [server.timekeeper.state for server in two] == [ClockState.SUSPECT] * 2


def test_a_clock_that_is_right_again_is_believed_again(machines: Machines, two: tuple[House, House]) -> None:
    """When the clock has been set right, the time that ran ahead of it does so no longer, and no lease is any longer."""
    before = take(two[0])
    machines.step(-HOUR)
    for server in two:
        machines.beat(server)
    machines.step(HOUR)
    for server in two:
        machines.beat(server)

    assert machines.alive() == (0, timedelta(0))
    assert [server.timekeeper.state for server in two] == [ClockState.OK] * 2
    assert expiry(two[0]) == before


def test_time_that_was_given_back_in_vain_is_given_back_again(machines: Machines, two: tuple[House, House]) -> None:
    """The transaction that gave it back failed: the next one does it."""
    before = take(two[0])
    machines.step(HOUR)
    with pytest.raises(RuntimeError, match="lost"), two[0].store.transaction() as tx:
        two[0].timekeeper.begin(tx, "")
        raise RuntimeError("lost")
    machines.beat(two[0])

    assert machines.alive()[0] == 1
    assert abs(expiry(two[0]) - before - HOUR) < SECOND


def test_a_server_that_starts_beside_others_takes_their_word(machines: Machines, two: tuple[House, House]) -> None:
    """As long as others beat, no step of the clock goes unseen: starting servers one after the other gives nothing back."""
    machines.pass_(2 * SECOND)
    machines.beat(two[0])
    for number in range(4):
        machines.pass_(2 * SECOND)
        machines.serve(datetime(2026, 1, 1, tzinfo=UTC), f"boot-{number}")

    assert machines.alive()[0] == 0


def test_who_waited_for_a_pool_decides_by_the_time_it_is_then(machines: Machines, two: tuple[House, House]) -> None:
    """A transaction's time is not older than that of the one it waited for."""
    with ThreadPoolExecutor(1) as beside:
        with two[0].store.transaction() as tx:
            two[0].timekeeper.begin(tx, "")
            tx.lock([key_of(two[0])], ())
            waiting = beside.submit(two[1].one, activate("b"))
            machines.step(2 * SECOND)
            until = datetime.now(UTC) + 2 * SECOND
        outcome = waiting.result(10)

    assert isinstance(outcome, Served)
    assert outcome.at >= until


def test_lost_time_is_not_given_back_under_a_decision(machines: Machines, two: tuple[House, House]) -> None:
    """Who decides about a pool has read its leases: they are made longer before that or after it, never meanwhile."""
    before = take(two[0])
    with ThreadPoolExecutor(1) as beside:
        with two[0].store.transaction() as tx:
            two[0].timekeeper.begin(tx, "")
            tx.lock([key_of(two[0])], ())
            machines.pass_(HOUR)
            giving = beside.submit(machines.beat, two[1])
            with pytest.raises(TimeoutError):
                giving.result(0.3)
        giving.result(10)

    assert abs(expiry(two[0]) - before - HOUR) < 5 * SECOND


def key_of(house: House) -> tuple[str, str]:
    return "t_" + "T" * 22, house.entitlement_id


def test_the_alive_moment_is_not_written_by_every_transaction(machines: Machines, two: tuple[House, House]) -> None:
    """It stands in one row, for which transactions of different pools would wait: once a second is enough."""

    def written() -> str:
        return str(two[0].rows("SELECT xmin FROM alive")[0][0])

    machines.pass_(2 * SECOND)
    machines.beat(two[0])
    first = written()
    for server in two:
        machines.beat(server)
    second = written()
    machines.pass_(2 * SECOND)
    machines.beat(two[1])

    assert first == second != written()


def test_verbs_go_by_the_databases_time(machines: Machines, two: tuple[House, House]) -> None:
    """A verb on a third machine is told the servers' time, however wrong its own clock is."""

    def now(tx: Transaction) -> datetime:
        return clerk_now(tx, datetime(2001, 1, 1, tzinfo=UTC))

    with two[0].store.transaction() as tx:
        told = now(tx)

    assert abs(told - machines.beat(two[1])) < SECOND


def test_an_operator_sets_back_what_a_wrong_clock_recorded(machines: Machines, two: tuple[House, House]) -> None:
    """The clock ran an hour ahead and was set right: leases move with the recorded moment, and every server follows."""
    machines.step(HOUR)
    for server in two:
        machines.beat(server)
    before = take(two[0])
    machines.step(-HOUR)
    for server in two:
        machines.beat(server)
    with two[0].store.transaction() as tx:
        set_clock_back(tx, datetime(2001, 1, 1, tzinfo=UTC))
    moments = [machines.beat(server) for server in two]

    assert abs(expiry(two[0]) - before + HOUR) < 2 * SECOND
    assert [abs(moment - datetime.now(UTC)) < 2 * SECOND for moment in moments] == [True, True]
    assert machines.alive()[1] == timedelta(0)
    assert [server.timekeeper.state for server in two] == [ClockState.OK] * 2
