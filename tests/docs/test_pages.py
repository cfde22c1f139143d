"""The tutorial and the how-tos do what they say: their commands and programs are run as they stand."""

import re
import sys
from inspect import signature
from typing import get_args

import pytest

import seatkeeper
from seatkeeper._seat import State
from tests.docs.authority import write_certificates
from tests.docs.conftest import Shell, free_port
from tests.docs.pages import ROOT, blocks
from tests.support import postgres
from tests.support.postgres import Clusters, servers

DOCS = ROOT / "docs"
SELL = "seatkeeper cloud > server.log 2>&1 &\nseatkeeper sell acme solver --seats 2 --env > acme.env\n. ./acme.env\n"
HOLD = "USER={user} LOGNAME={user} seat run -- sh -c 'touch {user}; exec sleep 60' & until test -e {user}; do sleep 0.1; done\n"


def test_the_tutorial_from_top_to_bottom(shell: Shell) -> None:
    """Sell one seat, hold it, be refused, look it up as the vendor."""
    page = DOCS / "tutorial" / "first-seat.md"
    done = shell.run("".join(blocks(page, "sh")))

    assert done.returncode == 0, done.stderr
    for said in ("working with a seat", "solver: 1 of 1 seats taken", "No seat is free", "exit code 75", "pool-full"):
        assert said in done.stdout
    assert "never printed" not in done.stdout


def test_the_tutorials_program(shell: Shell) -> None:
    """The lines of Python hold a seat."""
    shell.write("program.py", blocks(DOCS / "tutorial" / "first-seat.md", "python")[0])
    done = shell.run(f"{SELL} {sys.executable} program.py")

    assert re.fullmatch(r"ada@\S+ works; the seat is held\n", done.stdout), done


def test_freeing_a_stuck_seat(shell: Shell) -> None:
    """Seen, taken back in honesty, taken back at once."""
    seats, free, free_now, block = blocks(DOCS / "howto" / "free-a-stuck-seat.md", "sh")
    done = shell.run(SELL + HOLD.format(user="ada") + HOLD.format(user="bob") + seats + free + free_now + block)

    assert done.returncode == 0, done.stderr
    assert "2 bought, 2 held" in done.stdout
    assert "the place counts until" in done.stdout
    assert "the place is free, and over-used until its program notices" in done.stdout
    assert re.search(r"bob@.* is refused until .*\nbob@.* is not blocked any more", done.stdout)


def test_a_license_server_in_a_closed_network(shell: Shell) -> None:
    """Licensed, lent to, served from, reported by and taken back from, with files only."""
    page = blocks(DOCS / "howto" / "local-in-a-closed-network.md", "sh")
    named = (
        'export TENANT=$(seatkeeper site code --data vendor --json | sed -n \'s/.*tenantId": "\\(.*\\)",/\\1/p\')\n'
        'export CODE=$(seatkeeper site code --data vendor --json | sed -n \'s/.*activationCode": "\\(.*\\)"/\\1/p\')\n'
        "export ENTITLEMENT=$(seatkeeper ls --data vendor | sed -n 's/\\(ent_[^ ]*\\) *acme.*/\\1/p')\n"
    )
    done = shell.run(page[0] + named + "".join(page[1:]))

    assert done.returncode == 0, done.stderr
    assert "works in the closed network" in done.stdout
    for said in ("lab-1 is licensed", "nothing is lent beyond that", "30 seats of solver for acme are lent", "was given back"):
        assert said in done.stderr


def test_borrowing_a_seat(shell: Shell) -> None:
    """Allowed, borrowed, worked with, given back, and given away at once."""
    allow, borrow, run, back, give_away = blocks(DOCS / "howto" / "borrow-a-seat.md", "sh")
    settings = ". ./acme.env; export USER=ada LOGNAME=ada\n"
    done = shell.run(SELL + allow + settings + borrow + run + back + give_away)

    assert done.returncode == 0, done.stderr
    assert "borrowed until" in done.stdout
    assert "at work" in done.stdout
    assert "its place counts until" in done.stdout
    assert "1 of 5 borrowed, for 14d at most" in done.stdout
    assert "the place is free, and over-used" in done.stdout


def test_finding_out_why(shell: Shell) -> None:
    """By the id, however it is typed, and by looking through a customer's refusals."""
    by_id, by_customer, contact = blocks(DOCS / "howto" / "why-refused.md", "sh")
    shell.run(SELL + HOLD.format(user="ada") + HOLD.format(user="bob"))
    refused = shell.run(". ./acme.env; seat run -- true || true")
    denial = re.findall(r"D-\w+", refused.stderr)[0]
    done = shell.run(contact + by_id + by_customer, DENIAL=denial.lower())

    assert done.returncode == 0, done.stderr
    assert f"{denial}: ada@" in done.stdout
    assert "pool-full" in done.stdout
    assert "acme/solver" in done.stdout
    assert "ask     licenses@example.com" in done.stdout


