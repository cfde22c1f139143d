"""Runs an ASGI application under uvicorn: the socket, TLS, bounds on what a connection may cost, and a stop that loses nothing.

It knows no route and no database. On SIGTERM or SIGINT it takes no new connection, answers what is under way, and returns, so
that its caller can close what the answers needed. Port 0 takes a free port; `announce` is told the real one.
"""

import asyncio
import errno
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from seatkeeper_server.apps.accepting import Acceptor, Shares
from seatkeeper_server.apps.process import STOPS
from seatkeeper_server.settings import Settings

MAX_HEAD_BYTES: Final = 32 * 1024  # of one request's line and headers; ours have about 500
PATIENCE: Final = 10.0  # seconds; how long a client may leave us waiting for one and the same thing, or up to twice as long
BACKLOG: Final = 2048


class CannotServe(Exception):
    """The server can't listen as it was told to. The message says which option to change."""


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves and leaves the ending of the process to its caller."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], shares: Shares | None = None) -> None:
        super().__init__(config)
        self._tell_started = started
        self._shares = shares

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, then say so."""
        if sys.platform == "win32":  # whose event loop can't be told that somebody waits
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers.extend(map(self._taking, sockets or []))
        self._tell_started()

    def _taking(self, listener: socket.socket) -> Any:  # as much of asyncio's server as uvicorn asks for
        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        connections = self.server_state.connections
        return Acceptor(listener, protocol, tls=self.config.ssl, connections=connections, shares=self._shares)

    def stop(self) -> None:
        """Stop as a signal would; from any thread."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal. uvicorn's own way raises it once more at the end, which would kill us before the desk is closed."""
        if current_thread() is not main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    app: Any,  # uvicorn's type for applications is private
    settings: Settings,
    announce: Callable[[str], None],
    *,
    running: Callable[[Server], None] = lambda server: None,
    protocol: type[asyncio.Protocol] | None = None,
    listener: socket.socket | None = None,
    shares: Shares | None = None,
) -> None:
    """Serve until told to stop. `announce` is told the URL; `running` is handed what can stop it, for callers without signals.

    A `listener` is a socket that listens already, of which other processes take their `shares`; without one it is opened as the
    settings say.

    Raises:
        CannotServe: the address is taken or unknown, or a TLS file can't be used.
    """
    tls = tls_context(settings)
    listener = listener or listen(settings)
    url = url_of(settings, listener)
    server = Server(_config(app, settings, tls, protocol or BoundedHttp), lambda: announce(url), shares)
    running(server)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Give the URL at which a listening socket is reached."""
    return f"{settings.scheme}://{settings.url_host}:{listener.getsockname()[1]}"


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket; `::` takes IPv4 too.

    Raises:
        CannotServe: the address is taken or unknown.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        raise CannotServe(f"can't listen on {settings.url_host}:{port}: {_why_not(error, host)}") from error


def _why_not(error: OSError, host: str) -> str:
    """Say what is wrong with an address, and which option to change. Python's own text repeats the address."""
    reason = (error.strerror or str(error)).partition(" (while attempting")[0]
    if isinstance(error.__context__, socket.gaierror):  # which `create_server` replaces
        return f"there is no such host ({reason}): name an address of this machine with --host"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine: name one of its own with --host, or 0.0.0.0 for all"
    return f"{reason}; try another --port"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Give the TLS context, None without TLS. With a client authority, who shows no certificate of it gets no connection.

    Raises:
        CannotServe: a file can't be read, or key and certificate don't belong together.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _told(settings.tls_cert, settings.tls_key):
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        with _told(settings.tls_client_ca):
            context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def _told(*files: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        names = " and ".join(str(file) for file in files)
        raise CannotServe(f"TLS: {names} can't be used: {error.strerror or error}") from error


def _config(app: Any, settings: Settings, tls: ssl.SSLContext | None, protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    proxies = [address.strip() for address in settings.trusted_proxies.split(",") if address.strip()]
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop where there is one
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),  # off, a client can't choose the address that its failures are counted under
        forwarded_allow_ips=proxies,
        limit_concurrency=settings.connection_limit,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.stop_within,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with bounds on how large a request's head may be and on how long a client is waited for.

    Its parser keeps whatever headers arrive, for as long as they arrive; and a connection that neither asks nor reads is kept
    as long as it likes. A hundred patient clients could fill the memory or hold every connection. How large a body may be, and
    a first answer to one that is slow, is the application's.
    """

    _in_head = True  # a head is awaited or arriving
    _whole = False  # the last request has arrived to its end
    _head_bytes = 0
    _steps = 0  # heads and bodies that have arrived
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count."""
        super().connection_made(transport)  # type: ignore[arg-type]  # it is a stream's
        self._patience = self.loop.call_later(PATIENCE, self._lose_patience, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def data_received(self, data: bytes) -> None:
        """Take in what arrived, unless the head has become too large."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._whole = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._count_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._count_body()
        super().on_message_complete()

    def _count_body(self) -> None:
        self._whole = True
        self._steps += 1

    def _count_head(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._steps += 1

    def _lose_patience(self, steps_before: int) -> None:
        """End a connection whose client owes us the same as last time."""
        if self._steps == steps_before and self._client_owes():
            self.transport.abort()  # to close it would wait for a client that reads nothing
            return
        self._patience = self.loop.call_later(PATIENCE, self._lose_patience, self._steps)

    def _client_owes(self) -> bool:
        """Tell whether it is the client's turn: to read, to ask, or to send what it announced. Idle ones have a timer."""
        if self.flow.write_paused:
            return True
        if self.pipeline:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return not (self._whole or self._in_head)  # the rest of a body; a head that has begun is the next request's
        return self._in_head or self.timeout_keep_alive_task is None
