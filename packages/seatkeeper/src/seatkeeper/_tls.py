"""What a failed TLS handshake is about, in words for whoever has the settings in front of him.

OpenSSL names its own state, not the mistake: a plain HTTP answer is a "wrong version number". Each of the usual mistakes has
its hint here. Nothing in here decides whom to trust; that is `_transport.tls_context`.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

WRITE_HTTP: Final = "the server doesn't seem to speak TLS there: write http:// in SEATKEEPER_SERVER, or name the port that does"
WRITE_HTTPS: Final = "if the server speaks TLS, write https:// in SEATKEEPER_SERVER"
SHOW_CERTIFICATE: Final = (
    "the server asks for a client certificate that it knows: give SEATKEEPER_CLIENT_CERT_FILE and SEATKEEPER_CLIENT_KEY_FILE"
)
NAME_AUTHORITY: Final = "if its authority is your site's own, give that one's certificate with SEATKEEPER_CA_FILE"
OTHER_NAME: Final = "the certificate is for another name: write that name in SEATKEEPER_SERVER"
OTHER_TIME: Final = "the certificate is not valid now: check this machine's clock, then have the server's certificate renewed"

_OF_REASON: Final = {
    "HOSTNAME MISMATCH": OTHER_NAME,
    "IP ADDRESS MISMATCH": OTHER_NAME,
    "HAS EXPIRED": OTHER_TIME,
    "NOT YET VALID": OTHER_TIME,
    "CERTIFICATE_VERIFY_FAILED": NAME_AUTHORITY,
    "WRONG_VERSION_NUMBER": WRITE_HTTP,
    "RECORD_LAYER_FAILURE": WRITE_HTTP,
    "HTTP_REQUEST": WRITE_HTTP,
    "UNEXPECTED_EOF": WRITE_HTTP,
    "CERTIFICATE_REQUIRED": SHOW_CERTIFICATE,
    "HANDSHAKE_FAILURE": SHOW_CERTIFICATE,
    "ALERT_BAD_CERTIFICATE": SHOW_CERTIFICATE,
    "ALERT_CERTIFICATE": SHOW_CERTIFICATE,
    "ALERT_UNKNOWN_CA": SHOW_CERTIFICATE,
}


def hint_for(error: BaseException, server: str, *, hung_up: bool) -> str | None:
    """Give what to change in the settings after a connection failed; None if it isn't about TLS.

    A server with TLS hangs up on plain HTTP without a word, so a hang-up over http may be that.
    """
    if urlsplit(server).scheme == "http":
        return WRITE_HTTPS if hung_up else None
    said = " ".join(str(part) for part in _causes(error) if isinstance(part, ssl.SSLError)).upper()
    return next((hint for reason, hint in _OF_REASON.items() if reason in said), None)


def speaks_tls(host: str, port: int, *, patience: float) -> bool:
    """Tell whether a port answers a TLS handshake; nothing but the handshake is sent, whoever is there."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=patience) as plain, asking.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error)  # refused in TLS's own words
    except OSError:
        return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
