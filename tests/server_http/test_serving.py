"""How the server listens: TLS, bounds on a connection, a stop that answers what is under way."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seatkeeper_server.apps import serving
from seatkeeper_server.apps.door import Door
from seatkeeper_server.apps.serving import CannotServe
from seatkeeper_server.http import messages
from seatkeeper_server.http.application import Application
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.messages import Answer
from seatkeeper_server.http.metrics import Metrics
from seatkeeper_server.settings import Settings
from tests.server_http.front import Client, served
from tests.server_http.running import PATIENCE, running

PROTOCOLS = pytest.mark.parametrize("protocol", [serving.BoundedHttp, Door])


def settings(**changes):
    """Settings of a server on a free port."""
    return Settings(port=0, **changes)


def live(url, **how):
    """Ask a server whether it lives."""
    with httpx2.Client(trust_env=False, timeout=PATIENCE, **how) as client:
        return client.get(f"{url}/livez").status_code


def test_port_0_takes_a_free_port_and_tells_it():
    """The URL that is announced is the one that works."""
    with running(Client(served()).app, settings()) as server:
        assert server.port > 0
        assert live(server.url) == 200


def test_a_taken_port_is_a_clear_error():
    """It names the address and the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(CannotServe, match=f"can't listen on 127.0.0.1:{port}: .* --port"):
            serving.listen(Settings(port=port))


def test_answers_carry_no_name_of_the_software():
    """What isn't told need not be kept secret."""
    with running(Client(served()).app, settings()) as server, httpx2.Client(trust_env=False) as client:
        assert "server" not in client.get(f"{server.url}/livez").headers


# --- TLS -----------------------------------------------------------------------------------------------------------


def certificate(name, issuer=None, *, ca=False):
    """Make a certificate for 127.0.0.1, signed by an issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_cert, issuer_key = issuer or (None, key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_cert.subject if issuer_cert else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()), key


def write(folder, name, pair):
    """Write certificate and key as PEM; give both paths."""
    cert, key = pair
    cert_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority, a server of its, a client of its, and a client of another authority."""
    folder = tmp_path_factory.mktemp("pki")
    authority, stranger = certificate("authority", ca=True), certificate("stranger", ca=True)
    return {
        "ca": write(folder, "ca", authority),
        "server": write(folder, "server", certificate("server", authority)),
        "client": write(folder, "client", certificate("client", authority)),
        "foreign": write(folder, "foreign", certificate("foreign", stranger)),
    }


def trusting(pki, client=None):
    """A client's TLS: it trusts the authority, and shows a certificate if it has one."""
    context = ssl.create_default_context(cafile=pki["ca"][0])
    if client is not None:
        context.load_cert_chain(*pki[client])
    return {"verify": context}


@PROTOCOLS
def test_tls_is_served(pki, protocol):
    """With certificate and key the URL is https, and a client that trusts the authority gets in."""
    cert, key = pki["server"]
    with running(Client(served()).app, settings(tls_cert=cert, tls_key=key), protocol=protocol) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert live(server.url, **trusting(pki)) == 200


def test_the_door_hands_over_under_tls_too(pki):
    """One connection: a simple request, one that isn't, and another."""
    cert, key = pki["server"]
    with (
        running(Client(served()).app, settings(tls_cert=cert, tls_key=key), protocol=Door) as server,
        httpx2.Client(trust_env=False, timeout=PATIENCE, **trusting(pki)) as client,
    ):
        assert [client.get(f"{server.url}/livez{query}").status_code for query in ("", "?a=b", "")] == [200] * 3


def test_old_tls_is_refused(pki):
    """Nothing below TLS 1.2 is spoken."""
    context = serving.tls_context(settings(tls_cert=pki["server"][0], tls_key=pki["server"][1]))

    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("client", "let_in"), [("client", True), ("foreign", False), (None, False)])
def test_mutual_tls_admits_only_who_has_a_certificate(pki, client, let_in):
    """With a client authority, a client without a certificate of it gets no answer at all."""
    cert, key = pki["server"]
    with running(Client(served()).app, settings(tls_cert=cert, tls_key=key, tls_client_ca=pki["ca"][0])) as server:
        try:
            status = live(server.url, **trusting(pki, client))
        except httpx2.TransportError:
            status = None

        assert (status == 200) is let_in


