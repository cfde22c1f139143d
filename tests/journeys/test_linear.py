"""What a crowd of programs sees on a real server could have been seen at one counter of seats. `make linear` takes longer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.linear import postgres, tampering
from tests.linear.checker import check
from tests.linear.drive import Plan, drive
from tests.linear.history import Kind, Outcome, lost
from tests.linear.programs import Habits

RESTLESS = Habits(think=0.02, asks_again=0.04, dies=0.008, sleeps=0.004, sleeps_for=(1.0, 9.0), repeats=0.06)
HARD_TO_TELL = 3  # untrue histories that may pass: on a busy machine some differ from a true one by less than is known of times
SHORT = Plan(operations=8_000, clients=60, seats=30, lease=1, habits=RESTLESS)


@pytest.mark.timeout(300)
def test_a_real_server_is_linearizable(tmp_path: Path) -> None:
    """Programs that take, keep, lose, repeat, take over and draw get only answers that one counter gives; all seats are held.

    The same history, changed in one place or judged by rules that were not sold, is not accepted.
    """
    result = drive(SHORT, tmp_path)
    verdict = check(result.history)
    untrue = {name: check(history).accepted for name, history in tampering.all_of(result.history, Random(1))}

    assert verdict.accepted, verdict
    assert verdict.occupancy is not None
    assert verdict.occupancy.most == SHORT.seats
    assert sum(untrue.values()) <= HARD_TO_TELL, [name for name, accepted in untrue.items() if accepted]
    assert {kind for kind in Kind if kind is not Kind.DOWNTIME} == {call.kind for call in result.history.operations}
    assert result.record.odd == []
    assert result.record.checked > 0
    assert result.logged == {}


@pytest.mark.timeout(300)
def test_a_server_that_is_killed_is_linearizable(tmp_path: Path) -> None:
    """A server that is killed under load and started again forgets nothing that it acknowledged, and grants nothing twice."""
    plan = replace(SHORT, operations=5_000).with_kills(2)

    result = drive(plan, tmp_path)
    verdict = check(result.history)

    assert verdict.accepted, verdict
    assert any(call.outcome is Outcome.UNKNOWN for call in result.history.operations)
    assert lost(result.history) == []
    assert result.record.odd == []


@pytest.fixture
def database() -> Iterator[postgres.Postgres]:
    """A PostgreSQL that can be killed."""
    found = pytest.importorskip("tests.support.postgres").servers()
    if not found:
        pytest.skip("there is no PostgreSQL to test with")
    with postgres.running(next(iter(found.values()))) as running:
        yield running


@pytest.mark.timeout(300)
def test_two_servers_on_one_database_are_one_counter(tmp_path: Path, database: postgres.Postgres) -> None:
    """It makes no difference which of two servers on one PostgreSQL is asked; one of them is killed, and comes back."""
    result = drive(replace(SHORT, operations=4_000, servers=2).with_kills(1), tmp_path, database)
    verdict = check(result.history)

    assert verdict.accepted, verdict
    assert database.logged("deadlock detected") == 0
    assert lost(result.history) == []
    assert result.record.odd == []


@pytest.mark.timeout(300)
def test_a_database_that_is_killed_costs_nobody_his_seat(tmp_path: Path, database: postgres.Postgres) -> None:
    """PostgreSQL dies under two servers and comes back: nothing acknowledged is forgotten, no running program is put out."""
    result = drive(replace(SHORT, operations=4_000, servers=2).with_kills(0, 2), tmp_path, database)
    verdict = check(result.history)

    assert verdict.accepted, verdict
    assert lost(result.history) == []
    assert result.record.odd == []
