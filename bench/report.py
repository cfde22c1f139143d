"""From samples to rows, a table and verdicts. Medians of the rounds; a ratio is the median of the rounds' own ratios."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.cases import AT_SCALE, CASES, Cell
from bench.load import Sample

Samples = Mapping[Cell, Sequence[Sample]]

PROMISED_AT = 64  # connections
MOST_P99_MS = 30.0
MOST_BETWEEN_SCALES = 1.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise, what was measured, and whether it is kept."""

    promise: str
    measured: float
    kept: bool


# --- rows ----------------------------------------------------------------------------------------------------------


def rows(samples: Samples) -> list[dict[str, object]]:
    """Give a row for each cell. `rps` and `cpu_us` are per pair for the cases in pairs, the times are those of one call."""
    return [
        {
            "case": cell.case,
            "store": "none" if cell.case == "floor" else "sqlite",
            "connections": cell.connections,
            "live_leases": cell.place.live_leases,
            "rps": round(median(_rate(cell, each) for each in taken), 1),
            "p50_ms": round(median(each.p50_ms for each in taken), 2),
            "p99_ms": round(median(each.p99_ms for each in taken), 2),
            "cpu_us": round(median(_cpu(cell, each) for each in taken), 1),
            "errors": sum(each.errors for each in taken),
        }
        for cell, taken in samples.items()
    ]


def _rate(cell: Cell, sample: Sample) -> float:
    return sample.right / CASES[cell.case].calls / sample.seconds


def _cpu(cell: Cell, sample: Sample) -> float:
    return sample.cpu_seconds * 1e6 / max(1, sample.right) * CASES[cell.case].calls


# --- verdicts ------------------------------------------------------------------------------------------------------


def verdicts(samples: Samples) -> list[Verdict]:
    """Give the verdicts on what was measured of that which is promised."""
    at = {cell.case: cell for cell in samples if cell.connections == PROMISED_AT and not cell.at_scale}
    found = [
        *_at_least(samples, at, "refusal", "floor", 0.5),
        *_at_least(samples, at, "refresh", "floor", 0.3),
        *_at_least(samples, at, "refusal", "baseline-refusal", 3.0),
        *_at_least(samples, at, "refresh", "baseline-refresh", 2.0),
    ]
    for case in ("refresh", "refusal"):
        if case in at:
            p99 = median(each.p99_ms for each in samples[at[case]])
            found.append(Verdict(f"{case}: p99 under {MOST_P99_MS:g} ms", p99, p99 < MOST_P99_MS))
    for case in AT_SCALE:
        found += _between_scales(samples, case)
    errors = sum(each.errors for taken in samples.values() for each in taken)
    return [*found, Verdict("answers that were not as asked for, or lost", errors, errors == 0)]


def _at_least(samples: Samples, at: Mapping[str, Cell], case: str, other: str, least: float) -> list[Verdict]:
    if case not in at or other not in at:
        return []
    ratio = _ratio(samples, at[case], at[other])
    return [Verdict(f"{case} at least {least:g} × {other}", ratio, ratio >= least)]


def _between_scales(samples: Samples, case: str) -> list[Verdict]:
    leases = {cell.place.live_leases: cell for cell in samples if cell.case == case and cell.at_scale}
    if len(leases) < 2:
        return []
    few, many = min(leases), max(leases)
    ratio = _ratio(samples, leases[few], leases[many])
    ratio = max(ratio, 1 / ratio)
    promise = f"{case} with {few:,} and with {many:,} live leases within {MOST_BETWEEN_SCALES:g} ×"
    return [Verdict(promise, ratio, ratio <= MOST_BETWEEN_SCALES)]


def _ratio(samples: Samples, cell: Cell, other: Cell) -> float:
    pairs = zip(samples[cell], samples[other], strict=True)
    return median(_rate(cell, ours) / max(1e-9, _rate(other, theirs)) for ours, theirs in pairs)


# --- telling -------------------------------------------------------------------------------------------------------


def write(file: Path, head: Mapping[str, object], rows: Sequence[Mapping[str, object]], verdicts: Sequence[Verdict]) -> None:
    """Write everything down."""
    data = {**head, "rows": rows, "verdicts": [asdict(verdict) for verdict in verdicts]}
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Give the rows for people."""
    head = (
        f"{'case':<26}{'connections':>12}{'live leases':>13}{'per second':>12}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'cpu µs':>9}{'errors':>8}"
    )
    lines = [
        f"{row['case']:<26}{row['connections']:>12}{row['live_leases']:>13,}{row['rps']:>12,.0f}"
        f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['cpu_us']:>9.0f}{row['errors']:>8}"
        for row in rows
    ]
    note = "activate+return: pairs per second and CPU per pair; its times are those of one call. CPU is the server's."
    return "\n".join(["", head, *lines, "", note, ""])


def told(verdicts: Sequence[Verdict]) -> str:
    """Give the verdicts for people."""
    return "\n".join(f"{'✓' if each.kept else '✗'} {each.promise}: {each.measured:.2f}" for each in verdicts)
