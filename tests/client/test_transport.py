"""The way to a server: TLS with an authority of one's own, client certificates, proxies. Real sockets, real handshakes."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import seatkeeper
from seatkeeper import cli
from seatkeeper.testing import FakeServer

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of a site, and the certificates it gave to a server and to a client."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def pair(self, name: str) -> tuple[str, str]:
        """Give the files of a certificate and its key."""
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority, a server's certificate for 127.0.0.1 and a client's."""
    folder = tmp_path_factory.mktemp("authority")
    root = ec.generate_private_key(ec.SECP256R1())
    _write(folder, "ca", root, _certificate("ca", root, root, is_ca=True))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder, name, key, _certificate(name, key, root, is_ca=False))
    return Authority(folder)


@pytest.fixture
def server(authority: Authority) -> Iterator[FakeServer]:
    """A license server behind TLS."""
    with FakeServer(seats=1) as running:
        _secure(running, authority, asks_client=False)
        yield running


def https(server: FakeServer) -> dict[str, Any]:
    """Give the server's settings with its secure address."""
    return server.settings | {"server": server.url.replace("http:", "https:")}


def test_a_sites_own_authority_is_trusted_if_named(server: FakeServer, authority: Authority) -> None:
    """ca_file, or SEATKEEPER_CA_FILE."""
    with seatkeeper.seat(**https(server), ca_file=authority.ca) as seat:
        assert seat.state == "held"


def test_an_unknown_authority_is_not_trusted(server: FakeServer) -> None:
    """No request leaves before the server's certificate is checked."""
    with pytest.raises(seatkeeper.ServerUnreachable, match=r"certificate.*SEATKEEPER_CA_FILE"):
        seatkeeper.seat(**https(server)).acquire()
    assert server.requests == []


async def test_an_unknown_authority_is_not_trusted_by_the_async_client(server: FakeServer, authority: Authority) -> None:
    """The two drivers check alike."""
    with pytest.raises(seatkeeper.ServerUnreachable, match="certificate"):
        await seatkeeper.async_seat(**https(server)).acquire()
    assert server.requests == []
    async with seatkeeper.async_seat(**https(server), ca_file=authority.ca) as seat:
        assert seat.state == "held"


def test_a_client_certificate_is_shown_where_one_is_asked_for(authority: Authority) -> None:
    """Mutual TLS: with the certificate a seat, without it none."""
    certificate, key = authority.pair("client")
    with FakeServer(seats=1) as server:
        _secure(server, authority, asks_client=True)
        with seatkeeper.seat(
            **https(server),
            ca_file=authority.ca,
            client_cert_file=certificate,
            client_key_file=key,
        ) as seat:
            assert seat.state == "held"
        taken = len(server.requests)

        with pytest.raises(seatkeeper.ServerUnreachable, match="SEATKEEPER_CLIENT_CERT_FILE"):
            seatkeeper.seat(**https(server), ca_file=authority.ca).acquire()
        assert len(server.requests) == taken


def test_a_server_without_tls_is_told_by_its_silence(server: FakeServer) -> None:
    """https to an http port: the hint is about the address."""
    with FakeServer() as plain, pytest.raises(seatkeeper.ServerUnreachable, match="write http:// in SEATKEEPER_SERVER"):
        seatkeeper.status(**asking(https(plain)))


def test_a_server_with_tls_hangs_up_on_plain_http(server: FakeServer) -> None:
    """http to a TLS port: the hint is about the address again."""
    with pytest.raises(seatkeeper.ServerUnreachable, match="write https:// in SEATKEEPER_SERVER"):
        seatkeeper.status(**asking(server.settings))


def test_a_certificate_for_another_name_is_told_from_an_unknown_authority(server: FakeServer, authority: Authority) -> None:
    """It is the address that is wrong, not the trust."""
    elsewhere = https(server) | {"server": https(server)["server"].replace("127.0.0.1", "localhost")}

    with pytest.raises(seatkeeper.ServerUnreachable, match="for another name"):
        seatkeeper.status(**asking(elsewhere), ca_file=authority.ca)


