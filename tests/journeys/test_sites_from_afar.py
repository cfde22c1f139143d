"""`seatkeeper site … --server URL`: the vendor's people lend seats without a shell on his server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import CloudServer, seatkeeper


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    with CloudServer(tmp_path / "vendor") as server:
        server.sell("acme", "solver", seats=50)
        yield server


@pytest.fixture
def client(cloud: CloudServer) -> dict[str, str]:
    """The environment of somebody who is an API client of the vendor's."""
    made = cloud.ask_json("client", "create", "sales")
    return {
        "SEATKEEPER_VENDOR_SERVER": cloud.url,
        "SEATKEEPER_VENDOR": made["tenantId"],
        "SEATKEEPER_CLIENT_ID": made["clientId"],
        "SEATKEEPER_CLIENT_SECRET": made["clientSecret"],
    }


def test_a_share_is_lent_and_taken_back_from_afar(cloud: CloudServer, client: dict[str, str], tmp_path: Path) -> None:
    """The code, the list, a share, a fresh token, the license: each verb does what it does beside the data."""
    code = json.loads(seatkeeper("site", "code", "--json", **client).stdout)
    site = ("--data", tmp_path / "site")
    asked = seatkeeper(
        "token", "request", "--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab-1", *site
    ).stdout
    (tmp_path / "request").write_text(asked)
    answer = cloud.ask_json("token", "apply", str(tmp_path / "request"))["token"]
    (tmp_path / "license").write_text(answer)
    assert seatkeeper("token", "apply", tmp_path / "license", *site).returncode == 0
    lent = seatkeeper("site", "lend", "acme/solver", "--to", "lab-1", "--seats", "30", "-o", tmp_path / "grant", **client)
    applied = seatkeeper("token", "apply", tmp_path / "grant", *site)
    listed = json.loads(seatkeeper("site", "list", "--json", **client).stdout)
    told = seatkeeper("site", "list", **client).stdout
    fresh = seatkeeper("site", "fresh", "acme/solver", **client)
    early = seatkeeper("site", "back", "acme/solver", **client)
    renewed = seatkeeper("site", "renew", "lab-1", **client)
    forgotten = seatkeeper("site", "forget", "lab-1", **client)

    assert (lent.returncode, applied.returncode) == (0, 0), lent.stderr + applied.stderr
    assert [(one["name"], [share["seats"] for share in one["shares"]]) for one in listed] == [("lab-1", [30])]
    assert "acme/solver: 30 until" in told
    assert (fresh.returncode, renewed.returncode) == (0, 0), fresh.stderr + renewed.stderr
    assert (early.returncode, forgotten.returncode) == (1, 1)
    assert "it counts until" in early.stderr
    assert "take them back first" in forgotten.stderr


def test_what_is_missing_or_wrong_is_said(cloud: CloudServer, client: dict[str, str]) -> None:
    """No secret, a wrong one, a name nobody has, a server that is away, and no TLS to another machine."""
    wrong = seatkeeper("site", "list", **{**client, "SEATKEEPER_CLIENT_SECRET": "x" * 32})
    none = seatkeeper("site", "list", **{**client, "SEATKEEPER_CLIENT_SECRET": ""})
    nobody = seatkeeper("site", "renew", "lab-7", **client)
    plain = seatkeeper("site", "list", **{**client, "SEATKEEPER_VENDOR_SERVER": "http://vendor.example"})
    away = seatkeeper("site", "list", **{**client, "SEATKEEPER_VENDOR_SERVER": "http://127.0.0.1:9"})

    assert (wrong.returncode, none.returncode, nobody.returncode, plain.returncode, away.returncode) == (1, 3, 1, 3, 3)
    assert "does not know this API client: invalid_client" in wrong.stderr
    assert "set SEATKEEPER_CLIENT_SECRET" in none.stderr
    assert "0 licensed local servers are called lab-7" in nobody.stderr
    assert "without TLS" in plain.stderr
    assert "can't be reached" in away.stderr