@pytest.mark.parametrize("broken", ["missing", "swapped", "foreign key", "authority"])
def test_tls_files_that_can_not_be_used_are_named(pki, tmp_path, broken):
    """Before anything listens, and in our words."""
    cert, key = pki["server"]
    files = {
        "missing": {"tls_cert": tmp_path / "none.pem", "tls_key": key},
        "swapped": {"tls_cert": key, "tls_key": cert},
        "foreign key": {"tls_cert": cert, "tls_key": pki["client"][1]},
        "authority": {"tls_cert": cert, "tls_key": key, "tls_client_ca": key},
    }[broken]

    with pytest.raises(CannotServe, match=r"^TLS: .* can't be used"):
        serving.serve(Client(served()).app, settings(**files), lambda url: None)


# --- bounds --------------------------------------------------------------------------------------------------------


def exchange(port, *parts):
    """Send raw bytes; give everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


@pytest.mark.parametrize("head", [b"x-long: " + b"x" * 40_000, b"\r\n".join(b"x-%d: y" % n for n in range(5_000))])
@PROTOCOLS
def test_a_head_without_end_is_cut_off(protocol, head):
    """One endless header or endlessly many: neither is kept in memory."""
    with running(Client(served()).app, settings(), protocol=protocol) as server:
        answer = exchange(server.port, b"GET /livez HTTP/1.1\r\nhost: x\r\n" + head)

        assert answer.startswith(b"HTTP/1.1 400")


@PROTOCOLS
def test_many_requests_on_one_connection_are_no_long_head(protocol):
    """The bound is on one request's head, not on what a connection sends over its life."""
    request = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-padding: " + b"x" * 2_000 + b"\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with running(Client(served()).app, settings(), protocol=protocol) as server:
        answers = exchange(server.port, *[request] * 30, last)

        assert answers.count(b"HTTP/1.1 200") == 31


