"""The page docs/explanation/performance.md: a reading of one run's figures, with the words of `notes.md` beside them.

The figures it was made of are kept in `published.json`, so that a test can see that nobody else writes the page.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from bench import report
from bench.cases import BULK, LARGE_POOL, PROMISED_AT, SMALL_POOL, main_phase
from bench.cases import STORES as BENCHED
from bench.promises import EVEN, FIRST, SECOND
from bench.report import MARKS, Report, figure, value

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "explanation" / "performance.md"
FIGURES = HERE / "published.json"
NOTES = HERE / "notes.md"

MADE = "<!-- Made by `make bench`; change bench/, its figures or bench/notes.md, not this page. -->"
QUICK = "**A quick run, to try out the harness: its figures say nothing. Those to be published come from `make bench`.**"
PARTIAL = "**Not a whole run: some of what is promised was left out, or measured for a shorter time than usual.**"
STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "none": "", "": ""}
WIDTH = 128
Row = Mapping[str, Any]


def published() -> Report:
    """Give the figures that the page was last made of."""
    return report.read(FIGURES)


def publish(told: Report) -> None:
    """Write the page, and keep the figures it was made of."""
    report.write(FIGURES, told)
    PAGE.write_text(page(told, NOTES.read_text(encoding="utf-8")), encoding="utf-8")


def page(told: Report, notes: str) -> str:
    """Give the page."""
    parts = [
        "# Performance",
        MADE,
        *_mark(told["how"]),
        INTRO,
        "## What is promised, and what was measured",
        *_promises(told),
        "## Where",
        _where(told),
        "## Side by side",
        *_side_by_side(told),
        *_growth(told),
        *_spread(told),
        *_once(told),
        "## What a measured request carries",
        *_carried(told),
        "## How it is measured",
        _how(told["how"]),
        FILLED,
        notes.strip(),
        "## Run it yourself",
        RUN,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


INTRO = """\
What a seat costs, measured in one run: an empty route on stock uvicorn (the *floor*) side by side with Seatkeeper on SQLite,
then on PostgreSQL, and the usual design, one commit per request, on each (the *baseline*: the same program with
`SEATKEEPER_BATCH_LIMIT=1`). Everything is durable: no answer leaves before its transaction is on the disk."""


def _mark(how: Mapping[str, Any]) -> list[str]:
    return [QUICK] if how["quick"] else [] if how["whole"] else [PARTIAL]


# --- promises ------------------------------------------------------------------------------------------------------

LISTS = {
    FIRST: "Promised first, with SQLite:",
    SECOND: "Promised with PostgreSQL, for several servers and for speed:",
    "": "And always:",
}
READ_SO = f"""\
A ratio is the median of the rounds' own ratios; for leases, of the fewest to every larger number up to the most, and the worst
counts. *No slower* is {EVEN:g} and more: two rounds of the same differ by as much. Requests are counted: an activation and its
return are two."""


def _promises(told: Report) -> Iterator[str]:
    for name, intro in LISTS.items():
        found = [verdict for verdict in told["verdicts"] if verdict["of"] == name]
        cells = [[MARKS[each["kept"]], each["promise"], each["target"], figure(each)] for each in found]
        yield intro
        yield _table(["", "promise", "target", "measured"], cells)
    yield READ_SO
    yield "\n".join(f"- {reason}." for reason in told["left_out"])


# --- where ---------------------------------------------------------------------------------------------------------


def _where(told: Report) -> str:
    machine, versions = told["machine"], dict(told["versions"])
    shared = f"{machine['cores']} cores, shared by the servers, the database and the load"
    rows = [
        ["date", told["date"].replace("T", " ").replace("+00:00", " UTC")],
        ["processor", f"{machine['processor']}, {shared}"],
        ["memory", f"{machine['memory_gb']} GB"],
        ["kernel", machine["system"]],
        ["disk: 4 KiB durable (fdatasync)", f"{machine['fsync_ms']:g} ms"],
        ["load average before", f"{machine['load_before']:g}"],
        ["Python, SQLite", f"{versions.pop('python')}, {versions.pop('sqlite')}"],
    ]
    if "postgresql" in versions:
        settings = ", ".join(f"`{name}={value}`" for name, value in told["postgresql_settings"].items())
        rows.append(["PostgreSQL", f"{versions.pop('postgresql')}, on the same machine, by a Unix socket; {settings}"])
    rows.append(["with", ", ".join(f"{name} {version}" for name, version in versions.items())])
    return _table(["", ""], rows)


# --- under load ----------------------------------------------------------------------------------------------------


def _side_by_side(told: Report) -> Iterator[str]:
    bulk: list[Row] = []
    for store in BENCHED:
        rows = report.phase(told, main_phase(store))
        bulk += [row for row in rows if row["case"] == "bulk-refresh"]
        yield from _beside_the_floor(STORES[store], [row for row in rows if row not in bulk])
    if bulk:
        yield f"### Bulk refresh\n\n{BULK:,} leases in one request."
        yield _table(
            ["", "connections", "leases/s", "requests/s", "p50 ms", "p99 ms", "CPU ms per request"], [*map(_bulk_cells, bulk)]
        )


def _beside_the_floor(store: str, rows: Sequence[Row]) -> Iterator[str]:
    floors = {row["connections"]: row["rps"] for row in rows if row["case"] == "floor"}
    for connections in sorted({row["connections"] for row in rows}):
        yield f"### {store}, {connections} connection{'s' * (connections > 1)}"
        some = [row for row in rows if row["connections"] == connections]
        yield _figures(some, "× floor", lambda row: _times(row["rps"], floors.get(row["connections"])))


def _bulk_cells(row: Row) -> list[str]:
    times = [f"{row['rps']:.1f}", f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}", f"{row['cpu_us'] / 1000:.1f}"]
    return [STORES[row["store"]], f"{row['connections']}", f"{row['leases_per_second']:,}", *times]


GROWTH = f"""\
## Growth

