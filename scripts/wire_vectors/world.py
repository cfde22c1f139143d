"""The small world that all vectors live in: test keys, one tenant, one seat, one certificate, one lease.

THE KEYS ARE TEST KEYS: their seeds are hashes of public sentences. Pin none of them anywhere.
"""

from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from seatkeeper.protocol import envelopes, ids

Claims = dict[str, Any]  # deliberately loose: forgers put anything anywhere
Case = dict[str, Any]


def test_seed(name: str) -> bytes:
    """Give the 32-byte seed of a test key; the sentence says what it is worth."""
    return sha256(f"seatkeeper wire vectors, test key, never pin this: {name}".encode()).digest()


def test_key(name: str) -> Ed25519PrivateKey:
    """Give the test key of that name."""
    return Ed25519PrivateKey.from_private_bytes(test_seed(name))


def public_text(key: Ed25519PrivateKey) -> str:
    """Give the public half as it is pinned in an application."""
    return envelopes.public_key_text(key.public_key())


def key_id(key: Ed25519PrivateKey) -> str:
    """Give the `kid` of a key."""
    return envelopes.key_id(key.public_key())


def test_id(prefix: str, name: str) -> str:
    """Give an id that looks drawn but is the same every time."""
    return ids.make_id(prefix, sha256(name.encode()).digest()[: ids.RANDOM_BYTES])


ROOT: Final = test_key("root")
OTHER_ROOT: Final = test_key("root of another vendor")
SIGNER: Final = test_key("signing key of a server")
STRANGER: Final = test_key("signing key nobody certified")

TENANT: Final = test_id(ids.TENANT, "tenant")
OTHER_TENANT: Final = test_id(ids.TENANT, "another tenant")
PRODUCT: Final = test_id(ids.PRODUCT, "solver")
OTHER_PRODUCT: Final = test_id(ids.PRODUCT, "viewer")
EDITION: Final = test_id(ids.EDITION, "standard")
ENTITLEMENT: Final = test_id(ids.ENTITLEMENT, "bought")
OTHER_ENTITLEMENT: Final = test_id(ids.ENTITLEMENT, "bought by another")
ACTIVATION: Final = test_id(ids.ACTIVATION, "held")
DATABASE: Final = test_id(ids.DATABASE, "cloud")
OTHER_DATABASE: Final = test_id(ids.DATABASE, "elsewhere")
SEAT: Final = "ada@workstation-7/0"
NONCE: Final = ids.b64url(sha256(b"nonce of this call").digest()[:18])
OTHER_NONCE: Final = ids.b64url(sha256(b"nonce of an earlier call").digest()[:18])

NOW: Final = 1_800_000_000  # 2027-01-15T08:00:00Z
DAY: Final = 86_400
CERTIFIED_FROM: Final = NOW - DAY
CERTIFIED_UNTIL: Final = NOW + 90 * DAY
LEASE_SECONDS: Final = 120

KEYS: Final = {"root": ROOT, "otherRoot": OTHER_ROOT, "signer": SIGNER, "stranger": STRANGER}
EXPECTED: Final = {"tenantId": TENANT, "productId": PRODUCT, "seatId": SEAT, "nonce": NONCE}


def test_keys() -> dict[str, dict[str, str]]:
    """Give every test key as a reader in another language needs it, seeds included, so that he can forge too."""
    return {
        name: {"kid": key_id(key), "publicKey": public_text(key), "seedHex": key.private_bytes_raw().hex()}
        for name, key in KEYS.items()
    }


def lease_claims(**changes: Any) -> Claims:
    """Give the claims of the good lease, with changes; a change to `...` removes the claim."""
    claims: Claims = {
        "iss": DATABASE, "tid": TENANT, "prd": PRODUCT, "edn": EDITION, "ent": ENTITLEMENT, "act": ACTIVATION,
        "gen": 3, "sub": SEAT, "feat": {"render": 4}, "iat": NOW, "exp": NOW + LEASE_SECONDS, "epo": 1, "seq": 4711,
        "nonce": NONCE,
    }  # fmt: skip
    return changed(claims, changes)


def certificate_claims(**changes: Any) -> Claims:
    """Give the claims of the good certificate, with changes; a change to `...` removes the claim."""
    claims: Claims = {
        "tid": TENANT, "iss": DATABASE, "kid": key_id(SIGNER), "key": public_text(SIGNER),
        "iat": CERTIFIED_FROM, "nbf": CERTIFIED_FROM, "exp": CERTIFIED_UNTIL,
    }  # fmt: skip
    return changed(claims, changes)


def grant(**changes: Any) -> Claims:
    """Give what a local server's certificate covers: one entitlement, ten of one feature, thirty days."""
    return changed({"entitlements": [ENTITLEMENT], "features": {"render": 10}, "end": NOW + 30 * DAY}, changes)


def lease(claims: Claims | bytes | None = None, *, key: Ed25519PrivateKey = SIGNER, **header: Any) -> str:
    """Give a lease, by default the good one; `header` changes header members (`...` removes one)."""
    return envelope(lease_claims() if claims is None else claims, key=key, **{"typ": envelopes.LEASE, **header})


def certificate(claims: Claims | bytes | None = None, *, key: Ed25519PrivateKey = ROOT, **header: Any) -> str:
    """Give a certificate, by default the good one; `header` changes header members (`...` removes one)."""
    return envelope(certificate_claims() if claims is None else claims, key=key, **{"typ": envelopes.CERTIFICATE, **header})


def envelope(claims: Claims | bytes, *, key: Ed25519PrivateKey, **header: Any) -> str:
    """Sign claims under a header of one's choice, which `envelopes.sign` rightly doesn't offer."""
    head = changed({"alg": envelopes.ALGORITHM, "typ": "", "kid": key_id(key)}, header)
    payload = claims if isinstance(claims, bytes) else json.encode(claims)
    return signed_parts(ids.b64url(json.encode(head)), ids.b64url(payload), key=key)


def signed_parts(header: str, payload: str, *, key: Ed25519PrivateKey) -> str:
    """Sign two parts as they are, well-formed or not."""
    signed = f"{header}.{payload}"
    return f"{signed}.{ids.b64url(key.sign(signed.encode()))}"


def changed(original: Claims, changes: Claims) -> Claims:
    """Give members with changes; a change to `...` removes one."""
    return {key: value for key, value in {**original, **changes}.items() if value is not ...}
