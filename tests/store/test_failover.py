"""A primary dies and its synchronous standby takes over: no acknowledged seat is lost, and nobody has to do anything."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from seatkeeper_server.service.calls import Refused, Served
from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.store.postgres import PostgresStore
from support import postgres
from support.house import START, House, activate, make_house
from support.postgres import Cluster, HandTimedStore

TAKES_OVER_WITHIN = 20  # seconds


@dataclass(frozen=True)
class Pair:
    """A primary and its standby."""

    primary: Cluster
    standby: Cluster

    @property
    def uri(self) -> str:
        """How to connect to whichever is the primary."""
        both = f"host={self.primary.directory},{self.standby.directory}"
        return f"{both} dbname=seats user=postgres"

    def fail_over(self) -> None:
        """Let the primary die and the standby take over."""
        self.primary.kill()
        self.standby.admin("SELECT pg_promote()")


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two PostgreSQL servers; a commit is acknowledged when both have it on disk."""
    programs = next(iter(postgres.servers().values()))
    with postgres.running(programs) as primary:
        primary.admin("CREATE DATABASE seats")
        with postgres.running(programs, primary) as standby:
            primary.admin("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.admin("SELECT pg_reload_conf()")
            deadline = time.monotonic() + TAKES_OVER_WITHIN
            while primary.admin("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Pair(primary, standby)


def insist(house: House, seat_id: str) -> object:
    """Ask as a program does: again, as long as the server is away."""
    deadline = time.monotonic() + TAKES_OVER_WITHIN
    while True:
        try:
            return house.one(activate(seat_id, f"key-{seat_id}"))
        except StorageUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def life_of(outcome: object) -> tuple[str, int]:
    """Which life of which seat was served."""
    assert isinstance(outcome, Served)
    return outcome.holding.activation_id, outcome.holding.generation


def test_no_acknowledged_seat_is_lost_when_the_standby_takes_over(pair: Pair) -> None:
    """The same server, with the same settings, goes on with the standby; every seat it gave is still there."""
    with closing(HandTimedStore(pair.uri)) as store:
        house = make_house(store, seats=40)
        before = [house.one(activate(f"s{number}", f"key-s{number}")) for number in range(30)]
        pair.fail_over()
        again = [insist(house, f"s{number}") for number in range(30)]
        after = [insist(house, f"t{number}") for number in range(11)]
        used = house.used()

    assert all(isinstance(outcome, Served) for outcome in before)
    assert [life_of(outcome) for outcome in again] == [life_of(outcome) for outcome in before]
    assert [type(outcome) for outcome in after] == [Served] * 10 + [Refused]
    assert used == 40


def test_a_standby_serves_nobody(pair: Pair) -> None:
    """Who reaches only the standby is told so before anything is decided, and finds the primary as soon as there is one."""
    with closing(HandTimedStore(pair.uri)) as store:
        make_house(store)
    with closing(PostgresStore(pair.standby.uri("seats"))) as store:
        with pytest.raises(StorageUnavailable, match="during recovery"), store.transaction():
            pass
        pair.fail_over()
        found = store.found("db_other", START)

    assert found[0] != "db_other"
