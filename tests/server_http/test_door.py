"""The door: who is answered there, who is handed over to uvicorn, and that nobody can tell by the answer."""

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import httpx2
import pytest

from seatkeeper_server.apps.door import Door
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
    """The bodies of the requests that were answered at the door."""
    bodies = []
    begin = Door._begin

    def noted(self):
        bodies.append(self._body)
        begin(self)

    monkeypatch.setattr(Door, "_begin", noted)
    return bodies


@pytest.fixture
def heads(monkeypatch):
    """Set when a head has come to the door."""
    come = threading.Event()
    complete = Door.on_headers_complete

    def noted(self):
        complete(self)
        come.set()

    monkeypatch.setattr(Door, "on_headers_complete", noted)
    return come


@contextmanager
def serving(routes=ROUTES, protocol=Door, **settings):
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


def rest_of(connection):
    """Everything that still comes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_whole_request_is_answered_at_the_door(taken):
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


WHOLE = request("POST", "/echo", b"body", close=True)


@pytest.mark.parametrize("cuts", [[-4], [-2], [20], [3, 40, -3]], ids=["head, body", "in the body", "in the head", "shreds"])
def test_a_request_in_pieces_is_collected(taken, cuts):
    """As most clients send it: the head, then the body."""
    ends = [0, *[cut % len(WHOLE) for cut in cuts], len(WHOLE)]
    with serving() as server:
        answer = exchange(server.port, *[WHOLE[start:end] for start, end in pairwise(ends)], between=0.05)

    assert taken == [b"body"]
    assert b'"body"]' in answer


CHUNKED = b"4\r\nbody\r\n0\r\n\r\n"


def test_both_roads_answer_alike(taken):
    """But for the date, the bytes are the same."""
    chunked = request("POST", "/echo", close=True, transfer_encoding="chunked") + CHUNKED
    with serving() as server:
        short, long = exchange(server.port, WHOLE), exchange(server.port, chunked)

    assert taken == [b"body"]
    assert sorted(undated(short)) == sorted(undated(long))


def undated(answer):
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"date:")]


NOT_SIMPLE = {
    "query": request("POST", "/echo?a=b", b"x", close=True),
    "escape": request("POST", "/%65cho", b"x", close=True),
    "whole URL": request("POST", "http://x/echo", b"x", close=True),
    "HTTP/1.0": request("POST", "/echo", b"x", version="1.0"),
    "HTTP/1.0, kept": request("POST", "/echo", b"x", version="1.0", connection="keep-alive")
    + request("POST", "/echo", b"y", version="1.0"),
    "chunked": request("POST", "/echo", close=True, transfer_encoding="chunked") + CHUNKED,
    "expect": request("POST", "/echo", b"x", close=True, expect="100-continue"),
    "upgrade": request("POST", "/echo", b"x", connection="close, upgrade", upgrade="h2c"),
    "HEAD": request("HEAD", "/echo", close=True),
    "GET with a body": request("GET", "/echo", b"x", close=True),
}


@pytest.mark.parametrize("whole", NOT_SIMPLE.values(), ids=NOT_SIMPLE)
def test_what_is_not_simple_is_handed_over(taken, whole):
    """It is answered all the same."""
    with serving() as server:
        answer = exchange(server.port, whole)

    assert taken == []
    assert b"HTTP/1.1 200 OK\r\n" in answer


@pytest.mark.parametrize(
    ("whole", "status"),
    [
        (request("POST", "/elsewhere", b"x", close=True), 404),
        (request("PATCH", "/echo", b"x", close=True), 405),
        (b"no HTTP at all\r\n\r\n", 400),
        (request("POST", "/echo", close=True, content_length="4", transfer_encoding="chunked") + CHUNKED, 400),
        (request("POST", "/echo", close=True, content_length="4, 5") + b"body", 400),
    ],
    ids=["path", "method", "no HTTP", "two lengths", "a list of lengths"],
)
def test_what_is_wrong_is_handed_over(taken, whole, status):
    """Who says what is wrong with it is not the door."""
    with serving() as server:
        answer = exchange(server.port, whole)

    assert taken == []
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_who_was_handed_over_stays(taken):
    """The connection is uvicorn's from then on."""
    with serving() as server:
        answer = exchange(server.port, request("POST", "/echo?a=b", b"1"), WHOLE, between=0.1)

    assert taken == []
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2


def test_nothing_that_stands_before_the_application_is_passed_by(taken):
    """With a trusted proxy, the address is the one that it names."""
    with serving(trusted_proxies="127.0.0.1") as server:
        answer = exchange(server.port, request("POST", "/echo", b"x", close=True, x_forwarded_for="203.0.113.9"))

    assert taken == []
    assert b'"203.0.113.9"' in answer


def test_a_connection_is_kept(taken):
    """One request after the other is answered at the door, on the same connection."""
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        for number in range(3):
            connection.sendall(request("POST", "/echo", b"%d" % number))
            assert f'"{number}"]'.encode() in connection.recv(65_536)

    assert taken == [b"0", b"1", b"2"]


def test_nothing_of_a_request_is_left_for_the_next(taken):
    """Headers and bodies are forgotten with the answer."""
    bare = b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(request("POST", "/echo", b"body"))
        assert b'"body"]' in connection.recv(65_536)
        connection.sendall(bare)
        answer = rest_of(connection)

    assert taken == [b"body", b""]
    assert answer.endswith(b'["GET", "/echo", null, "127.0.0.1", ""]')


def numbered(count):
    """Requests with their numbers as bodies; the last one closes."""
    return [request("POST", "/echo", b"%d" % number, close=number == count - 1) for number in range(count)]


