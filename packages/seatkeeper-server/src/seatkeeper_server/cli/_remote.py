"""A vendor's server at a distance: what `seatkeeper site` and `token apply` do beside its data, done by the Management API.

The API client's id and secret come from the environment (SEATKEEPER_CLIENT_ID, SEATKEEPER_CLIENT_SECRET or …_FILE), so that no
secret stands in a list of processes. What the server refuses is told in its own words.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
from cyclopts import Parameter

from seatkeeper_server import tokens
from seatkeeper_server.cli._failures import Unusable
from seatkeeper_server.cli._output import json_moment
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import Applied, readable
from seatkeeper_server.settings import LOOPBACK

TIMEOUT: Final = 30.0  # seconds
PAGE: Final = 100

Json = dict[str, Any]  # what a server answers
Result = TypeVar("Result")

Server = Annotated[
    str | None,
    Parameter(
        env_var="SEATKEEPER_VENDOR_SERVER",
        help="Do it on this server of the vendor's, as an API client: SEATKEEPER_CLIENT_ID, SEATKEEPER_CLIENT_SECRET.",
        show_default=False,
    ),
]


class Refused(CannotDo):
    """The server at a distance has refused what was asked of it; `problem` is the code it gave."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(text)
        self.problem = problem


def either(server: str | None, tenant: str | None, *, near: Callable[[], Result], far: "Callable[[Remote], Result]") -> Result:
    """Do something beside the data, or, where a server is named, there."""
    if server is None:
        return near()
    with closing(Remote(server, tenant)) as vendor:
        return far(vendor)


class Remote:
    """A vendor's server, as one of his API clients."""

    def __init__(self, url: str, tenant: str | None) -> None:
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise Unusable(f"server: write https://HOST[:PORT], not {url}")
        if place.scheme == "http" and place.hostname not in LOOPBACK:
            raise Unusable(f"server: {url} is without TLS, and the client's secret would be read on its way: use https")
        if not tenant:
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
        said = self._read(answer)
        if answer.status_code != httpx2.codes.OK:
            raise CannotDo(f"the server does not know this API client: {said.get('error', answer.status_code)}")
        return str(said["access_token"])

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

    def fresh(self, called: str, to: str | None) -> str:
        """Give a fresh token of what is lent, to this local server where there are several."""
        which = "" if to is None else f"?localLicenseServerId={self._site(to)}"
        return str(self._asked("POST", f"/entitlements/{self._find(called)}/export/token{which}", {})["token"])

    def back(self, called: str, from_: str | None) -> None:
        """Take back what has run out, of this local server where there are several."""
        which = {} if from_ is None else {"localLicenseServerId": self._site(from_)}
        self._asked("POST", f"/entitlements/{self._find(called)}/import", {"importWithoutToken": True, **which})

    def renew(self, name: str) -> str:
        """Renew a local server's license; the token to carry there."""
        return str(self._asked("PATCH", f"/local-license-servers/{self._site(name)}/license/refresh")["token"])

    def forget(self, name: str) -> None:
        """End the license of a local server that is lost."""
        self._asked("POST", f"/local-license-servers/{self._site(name)}/license/deactivate-without-token", {})

    # --- what sites send -------------------------------------------------------------------------------------------

    def apply(self, token: str) -> Applied:
        """Apply a document that a local server has sent.

        Only the vendor's server can read it. So it is shown to one operation after the other, each of which takes one kind, and
        leaves what is of another kind as it was.

        Raises:
            CannotDo: it is none, or can't be applied there; nothing was changed.
        """
        readable(lambda: tokens.receiver_of(token))
        if tokens.is_request(token):
            answer = self._asked("POST", "/local-license-servers/license/activate", {"token": token})
            return Applied("license-request", "the local server is licensed", str(answer["token"]))
        for take in (self._take_report, self._take_license_back):
            with suppress(_OtherKind):
                return take(token)
        return self._take_share_back(token)

    def _take_report(self, token: str) -> Applied:
        answer = self._shown("/local-license-servers/usage-report", token, other="offline.wrongKind")
        return Applied(str(answer["kind"]), str(answer["text"]), answer["token"])

    def _take_license_back(self, token: str) -> Applied:
        self._shown("/local-license-servers/license/deactivate", token, other="offline.wrongKind")
        return Applied("license-end", "the local server has given its license back")

    def _take_share_back(self, token: str) -> Applied:
        """Take a share back, of whichever entitlement it is; if of none that is lent, any will say what is wrong."""
        everything = self._entitlements()
        lent = [one for one in everything if self._asked("GET", f"/entitlements/{one['id']}/shares")["items"]]
        for entitlement in lent:
            with suppress(_OtherKind):
                self._shown(f"/entitlements/{entitlement['id']}/import", token, other="offline.wrongServer")
                return Applied("removal", f"{_called(entitlement)} was given back")
        if not everything:
            raise CannotDo("nothing has been sold there: this token is for another vendor's server")
        self._asked("POST", f"/entitlements/{everything[0]['id']}/import", {"token": token})
        return Applied("removal", f"{_called(everything[0])} was given back")

    def _shown(self, path: str, token: str, *, other: str) -> Json:
        """Show a token to an operation; `other` is the code by which that says that the token is not for it."""
        try:
            return self._asked("POST", path, {"token": token})
        except Refused as refused:
            raise (_OtherKind(refused) if refused.problem == other else refused) from refused

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
        said = self._read(answer) if answer.content else {}
        if answer.is_success:
            return said
        raise Refused(said.get("details") or f"the server answers {answer.status_code}", said.get("errorCode", ""))

    def _read(self, answer: httpx2.Response) -> Json:
        try:
            return dict(answer.json())
        except (ValueError, TypeError) as error:
            what = f"it answers {answer.status_code}, but not as Seatkeeper does"
            raise Unusable(f"{self._http.base_url} is no server of the vendor's: {what}") from error

    def _sent(self, method: str, path: str, **more: Any) -> httpx2.Response:  # as httpx2 takes a body
        try:
            return self._http.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise Unusable(f"{self._http.base_url} can't be reached: {error}") from error


class _OtherKind(Exception):
    """This token is for another operation."""


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
