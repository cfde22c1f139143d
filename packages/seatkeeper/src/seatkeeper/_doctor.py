"""`seat doctor`: walk the way to a seat hop by hop, and say which one fails and what to do about it.

Takes no seat and changes nothing. The hops: settings; borrowed, for each seat that this device has taken home; then for each
server name, proxy, tcp, tls, tenant, key, clock, code. After a hop that fails, the ones that depend on it are left out.
"""

import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct, json

from seatkeeper import _clock
from seatkeeper._belief import Belief
from seatkeeper._borrowed import Borrowings, Record
from seatkeeper._calls import compact
from seatkeeper._settings import Given, Settings, find_settings
from seatkeeper._storage import stored_device_key
from seatkeeper._tls import hint_for, speaks_tls
from seatkeeper._transport import tls_context
from seatkeeper.errors import BorrowedSeatUnusable, BorrowEnded, ConfigurationError, local_time
from seatkeeper.protocol.codes import last_four
from seatkeeper.protocol.documents import UNREADABLE, ErrorBody, KeysAnswer, StatusAnswer, StatusRequest
from seatkeeper.protocol.envelopes import EnvelopeError, public_key_text
from seatkeeper.protocol.trust import Trust

PATIENCE: Final = 5.0  # seconds for each hop
CLOCK_TOLERANCE: Final = 120.0  # seconds; leases are counted by elapsed time, TLS and tokens are not


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hop: fine, failing, or (None) not on the way."""

    hop: str
    ok: bool | None
    says: str
    todo: str = ""
    exit_code: int = 0

    def line(self) -> str:
        """Give it as one line for people."""
        mark = {True: "✓", False: "✗", None: "–"}[self.ok]
        return f"{mark} {self.hop:<9}{self.says.rstrip('.')}" + (f". {self.todo}" if self.todo else "")


def examine(given: Given) -> list[Finding]:
    """Walk all hops and give what was found, in order."""
    try:
        settings = find_settings(given)
        tls_context(settings)
    except ConfigurationError as error:
        return [_bad("settings", str(error), "", 78)]
    told = f"tenant {settings.tenant}, product {settings.product}, code …{last_four(settings.code)}, public key given"
    findings = [_good("settings", told)]
    findings += _borrowed(settings)
    for server in settings.servers:
        findings += _Walk(settings, server).findings()
    return findings


# --- what was taken home -------------------------------------------------------------------------------------------


def _borrowed(settings: Settings) -> list[Finding]:
    """Examine the seats of this product that were borrowed here, as a program does that starts on one."""
    device = stored_device_key() or Ed25519PrivateKey.generate()  # without its key nothing here is this device's
    borrowings = Borrowings(tenant=settings.tenant, product=settings.product, device=device)
    return [_borrowed_seat(settings, borrowings, record, device) for _, record in sorted(borrowings.records.items())]


def _borrowed_seat(settings: Settings, borrowings: Borrowings, record: Record, device: Ed25519PrivateKey) -> Finding:
    key, now = public_key_text(device.public_key()), _clock.now()
    belief = Belief(settings, seat_id=record.seat_id, device_key=key, stored_lease=None)
    try:
        borrowings.require_own(record)
        length = belief.borrowed(record.lease, record.certificate, nonce=record.nonce)
        left = length - borrowings.elapsed(record, length, now)
    except BorrowEnded as error:  # no fault where a server answers, and the hops there say whether one does
        return Finding(hop="borrowed", ok=None, says=f"{settings.product}: {error}")
    except BorrowedSeatUnusable as error:
        return _bad("borrowed", f"{settings.product}: {error}", "", 77)
    told = f"{settings.product} is borrowed until {local_time(now.later(left).moment)}, on this device only"
    return _good("borrowed", f"{told}; no server is needed till then")


# --- the way to a server -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Proxy:
    """What stands between us and the server, if anything."""

    url: str | None
    variable: str | None

    @property
    def hop(self) -> SplitResult | None:
        return None if self.url is None else urlsplit(self.url if "://" in self.url else f"http://{self.url}")


class _Walk:
    """The way to one server."""

    def __init__(self, settings: Settings, server: str) -> None:
        self._settings = settings
        self._server = server
        self._parts = urlsplit(server)
        self._proxy = _proxy_for(self._parts)

    def findings(self) -> list[Finding]:
        """Walk until a hop fails that others stand on."""
        found: list[Finding] = []
        for hop in (self._name, self._way, self._tcp, self._tls, self._service):
            found += hop()
            if any(finding.ok is False and finding.exit_code == 69 for finding in found):
                break
        return found

    @property
    def _next_hop(self) -> tuple[str, int]:
        """Where the first connection goes: to the proxy, or to the server itself."""
        parts = self._proxy.hop or self._parts
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def _name(self) -> list[Finding]:
        host, port = self._next_hop
        try:
            addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        except OSError as error:
            return [_bad("name", f"{host} has no address ({error})", "Check the spelling, the VPN and the name server", 69)]
        return [_good("name", f"{host} is {', '.join(addresses[:3])}")]

    def _way(self) -> list[Finding]:
        if self._proxy.url is None:
            return [Finding(hop="proxy", ok=None, says="none on the way")]
        return [_good("proxy", f"{self._proxy.url} ({self._proxy.variable}); exempt a server with NO_PROXY")]

    def _tcp(self) -> list[Finding]:
        host, port = self._next_hop
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
        except OSError as error:
            todo = "Is the server running, and the port open in every firewall between?"
            return [_bad("tcp", f"no connection to {host}:{port} ({error})", todo, 69)]
        return [_good("tcp", f"{host}:{port} accepts connections")]

    def _tls(self) -> list[Finding]:
        if self._parts.scheme != "https":
            return [Finding(hop="tls", ok=None, says="not used (http); leases are signed, the code is not hidden")]
        if self._proxy.url is not None:
            return [Finding(hop="tls", ok=None, says="goes through the proxy; see the next hops")]
        context = tls_context(self._settings)
        context = context if isinstance(context, ssl.SSLContext) else httpx2.create_ssl_context()
        try:
            with (
                socket.create_connection(self._next_hop, timeout=PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=self._parts.hostname) as secure,
            ):
                return [_good("tls", f"{secure.version()}, certificate trusted")]
        except OSError as error:
            return [_bad("tls", f"refused ({error})", _sentence(hint_for(error, self._server, hung_up=True)), 69)]

    def _service(self) -> list[Finding]:
        with httpx2.Client(verify=tls_context(self._settings), trust_env=True, timeout=PATIENCE) as client:
            try:
                keys = client.get(self._server + "/.well-known/seatkeeper/keys", headers={"N-TenantId": self._settings.tenant})
                body = StatusRequest(product_id=self._settings.product, activation_code=self._settings.code)
                status = client.post(
                    self._server + "/api/v1/status",
                    content=compact(body),
                    headers={"N-TenantId": self._settings.tenant, "Content-Type": "application/json"},
                )
            except httpx2.HTTPError as error:
                return [self._no_answer(error)]
        return [*self._tenant_and_key(keys), self._clock(keys), self._code(status, is_known=_is_known_tenant(keys))]

    def _no_answer(self, error: httpx2.HTTPError) -> Finding:
        said = f"no answer ({str(error) or type(error).__name__})"
        if self._parts.scheme == "https":
            hint = hint_for(error, self._server, hung_up=True)
        else:
            is_tls = self._proxy.url is None and speaks_tls(*self._next_hop, patience=PATIENCE)
            hint = "The server speaks TLS: write https:// in SEATKEEPER_SERVER" if is_tls else None
        return _bad("http", said, _sentence(hint) or "Ask the server's or the proxy's administrator", 69)

    def _tenant_and_key(self, reply: httpx2.Response) -> Iterator[Finding]:
        try:
            answer = json.decode(reply.content, type=KeysAnswer)
        except UNREADABLE:
            is_told = reply.status_code in {401, 404}
            said = f"{self._settings.tenant} is not known here" if is_told else f"{self._settings.tenant}: {_said(reply)}"
            yield _bad("tenant", said, "Check SEATKEEPER_TENANT, and that SEATKEEPER_SERVER is this vendor's server", 77)
            return
        yield _good("tenant", f"{answer.tenant_id} is known here")
        yield self._key(answer)

    def _key(self, answer: KeysAnswer) -> Finding:
        """Check the chain with the pinned key; what the server says its root is, is only for the message."""
        trust, pinned = Trust(self._settings.roots), [public_key_text(root) for root in self._settings.roots]
        for token in answer.certificates:
            try:
                certificate = trust.certificate(token)
            except EnvelopeError:
                continue
            return _good("key", f"the pinned key certified this server's signing key {certificate.kid}")
        todo = "Take SEATKEEPER_PUBLIC_KEY from the vendor, never from the server; if it is right, don't trust this server"
        return _bad("key", f"pinned {', '.join(pinned)}, but the server's root is {answer.public_key}", todo, 76)

    def _clock(self, reply: httpx2.Response) -> Finding:
        try:
            there = parsedate_to_datetime(reply.headers["date"])
        except (KeyError, ValueError):
            return Finding(hop="clock", ok=None, says="the server doesn't tell its time")
        off = (datetime.now(UTC) - there).total_seconds()
        if abs(off) > CLOCK_TOLERANCE:
            return _bad("clock", f"this machine is {off:+.0f} s off the server's time", "Set both clocks by a time server", 78)
        return _good("clock", "agrees with the server's")

    def _code(self, reply: httpx2.Response, *, is_known: bool) -> Finding:
        if not is_known:
            return Finding(hop="code", ok=None, says="can't be checked before the tenant is right")
        try:
            answer = json.decode(reply.content, type=StatusAnswer)
        except UNREADABLE:
            return _bad(
                "code", f"…{last_four(self._settings.code)}: {_said(reply)}", "Check SEATKEEPER_CODE and SEATKEEPER_PRODUCT", 77
            )
        if answer.status not in {"active", "gracePeriod"}:
            return _bad("code", f"the entitlement is {answer.status}", "Ask the vendor", 77)
        return _good("code", f"{answer.product_name}: {answer.used} of {answer.seats} seats taken")


def _proxy_for(parts: SplitResult) -> _Proxy:
    """Find the proxy as httpx2 will: from the environment or the system's settings."""
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(host):
        return _Proxy(None, None)
    for key in (parts.scheme, "all"):
        if proxies.get(key):
            return _Proxy(proxies[key], f"{key.upper()}_PROXY")
    return _Proxy(None, None)


def _is_known_tenant(reply: httpx2.Response) -> bool:
    try:
        json.decode(reply.content, type=KeysAnswer)
    except UNREADABLE:
        return False
    return True


def _sentence(hint: str | None) -> str:
    return hint[:1].upper() + hint[1:] if hint else ""


def _said(reply: httpx2.Response) -> str:
    try:
        return json.decode(reply.content, type=ErrorBody).details
    except UNREADABLE:
        return f"answered {reply.status_code}, but not as a license server does"


def _good(hop: str, says: str) -> Finding:
    return Finding(hop=hop, ok=True, says=says)


def _bad(hop: str, says: str, todo: str, exit_code: int) -> Finding:
    return Finding(hop=hop, ok=False, says=says, todo=todo, exit_code=exit_code)
