"""A local license server licensed, lent to and given back by API alone, as an existing client of the public contract does it.

Two real servers, each a process; what the client carries between them are the tokens in their answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.servers import CloudServer, Sold

PASSWORD = "a password of the site"
SEATS = 5


@dataclass
class Town:
    """A vendor's server and a site's, the client that may call both, and what was sold."""

    cloud: CloudServer
    local: CloudServer
    sold: Sold
    vendor: httpx2.Client
    site: httpx2.Client

    def on_cloud(self, method: str, path: str, document: Any = None, *, status: int = 200) -> Any:
        """Call the Management API."""
        return _called(self.vendor, method, f"/api/v1{path}", document, status)

    def on_local(self, method: str, path: str, document: Any = None, *, status: int = 200) -> Any:
        """Call the LLS API."""
        return _called(self.site, method, f"/api/v1/lls{path}", document, status)

    def license_the_site(self) -> str:
        """The three-token dance; the site's id."""
        code = self.on_cloud("GET", "/local-license-servers/entitlement")["entitlementGroup"]["activationCodes"][0]
        asked = {"activationCode": code, "serverName": "lab-1"}
        request = self.on_local("POST", "/license/generate-activation-token", asked)
        answer = self.on_cloud("POST", "/local-license-servers/license/activate", request)
        assert self.on_local("POST", "/license/activate", answer)["status"] == "active"
        site_id: str = self.on_local("GET", "/server")["id"]
        return site_id

    def lend(self, site_id: str, **share: Any) -> str:
        """Lend to the site and import there; the token."""
        path = f"/entitlements/{self.sold.entitlement}/export"
        token: str = self.on_cloud("POST", path, {"localLicenseServerId": site_id, **share})["token"]
        self.on_local("POST", "/entitlements/import", {"token": token})
        return token

    def take_seat(self, server: CloudServer, seat_id: str) -> httpx2.Response:
        """Ask a server for a seat."""
        document = {"productId": self.sold.product, "seatId": seat_id, "activationCode": self.sold.code}
        with httpx2.Client(trust_env=False) as http:
            return http.post(f"{server.url}/api/v1/activate", json=document, headers={"N-TenantId": self.sold.tenant})


