"""What several processes count on one board is one sum."""

import pytest

from seatkeeper_server.http.counting import PROCESS_BYTES, ROWS, Board, Counts, Sizes


def counted(counts: Counts) -> dict[str, float]:
    """Give the values of a counter by its label."""
    (family,) = counts.collect()
    return {sample.labels["rule"]: sample.value for sample in family.samples}


def counts_on(board: Board) -> Counts:
    """Give a counter of two rules."""
    return Counts(board, "refusals", "Refusals.", "rule", ["full", "gone"], "(others)")


def test_two_processes_are_counted_together() -> None:
    """Each counts in its own part of the memory, and both show the sum."""
    memory = bytearray(2 * PROCESS_BYTES)
    one, other = counts_on(Board(memory, 0)), counts_on(Board(memory, 1))
    one.count("full")
    one.count("gone")
    other.count("full")
    other.count("what nobody knows")

    assert counted(one) == counted(other) == {"full": 2, "gone": 1, "(others)": 1}


def test_who_takes_a_dead_ones_place_counts_on() -> None:
    """No counter falls because a worker was started again."""
    memory = bytearray(2 * PROCESS_BYTES)
    counts_on(Board(memory, 1)).count("full")
    successor = counts_on(Board(memory, 1))
    successor.count("full")

    assert counted(successor)["full"] == 2


def test_sizes_fall_into_their_buckets_in_every_process() -> None:
    """A bucket holds what is at most its bound; the sum of all sizes is told too."""
    memory = bytearray(2 * PROCESS_BYTES)
    for place, size in ((0, 1.0), (1, 1.5), (1, 9.0)):
        Sizes(Board(memory, place), "calls", "Calls.", ("route",), (1, 2)).observe(("GET /",), size)
    (family,) = Sizes(Board(memory, 0), "calls", "Calls.", ("route",), (1, 2)).collect()

    assert {(s.name, s.labels.get("le")): s.value for s in family.samples} == {
        ("calls_bucket", "1.0"): 1,
        ("calls_bucket", "2.0"): 2,
        ("calls_bucket", "+Inf"): 3,
        ("calls_count", None): 3,
        ("calls_sum", None): 11.5,
    }


def test_labels_without_bound_are_an_error() -> None:
    """A board has room for so many names: who needs more has forgotten a bound."""
    board = Board()
    for number in range(ROWS):
        board.row("metric", str(number))

    with pytest.raises(OverflowError):
        board.row("metric", "one more")
