"""Requests as our SDK makes them: its own code and its HTTP client write them, and wrk fills in what changes.

What stands in `<<…>>` changes from request to request: the program's `token`, `seat` and `code`, the client's `nonce`, and
what only one program knows: `next`, the server's nonce that is to be shown, and `lease`, the last one, with the `length` of
a body that contains it.

`activate`, `refresh` and `give_back` are what the promises are measured with. They leave out what wrk can't make or keep, as
its connections ask for anybody: the device's proof, the server's nonce, the last lease. The others are the SDK's to the last
byte.
"""

from dataclasses import dataclass, replace
from functools import cache

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json, structs

from bench.house import FEATURE, Sold
from seatkeeper._calls import Calls
from seatkeeper._identity import Identity
from seatkeeper._settings import Settings
from seatkeeper._storage import Kept
from seatkeeper._talk import Runtime
from seatkeeper._wire import Call
from seatkeeper.protocol.documents import Holder

BULK_PATH = "/api/v1/activations/refresh"

# Stand-ins for what changes; those in bodies are as long as what takes their place, so that lengths are right.
_NONCE, _SEAT = "n" * 24, "s" * 24
_MARKS = {
    _NONCE: "<<nonce>>",
    _SEAT: "<<seat>>",
    "Bearer TOKEN": "Bearer <<token>>",
    "N-Nonce: NEXT": "N-Nonce: <<next>>",
    '"lastLease":"LEASE"': '"lastLease":"<<lease>>"',
}


@dataclass(frozen=True, slots=True)
class Asking:
    """Writes requests to the server at `url` about what was sold."""

    url: str
    sold: Sold

    def activate(self) -> str:
        """Take a seat; no device vouches for it."""
        call = self._calls(_SEAT).activate(Kept(), {})
        said = {name: value for name, value in json.decode(call.body).items() if name not in ("deviceKey", "deviceProof")}
        plain = structs.replace(call, body=json.encode(said).decode())
        return _marked(self._sent(plain).replace(self.sold.code, "<<code>>"))

    def give_back(self) -> str:
        """Give a seat back; no device vouches for it."""
        return _marked(self._sent(self._calls(_SEAT).deactivate("TOKEN", None)))

    def refresh(self) -> str:
        """Keep a seat."""
        return _marked(self._sent(self._calls(_SEAT).refresh(Kept(access_token="TOKEN"))))

    def bulk(self, tokens: list[str]) -> str:
        """Keep many seats in one call. Our SDK has no such call: the headers are its, the body is the contract's."""
        body = json.encode([{"accessToken": token} for token in tokens]).decode()
        return self._sent(structs.replace(self._calls(_SEAT).refresh(Kept()), body=body), "POST", BULK_PATH)

    def refresh_sdk(self) -> tuple[str, int]:
        """Keep a seat, showing the server's nonce and the last lease; and how long the body is but for the lease."""
        call = self._calls(_SEAT).refresh(Kept(access_token="TOKEN", nonce="NEXT", last_lease="LEASE"))
        length = len(call.body)
        text = _marked(self._sent(call)).replace(f"Content-Length: {length}", "Content-Length: <<length>>")
        return text, length - len("LEASE")

    def checkout(self) -> str:
        """Draw one of a feature, showing the server's nonce."""
        kept = Kept(access_token="TOKEN", nonce="NEXT")
        return _marked(self._sent(self._calls(_SEAT).feature("checkout", kept, FEATURE, 1)))

    def activate_sdk(self, seat: str) -> str:
        """Take a seat, for which the device vouches: nothing is left to be filled in."""
        return self._sent(self._calls(seat, Runtime()).activate(Kept(), {}))

    def _calls(self, seat: str, runtime: Runtime | None = None) -> Calls:
        """Give what makes the SDK's calls for a program."""
        settings = Settings(tenant=self.sold.tenant, product=self.sold.product, servers=(self.url,), code=self.sold.code)
        identity = Identity(seat, f"user@{seat}", Holder(user="user", host=seat, process="solver[4711]"))
        return Calls(settings, identity, runtime or replace(Runtime(), nonce=lambda: _NONCE), _device())

    def _sent(self, call: Call, method: str | None = None, path: str | None = None) -> str:
        """Give what the SDK's HTTP client sends."""
        url = f"{self.url}{path or call.path}"
        request = _client().build_request(method or call.method, url, content=call.body.encode(), headers=call.headers())
        lines = [f"{name.decode()}: {value.decode()}" for name, value in request.headers.raw]
        return "\r\n".join([f"{request.method} {request.url.raw_path.decode()} HTTP/1.1", *lines, "", call.body])


def shown() -> dict[str, str]:
    """Give requests as they are shown to readers, with words in place of ids."""
    asking = Asking("http://127.0.0.1:6500", Sold("TENANT", "PRODUCT", "ACTIVATION-CODE"))
    written = {"refresh": asking.refresh(), "refusal": asking.activate(), "activate-sdk": asking.activate_sdk("SEAT")}
    return {name: text.replace("\r", "") for name, text in written.items()}


def _marked(text: str) -> str:
    for what, mark in _MARKS.items():
        text = text.replace(what, mark)
    return text


@cache
def _device() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@cache
def _client() -> httpx2.Client:
    return httpx2.Client()
