"""What the project promises about speed, and whether it is kept.

Two lists, both in force: the first, and the one that came with PostgreSQL. Ratios are between servers of one phase; so they
say little about the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.cases import (
    LARGE_POOL,
    POSTGRES,
    PROMISED_AT,
    SMALL_POOL,
    SQLITE,
    STORES,
    Cell,
    Made,
    main_phase,
)
from bench.results import Results, rate

FIRST, SECOND = "A", "B"
CALLS = ("refresh", "refusal", "activate+return")
EVEN = 0.95  # what counts as no slower: two rounds of the same differ by as much
AT_SCALE = 1.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise of a list, what was measured, and whether it is kept.

    None for both if it was not measured; one without a figure is broken where the server did not answer.
    """

    of: str
    promise: str
    target: str
    measured: float | None
    unit: str
    kept: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """Give every promise's verdict."""
    return [*_first(results), *_second(results), _no_errors(results)]


def _first(results: Results) -> Iterator[Verdict]:
    yield _at_least(results, FIRST, "refusal", SQLITE, "floor", 0.5)
    yield _at_least(results, FIRST, "refresh", SQLITE, "floor", 0.3)
    yield _at_least(results, FIRST, "refusal", SQLITE, "baseline-refusal", 3)
    yield _at_least(results, FIRST, "refresh", SQLITE, "baseline-refresh", 2)
    for case in ("refusal", "refresh"):
        yield _p99(results, FIRST, case, SQLITE, 30, strictly=True)
    for case in ("refusal", "refresh"):
        yield _between_scales(results, FIRST, case, SQLITE, 100, 100_000)


def _second(results: Results) -> Iterator[Verdict]:
    for case, least in (("refresh", 0.6), ("refusal", 0.7), ("activate+return", 0.4)):
        yield _at_least(results, SECOND, case, SQLITE, "floor", least)
    for case in CALLS:
        yield _at_least(results, SECOND, case, SQLITE, f"baseline-{case}", 4)
    yield _at_least(results, SECOND, "refresh", POSTGRES, "floor", 0.35)
    yield _at_least(results, SECOND, "refresh", POSTGRES, "baseline-refresh", 3)
    for store, most in ((SQLITE, 25), (POSTGRES, 40)):
        for case in CALLS:
            yield _p99(results, SECOND, case, store, most)
    for store in STORES:
        for case in CALLS:
            yield _at_least(results, SECOND, case, store, f"baseline-{case}", EVEN, connections=1)
    for store in STORES:
        for case in ("refresh", "activate+return"):
            yield _between_scales(results, SECOND, case, store, 1_000, 1_000_000)
    for store in STORES:
        yield _pools(results, store)
    for store in STORES:
        yield _bulk(results, store)


def _at_least(
    results: Results, of: str, case: str, store: str, other: str, least: float, connections: int = PROMISED_AT
) -> Verdict:
    phase = main_phase(store)
    cell, against = (results.cell(phase, name, store, connections) for name in (case, other))
    measured = results.ratio(phase, cell, against) if cell and against else None
    name = "one commit per request" if other.startswith("baseline-") else "the floor"
    promise = f"{case}, {_named(store)}, {_connections(connections)}: times {name}"
    return _verdict(results, store, of, promise, f"≥ {least:g}", measured, "×", measured is not None and measured >= least)


def _p99(results: Results, of: str, case: str, store: str, most: float, *, strictly: bool = False) -> Verdict:
    phase = main_phase(store)
    cell = results.cell(phase, case, store, PROMISED_AT)
    measured = results.middle(phase, cell, lambda each: each.p99_ms) if cell else None
    promise = f"{case}, {_named(store)}, {_connections(PROMISED_AT)}: 99 of 100 answered within"
    kept = measured is not None and (measured < most if strictly else measured <= most)
    return _verdict(results, store, of, promise, f"{'<' if strictly else '≤'} {most:g} ms", measured, " ms", kept)


def _between_scales(results: Results, of: str, case: str, store: str, few: int, many: int) -> Verdict:
    """Compare the fewest leases with every larger number that was measured; the worst counts."""
    phase = f"growth-{store}"
    taken = results.samples.get(phase, {})
    plain = {
        cell.place.live_leases: cell for cell in taken if cell.case == case and cell.place.made is Made.PLAIN and taken[cell]
    }
    measured = None
    if few in plain and many in plain:
        measured = max(_apart(results, phase, plain[few], cell) for leases, cell in plain.items() if few < leases <= many)
    promise = f"{case}, {_named(store)}, {few:,} to {many:,} live leases: times apart"
    return _verdict(
        results, store, of, promise, f"≤ {AT_SCALE:g}", measured, "×", measured is not None and measured <= AT_SCALE
    )


def _apart(results: Results, phase: str, cell: Cell, other: Cell) -> float:
    ratio = results.ratio(phase, cell, other)
    return max(ratio, 1 / ratio)


def _pools(results: Results, store: str) -> Verdict:
    large, small = (
        results.cell("spread", f"activate+return-{seats}", store, PROMISED_AT, made=Made.POOLS)
        for seats in (LARGE_POOL, SMALL_POOL)
    )
    measured = results.ratio("spread", large, small) if large and small else None
    promise = f"activate+return, {_named(store)}, a pool of {LARGE_POOL:,} seats: times one of {SMALL_POOL}"
    return _verdict(results, store, SECOND, promise, f"≥ {EVEN:g}", measured, "×", measured is not None and measured >= EVEN)


def _bulk(results: Results, store: str) -> Verdict:
    phase = main_phase(store)
    taken = results.samples.get(phase, {})
    cells = [cell for cell in taken if cell.case == "bulk-refresh" and taken[cell]]
    measured = max((results.middle(phase, cell, rate) * cell.asked.many for cell in cells), default=None)
    promise = f"bulk refresh, {_named(store)}: leases per second"
    return _verdict(results, store, SECOND, promise, "≥ 25,000", measured, "", measured is not None and measured >= 25_000)


def _no_errors(results: Results) -> Verdict:
    promise = "answers that were not as asked for, or lost"
    return Verdict("", promise, "0", float(results.errors), "", results.errors == 0)


def _verdict(
    results: Results, store: str, of: str, promise: str, target: str, measured: float | None, unit: str, kept: bool
) -> Verdict:
    """Give a verdict. What wasn't measured is neither kept nor broken, unless that is because a server did not answer."""
    if measured is not None:
        return Verdict(of, promise, target, measured, unit, kept)
    return Verdict(of, promise, target, None, unit, False if store in {place.store for place in results.too_late} else None)


def _named(store: str) -> str:
    return {SQLITE: "SQLite", POSTGRES: "PostgreSQL"}[store]


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
