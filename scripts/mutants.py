"""Plants one fault after the other in a copy of the product, and sees to it that a test notices each.

    make mutants                                   all of them
    .venv/bin/python scripts/mutants.py 03 nonce   those whose name has one of these words

A mutant is a patch in `tests/mutants/` with two lines above it: the promise that it breaks, and the test files that should
notice. How to add one: `tests/mutants/README.md`. What is printed is a table, mutant by mutant, with the test that noticed.

The rules it keeps
- The tests run against the copy: before each run, where the packages are imported from is looked up, not assumed.
- A test that fails anyway notices nothing: the named tests must pass on an unchanged copy first.
- A mutant that can't be imported, or a patch that no longer applies, is an error of ours and never counts as noticed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "tests" / "mutants"
SOURCES = ("packages/seatkeeper/src", "packages/seatkeeper-server/src")
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "*.egg-info")
LONGEST_RUN = 300  # seconds; a mutant that hangs is noticed too
WHERE = "import seatkeeper, seatkeeper_server; print(seatkeeper.__file__); print(seatkeeper_server.__file__)"


@dataclass(frozen=True)
class Mutant:
    """A fault: what it breaks, who should notice, and the patch that plants it."""

    name: str
    promise: str
    notice: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class Result:
    """What became of a mutant. `problem` is empty if a test noticed it."""

    mutant: Mutant
    noticed_by: str = ""
    problem: str = ""


def read_mutant(path: Path) -> Mutant:
    """Read a patch and the lines above it.

    Raises:
        ValueError: the promise or the tests are missing.
    """
    head = path.read_text(encoding="utf-8").partition("\n--- ")[0]
    promise, notice = (re.search(rf"^{word}: *(.+)$", head, re.MULTILINE) for word in ("Promise", "Notice"))
    if promise is None or notice is None:
        raise ValueError(f"{path.name}: begins with 'Promise: …' and 'Notice: tests/…', then the patch")
    return Mutant(path.stem, promise[1], tuple(notice[1].split()), path)


@contextmanager
def copied() -> Iterator[Path]:
    """Give a copy of the repository to change."""
    with TemporaryDirectory(prefix="seatkeeper-mutant-") as directory:
        copy = Path(directory) / "repository"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
        yield copy


def in_copy(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, so that the copy's packages are the ones imported, there and in whatever is started from there."""
    path = os.pathsep.join(str(copy / source) for source in SOURCES)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST_RUN, check=False
    )


def imports_elsewhere(copy: Path) -> str:
    """Tell what is wrong with where the packages are imported from; "" if it is the copy."""
    run = in_copy(copy, "-c", WHERE)
    if run.returncode != 0:
        return f"it can't be imported: {run.stderr.strip().splitlines()[-1]}"
    elsewhere = [line for line in run.stdout.split() if not Path(line).resolve().is_relative_to(copy.resolve())]
    return f"the tests would import {elsewhere[0]}, not the copy" if elsewhere else ""


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in a copy until one fails; pytest's exit code, and the first that failed or the last thing said."""
    try:
        run = in_copy(copy, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "--hypothesis-seed=0", *tests)
    except subprocess.TimeoutExpired:
        return 1, f"(hangs: stopped after {LONGEST_RUN} s)"
    finally:
        end_what_is_left(copy)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    return run.returncode, failed[1] if failed else "".join((run.stdout + run.stderr).strip().splitlines()[-1:])


def end_what_is_left(copy: Path) -> None:
    """End what the tests of a copy have left running: a fault may be that nothing else does."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if os.fsencode(copy) in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def try_mutant(mutant: Mutant) -> Result:
    """Plant a fault in a copy, and see which test notices."""
    with copied() as copy:
        applied = subprocess.run(
            ["git", "apply", "-C1", "--recount", str(mutant.path)], cwd=copy, capture_output=True, text=True, check=False
        )
        if applied.returncode != 0:
            return Result(mutant, problem=f"NO LONGER APPLIES: make it anew ({applied.stderr.strip().splitlines()[0]})")
        if wrong := imports_elsewhere(copy):
            return Result(mutant, problem=f"BROKEN: {wrong}")
        code, said = run_tests(copy, mutant.notice)
    if code == 1:
        return Result(mutant, noticed_by=said)
    return Result(mutant, problem="SURVIVED" if code == 0 else f"BROKEN: the tests could not be run: {said}")


def unchanged_copy_fails(mutants: Sequence[Mutant]) -> str:
    """Tell which of the named tests fails although nothing was changed; "" if none does."""
    tests = sorted({test for mutant in mutants for test in mutant.notice})
    with copied() as copy:
        code, said = run_tests(copy, tests)
        return imports_elsewhere(copy) or (said if code != 0 else "")


def report(results: Sequence[Result]) -> int:
    """Print the table; 1 if anything went unnoticed."""
    width = max(len(result.mutant.name) for result in results)
    for result in results:
        print(f"{result.mutant.name:{width}}  {result.noticed_by or result.problem}")
        if result.problem:
            print(f"{'':{width}}    promise: {result.mutant.promise}")
    bad = [result for result in results if result.problem]
    print(f"\n{len(results) - len(bad)} of {len(results)} mutants were noticed")
    return 1 if bad else 0


def main() -> int:
    """Try the mutants that were asked for."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="words in the names of the mutants to try; all without any")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    args = parser.parse_args()
    every = sorted(map(read_mutant, MUTANTS.glob("*.patch")), key=lambda mutant: int(mutant.name.partition("_")[0]))
    mutants = [mutant for mutant in every if not args.names or any(name in mutant.name for name in args.names)]
    if not mutants:
        print(f"no mutant is called {' or '.join(args.names)}", file=sys.stderr)
        return 2
    if failing := unchanged_copy_fails(mutants):
        print(f"fails without any mutant, so it can't notice one: {failing}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(args.jobs) as pool:
        return report(list(pool.map(try_mutant, mutants)))


if __name__ == "__main__":
    raise SystemExit(main())
