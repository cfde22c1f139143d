"""Every verb without a server: what it prints, writes and returns."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seatkeeper.protocol import codes
from seatkeeper_server.apps import storage
from seatkeeper_server.store import migrations, sqlite
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.migrations import Step
from tests.cli.commands import command
from tests.support.servers import BIN, Finished, clean_environment, installed_seatkeeper, seatkeeper

VERBS = (
    *("cloud", "local", "sell", "change", "ls", "seats", "free", "vendor", "log", "why", "doctor", "verify"),
    *("backup", "restore", "migrate", "schema"),
)
DENIED, MISTYPED, UNUSABLE = 1, 2, 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that isn't there yet."""
    return tmp_path / "vendor"


def run(data: Path, *arguments: str, **environment: str) -> Finished:
    """Run a verb on a data directory."""
    return command(*arguments, "--data", data, **environment)


def told(done: Finished) -> Any:
    """Read what a verb that must succeed printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sell(data: Path, customer: str = "acme", *more: str) -> dict[str, str]:
    """Sell three seats of solver."""
    sold: dict[str, str] = told(run(data, "sell", customer, "solver", "--seats", "3", *more, "--json"))
    return sold


def tamper(data: Path, sql: str) -> None:
    """Change the database behind everybody's back."""
    with closing(sqlite3.connect(data / "seatkeeper.db")) as database, database:
        database.execute(sql)


# --- help ----------------------------------------------------------------------------------------------------------


def test_help_lists_the_verbs_and_exit_codes() -> None:
    """`seatkeeper --help` says what there is, and what exit codes mean."""
    done = command("--help")

    assert done.returncode == 0
    assert all(f" {verb} " in done.stdout for verb in (*VERBS, "code"))
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_its_variable_and_an_example(verb: str) -> None:
    """Help names the environment variable of the data directory, and gives an example to copy."""
    done = command(verb, "--help")

    assert "SEATKEEPER_DATA" in done.stdout
    assert f"Example: seatkeeper {verb}" in done.stdout


def test_every_verb_runs_as_a_process_of_its_own(data: Path) -> None:
    """The installed command does what the rest of these tests have done within one process."""
    sold = told(installed_seatkeeper("sell", "acme", "solver", "--seats", "3", "--json", "--data", data))
    entitlement = sold["entitlementId"]
    verbs = {
        "ls": (),
        "seats": (entitlement,),
        "change": (entitlement, "--seats", "4"),
        "log": ("--since", "1h"),
        "doctor": (),
        "verify": (),
        "free": ("eve@node7",),
        "why": ("D-7K3M2Q",),
    }
    codes_of = {verb: installed_seatkeeper(verb, *words, "--data", data).returncode for verb, words in verbs.items()}
    shown = installed_seatkeeper("code", "show", entitlement, "--data", data)

    assert codes_of == {verb: DENIED if verb in ("free", "why") else 0 for verb in verbs}
    assert shown.stdout.strip() == sold["activationCode"]


