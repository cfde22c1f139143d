"""`seatkeeper demo`: a story with real processes, each sentence of which is checked before it is told.

A server, three seats, four programs; a refusal, two crashes, and nobody loses a seat. A step does something, looks whether it
came about (asking the server, or the database beside it), and gives its sentence. One that did not come about raises
`NotAsTold`, which ends the story with exit code 1. Whatever happens, Ctrl-C included, every process is ended and the
temporary directory removed.

`--json` prints one object a line: `{"step", "ok", "seconds", "text", "data"}` for each step, at last
`{"step": "end", "ok", "seconds", "text", "data"}`. Nothing in here knows the inside of the server: it uses the commands that
a vendor and a customer use.
"""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from seatkeeper_server.cli import _demo_air_gap as air_gap_demo
from seatkeeper_server.cli._demo_narrators import Told, narrator_for
from seatkeeper_server.cli._demo_stage import PATIENCE, Stage, check, opened
from seatkeeper_server.cli._failures import DONE, REFUSED, Unusable, wrong_values_told
from seatkeeper_server.cli._options import Json, typed
from seatkeeper_server.cli._output import clock, print_json, say
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.domain.timekeeping import BEAT, margin_for

SEATS: Final = 3
LEASE: Final = timedelta(seconds=5)
MARGIN: Final = margin_for(BEAT)
ENDED_BY_REFUSAL: Final = 75  # the exit code of `seat run` without a seat


INTRO: Final = f"A server, {SEATS} seats, four programs, two crashes: real processes, about 20 seconds."

LEAST_HISTORY: Final = timedelta(days=1)
MOST_HISTORY: Final = timedelta(days=800)
REMOVALS = 40
BETWEEN_REMOVALS = 0.05  # seconds


def demo(
    *,
    port: Annotated[int, Parameter(env_var="SEATKEEPER_DEMO_PORT", help="The server's TCP port; 0 takes a free one.")] = 0,
    air_gap: Annotated[bool, Parameter(help="A vendor and two closed networks instead, with tokens carried as files.")] = False,
    history: Annotated[
        str | None, typed("Make data with so long a past instead, such as 90d: made-up customers, to look at in charts.")
    ] = None,
    seed: Annotated[int, Parameter(help="With --history: another seed makes another past.")] = 1,
    into: Annotated[
        Path | None,
        Parameter(help="With --history: the directory that is made; a temporary one unless named.", show_default=False),
    ] = None,
    keep: Annotated[bool, Parameter(help="Keep the data directory, to look around in it afterwards.")] = False,
    json: Json = False,
) -> int:
    """Watch seats being taken, refused, lost and won back: real processes, about 20 seconds. Exit code 1 if a step fails."""
    if history is not None:
        return _make_history(history, seed, into, json=json)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, so that nothing is left running
    narrator = narrator_for(air_gap_demo.INTRO if air_gap else INTRO, json=json)
    directory = Path(tempfile.mkdtemp(prefix="seatkeeper-demo-"))
    began = time.monotonic()
    try:
        if air_gap:
            ok = air_gap_demo.told(directory, narrator)
        else:
            with opened(Stage(directory, port, narrator.meanwhile)) as stage:
                ok = narrator.story(STORY, stage)
        kept = f" The data is kept: seatkeeper log --data {directory / 'data'}" if keep else ""
        narrator.end(ok=ok, seconds=time.monotonic() - began, kept=kept)
        return DONE if ok else REFUSED
    finally:
        if not keep:
            _remove(directory)


def _make_history(length: str, seed: int, into: Path | None, *, json: bool) -> int:
    from seatkeeper_server.cli import _demo_history as made_up

    with wrong_values_told():
        long = read_interval(length)
        if not LEAST_HISTORY <= long <= MOST_HISTORY:
            raise ValueError(f"history: {LEAST_HISTORY.days} to {MOST_HISTORY.days} days, such as 90d")
    if into is not None and into.exists() and any(into.iterdir()):
        raise Unusable(f"{into} is not empty: name a directory that is to be made")
    directory = into or Path(tempfile.mkdtemp(prefix="seatkeeper-history-"))
    made = made_up.make(directory, long, seed, datetime.now(UTC))
    if json:
        told = {"since": _moment(made.since), "until": _moment(made.until), "facts": made.facts, "refused": made.refused}
        print_json({"data": str(directory), "seed": seed, "madeUp": True, **told})
    else:
        say(
            f"Made up: {made.facts} facts of three customers from {made.since:%Y-%m-%d} to {made.until:%Y-%m-%d},"
            f" {made.refused} refusals. Nothing of this happened.",
            f"Look at it: seatkeeper usage --data {directory}",
            f"Serve it:   seatkeeper cloud --data {directory}",
        )
    return DONE


