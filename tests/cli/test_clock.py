"""A recorded time that was wrong, and how an operator puts it right."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.store.rows import micros
from seatkeeper_server.store.sqlite import SqliteStore
from tests.support.servers import CloudServer, seatkeeper


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data in which a seat is held."""
    with CloudServer(tmp_path / "data") as server:
        sold = server.sell("acme", "solver", seats=2, lease="1h")
        assert seatkeeper_run(sold.environment) == 0
    return tmp_path / "data"


def seatkeeper_run(environment: dict[str, str]) -> int:
    import subprocess

    from tests.support.servers import BIN, clean_environment

    command = [BIN / "seat", "run", "--", "true"]
    return subprocess.run(command, env=clean_environment(**environment), check=False).returncode


def record(data: Path, at: datetime) -> None:
    """Leave a recorded time behind, as a boot with a wrong clock does."""
    store = SqliteStore(data / "seatkeeper.db")
    with store.transaction() as tx:
        tx.mark_alive(Alive(at), "wrong-year")
        tx._connection.execute("UPDATE holding SET expires_at = expires_at + ?", (micros(at) - micros(datetime.now(UTC)),))
    store.close()


def test_a_clock_that_is_behind_is_shown_and_put_right(data: Path) -> None:
    """Shown with exit code 1; `--set-back` lowers the recorded time, leases move with it, and it is a fact."""
    record(data, datetime.now(UTC) + timedelta(days=1000))
    shown = seatkeeper("clock", "--data", data, "--json")
    done = seatkeeper("clock", "--set-back", "--data", data, "--json")
    after = seatkeeper("clock", "--data", data, "--json")

    assert shown.returncode == 1
    assert json.loads(shown.stdout)["behindSeconds"] > 999 * 86_400
    assert done.returncode == 0
    assert after.returncode == 0
    assert "clockSetBack" in seatkeeper("log", "--data", data, "--json").stdout
    assert seatkeeper("verify", "--data", data).returncode == 0


def test_the_clock_is_not_set_under_a_running_server(tmp_path: Path) -> None:
    """The server must be stopped: the refusal says so."""
    with CloudServer(tmp_path / "data") as server:
        server.sell("acme", "solver", seats=1)
        refused = server.verb("clock", "--set-back")

    assert refused.returncode != 0
    assert "Stop it" in refused.stderr
