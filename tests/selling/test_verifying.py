"""Whether facts, counters and places say the same: and what is said when they don't."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from seatkeeper_server.domain.terms import Kind, Right
from seatkeeper_server.service import verifying
from seatkeeper_server.service.calls import Verb
from seatkeeper_server.service.verifying import Result, Verified
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.sqlite import SqliteStore
from tests.selling.conftest import books, granted, take
from tests.support.house import House, activate, held, make_house


def verify(house: House) -> Verified:
    """Verify a house's database."""

    def read(question: Callable[[Catalogue], Result]) -> Result:
        with books(house) as catalogue:
            return question(catalogue)

    return verifying.verify(read)


@pytest.fixture
def lived_in(store: SqliteStore) -> House:
    """A house in which much has happened: taken, refused, returned, lapsed, taken over, features drawn and used up."""
    features = (Right("render", Kind.ELEMENT_POOL, 10), Right("pages", Kind.USAGE_COUNT, 100))
    house = make_house(store, seats=3, features=features, linger=timedelta(seconds=10))
    ann = granted(house, activate("ann", features={"render": 4, "pages": 7}))
    take(house, "bob", "bob")
    house.one(activate("eve"))
    house.one(held(Verb.RETURN, ann))
    house.pass_(11)
    house.one(activate("joe", features={"render": 2}))
    house.pass_(200)
    house.one(activate("kim", features={"pages": 1}))
    house.sweep()
    return house


def test_a_house_in_which_much_has_happened_verifies(lived_in: House) -> None:
    """Chains hold, and facts and places come to the counters; used-up amounts outlive their places."""
    found = verify(lived_in)

    assert found.breaks == []
    assert found.facts == len(lived_in.facts())
    assert found.chains == 2
    assert found.counters == 3


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_chain_is_walked_page_by_page(lived_in: House, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """However much is read at once, every fact is seen once."""
    monkeypatch.setattr(verifying, "AT_ONCE", page)
    found = verify(lived_in)

    assert found.holds
    assert found.facts == len(lived_in.facts())


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE fact SET data = replace(data, '\"bob', '\"tom') || ' ' WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET at = at + 1 WHERE number = 3", "fact 3 .* was changed"),
        ("UPDATE fact SET holder = 9 WHERE number = 4", "fact 4 .* was changed"),
        ("DELETE FROM fact WHERE number = 5", "fact 5 is missing"),
        ("DELETE FROM fact WHERE number = (SELECT max(number) FROM fact)", "the chain ends at fact"),
        ("UPDATE pool SET head = replace(head, substr(head, 1, 8), '00000000')", "the chain ends at fact"),
        ("UPDATE pool_right SET used = used + 1 WHERE key = ''", "seats: the counter says 2, the facts add up to 1"),
        ("UPDATE pool_right SET used = used - 1 WHERE key = 'pages'", "pages: the counter says 7, the facts add up to 8"),
        ("DELETE FROM holding WHERE occupies = 1", "seats: the counter says 1, the places add up to 0"),
    ],
)
def test_every_tampering_is_found_and_named(lived_in: House, tampering: str, said: str) -> None:
    """A changed, missing or cut-off fact, a counter or a place that doesn't fit: it says where it breaks."""
    lived_in.rows(tampering)
    found = verify(lived_in)

    assert not found.holds
    assert any(re.search(said, one.what) for one in found.breaks), found.breaks
