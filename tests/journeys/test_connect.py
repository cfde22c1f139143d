"""A site connected with its vendor: two real servers, each a process, and what becomes of both when the line between them goes.

What is lent is lent at the vendor's command line, without carrying anything; what arrives, arrives by itself.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.servers import CloudServer, Sold, seatkeeper

PASSWORD = "a password of the site"
SEATS = 5
WITHIN = 40.0  # seconds


@dataclass
class Line:
    """What stands between a site and its vendor: passes on what is sent, or loses answers, or is cut."""

    cloud: CloudServer
    lost: int = 0  # answers that are still to be lost
    losing: bool = False
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Pass on one call after the other."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(WITHIN)
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.cloud.port), timeout=WITHIN) as there:
                there.sendall(_whole(client))
                answer = b""
                while part := there.recv(65_536):
                    answer += part
        except OSError:
            return
        if self.losing:
            self.lost += 1
            return
        client.sendall(answer)

    def close(self) -> None:
        """Let go of the port."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _whole(client: socket.socket) -> bytes:
    """Read one request."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += client.recv(65_536)
    head, _, body = asked.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += client.recv(65_536)
    return re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head) + b"\r\n\r\n" + body


@dataclass
class Town:
    """A vendor's server, a site's, the line between them, and what was sold."""

    cloud: CloudServer
    local: CloudServer
    line: Line
    sold: Sold
    code: str

    def connect(self) -> None:
        """Connect the site, at its command line."""
        self.local.ask("connect", self.line.url, "--tenant", self.sold.tenant, "--code", self.code, "--name", "lab-1")

    def lend(self, seats: int) -> None:
        """Lend so many seats, or have so many lent from now on."""
        self.cloud.ask("site", "lend", self.sold.entitlement, "--to", "lab-1", "--seats", str(seats))

    def lls(self, method: str, path: str, document: Any = None) -> httpx2.Response:
        """Call the LLS API."""
        body = {} if document is None else {"json": document}
        with httpx2.Client(trust_env=False, timeout=WITHIN) as http:
            return http.request(
                method,
                f"{self.local.url}/api/v1/lls{path}",
                headers={"N-TenantId": self.sold.tenant},
                auth=("admin", PASSWORD),
                **body,
            )

    @property
    def connection(self) -> dict[str, Any]:
        """How the site says that its connection stands."""
        told: dict[str, Any] = self.lls("GET", "/server").json()["connection"]
        return told

    def lent(self) -> int:
        """Give how many seats the site says that it was lent."""
        items = self.lls("GET", "/entitlements").json()["items"]
        return sum(item["seatCount"] for item in items)

    @property
    def site(self) -> dict[str, Any]:
        """What the vendor knows of the site."""
        (told,) = self.cloud.ask_json("site", "list")
        found: dict[str, Any] = told
        return found

    def counted(self) -> int:
        """Give how many seats count as lent at the vendor's."""
        (told,) = (each for each in self.cloud.ask_json("seats") if each["entitlementId"] == self.sold.entitlement)
        return int(told["lent"])

    def take_seat(self, server: CloudServer, seat_id: str) -> int:
        """Ask a server for a seat; the status."""
        document = {"productId": self.sold.product, "seatId": seat_id, "activationCode": self.sold.code}
        with httpx2.Client(trust_env=False, timeout=WITHIN) as http:
            headers = {"N-TenantId": self.sold.tenant}
            return http.post(f"{server.url}/api/v1/activate", json=document, headers=headers).status_code


def comes_true(is_true: Callable[[], bool], within: float = WITHIN) -> bool:
    """Wait until something is true; whether it became so."""
    end = time.monotonic() + within
    while not is_true():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture
