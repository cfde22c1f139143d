"""The LLS API over a real socket: who may call it, the license, what was lent, and the seats."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from seatkeeper_server.apps import local
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.catalogue import Sold
from seatkeeper_server.service.catalogue import Bought, NotFound
from seatkeeper_server.settings import LocalSettings, Settings
from tests.server_http.running import PATIENCE, running
from tests.server_http.vendor import NOW, Applied, sell

LLS = "/api/v1/lls"
PASSWORD = "correct horse battery"
LICENSED = {
    "status": "active",
    "id": "lls_1",
    "seatName": "lab-1",
    "leaseExpiry": "2026-08-30T12:00:00Z",
    "state": "ok",
}


@dataclass(frozen=True)
class License:
    """This server's license."""

    tenant_id: str
    status: str = "active"
    site_id: str | None = "lls_1"
    name: str | None = "lab-1"
    lease_ends_at: datetime | None = NOW + timedelta(days=90)
    state: str = "ok"


@dataclass(frozen=True)
class Lent:
    """What was lent."""

    bought: Bought
    codes: tuple[str, ...] = ("CODE-1",)
    until: datetime = NOW + timedelta(days=30)
    number: int = 4
    share_id: str = "shr_1"


@dataclass
class Grants:
    """What a local server does with tokens, as a test wants it."""

    licensed: License | None = None
    bought: Bought | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def _told(self, *asked: Any) -> str:
        self.asked.append(asked)
        return f"token of {asked[0]}"

    def license(self, tenant_id: str | None = None) -> License | None:
        return self.licensed

    def request(self, tenant_id: str, code: str, name: str) -> str:
        return self._told("request", tenant_id, code, name)

    def apply(self, token: str) -> Applied:
        self._told("apply", token)
        return Applied()

    def applied_entitlement(self, token: str) -> Lent:
        self._told("import", token)
        return self._lent()

    def deactivate(self, tenant_id: str) -> str:
        return self._told("deactivate", tenant_id)

    def entitlements(self, tenant_id: str) -> list[Lent]:
        return [self._lent()] if self.bought else []

    def entitlement(self, tenant_id: str, entitlement_id: str) -> Lent:
        for lent in self.entitlements(tenant_id):
            if lent.bought.entitlement_id == entitlement_id:
                return lent
        raise NotFound("entitlement", entitlement_id, [], "nothing was lent")

    def remove(self, tenant_id: str, entitlement_id: str) -> str:
        return self._told("remove", tenant_id, entitlement_id)

    def report(self, tenant_id: str) -> str:
        return self._told("report", tenant_id)

    def _lent(self) -> Lent:
        assert self.bought is not None
        return Lent(self.bought)