@PROTOCOLS
@pytest.mark.parametrize("start", [b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n"])
def test_who_never_finishes_a_head_is_not_waited_for(monkeypatch, protocol, start):
    """A connection that says nothing, or never comes to the end, does not keep its place for ever."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)
    with running(Client(served()).app, settings(), protocol=protocol) as server:
        assert exchange(server.port, start) == b""


ANNOUNCED = b"POST /api/v1/activate HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
ASKED = b"GET /livez HTTP/1.1\r\nhost: x\r\n"


@PROTOCOLS
@pytest.mark.parametrize("start", [ANNOUNCED, ANNOUNCED + b"{"], ids=["no byte", "one byte"])
def test_who_never_sends_the_body_is_not_waited_for(monkeypatch, protocol, start):
    """A head that is followed by nothing, or by a little, is answered 400 and its connection ended."""
    monkeypatch.setattr(messages, "BODY_WITHIN", 0.05)
    with running(Client(served()).app, settings(), protocol=protocol) as server:
        answer = exchange(server.port, start)

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"did not arrive in time" in answer


def test_a_connection_ends_when_nothing_comes_of_it(monkeypatch):
    """Even if the application waits for ever for a body; at the door it is the door that waits."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)
    with running(Client(served()).app, settings()) as server:
        assert exchange(server.port, ANNOUNCED) == b""


@PROTOCOLS
@pytest.mark.parametrize(
    ("end", "stray"), [(b"content-length: 10\r\n\r\n", b"x"), (b"\r\n", b"\r\n")], ids=["unwanted body", "line end"]
)
def test_bytes_that_ask_nothing_do_not_keep_an_answered_connection(monkeypatch, protocol, end, stray):
    """An idle connection ends by its own timer; who stops that timer has to come to the point."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)
    with (
        running(Client(served()).app, settings(), protocol=protocol) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(ASKED + end)
        answer = connection.recv(65_536)
        connection.sendall(stray)

        assert answer.startswith(b"HTTP/1.1 200")
        assert connection.recv(65_536) == b""


def test_who_never_reads_is_not_waited_for(monkeypatch):
    """An answer that its client leaves lying does not keep the connection."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)
    given_up = threading.Event()

    async def long_winded(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * (1 << 26), "more_body": True})
        await send({"type": "http.response.body", "body": b"the end"})
        given_up.set()

    with (
        running(long_winded, settings()) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(ASKED + b"\r\n")

        assert given_up.wait(PATIENCE)


@PROTOCOLS
def test_an_answer_that_is_never_read_is_given_up(monkeypatch, protocol):
    """Who leaves it lying loses his connection, and with it the rest of the answer."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)
    long = b"x" * (1 << 26)

    async def long_winded(request):
        return Answer(200, long)

    app = Application({"/": {"GET": long_winded}}, metrics=Metrics(list, most_pools=1), health=Health())
    with (
        running(app, settings(), protocol=protocol) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(1)
        received = 0
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                received += len(piece)

    assert received < len(long)


@PROTOCOLS
def test_an_idle_connection_is_kept(monkeypatch, protocol):
    """One that has been answered and is silent stays for as long as the settings say."""
    monkeypatch.setattr(serving, "PATIENCE", 0.02)
    with (
        running(Client(served()).app, settings(), protocol=protocol) as server,
        httpx2.Client(trust_env=False, timeout=PATIENCE) as client,
    ):
        ports = set()
        for _ in range(2):
            with client.stream("GET", f"{server.url}/livez") as reply:
                reply.read()
                ports.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.2)

        assert len(ports) == 1


@PROTOCOLS
def test_an_idle_connection_is_not_kept_for_ever(protocol):
    """When the settings say, it ends."""
    with running(Client(served()).app, settings(keep_alive=1), protocol=protocol) as server:
        assert exchange(server.port, ASKED + b"\r\n").startswith(b"HTTP/1.1 200")


@PROTOCOLS
def test_a_slow_answer_is_no_slow_head(monkeypatch, protocol):
    """Patience is about what the client sends; our own time does not count."""
    monkeypatch.setattr(serving, "PATIENCE", 0.05)

    async def slow(request):
        await asyncio.sleep(0.5)
        return Answer(200)

    app = Application({"/livez": {"GET": slow}}, metrics=Metrics(list, most_pools=1), health=Health())
    with running(app, settings(), protocol=protocol) as server:
        assert live(server.url) == 200


@PROTOCOLS
def test_a_body_that_is_too_large_is_answered(protocol):
    """A client that sends a little too much reads why, although it was still sending when that was known."""
    with (
        running(Client(served()).app, settings(), protocol=protocol) as server,
        httpx2.Client(trust_env=False, timeout=PATIENCE) as client,
    ):
        reply = client.post(f"{server.url}/api/v1/activate", content=b"x" * 300_000)

        assert (reply.status_code, reply.json()["errorCode"]) == (413, "body.tooLarge")


def test_a_forwarded_address_is_believed_of_named_proxies_only():
    """Else a client could choose the address that its failures are counted under."""
    seen = []

    async def remember(scope, receive, send):
        seen.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for proxies in ("", "127.0.0.1"):
        with running(remember, settings(trusted_proxies=proxies)) as server:
            live(server.url, headers={"x-forwarded-for": "203.0.113.9"})

    assert seen == ["127.0.0.1", "203.0.113.9"]


# --- the stop ------------------------------------------------------------------------------------------------------


def test_a_stop_answers_what_is_under_way():
    """Nothing new is taken, the request under way gets its answer, then the server ends."""
    entered, release = threading.Event(), threading.Event()

    async def slow(scope, receive, send):
        entered.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    with running(slow, settings()) as server, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(live, server.url)
        entered.wait(PATIENCE)
        server.begin_to_stop()
        still_waiting = not under_way.done()
        release.set()

        assert still_waiting
        assert under_way.result(PATIENCE) == 200
        assert server.has_ended()


@PROTOCOLS
def test_idle_connections_do_not_hold_a_stop_up(protocol):
    """A client that keeps its connection open is not waited for."""
    with running(Client(served()).app, settings(), protocol=protocol) as server, httpx2.Client(trust_env=False) as client:
        client.get(f"{server.url}/livez")
        server.stop()

        assert server.has_ended()