def test_the_page_of_the_python_names(shell: Shell) -> None:
    """Its programs run as they stand, one after the other, beside a holder who is seen."""
    page = DOCS / "reference" / "python.md"
    shell.run(SELL.replace("--seats 2", "--seats 3 --feature render=elementPool:4") + HOLD.format(user="bob"))
    for number, program in enumerate(blocks(page, "python")):
        shell.write(f"program{number}.py", program)
    done = [shell.run(f". ./acme.env; {sys.executable} program{number}.py") for number in range(3)]

    assert done[0].stdout == "held {'render': 1}\nrender 2 drawn, 3 held\n", done[0]
    assert done[1].stdout == "solver: 3 bought, held\n", done[1]
    assert re.fullmatch(r"1 of 3 taken, 2 free\nbob@.* \d{4}-.*\n", done[2].stdout), done[2]


def test_the_page_of_the_python_names_is_complete() -> None:
    """Every public name, argument, attribute and state is on it, and each error with the error it is one of."""
    text = (DOCS / "reference" / "python.md").read_text()
    errors = [
        one
        for one in map(seatkeeper.__dict__.get, seatkeeper.__all__)
        if isinstance(one, type) and issubclass(one, seatkeeper.SeatkeeperError)
    ]
    arguments = {*signature(seatkeeper.seat).parameters, *signature(seatkeeper.async_seat).parameters}
    offered = {name for name in dir(seatkeeper.Seat) if not name.startswith("_")} | arguments | set(get_args(State))
    named = set(re.findall(r"[A-Za-z_]+(?: risk)?", " ".join(re.findall(r"`[^`\n]+`", text))))

    assert {*seatkeeper.__all__, *offered} - named == set()
    assert [one.__name__ for one in errors if f"| `{one.__name__}` | `{one.__base__.__name__}` |" not in text] == []


def test_testing_a_program_of_ones_own(shell: Shell) -> None:
    """The example passes as a test file of its own."""
    shell.write("test_work.py", blocks(DOCS / "howto" / "test-your-program.md", "python")[0])
    done = shell.run(f"{sys.executable} -m pytest -q -p no:cacheprovider test_work.py")

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_keeping_many_seats_from_one_place(shell: Shell) -> None:
    """The agent holds its seats by one call a turn; when one is taken back, it says so and keeps the others."""
    (program,) = blocks(DOCS / "howto" / "refresh-many.md", "python")
    turns, free = "refresh(seats)\nrefresh(seats)\n", 'os.system("seatkeeper free node8/worker-7 --now > freed")\n'
    assert turns in program
    shell.write("agent.py", program)
    shell.write("other.py", program.replace(turns, f"refresh(seats)\n{free}refresh(seats)\n").replace("node7", "node8"))
    sell = SELL.replace("--seats 2", "--seats 40") + "until grep -q http: server.log; do sleep 0.1; done\n"
    done, told = shell.run(f"{sell} {sys.executable} agent.py"), shell.run(f". ./acme.env; {sys.executable} other.py")

    assert done.stdout == "20 seats held\n", done
    assert re.fullmatch(r"node8/worker-7: .* no longer held.*\n19 seats held\n", told.stdout), told


def test_backing_up_and_restoring(shell: Shell) -> None:
    """Beside the running server, checked without us, restored into a directory that a server then serves."""
    back_up, check, restore = blocks(DOCS / "howto" / "back-up-and-restore.md", "sh")
    key = 'cp "$XDG_DATA_HOME/seatkeeper/cloud/seal.key" seal.key\n'
    done = shell.run(SELL + HOLD.format(user="ada") + back_up + check + key + restore + "seatkeeper doctor --data ./restored")

    assert done.returncode == 0, done.stderr
    assert "vendor.tar: 1 vendor, 1 entitlement, 1 place" in done.stdout
    assert '"format": 1' in done.stdout
    assert "seatkeeper.db: OK" in done.stdout
    assert "now in epoch 2" in done.stdout


@pytest.mark.skipif(not postgres.servers(), reason="there is no PostgreSQL to test with")
def test_moving_to_postgresql(shell: Shell, clusters: Clusters) -> None:
    """Looked at beforehand, moved, served from there; and its upgrade finished."""
    check, move, serve, finish = blocks(DOCS / "howto" / "move-to-postgresql.md", "sh")
    sell, served = "seatkeeper sell acme solver --seats 2\n", "until grep -q http server.log; do sleep 0.1; done\n"
    with clusters[next(iter(postgres.servers()))].empty() as url:
        done = shell.run(sell + check + move + serve + served + finish, DATABASE=url)
        shell.end()

    assert done.returncode == 0, done.stderr
    assert "and taken back" in done.stdout
    assert "everything fits" in done.stdout
    assert "Nobody serves" in done.stdout
    assert len(re.findall(r"seats +applied", done.stdout)) == 2


