"""`seatkeeper site … --server URL`: the vendor's people lend seats without a shell on his server."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from threading import Thread
from typing import Any

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


def test_a_place_that_is_typed_counts_before_a_server_that_is_not(
    cloud: CloudServer, client: dict[str, str], tmp_path: Path
) -> None:
    """The environment names the vendor's server; `--data` is typed, so there it is done. Two places are one too many."""
    sold = seatkeeper("sell", "globex", "mesher", "--seats", "2", "--json", "--data", tmp_path / "other").stdout
    server = {"SEATKEEPER_VENDOR_SERVER": cloud.url}
    here = seatkeeper("site", "code", "--json", "--data", tmp_path / "other", **server)
    there = seatkeeper("site", "code", "--json", **client, SEATKEEPER_DATA=str(tmp_path / "other"))
    both = seatkeeper("site", "code", "--data", tmp_path / "other", "--server", cloud.url, **server)

    assert (here.returncode, there.returncode, both.returncode) == (0, 0, 2), here.stderr + there.stderr
    assert json.loads(here.stdout)["tenantId"] == json.loads(sold)["tenantId"]
    assert json.loads(there.stdout)["tenantId"] == client["SEATKEEPER_VENDOR"]
    assert "--server and --data name two places" in both.stderr


# --- what sites send -----------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """Somebody of the vendor's, with a server at a distance, and a site whose tokens are brought to him."""

    client: dict[str, str]
    folder: Path

    def at_site(self, *command: Any, name: str = "token") -> Path:
        """Have the site make a token, or apply one; the file with the token."""
        path = self.folder / f"{name}.token"
        done = seatkeeper("token", *command, "-o", path, "--data", self.folder / "site")
        assert done.returncode == 0, done.stderr
        return path

    def apply(self, path: Path, *options: Any, **environment: str) -> CompletedProcess[str]:
        """Apply a token on the vendor's server."""
        return seatkeeper("token", "apply", path, *options, **{**self.client, **environment})

    def ask(self, *command: Any) -> Any:
        """Ask the vendor's server."""
        return json.loads(seatkeeper(*command, "--json", **self.client).stdout)


@pytest.fixture
def desk(cloud: CloudServer, client: dict[str, str], tmp_path: Path) -> Desk:
    """A site that was licensed from afar, and to which ten seats are lent."""
    desk = Desk(client, tmp_path)
    code = desk.ask("site", "code")
    asked = desk.at_site(
        "request", "--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab-1", name="request"
    )
    licensed = desk.apply(asked, "-o", tmp_path / "license.token")
    assert licensed.returncode == 0, licensed.stderr
    assert f"carry it back: seatkeeper token apply {tmp_path / 'license.token'}" in licensed.stderr
    desk.at_site("apply", tmp_path / "license.token")
    cloud.sell("globex", "solver", seats=5)  # another one, which is not lent
    seatkeeper("site", "lend", "acme/solver", "--to", "lab-1", "--seats", "10", "-o", tmp_path / "grant.token", **client)
    desk.at_site("apply", tmp_path / "grant.token")
    return desk


def test_whatever_a_site_sends_is_applied_from_afar(cloud: CloudServer, desk: Desk) -> None:
    """A request and its answer, a report, a removal, the end of the license: each by its file, whichever kind it is."""
    before = desk.ask("site", "list")[0]
    reported = desk.apply(desk.at_site("report"))
    heard = desk.ask("site", "list")[0]
    removed = desk.apply(desk.at_site("remove", cloud.ask_json("ls")[0]["entitlementId"]), "--json")
    after = desk.ask("site", "list")[0]
    ended = desk.apply(desk.at_site("deactivate"))

    assert ([share["seats"] for share in before["shares"]], before["lastReport"]) == ([10], None)
    assert (reported.returncode, heard["lastReport"] is not None) == (0, True)
    assert "lab-1" in reported.stderr
    assert json.loads(removed.stdout) == {"kind": "removal", "text": "acme/solver was given back", "token": None}
    assert (after["shares"], after["licenseActive"]) == ([], True)
    assert (ended.returncode, desk.ask("site", "list")[0]["licenseActive"]) == (0, False)
    assert "has given its license back" in ended.stderr


