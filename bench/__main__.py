"""python -m bench [--quick] [--cases …] [--connections …] [--stores …]: measure, write build/bench.json, print verdicts.

A full run, which `make bench` is, writes the page docs/explanation/performance.md too, and the figures it is made of. `--page`
has any other run write it as well; `--again` writes it once more from the figures that were published, when only the words
beside them have changed.

Exit code 1 means that a promise that was measured is not kept on this machine.
"""

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from bench import asking, machine, once, page, postgres, report, stage
from bench.acts import Act
from bench.cases import CASES, CONNECTIONS, POSTGRES, PROMISED_AT, SQLITE, STORES, Cell, Phase, Place, main_phase, phases
from bench.load import Sample
from bench.results import Results

BUILD = Path("build")
ROUNDS, SECONDS = 5, 2


def main() -> int:
    """Measure; 0 if every promise that was measured is kept."""
    options = _options()
    if options.again:
        page.publish(page.published())
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was started is ended
    told = _measured(options)
    report.write(BUILD / "bench.json", told)
    if options.page:
        page.publish(told)
    _say("")
    print(report.table(told))
    print(report.told(told, all_of_them=options.whole))
    return 0 if report.kept(told) else 1


def _measured(options: argparse.Namespace) -> report.Report:
    began, results = perf_counter(), Results(requests=asking.shown())
    stores = _stores(options.stores, results)
    planned = phases(options.cases, options.connections, stores, with_scales=not options.no_scales)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD, ignore_cleanup_errors=True) as name, ExitStack() as running:
        scratch = Path(name).resolve()
        cluster = running.enter_context(postgres.running()) if POSTGRES in stores else None
        head = machine.described(scratch, cluster)
        _say("filling databases")
        built = stage.houses(planned, options.rounds, scratch, cluster)
        os.sync()  # what was filled is written now, not while something is measured
        results.once += once.start_ups(built, scratch, cluster, options.times)
        for phase in planned:
            with stage.opened(phase, built, scratch, cluster) as acts:
                phase = _without_late(phase, acts, results)
                if phase.name == main_phase(SQLITE):
                    results.once += once.sdk(acts, scratch, options.times)
                phase = _without_bulk(phase, acts, results)
                results.samples[phase.name] = _rounds(phase, acts, options)
                if phase.name in map(main_phase, STORES):
                    results.once += once.memory(acts)
    how = {"quick": options.quick, "whole": options.whole, "rounds": options.rounds, "seconds": options.seconds}
    return report.report(head, how, results, perf_counter() - began)


def _stores(asked: list[str], results: Results) -> list[str]:
    """Give the databases that can be measured."""
    if POSTGRES in asked and (reason := postgres.missing()):
        results.left_out.append(reason)
        return [store for store in asked if store != POSTGRES]
    return asked


def _without_late(phase: Phase, acts: dict[Place, Act], results: Results) -> Phase:
    """Leave out servers that did not become ready."""
    late = {place for place in phase.places if not acts[place].is_ready}
    results.too_late |= late
    results.left_out += [
        f"{place.live_leases:,} live leases on {place.store} are not measured: {stage.PATIENCE:g} s after its start, after the"
        f" outage since the database was filled, the server did not yet refresh a lease within {stage.READY_IF_WITHIN:g} s"
        for place in late
    ]
    return Phase(phase.name, tuple(cell for cell in phase.cells if cell.place not in late))


def _without_bulk(phase: Phase, acts: dict[Place, Act], results: Results) -> Phase:
    """Leave out what a server has no route for."""
    bulk = {cell.place for cell in phase.cells if cell.case == "bulk-refresh"}
    if not bulk or all(stage.has_bulk(acts[place]) for place in bulk):
        return phase
    results.left_out.append(stage.NO_BULK)
    return Phase(phase.name, tuple(cell for cell in phase.cells if cell.case != "bulk-refresh"))


def _rounds(phase: Phase, acts: dict[Place, Act], options: argparse.Namespace) -> dict[Cell, list[Sample]]:
    """Let the cases take turns; before the first round that counts each case warms its server up, unless all is quick."""
    rounds, samples = options.rounds, {cell: list[Sample]() for cell in phase.cells}
    for number in range(1 if options.quick else 0, rounds + 1):
        for one in acts.values():
            one.round = number
        for cell in phase.cells if number else _one_of_each(phase):
            _say(f"{phase.name}, round {number} of {rounds}: {cell.case}, {cell.place.store}, {cell.connections} connections")
            sample = acts[cell.place].measure(cell, _length(cell, options.seconds) if number else 1)
            if number:
                samples[cell].append(sample)
    return samples


def _one_of_each(phase: Phase) -> list[Cell]:
    """Give the first cell of each case on each server."""
    return list({(cell.case, cell.place): cell for cell in reversed(phase.cells)}.values())[::-1]


def _length(cell: Cell, seconds: int) -> int:
    """Give for how long a cell is measured: longer where something was promised."""
    is_promised = cell.connections in (1, PROMISED_AT) or cell.asked.many > 1
    return seconds if is_promised else max(1, seconds - 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure speed side by side.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--connections", nargs="+", type=int, metavar="N", help=f"of {', '.join(map(str, CONNECTIONS))}")
    parser.add_argument("--stores", nargs="+", choices=STORES, metavar="STORE", help=", ".join(STORES))
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} unless given")
    parser.add_argument("--seconds", type=int, help=f"of one case in one round, {SECONDS} unless given")
    parser.add_argument("--no-scales", action="store_true", help="leave out growth, many entitlements and large pools")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second, 64 connections, no scales")
    parser.add_argument("--page", action="store_true", help="write docs/explanation/performance.md, as a whole run does")
    parser.add_argument("--again", action="store_true", help="write the page once more, from the published figures")
    options = parser.parse_args()
    chosen = (options.cases, options.connections, options.stores, options.rounds, options.seconds)
    options.whole = not (options.quick or options.no_scales or any(chosen))
    options.page |= options.whole
    options.no_scales |= options.quick
    options.cases = options.cases or list(CASES)
    every = {count for case in CASES.values() for count in case.connections}
    options.connections = options.connections or ([PROMISED_AT] if options.quick else sorted(every))
    options.stores = options.stores or [SQLITE, POSTGRES]
    options.rounds = options.rounds or (2 if options.quick else ROUNDS)
    options.seconds = options.seconds or (1 if options.quick else SECONDS)
    options.times = 1 if options.quick else max(5, options.rounds)
    return options


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
