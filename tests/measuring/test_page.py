"""The page is written by the harness alone, says what the run was, and hides nothing."""

import json
import re
import socket
from pathlib import Path

import pytest
from bench import machine, page, report
from bench.cases import SQLITE
from bench.once import Once

from tests.measuring.test_promises import main_cell, measured, sample

HEAD = {
    "date": "2026-06-01T10:00:00+00:00",
    "machine": {"system": "Linux 6", "processor": "P", "cores": 2, "memory_gb": 8, "load_before": 0.1, "fsync_ms": 0.2},
    "versions": {"python": "3.11", "sqlite": "3.50", "wrk": "4.1"},
}


def told(results=None, *, quick: bool = False, whole: bool = True) -> report.Report:
    """Give the report of a run, as it comes back from its file."""
    how = {"quick": quick, "whole": whole, "rounds": 5, "seconds": 2}
    return json.loads(json.dumps(report.report(HEAD, how, results or measured(stores=[SQLITE]), 1_500)))


def test_nobody_but_the_harness_writes_the_page() -> None:
    """The page is what the harness makes of the published figures and the notes beside it."""
    assert page.PAGE.read_text() == page.page(page.published(), page.NOTES.read_text())


def test_the_page_names_no_path() -> None:
    """Where the run lay is nobody's business."""
    text = page.PAGE.read_text() + page.FIGURES.read_text()

    assert re.findall(r"/(?:home|root|tmp|var|work|Users)/\S*", text) == []


def test_the_machine_is_described_and_not_named(tmp_path: Path) -> None:
    """Processor, cores and kernel are told, the host's name isn't."""
    told = machine.described(tmp_path, None)["machine"]

    assert {"processor", "cores", "system", "fsync_ms"} <= told.keys()
    assert socket.gethostname() not in told.values()


@pytest.mark.parametrize(
    ("run", "mark"),
    [({}, None), ({"quick": True, "whole": False}, page.QUICK), ({"whole": False}, page.PARTIAL)],
    ids=["whole", "quick", "partial"],
)
def test_a_run_that_is_not_whole_says_so(run: dict, mark: str | None) -> None:
    """Figures of a quick or partial run are marked as such, those of a whole run aren't."""
    text = page.page(told(**run), "")

    assert [one for one in (page.QUICK, page.PARTIAL) if one in text] == ([mark] if mark else [])


def test_broken_promises_stand_beside_those_that_are_kept() -> None:
    """Each verdict has its mark, target and figure."""
    results = measured(stores=[SQLITE])
    results.samples["main-sqlite"][main_cell(results, "refresh")] = [sample(500)] * 3
    text = page.page(told(results), "")

    assert "| ✗ | refresh, SQLite, 64 connections: times the floor | ≥ 0.6 | 0.50× |" in text
    assert "| ✓ | refresh, SQLite, 64 connections: times the floor | ≥ 0.3 | 0.50× |" in text
    assert "| – | refresh, PostgreSQL, 64 connections: times the floor | ≥ 0.35 | not measured |" in text


def test_what_was_left_out_and_the_notes_are_on_the_page() -> None:
    """Sentences about what is missing, and the free text, are taken over as they are."""
    results = measured(stores=[SQLITE])
    results.left_out.append("PostgreSQL is not measured: it rains")
    text = page.page(told(results), "## What is not reached\n\nBecause.\n")

    assert "- PostgreSQL is not measured: it rains.\n" in text
    assert "\n## What is not reached\n\nBecause.\n\n" in text


def test_every_row_is_on_the_page() -> None:
    """Whatever was measured has its line, and so has what was measured once."""
    results = measured(rate=lambda cell: 777.0)
    results.once.append(Once("start-up", SQLITE, 1_000, 123.4, "ms", 5))
    found = told(results)
    lines = page.page(found, "").splitlines()

    assert len([line for line in lines if "| 777 |" in line or "777.0" in line]) == len(found["rows"])
    assert "| start-up | SQLite | 1,000 | 123.4 ms | 5 |" in lines


@pytest.mark.parametrize(("rate", "is_kept"), [(700, True), (100, False)])
def test_a_broken_promise_fails_the_run(rate: int, is_kept: bool) -> None:
    """The exit code follows what was measured; what wasn't measured fails nothing."""
    rates = {"floor": 1_000, "refresh": rate, "refusal": 700, "activate+return": 700}
    results = measured(stores=[SQLITE], rate=lambda cell: rates.get(cell.case, 700) if "baseline" not in cell.case else 100)
    for cell in results.samples["main-sqlite"]:
        if cell.connections == 1 or cell.case == "bulk-refresh":
            results.samples["main-sqlite"][cell] = [sample(1_000)] * 3

    assert report.kept(told(results)) is is_kept


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """One line for each thing that was measured, and nothing lost."""
    found = told()
    report.write(tmp_path / "bench.json", found)

    assert report.read(tmp_path / "bench.json") == found
    assert len((tmp_path / "bench.json").read_text().splitlines()) > len(found["rows"]) + len(found["verdicts"])