@dataclass
class Site:
    """A local server that listens, and what lies on it."""

    url: str
    settings: Settings
    grants: Grants
    sold: Sold

    def call(self, method: str, path: str, document: Any = None, auth: Any = ("admin", PASSWORD), **headers: str) -> Any:
        """Call the LLS API as its administrator."""
        given = {"n-tenantid": self.sold.tenant_id, **headers}
        body = {} if document is None else {"json": document}
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, self.url + path, headers=given, auth=auth, **body)

    def activate(self, seat_id: str) -> str:
        """Take a seat, and give its activation's id."""
        reply = self.call("POST", "/api/v1/activate", self.asks_for(seat_id), auth=None)
        activation_id: str = reply.json()["activation"]["id"]
        return activation_id

    def asks_for(self, seat_id: str) -> dict[str, str]:
        """What a program says that asks for a seat."""
        return {"productId": self.sold.product_id, "seatId": seat_id, "activationCode": self.sold.code}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A local server on which something lies that could have been lent."""
    settings = LocalSettings(data=tmp_path / "site", port=0, desk_process=False, console_password=SecretStr(PASSWORD))
    sold, grants = sell(settings), Grants()
    with opened(settings.data) as place:
        grants.bought = place.read(lambda desk: desk.catalogue.bought()[0])
    monkeypatch.setattr(local.Visit, "grants", property(lambda visit: grants))
    with local.build(settings) as house, running(house.app, settings) as server:
        yield Site(server.url, settings, grants, sold)


# --- the license ---------------------------------------------------------------------------------------------------


def test_a_new_server_is_not_active(site: Site) -> None:
    """`notActive`, and no id yet."""
    status, server = site.call("GET", f"{LLS}/license/status"), site.call("GET", f"{LLS}/server")

    assert (status.status_code, status.json()["status"], status.json()["seatName"]) == (200, "notActive", None)
    assert (server.status_code, server.json()["id"], server.json()["tenantId"]) == (200, None, site.sold.tenant_id)


def test_the_dance_of_a_license(site: Site) -> None:
    """A request for the vendor; what he answers is applied; the status is what is answered."""
    asked = site.call(
        "POST", f"{LLS}/license/generate-activation-token", {"activationCode": "SITE-CODE", "serverName": "lab-1"}
    )
    site.grants.licensed = License(site.sold.tenant_id)
    activated = site.call("POST", f"{LLS}/license/activate", {"token": "from the vendor"})
    refreshed = site.call("POST", f"{LLS}/license/refresh", {"token": "one more"})
    server = site.call("GET", f"{LLS}/server")
    ended = site.call("POST", f"{LLS}/license/deactivate")

    assert asked.json() == {"token": "token of request"}
    assert (activated.json(), refreshed.json()) == (LICENSED, LICENSED)
    assert server.json() == {"id": "lls_1", "name": "lab-1", "tenantId": site.sold.tenant_id, "state": "ok", "connection": None}
    assert ended.json() == {"token": "token of deactivate"}
    assert site.grants.asked == [
        ("request", site.sold.tenant_id, "SITE-CODE", "lab-1"),
        ("apply", "from the vendor"),
        ("apply", "one more"),
        ("deactivate", site.sold.tenant_id),
    ]


def test_a_token_of_another_vendor_is_told(site: Site) -> None:
    """402: the header names one vendor, the token is of another."""
    reply = site.call("POST", f"{LLS}/license/activate", {"token": "of somebody else"})

    assert (reply.status_code, reply.json()["errorCode"]) == (402, "offline.wrongServer")


def test_use_is_reported(site: Site) -> None:
    """`{token}` to carry."""
    assert site.call("POST", f"{LLS}/usage-report").json() == {"token": "token of report"}


# --- what was lent -------------------------------------------------------------------------------------------------


def test_an_entitlement_is_imported(site: Site) -> None:
    """The answer has what existing scripts read: id, product, offering, codes, features."""
    reply = site.call("POST", f"{LLS}/entitlements/import", {"token": "abc"})
    body = reply.json()

    assert (reply.status_code, body["id"], site.grants.asked) == (200, site.sold.entitlement_id, [("import", "abc")])
    assert (body["product"]["name"], body["productName"], body["offeringName"]) == ("solver", "solver", "solver, 5 seats")
    assert (body["group"]["activationCodes"], body["attributes"]) == (["CODE-1"], [])
    assert {feature["key"]: feature["value"] for feature in body["features"]} == {"render": 10, "export": 1, "pages": 100}
    assert (body["seatCount"], body["expiryDate"], body["documentNumber"]) == (5, "2026-07-01T12:00:00Z", 4)


def test_what_was_lent_is_listed_shown_and_given_back(site: Site) -> None:
    """A list, one, 404 for another, and a removal token."""
    path = f"{LLS}/entitlements"
    listed, one = site.call("GET", path).json(), site.call("GET", f"{path}/{site.sold.entitlement_id}")
    other, removed = site.call("GET", f"{path}/ent_9"), site.call("DELETE", f"{path}/{site.sold.entitlement_id}")

    assert (listed["elementsTotal"], listed["items"][0]["id"]) == (1, site.sold.entitlement_id)
    assert (one.status_code, other.status_code) == (200, 404)
    assert (removed.status_code, removed.json()) == (200, {"token": "token of remove"})


# --- seats ---------------------------------------------------------------------------------------------------------


def test_seats_are_listed_and_taken_back(site: Site) -> None:
    """Who holds what; a seat that is taken back counts until its lease has ended."""
    first, second = site.activate("ann"), site.activate("bob")
    listed = site.call("GET", f"{LLS}/seats?pageSize=1")
    taken = site.call("DELETE", f"{LLS}/seats/{first}")
    after = {seat["activationId"]: seat for seat in site.call("GET", f"{LLS}/seats").json()["items"]}

    assert (listed.json()["elementsTotal"], len(listed.json()["items"])) == (2, 1)
    assert listed.json()["items"][0]["seatId"] == "ann"
    assert taken.status_code == 204
    assert (after[first]["condition"], after[first]["counts"], after[second]["condition"]) == ("taken back", True, "held")


def test_a_seat_that_is_not_there_is_404(site: Site) -> None:
    """Nor is one of another vendor's customer."""
    held = site.activate("ann")
    strange = site.call("DELETE", f"{LLS}/seats/{held}", **{"n-tenantid": "t_" + "x" * 22})

    assert [site.call("DELETE", f"{LLS}/seats/act_9").status_code, strange.status_code] == [404, 404]


