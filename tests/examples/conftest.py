"""What the examples are run against: one license server, seen only through the wire, so that any server can stand in.

`licence_server` is the one place that knows which server that is.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatkeeper.testing import FakeServer
from tests.examples.licence_server import LEASE, SEATS, LicenceServer

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """Give the SDK's own server, on a free port of 127.0.0.1, for tests that break connections."""
    with FakeServer(seats=SEATS, lease=LEASE, features={"render": 4}) as server:
        yield server


@pytest.fixture
def licence_server(fake_server: FakeServer) -> LicenceServer:
    """Give the server that the examples are run against."""
    return LicenceServer(fake_server.environment)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what seats remember, and settings of this machine, out of the tests."""
    for name in [name for name in os.environ if name.startswith(("SEATKEEPER_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def cpp_seat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the C++ example with its own Makefile and give the program, warnings being errors."""
    _require_compiler()
    build = tmp_path_factory.mktemp("cpp")
    subprocess.run(["make", "-C", EXAMPLES / "cpp", f"BUILD={build}", "CXXFLAGS=-O1 -Werror"], check=True, timeout=110)
    return build / "seat"


def _require_compiler() -> None:
    """Skip where the C++ example can't be built, and say which package would help."""
    compiler = os.environ.get("CXX", "g++")
    for tool, package in ((compiler, "g++"), ("make", "make")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing (Debian: {package})")
    for header, package in (("curl/curl.h", "libcurl4-openssl-dev"), ("openssl/evp.h", "libssl-dev")):
        probe = [compiler, "-E", "-x", "c++", "-", "-o", os.devnull]
        if subprocess.run(probe, input=f"#include <{header}>\n", text=True, capture_output=True, timeout=60).returncode:
            pytest.skip(f"{header} is missing (Debian: {package})")
