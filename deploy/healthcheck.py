"""Whether the server in this container is ready; exit code 0 if it is. For HEALTHCHECK and compose.

Where it listens it has written into its data directory. Its certificate is made out to another name than 127.0.0.1, and the
answer tells nothing that had to be protected, so it isn't checked. A server that admits only clients with a certificate
(SEATKEEPER_TLS_CLIENT_CA) does not answer us: there it is enough that it speaks TLS.
"""

import os
import socket
import ssl
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

PATIENCE = 4  # seconds; HEALTHCHECK has 5


def check() -> None:
    """Ask the server.

    Raises:
        OSError, ValueError, HTTPException: it isn't ready, or not there.
    """
    url = urlsplit((Path(os.environ.get("SEATKEEPER_DATA", "/data")) / "server.url").read_text(encoding="ascii"))
    if "SEATKEEPER_TLS_CLIENT_CA" in os.environ:
        with socket.create_connection(("127.0.0.1", url.port or 443), PATIENCE) as line, _context().wrap_socket(line):
            return
    opener = build_opener(HTTPSHandler(context=_context()), ProxyHandler({}))
    opener.open(f"{url.scheme}://127.0.0.1:{url.port}/health/ready", timeout=PATIENCE).close()


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> int:
    """Say on standard output why it isn't ready."""
    try:
        check()
    except (OSError, ValueError, HTTPException) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
