"""The documents between this server and its vendors: opened once, and in their order; made, and sent if there is a line.

The first root that is believed is the one of who repeats the challenge of a request, since only the vendor knows the activation
code that it was sealed under; from then on no other is (decision 0018).
"""

from typing import Any

from seatkeeper.protocol.ids import b64url
from seatkeeper_server import tokens
from seatkeeper_server.service.connections import Letter
from seatkeeper_server.service.delegation import OwnLicense, TokenRefused, readable, writable
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.statements import FromVendor, LicenseGiven, Said, public_text, sealing_kid

# --- from a vendor -------------------------------------------------------------------------------------------------


def opened(server: LocalServer, token: str) -> FromVendor:
    """Give what a vendor says to this server.

    Raises:
        TokenRefused: it is for another server, or from nobody who is believed.
    """
    own = server.keys.sealing_key("", server.now)
    if readable(lambda: tokens.receiver_of(token)) != sealing_kid(public_text(own)):
        raise TokenRefused("offline.wrongServer", "this token was made for another server: carry it to the one it is for")
    return readable(lambda: tokens.open_from_vendor(token, own=own, root_of=lambda said: _root_of(server, said)))


def _root_of(server: LocalServer, said: FromVendor) -> str | None:
    """Give the root to believe: the one that was believed before; at first, the one of who repeats the challenge."""
    own = server.own(said.tid)
    if own is None:
        return None
    if own.root_key is not None:
        return own.root_key
    answers = isinstance(said, LicenseGiven) and said.challenge == own.challenge
    return said.root if isinstance(said, LicenseGiven) and answers else None


def apply_once(server: LocalServer, said: FromVendor) -> None:
    """Remember that a document was applied.

    Raises:
        TokenRefused: it was applied before.
    """
    if server.books.sites.has_applied(said.tid, said.jti):
        raise TokenRefused(TokenRefused.REPLAYED, "this token was applied before; nothing was changed")
    server.books.sites.note_applied(said.tid, said.jti, server.now)


# --- to a vendor ---------------------------------------------------------------------------------------------------


def head(server: LocalServer, own: OwnLicense) -> dict[str, Any]:
    """Give what every document says, by name."""
    jti = b64url(server.random(16))
    return {"tid": own.tenant_id, "site": own.site_id, "jti": jti, "iat": server.now.timestamp(), "seq": own.sent}


def sealed(server: LocalServer, own: OwnLicense, said: Said) -> str:
    """Give the document that says this to a vendor; where there is a line to him, it is sent too."""
    signer = server.keys.own_signing_key(server.now)
    token = writable(lambda: tokens.sealed(said, signer=signer, receiver=own.sealing_key or ""))
    if server.books.connections.of(own.tenant_id) is not None:
        server.books.connections.add(own.tenant_id, Letter(said.seq, token), server.now)
    return token