def test_help_waits_for_no_server_code() -> None:
    """Verbs are imported when they are called: help must not load the database, the keys or the web server."""
    heavy = ("apsw", "cryptography", "uvicorn", "pydantic")
    script = f"import sys, seatkeeper_server.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_a_mistyped_command_ends_with_2(data: Path) -> None:
    """Usage errors have their own exit code, and say what is wrong."""
    wrong = [
        run(data, "sell", "acme", "solver"),
        run(data, "sell", "acme", "solver", "--seats", "many"),
        run(data, "sell", "acme", "solver", "--seats", "0"),
        run(data, "sell", "acme", "solver", "--seats", "3", "--lease", "2 minutes"),
        run(data, "sell", "acme", "solver", "--seats", "3", "--feature", "render"),
        run(data, "sell", "acme", "solver", "--seats", "3", "--json", "--env"),
        run(data, "sell", "a" * 51, "solver", "--seats", "3"),
        run(data, "nonsense"),
    ]

    assert [done.returncode for done in wrong] == [MISTYPED] * len(wrong)
    assert all(done.stderr and "Traceback" not in done.stderr for done in wrong)
    assert not data.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sell", "acme", "solver", "--seats", "3", "--linger", "-1s"), "'-1s' is no interval"),
        (("sell", "acme", "solver", "--seats", "3", "--days", "9999999999"), "days: 1 to 36500, or never"),
        (("sell", "acme", "solver", "--seats", "9" * 60), "seats: sell 1 to 1,000,000,000"),
        (("change", "acme", "--until", "9999-12-31"), "9999-12-30 at the latest"),
        (("cloud", "--port", "80000"), "--port: it has to be less than or equal to 65535"),
        (("cloud", "--tls-cert", "server.pem"), "--tls-cert and --tls-key"),
        (("free", "eve", "--block", "-10m"), "'-10m' is no interval"),
    ],
)
def test_a_wrong_value_is_told_as_what_it_is(data: Path, words: tuple[str, ...], said: str) -> None:
    """The message names the fault, and the option as it is typed."""
    done = run(data, *words)

    assert done.returncode == MISTYPED
    assert said in done.stderr


def test_a_host_that_is_none_is_not_taken_for_a_port_in_use(data: Path) -> None:
    """What to change is the address."""
    done = seatkeeper("cloud", "--host", "nowhere.invalid", "--port", "0", "--data", data)

    assert done.returncode == UNUSABLE
    assert "there is no such host" in done.stderr
    assert "--host" in done.stderr
    assert "--port" not in done.stderr


def test_a_long_value_is_cut(data: Path) -> None:
    """Ten thousand letters say no more than sixty."""
    sell(data)
    wrong = [run(data, verb, "x" * 10_000) for verb in ("seats", "free", "why")]

    assert [done.returncode for done in wrong] == [DENIED] * 3
    assert max(len(done.stderr) for done in wrong) < 300


@pytest.mark.parametrize(
    "verb", [("ls",), ("seats",), ("log",), ("why", "D-234567"), ("doctor",), ("verify",), ("free", "eve")]
)
def test_without_data_a_verb_says_what_to_do(data: Path, verb: tuple[str, ...]) -> None:
    """A wrong directory is told from an empty one, and nothing is made there."""
    done = run(data, *verb)

    assert done.returncode == UNUSABLE
    assert "--data" in done.stderr
    assert not data.exists()


def test_a_newer_schema_is_refused_clearly(data: Path) -> None:
    """Data of a newer Seatkeeper is not touched."""
    sell(data)
    tamper(data, "INSERT INTO migration VALUES (9999, 'later', 0)")
    done = run(data, "ls")

    assert done.returncode == UNUSABLE
    assert "schema 9999" in done.stderr


@pytest.fixture
def knows_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this Seatkeeper know one step of the schema more than the data that was there before."""
    known = migrations.steps("sqlite")
    more = {**known, max(known) + 1: Step(max(known) + 1, "more", "CREATE TABLE more (number INTEGER) STRICT")}
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "steps", lambda database: more)
        yield


def has_more(data: Path) -> bool:
    """Tell whether that step was applied."""
    with closing(sqlite3.connect(data / "seatkeeper.db")) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'more'").fetchone())


def test_older_data_is_not_touched_beside_its_server(
    data: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A verb of a newer Seatkeeper changes no schema under an older server that works with it, and says what to do."""
    sell(data)
    request.getfixturevalue("knows_more")
    monkeypatch.setattr(storage, "UPDATED_WITHIN", timedelta(0))
    with DirectoryLock(data):
        refused = [run(data, "ls"), run(data, "sell", "bolt", "solver", "--seats", "1")]

    assert [done.returncode for done in refused] == [UNUSABLE, UNUSABLE]
    assert "stop that server" in refused[0].stderr
    assert not has_more(data)


