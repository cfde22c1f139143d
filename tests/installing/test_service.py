"""`seatkeeper service`: what the unit says, where it is written, what it refuses, and a server at work inside its fence."""

import json
import os
import re
import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest

from seatkeeper_server.apps.unit import Service
from tests.docs.pages import ROOT
from tests.support.namespaces import are_allowed, own_namespace
from tests.support.servers import BIN, clean_environment, seatkeeper

PROGRAM = Path("/opt/seatkeeper/bin/seatkeeper")
UNIT = "etc/systemd/system/seatkeeper-cloud.service"
WANTED = "etc/systemd/system/multi-user.target.wants/seatkeeper-cloud.service"

ROLES = [role for role in ("cloud", "local") if find_spec(f"seatkeeper_server.cli.{role}") is not None]
SOLD = {"TENANT": "tenantId", "PRODUCT": "productId", "CODE": "activationCode", "PUBLIC_KEY": "publicKey"}

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")

CALLS = {
    "cloud": ["cloud"],
    "local": ["local"],
    "network": ["cloud", "--host", "0.0.0.0", "--port", "443", "--tls-cert", "/etc/ssl/s.pem", "--tls-key", "/etc/ssl/s.key"],
    "postgresql": ["cloud", "--database", "postgresql://seatkeeper@one,two/seats?sslrootcert=%2Fetc%2Fca.pem"],
    "own user": ["local", "--user", "root", "--data", "/srv/seats", "--seal-key", "/etc/seatkeeper/seal.key"],
    "console": ["local", "--console-user", "ada", "--console-password-file", "/etc/seatkeeper/console"],
}


