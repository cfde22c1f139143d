"""Drives a crowd against real servers and has the checker look at what it saw.

python -m tests.linear                                    a million calls of 200 programs on 100 seats, as `make linear` does
python -m tests.linear --operations 50000 --kills 5       fewer, and the server is killed in between
python -m tests.linear --servers 2 --postgres             two servers on one PostgreSQL of their own
python -m tests.linear --check build/linear/history.bin   look at a history that was kept
"""

import shutil
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import quantiles

from tests.linear import tampering
from tests.linear.checker import Verdict, check
from tests.linear.drive import Plan, Result, drive
from tests.linear.history import SECOND, History, lost
from tests.linear.postgres import Postgres, running

PLACE = Path("build/linear")
SHORT = 60_000  # calls, of the run whose history is tampered with: as many as it takes for leases and margins to end


def main() -> int:
    """Drive, check and tell; 0 if all is well."""
    asked = _asked()
    if asked.check is not None:
        return 0 if _told(check(History.load(asked.check)), 0.0) else 1
    shutil.rmtree(asked.place, ignore_errors=True)
    with _database(asked) as database:
        result = drive(_plan(asked), asked.place / "long", database)
        result.history.save(asked.place / "history.bin")
        _tell(result)
        deadlocks = 0 if database is None else database.logged("deadlock detected")
        if database is not None:
            print(f"deadlocks in PostgreSQL's log: {deadlocks}")
    began = time.monotonic()
    verdict = check(result.history)
    is_well = _told(verdict, time.monotonic() - began) and not result.record.odd and not deadlocks
    is_well = is_well and not lost(result.history)
    return 0 if _plant(_plan(asked), asked.place) and is_well else 1


@contextmanager
def _database(asked: Namespace) -> Iterator[Postgres | None]:
    """Give a database for the servers to share, if one was asked for."""
    if not asked.postgres:
        yield None
        return
    from tests.support.postgres import servers  # only here, since all else needs no PostgreSQL

    with running(next(iter(servers().values()))) as database:
        yield database


def _asked() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.linear", description=(__doc__ or "").splitlines()[0])
    usual = Plan()
    parser.add_argument("--operations", type=int, default=usual.operations, help="calls to make")
    parser.add_argument("--clients", type=int, default=usual.clients, help="programs")
    parser.add_argument("--seats", type=int, default=usual.seats, help="seats they fight for")
    parser.add_argument("--lease", type=int, default=usual.lease, help="seconds a lease lasts")
    parser.add_argument("--linger", type=int, default=usual.linger, help="seconds a returned place stays taken")
    parser.add_argument("--servers", type=int, default=usual.servers, help="server processes, on one PostgreSQL")
    parser.add_argument("--postgres", action="store_true", help="run a PostgreSQL for them")
    parser.add_argument("--database-kills", type=int, default=usual.database_kills, help="how often it is killed")
    parser.add_argument("--kills", type=int, default=usual.kills, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the programs' chances")
    parser.add_argument("--place", type=Path, default=PLACE, help="where data, log and history go; emptied first")
    parser.add_argument("--check", type=Path, help="only check this history")
    return parser.parse_args()


def _plan(asked: Namespace) -> Plan:
    plan = Plan(
        operations=asked.operations,
        clients=asked.clients,
        seats=asked.seats,
        lease=asked.lease,
        linger=asked.linger,
        servers=asked.servers,
        seed=asked.seed,
    )
    killed = asked.kills or asked.database_kills
    return plan.with_kills(asked.kills, asked.database_kills) if killed else plan


def _tell(result: Result) -> None:
    calls, record = result.history.operations, result.record
    print(f"{len(calls)} calls in {result.seconds:.0f} s, {len(calls) / result.seconds:.0f} a second")
    cpu = result.cpu_seconds / len(calls) * 1e6
    print(f"server: {cpu:.0f} µs of processor time a call, {result.peak_mb:.0f} MB at most")
    cuts = quantiles(record.latencies, n=1000)
    print(
        f"answers after {cuts[499] / 1e3:.1f} ms (median), {cuts[989] / 1e3:.1f} ms (of 100, 99), {cuts[-1] / 1e3:.1f} ms (999)"
    )
    kinds = Counter((call.kind.value, call.outcome.value) for call in calls)
    for (kind, outcome), times in sorted(kinds.items()):
        print(f"  {kind:10} {outcome:10} {times:8}")
    print(f"signatures checked: {record.checked}; leases that had ended when they were signed: {record.ended}")
    print(f"answers that said to come again: {record.put_off}; answers that make no sense: {record.odd[:5] or 0}")
    print(f"warnings in the servers' logs: {dict(result.logged) or 0}")
    print(f"programs that lost a seat while its lease was running: {len(lost(result.history))}")


def _told(verdict: Verdict, seconds: float) -> bool:
    print(f"checker ({seconds:.0f} s): {verdict}")
    if (full := verdict.occupancy) is not None:
        print(f"most seats held at once: {full.most}; all of them for {full.full_share:.1%} of the time")
        print(f"longest time with a free one: {full.longest_not_full / SECOND:.3f} s")
    return verdict.accepted


def _plant(plan: Plan, place: Path) -> bool:
    """Tamper with the history of a shorter run, in every way there is; the checker has to notice each."""
    short = drive(replace(plan, operations=SHORT, servers=1, kills=0, database_kills=0), place / "short").history
    verdicts = {name: check(untrue) for name, untrue in tampering.all_of(short, Random(plan.seed))}
    accepted = [name for name, verdict in verdicts.items() if verdict.accepted]
    print(f"tampered with: {len(verdicts)} histories, of which noticed: {len(verdicts) - len(accepted)}", *accepted, sep="\n  ")
    return not accepted and check(short).accepted


if __name__ == "__main__":
    raise SystemExit(main())
