"""What a program imports before it can begin: a verb should be there at once, and a desk when its server is."""

import subprocess
import sys
from pathlib import Path

import pytest

DEAR = ("fastapi", "joserfc", "psycopg", "pydantic", "uvicorn")  # 20 to 300 ms each


def imported(program: str, *arguments: str | Path) -> set[str]:
    """Run a program that must succeed, in a process of its own, and tell which of the dear ones it imported."""
    told = f"import atexit, sys; atexit.register(lambda: print('imported', *[m for m in {DEAR!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{told}\n{program}", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_a_desk_imports_what_it_decides_with() -> None:
    """No web server, no settings, no driver of a database that it doesn't use."""
    assert imported("import seatkeeper_server.apps.desk_process") == set()


@pytest.mark.parametrize("verb", ["ls", "seats", "log", "doctor", "verify"])
def test_a_verb_on_a_file_imports_no_more(verb: str, tmp_path: Path) -> None:
    """Neither PostgreSQL's driver nor what seals tokens: only who needs them waits for them."""
    run = "from seatkeeper_server.cli import main; main()"
    imported(run, "sell", "acme", "solver", "--seats", "2", "--data", tmp_path)

    assert imported(run, verb, "--data", tmp_path) == {"pydantic"}


def test_a_server_starts_without_what_is_called_seldom() -> None:
    """What answers administrators is imported when one calls, and what seals tokens when one is sealed."""
    assert imported("import seatkeeper_server.apps.cloud") == {"pydantic", "uvicorn"}