The same calls, over {PROMISED_AT} connections, with few live leases and many in the database, and with a million facts beside a
thousand leases. Leases are refreshed in random order, a hundred thousand different ones at most in one run. *× first* compares
with the first line of the same call."""


def _growth(told: Report) -> Iterator[str]:
    phases = [name for name in ("growth-sqlite", "growth-postgres") if report.phase(told, name)]
    if phases:
        yield GROWTH
    for name in phases:
        yield f"### {STORES[name.partition('-')[2]]}"
        yield _compared(report.phase(told, name), lambda row: row["case"])


SPREAD = f"""\
## One entitlement and many, a small pool and a large one

A thousand live leases in one hot entitlement, or one in each of a thousand; and seats taken and given back in a nearly full
pool of {LARGE_POOL:,} and in one of {SMALL_POOL}. Over {PROMISED_AT} connections."""


def _spread(told: Report) -> Iterator[str]:
    if rows := report.phase(told, "spread"):
        pools = [row for row in rows if row["case"].startswith("activate+return-")]
        yield SPREAD
        yield _compared([row for row in rows if row not in pools], lambda row: (row["case"], row["store"]))
        yield _compared(sorted(pools, key=lambda row: (row["store"] != "sqlite", len(row["case"]))), lambda row: row["store"])


def _compared(rows: Sequence[Row], by: Callable[[Row], object]) -> str:
    """Give rows with how they compare to the first of the same sort."""
    first: dict[object, float] = {}
    for row in rows:
        first.setdefault(by(row), row["rps"])
    return _figures(rows, "× first", lambda row: _times(row["rps"], first[by(row)]), leases=True)


def _figures(rows: Iterable[Row], ratio: str, times: Callable[[Row], str], *, leases: bool = False) -> str:
    beside = ["live leases", "with"] if leases else []
    heads = ["", "", *beside, "requests/s", ratio, "p50 ms", "p99 ms", "CPU µs", "wrk µs", "errors"]
    return _table(heads, [_cells(row, times, leases=leases) for row in rows])


def _cells(row: Row, times: Callable[[Row], str], *, leases: bool) -> list[str]:
    beside = [f"{row['live_leases']:,}", row["with"]] if leases else []
    waits = [f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}"]
    costs = [f"{row['cpu_us']:.0f}", f"{row['load_us']:.0f}", f"{row['errors']}"]
    return [row["case"], STORES[row["store"]], *beside, f"{row['rps']:,.0f}", times(row), *waits, *costs]


def _times(one: float, other: float | None) -> str:
    return f"{one / other:.2f}" if other else ""


# --- once ----------------------------------------------------------------------------------------------------------

ONCE = """\
Times begin with the command. After an outage, which here is the time since the database was filled, every lease is given the
time back in which it could not be refreshed. Memory is that of the front and the desk,
what they share counted once (PSS); a database server's is not in it."""