def test_older_data_that_nobody_serves_is_brought_up_to_date(data: Path, request: pytest.FixtureRequest) -> None:
    """By the first verb, and the directory is free again afterwards."""
    sell(data)
    request.getfixturevalue("knows_more")
    done = run(data, "ls")
    with DirectoryLock(data):
        again = run(data, "ls")

    assert (done.returncode, again.returncode, has_more(data)) == (0, 0, True)


def test_a_server_that_is_just_starting_is_waited_for(data: Path, request: pytest.FixtureRequest) -> None:
    """It has the directory, and brings the data up to date itself in a moment."""
    sell(data)
    request.getfixturevalue("knows_more")
    with DirectoryLock(data), closing(sqlite.SqliteStore(data / "seatkeeper.db")) as store:
        starting = threading.Timer(0.2, store.migrate, (datetime.now(UTC),))
        starting.start()
        done = run(data, "ls")
        starting.join()

    assert (done.returncode, has_more(data)) == (0, True)


# --- sell, change, code --------------------------------------------------------------------------------------------


def test_sell_prints_exactly_what_a_program_needs(data: Path) -> None:
    """`--json` has tenant, product, entitlement, activation code and the root's public key."""
    sold = sell(data)

    assert list(sold) == ["tenantId", "productId", "entitlementId", "activationCode", "publicKey"]
    assert codes.looks_right(sold["activationCode"])


def test_sell_for_people_names_each_thing(data: Path) -> None:
    """Without options the same is printed in words."""
    done = run(data, "sell", "acme", "solver", "--seats", "3")

    assert re.search(r"activation code +(\w{5}-){4}\w{5}", done.stdout)
    assert all(word in done.stdout for word in ("acme", "solver", "tenant", "product", "entitlement", "public key"))


def test_sell_env_can_be_pasted_into_a_shell(data: Path) -> None:
    """`--env` prints lines that set what `seat run` reads."""
    done = run(data, "sell", "a'c me", "solver", "--seats", "3", "--env", SEATKEEPER_SERVER="https://l.example:6500")
    names = ("SERVER", "TENANT", "PRODUCT", "CODE", "PUBLIC_KEY")
    script = done.stdout + "".join(f'printf "%s|" "$SEATKEEPER_{name}"\n' for name in names)
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    server, tenant, product, code, key, _ = shell.stdout.split("|")

    assert server == "https://l.example:6500"
    assert (tenant[:2], product[:5]) == ("t_", "prod_")
    assert codes.looks_right(code)
    assert len(key) == 43


def test_sell_env_without_a_server_names_this_machine(data: Path) -> None:
    """The server is the one that `seatkeeper cloud` starts unless told otherwise."""
    done = run(data, "sell", "acme", "solver", "--seats", "3", "--env")

    assert "export SEATKEEPER_SERVER=http://127.0.0.1:6500" in done.stdout


def test_sell_env_keeps_the_names_as_they_are(data: Path) -> None:
    """Letters of any script stay what they are in the line that says what was sold."""
    done = run(data, "sell", "Łódź & Söhne", "solver", "--seats", "3", "--env")

    assert done.stdout.splitlines()[0].startswith("# Łódź & Söhne: 3 x solver, until ")


def test_overdraft_is_seen_wherever_seats_are_counted(data: Path) -> None:
    """In sell, ls and seats; where there is none, nothing is said of it."""
    sold = run(data, "sell", "acme", "solver", "--seats", "2", "--overdraft", "9").stdout
    listed = run(data, "ls").stdout.splitlines()
    shown = run(data, "seats").stdout
    unlimited = run(data, "sell", "bolt", "solver", "--seats", "2", "--overdraft", "unlimited").stdout

    assert "acme bought 2 x solver, 9 more by overdraft, until" in sold
    assert (listed[0].split()[3:5], listed[1].split()[3:5]) == (["seats", "overdraft"], ["2", "9"])
    assert "seats: 2 bought, 9 more by overdraft, 0 held" in shown
    assert "any number more by overdraft" in unlimited


