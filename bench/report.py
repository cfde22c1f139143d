"""The report: everything as data, for `build/bench.json`, and as a table and verdicts, for a terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.promises import verdicts
from bench.results import Results, rows, wrong_answers

Report = dict[str, Any]  # as it is in JSON
MARKS = {True: "✓", False: "✗", None: "–"}


def report(head: Mapping[str, object], how: Mapping[str, object], results: Results, seconds: float) -> Report:
    """Give everything; `how` says how it was measured (`quick`, `rounds`, `seconds`), `seconds` how long it all took."""
    return {
        **head,
        "how": {**how, "minutes": round(seconds / 60, 1)},
        "left_out": list(results.left_out),
        "wrong_answers": list(wrong_answers(results)),
        "requests": results.requests,
        "verdicts": [asdict(verdict) for verdict in verdicts(results)],
        "once": [asdict(one) for one in results.once],
        "rows": rows(results),
    }


def write(file: Path, told: Report) -> None:
    """Write a report as JSON, a line for each thing that was measured."""
    parts = []
    for name, value in told.items():
        if isinstance(value, list) and value:
            lines = ",\n".join(f"  {_json(each)}" for each in value)
            parts.append(f" {_json(name)}: [\n{lines}\n ]")
        else:
            parts.append(f" {_json(name)}: {_json(value)}")
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def kept(told: Report) -> bool:
    """Tell whether every promise that was measured is kept."""
    return all(verdict["kept"] is not False for verdict in told["verdicts"])


# --- for a terminal ------------------------------------------------------------------------------------------------

_HEAD = (
    f"{'case':<26}{'store':<10}{'connections':>12}{'live leases':>13}{'per second':>12}"
    f"{'p50 ms':>9}{'p99 ms':>9}{'cpu µs':>9}{'wrk µs':>8}{'errors':>8}  with"
)


def table(told: Report) -> str:
    """Give what was measured for people."""
    lines, phase = [], None
    for row in told["rows"]:
        if row["phase"] != phase:
            phase = row["phase"]
            lines += ["", f"[{phase}]", _HEAD]
        lines.append(_line(row))
    once = [f"{one['what']:<54}{one['store']:<10}{_count(one['live_leases']):>13}{value(one):>15}" for one in told["once"]]
    note = (
        "Per second and per request: answers. CPU is the server's and its database's; bulk refreshes are of many leases each."
    )
    return "\n".join([*lines, "", *once, "", note, ""])


def _line(row: Mapping[str, Any]) -> str:
    bulk = f"{row['leases_per_second']:,} leases per second" if row["leases_per_second"] else row["with"]
    return (
        f"{row['case']:<26}{row['store']:<10}{row['connections']:>12}{row['live_leases']:>13,}{row['rps']:>12,.0f}"
        f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['cpu_us']:>9.0f}{row['load_us']:>8.0f}{row['errors']:>8}  {bulk}"
    )


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def told(told: Report, *, all_of_them: bool) -> str:
    """Give the verdicts for people; those that were not measured only if all of them were meant to be."""
    shown = [verdict for verdict in told["verdicts"] if all_of_them or verdict["kept"] is not None]
    lines = [f"{MARKS[each['kept']]} {each['of']:<2}{each['promise']} {figure(each)} ({each['target']})" for each in shown]
    return "\n".join([*told["left_out"], *told["wrong_answers"], *lines])


def figure(verdict: Mapping[str, Any]) -> str:
    """Give the figure of a verdict."""
    measured = verdict["measured"]
    if measured is None:
        return "not measured" if verdict["kept"] is None else "no answer"
    return (
        f"{measured:,.0f}{verdict['unit']}"
        if abs(measured) >= 100 or verdict["unit"] == ""
        else f"{measured:.2f}{verdict['unit']}"
    )


def value(one: Mapping[str, Any]) -> str:
    """Give the figure of what was measured once."""
    return "–" if one["value"] is None else f"{one['value']:,.1f} {one['unit']}"


def read(file: Path) -> Report:
    """Read a report that was written."""
    found: Report = json.loads(file.read_text(encoding="utf-8"))
    return found


def phase(told: Report, name: str) -> Sequence[Mapping[str, Any]]:
    """Give the rows of a phase."""
    return [row for row in told["rows"] if row["phase"] == name]
