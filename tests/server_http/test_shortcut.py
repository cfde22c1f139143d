"""The shortcut through uvicorn: who takes it, and that nobody can tell by the answer."""

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest

from seatkeeper_server.apps.shortcut import ShortcutHttp
from seatkeeper_server.http.application import Application
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.messages import CLOSE, Answer
from seatkeeper_server.http.metrics import Metrics
from seatkeeper_server.settings import Settings
from tests.server_http.running import PATIENCE, running


async def echo(request):
    """Answer with what was asked."""
    said = [request.method, request.path, request.tenant_id, request.address, request.body.decode()]
    return Answer(200, json.dumps(said).encode(), [(b"content-type", b"application/json")])


async def nothing(request):
    """Answer without a body."""
    return Answer(204)


async def last(request):
    """Answer, and close."""
    return Answer(200, b"bye", [CLOSE])


ROUTES = {"/echo": {"POST": echo, "GET": echo, "HEAD": echo}, "/nothing": {"DELETE": nothing}, "/last": {"GET": last}}


@pytest.fixture
def taken(monkeypatch):
    """The bodies of the requests that took the shortcut."""
    bodies = []
    begin = ShortcutHttp._begin

    def noted(self, body):
        bodies.append(body)
        begin(self, body)

    monkeypatch.setattr(ShortcutHttp, "_begin", noted)
    return bodies


@contextmanager
def serving(routes=ROUTES, protocol=ShortcutHttp, **settings):
    """A server with these routes."""
    app = Application(routes, metrics=Metrics(list, most_pools=1), health=Health())
    with running(app, Settings(port=0, **settings), protocol=protocol) as server:
        yield server


def request(method, path, body=b"", version="1.1", close=False, **headers):
    """A request as it crosses the wire."""
    given = {"host": "x", "n-tenantid": "t_1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body:
        given["content-length"] = str(len(body))
    if close:
        given["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def exchange(port, *parts, between=0.0):
    """Send raw bytes, part by part; give everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
            time.sleep(between)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def test_a_whole_request_takes_the_shortcut(taken):
    """Head and body in one piece: answered with the same status line, headers and body as ever."""
    with serving() as server:
        answer = exchange(server.port, request("POST", "/echo", b"body", close=True))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert taken == [b"body"]
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert {b"date", b"content-type", b"content-length", b"connection"} == {
        line.partition(b":")[0] for line in head.split(b"\r\n")[1:]
    }
    assert json.loads(body) == ["POST", "/echo", "t_1", "127.0.0.1", "body"]


def test_both_roads_answer_alike(taken):
    """But for the date, the bytes are the same."""
    whole = request("POST", "/echo", b"body", close=True)
    with serving() as server:
        short = exchange(server.port, whole)
        long = exchange(server.port, whole[:-2], whole[-2:], between=0.1)

    assert taken == [b"body"]
    assert sorted(undated(short)) == sorted(undated(long))


def undated(answer):
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"date:")]


@pytest.mark.parametrize(
    "whole",
    [
        request("POST", "/echo?a=b", b"x", close=True),
        request("POST", "/%65cho", b"x", close=True),
        request("POST", "/echo", b"x", version="1.0"),
        request("POST", "/echo", b"x", close=True, expect="100-continue"),
        request("HEAD", "/echo", close=True),
    ],
    ids=["query", "escape", "HTTP/1.0", "expect", "HEAD"],
)
def test_what_is_not_simple_takes_the_ordinary_road(taken, whole):
    """It is answered all the same."""
    with serving() as server:
        answer = exchange(server.port, whole)

    assert taken == []
    assert b"HTTP/1.1 200 OK\r\n" in answer


def test_a_connection_is_kept(taken):
    """One request after the other takes the shortcut on the same connection."""
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        for number in range(3):
            connection.sendall(request("POST", "/echo", b"%d" % number))
            assert f'"{number}"]'.encode() in connection.recv(65_536)

    assert taken == [b"0", b"1", b"2"]


def test_pipelined_requests_are_answered_in_order(taken):
    """The first takes the shortcut, those behind it wait their turn on the ordinary road."""
    asked = [request("POST", "/echo", b"%d" % number) for number in range(3)] + [request("POST", "/echo", b"3", close=True)]
    with serving() as server:
        answer = exchange(server.port, b"".join(asked))

    assert taken == [b"0"]
    assert [answer.index(b'"%d"]' % number) for number in range(4)] == sorted(answer.index(b'"%d"]' % n) for n in range(4))


def test_no_content_has_no_length(taken):
    """204 has neither body nor length (RFC 9110, 8.6)."""
    with serving() as server:
        answer = exchange(server.port, request("DELETE", "/nothing", close=True))

    assert taken == [b""]
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in answer


def test_an_answer_that_closes_says_so_once(taken):
    """The application may end a connection."""
    with serving() as server:
        answer = exchange(server.port, request("GET", "/last"))

    assert taken == [b""]
    assert answer.count(b"connection: close\r\n") == 1


TOO_LARGE = b"x" * 65_537


class AtOnce(ShortcutHttp):
    """Takes in a request when it is whole: how much arrives at a time is up to the loop and the network."""

    _arrived = b""

    def data_received(self, data):
        self._arrived += data
        if self._arrived.endswith(TOO_LARGE):
            super().data_received(self._arrived)


@pytest.mark.parametrize("protocol", [ShortcutHttp, AtOnce])
def test_a_body_that_is_too_large_is_refused_as_ever(taken, protocol):
    """64 KiB is the bound on both roads, however the body arrives."""
    with serving(protocol=protocol) as server, httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
        reply = client.post(f"{server.url}/echo", content=TOO_LARGE)

    assert taken == []
    assert (reply.status_code, reply.json()["errorCode"]) == (413, "body.tooLarge")


def test_a_full_server_says_so(taken):
    """The bound on connections holds on the shortcut too."""
    with serving(connection_limit=1) as server:
        answer = exchange(server.port, request("GET", "/echo", close=True))

    assert taken == []
    assert answer.startswith(b"HTTP/1.1 503")


@contextmanager
def slowly():
    """A route that answers when it is let."""
    entered, release = threading.Event(), threading.Event()

    async def slow(request):
        entered.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        return Answer(200, b"done")

    try:
        yield {"/slow": {"GET": slow}, **ROUTES}, entered, release
    finally:
        release.set()


def test_a_stop_answers_what_is_under_way(taken):
    """The request on the shortcut gets its answer, which says that the connection closes; then the server ends."""
    with slowly() as (routes, entered, release), serving(routes) as server, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(exchange, server.port, request("GET", "/slow"))
        entered.wait(PATIENCE)
        server.stop()
        time.sleep(0.3)
        still_waiting = not under_way.done()
        release.set()

        assert still_waiting
        assert b"connection: close\r\n" in under_way.result(PATIENCE)
        assert server.has_ended()
    assert taken == [b""]


def test_who_leaves_is_not_answered(taken):
    """A client that went away while it was waiting harms nobody."""
    with slowly() as (routes, entered, release), serving(routes) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(request("GET", "/slow"))
            entered.wait(PATIENCE)
        release.set()
        answer = exchange(server.port, request("GET", "/echo", close=True))

    assert answer.startswith(b"HTTP/1.1 200")
    assert taken == [b"", b""]