def test_vendor_shows_and_changes_the_contact(data: Path) -> None:
    """For all his customers at once, and written down; empty means nobody."""
    sold = sell(data)
    changed = run(data, "vendor", "--contact", "licenses@example.com")
    shown, programs = run(data, "vendor"), told(run(data, "vendor", "default", "--json"))
    emptied = told(run(data, "vendor", "--contact", "", "--json"))

    assert (changed.returncode, changed.stdout) == (0, "")
    assert re.search(r"vendor +default, 1 customer\n", shown.stdout)
    assert re.search(r"contact +licenses@example.com\n", shown.stdout)
    assert (programs["publicKey"], programs["contact"]) == (sold["publicKey"], "licenses@example.com")
    assert emptied["contact"] is None
    assert "refused users are told to ask licenses@example.com" in run(data, "log").stdout


def test_selling_the_same_twice_is_refused_unless_another_is_meant(data: Path) -> None:
    """The refusal says how to change what was sold."""
    sold = sell(data)
    again = run(data, "sell", "acme", "solver", "--seats", "3")
    another = run(data, "sell", "acme", "solver", "--seats", "3", "--another")

    assert again.returncode == DENIED
    assert f"seatkeeper change {sold['entitlementId']}" in again.stderr
    assert another.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other means than permission bits")
def test_data_and_sealing_key_are_for_their_owner_only(data: Path) -> None:
    """The data directory is 0700, the sealing key and the database 0600."""
    sell(data)

    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert {stat.S_IMODE((data / name).stat().st_mode) for name in ("seal.key", "seatkeeper.db")} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other means than permission bits")
def test_so_is_the_data_in_a_directory_that_was_there_before(data: Path) -> None:
    """A directory made by an administrator may be open to others; the sold seats, names and sealed keys in it are not."""
    data.mkdir(mode=0o755)
    sell(data)

    assert {path.name for path in data.iterdir() if path.stat().st_mode & 0o077} == set()


def test_the_sealing_key_may_lie_elsewhere(data: Path, tmp_path: Path) -> None:
    """SEATKEEPER_SEAL_KEY_FILE names it; then nothing in the data directory opens a code."""
    key = tmp_path / "elsewhere" / "seal.key"
    done = run(data, "sell", "acme", "solver", "--seats", "3", SEATKEEPER_SEAL_KEY_FILE=str(key))

    assert done.returncode == 0
    assert key.exists()
    assert not (data / "seal.key").exists()


def test_a_lost_sealing_key_is_not_replaced(data: Path) -> None:
    """A new key would open nothing: the verb says which file is missing instead of making one."""
    sold = sell(data)
    (data / "seal.key").unlink()
    done = run(data, "code", "show", sold["entitlementId"])

    assert done.returncode == UNUSABLE
    assert "seal.key" in done.stderr
    assert not (data / "seal.key").exists()


def test_the_data_directory_comes_from_the_environment(data: Path) -> None:
    """SEATKEEPER_DATA stands for --data."""
    done = command("sell", "acme", "solver", "--seats", "3", "--json", SEATKEEPER_DATA=str(data))

    assert told(done)["tenantId"] == told(run(data, "ls", "--json"))[0]["tenantId"]


def test_two_first_sales_at_the_same_moment_both_succeed(data: Path) -> None:
    """`seatkeeper cloud & seatkeeper sell …`: whoever comes first makes the database, the other one finds it."""
    words: list[str | Path] = [BIN / "seatkeeper", "sell", "--seats", "3", "--data", data, "--json"]
    both = [
        subprocess.Popen(
            [*words, customer, "solver"],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for customer in ("acme", "bolt")
    ]
    ended = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0], ended
    assert len({json.loads(out)["tenantId"] for out, _ in ended}) == 1