def test_the_timer_names_real_settings() -> None:
    """Each variable in the unit that backs up is a setting of the server."""
    (unit,) = blocks(DOCS / "howto" / "back-up-and-restore.md", "ini")
    settings = (DOCS / "reference" / "settings.md").read_text()

    assert [name for name in re.findall(r"SEATKEEPER_\w+", unit) if f"`{name}`" not in settings] == []


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_tls(shell: Shell, mutual: bool) -> None:
    """Programs that trust the authority get through; with mutual TLS those that show a certificate, and no others."""
    write_certificates(shell.folder)
    port = shell.environment["SEATKEEPER_PORT"]
    serve, trust, show = (block.replace("6500", port) for block in blocks(DOCS / "howto" / "tls.md", "sh"))
    sell = "seatkeeper sell acme solver --seats 2 --data ./vendor --env > acme.env\n. ./acme.env\n"
    await_server = "until grep -q https: server.log; do sleep 0.1; done\n"
    serve = serve.replace("cloud ", "cloud --tls-client-ca authority.pem ") if mutual else serve
    without = shell.run(serve + await_server + sell + trust)
    shown = shell.run(". ./acme.env\n" + trust.replace("seat doctor", "") + show + "seat doctor && seat run -- echo works")

    assert (without.returncode == 0) is not mutual, without.stdout
    assert shown.returncode == 0, shown.stdout
    assert "works" in shown.stdout


def test_running_under_systemd(shell: Shell) -> None:
    """The look beforehand shows a unit, and each setting that the page names is one. Nothing is installed."""
    page = DOCS / "howto" / "systemd.md"
    look, install, beside = blocks(page, "sh")
    done = shell.run(look)
    settings = (DOCS / "reference" / "settings.md").read_text()

    assert "ExecStart=" in done.stdout, done
    assert install == look.replace("seatkeeper", "sudo seatkeeper", 1).replace(" --print", "")
    assert f"Environment=SEATKEEPER_DATA={beside.split()[-1]}" in done.stdout
    named = set(re.findall(r"SEATKEEPER_[A-Z_]*[A-Z]", page.read_text()))
    assert {name for name in named if f"`{name}`" not in settings} == set()


@pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with")
def test_several_servers_on_postgresql(shell: Shell, clusters: Clusters) -> None:
    """One with workers, one beside it with a copy of the sealing key, and programs at either."""
    name, first, second = blocks(DOCS / "howto" / "several-servers.md", "sh")
    other = str(free_port())
    told = re.findall(r"^export (\w+)=(postgresql://\S+)$", name, re.MULTILINE)
    with clusters[next(iter(servers()))].empty() as url:
        done = shell.run(first + second.replace("6501", other), SEATKEEPER_DATABASE=url)
        held = shell.run(". ./acme.env; seat run -- echo works", SEATKEEPER_SERVER=f"http://127.0.0.1:{other}")
        shell.end()

    assert told == [("SEATKEEPER_DATABASE", "postgresql://seatkeeper@db.example/seats")]
    assert re.search(r"^server +ok +serving", done.stdout, re.MULTILINE), done
    assert "works" in held.stdout, held


def test_connecting_a_local_server(shell: Shell) -> None:
    """Over TLS with an authority of one's own: connected, lent to without carrying, looked at, disconnected."""
    write_certificates(shell.folder)
    port, own = shell.environment["SEATKEEPER_PORT"], str(free_port())
    code, connect, lend, doctor, disconnect = blocks(DOCS / "howto" / "connect-a-local-server.md", "sh")
    connect = connect.replace("https://licenses.example.com", f"https://localhost:{port} --ca-file authority.pem")
    begin = (
        "seatkeeper cloud --data ./vendor --tls-cert server.pem --tls-key server.key > vendor.log 2>&1 &\n"
        f"SEATKEEPER_EXCHANGE_EVERY=1 seatkeeper local --data ./site --port {own} > site.log 2>&1 &\n"
        "until grep -q https: vendor.log && grep -q http: site.log; do sleep 0.1; done\n"
        "seatkeeper sell acme solver --seats 3 --data ./vendor > /dev/null\n"
    )
    known = shell.run(begin + code)
    (tenant, its_code) = (line.split()[-1] for line in known.stdout.splitlines())
    without = shell.run(connect.replace(" --ca-file authority.pem", ""), TENANT=tenant, CODE=its_code)
    done = shell.run(connect + lend, TENANT=tenant, CODE=its_code)
    arrived = shell.run("until seatkeeper ls --data ./site | grep -q solver; do sleep 0.2; done\n" + doctor)
    ended = shell.run(disconnect + doctor)

    assert (without.returncode, "--ca-file" in without.stderr) == (1, True), without
    assert done.returncode == 0, done.stderr
    assert re.search(rf"vendor at https://localhost:{port} +ok +connected; last reached", arrived.stdout), arrived
    assert ended.returncode == 0, ended.stderr
    assert "vendor at" not in ended.stdout