def asking(settings: dict[str, Any]) -> dict[str, Any]:
    """Give the settings that asking for the status needs."""
    return {key: value for key, value in settings.items() if key != "public_key"}


@pytest.mark.parametrize("mistake", ["unknown authority", "plain http", "no certificate", "no certificate in TLS 1.3"])
def test_doctor_has_a_hint_for_each_mistake(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    """What to change, by the name of its variable."""
    hints = {"unknown authority": "SEATKEEPER_CA_FILE", "plain http": "write https:// in SEATKEEPER_SERVER"}
    asks, newest = mistake.startswith("no certificate"), mistake.endswith("1.3")
    with FakeServer() as server:
        _secure(server, authority, asks_client=asks, newest=newest)
        address = server.url if mistake == "plain http" else str(https(server)["server"])
        settings = server.environment | {"SEATKEEPER_SERVER": address}
        if asks:
            settings["SEATKEEPER_CA_FILE"] = authority.ca
        for variable, value in settings.items():
            monkeypatch.setenv(variable, value)
        code = cli.main(["doctor"])

    assert code == 69
    assert hints.get(mistake, "SEATKEEPER_CLIENT_CERT_FILE") in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("setting", ["ca_file", "client_cert_file", "client_key_file"])
def test_a_missing_file_is_a_mistake_of_configuration(tmp_path: Path, authority: Authority, setting: str) -> None:
    """Said before anything is sent, with the file's name and its setting's."""
    server = FakeServer()
    settings = {key: value for key, value in server.settings.items() if key != "transport"}
    certificate, key = authority.pair("client")
    files: dict[str, Any] = {"ca_file": authority.ca, "client_cert_file": certificate, "client_key_file": key}
    files[setting] = str(tmp_path / "none.pem")

    with pytest.raises(seatkeeper.ConfigurationError, match=rf"none\.pem \(SEATKEEPER_{setting.upper()}\)"):
        seatkeeper.seat(**settings, **files).acquire()


def test_a_file_without_a_certificate_is_named_too(tmp_path: Path) -> None:
    """It can be read, and is something else."""
    (tmp_path / "notes.txt").write_text("not a certificate")
    settings = {key: value for key, value in FakeServer().settings.items() if key != "transport"}

    with pytest.raises(seatkeeper.ConfigurationError, match=r"notes\.txt \(SEATKEEPER_CA_FILE\)"):
        seatkeeper.seat(**settings, ca_file=str(tmp_path / "notes.txt")).acquire()


class _Proxy(BaseHTTPRequestHandler):
    """A proxy that lets nobody through and remembers who asked."""

    seen: list[str]

    def do_POST(self) -> None:
        self.seen.append(self.path)
        self.send_response(502)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy in the environment; gives the addresses it was asked for."""
    handler = type("Proxy", (_Proxy,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{running.server_address[1]}")
        yield handler.seen  # type: ignore[attr-defined]
        running.shutdown()
        thread.join()


def test_the_environments_proxy_is_used(proxy: list[str]) -> None:
    """HTTP_PROXY for http, HTTPS_PROXY for https; a 502 from it is a server's problem, not a refusal."""
    fake = FakeServer()

    with pytest.raises(seatkeeper.ServerProblem, match="proxy"):
        seatkeeper.status(fake.product, tenant=fake.tenant, code=fake.code, server="http://licenses.example")
    assert proxy == ["http://licenses.example/api/v1/status"]


def test_no_proxy_is_obeyed(proxy: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of the site are reached directly."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeServer(seats=1) as server, seatkeeper.seat(**server.settings) as seat:
        assert seat.state == "held"
    assert proxy == []


def _secure(server: FakeServer, authority: Authority, *, asks_client: bool, newest: bool = False) -> None:
    """Put TLS in front of a running server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.pair("server"))
    if asks_client:
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        if not newest:
            context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the refusal comes with the handshake
    assert server._http is not None
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey, *, is_ca: bool
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named("ca"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    )
    return builder.sign(root, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of the tests")])


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
