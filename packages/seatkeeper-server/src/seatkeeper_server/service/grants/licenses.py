"""This server's own license from a vendor: asked for, given, shown, and given back."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from seatkeeper.protocol import codes, envelopes
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import tokens
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import License, OwnLicense, TokenRefused
from seatkeeper_server.service.grants import documents
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.service.suspicion import believe_again
from seatkeeper_server.statements import LicenseEnded, LicenseGiven, LicenseRequest, at, public_text

MAX_NAME: Final = 50  # characters of a server's name


def request(server: LocalServer, tenant_id: str, code: str, name: str) -> str:
    """Ask a vendor for a license, under his activation code; give the document to carry to him."""
    if codes.is_mistyped(code):
        raise CannotDo("the activation code is mistyped: its check character doesn't fit")
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        raise CannotDo(f"a server's name is 1 to {MAX_NAME} printable characters")
    known, challenge = server.own(tenant_id), b64url(server.random(24))
    asked = OwnLicense(tenant_id=tenant_id, name=name.strip(), challenge=challenge, asked_at=server.now)
    kept = asked if known is None else replace(known, challenge=challenge, name=asked.name, asked_at=server.now)
    server.books.sites.save_own_license(kept)
    return _request(server, asked, code)


def _request(server: LocalServer, asked: OwnLicense, code: str) -> str:
    signer = server.keys.own_signing_key(server.now)
    said = LicenseRequest(
        tid=asked.tenant_id,
        jti=b64url(server.random(16)),
        iat=server.now.timestamp(),
        name=asked.name,
        challenge=asked.challenge,
        signing_key=envelopes.public_key_text(signer.public_key()),
        sealing_key=public_text(server.keys.sealing_key("", server.now)),
        iss=server.keys.database_id(),
    )
    return tokens.sealed_by_code(said, signer=signer, code=code)


def take(server: LocalServer, said: LicenseGiven) -> None:
    """Have the license that a vendor gives, or goes on giving."""
    own = server.own(said.tid)
    assert own is not None  # else its root would not have been believed
    documents.apply_once(server, said)
    if own.is_licensed and said.site != own.site_id:
        raise TokenRefused("offline.wrongServer", f"this token is for the server {said.site}, and this is {own.site_id}")
    if said.seq <= own.epoch and said.site == own.site_id:
        raise TokenRefused("offline.tooOld", "a later document from this vendor was applied before: ask for a fresh one")
    server.books.sites.put_tenant(said.tid, said.vendor, said.contact, server.now)
    server.keys.welcome(said.tid, said.root, said.certificate, server.now)
    given = replace(
        own,
        site_id=said.site,
        name=said.name,
        root_key=said.root,
        sealing_key=said.sealing_key,
        lease_ends_at=at(said.lease_ends_at),
        patience=timedelta(seconds=said.patience),
        ended_at=None,
    )
    believe_again(server.books, given, said, server.now)
    server.note((said.tid, said.tid), "licensed", {"site": said.site})


def shown(server: LocalServer) -> list[License]:
    """Give this server's licenses as its administrator is shown them, one a vendor."""
    return [_shown(server, own) for own in server.books.sites.own_licenses()]


def _shown(server: LocalServer, own: OwnLicense) -> License:
    over = own.lease_ends_at is not None and own.lease_ends_at <= server.now
    return License(
        tenant_id=own.tenant_id,
        status="notActive" if not own.is_licensed else "expired" if over else "active",
        site_id=own.site_id,
        name=own.name,
        lease_ends_at=own.lease_ends_at,
        state=own.state,
        serves_until=own.suspect_until,
    )


def give_back(server: LocalServer, tenant_id: str) -> str:
    """Give the license back, which takes effect at once, and give the document that says so."""
    own = server.licensed(tenant_id)
    if lent := server.running(tenant_id):
        raise CannotDo(
            f"{len(lent)} entitlements are still lent to this server: give them back first (`seatkeeper token remove`)"
        )
    own = replace(own, sent=own.sent + 1, ended_at=server.now)
    server.books.sites.save_own_license(own)
    return documents.sealed(server, own, LicenseEnded(**documents.head(server, own), name=own.name))