def test_change_is_quiet_and_tells_programs_before_and_after(data: Path) -> None:
    """Success prints nothing; `--json` says what it was and is."""
    sold = sell(data)
    quiet = run(data, "change", sold["entitlementId"], "--seats", "5")
    changed = told(run(data, "change", sold["entitlementId"], "--until", "2030-12-31", "--json"))

    assert (quiet.returncode, quiet.stdout) == (0, "")
    assert changed["seats"] == 5
    assert changed["until"] == "2031-01-01T00:00:00Z"
    assert changed["before"]["until"] != changed["until"]


def test_change_of_a_wrong_entitlement_names_the_nearest(data: Path) -> None:
    """A typing mistake is answered with what was probably meant."""
    sold = sell(data)
    done = run(data, "change", sold["entitlementId"][:-1] + "-x", "--seats", "5")

    assert done.returncode == DENIED
    assert f"did you mean {sold['entitlementId']}?" in done.stderr


def test_code_show_gives_the_code_and_writes_it_down(data: Path) -> None:
    """Reading a code is a fact, which holds its last four characters only."""
    sold = sell(data)
    shown = run(data, "code", "show", sold["entitlementId"])
    log = run(data, "log").stdout

    assert shown.stdout.strip() == sold["activationCode"]
    assert f"activation code read: ends in {codes.last_four(sold['activationCode'])}" in log
    assert sold["activationCode"] not in log
    assert told(run(data, "code", "show", sold["entitlementId"], "--json"))["activationCodes"] == [sold["activationCode"]]


# --- ls, seats, log ------------------------------------------------------------------------------------------------


def test_ls_lists_what_was_sold(data: Path) -> None:
    """A line each, as columns into a pipe and as data for programs."""
    sell(data)
    sell(data, "bolt", "--days", "never")
    lines = run(data, "ls").stdout.splitlines()
    found = told(run(data, "ls", "--json"))

    assert lines[0].split() == ["entitlement", "customer", "product", "seats", "used", "status", "end"]
    assert lines[2].split()[1:] == ["bolt", "solver", "3", "0", "active", "never"]
    assert [(one["customer"], one["seats"], one["used"], one["status"]) for one in found] == [
        ("acme", 3, 0, "active"),
        ("bolt", 3, 0, "active"),
    ]


def test_ls_names_the_vendor_where_there_are_several(data: Path) -> None:
    """Two vendors may have customers of one name."""
    sell(data)
    sell(data, "acme", "--tenant", "other")
    lines = run(data, "ls").stdout.splitlines()

    assert lines[0].split()[:3] == ["entitlement", "vendor", "customer"]
    assert [line.split()[1] for line in lines[1:]] == ["default", "other"]


def test_what_was_sold_goes_by_its_customers_name(data: Path) -> None:
    """`seats` shows all that a customer has; `code show` and `change` need one of them."""
    sold = sell(data)
    sell(data, "bolt")
    run(data, "sell", "acme", "editor", "--seats", "1")
    shown = run(data, "seats", "acme").stdout
    code = run(data, "code", "show", "acme/solver").stdout
    ambiguous = run(data, "change", "acme", "--seats", "5")

    assert ("solver (" in shown, "editor (" in shown, "bolt" in shown) == (True, True, False)
    assert code.strip() == sold["activationCode"]
    assert ambiguous.returncode == DENIED
    assert f"{sold['entitlementId']} (acme/solver)" in ambiguous.stderr


def test_counts_are_written_as_people_say_them(data: Path) -> None:
    """One is not many."""
    run(data, "sell", "acme", "solver", "--seats", "1")

    assert "sold: 1 seat until" in run(data, "log").stdout
    assert "2 chains, 2 facts, 1 counter: everything fits" in run(data, "verify").stdout


