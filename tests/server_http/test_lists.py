"""Many refreshes in one call: what reaches the desk, what becomes of what the desk says, and what such a call may cost."""

import asyncio
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from seatkeeper_server.http import application, problems
from seatkeeper_server.service.calls import Call, Done, HeldCall, Outcome, Verb
from seatkeeper_server.service.desk import Closed, Overloaded
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
from tests.server_http.front import ACTIVATION, ADDRESS, CLIENT_NONCE, TENANT, Client, Reply, a_holding, refused, served

PATH = "/api/v1/activations/refresh"
KEY = "k" * 22

Item = dict[str, Any]
Says = Outcome | Exception


def item(client: Client, number: int = 0, **more: Any) -> Item:
    """One item of a list; `number` tells seats apart."""
    return {"accessToken": client.keys.access_token(f"{ACTIVATION[:-3]}{number:03}", 3), "clientNonce": CLIENT_NONCE, **more}


def send(client: Client, *items: object, **headers: str) -> Reply:
    return client.send("POST", PATH, list(items), {name.replace("_", "-"): value for name, value in headers.items()})


def results(reply: Reply) -> list[Item]:
    assert reply.status == 200, reply.json
    found: list[Item] = reply.json["results"]
    return found


def number_of(call: Call) -> int:
    assert isinstance(call, HeldCall)
    return int(call.token.activation_id[-3:])


def about(call: Call) -> Outcome:
    """What the desk says of a seat: that one was served."""
    assert isinstance(call, HeldCall)
    return served(holding=a_holding(activation_id=call.token.activation_id))


def except_for(said: dict[int, Says]) -> Callable[[Call], Any]:
    """Say this of some seats, by their number, and of all others that they were served."""
    return lambda call: said.get(number_of(call)) or about(call)


# --- what reaches the desk -----------------------------------------------------------------------------------------


def test_each_item_is_asked_like_a_refresh_of_its_own() -> None:
    """Its own token, nonce and last lease, in the list's order."""
    client = Client(about)
    send(client, item(client, 1, nonce="n-1"), item(client, 2, lastLease="a.b.c", clientNonce=None))
    first, second = client.desk.calls

    assert isinstance(first, HeldCall)
    assert isinstance(second, HeldCall)
    assert {(call.verb, call.tenant_id, call.token.generation) for call in (first, second)} == {(Verb.REFRESH, TENANT, 3)}
    assert (number_of(first), first.nonce, first.last_lease, first.key) == (1, "n-1", None, None)
    assert (number_of(second), second.nonce, second.last_lease, second.fingerprint) == (2, None, "a.b.c", None)


def test_what_tells_an_item_apart_are_method_path_and_its_own_bytes() -> None:
    """Not the list around it, nor its place there."""
    client = Client(about)
    text = json.dumps(item(client))
    for body in (f"[{text}]", f"[{{}} ,\n{text} , {{}}]"):
        client.send("POST", PATH, parts=[body.encode()])
    expected = sha256(f"POST {PATH}\0{text}".encode()).digest()

    assert [call.fingerprint for call in client.desk.calls if isinstance(call, HeldCall)] == [expected] * 2


def test_a_key_of_the_call_is_kept_apart_for_each_seat() -> None:
    """One `Idempotency-Key`, as many scopes as seats; the body under it is the item."""
    client = Client(about)
    items = [item(client, 1), item(client, 2)]
    send(client, *items, idempotency_key=KEY)
    send(client, items[1], idempotency_key=KEY)
    one, two, again = [call.key for call in client.desk.calls if isinstance(call, HeldCall)]

    assert one is not None
    assert two is not None
    assert one.key == two.key
    assert one.scope != two.scope
    assert two == again


def test_a_key_of_another_form_is_refused_as_a_whole() -> None:
    """It is the call's, not an item's."""
    client = Client(about)
    reply = send(client, item(client), idempotency_key="short")

    assert (reply.status, reply.json["validationErrors"][0]["propertyName"]) == (422, "Idempotency-Key")
    assert client.desk.calls == []


def test_what_is_wrong_with_an_item_never_reaches_the_desk() -> None:
    """A token that nobody made is refused before any database work, as ever."""
    client = Client(about)
    send(client, {"accessToken": "a" * 300}, item(client, 5), {"accessToken": 5}, item(client, clientNonce="!"))

    assert [number_of(call) for call in client.desk.calls] == [5]


