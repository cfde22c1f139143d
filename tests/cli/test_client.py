"""`seatkeeper client`: API clients made, listed and removed beside a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import command

DENIED, MISTYPED = 1, 2


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A vendor's data directory, with something sold."""
    assert command("sell", "acme", "solver", "--seats", "3", "--data", tmp_path / "vendor").returncode == 0
    return tmp_path / "vendor"


def told(data: Path, *words: str) -> Any:
    """Read what a verb that must succeed printed as JSON."""
    done = command("client", *words, "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_client_is_made_with_all_that_it_needs(data: Path) -> None:
    """`{tenantId, clientId, clientSecret, realm}`; the secret is shown only now."""
    made = told(data, "create", "erp")
    listed = command("client", "list", "--data", data)

    assert set(made) == {"tenantId", "clientId", "clientSecret", "realm"}
    assert (made["clientId"], made["realm"]) == ("erp", made["tenantId"])
    assert 32 <= len(made["clientSecret"]) <= 64
    assert "everything" in listed.stdout
    assert made["clientSecret"] not in listed.stdout


def test_a_client_may_be_given_less(data: Path) -> None:
    """One `--permission` for each; unknown ones are mistyped."""
    told(data, "create", "sites", "--permission", "lls:admin", "--permission", "entitlements:read")
    (client,) = told(data, "list")
    wrong = command("client", "create", "other", "--permission", "everything", "--data", data)

    assert client["permissions"] == ["entitlements:read", "lls:admin"]
    assert (wrong.returncode, "lls:admin" in wrong.stderr) == (MISTYPED, True)


def test_a_client_is_removed_by_its_name(data: Path) -> None:
    """After which there is none; and removing it again says so."""
    told(data, "create", "erp")
    done = command("client", "delete", "erp", "--data", data)
    again = command("client", "delete", "erp", "--data", data)

    assert (done.returncode, told(data, "list")) == (0, [])
    assert (again.returncode, "client create" in again.stderr) == (DENIED, True)


def test_two_of_a_name_are_refused(data: Path) -> None:
    """A new secret in silence would lock the first one out."""
    told(data, "create", "erp")
    again = command("client", "create", "erp", "--data", data)

    assert (again.returncode, "already" in again.stderr) == (DENIED, True)


def test_names_that_can_not_be_are_mistyped(data: Path) -> None:
    """With how to write one."""
    done = command("client", "create", "1st", "--data", data)

    assert (done.returncode, "letter" in done.stderr) == (MISTYPED, True)


def test_what_was_done_is_a_fact_without_a_secret(data: Path) -> None:
    """In the vendor's own chain."""
    made = told(data, "create", "erp")
    command("client", "delete", "erp", "--data", data)
    log = command("log", "--data", data, "--json").stdout

    assert ("apiClientMade" in log, "apiClientRemoved" in log, made["clientSecret"] in log) == (True, True, False)
