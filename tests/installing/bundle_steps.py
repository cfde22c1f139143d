"""A bundle on a machine without any network, from its installation to its removal. `make bundle-test`"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripts import make_bundle

from tests.docs.pages import ROOT
from tests.support.namespaces import Corner, Finished, are_allowed, own_namespace

NEXT = "0.9.0"
STEP = "0099_taken_away.post.{}.sql"

APART = ("--net",) if are_allowed("--net") else ()  # else whoever asks for something is sent to a proxy that isn't there


@dataclass(frozen=True)
class Site:
    """A machine without a network, the file that was carried there, and the next version's."""

    corner: Corner
    first: Path
    second: Path
    prefix: Path
    data: Path

    def bundle(self, file: Path, verb: str, *arguments: str | Path) -> Finished:
        """Run a bundle."""
        command = ("sh", file, verb, *arguments, "--prefix", self.prefix, "--python", sys.executable)
        return self.corner.run(*command, timeout=300, environment=ENVIRONMENT)

    def must(self, *arguments: str | Path) -> str:
        """Run the installed command, which must succeed."""
        return self.corner.must(self.prefix / "bin/seatkeeper", *arguments, environment=ENVIRONMENT)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on loopback with the installed command; give the URL."""
        command = self.corner.command(self.prefix / "bin/seatkeeper", "cloud", "--data", self.data, "--port", "0")
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()
            code = server.wait(30)
            server.communicate()
        assert code == 0


OURS = ("SEATKEEPER_", "PIP_", "PYTHON", "VIRTUAL_ENV")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(OURS)},
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Make both bundles where there is a network, then go where there is none."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "wheels").mkdir()
    make_bundle.fetch(ROOT / "packages", folder / "wheels")
    first = make_bundle.make(ROOT / "packages", folder, wheels=folder / "wheels")
    second = make_bundle.make(of_the_next_version(folder / "next"), folder, wheels=folder / "wheels")
    with own_namespace(*APART) as corner:
        if APART:
            corner.must("ip", "link", "set", "lo", "up")
            assert len(corner.must("ip", "-brief", "link").splitlines()) == 1
        yield Site(corner, first, second, folder / "opt", folder / "data")


def of_the_next_version(folder: Path) -> Path:
    """Give our packages as they might be: another version, whose schema takes something away when an upgrade is finished."""
    shutil.copytree(ROOT / "packages", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for project in folder.glob("*/pyproject.toml"):
        told = project.read_text()
        version = re.findall(r'^version = "(.*)"$', told, re.MULTILINE)[0]
        project.write_text(told.replace(f'"{version}"', f'"{NEXT}"').replace(f"seatkeeper=={version}", f"seatkeeper=={NEXT}"))
    schema = folder / "seatkeeper-server/src/seatkeeper_server/store/schema"
    for database in ("sqlite", "postgres"):
        (schema / STEP.format(database)).write_text("DROP TABLE IF EXISTS what_only_older_code_needed;\n")
    return folder


def test_from_the_first_installation_to_the_last_removal(site: Site) -> None:
    """What an administrator does over the years, in order, without a network at any time."""
    installed = site.bundle(site.first, "install")
    assert installed.returncode == 0, installed.stderr
    version = site.corner.must("sh", site.first, "--version").split()[1]
    assert version in site.must("--version")
    assert f"ExecStart={site.prefix}/bin/seatkeeper cloud" in site.must("service", "install", "cloud", "--print")

    with site.serving() as url:
        sold = json.loads(site.must("sell", "acme", "solver", "--seats", "2", "--data", site.data, "--json"))
        assert hold_a_seat(site, sold, url) == "works\n"

    upgraded = site.bundle(site.second, "upgrade", "--data", site.data)
    assert upgraded.returncode == 0, upgraded.stderr
    assert NEXT in site.must("--version")
    with site.serving() as url:
        assert hold_a_seat(site, sold, url) == "works\n"

    back = site.bundle(site.second, "rollback", "--data", site.data)
    assert back.returncode == 0, back.stderr
    assert version in site.must("--version")
    with site.serving() as url:
        assert hold_a_seat(site, sold, url) == "works\n"
    site.must("verify", "--data", site.data)

    assert site.bundle(site.second, "rollback", "--data", site.data).returncode == 0
    site.must("schema", "--finish", "--data", site.data)
    refused = site.bundle(site.second, "rollback", "--data", site.data)
    assert refused.returncode == 1
    assert f"{version} can't work with {site.data}: schema 99" in refused.stderr
    assert NEXT in site.must("--version")

    assert site.bundle(site.second, "remove", version).returncode == 0
    assert site.bundle(site.second, "status").stdout == f"{NEXT} (in use)\n"
    removed = site.bundle(site.second, "remove")
    assert removed.returncode == 0, removed.stderr
    assert not site.prefix.exists()
    assert (site.data / "seatkeeper.db").exists()


def hold_a_seat(site: Site, sold: dict[str, str], url: str) -> str:
    """Run a program under a seat, by what was sold."""
    told = {
        "SEATKEEPER_SERVER": url,
        "SEATKEEPER_TENANT": sold["tenantId"],
        "SEATKEEPER_PRODUCT": sold["productId"],
        "SEATKEEPER_CODE": sold["activationCode"],
        "SEATKEEPER_PUBLIC_KEY": sold["publicKey"],
        "SEATKEEPER_STATE_DIR": str(site.data / "state"),
    }
    command = (site.prefix / "bin/seat", "run", "--", "echo", "works")
    return site.corner.must(*command, environment={**ENVIRONMENT, **told})
