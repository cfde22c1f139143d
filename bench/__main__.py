"""python -m bench [--quick] [--cases …] [--connections …]: run everything, write build/bench.json, print a table and verdicts.

Exit code 1 means that a promise that was measured is not kept on this machine.
"""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import house, machine, report, servers
from bench.cases import CASES, Cell, Place, cells
from bench.load import Sample, measure

BUILD = Path("build")
MAIN_LEASES = 1_000  # live leases of the main cases: more than there are connections
SCALES = (100, 100_000)  # live leases that must make no difference
CONNECTIONS = (1, 16, 64, 256)


def main() -> int:
    """Measure; 0 if every promise that was measured is kept."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was started is ended
    planned = cells(options.cases, options.connections, MAIN_LEASES, () if options.no_scales else SCALES)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as scratch, ExitStack() as running:
        head = machine.described(Path(scratch))
        places = _open(planned, Path(scratch).resolve(), running)
        samples = _rounds(planned, places, options.rounds, options.seconds)
    rows, verdicts = report.rows(samples), report.verdicts(samples)
    report.write(BUILD / "bench.json", head, rows, verdicts)
    print(report.table(rows))
    print(report.told(verdicts))
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def _open(planned: list[Cell], scratch: Path, running: ExitStack) -> dict[Place, tuple[servers.Server, house.House | None]]:
    """Start every server that is needed, with the data it serves."""
    places: dict[Place, tuple[servers.Server, house.House | None]] = {}
    for place in dict.fromkeys(cell.place for cell in planned):
        if place.live_leases == 0:
            places[place] = running.enter_context(servers.serving(servers.floor())), None
            continue
        _say(f"filling {place.live_leases:,} seats for {place.name}")
        built = house.build(scratch / f"{place.name}-{place.live_leases}", place.live_leases)
        environment = servers.ONE_COMMIT_PER_REQUEST if place.is_baseline else {}
        places[place] = running.enter_context(servers.serving(servers.cloud(built.data), environment)), built
    return places


def _rounds(
    planned: list[Cell], places: dict[Place, tuple[servers.Server, house.House | None]], rounds: int, seconds: int
) -> dict[Cell, list[Sample]]:
    """Let the cases take turns; the first round, which warms everything up, does not count."""
    samples: dict[Cell, list[Sample]] = {cell: [] for cell in planned}
    for number in range(rounds + 1):
        for cell in planned:
            server, built = places[cell.place]
            case = CASES[cell.case]
            _say(f"round {number} of {rounds}: {cell.case}, {cell.connections} connections, {cell.place.live_leases:,} leases")
            sample = measure(
                server,
                case.script,
                case.arguments(built) if built else [],
                connections=cell.connections,
                seconds=seconds if number else 1,
            )
            if number:
                samples[cell].append(sample)
    return samples


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure speed side by side.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--connections", nargs="+", type=int, default=list(CONNECTIONS), metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of one case in one round")
    parser.add_argument("--no-scales", action="store_true", help="leave out 100 and 100,000 live leases")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second, 64 connections, no scales")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.connections, options.no_scales = 2, 1, [64], True
    return options


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
