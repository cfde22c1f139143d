"""Writes the reference pages that are readings of the code: problem codes, commands, settings, metrics.

python scripts/make_reference.py        # writes docs/reference/*.md; tests/docs checks that they are up to date
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from pydantic.fields import FieldInfo

from seatkeeper.cli import main as seat_main
from seatkeeper.protocol.problems import DENIAL_RULES, PROBLEMS
from seatkeeper_server.cli import main as seatkeeper_main
from seatkeeper_server.http.metrics import Metrics, PoolUse
from seatkeeper_server.settings import LocalSettings, Settings

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by scripts/make_reference.py; change the code it reads, not this page. -->"
COMMAND_LINE = re.compile(r"^│ ([a-z]+) ", re.MULTILINE)  # in a list of commands, options begin with a dash
COMMANDS = "commands"
ENTRIES: Mapping[str, Callable[[list[str]], object]] = {"seatkeeper": seatkeeper_main, "seat": seat_main}
USER_VERBS = ("run", "borrow", "return", "status", "doctor")

RULES = {
    "pool-full": "every seat is taken, overdraft included",
    "feature-exhausted": "not enough of the feature is left",
    "group-limit": "the holder's group has as many as it may have",
    "reserved": "the free ones are reserved for others",
    "excluded": "the holder is blocked (`seatkeeper free … --block`)",
    "not-authorized": "the holder is not among those who may use it",
    "entitlement-expired": "the entitlement has ended",
    "entitlement-disabled": "the entitlement is switched off or has not started",
    "exported": "a local license server serves it",
    "version": "this version of the program is not covered",
    "clock": "the server's clock is not to be trusted just now",
    "share-expired": "the local server's share has ended",
    "borrow-limit": "seats may not be borrowed, or not for so long, or not so many at once, or the device did not prove itself",
    "restored": "the local server's data were set back, and the time for which it serves all the same is over",
    "cloned": "there are two of the local server, as it seems, and the time for which it serves all the same is over",
}


def problems() -> str:
    """Give the page of problem codes."""
    rows = [f"| `{problem.code}` | {problem.status} | {problem.title} |" for problem in PROBLEMS.values()]
    rules = [f"| `{rule}` | {RULES[rule]} |" for rule in DENIAL_RULES]
    return _page(
        "Problem codes",
        "Every answer that is not a success has the body `{error, details, errorCode, validationErrors?, denial?}`. `errorCode`"
        " is one of these; a code, once public, keeps its meaning and status for ever.",
        *_table("errorCode | HTTP | what it says", rows),
        "\n## Rules of a refusal\n",
        "`denial.rule` says which rule a seat or feature was refused by. `denial.id` is what to quote.\n",
        *_table("rule | because", rules),
    )


def commands() -> str:
    """Give the page of commands: what their own `--help` says, in a process with a terminal of known width and no settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEATKEEPER_")}
    environment = {**clean, "COLUMNS": "100", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, __file__, COMMANDS],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _commands() -> str:
    sections = ["## seatkeeper (the vendor)\n", *_helps("seatkeeper")]
    sections += ["\n## seat (the application's side)\n", _help("seat")]
    for verb in USER_VERBS:
        sections += [f"\n### seat {verb}\n", _help("seat", verb)]
    return _page("Commands", "What `--help` prints, for reading in one go.", *sections)


def settings() -> str:
    """Give the page of the server's settings."""
    common, local = Settings.model_fields, LocalSettings.model_fields
    others = {name: field for name, field in local.items() if name not in common or field.default != common[name].default}
    return _page(
        "Settings of the server",
        "An option of the command line wins over the environment, which wins over the default. What a product is sold for is"
        " no setting: that lies in the database. The settings of applications are [elsewhere](application-settings.md).",
        *_table("variable | default | what", _variables(common)),
        "\n## Of a local license server\n",
        "`seatkeeper local` has the same settings. These have other defaults there, or are its own.\n",
        *_table("variable | default | what", _variables(others)),
    )


def _variables(fields: Mapping[str, FieldInfo]) -> list[str]:
    return [
        f"| `SEATKEEPER_{name.upper()}` | {_default(name, field.default)} | {field.description} |"
        for name, field in fields.items()
    ]


def metrics() -> str:
    """Give the page of metrics, from a server's own page of them."""
    told = Metrics(lambda: [PoolUse("t", "e", "p", 1, 2)], most_pools=1)
    told.answered("GET /livez", 200, 0.001)
    told.refused("pool-full")
    told.batch(1, 0.001)
    families = sorted(text_string_to_metric_families(told.page().decode()), key=lambda family: family.name)
    rows = []
    for family in families:
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels) or '–'} | {family.documentation} |")
    return _page(
        "Metrics",
        "`GET /metrics` answers in Prometheus' text format. Every label has a bounded number of values; entitlements beyond"
        " `SEATKEEPER_METRICS_POOLS` are summed under `(others)`.\n\n"
        "The page names vendors, products and entitlements, so it is answered to programs on the server's own machine only;"
        " others get 403 `forbidden`. `SEATKEEPER_METRICS_TOKEN` opens it to who sends `Authorization: Bearer` with that token,"
        " `SEATKEEPER_METRICS_OPEN=true` to everybody who can connect. A request with `Forwarded` or `X-Forwarded-For` comes"
        " from another machine, whatever its address. A proxy on this machine must therefore set one of them, or keep"
        " `/metrics` to itself. Seats are read at most once a second.",
        *_table("metric | type | labels | what", rows),
    )


PAGES = {"problems.md": problems, "commands.md": commands, "settings.md": settings, "metrics.md": metrics}


def _page(title: str, intro: str, *parts: str) -> str:
    return "\n".join([f"# {title}\n", MADE, f"\n{intro}\n", *parts]).rstrip() + "\n"


def _table(heads: str, rows: list[str]) -> Iterator[str]:
    yield f"| {heads} |"
    yield "|" + "---|" * len(heads.split("|"))
    yield from rows


def _default(name: str, default: object) -> str:
    if name == "data":
        return "a folder of your own"
    return "–" if default in {None, ""} else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _helps(*command: str) -> Iterator[str]:
    """Give the help of a command, then of the commands below it."""
    text = _help(*command)
    yield text
    if "─ Commands ─" in text:
        for verb in COMMAND_LINE.findall(text):
            yield f"\n### {' '.join([*command, verb])}\n"
            yield from _helps(*command, verb)


def _help(command: str, *verbs: str) -> str:
    said = StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        ENTRIES[command]([*verbs, "--help"])
    lines = [re.sub(r"\s+$", "", line) for line in said.getvalue().splitlines()]
    return "\n".join(["```text", *lines, "```"]).replace("\n\n```", "\n```")


def main() -> None:
    """Write every page, or print the one that only a process of its own can make."""
    if sys.argv[1:] == [COMMANDS]:
        print(_commands(), end="")
        return
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())


if __name__ == "__main__":
    main()
