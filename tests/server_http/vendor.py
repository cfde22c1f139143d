"""A cloud server that really listens, an API client of its vendor's, and lending that does what a test says.

`Lending` remembers what it was asked for and gives what it was told to: what lending itself does is tested where it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx2

from seatkeeper_server.apps import cloud
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.catalogue import Sale, Sold, Terms, read_feature
from seatkeeper_server.service import clients, selling
from seatkeeper_server.service.catalogue import Bought, NotFound
from seatkeeper_server.service.clients import PERMISSIONS, NewClient
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.clients import Clients
from tests.server_http.front import counting
from tests.server_http.running import PATIENCE, running

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECRET = "s" * 40
ANY = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """A local license server."""

    site_id: str = "lls_1"
    name: str = "lab-1"
    activation_id: str = "act_1"
    activated_at: datetime = NOW
    last_lease: datetime | None = NOW
    lease_ends_at: datetime | None = NOW + timedelta(days=90)
    deactivated_at: datetime | None = None
    is_licensed: bool = True
    state: str = "ok"
    last_report_at: datetime | None = None


@dataclass(frozen=True)
class Export:
    """A share."""

    share_id: str = "shr_1"
    site: Site = Site()
    seats: int = 3
    features: dict[str, int] = ANY
    until: datetime = NOW + timedelta(days=30)
    is_whole: bool = False
    exported_at: datetime = NOW
    last_token_at: datetime = NOW
    out_of_sync: bool = False


@dataclass(frozen=True)
class Applied:
    """What became of a token."""

    kind: str = "usage report"
    text: str = "Usage of lab-1 until noon."
    reply: str | None = None


@dataclass
class Lending:
    """Lending, as a test wants it: `raises` is what every call fails with, `asked` is what it was asked for."""

    raises: Exception | None = None
    shares: list[Export] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    bought: Bought | None = None

    def _told(self, *asked: Any) -> str:
        self.asked.append(asked)
        if self.raises is not None:
            raise self.raises
        return f"token of {asked[0]}"

    def site_code(self) -> str:
        self._told("site_code")
        return "SITE-CODE"

    def license_entitlement(self) -> Bought:
        assert self.bought is not None
        return self.bought

    def sites(self) -> list[Site]:
        self._told("sites")
        return [Site(), Site(site_id="lls_2", name="lab-2", is_licensed=False, deactivated_at=NOW)]

    def site(self, site_id: str) -> Site:
        for site in self.sites():
            if site.site_id == site_id:
                return site
        raise NotFound("local license server", site_id, ["lls_1"], "there is none")

    def license(self, token: str) -> str:
        return self._told("license", token)

    def renew_license(self, site_id: str) -> str:
        return self._told("renew", site_id)

    def end_license(self, token: str) -> None:
        self._told("end", token)

    def forget(self, site_id: str) -> None:
        self._told("forget", site_id)

    def lend(self, entitlement_id: str, site_id: str, *, seats: Any = None, features: Any = (), until: Any = None) -> str:
        return self._told("lend", entitlement_id, site_id, seats, dict(features), until)

    def fresh_token(self, entitlement_id: str, site_id: str | None = None) -> str:
        return self._told("fresh", entitlement_id, *([site_id] if site_id else []))

    def take_back(self, entitlement_id: str, token: str | None, site_id: str | None = None) -> None:
        self._told("back", entitlement_id, token, *([site_id] if site_id else []))

    def report(self, token: str) -> Applied:
        self._told("report", token)
        return Applied()

    def exports(self, entitlement_id: str) -> list[Export]:
        return self.shares


@dataclass
class Vendor:
    """A vendor with a server: what was sold, and how his systems call it."""

    url: str
    settings: Settings
    sold: Sold
    lending: Lending
    secret: str = SECRET

    @property
    def tenant_id(self) -> str:
        """The vendor's tenant."""
        return self.sold.tenant_id

    def add_client(self, name: str, *permissions: str) -> str:
        """Make an API client that may do this, and give its access token."""
        with opened(self.settings.data) as place, place.transaction() as desk:
            clients.create(
                desk.catalogue,
                Clients(desk.catalogue.tx),
                place.vault(desk),
                self.tenant_id,
                NewClient(client_id=name, secret=self.secret, permissions=permissions or PERMISSIONS),
                now=desk.now,
                random=counting(crc32(name.encode())),
            )
        return self.token(name)

    def token(self, client_id: str, secret: str = SECRET) -> str:
        """Ask the token endpoint."""
        token: str = self.ask_token({"client_id": client_id, "client_secret": secret}).json()["access_token"]
        return token

    def ask_token(self, form: dict[str, str], realm: str = "", **headers: str) -> httpx2.Response:
        """Ask the token endpoint, and give its answer."""
        path = f"/realms/{realm or self.tenant_id}/protocol/openid-connect/token"
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.post(self.url + path, data={"grant_type": "client_credentials", **form}, headers=headers)

    def call(self, method: str, path: str, token: str | None, document: Any = None, **how: Any) -> httpx2.Response:
        """Call the Management API."""
        headers = {"n-tenantid": self.tenant_id, "n-api-version": "2025-10-10", **how.pop("headers", {})}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        body = {} if document is None else {"json": document}
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, self.url + path, headers=headers, **body, **how)


def sell(settings: Settings, customer: str = "acme", product: str = "solver", seats: int = 5) -> Sold:
    """Sell beside the server."""
    features = (read_feature("render=elementPool:10"), read_feature("export=bool"), read_feature("pages=usageCount:100"))
    sale = Sale(customer=customer, product=product, terms=Terms(seats=seats, features=features))
    with opened(settings.data, create=True) as place, place.transaction() as desk:
        vault = place.vault(desk)
        draw = counting(len(desk.catalogue.bought()) * 1_000 + 1)
        return selling.sell(desk.catalogue, vault, sale, now=desk.now, starts_at=desk.now, random=draw)


@contextmanager
def a_vendor(data: Path, lending: Lending, **settings: Any) -> Iterator[Vendor]:
    """Serve a vendor's data, to which something was sold."""
    chosen = Settings(data=data, port=0, desk_process=False, **settings)
    sold = sell(chosen)
    with cloud.build(chosen) as house, running(house.app, chosen) as server:
        yield Vendor(server.url, chosen, sold, lending)