def town(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Town]:
    """A vendor who has sold five seats, a site that nobody knows yet, and a line between them; it exchanges every second."""
    given = {"SEATKEEPER_CONSOLE_PASSWORD": PASSWORD, "SEATKEEPER_EXCHANGE_EVERY": getattr(request, "param", "1")}
    with (
        CloudServer(tmp_path / "vendor") as cloud,
        CloudServer(tmp_path / "site", kind="local", environment=given) as local,
    ):
        sold = cloud.sell("acme", "solver", seats=SEATS)
        line = Line(cloud)
        thread = threading.Thread(target=line.run, daemon=True)
        thread.start()
        yield Town(cloud, local, line, sold, cloud.ask_json("site", "code")["activationCode"])
        line.close()
        thread.join(WITHIN)


def test_what_is_lent_and_changed_arrives_by_itself(town: Town) -> None:
    """Connected, lent, used; grown; shrunk. Nothing is carried."""
    town.connect()
    town.lend(2)
    assert comes_true(lambda: town.lent() == 2)
    there = [town.take_seat(town.local, f"there-{n}") for n in range(3)]
    town.lend(4)
    assert comes_true(lambda: town.lent() == 4)
    more = [town.take_seat(town.local, f"there-{n}") for n in range(2, 5)]
    counted = town.counted()
    for seat in town.lls("GET", "/seats?pageSize=50").json()["items"][:3]:
        town.lls("DELETE", f"/seats/{seat['activationId']}")
    town.lend(1)
    assert comes_true(lambda: town.lent() == 1)

    assert (there, more, counted) == ([201, 201, 402], [201, 201, 402], 4)
    assert town.site["state"] == "ok"
    assert town.connection["failures"] == 0
    assert town.connection["lastContact"]


def test_fewer_seats_come_back_by_the_report_that_confirms_them(town: Town) -> None:
    """Nobody holds them: a report says so, and the vendor may give them away at once."""
    town.connect()
    town.lend(4)
    assert comes_true(lambda: town.lent() == 4)
    before = town.counted()
    town.lend(1)
    came_back = comes_true(lambda: town.counted() == 1)
    here = [town.take_seat(town.cloud, f"here-{n}") for n in range(5)]

    assert (before, came_back) == (4, True)
    assert here == [201, 201, 201, 201, 402]


def test_what_is_changed_of_an_entitlement_arrives(town: Town) -> None:
    """Lent altogether, it has as many seats on the site as were bought, whenever that changes."""
    town.connect()
    town.cloud.ask("site", "lend", town.sold.entitlement, "--to", "lab-1")
    assert comes_true(lambda: town.lent() == SEATS)
    town.cloud.ask("change", town.sold.entitlement, "--seats", "8")

    assert comes_true(lambda: town.lent() == 8)
    assert comes_true(lambda: not town.site["shares"][0]["outOfSync"])


def test_a_vendor_that_is_away_is_waited_for(town: Town) -> None:
    """The site serves on and tries again; when the vendor is back, what was changed meanwhile arrives."""
    town.connect()
    town.lend(2)
    assert comes_true(lambda: town.lent() == 2)
    town.cloud.kill()
    assert comes_true(lambda: town.connection["failures"] >= 1)
    away = town.connection
    served = town.take_seat(town.local, "there")
    doctor = {one["subject"]: one for one in town.local.ask_json("doctor")}[f"vendor at {town.line.url}"]
    town.cloud.start()
    town.lend(3)
    in_step = comes_true(lambda: town.lent() == 3, within=90)

    assert (served, in_step) == (201, True)
    assert "can't be reached" in away["lastError"]
    assert (doctor["state"], "next try at" in doctor["seen"]) == ("warning", True)
    assert comes_true(lambda: (town.connection["failures"], town.connection["lastError"]) == (0, None))
    assert town.site["state"] == "ok"


def test_an_answer_that_is_lost_costs_one_more_exchange(town: Town) -> None:
    """The same report again is the same report: nobody thinks that there are two of the site."""
    town.connect()
    town.lend(2)
    assert comes_true(lambda: town.lent() == 2)
    town.line.losing = True
    town.lend(3)
    assert comes_true(lambda: town.line.lost >= 2)
    town.line.losing = False

    assert comes_true(lambda: town.lent() == 3, within=90)
    assert comes_true(lambda: town.counted() == 3)
    assert town.site["state"] == "ok"
    assert town.lls("GET", "/server").json()["state"] == "ok"
    assert "reportGap" not in town.cloud.ask("log", "--json")


