"""A local server's connection to its vendor's server: values, and who keeps them.

What goes over it are the same documents that are carried by hand (`tokens.py`); so either way can be used at any time, and a
connection only tells where the vendor is found, when to try next, and which documents he hasn't answered yet. Those are sent
again, in order, as they were made: one that had arrived is known by its id and changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from seatkeeper_server.service.catalogue import CannotDo

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
MOST_ERROR: Final = 500  # characters of an error that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a vendor is found and how it stands: when it was tried, when that went well, and what went wrong since."""

    tenant_id: str
    url: str
    ca_file: str | None = None
    is_plain: bool = False
    connected_at: datetime
    next_at: datetime
    tried_at: datetime | None = None
    succeeded_at: datetime | None = None
    failures: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A document for the vendor, by its number."""

    number: int
    token: str = field(repr=False)


class ConnectionBook(Protocol):
    """Keeps connections and what is to be sent, within the transaction of a catalogue."""

    def all(self) -> list[Connection]:
        """Give every connection."""
        ...

    def of(self, tenant_id: str) -> Connection | None:
        """Give the connection to a vendor; None if there is none."""
        ...

    def save(self, connection: Connection) -> None:
        """Keep a connection."""
        ...

    def drop(self, tenant_id: str) -> None:
        """Go without the connection, and forget what was to be sent over it."""
        ...

    def claim(self, tenant_id: str, now: datetime, until: datetime) -> bool:
        """Take the turn to exchange, until a moment by which it is over; False if it isn't due, or another server has it."""
        ...

    def unanswered(self, tenant_id: str) -> list[Letter]:
        """Give the documents that a vendor has not answered yet, oldest first."""
        ...

    def add(self, tenant_id: str, letter: Letter, now: datetime) -> None:
        """Have a document sent to a vendor."""
        ...

    def answered(self, tenant_id: str, number: int) -> None:
        """Note that a document was answered."""
        ...


def address(url: str, *, is_plain: bool) -> str:
    """Give the address of a vendor's server as it is used: without a slash at its end.

    Raises:
        CannotDo: it is none, or would be reached without TLS.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        raise CannotDo(_NO_URL) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise CannotDo(_NO_URL)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not is_plain:
        raise CannotDo(
            "what is said to a vendor over plain http can be read and held back on its way: write https://, or say"
            " --insecure-http if the line is safe by other means"
        )
    return parts.geturl().rstrip("/")


_NO_URL: Final = "the vendor's server is named by a URL such as https://licenses.example.com"