def _remove(directory: Path) -> None:
    """Remove what the demo wrote; a process that has just been killed may have been writing, so more than once."""
    for _ in range(REMOVALS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(BETWEEN_REMOVALS)


# --- the story -----------------------------------------------------------------------------------------------------


def _server_starts(stage: Stage) -> Told:
    stage.start_server()
    return Told(f"A cloud server listens on {stage.url}, its data in SQLite.", {"url": stage.url, "pid": stage.server_pid})


def _seats_are_sold(stage: Stage) -> Told:
    lease = f"{LEASE.seconds}s"
    stage.sold = stage.ask("sell", "acme", "solver", "--seats", str(SEATS), "--lease", lease)
    check(stage.status().free == SEATS, f"not {SEATS} free seats after the sale")
    bought = {"product": "solver", "seats": SEATS, "leaseSeconds": LEASE.seconds, "entitlementId": stage.sold["entitlementId"]}
    return Told(f"Sold to acme: solver, {SEATS} seats, leases of {LEASE.seconds} s.", bought)


def _three_work(stage: Stage) -> Told:
    for name in ("ada", "bob", "cleo"):
        check(stage.run(name), f"{name} did not get a seat: {stage.programs[name].said()}")
    status = stage.status()
    check(status.used == SEATS, f"{status.used} seats are taken, not {SEATS}")
    return Told(f"ada, bob and cleo work under `seat run`: {status.used} of {SEATS} seats are taken.", {"used": status.used})


def _fourth_is_refused(stage: Stage) -> Told:
    check(not stage.run("dan"), "dan got a fourth seat out of three")
    dan = stage.programs.pop("dan")
    code, said = dan.wait(), dan.said()
    check(code == ENDED_BY_REFUSAL, f"dan's `seat run` ended with {code}, not {ENDED_BY_REFUSAL}: {said}")
    denials = [word.strip("(") for word in said.split() if word.startswith("(D-")]
    check(len(denials) == 1, f"the refusal has no id: {said}")
    denial = stage.ask("why", denials[0])
    status = stage.status()
    holders, end = [holder.seat_name for holder in status.holders], min(holder.lease_expiry for holder in status.holders)
    check(all(name in said for name in holders) and "unless" in said, f"the refusal is not explained: {said}")
    text = (
        f"dan is refused ({denials[0]}): {', '.join(holders)} hold the seats;"
        f" the earliest lease ends at {clock(end)} unless it is refreshed."
    )
    return Told(text, {"exitCode": code, "holders": holders, "earliestLeaseEnd": _moment(end), "said": said, "why": denial})


def _holder_dies(stage: Stage) -> Told:
    stage.programs.pop("bob").kill()
    stage.bobs_end = end = stage.lease_end("bob")
    check(stage.status().used == SEATS, "the seat of a program that can't be asked was given away")
    return Told(
        f"bob's program is killed (SIGKILL) and gives nothing back: its seat counts until its lease ends at {clock(end)},"
        f" and {MARGIN.seconds} s of margin beyond.",
        {"leaseEnd": _moment(end), "marginSeconds": MARGIN.seconds},
    )


def _fourth_gets_in(stage: Stage) -> Told:
    ends = stage.bobs_end + MARGIN

    def is_free() -> bool:
        left = max(0, round((ends - datetime.now(UTC)).total_seconds()))
        stage.meanwhile(f"bob's seat comes back in about {left} s")
        return stage.status().free == 1

    _await(is_free, "bob's seat did not come back")
    freed_at = datetime.now(UTC)
    check(freed_at > stage.bobs_end, "bob's seat was given away before his lease had ended")
    check(stage.run("dan"), f"dan did not get the free seat: {stage.programs['dan'].said()}")
    return Told("bob's lease has ended and the margin is over: dan gets the seat.", {"freedAt": _moment(freed_at)})


def _server_dies(stage: Stage) -> Told:
    before = stage.activations()
    down_at = time.monotonic()
    stage.kill_server()
    stage.start_server()
    down, up_at = time.monotonic() - down_at, datetime.now(UTC)
    stage.meanwhile("everybody refreshes at the new server")
    _await(lambda: all(at > up_at for at in stage.activations().values()), "not everybody refreshed after the restart")
    check(stage.activations().keys() == before.keys(), "somebody lost a seat")
    check(all(program.is_alive for program in stage.programs.values()), "a program ended")
    return Told(
        f"The server is killed (SIGKILL) and started again, away for {down:.1f} s: ada, cleo and dan kept their seats.",
        {"downSeconds": round(down, 2), "kept": sorted(before)},
    )


def _seats_are_returned(stage: Stage) -> Told:
    codes = {name: program.end() for name, program in stage.programs.items()}
    check(set(codes.values()) == {0}, f"the programs ended with {codes}")
    used = stage.status().used
    check(used == 0, f"{used} seats are still taken")
    return Told(f"Everybody stops and gives the seat back: {used} of {SEATS} are taken.", {"used": used, "exitCodes": codes})


def _all_fits(stage: Stage) -> Told:
    found = stage.ask("verify")
    check(found["holds"], f"facts and counters differ: {found['breaks']}")
    check(stage.stop_server() == 0, "the server did not stop in peace")
    return Told(
        f"{found['facts']} facts, the counters and the seats say the same; the server stops.", {"facts": found["facts"]}
    )


STORY: Final[tuple[tuple[str, Callable[[Stage], Told]], ...]] = (
    ("server-starts", _server_starts),
    ("seats-are-sold", _seats_are_sold),
    ("three-work", _three_work),
    ("fourth-is-refused", _fourth_is_refused),
    ("holder-dies", _holder_dies),
    ("fourth-gets-in", _fourth_gets_in),
    ("server-dies", _server_dies),
    ("seats-are-returned", _seats_are_returned),
    ("all-fits", _all_fits),
)


def _await(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        check(time.monotonic() < deadline, otherwise)
        time.sleep(0.25)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