@pytest.mark.parametrize("first", [4, 3.5, 1.5, 1.02], ids=["all", "all but a half", "one and a half", "one and a byte"])
def test_requests_that_come_together_are_answered_in_order(taken, first):
    """Several at once are not simple, nor is one with the beginning of another."""
    whole = b"".join(numbered(4))
    cut = int(first * len(numbered(4)[0]))
    with serving() as server:
        answer = exchange(server.port, whole[:cut], whole[cut:], between=0.1)

    assert taken == []
    assert [answer.index(b'"%d"]' % number) for number in range(4)] == sorted(answer.index(b'"%d"]' % n) for n in range(4))


def test_requests_that_come_too_early_wait_their_turn(taken):
    """Who asks again before he was answered is answered in order."""
    with (
        slowly() as (routes, entered, release),
        serving(routes) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(request("GET", "/slow"))
        entered.wait(PATIENCE)
        connection.sendall(b"".join(numbered(3)))
        time.sleep(0.1)
        release.set()
        answer = rest_of(connection)

    order = [b"done", b'"0"]', b'"1"]', b'"2"]']
    assert taken == [b""]
    assert [answer.index(each) for each in order] == sorted(answer.index(each) for each in order)


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


def test_a_bug_of_ours_is_an_answer(taken):
    """A handler that fails harms only its own request."""

    async def broken(request):
        raise ZeroDivisionError

    with (
        serving({"/broken": {"GET": broken}}) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(request("GET", "/broken"))
        first = connection.recv(65_536)
        connection.sendall(request("GET", "/broken", close=True))
        second = rest_of(connection)

    assert taken == [b"", b""]
    assert [answer.startswith(b"HTTP/1.1 503 ") for answer in (first, second)] == [True, True]


TOO_LARGE = b"x" * 65_537


class AtOnce(Door):
    """Takes in a request when it is whole: how much arrives at a time is up to the loop and the network."""

    _arrived = b""

    def data_received(self, data):
        self._arrived += data
        if self._arrived.endswith(TOO_LARGE):
            super().data_received(self._arrived)


@pytest.mark.parametrize("protocol", [Door, AtOnce])
def test_a_body_that_is_too_large_is_refused_as_ever(taken, protocol):
    """64 KiB is the bound here too, however the body arrives."""
    with serving(protocol=protocol) as server, httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
        reply = client.post(f"{server.url}/echo", content=TOO_LARGE)

    assert taken == []
    assert (reply.status_code, reply.json()["errorCode"]) == (413, "body.tooLarge")


LISTS = "/api/v1/activations/refresh"


@pytest.mark.parametrize("size", [4, 1_000_000])
def test_a_route_whose_bodies_may_be_large_is_left_to_uvicorn(taken, size):
    """However large this one is: how many of them are read at once is bounded there. The next one on the connection too."""
    with serving({LISTS: {"POST": echo}}) as server, httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
        replies = [client.post(f"{server.url}{LISTS}", content=b"x" * size) for _ in range(2)]

    assert taken == []
    assert [(reply.status_code, len(reply.json()[4])) for reply in replies] == [(200, size)] * 2


def test_a_full_server_says_so(taken):
    """The bound on connections holds here too."""
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


def test_from_who_does_not_read_nothing_is_read(taken):
    """However often he asks, few answers wait for him."""

    async def long_winded(request):
        return Answer(200, b"x" * (1 << 23))

    with (
        serving({"/long": {"GET": long_winded}}) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(request("GET", "/long"))
        connection.recv(1)
        for asked in range(2, 12):
            connection.sendall(request("GET", "/long"))
            too_long = time.monotonic() + 0.1
            while len(taken) < asked and time.monotonic() < too_long:  # one by one, or they would not be simple
                time.sleep(0.002)

    assert 0 < len(taken) < 6


def test_who_reads_late_gets_everything(taken):
    """What was not read from a client for a while is read when he has caught up."""

    async def long_winded(request):
        return Answer(200, b"x" * (1 << 23))

    with (
        serving({"/long": {"GET": long_winded}}) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        for last in (False, False, True):
            connection.sendall(request("GET", "/long", close=last))
            time.sleep(0.05)
        received = rest_of(connection)

    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert received.count(b"x") >= 3 << 23


def test_a_stop_answers_what_is_under_way(taken):
    """It gets its answer, which says that the connection closes; then the server ends."""
    with slowly() as (routes, entered, release), serving(routes) as server, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(exchange, server.port, request("GET", "/slow"))
        entered.wait(PATIENCE)
        server.begin_to_stop()
        still_waiting = not under_way.done()
        release.set()

        assert still_waiting
        assert b"connection: close\r\n" in under_way.result(PATIENCE)
        assert server.has_ended()
    assert taken == [b""]


def test_a_stop_answers_what_is_arriving(taken, heads):
    """A head has come, its body is awaited: it gets its answer, and the connection ends with it."""
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        whole = request("POST", "/echo", b"body")
        connection.sendall(whole[:-1])
        assert heads.wait(PATIENCE)
        server.begin_to_stop()
        connection.sendall(whole[-1:])
        answer = rest_of(connection)

        assert b"connection: close\r\n" in answer
        assert server.has_ended()
    assert taken == [b"body"]


def test_a_stop_ends_what_was_handed_over(taken, heads):
    """A stop that comes before a body that turns out not to be simple still ends the connection with the answer."""
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        whole = request("POST", "/echo", TOO_LARGE)
        connection.sendall(whole[:60_000])
        assert heads.wait(PATIENCE)
        server.begin_to_stop()
        connection.sendall(whole[60_000:])
        answer = rest_of(connection)

        assert answer.startswith(b"HTTP/1.1 413")
        assert server.has_ended()
    assert taken == []


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
