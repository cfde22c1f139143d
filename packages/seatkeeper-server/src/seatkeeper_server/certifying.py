"""The keys of a local license server, and the certificate by which a vendor's root lets it sign what he lent to it.

A local server has one signing key, made on its first start. For each vendor it signs under a certificate of that vendor's root,
which says which entitlements it may sign for, how much of each feature, and until when: an application that pins the root
needs to know nothing else. Secrets for access tokens and codes are the server's own. The root's private part never comes here.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.documents import CertificateClaims
from seatkeeper_server.keys import (
    ACCESS_TOKEN,
    CODE,
    CURRENT,
    ROOT,
    SIGNING,
    KeyRow,
    Random,
    key_pair_row,
    sealed_row,
    secret_row,
)
from seatkeeper_server.sealing import SealKey

_encode = json.Encoder().encode


def certified(rows: Iterable[KeyRow], claims: CertificateClaims, seal: SealKey) -> str:
    """Give the certificate over these claims, signed by the tenant's root.

    Raises:
        SealKeyError: the sealing key doesn't fit.
    """
    row = next(row for row in rows if row.purpose == ROOT and row.state == CURRENT)
    root = Ed25519PrivateKey.from_private_bytes(seal.open(row.sealed, row.context))
    return envelopes.sign(_encode(claims), typ=envelopes.CERTIFICATE, kid=envelopes.key_id(root.public_key()), key=root)


def opened_signing_key(rows: Iterable[KeyRow], seal: SealKey) -> tuple[Ed25519PrivateKey, str]:
    """Give a tenant's current signing key and its certificate."""
    row = next(row for row in rows if row.purpose == SIGNING and row.state == CURRENT)
    return Ed25519PrivateKey.from_private_bytes(seal.open(row.sealed, row.context)), row.certificate or ""


def guest_keys(
    tenant_id: str,
    *,
    root_key: str,
    signing: Ed25519PrivateKey,
    certificate: str,
    until: datetime,
    seal: SealKey,
    now: datetime,
    random: Random,
) -> list[KeyRow]:
    """Give the rows by which a local server serves a vendor's programs: his root's public part, and secrets of its own."""
    root = envelopes.read_public_key(root_key)
    row = key_pair_row(tenant_id, SIGNING, signing, seal, now)
    return [
        sealed_row(tenant_id, ROOT, envelopes.key_id(root), root_key, b"", seal, now),
        replace(row, certificate=certificate, expires_at=until),
        secret_row(tenant_id, ACCESS_TOKEN, seal, now, random),
        secret_row(tenant_id, CODE, seal, now, random),
    ]
