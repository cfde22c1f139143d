"""What servers do for usage on the side: they roll facts up, and before facts go."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from seatkeeper.protocol.ids import b64url
from seatkeeper_server.apps.chores import Chores
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.service.tidying import Tidying
from seatkeeper_server.store.sqlite import SqliteStore
from support.house import House, activate, held, make_house

KEPT = timedelta(days=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house in which two have come and one has gone."""
    with closing(SqliteStore(tmp_path / "seatkeeper.db")) as store:
        house = make_house(store)
        first = house.one(activate("a"))
        assert isinstance(first, Served)
        house.ask(activate("b"), held(Verb.RETURN, first))
        yield house


def chores_of(house: House) -> Chores:
    """Give the chores of a server on this house's data."""
    assert isinstance(house.store, SqliteStore)
    tidying = Tidying(lambda tenant_id, payload: f"e30.{b64url(payload)}.e30", facts_kept=KEPT)
    return Chores(store=house.store, seal=SealKey(bytes(32)), database_id="db_1", tidying=tidying, now=house.clock.now)


def rolled_up(house: House) -> list[tuple[int, int]]:
    """Give up to which fact it was rolled up, and how many sessions that came to."""
    return house.rows("SELECT number, (SELECT count(*) FROM usage_session) FROM usage_mark")


def test_what_has_happened_is_rolled_up(house: House) -> None:
    """Two came, one went: three facts and two sessions; done again there is nothing to do."""
    chores = chores_of(house)
    chores.roll_up(Event())
    once = rolled_up(house)
    chores.roll_up(Event())

    assert once == [(3, 2)]
    assert rolled_up(house) == once


def test_a_server_that_stops_rolls_nothing_up(house: House) -> None:
    """The rest is for the next one, or for whoever looks."""
    over = Event()
    over.set()
    chores_of(house).roll_up(over)

    assert rolled_up(house) == []


def test_facts_are_rolled_up_before_they_go(house: House) -> None:
    """After two days all of them are old; what they came to is kept."""
    house.clock.pass_(KEPT * 2)
    chores_of(house).tidy(Event())

    assert house.rows(f"SELECT count(*) FROM fact WHERE chain_id = '{house.entitlement_id}'") == [(0,)]
    assert rolled_up(house) == [(3, 2)]