def _once(told: Report) -> Iterator[str]:
    if told["once"]:
        yield "## Start-up, memory, and the application's side"
        yield _table(["", "", "live leases", "median", "times"], [_once_cells(one) for one in told["once"]])
        yield ONCE


def _once_cells(one: Row) -> list[str]:
    leases = "" if one["live_leases"] is None else f"{one['live_leases']:,}"
    return [one["what"], STORES[one["store"]], leases, value(one), f"{one['times']}"]


# --- in words ------------------------------------------------------------------------------------------------------

CARRIES = """\
Requests are written by the SDK's own code and its HTTP client, with all their headers; wrk fills in what changes. All carry a
nonce of the client's, new each time, which the signed lease of the answer repeats. What the promises are measured with leaves
out what wrk's connections, each of which asks for anybody, can't make or keep:

- `refresh` is without the server's nonce (`N-Nonce`) and without the last lease; so its answer contains the certificate too.
- `refusal` and `activate+return` are without the device's signature, and so without its check.

The others are the SDK's to the last byte:

- `refresh-sdk` and `checkout`: each connection is one program, which shows the nonce it was last given and, with a refresh, its
  last lease. Each has a thread of wrk's to itself, which costs the machine more than one thread for all.
- `refusal-sdk` and `activate-sdk`: with the device's key and its signature, which the server verifies.

`floor-sdk` asks the floor by the same bytes as `refresh`: what the headers alone cost. `floor`, and `hello`, a bare asyncio
protocol with httptools, are asked by a GET with no header but `Host`. Bulk refreshes name access tokens and nothing else."""


def _carried(told: Report) -> Iterator[str]:
    yield CARRIES
    for name, text in told["requests"].items():
        yield f"A request of `{name}`:\n\n```text\n{text}\n```"


def _how(how: Mapping[str, Any]) -> str:
    said = f"""\
Load is wrk's, each connection asking again as soon as it is answered: {how["rounds"]} rounds of {how["seconds"]} s for each
line, shorter ones at 16 and 256 connections, after one that warms everything up and does not count. Servers that are compared
run at the same time and take turns, so that a noisy neighbour disturbs all alike; each database has its own floor, and the
other's servers are stopped meanwhile. Each figure is the median of the rounds. The
status of every answer is looked at, and the body of one in a hundred. *CPU* is processor time per request: of the server,
front and desk, and for PostgreSQL of the database too; *wrk* is the load's own, on the same cores. The run took
{how["minutes"]:g} minutes."""
    return fill(said, WIDTH, break_long_words=False, break_on_hyphens=False)


FILLED = """\
Every live lease was really decided: databases are filled through the desk, by the thousand, so every row, counter and chain is
what it would be after as many activations over the network. Only the million facts beside a thousand leases are written by the
use case that writes facts, without decisions. PostgreSQL's tables are vacuumed and analysed once before they are measured;
autovacuum is on."""

RUN = """\
```text
make bench                                        a whole run, half an hour; needs wrk
.venv/bin/python -m bench --quick                 two minutes, for a first impression
.venv/bin/python -m bench --cases floor refresh --connections 64
```

All write `build/bench.json`, with a row `{case, store, connections, live_leases, rps, p50_ms, p99_ms, cpu_us, errors, …}` for
each line above, and end with exit code 1 if a promise that was measured is not kept. A whole run writes this page, too."""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