def test_the_calls_own_bearer_token_and_nonce_say_nothing() -> None:
    """Who asks for a seat is in its item."""
    client = Client(about)
    send(client, {}, item(client, 1), authorization=f"Bearer {client.token}", n_nonce="n-9")
    (call,) = client.desk.calls

    assert isinstance(call, HeldCall)
    assert call.nonce is None


# --- what the desk says --------------------------------------------------------------------------------------------


def test_each_outcome_has_its_own_result() -> None:
    """Served, refused with an explanation, refused by a code, failed: side by side."""
    client = Client(except_for({2: refused("policy.refused", rule="excluded"), 3: StorageFull("/secret"), 4: Closed()}))
    items = [item(client, number) for number in (1, 2, 3, 4)]
    one, two, three, four = results(send(client, *items))

    assert (one["status"], one["activation"]["id"][-3:]) == (200, "001")
    assert one["accessToken"] == items[0]["accessToken"]
    assert (two["status"], two["errorCode"], two["denial"]["rule"]) == (402, "policy.refused", "excluded")
    assert (three["status"], three["errorCode"], three["retryAfter"]) == (503, "storage.full", 1)
    assert (four["status"], four["errorCode"], four["retryAfter"]) == (503, "storage.unavailable", 1)


def test_the_next_nonce_is_told_to_who_showed_one() -> None:
    """And to nobody else: a copy with a stolen token could read it."""
    client = Client(about)
    with_nonce, without = results(send(client, item(client, 1, nonce="nonce-1"), item(client, 2)))

    assert with_nonce["nonce"] == "nonce-2"
    assert "nonce" not in without


def test_only_items_that_read_trees_are_in_one() -> None:
    """Each says so for itself."""
    client, tree = Client(about), {"leaseTypes": ["tree"]}
    found = results(send(client, item(client, 1, **tree), item(client, 2), item(client, 3, **tree)))

    assert [len(result["lease"].split(".")) for result in found] == [4, 3, 4]


@pytest.mark.parametrize("bug", [ZeroDivisionError("/secret"), Done()])
def test_a_bug_over_one_item_spoils_no_other(bug: Says) -> None:
    """What the desk must never say is that item's trouble."""
    client = Client(except_for({1: bug}))
    one, two = results(send(client, item(client, 1), item(client, 2)))

    assert (one["status"], one["errorCode"], two["status"]) == (503, "storage.unavailable", 200)


