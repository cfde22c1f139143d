"""The two ways to a server, blocking and asyncio, over httpx2. One method each: `send`.

HTTPS_PROXY, NO_PROXY and the system's trusted certificates are obeyed; a CA file or a client certificate of one's own come
from the settings. Redirects are not followed: a license server doesn't move, and a token must not travel elsewhere.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from seatkeeper._settings import Settings
from seatkeeper._tls import hint_for
from seatkeeper._wire import Outgoing, Reply, Unreachable
from seatkeeper.errors import ConfigurationError

# These happen before the request leaves; any other failure may have come after.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)


class HttpTransport:
    """Blocking; may be used by several threads."""

    def __init__(self, settings: Settings, through: httpx2.BaseTransport | None = None) -> None:
        self._client = (
            httpx2.Client(transport=through)
            if through is not None
            else httpx2.Client(verify=tls_context(settings), trust_env=True)
        )

    def send(self, outgoing: Outgoing) -> Reply:
        """Send a call to its server and give the reply; raise Unreachable if there is none."""
        call = outgoing.call
        try:
            response = self._client.request(
                call.method,
                outgoing.server + call.path,
                content=call.body.encode(),
                headers=call.headers(),
                timeout=outgoing.timeout,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _unreachable(error, outgoing.server) from error
        return _reply(response)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncHttpTransport:
    """The same for asyncio."""

    def __init__(self, settings: Settings, through: httpx2.AsyncBaseTransport | None = None) -> None:
        self._client = (
            httpx2.AsyncClient(transport=through)
            if through is not None
            else httpx2.AsyncClient(verify=tls_context(settings), trust_env=True)
        )

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send a call to its server and give the reply; raise Unreachable if there is none."""
        call = outgoing.call
        try:
            response = await self._client.request(
                call.method,
                outgoing.server + call.path,
                content=call.body.encode(),
                headers=call.headers(),
                timeout=outgoing.timeout,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _unreachable(error, outgoing.server) from error
        return _reply(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """Give how to check the servers' certificates, and which certificate of our own to show.

    Raises:
        ConfigurationError: a certificate or key file can't be read.
    """
    if settings.ca_file is None and settings.client_cert_file is None:
        return True
    with _named("the CA file", settings.ca_file, "SEATKEEPER_CA_FILE"):
        context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.client_cert_file is not None:
        for what, path, variable in (
            ("the client key", settings.client_key_file, "SEATKEEPER_CLIENT_KEY_FILE"),
            ("the client certificate", settings.client_cert_file, "SEATKEEPER_CLIENT_CERT_FILE"),
        ):
            with _named(what, path, variable):
                _require_readable(path)
        with _named("the client certificate", settings.client_cert_file, "SEATKEEPER_CLIENT_CERT_FILE and its key"):
            context.load_cert_chain(settings.client_cert_file, settings.client_key_file)
    return context


@contextmanager
def _named(what: str, path: str | None, variable: str) -> Iterator[None]:
    """Say which file it was, and which setting names it."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{what} {path} ({variable}) can't be used: {error.strerror or error}") from error


def _require_readable(path: str | None) -> None:
    if path is not None:
        with open(path, "rb"):
            pass


def _reply(response: httpx2.Response) -> Reply:
    return Reply(
        status=response.status_code, headers={k.lower(): v for k, v in response.headers.items()}, body=response.content
    )


def _unreachable(error: Exception, server: str) -> Unreachable:
    reason = str(error) or type(error).__name__
    maybe_sent = not isinstance(error, (*_NOT_SENT, httpx2.InvalidURL))
    hung_up = maybe_sent and not isinstance(error, httpx2.TimeoutException)
    hint = hint_for(error, server, hung_up=hung_up)
    return Unreachable(f"{reason}; {hint}" if hint else reason, maybe_sent=maybe_sent)
