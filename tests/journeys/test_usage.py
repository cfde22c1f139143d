"""Usage from end to end: real servers and programs, the Management API, the command, and the lines that monitors read."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from seatkeeper_server.service.usage_reports import as_csv
from tests.journeys.wire import Caller
from tests.support.servers import CloudServer, Sold, seatkeeper

USERS_OF = re.compile(  # as the exporters that read lmstat look for it
    r"^Users of (?P<name>[^:]+):  \(Total of (?P<issued>\d+) licenses? issued;  Total of (?P<used>\d+) licenses? in use\)$",
    re.M,
)
HOLDER = re.compile(r"^    (\S+) (\S+) (\S+) \(v1\.0\) \((\S+)/(\d+) \d+\), start (\w{3}) (\d+)/(\d+) (\d+):(\d\d)$", re.M)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    with CloudServer(tmp_path / "vendor") as server:
        yield server


@pytest.fixture
async def sold(cloud: CloudServer) -> Sold:
    """Two seats of acme's, both taken; a third program was refused twice, and got the seat that one gave back."""
    sold = cloud.sell("acme", "solver", seats=2)
    ada, bob, cleo = (Caller(sold, name) for name in ("ada", "bob", "cleo"))
    token = (await ada.activate()).token
    assert (await bob.activate()).status == 201
    assert [(await cleo.activate()).status for _ in range(2)] == [402, 402]
    await ada.give_back(token)
    assert (await cleo.activate()).status == 201
    for caller in (ada, bob, cleo):
        caller.hang_up()
    return sold


@pytest.fixture
def reader(cloud: CloudServer) -> Iterator[httpx2.Client]:
    """A system of the vendor's that may read."""
    made = cloud.ask_json("client", "create", "bi", "--permission", "entitlements:read")
    form = {"grant_type": "client_credentials", "client_id": made["clientId"], "client_secret": made["clientSecret"]}
    with httpx2.Client(base_url=cloud.url) as client:
        token = client.post(f"/realms/{made['tenantId']}/protocol/openid-connect/token", data=form).json()["access_token"]
        client.headers |= {"N-TenantId": made["tenantId"], "Authorization": f"Bearer {token}"}
        yield client


async def test_what_happened_a_moment_ago_is_in(sold: Sold, reader: httpx2.Client) -> None:
    """Nothing waits for a roll-up: most, fewest, refusals, the demand that was met, who was there."""
    reply = reader.get(f"/api/v1/entitlements/{sold.entitlement}/usage", params={"by": "hour", "groupBy": "holder"})
    told = reply.json()

    assert reply.status_code == 200, reply.text
    assert (told["high"], told["low"], told["needed"], told["distinctHolders"]) == (2, 0, 3, 3)
    assert told["demands"]["metLater"] == 1
    assert sum(told["denials"].values()) == told["denials"]["pool-full"]
    assert told["periods"][-1]["bought"] == 2
    assert sorted((group["name"], group["sessions"]) for group in told["groups"]) == [
        ("ada@host", 1),
        ("bob@host", 1),
        ("cleo@host", 1),
    ]


async def test_sessions_are_listed_page_by_page(sold: Sold, reader: httpx2.Client) -> None:
    """The latest first; one that lasts has no end."""
    reply = reader.get(f"/api/v1/entitlements/{sold.entitlement}/usage/sessions", params={"pageSize": 2})
    told = reply.json()

    assert (told["elementsTotal"], [one["seatId"] for one in told["items"]]) == (3, ["cleo", "bob"])
    assert all(one["endedAt"] is None for one in told["items"])


async def test_a_spreadsheet_gets_the_same(sold: Sold, reader: httpx2.Client) -> None:
    """CSV with a header; the numbers are those of the JSON."""
    where = f"/api/v1/entitlements/{sold.entitlement}/usage"
    reply = reader.get(where, params={"by": "month", "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    told = reader.get(where, params={"by": "month"}).json()

    assert reply.headers["content-type"].startswith("text/csv")
    assert [(row["high"], row["needed"]) for row in rows] == [(f"{p['high']}", f"{p['needed']}") for p in told["periods"]]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"timeZone": "Mars/Phobos"}, "timeZone"),
        ({"timeZone": "../../etc/passwd"}, "timeZone"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2001-01-01T00:00:00Z", "by": "hour"}, "from"),
        ({"from": "0001-01-01T00:00:00Z"}, "from"),
        ({"by": "week"}, "by"),
        ({"groupBy": "colour"}, "groupBy"),
    ],
)
async def test_what_can_not_be_asked_is_named(sold: Sold, reader: httpx2.Client, asked: dict[str, str], field: str) -> None:
    """A zone that isn't one, a time that ends before it begins, more than fits in an answer."""
    reply = reader.get(f"/api/v1/entitlements/{sold.entitlement}/usage", params=asked)

    assert reply.status_code == 422
    assert [problem["propertyName"] for problem in reply.json()["validationErrors"]] == [field]


