"""What was measured: samples by phase and cell, and what they come to. A ratio is the median of the rounds' own ratios."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.cases import NONE, Cell, Made, Place
from bench.load import Sample
from bench.once import Once

Row = dict[str, object]


@dataclass(slots=True)
class Results:
    """Everything of one run. `left_out` says in sentences what was not measured, and why; `requests` are shown by name."""

    samples: dict[str, dict[Cell, list[Sample]]] = field(default_factory=dict)
    once: list[Once] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    requests: dict[str, str] = field(default_factory=dict)
    too_late: set[Place] = field(default_factory=set)  # whose server did not become ready

    def cell(
        self, phase: str, case: str, store: str, connections: int, live_leases: int | None = None, made: Made = Made.PLAIN
    ) -> Cell | None:
        """Find what was measured, if it was."""
        for cell, taken in self.samples.get(phase, {}).items():
            place = cell.place
            fits = live_leases in (None, place.live_leases) and place.made is made and place.store in (store, NONE)
            if (cell.case, cell.connections) == (case, connections) and fits and taken:
                return cell
        return None

    def ratio(self, phase: str, cell: Cell, other: Cell) -> float:
        """Give how many times as fast one is as the other."""
        pairs = zip(self.samples[phase][cell], self.samples[phase][other], strict=True)
        return median(rate(ours) / max(1e-9, rate(theirs)) for ours, theirs in pairs)

    def middle(self, phase: str, cell: Cell, what: Callable[[Sample], float]) -> float:
        """Give the median of the rounds."""
        return median(what(sample) for sample in self.samples[phase][cell])

    @property
    def errors(self) -> int:
        """Answers that were not as asked for, or lost."""
        return sum(each.errors for taken in self.samples.values() for some in taken.values() for each in some)


def rate(sample: Sample) -> float:
    """Give answers per second, of those that were asked for."""
    return sample.right / sample.seconds


def rows(results: Results) -> list[Row]:
    """Give a row for each cell: requests per second, milliseconds and microseconds per request."""
    return [_row(results, phase, cell) for phase, taken in results.samples.items() for cell, some in taken.items() if some]


def _row(results: Results, phase: str, cell: Cell) -> Row:
    taken = results.samples[phase][cell]
    rps = results.middle(phase, cell, rate)
    return {
        "case": cell.case,
        "store": cell.place.store,
        "connections": cell.connections,
        "live_leases": cell.place.live_leases,
        "rps": round(rps, 1),
        "p50_ms": round(results.middle(phase, cell, lambda each: each.p50_ms), 2),
        "p99_ms": round(results.middle(phase, cell, lambda each: each.p99_ms), 2),
        "cpu_us": round(results.middle(phase, cell, lambda each: each.cpu_seconds * 1e6 / max(1, each.right)), 1),
        "errors": sum(each.errors for each in taken),
        "phase": phase,
        "with": _beside(cell.place),
        "leases_per_second": round(rps * cell.asked.many) if cell.asked.many > 1 else None,
        "load_us": round(results.middle(phase, cell, lambda each: each.load_seconds * 1e6 / max(1, each.right)), 1),
        "lowest_rps": round(min(map(rate, taken)), 1),
        "highest_rps": round(max(map(rate, taken)), 1),
        "rounds": len(taken),
    }


def _beside(place: Place) -> str:
    return "one hot entitlement" if place.made is Made.PLAIN and place.store != NONE else place.made.value


def wrong_answers(results: Results) -> Sequence[str]:
    """Give one wrong answer of each cell that had any."""
    found: Mapping[str, str] = {
        f"{cell.case}, {cell.place.store}, {cell.connections} connections": each.wrong
        for taken in results.samples.values()
        for cell, some in taken.items()
        for each in some
        if each.wrong
    }
    return [f"{what}: {said}" for what, said in found.items()]
