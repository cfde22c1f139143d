"""The README's first screen is true: its commands and its program are run as they stand."""

import re
import sys

from tests.docs.conftest import Shell
from tests.docs.pages import README, ROOT, blocks

APP = "#!/bin/sh\necho the app runs\n"
BUSY_APP = "#!/bin/sh\necho busy >> busy\nexec sleep 60\n"
FIRST_SCREEN = 25  # lines


def test_the_first_screen_has_it_all() -> None:
    """What it is, the demo, three commands and the lines of code stand in the first 25 lines."""
    screen = "\n".join(README.read_text().splitlines()[:FIRST_SCREEN])

    assert "make demo" in screen
    assert blocks(README, "sh")[0].strip() in screen
    assert blocks(README, "python")[0].strip() in screen


def test_make_demo_runs_the_demo() -> None:
    """`make demo` is `seatkeeper demo`, which tests/journeys/test_demo.py sees through to its end."""
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(r"^demo:.*\n\t@?\$\(BIN\)/seatkeeper demo$", makefile, re.MULTILINE)


def test_setting_up_says_so_first() -> None:
    """On a fresh clone pip is silent for half a minute: before it, `make demo` says what it is doing."""
    recipe = (ROOT / "Makefile").read_text().split("\n$(READY): ")[1]

    assert 0 < recipe.index('@echo "Setting up .venv (half a minute) …"') < recipe.index("-m venv .venv")


def test_the_three_commands_run_an_app_with_a_seat(shell: Shell) -> None:
    """As they stand: a server, a sale, and the app runs under a seat."""
    shell.write("app", APP)
    done = shell.run(blocks(README, "sh")[0])

    assert done.returncode == 0, done.stderr
    assert "the app runs" in done.stdout
    assert "seatkeeper cloud: http://127.0.0.1:" in done.stdout


def test_the_lines_of_code_hold_a_seat_and_show_a_refusal(shell: Shell) -> None:
    """With a seat free the program works; with both taken it shows who has them, until when, and an id."""
    shell.write("app", BUSY_APP)
    shell.write("program.py", blocks(README, "python")[0])
    program = f". ./acme.env; {sys.executable} program.py"
    shell.run(blocks(README, "sh")[0].replace("./app", "true"))
    works = shell.run(program)
    shell.run(". ./acme.env; USER=bob LOGNAME=bob seat run -- ./app & until test -e busy; do sleep 0.1; done; rm busy")
    shell.run(". ./acme.env; USER=eve LOGNAME=eve seat run -- ./app & until test -e busy; do sleep 0.1; done")
    refused = shell.run(program)

    assert re.fullmatch(r"ada@\S+ is working\n", works.stdout), works
    assert re.match(r"No seat is free", refused.stdout), refused
    assert "2 of 2 are taken." in refused.stdout
    assert re.search(r"bob@\S+( 2)?  since .*\n  eve@\S+( 2)?  since ", refused.stdout)
    assert re.search(
        r"The earliest lease ends and its place comes back by \d\d:\d\d:\d\d, unless it is refreshed.", refused.stdout
    )
    assert re.search(r"\(D-\w+ · http://127.0.0.1:", refused.stdout)
    assert blanked(refused.stdout) == blanked(blocks(README, "text")[0])


def blanked(refusal: str) -> str:
    """Give a refusal without what is different each time: names, times, its id and the port."""
    for what in (r"\S+@\S+( \d)?(?=  since)", r"\d\d:\d\d:\d\d", r"D-\w{6}", r"(?<=127.0.0.1):\d+", r"\d{4}-\d\d-\d\d"):
        refusal = re.sub(what, "…", refusal)
    return refusal


def test_every_make_target_is_named() -> None:
    """Each target that the Makefile explains for daily use is in the README, and none that isn't there."""
    explained = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README.read_text()))

    assert named <= explained | {"alone"}
    assert explained - named <= {"help", "lock", "clean"}
