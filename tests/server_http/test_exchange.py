"""Where local servers call by themselves: who is answered, who is counted, and who gets nowhere near a transaction."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from seatkeeper_server.cli._place import opened
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.service.lending import site_code
from tests.server_http.running import PATIENCE
from tests.server_http.vendor import Lending, Vendor, a_vendor

PATH = "/api/v1/local-license-servers/exchange"
LIMIT = 5


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    """A vendor whose server counts failures; nothing of it is a fake."""
    with a_vendor(tmp_path / "vendor", Lending(), failures_per_minute=LIMIT) as vendor:
        yield vendor


def exchange(vendor: Vendor, token: str, tenant: str | None = None) -> httpx2.Response:
    """Send a document."""
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.post(vendor.url + PATH, json={"token": token}, headers={"N-TenantId": tenant or vendor.tenant_id})


def request_of(vendor: Vendor, data: Path, code: str | None = None) -> str:
    """Have a local server ask for its license."""
    with opened(vendor.settings.data) as place, place.transaction() as desk:
        _, known = site_code(desk.catalogue, place.vault(desk), None, now=datetime.now(UTC), random=os.urandom)
    with opened(data, create=True) as place, place.transaction() as desk:
        grants = Grants(desk.catalogue, place.vault(desk), now=datetime.now(UTC), random=os.urandom)
        return grants.request(vendor.tenant_id, code or known, "lab-1")


def test_a_document_needs_no_login(vendor: Vendor, tmp_path: Path) -> None:
    """The code under which it is sealed is enough; the answer is for that server alone, and a second time it is none."""
    token = request_of(vendor, tmp_path / "site")
    first, again = exchange(vendor, token), exchange(vendor, token)

    assert first.status_code == 200
    assert (first.json()["state"], len(first.json()["tokens"])) == ("ok", 1)
    assert (again.status_code, again.json()["errorCode"]) == (402, "offline.replayed")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c.d.e", "eyJraWQiOiJ4IiwiYWxnIjoiRUNESC1FUyJ9.a.b.c.d"])
def test_whoever_shows_nothing_is_refused_and_counted(vendor: Vendor, token: str) -> None:
    """402 with a code of its own, then 429 with the time to wait: as for wrong codes."""
    told = [exchange(vendor, token) for _ in range(LIMIT + 1)]

    assert {one.status_code for one in told[:-1]} == {402}
    assert all(one.json()["errorCode"].startswith("offline.") for one in told[:-1])
    assert (told[-1].status_code, int(told[-1].headers["retry-after"]) >= 1) == (429, True)


def test_a_wrong_code_and_an_unknown_vendor(vendor: Vendor, tmp_path: Path) -> None:
    """Each is refused; no key is made for somebody who isn't there."""
    wrong = exchange(vendor, request_of(vendor, tmp_path / "site", "00000-00000-00000-00000-00000"))
    nobody = exchange(vendor, "nonsense", "t_nobody")
    missing = exchange(vendor, "nonsense", "t" * 65)
    with opened(vendor.settings.data) as place, place.transaction() as desk:
        keys = list(desk.catalogue.tx.query("exchange_key", owner="t_nobody", purpose="sealing"))

    assert (wrong.status_code, wrong.json()["errorCode"]) == (402, "offline.wrongServer")
    assert (nobody.status_code, nobody.json()["errorCode"]) == (401, "credentials.unknown")
    assert missing.status_code == 401
    assert keys == []


def test_a_body_is_bounded(vendor: Vendor) -> None:
    """Nothing longer than a document can be is looked at."""
    assert exchange(vendor, "x" * 1_000_001).status_code == 422
    assert exchange(vendor, "x" * 1_100_000).status_code == 413


def test_no_transaction_for_who_shows_nothing(vendor: Vendor) -> None:
    """While somebody else writes, nonsense is refused at once: it never waits for the one who writes, nor makes him wait."""
    with opened(vendor.settings.data) as place, place.transaction():
        told = exchange(vendor, "nonsense")

    assert told.status_code == 402