# --- what became of them --------------------------------------------------------------------------------------------


def test_use_is_shown_by_the_hour(site: Site) -> None:
    """High and low mark, refusals and seat-hours of each entitlement lent, for the last day unless asked otherwise."""
    for name in ("ann", "bob", "cy", "dee", "eve"):
        site.activate(name)
    refused = site.call("POST", "/api/v1/activate", site.asks_for("fay"), auth=None)
    (used,) = site.call("GET", f"{LLS}/usage").json()["items"]
    hour = used["hours"][-1]

    assert refused.status_code == 402
    assert (used["entitlementId"], used["productName"], used["seatCount"]) == (site.sold.entitlement_id, "solver", 5)
    assert (hour["high"], hour["denials"], sum(each["denials"] for each in used["hours"])) == (5, 1, 1)
    assert hour["hour"].endswith(":00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00",
        "from=0001-01-01T00:00:00%2B14:00",
        "from=yesterday",
    ],
)
def test_a_time_that_can_not_be_asked_for_is_422(site: Site, query: str) -> None:
    """Longer than a month, backwards, without a zone, out of reach: the parameter is named."""
    reply = site.call("GET", f"{LLS}/usage?{query}")

    assert reply.status_code == 422
    assert [each["propertyName"] for each in reply.json()["validationErrors"]] == ["from"]


def test_a_time_before_the_first_and_after_the_last_moment_has_no_hours(site: Site) -> None:
    """Nothing is told of what has not been."""
    asked = ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", "from=2099-01-01T00:00:00Z&to=2099-01-02T00:00:00Z")
    found = [site.call("GET", f"{LLS}/usage?{query}").json()["items"][0]["hours"] for query in asked]

    assert found == [[], []]


def test_the_audit_is_enough_to_check_the_chain(site: Site) -> None:
    """Every fact from the first one on, with all that its hash covers: a reader needs nothing else."""
    site.call("DELETE", f"{LLS}/seats/{site.activate('ann')}")
    body = site.call("GET", f"{LLS}/audit?order=sequence&pageSize=500").json()
    head = bytes(32)
    for number, fact in enumerate(body["items"], 1):
        head = hashed(head, fact)

        assert (fact["sequence"], fact["hash"]) == (number, head.hex())
    assert (body["elementsTotal"], body["items"][0]["what"]) == (len(body["items"]), "Note")
    assert {"Claimed", "TakenBack"} <= {fact["what"] for fact in body["items"]}


def test_the_audit_comes_in_pages_the_newest_first(site: Site) -> None:
    """Of one entitlement or of all; in the other order the same facts."""
    for name in ("ann", "bob", "cy"):
        site.activate(name)
    path = f"{LLS}/audit?entitlementId={site.sold.entitlement_id}"
    pages = [site.call("GET", f"{path}&pageSize=2&pageNumber={n}").json() for n in (1, 2, 3)]
    numbers = [fact["sequence"] for page in pages for fact in page["items"]]
    forwards = [
        fact["sequence"]
        for n in (1, 2, 3)
        for fact in site.call("GET", f"{path}&order=sequence&pageSize=2&pageNumber={n}").json()["items"]
    ]
    everything = site.call("GET", f"{LLS}/audit?pageSize=500").json()["items"]

    assert pages[0]["elementsTotal"] == len(everything) == 4
    assert (numbers, forwards) == ([4, 3, 2, 1], [1, 2, 3, 4])
    assert [fact["sequence"] for fact in everything] == numbers