def test_seats_of_one_entitlement_and_of_all(data: Path) -> None:
    """Bought, held, lent and free, with features."""
    sold = sell(data, "acme", "--feature", "render=elementPool:10", "--feature", "export=bool")
    sell(data, "bolt")
    text = run(data, "seats", sold["entitlementId"]).stdout

    assert "seats: 3 bought, 0 held, 0 lent, 3 free; export; render 0 of 10" in text
    assert "bolt" not in text
    assert len(told(run(data, "seats", "--json"))) == 2


def test_log_is_filtered_by_time_and_customer(data: Path) -> None:
    """`--since` and `--customer` leave out the rest; `--json` is a document a line."""
    sell(data)
    sell(data, "bolt")
    everything = run(data, "log", "--json").stdout.splitlines()
    bolt = run(data, "log", "--customer", "bolt", "--json").stdout.splitlines()

    assert [json.loads(line)["data"]["what"] for line in everything] == ["tenantMade", "sold", "sold"]
    assert [json.loads(line)["customer"] for line in bolt] == ["bolt"]
    assert run(data, "log", "--since", "0s").stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_log_follow_shows_what_comes_until_interrupted(data: Path) -> None:
    """`--follow` goes on, each fact once; Ctrl-C ends it without a traceback."""
    sell(data)
    words: list[str | Path] = [BIN / "seatkeeper", "log", "--follow", "--customer", "bolt", "--data", data]
    with subprocess.Popen(words, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        sell(data, "bolt")
        assert process.stdout is not None
        line = process.stdout.readline()
        time.sleep(1.2)  # two more looks, in which nothing may be shown again
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)

    assert "bolt/solver  sold: 3 seats" in line
    assert rest == ""
    assert "Traceback" not in errors


# --- free, why, doctor, verify -------------------------------------------------------------------------------------


def test_free_and_why_of_nobody_end_with_1(data: Path) -> None:
    """Where nothing was refused and nobody holds anything, that is what is said."""
    sell(data)
    freed, why = run(data, "free", "eve@node7"), run(data, "why", "D-7K3M2Q")

    assert (freed.returncode, why.returncode) == (DENIED, DENIED)
    assert "nobody holds a seat" in freed.stderr
    assert "nobody was refused" in why.stderr


def test_doctor_finds_a_fresh_directory_sound(data: Path) -> None:
    """Everything is looked at; that no server was started yet is only a warning."""
    sell(data)
    done = run(data, "doctor", "--json")
    states = {one["subject"]: one["state"] for one in told(done)}

    assert states.pop("server") == "warning"
    assert set(states.values()) == {"ok"}
    assert {"data directory", "sealing key", "schema", "integrity", "durability", "clock", "disk"} <= set(states)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other means than permission bits")
def test_doctor_sees_an_open_and_then_a_foreign_sealing_key(data: Path) -> None:
    """A key others can read is a warning with the command that mends it; one that doesn't fit is a failure."""
    sell(data)
    (data / "seal.key").chmod(0o644)
    open_to_all = {one["subject"]: one for one in told(run(data, "doctor", "--json"))}
    (data / "seal.key").write_bytes(os.urandom(32))
    foreign = run(data, "doctor")
    seen = {one["subject"]: one for one in json.loads(run(data, "doctor", "--json").stdout)}

    assert open_to_all["sealing key"]["state"] == "warning"
    assert "chmod go-rwx" in open_to_all["sealing key"]["todo"]
    assert foreign.returncode == DENIED
    assert re.search(r"keys of default +failed", foreign.stdout)
    assert seen["sealing key"]["state"] == "failed"
    assert "tenant_key" not in foreign.stdout


def test_verify_holds_until_somebody_tampers(data: Path) -> None:
    """Exit code 1, and where it breaks."""
    sold = sell(data)
    sound = run(data, "verify")
    tamper(data, """UPDATE fact SET data = replace(data, '"seats":3', '"seats":9')""")
    broken = run(data, "verify")

    assert (sound.returncode, "everything fits" in sound.stdout) == (0, True)
    assert broken.returncode == DENIED
    assert f"{sold['entitlementId']}: fact 1 (Note) was changed" in broken.stdout
