"""Whom an application believes: one pinned root, the keys it certified, the leases those signed.

The chain is: the tenant's root (its public key is pinned in the application's code) signs certificates and nothing else;
a certified key signs leases. A lease is believed when the chain holds *and* the lease speaks of this tenant, product,
seat, device and the nonce just sent *and* lies within what the certificate covers (contract, "Rules of the seat", 7).
Nothing outside a believed lease is trusted. Whether a lease was signed alone or in a tree (`tree.py`) makes no difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import json

from seatkeeper.protocol import envelopes, tree
from seatkeeper.protocol.documents import UNREADABLE, CertificateClaims, LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError

_read_lease = json.Decoder(LeaseClaims)
_read_certificate = json.Decoder(CertificateClaims)

_Claims = TypeVar("_Claims", LeaseClaims, CertificateClaims)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the lease just asked for must say; anything else is somebody else's lease."""

    tenant_id: str
    product_id: str
    seat_id: str
    nonce: str
    device: str | None = None  # the public key by which the asking device proved itself, if it did


@dataclass(frozen=True)
class Trust:
    """The roots an application pins, usually one; two while a root is being replaced."""

    roots: tuple[Ed25519PublicKey, ...]

    def certificate(self, token: str) -> CertificateClaims:
        """Give the claims of a certificate signed by a pinned root.

        Raises:
            EnvelopeError: it is forged, malformed or signed by a root that is not pinned.
        """
        keys = {envelopes.key_id(root): root for root in self.roots}
        return _decode(envelopes.open_envelope(token, typ=envelopes.CERTIFICATE, keys=keys), _read_certificate)

    def lease(self, token: str, certificate: CertificateClaims, expected: Expected) -> LeaseClaims:
        """Give the claims of a lease that this application may act on.

        Raises:
            EnvelopeError: with reason `malformed`, `algorithm`, `type`, `unknown-key`, `signature`, `tenant`, `product`,
                `seat`, `nonce`, `issuer`, `validity`, `entitlement`, `feature`, `end`, `epoch` or `device`.
        """
        keys = {certificate.kid: envelopes.read_public_key(certificate.key)}
        claims = _decode(open_lease(token, keys=keys), _read_lease)
        _require("tenant", claims.tid == expected.tenant_id == certificate.tid)
        _require("product", claims.prd == expected.product_id)
        _require("seat", claims.sub == expected.seat_id)
        _require("nonce", claims.nonce == expected.nonce)
        _require("issuer", claims.iss == certificate.iss)
        _require("validity", certificate.nbf <= claims.iat < claims.exp <= certificate.exp)
        _within_grant(claims, certificate)
        _require("device", claims.dev == expected.device)
        return claims


def open_lease(token: str, *, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """Give the payload of a lease that one of these keys signed, alone or in a tree. Its shape, then its type say which.

    Raises:
        EnvelopeError: with reason `malformed`, `algorithm`, `type`, `unknown-key` or `signature`.
    """
    if tree.is_in_tree(token):
        return tree.open_leaf(token, keys=keys)
    return envelopes.open_envelope(token, typ=envelopes.LEASE, keys=keys)


def read_unverified_lease(token: str) -> LeaseClaims:
    """Give the claims of a lease of either type WITHOUT checking its signature.

    Raises:
        EnvelopeError: it is malformed.
    """
    parts = tree.PARTS if tree.is_in_tree(token) else envelopes.PARTS
    return _decode(envelopes.peek(token, parts), _read_lease)


def _within_grant(claims: LeaseClaims, certificate: CertificateClaims) -> None:
    covers = certificate.covers
    if covers is None:
        return
    _require("entitlement", claims.ent in covers.entitlements)
    _require("feature", all(amount <= covers.features.get(key, 0) for key, amount in claims.feat.items()))
    _require("end", claims.exp <= covers.end)
    _require("epoch", certificate.epo is None or certificate.epo <= claims.epo)
    if covers.each is None:
        return
    _require("entitlement", claims.ent in covers.each)
    mine = covers.each[claims.ent]
    _require("feature", all(_is_within(amount, mine.features.get(key, 0)) for key, amount in claims.feat.items()))
    _require("end", claims.exp <= mine.end)


def _is_within(amount: int, most: int | None) -> bool:
    return most is None or amount <= most


def _require(reason: str, holds: bool) -> None:
    if not holds:
        raise EnvelopeError(reason, f"the lease's {reason} is not the expected one")


def _decode(payload: bytes, decoder: json.Decoder[_Claims]) -> _Claims:
    try:
        return decoder.decode(payload)
    except UNREADABLE as error:
        raise EnvelopeError("malformed", f"unexpected claims: {error}") from error
