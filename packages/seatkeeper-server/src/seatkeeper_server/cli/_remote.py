"""A vendor's server at a distance: what `seatkeeper site` does beside its data, done through the Management API.

The API client's id and secret come from the environment (SEATKEEPER_CLIENT_ID, SEATKEEPER_CLIENT_SECRET or …_FILE), so that no
secret stands in a list of processes. What the server refuses is told in its own words.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx2

from seatkeeper_server.cli._failures import Unusable
from seatkeeper_server.cli._output import json_moment
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.settings import LOOPBACK

TIMEOUT: Final = 30.0  # seconds
PAGE: Final = 100

Json = dict[str, Any]  # what a server answers


class Remote:
    """A vendor's server, as one of his API clients."""

    def __init__(self, url: str, tenant: str | None) -> None:
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise Unusable(f"server: write https://HOST[:PORT], not {url}")
        if place.scheme == "http" and place.hostname not in LOOPBACK:
            raise Unusable(f"server: {url} is without TLS, and the client's secret would be read on its way: use https")
        if tenant is None:
            raise Unusable("tenant: name the vendor by his id with --tenant, as `seatkeeper client create` printed it")
        self._http = httpx2.Client(base_url=url.rstrip("/"), timeout=TIMEOUT)
        self._tenant = tenant
        self._http.headers["N-TenantId"] = tenant
        self._http.headers["Authorization"] = f"Bearer {self._token()}"

    def _token(self) -> str:
        identity = {"client_id": _variable("SEATKEEPER_CLIENT_ID"), "client_secret": _variable("SEATKEEPER_CLIENT_SECRET")}
        form = {"grant_type": "client_credentials", **identity}
        path = f"/realms/{quote(self._tenant)}/protocol/openid-connect/token"
        answer = self._sent("POST", path, data=form)
        if answer.status_code != httpx2.codes.OK:
            raise CannotDo(f"the server does not know this API client: {answer.json().get('error', answer.status_code)}")
        return str(answer.json()["access_token"])

    def code(self) -> tuple[str, str]:
        """Give the vendor's id, and the activation code by which local servers are licensed."""
        found = self._asked("GET", "/local-license-servers/entitlement")
        return self._tenant, str(found["entitlementGroup"]["activationCodes"][0])

    def sites(self) -> list[Json]:
        """Give the local servers, each with what is lent to it."""
        sites: list[Json] = self._asked("GET", "/local-license-servers")["items"]
        for site in sites:
            site["shares"] = []
        for entitlement in self._entitlements():
            for share in self._asked("GET", f"/entitlements/{entitlement['id']}/shares")["items"]:
                site = next(one for one in sites if one["id"] == share["localLicenseServer"]["id"])
                site["shares"].append({**share, "entitlement": _called(entitlement)})
        return sites

    def lend(self, called: str, to: str, seats: int | None, features: Mapping[str, int], until: datetime | None) -> str:
        """Lend seats to a local server; the token to carry there."""
        asked: Json = {"localLicenseServerId": self._site(to)}
        if seats is not None:
            asked |= {"seats": seats, "features": [{"key": key, "amount": amount} for key, amount in features.items()]}
        if until is not None:
            asked["until"] = json_moment(until)
        return str(self._asked("POST", f"/entitlements/{self._find(called)}/export", asked)["token"])

    def fresh(self, called: str) -> str:
        """Give a fresh token of what is lent."""
        return str(self._asked("POST", f"/entitlements/{self._find(called)}/export/token", {})["token"])

    def back(self, called: str) -> None:
        """Take back what has run out."""
        self._asked("POST", f"/entitlements/{self._find(called)}/import", {"importWithoutToken": True})

    def renew(self, name: str) -> str:
        """Renew a local server's license; the token to carry there."""
        return str(self._asked("PATCH", f"/local-license-servers/{self._site(name)}/license/refresh")["token"])

    def forget(self, name: str) -> None:
        """End the license of a local server that is lost."""
        self._asked("POST", f"/local-license-servers/{self._site(name)}/license/deactivate-without-token", {})

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _site(self, called: str) -> str:
        everyone = self._asked("GET", "/local-license-servers")["items"]
        found = [site["id"] for site in everyone if called in (site["id"], site["name"]) and site["licenseActive"]]
        if len(found) != 1:
            names = ", ".join(sorted(site["name"] for site in everyone)) or "none"
            raise CannotDo(f"{len(found)} licensed local servers are called {called}; there are: {names}")
        return str(found[0])

    def _find(self, called: str) -> str:
        found = [one["id"] for one in self._entitlements() if called == one["id"] or called in _names(one)]
        if len(found) != 1:
            raise CannotDo(f"{len(found)} entitlements are called {called}: name one by its id")
        return str(found[0])

    def _entitlements(self) -> list[Json]:
        found: list[Json] = []
        while True:
            query = f"?pageSize={PAGE}&pageNumber={len(found) // PAGE + 1}&expand=customer"
            page = self._asked("GET", f"/entitlements{query}")
            found += page["items"]
            if len(found) >= page["elementsTotal"] or not page["items"]:
                return found

    def _asked(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = self._sent(method, f"/api/v1{path}", **({} if body is None else {"json": body}))
        if answer.is_success:
            return dict(answer.json()) if answer.content else {}
        told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        raise CannotDo(told.get("details") or f"the server answers {answer.status_code}")

    def _sent(self, method: str, path: str, **more: Any) -> httpx2.Response:  # as httpx2 takes a body
        try:
            return self._http.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise Unusable(f"{self._http.base_url} can't be reached: {error}") from error


def _called(entitlement: Json) -> str:
    return f"{_customer(entitlement)}/{entitlement['offeringName'].partition(',')[0]}"


def _names(entitlement: Json) -> tuple[str, str]:
    return _customer(entitlement), _called(entitlement)


def _customer(entitlement: Json) -> str:
    return str((entitlement["group"].get("customer") or {}).get("name", ""))


def _variable(name: str) -> str:
    if (file := os.environ.get(f"{name}_FILE")) is not None:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unusable(f"{name}_FILE: {file} can't be read: {error.strerror or error}") from error
    if not (value := os.environ.get(name)):
        raise Unusable(f"set {name} (or {name}_FILE): what `seatkeeper client create` printed")
    return value
