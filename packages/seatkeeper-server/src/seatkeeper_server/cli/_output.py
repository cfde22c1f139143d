"""How verbs print: JSON for programs, tables on a terminal, plain columns into a pipe. Moments for people are local time.

Whatever a verb shows may have come from anybody who can reach the server. So nothing is printed but through here, where what
a terminal would obey is escaped.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from seatkeeper.protocol.text import UNSHOWN, visible

NOTHING = "-"


def say(*lines: str, flush: bool = False) -> None:
    """Print lines for people."""
    for line in lines:
        print(visible(line), flush=flush)


def say_as_is(table: str) -> None:
    """Print a text for programs, line by line; what a terminal would obey is escaped all the same."""
    for line in table.splitlines():
        print(visible(line))


def print_json(value: object, *, line: bool = False) -> None:
    """Print a value as JSON: indented, or on one line. Letters of any script stand as they are."""
    for text in json.dumps(value, indent=None if line else 2, ensure_ascii=False).split("\n"):
        print(UNSHOWN.sub(lambda found: json.dumps(found[0])[1:-1], text), flush=line)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), whole: str = "") -> None:
    """Print rows under columns. Those in `right` are numbers; `whole` is one to be copied from, never broken into lines."""
    rows = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, rows, right, whole)
        return
    widths = [max(len(row[at]) for row in [columns, *rows]) for at in range(len(columns))]
    for row in [columns, *rows]:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], whole: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name == whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a name may look like markup
    Console().print(table)


def json_moment(moment: datetime | None) -> str | None:
    """Write a moment for programs: RFC 3339 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def clock(moment: datetime | None, never: str = NOTHING) -> str:
    """Write a moment for people: local time; the day only when it isn't today's."""
    if moment is None:
        return never
    here = moment.astimezone()
    is_today = here.date() == datetime.now(UTC).astimezone().date()
    return here.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def day(moment: datetime | None, never: str = "never") -> str:
    """Write when something ends, for people: the last day it holds; `never` when it doesn't end."""
    if moment is None:
        return never
    return (moment - timedelta(microseconds=1)).astimezone(UTC).strftime("%Y-%m-%d")


def counted(count: int, what: str) -> str:
    """Write how many of something: `1 seat`, `2 seats`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def number(count: int | None) -> str:
    """Write a count that may be unlimited."""
    return "unlimited" if count is None else str(count)


def in_overdraft(count: int | None) -> str:
    """Write how many seats are granted above what was bought; nothing where there are none."""
    return "" if count == 0 else ", any number more by overdraft" if count is None else f", {count} more by overdraft"


def amounts(held: dict[str, int]) -> str:
    """Write amounts of features."""
    return ", ".join(f"{key} {amount}" for key, amount in sorted(held.items())) or NOTHING
