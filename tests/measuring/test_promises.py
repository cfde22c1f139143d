"""What is said of promises: a ratio is the median of the rounds' own, the worst scale counts, what is missing is no success."""

import pytest
from bench.cases import CASES, CONNECTIONS, POSTGRES, SQLITE, STORES, Cell, Place, phases
from bench.load import Sample
from bench.promises import Verdict, verdicts
from bench.results import Results, rows

PROMISED = "refresh, SQLite, 64 connections: times the floor"


def sample(rate: float, *, p99_ms: float = 1.0, errors: int = 0) -> Sample:
    """Give a round of a second."""
    right = round(rate)
    return Sample(1.0, right, errors, p50_ms=p99_ms / 2, p99_ms=p99_ms, cpu_seconds=right * 2e-5, load_seconds=right * 1e-5)


def measured(stores=STORES, rate=lambda cell: 1_000.0, rounds: int = 3, **more) -> Results:
    """Give the results of a whole run in which each cell came to the same in every round."""
    found = phases(CASES, CONNECTIONS, stores)
    return Results({phase.name: {cell: [sample(rate(cell), **more)] * rounds for cell in phase.cells} for phase in found})


def main_cell(results: Results, case: str, store: str = SQLITE) -> Cell:
    """Find a cell of the main phase, over 64 connections."""
    cell = results.cell(f"main-{store}", case, store, 64)
    assert cell is not None
    return cell


def verdict(results: Results, promise: str, of: str = "B") -> Verdict:
    """Find a verdict."""
    (found,) = [one for one in verdicts(results) if (one.of, one.promise) == (of, promise)]
    return found


def test_a_whole_run_measures_every_promise() -> None:
    """Nothing that is promised is left without a figure."""
    assert [one.promise for one in verdicts(measured()) if one.measured is None] == []


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    """Without PostgreSQL its promises have no figure."""
    found = [one for one in verdicts(measured(stores=[SQLITE])) if "PostgreSQL" in one.promise]

    assert {(one.measured, one.kept) for one in found} == {(None, None)}
    assert len(found) > 10


@pytest.mark.parametrize(("rate", "kept"), [(600, True), (599, False)])
def test_a_promise_is_kept_at_its_target(rate: int, kept: bool) -> None:
    """At least 0.6 times the floor is 0.6 and more."""
    found = measured(rate=lambda cell: rate if cell.case == "refresh" else 1_000)

    assert verdict(found, PROMISED).kept is kept


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    """A neighbour who slowed both in one round, and one in another, changes nothing: 0.9, 0.7, 0.1 come to 0.7."""
    results = measured()
    main = results.samples["main-sqlite"]
    main[main_cell(results, "floor")] = [sample(1_000), sample(100), sample(1_000)]
    main[main_cell(results, "refresh")] = [sample(900), sample(70), sample(100)]

    assert verdict(results, PROMISED).measured == pytest.approx(0.7)


def test_the_slowest_percent_counts_by_its_median() -> None:
    """Of 10, 26 and 24 ms it is 24: within 25."""
    results = measured()
    cell = main_cell(results, "refresh")
    results.samples["main-sqlite"][cell] = [sample(1_000, p99_ms=each) for each in (10, 26, 24)]
    found = verdict(results, "refresh, SQLite, 64 connections: 99 of 100 answered within")

    assert (found.measured, found.kept) == (24, True)


def test_the_worst_scale_counts() -> None:
    """A hump between a thousand and a million leases is not hidden by a million that is fast again."""
    results = measured(rate=lambda cell: 500 if cell.place.live_leases == 100_000 else 1_000)
    found = verdict(results, "refresh, SQLite, 1,000 to 1,000,000 live leases: times apart")

    assert (found.measured, found.kept) == (2, False)


def test_a_server_that_does_not_come_back_breaks_the_promise() -> None:
    """A million leases whose server answers nobody are no missing figure: the promise is broken. Others are as they are."""
    results = measured()
    late = Place("ours", SQLITE, 1_000_000)
    results.too_late.add(late)
    for cell in [cell for cell in results.samples["growth-sqlite"] if cell.place == late]:
        del results.samples["growth-sqlite"][cell]
    found = verdict(results, "refresh, SQLite, 1,000 to 1,000,000 live leases: times apart")

    assert (found.measured, found.kept) == (None, False)
    assert verdict(results, "refresh, SQLite, 100 to 100,000 live leases: times apart", of="A").kept
    assert verdict(results, "refresh, PostgreSQL, 1,000 to 1,000,000 live leases: times apart").kept


def test_facts_are_not_taken_for_leases() -> None:
    """The million facts beside a thousand leases say nothing about a million leases."""
    results = measured(rate=lambda cell: 10 if "facts" in cell.place.made else 1_000)

    assert verdict(results, "refresh, SQLite, 1,000 to 1,000,000 live leases: times apart").kept


def test_bulk_refreshes_count_leases() -> None:
    """25 requests a second of a thousand leases each keep the promise."""
    found = measured(rate=lambda cell: 25 if cell.case == "bulk-refresh" else 1_000)

    assert [verdict(found, f"bulk refresh, {name}: leases per second").kept for name in ("SQLite", "PostgreSQL")] == [
        True,
        True,
    ]
    assert {row["leases_per_second"] for row in rows(found) if row["case"] == "bulk-refresh"} == {25_000}


def test_a_wrong_answer_breaks_a_promise() -> None:
    """One answer that was not as asked for is one too many, however fast it was."""
    results = measured()
    results.samples["main-postgres"][main_cell(results, "refusal", POSTGRES)][0] = sample(1_000, errors=1)
    found = verdict(results, "answers that were not as asked for, or lost", of="")

    assert (found.measured, found.kept) == (1, False)


def test_rows_are_per_request() -> None:
    """A row says what one request took, an activation and its return being two."""
    (row,) = [
        row for row in rows(measured()) if (row["case"], row["store"], row["connections"]) == ("activate+return", SQLITE, 16)
    ]

    assert {name: row[name] for name in ("live_leases", "rps", "p50_ms", "p99_ms", "cpu_us", "errors")} == {
        "live_leases": 10_000,
        "rps": 1_000,
        "p50_ms": 0.5,
        "p99_ms": 1.0,
        "cpu_us": 20.0,
        "errors": 0,
    }
