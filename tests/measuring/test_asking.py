"""What is asked is what our SDK asks, byte for byte where that can be."""

import re
from collections.abc import Callable

import httpx2
import pytest
from bench.asking import Asking
from bench.house import Sold
from msgspec import json

from seatkeeper._settings import Settings
from seatkeeper._storage import Kept
from seatkeeper._transport import HttpTransport
from seatkeeper._wire import Outgoing

URL = "http://127.0.0.1:6500"
ASKING = Asking(URL, Sold("t_1", "prod_1", "K7QW-XXXX-YYYY"))
VALUES = {"nonce": "N" * 24, "seat": "S" * 24, "token": "act_1.1.mac", "next": "next", "code": "K7QW-ZZZZ-YYYY"}


def filled_in(text: str, **more: str) -> str:
    """Do what wrk's scripts do."""
    for name, value in {**VALUES, **more}.items():
        text = text.replace(f"<<{name}>>", value)
    assert "<<" not in text
    return text


def refresh_sdk(lease: str = "e30.e30.c2ln") -> str:
    """Fill in a refresh that shows a lease."""
    text, length = ASKING.refresh_sdk()
    return filled_in(text, lease=lease, length=str(length + len(lease)))


REQUESTS: dict[str, Callable[[], str]] = {
    "activate": lambda: filled_in(ASKING.activate()),
    "give_back": lambda: filled_in(ASKING.give_back()),
    "refresh": lambda: filled_in(ASKING.refresh()),
    "refresh_sdk": refresh_sdk,
    "checkout": lambda: filled_in(ASKING.checkout()),
    "activate_sdk": lambda: ASKING.activate_sdk("seat-1"),
    "bulk": lambda: ASKING.bulk(["act_1.1.mac", "act_2.1.mac"]),
}


def parts(text: str) -> tuple[str, dict[str, str], str]:
    """Take a request apart: its first line, its headers, its body."""
    head, _, body = text.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("name", REQUESTS)
def test_lengths_are_right_once_filled_in(name: str) -> None:
    """Content-Length is that of the body; a request without a body has none."""
    _, headers, body = parts(REQUESTS[name]())

    assert int(headers.get("Content-Length", 0)) == len(body.encode())


@pytest.mark.parametrize("name", ["refresh_sdk", "checkout"])
def test_a_program_of_its_own_sends_what_the_sdk_sends(name: str) -> None:
    """The same bytes as the SDK's own transport sends for the SDK's own call."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    kept = Kept(access_token=VALUES["token"], nonce=VALUES["next"], last_lease="e30.e30.c2ln")
    calls = ASKING._calls("any")
    call = calls.refresh(kept) if name == "refresh_sdk" else calls.feature("checkout", kept, "render", 1)
    settings = Settings(tenant="t_1", product="prod_1", servers=(URL,), code="code")
    HttpTransport(settings, httpx2.MockTransport(answer)).send(Outgoing(URL, call, 1.0))
    first, headers, body = parts(REQUESTS[name]())

    assert first == f"{seen[0].method} {seen[0].url.path} HTTP/1.1"
    assert headers == {key.decode(): value.decode() for key, value in seen[0].headers.raw}
    assert json.decode(body) == {**json.decode(seen[0].content), "clientNonce": VALUES["nonce"]}


def test_only_the_devices_proof_is_left_out_of_an_activation() -> None:
    """What the promises are measured with says everything else that the SDK says."""
    plain, whole = (json.decode(parts(REQUESTS[name]())[2]) for name in ("activate", "activate_sdk"))

    assert whole.keys() - plain.keys() == {"deviceKey", "deviceProof"}
    assert plain.keys() <= whole.keys()


def test_each_activation_of_a_device_is_another() -> None:
    """Nonces are new each time, so none is taken for a repeat."""
    first, second = (json.decode(parts(ASKING.activate_sdk("seat-1"))[2]) for _ in range(2))

    assert first["clientNonce"] != second["clientNonce"]
    assert first["deviceProof"] != second["deviceProof"]


def test_a_bulk_refresh_names_every_lease() -> None:
    """The body is a list of access tokens."""
    first, _, body = parts(REQUESTS["bulk"]())

    assert first.startswith("POST /api/v1/activations/refresh ")
    assert json.decode(body) == [{"accessToken": "act_1.1.mac"}, {"accessToken": "act_2.1.mac"}]


def test_every_mark_is_one_that_a_script_fills_in() -> None:
    """What stands in << >> is known by name."""
    texts = [ASKING.activate(), ASKING.give_back(), ASKING.refresh(), ASKING.refresh_sdk()[0], ASKING.checkout()]

    assert set(re.findall("<<([a-z]+)>>", "".join(texts))) == {*VALUES, "lease", "length"}
