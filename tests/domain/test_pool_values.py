"""A pool is copied by hand where speed asks for it; no field may be forgotten."""

from dataclasses import fields

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.pool import Pool, apply
from tests.domain.build import at, bench


def _others(pool: Pool) -> dict[str, object]:
    return {each.name: getattr(pool, each.name) for each in fields(pool) if each.name != "holdings"}


def _unlike_a_new_one() -> Pool:
    full = bench(seats=3).pool
    return Pool(
        terms=full.terms, tallies=full.tallies, sequence=11, holders=7, excess=2, lost_after=5, lost_until=9, holdings={}
    )


def test_seeing_other_holdings_changes_nothing_else() -> None:
    """What is in sight is a matter of the request; the counters are the pool's."""
    pool = _unlike_a_new_one()

    assert _others(pool.seeing({})) == _others(pool)


def test_a_seat_taken_changes_only_what_the_fact_says() -> None:
    """Every other counter is carried over."""
    pool = bench(seats=3)
    pool.pool = _unlike_a_new_one()
    pool.take("a", 0)
    after = _others(pool.pool)

    same = ("terms", "lost_after", "lost_until")

    assert (after["sequence"], after["holders"]) == (12, 8)
    assert {name: after[name] for name in same} == {name: getattr(_unlike_a_new_one(), name) for name in same}


def test_a_note_changes_nothing() -> None:
    """What people did is written down beside the counters."""
    pool = _unlike_a_new_one()

    assert _others(apply(pool, Note(at=at(0), what="sold"))) == _others(pool)