def test_facts_of_several_entitlements_are_told_together(site: Site) -> None:
    """The newest first whichever it is of; or one after the other. What is another vendor's is not there."""
    sell(site.settings, "acme", "mesher")
    site.activate("ann")
    newest = site.call("GET", f"{LLS}/audit?pageSize=2").json()
    both = site.call("GET", f"{LLS}/audit?order=sequence").json()["items"]
    strange = site.call("GET", f"{LLS}/audit", **{"n-tenantid": "t_" + "x" * 22}).json()

    assert [fact["what"] for fact in newest["items"]] == ["Claimed", "Note"]
    assert newest["elementsTotal"] == len(both) == 3
    assert [fact["sequence"] for fact in both] == [1, 1, 2]
    assert (strange["elementsTotal"], strange["items"]) == (0, [])


@pytest.mark.parametrize("path", ["usage", "audit"])
def test_what_became_of_an_entitlement_that_is_not_here_is_404(site: Site, path: str) -> None:
    """By its id; it may be mistyped."""
    reply = site.call("GET", f"{LLS}/{path}?entitlementId=ent_9")

    assert (reply.status_code, reply.json()["errorCode"]) == (404, "notFound")


@pytest.mark.parametrize("query", ["pageSize=501", "pageSize=0", "order=oldest", "pageNumber=0"])
def test_a_page_of_the_audit_that_can_not_be_is_422(site: Site, query: str) -> None:
    """A page has 500 facts at most."""
    assert site.call("GET", f"{LLS}/audit?{query}").status_code == 422


def hashed(head: bytes, fact: dict[str, Any]) -> bytes:
    """Give the hash of a fact as the reference says it is made, with nothing of ours."""

    def text(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)

    moments = [
        (datetime.fromisoformat(fact[name]) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        for name in ("moment", "recorded")
    ]
    who = [fact[name] for name in ("activationId", "generation", "holder", "denialId")]
    return sha256(head + text([fact["sequence"], fact["what"], *moments, *who, text(fact["data"])]).encode()).digest()


# --- who may -------------------------------------------------------------------------------------------------------

CALLS = [
    ("GET", "server"),
    ("GET", "license/status"),
    ("POST", "license/generate-activation-token"),
    ("POST", "license/activate"),
    ("POST", "license/refresh"),
    ("POST", "license/deactivate"),
    ("POST", "entitlements/import"),
    ("GET", "entitlements"),
    ("GET", "entitlements/ent_1"),
    ("DELETE", "entitlements/ent_1"),
    ("POST", "usage-report"),
    ("GET", "usage"),
    ("GET", "audit"),
    ("GET", "seats"),
    ("DELETE", "seats/act_1"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_takes_the_password(site: Site, method: str, path: str) -> None:
    """401 with a challenge, before anything is looked at."""
    reply = site.call(method, f"{LLS}/{path}", auth=None)

    assert (reply.status_code, reply.json()["errorCode"]) == (401, "credentials.unknown")
    assert reply.headers["www-authenticate"] == 'Basic realm="seatkeeper"'
    assert not site.grants.asked


@pytest.mark.parametrize("auth", [("admin", "wrong password"), ("root", PASSWORD), ("admin", "admin"), ("", "")])
def test_a_wrong_password_is_401(site: Site, auth: tuple[str, str]) -> None:
    """And there is no default one."""
    assert site.call("GET", f"{LLS}/server", auth=auth).status_code == 401


def test_the_vendor_has_to_be_named(site: Site) -> None:
    """401 without N-TenantId, as on the Licensing API."""
    assert site.call("GET", f"{LLS}/server", **{"n-tenantid": ""}).status_code == 401


def test_a_local_server_serves_the_licensing_api(site: Site) -> None:
    """The same routes; the Management API is not here."""
    assert site.activate("ann").startswith("act_")
    assert site.call("GET", "/api/v1/local-license-servers").status_code == 404
    assert site.call("GET", "/health/ready", auth=None).status_code == 200