def test_the_same_trouble_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full must not be filled by the log of a thousand items."""
    told: list[str] = []
    log = SimpleNamespace(error=lambda event, **why: told.append(event))
    monkeypatch.setattr(problems, "log", log)
    client = Client(except_for({number: StorageFull("no room") for number in range(1, 100)}))
    results(send(client, *(item(client, number) for number in range(100))))

    assert told == ["storage.full"]


@pytest.mark.parametrize(
    ("error", "code"), [(StorageFull("x"), "storage.full"), (StorageUnavailable("x"), "storage.unavailable")]
)
def test_if_nothing_was_decided_the_call_fails_as_a_whole(error: Exception, code: str) -> None:
    """503 with Retry-After, and the server is not ready."""
    client = Client(error)
    reply = send(client, item(client, 1), item(client, 2))

    assert (reply.status, reply.json["errorCode"], reply.headers["retry-after"]) == (503, code, "1")
    assert client.health.trouble is not None


def test_a_full_desk_takes_nothing_of_a_list() -> None:
    """Not even the first: 503 as a whole."""

    class Full:
        def submit(self, call: Call, on_result: Callable[[Says], None]) -> None:
            raise Overloaded

    client = Client(about, desk=Full())
    reply = send(client, item(client, 1), item(client, 2))

    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_what_a_desk_that_fills_up_did_not_take_is_told_item_by_item() -> None:
    """Those before it were decided."""

    class Filling:
        taken = 0

        def submit(self, call: Call, on_result: Callable[[Says], None]) -> None:
            self.taken += 1
            if self.taken > 2:
                raise Overloaded
            asyncio.get_running_loop().call_soon(on_result, about(call))

    client = Client(about, desk=Filling())
    found = results(send(client, *(item(client, number) for number in range(4))))

    assert [result["status"] for result in found] == [200, 200, 503, 503]


def test_a_list_counts_as_one_request_and_each_refusal_by_its_rule() -> None:
    """The metrics know the route; a list of ten refusals is ten refusals."""
    client = Client(except_for({1: refused("policy.refused", rule="excluded"), 2: refused("policy.refused", rule="excluded")}))
    results(send(client, *(item(client, number) for number in range(3))))
    page = client.metrics.page().decode()

    assert f'seatkeeper_request_seconds_count{{route="POST {PATH}",status="200"}} 1.0' in page
    assert 'seatkeeper_refusals_total{rule="excluded"} 2.0' in page


# --- what such a call may cost -------------------------------------------------------------------------------------


def test_a_body_of_a_million_parts_is_not_taken_apart() -> None:
    """It is refused before much is made of it: each part would cost a hundred times its bytes."""
    client = Client(about)
    body = b"[" + b"1," * 500_000 + b"1]"
    tracemalloc.start()
    try:
        reply = client.send("POST", PATH, parts=[body])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (reply.status, reply.json["errorCode"], client.desk.calls) == (422, "validation", [])
    assert most < 8 * len(body)


def test_a_large_answer_is_sent_in_parts() -> None:
    """Each waits until the client has taken those before it."""
    client = Client(about)
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps([item(client, number) for number in range(600)]).encode()}

    async def send_part(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "client": (ADDRESS, 1)}
    asyncio.run(client.app({**scope, "headers": [(b"n-tenantid", TENANT.encode())]}, receive, send_part))
    start, *parts = sent

    assert int(dict(start["headers"])[b"content-length"]) == sum(len(part["body"]) for part in parts) > 300_000
    assert max(len(part["body"]) for part in parts) <= application.PART
    assert [part.get("more_body", False) for part in parts] == [*[True] * (len(parts) - 1), False]


class Gateways:
    """Calls whose bodies don't arrive until they are let."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reading = 0
        self.statuses: list[int] = []
        self._let = asyncio.Event()
        self.calls: list[asyncio.Task[None]] = []

    async def begin(self, count: int) -> None:
        """Let so many call, and go as far as they can."""
        self.calls += [asyncio.ensure_future(self._call()) for _ in range(count)]
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Let their bodies arrive."""
        self._let.set()
        await asyncio.gather(*self.calls)

    async def _call(self) -> None:
        async def receive() -> dict[str, Any]:
            self.reading += 1
            await self._let.wait()
            return {"type": "http.request", "body": json.dumps([item(self.client)]).encode()}

        self.statuses.append(await status_of(self.client, "POST", PATH, receive))


async def status_of(
    client: Client, method: str, path: str, receive: Callable[[], Awaitable[dict[str, Any]]], **headers: str
) -> int:
    """Send a call of whose body more is known to the caller, and give the status of its answer."""
    statuses = []

    async def send_part(message: Any) -> None:
        statuses.append(message.get("status"))

    given = {"n-tenantid": TENANT, **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": (ADDRESS, 1),
    }
    await client.app(scope, receive, send_part)
    return int(statuses[0])


async def test_only_so_many_lists_are_read_at_once() -> None:
    """The others wait for their turn, so that their bodies don't fill the memory; all are answered."""
    gateways = Gateways(Client(about))
    await gateways.begin(application.MOST_LARGE + 3)
    reading = gateways.reading
    await gateways.end()

    assert reading == application.MOST_LARGE
    assert gateways.statuses == [200] * (application.MOST_LARGE + 3)


async def test_who_waits_too_long_for_his_turn_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """503; nothing of it was read."""
    gateways = Gateways(Client(about))
    await gateways.begin(application.MOST_LARGE)
    monkeypatch.setattr(application, "TURN_WITHIN", 0.01)
    await gateways.begin(2)
    await asyncio.wait(gateways.calls[-2:])
    late, reading = list(gateways.statuses), gateways.reading
    await gateways.end()

    assert late == [503, 503]
    assert reading == application.MOST_LARGE
    assert gateways.statuses[2:] == [200] * application.MOST_LARGE


async def test_other_calls_wait_for_no_list() -> None:
    """A seat alone is refreshed while all turns are taken."""
    client = Client(about)
    gateways = Gateways(client)
    await gateways.begin(application.MOST_LARGE + 1)

    async def empty() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    bearer = f"Bearer {client.token}"
    status, lists = (
        await status_of(client, "PATCH", "/api/v1/activation/refresh", empty, authorization=bearer),
        gateways.statuses,
    )
    assert (status, lists) == (200, [])
    await gateways.end()