def _called(http: httpx2.Client, method: str, path: str, document: Any, status: int) -> Any:
    reply = http.request(method, path, json=document) if document is not None else http.request(method, path)
    assert reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
    return reply.json() if reply.content else None


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A vendor who has sold five seats, and a site with a server that nobody knows yet."""
    given = {"SEATKEEPER_CONSOLE_PASSWORD": PASSWORD}
    with (
        CloudServer(tmp_path / "vendor") as cloud,
        CloudServer(tmp_path / "site", kind="local", environment=given) as local,
    ):
        sold = cloud.sell("acme", "solver", seats=SEATS, feature="render=elementPool:10")
        client = cloud.ask_json("client", "create", "erp")
        form = {"client_id": client["clientId"], "client_secret": client["clientSecret"], "grant_type": "client_credentials"}
        realm = f"{cloud.url}/realms/{client['realm']}/protocol/openid-connect/token"
        with httpx2.Client(trust_env=False) as http:
            token = http.post(realm, data=form).json()["access_token"]
        tenant = {"N-TenantId": client["tenantId"]}
        bearer = {**tenant, "Authorization": f"Bearer {token}", "N-Api-Version": "2025-10-10"}
        with (
            httpx2.Client(base_url=cloud.url, headers=bearer, trust_env=False) as vendor,
            httpx2.Client(base_url=local.url, headers=tenant, auth=("admin", PASSWORD), trust_env=False) as site,
        ):
            yield Town(cloud, local, sold, vendor, site)


def test_an_entitlement_goes_to_a_site_and_comes_back(town: Town) -> None:
    """Licensed, exported, imported, used there and not here, removed, taken back, used here again."""
    site_id = town.license_the_site()
    before = town.take_seat(town.local, "too-early").status_code
    town.lend(site_id)
    there, here = town.take_seat(town.local, "ann"), town.take_seat(town.cloud, "bob")
    exported = town.on_cloud("GET", f"/entitlements/{town.sold.entitlement}?expand=export")
    imported = town.on_local("GET", f"/entitlements/{town.sold.entitlement}")
    seat = there.json()["activation"]["id"]
    town.on_local("DELETE", f"/seats/{seat}", status=204)
    removal = town.on_local("DELETE", f"/entitlements/{town.sold.entitlement}")
    town.on_cloud("POST", f"/entitlements/{town.sold.entitlement}/import", removal, status=204)

    assert (before, there.status_code, here.status_code) == (401, 201, 402)
    assert here.json()["errorCode"] == "entitlement.exported"
    assert (exported["exported"], exported["status"], exported["export"]["outOfSync"]) == (True, "exported", False)
    assert exported["export"]["localLicenseServer"]["id"] == site_id
    assert (imported["group"]["activationCodes"], imported["seatCount"]) == ([town.sold.code], SEATS)


def test_seats_are_shared_between_cloud_and_site(town: Town) -> None:
    """Two of five are lent: the site serves two, the cloud three, and the sixth is refused on either side."""
    site_id = town.license_the_site()
    town.lend(site_id, seats=2, features=[{"key": "render", "amount": 4}])
    there = [town.take_seat(town.local, f"there-{n}").status_code for n in range(3)]
    here = [town.take_seat(town.cloud, f"here-{n}").status_code for n in range(4)]
    (share,) = town.on_cloud("GET", f"/entitlements/{town.sold.entitlement}/shares")["items"]

    assert (there, here) == ([201, 201, 402], [201, 201, 201, 402])
    assert (share["seats"], share["features"], share["whole"]) == (2, [{"key": "render", "amount": 4}], False)


def test_a_token_is_applied_once(town: Town) -> None:
    """402 with its own code, also for one that was made for nobody here."""
    token = town.lend(town.license_the_site(), seats=2)
    again = town.site.post("/api/v1/lls/entitlements/import", json={"token": token})
    nonsense = town.site.post("/api/v1/lls/entitlements/import", json={"token": "nonsense"})

    assert (again.status_code, again.json()["errorCode"]) == (402, "offline.replayed")
    assert (nonsense.status_code, nonsense.json()["errorCode"].startswith("offline.")) == (402, True)


def test_use_is_reported_to_the_vendor(town: Town) -> None:
    """A token that the site makes and the vendor takes in; he sees when it was."""
    site_id = town.license_the_site()
    town.lend(site_id, seats=2)
    town.take_seat(town.local, "ann")
    reported = town.on_cloud("POST", "/local-license-servers/usage-report", town.on_local("POST", "/usage-report"))
    site = town.on_cloud("GET", f"/local-license-servers/{site_id}")

    assert reported["text"]
    assert (site["name"], site["licenseActive"], site["lastReport"] is not None) == ("lab-1", True, True)


def test_a_license_is_extended_and_given_back(town: Town) -> None:
    """Refreshed by a token of the vendor's; deactivated at once, and the vendor is told."""
    site_id = town.license_the_site()
    town.on_local("POST", "/license/refresh", town.on_cloud("PATCH", f"/local-license-servers/{site_id}/license/refresh"))
    ended = town.on_local("POST", "/license/deactivate")
    town.on_cloud("POST", "/local-license-servers/license/deactivate", ended, status=204)

    assert town.on_local("GET", "/license/status")["status"] == "notActive"
    assert not town.on_cloud("GET", f"/local-license-servers/{site_id}")["licenseActive"]


def test_a_site_sees_what_became_of_its_seats(town: Town) -> None:
    """Its use by the hour, and the facts behind it: before the vendor has heard of any."""
    town.lend(town.license_the_site(), seats=2)
    for name in ("ann", "bob", "cy"):
        town.take_seat(town.local, name)
    (used,) = town.on_local("GET", f"/usage?entitlementId={town.sold.entitlement}")["items"]
    facts = town.on_local("GET", "/audit?pageSize=3")["items"]

    assert (used["seatCount"], used["hours"][-1]["high"]) == (2, 2)
    assert sum(hour["denials"] for hour in used["hours"]) == 1
    assert [fact["what"] for fact in facts] == ["Denied", "Claimed", "Claimed"]
    assert {fact["entitlementId"] for fact in facts} == {town.sold.entitlement}


def test_an_integration_reads_the_key_of_the_account(town: Town) -> None:
    """In the config of local servers and by itself: the same one, of this vendor."""
    config, key = town.on_cloud("GET", "/local-license-servers/config"), town.on_cloud("GET", "/account/key")

    assert {config["llsLicenseTenantId"], config["clientTenantId"]} == {town.sold.tenant}
    assert config["llsLicenseTenantKey"] == config["clientTenantKey"] == key