def test_one_of_several_servers_is_meant_from_afar_too(desk: Desk) -> None:
    """Lent to two servers, an entitlement has no one share: which is meant has to be said, and is heeded."""
    site, client = ("--data", desk.folder / "site-2"), desk.client
    code = desk.ask("site", "code")
    asked, licensed, grant, fresh = (desk.folder / name for name in ("asked", "licensed", "grant-2", "fresh"))
    words = ("--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab-2", "-o", asked, *site)
    assert seatkeeper("token", "request", *words).returncode == 0
    desk.apply(asked, "-o", licensed)
    assert seatkeeper("token", "apply", licensed, *site).returncode == 0
    seatkeeper("site", "lend", "acme/solver", "--to", "lab-2", "--seats", "5", "-o", grant, **client)
    seatkeeper("token", "apply", grant, *site)

    unnamed = [seatkeeper("site", verb, "acme/solver", **client) for verb in ("fresh", "back")]
    named = seatkeeper("site", "fresh", "acme/solver", "--to", "lab-2", "-o", fresh, **client)
    elsewhere = seatkeeper("token", "apply", fresh, "--data", desk.folder / "site")
    there = seatkeeper("token", "apply", fresh, *site)
    early = seatkeeper("site", "back", "acme/solver", "--from", "lab-2", **client)
    nowhere = seatkeeper("site", "back", "acme/solver", "--from", "lab-3", **client)

    assert [(done.returncode, "2 local servers: name one" in done.stderr) for done in unnamed] == [(1, True), (1, True)]
    assert (named.returncode, elsewhere.returncode, there.returncode) == (0, 1, 0), named.stderr + there.stderr
    assert (early.returncode, "name one" in early.stderr) == (1, False)
    assert (nowhere.returncode, "lab-3" in nowhere.stderr) == (1, True)


def test_a_token_is_applied_once_from_afar_too(cloud: CloudServer, desk: Desk) -> None:
    """The second time it is refused in the server's words, whichever kind it is."""
    report = desk.at_site("report", name="report")
    removal = desk.at_site("remove", cloud.ask_json("ls")[0]["entitlementId"], name="removal")
    once = [desk.apply(path).returncode for path in (report, removal)]
    again = [desk.apply(path) for path in (desk.folder / "request.token", report, removal)]

    assert once == [0, 0]
    assert [done.returncode for done in again] == [1, 1, 1]
    assert ["applied before" in done.stderr for done in again] == [True, True, False]
    assert "his share was taken back before; nothing was changed" in again[2].stderr


def test_what_can_not_be_applied_from_afar_is_said(desk: Desk) -> None:
    """What the vendor made himself, what was damaged on its way, what is no token, and what isn't there."""
    report = desk.at_site("report")
    damaged, nonsense = desk.folder / "damaged", desk.folder / "nonsense"
    damaged.write_text(report.read_text()[:-9] + "AAAAAAAA")
    nonsense.write_bytes(b"\xff" * 2_000_000)
    found = [desk.apply(path) for path in (desk.folder / "grant.token", damaged, nonsense, desk.folder / "none")]
    applied = desk.apply(report)

    assert [done.returncode for done in found] == [1, 1, 1, 3]
    assert "carry it to the one it is for" in found[0].stderr
    assert "carry it again" in found[1].stderr
    assert "this is not a Seatkeeper token" in found[2].stderr
    assert "can't be read" in found[3].stderr
    assert applied.returncode == 0


def test_who_may_not_apply_is_told(cloud: CloudServer, desk: Desk) -> None:
    """A wrong secret, a client without the permission, no server there, no vendor named: nothing is applied."""
    report = desk.at_site("report")
    reader = cloud.ask_json("client", "create", "reader", "--permission", "entitlements:read")
    as_reader = {"SEATKEEPER_CLIENT_ID": reader["clientId"], "SEATKEEPER_CLIENT_SECRET": reader["clientSecret"]}
    wrong = desk.apply(report, SEATKEEPER_CLIENT_SECRET="x" * 32)
    forbidden = desk.apply(report, **as_reader)
    away = desk.apply(report, SEATKEEPER_VENDOR_SERVER="http://127.0.0.1:9")
    nobody = desk.apply(report, SEATKEEPER_VENDOR="")
    applied = desk.apply(report)

    assert [done.returncode for done in (wrong, forbidden, away, nobody, applied)] == [1, 1, 3, 3, 0]
    assert "does not know this API client: invalid_client" in wrong.stderr
    assert "This takes the permission lls:admin" in forbidden.stderr
    assert "can't be reached" in away.stderr
    assert "name the vendor by his id with --tenant" in nobody.stderr


def test_a_reply_that_can_not_be_written_is_not_asked_for(client: dict[str, str], tmp_path: Path) -> None:
    """The file is looked at first: then the request can still be applied."""
    code = json.loads(seatkeeper("site", "code", "--json", **client).stdout)
    desk = Desk(client, tmp_path)
    asked = desk.at_site("request", "--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab-1")
    lost = desk.apply(asked, "-o", tmp_path / "nowhere" / "license.token")

    assert (lost.returncode, desk.apply(asked).returncode) == (3, 0)
    assert "nothing was changed" in lost.stderr


def test_a_server_that_is_none_of_ours_is_told_apart(client: dict[str, str]) -> None:
    """A web server answers, but not as Seatkeeper does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_answer_with_a_page, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        done = seatkeeper("site", "list", **{**client, "SEATKEEPER_VENDOR_SERVER": url})

    assert done.returncode == 3
    assert "is no server of the vendor's: it answers 200, but not as Seatkeeper does" in done.stderr


def _answer_with_a_page(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
        )