async def test_another_vendors_entitlement_is_not_there(cloud: CloudServer, sold: Sold, reader: httpx2.Client) -> None:
    """Another tenant's is missing as one that never was: the same 404."""
    other = cloud.sell("globex", "mesher", seats=2, tenant="somebody else")
    replies = [reader.get(f"/api/v1/entitlements/{one}/usage") for one in (other.entitlement, "ent_nothing")]

    assert [reply.status_code for reply in replies] == [404, 404]


async def test_the_command_says_the_same(cloud: CloudServer, sold: Sold) -> None:
    """For people, for programs, and for spreadsheets."""
    told = cloud.ask_json("usage", "acme", "--by", "hour", "--zone", "Asia/Kathmandu")
    text = seatkeeper("usage", "acme/solver", "--data", cloud.data).stdout
    rows = list(csv.DictReader(io.StringIO(seatkeeper("usage", "--who", "holder", "--csv", "--data", cloud.data).stdout)))

    assert [(one["customer"], one["high"], one["needed"], one["metLater"]) for one in told] == [("acme", 2, 3, 1)]
    assert "3 would have been enough for everybody" in text
    assert sorted((row["customer"], row["name"]) for row in rows) == [
        ("acme", "ada@host"),
        ("acme", "bob@host"),
        ("acme", "cleo@host"),
    ]


def test_what_is_typed_wrong_is_told(tmp_path: Path) -> None:
    """An unknown zone, a day that isn't one, a beginning after the end."""
    seatkeeper("sell", "acme", "solver", "--seats", "2", "--data", tmp_path / "vendor")
    wrong = [
        seatkeeper("usage", "--data", tmp_path / "vendor", *typed)
        for typed in (("--zone", "Mars/Phobos"), ("--since", "2026-02-30"), ("--since", "3000-01-01"), ("--until", "soon"))
    ]

    assert [one.returncode for one in wrong] == [2, 2, 2, 2]
    assert "Europe/Berlin" in wrong[0].stderr
    assert "write a day as" in wrong[1].stderr


# --- as lmstat says it ---------------------------------------------------------------------------------------------


async def test_monitors_that_read_lmstat_work(cloud: CloudServer, sold: Sold) -> None:
    """A line for every feature with issued and in use, and a line for every holder that parts at blanks."""
    text = seatkeeper("status", "-a", "--data", cloud.data).stdout
    features = {found["name"]: (int(found["issued"]), int(found["used"])) for found in USERS_OF.finditer(text)}
    holders = sorted(found[1] for found in HOLDER.finditer(text))

    assert features == {"solver": (2, 2)}
    assert holders == ["bob", "cleo"]
    assert f"License server status: {cloud.url.rpartition(':')[2]}@127.0.0.1" in text
    assert "license server UP (MASTER)" in text


async def test_whether_a_server_serves_is_said(cloud: CloudServer, sold: Sold) -> None:
    """While it does, and after it was killed."""
    serving = cloud.ask_json("status")
    cloud.kill()
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while (left := json.loads(seatkeeper("status", "--json", "--data", cloud.data).stdout))["serves"]:
        assert datetime.now(UTC) < deadline

    assert (serving["serves"], serving["features"]) == (True, [{"name": "solver", "issued": 2, "used": 2}])
    assert left["features"] == serving["features"]


# --- data with a past ----------------------------------------------------------------------------------------------


def test_a_past_is_made_up_and_says_so(tmp_path: Path) -> None:
    """The same seed makes the same numbers, through the real pool: everything fits; and it says that nothing of it happened."""
    made: list[Any] = [
        json.loads(seatkeeper("demo", "--history", "8d", "--seed", "3", "--into", tmp_path / name, "--json").stdout)
        for name in ("one", "two")
    ]
    verified = json.loads(seatkeeper("verify", "--json", "--data", tmp_path / "one").stdout)
    log = seatkeeper("log", "--since", "30d", "--limit", "100000", "--data", tmp_path / "one").stdout
    again = seatkeeper("demo", "--history", "8d", "--into", tmp_path / "one")

    assert [(one["facts"], one["refused"]) for one in made] == [(made[0]["facts"], made[0]["refused"])] * 2
    assert made[0]["facts"] > 500
    assert verified["holds"]
    assert log.count("made up: nothing of this happened") == 3
    assert (again.returncode, "not empty" in again.stderr) == (3, True)


def test_a_cell_is_no_formula(tmp_path: Path) -> None:
    """A holder may call himself what he likes; a spreadsheet must not run it."""
    assert as_csv(("name",), [["=1+1"], ["@ada"], ["-x"], ["ada"]]).split() == ["name", "'=1+1", "'@ada", "'-x", "ada"]
