"""What the thin application leaves to a further one: which requests, with what body, and how they are counted."""

import asyncio
from typing import Any

import pytest

from seatkeeper_server.http import application as module
from seatkeeper_server.http.application import FURTHER_BODY, application
from tests.server_http.front import Client, Reply, served

PATH = "/api/v1/further"


class Further:
    """A further application that answers with how much it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.bodies.append(message["body"])
        await send({"type": "http.response.start", "status": 207, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(message["body"])})


class WithFurther(Client):
    """A client of an application that has a further one."""

    def __init__(self) -> None:
        super().__init__(served())
        self.further = Further()
        self.app = application(self._front, self.health, further=self.further)


@pytest.fixture
def client() -> WithFurther:
    return WithFurther()


def test_a_path_that_is_not_ours_is_left_to_it(client: WithFurther) -> None:
    """With the body that came, whole."""
    reply = client.send("POST", PATH, parts=[b"one ", b"two"])

    assert (reply.status, reply.body, client.further.bodies) == (207, b"7", [b"one two"])


def test_a_path_of_ours_is_not(client: WithFurther) -> None:
    """Nor with a method that it doesn't have: that is 405, from us."""
    replies = [client.send(method, "/api/v1/activate", {}) for method in ("POST", "PUT")]

    assert [reply.status for reply in replies] == [422, 405]
    assert not client.further.bodies


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_request_that_can_have_no_body_has_none(client: WithFurther, method: str) -> None:
    """Whatever is sent with it."""
    assert client.send(method, PATH, parts=[b"x"]).body == b"0"


def test_its_bodies_may_be_larger_but_not_without_bound(client: WithFurther) -> None:
    """1 MiB; more is 413, from us."""
    most, more = (client.send("POST", PATH, parts=[b"x" * size]) for size in (FURTHER_BODY, FURTHER_BODY + 1))

    assert (most.body, more.status, more.json["errorCode"]) == (b"%d" % FURTHER_BODY, 413, "body.tooLarge")


def test_it_is_counted_under_one_name(client: WithFurther) -> None:
    """A label per path asked for would have no bound."""
    for n in range(3):
        client.send("GET", f"{PATH}/{n}")

    assert b'seatkeeper_request_seconds_count{route="further",status="207"} 3.0' in client.metrics.page()


def test_large_bodies_wait_for_their_turn(client: WithFurther, monkeypatch: pytest.MonkeyPatch) -> None:
    """When none comes they are told to come back, unread; small ones need no turn."""
    monkeypatch.setattr(module, "TURN_WITHIN", 0.01)

    async def full() -> tuple[Reply, Reply, Reply]:
        client.app._large = asyncio.Semaphore(0)
        sent = [{}, {"content-length": "70000"}, {"content-length": "7"}]
        return tuple([await client.exchange("POST", PATH, headers) for headers in sent])  # type: ignore[return-value]

    unknown, large, small = asyncio.run(full())

    assert [reply.status for reply in (unknown, large, small)] == [503, 503, 207]
    assert (large.body_read, large.headers["connection"], "retry-after" in large.headers) == (0, "close", True)


def test_without_a_further_one_it_is_404() -> None:
    """As ever."""
    assert Client(served()).send("GET", PATH).status == 404
