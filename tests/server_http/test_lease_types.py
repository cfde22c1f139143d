"""Which type of lease an answer carries: one signed alone, unless the program says that it reads others too."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from seatkeeper_server.service.calls import Call, Outcome
from tests.server_http.front import CLIENT_NONCE, CODE, PRODUCT, TENANT, Client, served

ACTIVATION = {
    "productId": PRODUCT,
    "seatId": "ada@ws/0",
    "activationCredentials": {"type": "activationCode", "code": CODE},
    "clientNonce": CLIENT_NONCE,
}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/v1/activate", ACTIVATION),
    ("PATCH", "/api/v1/activation/refresh", {"clientNonce": CLIENT_NONCE}),
    ("PATCH", "/api/v1/activation/features/checkout", {"clientNonce": CLIENT_NONCE, "key": "render", "amount": 1}),
    ("PATCH", "/api/v1/activation/features/return", {"clientNonce": CLIENT_NONCE, "key": "render", "amount": 1}),
]
REFRESH = CALLS[1]
TREE = {"leaseTypes": ["tree"]}


class Desk:
    """Answers when so many have asked, all at once, as the real one does."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._answers: list[Callable[[Outcome | Exception], None]] = []

    def submit(self, call: Call, on_result: Callable[[Outcome | Exception], None]) -> None:
        """Wait for the others."""
        self._answers.append(on_result)
        self._missing -= 1
        if self._missing == 0:
            asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        for each in self._answers:
            each(served())


def leases(*calls: tuple[str, str, dict[str, Any]]) -> list[str]:
    """Send calls that are decided together; the leases of their answers."""
    client = Client(served(), desk=Desk(len(calls)))
    headers = {"N-TenantId": TENANT, "Authorization": f"Bearer {client.token}", "N-Nonce": "nonce-1"}

    async def sent() -> list[str]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=client.app), base_url="http://front") as http:
            answers = await asyncio.gather(*(http.request(m, path, json=body, headers=headers) for m, path, body in calls))
        return [answer.json()["lease"] for answer in answers]

    found = asyncio.run(sent())
    assert all(client.keyring.recognise(TENANT, lease) for lease in found)
    return found


def with_body(call: tuple[str, str, dict[str, Any]], **more: Any) -> tuple[str, str, dict[str, Any]]:
    """Give a call with fields added; one set to `...` is left out."""
    method, path, body = call
    return method, path, {name: value for name, value in {**body, **more}.items() if value is not ...}


def parts(found: list[str]) -> list[int]:
    """Count the parts of each lease: three of one signed alone, four of one in a tree."""
    return [len(lease.split(".")) for lease in found]


@pytest.mark.parametrize("call", CALLS, ids=[path.rpartition("/")[2] for _, path, _ in CALLS])
def test_programs_that_say_so_get_leases_in_trees(call: tuple[str, str, dict[str, Any]]) -> None:
    """`leaseTypes: ["tree"]` on activate, refresh, checkout and return."""
    assert parts(leases(*[with_body(call, **TREE)] * 3)) == [4, 4, 4]


@pytest.mark.parametrize("call", CALLS, ids=[path.rpartition("/")[2] for _, path, _ in CALLS])
def test_programs_that_say_nothing_get_what_they_always_got(call: tuple[str, str, dict[str, Any]]) -> None:
    """However many ask at once, and whoever else does."""
    assert parts(leases(call, call, with_body(call, **TREE), with_body(call, **TREE), call)) == [3, 3, 4, 4, 3]


@pytest.mark.parametrize(("types", "expected"), [([], 3), (["forest"], 3), (["forest", "tree"], 4), (["Tree"], 3)])
def test_types_that_nobody_knows_are_passed_over(types: list[str], expected: int) -> None:
    """A newer program may know more of them."""
    assert parts(leases(*[with_body(REFRESH, leaseTypes=types)] * 2)) == [expected] * 2


def test_a_lease_that_repeats_no_nonce_is_in_no_tree() -> None:
    """Its text could be guessed by who shares the tree."""
    assert parts(leases(*[with_body(REFRESH, clientNonce=..., **TREE)] * 2)) == [3, 3]


def test_who_asks_alone_gets_a_lease_signed_alone() -> None:
    """A program that reads trees reads these too."""
    assert parts(leases(with_body(REFRESH, **TREE))) == [3]


@pytest.mark.parametrize("types", ["tree", [7], ["x" * 51], ["tree"] * 11])
def test_types_of_another_form_are_refused(types: object) -> None:
    """A list of at most ten short texts."""
    reply = Client(served()).held(*REFRESH[:2], {**REFRESH[2], "leaseTypes": types})

    assert (reply.status, reply.json["errorCode"]) == (422, "validation")


def test_who_shows_a_lease_in_a_tree_needs_no_certificate() -> None:
    """It was signed by the current key, whose certificate the program has."""
    client = Client(served())
    shown, _ = leases(*[with_body(REFRESH, **TREE)] * 2)

    assert "certificate" not in client.held(*REFRESH[:2], {**REFRESH[2], "lastLease": shown}).json