def test_from_carried_tokens_to_a_connection_and_back(town: Town, tmp_path: Path) -> None:
    """Licensed by carried tokens, connected without a code, carried beside that, disconnected, carried again."""
    local, cloud = town.local, town.cloud
    request, answer, report = tmp_path / "request", tmp_path / "answer", tmp_path / "report"
    local.ask("token", "request", "--tenant", town.sold.tenant, "--code", town.code, "--name", "lab-1", "-o", str(request))
    cloud.ask("token", "apply", str(request), "-o", str(answer))
    local.ask("token", "apply", str(answer))
    local.ask("connect", town.line.url)
    town.lend(2)
    assert comes_true(lambda: town.lent() == 2)
    local.ask("token", "report", "-o", str(report))
    by_hand = cloud.verb("token", "apply", str(report))  # it may have arrived by itself before
    assert by_hand.returncode == 0 or "applied before" in by_hand.stderr

    local.ask("disconnect")
    lent = cloud.ask("site", "lend", town.sold.entitlement, "--to", "lab-1", "--seats", "3")
    (tmp_path / "lent").write_text(lent)
    time.sleep(3)
    before = town.lent()
    local.ask("token", "apply", str(tmp_path / "lent"))
    local.ask("token", "report", "-o", str(report))
    cloud.ask("token", "apply", str(report))

    assert (before, town.lent()) == (2, 3)
    assert town.lls("GET", "/server").json()["connection"] is None
    assert town.site["state"] == "ok"


@pytest.mark.parametrize("town", ["3600"], indirect=True)  # seconds: no report of its own is under way when it is disconnected
def test_a_site_is_connected_by_api(town: Town) -> None:
    """The administrator's own console can do it; a wrong code is told with its code, and nothing is remembered."""
    wrong = {"cloudUrl": town.line.url, "activationCode": "0" * 25, "serverName": "lab-1"}
    refused = town.lls("POST", "/connect", wrong)
    nowhere = town.lls("POST", "/connect", {**wrong, "cloudUrl": "http://127.0.0.1:9", "activationCode": town.code})
    plain = town.lls("POST", "/connect", {**wrong, "cloudUrl": "http://licenses.example.com"})
    before = town.lls("GET", "/server").json()["connection"]
    made = town.lls("POST", "/connect", {**wrong, "activationCode": town.code})
    ended = town.lls("DELETE", "/connect")

    assert (refused.status_code, refused.json()["errorCode"]) == (402, "offline.wrongServer")
    assert (nowhere.status_code, nowhere.json()["errorCode"]) == (502, "vendor.unreachable")
    assert (plain.status_code, "https://" in plain.json()["details"]) == (409, True)
    assert before is None
    assert (made.status_code, made.json()["cloudUrl"], made.json()["lastError"]) == (200, town.line.url, None)
    assert (ended.status_code, ended.json()) == (200, {"tokens": []})


def test_an_entitlement_that_is_given_back_is_told_by_itself(town: Town) -> None:
    """Removed at the site; nobody carries the token, and the seats are the vendor's again."""
    town.connect()
    town.lend(3)
    assert comes_true(lambda: town.lent() == 3)
    town.lls("DELETE", f"/entitlements/{town.sold.entitlement}")

    assert comes_true(lambda: town.counted() == 0)
    assert town.site["state"] == "ok"


def test_nobody_is_connected_by_plain_http_unasked(tmp_path: Path) -> None:
    """Not beyond this machine."""
    done = seatkeeper("connect", "http://licenses.example.com", "--tenant", "t_x", "--code", "x", "--data", tmp_path / "site")

    assert done.returncode == 1
    assert "--insecure-http" in done.stderr