def printed(*arguments: str) -> str:
    """Give the unit that would be written; its program is this one."""
    done = seatkeeper("service", "install", *arguments, "--print")
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_analyze
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_systemd_has_nothing_to_say_about_the_unit(call: list[str], tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent: every line is known, and the program can be run."""
    unit = tmp_path / f"seatkeeper-{call[0]}.service"
    unit.write_text(printed(*call))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_analyze
def test_the_fence_is_high(tmp_path: Path) -> None:
    """systemd's own judgement of what a service could do is at most 1.5 of 10; without the fence it is above 9."""
    unit = tmp_path / "seatkeeper-cloud.service"
    unit.write_text(printed("cloud"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


def test_the_unit_names_real_settings() -> None:
    """Each variable in a unit is a setting of the server, or of a local server's console."""
    known = (
        ROOT / "docs" / "reference" / "settings.md"
    ).read_text() + "`SEATKEEPER_CONSOLE_USER` `SEATKEEPER_CONSOLE_PASSWORD_FILE`"
    named = {name for call in CALLS.values() for name in re.findall(r"SEATKEEPER_\w+", printed(*call))}

    assert {name for name in named if f"`{name}`" not in known} == set()


def test_files_of_root_come_as_credentials() -> None:
    """Keys that only root can read reach a user who can't."""
    unit = printed(*CALLS["network"])

    assert "LoadCredential=tls_key:/etc/ssl/s.key\nEnvironment=SEATKEEPER_TLS_KEY=%d/tls_key\n" in unit
    assert "DynamicUser=yes" in unit


def test_a_low_port_is_the_one_thing_allowed_above_others() -> None:
    """Below 1024 the service may bind, and nothing more; above, it may nothing."""
    assert "\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in printed("cloud", "--port", "443")
    assert "\nCapabilityBoundingSet=\n" in printed("cloud", "--port", "6500")


def test_percent_signs_stay_what_they_are() -> None:
    """systemd reads its own words into %; in a URL they are doubled."""
    assert "sslrootcert=%%2Fetc%%2Fca.pem\n" in printed(*CALLS["postgresql"])


REFUSED = {
    "password": (["--database", "postgresql://seatkeeper:secret@db/seats"], "into /etc/seatkeeper/cloud.env"),
    "elsewhere": (["--data", "/srv/seats"], "--user"),
    "half of TLS": (["--tls-cert", "/etc/ssl/s.pem"], "--tls-key"),
    "strange name": (["--data", "/var/lib/my seats"], "only letters, digits"),
    "port": (["--port", "0"], "between 1 and 65535"),
    "console of a cloud": (["--console-password-file", "/etc/p"], "only a local server"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_work_is_refused_before_it_is_written(options: list[str], says: str, tmp_path: Path) -> None:
    """Exit code 2 and what to do; nothing is written, and no password is repeated."""
    done = seatkeeper("service", "install", "cloud", *options, "--root", tmp_path)

    assert done.returncode == 2
    assert says in done.stderr
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_into_an_image_and_out_again(tmp_path: Path) -> None:
    """With --root it is written and enabled there; with other options it is changed; `remove` takes it all away."""
    first = seatkeeper("service", "install", "cloud", "--root", tmp_path)
    again = seatkeeper("service", "install", "cloud", "--port", "7000", "--root", tmp_path)

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "SEATKEEPER_PORT=7000" in (tmp_path / UNIT).read_text()
    assert (tmp_path / WANTED).readlink() == Path("/", UNIT)

    (tmp_path / "var/lib/seatkeeper-cloud").mkdir(parents=True)
    removed = seatkeeper("service", "remove", "cloud", "--root", tmp_path)

    assert removed.returncode == 0, removed.stderr
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert (tmp_path / "var/lib/seatkeeper-cloud").is_dir()
    assert seatkeeper("service", "remove", "cloud", "--root", tmp_path).returncode == 3


def test_a_unit_written_by_hand_is_not_written_over(tmp_path: Path) -> None:
    """Unless --force says so."""
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).write_text("[Service]\nExecStart=/bin/true\n")
    refused = seatkeeper("service", "install", "cloud", "--root", tmp_path)
    kept = (tmp_path / UNIT).read_text()
    forced = seatkeeper("service", "install", "cloud", "--root", tmp_path, "--force")

    assert (refused.returncode, kept) == (3, "[Service]\nExecStart=/bin/true\n")
    assert "--force" in refused.stderr
    assert forced.returncode == 0
    assert "DynamicUser" in (tmp_path / UNIT).read_text()


def test_the_sealing_key_is_made_once_and_only_for_new_data(tmp_path: Path) -> None:
    """Outside the data, for root alone; where something is sealed already, a new key would open nothing."""
    call = ("service", "install", "cloud", "--seal-key", "/etc/seatkeeper/seal.key", "--root", tmp_path)
    key, data = tmp_path / "etc/seatkeeper/seal.key", tmp_path / "var/lib/seatkeeper-cloud"
    assert seatkeeper(*call).returncode == 0
    made = key.read_bytes()
    assert seatkeeper(*call).returncode == 0

    assert key.read_bytes() == made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    key.unlink()
    data.mkdir(parents=True)
    (data / "seal.key").write_bytes(made)
    refused = seatkeeper(*call)

    assert refused.returncode == 3
    assert f"move it to {key}" in refused.stderr


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs this machine")
@pytest.mark.parametrize("verb", ["install", "remove"])
def test_without_systemd_it_says_so(verb: str) -> None:
    """And names what can be done instead."""
    done = seatkeeper("service", verb, "cloud")

    assert done.returncode == 3
    assert "systemd does not run this machine" in done.stderr
    assert "--print" in done.stderr


SYSTEMCTL = """#!/bin/sh
echo "$@" >> /run/asked
[ "$*" != "${FAILS:-nothing}" ] || { echo "Failed to do it: no" >&2; exit 1; }
"""


@pytest.mark.skipif(not are_allowed("--mount"), reason="needs root and mount namespaces")
def test_on_a_machine_that_systemd_runs(tmp_path: Path) -> None:
    """systemd is told of the unit, has it started at every boot and now; and on removal the opposite. A no is passed on."""
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with own_namespace("--mount") as corner:
        corner.must("mount", "--make-rprivate", "/")
        for folder in ("/run", "/etc/systemd"):
            corner.must("mount", "-t", "tmpfs", "tmpfs", folder)
        corner.must("mkdir", "-p", "/run/systemd/system")
        call = (BIN / "seatkeeper", "service")
        installed = corner.run(*call, "install", "cloud", "--program", "/bin/true", environment={**os.environ, "PATH": path})
        asked = corner.must("cat", "/run/asked")
        failed = corner.run(
            *call, "remove", "cloud", environment={**os.environ, "PATH": path, "FAILS": "disable --now seatkeeper-cloud"}
        )
        removed = corner.run(*call, "remove", "cloud", environment={**os.environ, "PATH": path})
        left = corner.must("ls", "/etc/systemd/system")

    assert installed.returncode == 0, installed.stderr
    assert asked.splitlines() == ["daemon-reload", "enable seatkeeper-cloud", "restart seatkeeper-cloud"]
    assert "journalctl -u seatkeeper-cloud" in installed.stdout
    assert failed.returncode == 3
    assert "Failed to do it: no" in failed.stderr
    assert removed.returncode == 0, removed.stderr
    assert left == ""


def test_a_program_that_a_service_can_not_see_is_noticed() -> None:
    """Home directories are hidden from it, and so is /tmp."""
    assert Service(role="cloud", program=Path("/home/ada/.venv/bin/seatkeeper")).out_of_sight == Path("/home")
    assert Service(role="cloud", program=PROGRAM).out_of_sight is None


@needs_analyze
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.parametrize("role", ROLES)
def test_the_server_asks_the_kernel_for_nothing_that_the_fence_refuses(role: str, tmp_path: Path) -> None:
    """From its start over a request to its stop: every system call is one of the unit's, and no page is written and run."""
    calls = tmp_path / "calls"
    traced = ["strace", "-D", "-f", "-qq", "-o", calls, "-e", "signal=none"]  # -D: the process is the server, not strace
    command = [*traced, BIN / "seatkeeper", role, "--data", tmp_path / "data", "--port", "0"]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
        if role == "cloud":
            sold = json.loads(
                seatkeeper("sell", "acme", "solver", "--seats", "1", "--json", "--data", tmp_path / "data").stdout
            )
            told = {f"SEATKEEPER_{name}": sold[key] for name, key in SOLD.items()}
            held = subprocess.run(
                [BIN / "seat", "run", "--", "true"], env=clean_environment(SEATKEEPER_SERVER=url, **told), timeout=60
            )
            assert held.returncode == 0
        with urlopen(f"{url}/health/ready", timeout=10) as answer:
            assert answer.status == 200
        server.terminate()
        server.communicate()
    text = calls.read_text()
    asked = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    only_as_root = (
        {"fchown"} if os.geteuid() == 0 else set()
    )  # SQLite gives its files to the database's owner; no service is root

    assert asked > {"openat", "listen"}
    assert asked - allowed_calls() - only_as_root == set()
    assert re.findall(r"mmap\(.*PROT_WRITE\|PROT_EXEC.*|mprotect\(.*PROT_EXEC.*", text) == []  # MemoryDenyWriteExecute


def allowed_calls() -> set[str]:
    """Give the system calls that the unit's SystemCallFilter lets through."""
    filters = re.findall(r"^SystemCallFilter=(.*)$", printed("cloud"), re.MULTILINE)
    allowed = set[str]()
    for line in filters:
        named = {call for group in line.lstrip("~").split() for call in calls_of(group)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def calls_of(group: str) -> set[str]:
    """Give the system calls of a group, as this systemd knows it."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for word in words for call in (calls_of(word) if word.startswith("@") else {word})}
