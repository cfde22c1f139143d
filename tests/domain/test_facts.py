"""Facts: written down or not, without secrets, and chained so that none can be changed unnoticed."""

from datetime import UTC, datetime

import pytest

from seatkeeper_server.domain.facts import (
    CHAIN_START,
    Claimed,
    Denied,
    Fact,
    Note,
    Refreshed,
    Repeated,
    details,
    link,
)
from seatkeeper_server.domain.holdings import Nonces
from seatkeeper_server.domain.pool import apply
from tests.domain.build import at, pool

NONCES = Nonces("secret nonce", "older nonce", b"fingerprint")


def _claimed() -> Claimed:
    return Claimed(
        at=at(0), activation_id="a", generation=1, holder=1, taken={"": 1}, rights={"": 1}, expires_at=at(60), nonces=NONCES
    )


def test_a_fact_bears_no_secret() -> None:
    """What is written down can be read by many."""
    assert "nonce" not in str(details(_claimed()))


def test_a_fact_says_by_how_much_it_changed_the_counters() -> None:
    """Adding up the facts of an entitlement rebuilds its counters."""
    assert details(_claimed())["taken"] == {"": 1}


def test_what_a_fact_counts_as_nothing_is_still_said() -> None:
    """0 is not the same as not known."""
    denied = Denied(at=at(0), rule="pool-full", problem="seats.exhausted", limit=0, used=0)

    assert (details(denied)["limit"], details(denied)["used"]) == (0, 0)


@pytest.mark.parametrize("noted", [True, False])
def test_a_refresh_is_written_down_only_where_it_says_so(noted: bool) -> None:
    """A refresh moves expires_at and is no fact, beyond at most one per holding and hour."""
    fact = Refreshed(at=at(0), activation_id="a", generation=1, rights={}, expires_at=at(60), nonces=NONCES, noted=noted)

    assert fact.recorded is noted


def test_an_answer_given_again_is_not_written_down() -> None:
    """Nothing but the sequence moves."""
    assert not Repeated(at=at(0)).recorded


def test_facts_speak_of_utc() -> None:
    """Every moment is UTC."""
    assert at(0) == datetime(2026, 1, 1, tzinfo=UTC)


def test_each_link_depends_on_all_that_was_before() -> None:
    """To change one afterwards, all later ones would have to be changed too."""
    honest = link(link(CHAIN_START, b"first"), b"second")
    forged = link(link(CHAIN_START, b"forged"), b"second")

    assert honest != forged
    assert len(honest) == len(CHAIN_START) == 32


def test_a_fact_of_an_unknown_kind_can_not_be_applied() -> None:
    """Nothing else changes a pool."""
    with pytest.raises(TypeError, match="can't apply"):
        apply(pool(), Fact(at=at(0)))


def test_a_note_changes_no_counter() -> None:
    """Something people or the server did."""
    before = pool()

    assert apply(before, Note(at=at(0), what="sold")) == before
