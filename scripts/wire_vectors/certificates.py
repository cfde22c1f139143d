"""Certificates, good and forged: does a pinned root vouch for this signing key?"""

from collections.abc import Iterator
from typing import Any

from msgspec import json
from scripts.wire_vectors import world
from scripts.wire_vectors.world import Case, Claims, certificate, certificate_claims

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url


def cases() -> list[Case]:
    """Give all certificate cases."""
    return [*_good(), *_forged(), *_malformed()]


def _good() -> Iterator[Case]:
    yield _believed("good", "A cloud's key, certified by the pinned root.", certificate_claims())
    yield _believed(
        "good-local-server", "A local server's key, with what its grant covers.", certificate_claims(covers=world.grant())
    )
    odd = certificate_claims(covers=world.grant(entitlements=[], features={}))
    yield _believed("good-covers-nothing", "A grant of nothing is still well-formed.", odd)
    yield _believed(
        "good-fractional-times", "Moments may have a fraction.", certificate_claims(exp=world.CERTIFIED_UNTIL + 0.5)
    )
    yield _believed(
        "good-null-covers", "Null is the same as no `covers`.", certificate_claims(covers=None), certificate_claims()
    )
    yield _believed("good-unknown-claim", "A claim added later is ignored.", certificate_claims(note="x"), certificate_claims())
    roots = [world.public_text(world.OTHER_ROOT), world.public_text(world.ROOT)]
    yield _believed("good-second-root", "Two roots are pinned while one is replaced.", certificate_claims(), roots=roots)


def _forged() -> Iterator[Case]:
    good = certificate()
    header, payload, signature = good.split(".")
    stolen = certificate(certificate_claims(exp=world.CERTIFIED_UNTIL + 1)).split(".")[1]
    impostor = certificate(key=world.OTHER_ROOT, kid=world.key_id(world.ROOT))
    yield _refused("other-root", "Signed by a root that is not pinned.", certificate(key=world.OTHER_ROOT), "unknown-key")
    yield _refused("impostor-root", "Another root under the pinned one's `kid`.", impostor, "signature")
    yield _refused("no-root-pinned", "Without a pinned root nothing is believed.", good, "unknown-key", roots=[])
    yield _refused("self-signed", "The signing key certifies itself.", certificate(key=world.SIGNER), "unknown-key")
    yield _refused("longer-validity", "A later end, under the old signature.", f"{header}.{stolen}.{signature}", "signature")
    yield _refused("signature-missing", "The signature is empty.", f"{header}.{payload}.", "signature")
    yield _refused(
        "alg-none", "No signature, and the header says so.", f"{certificate(alg='none').rsplit('.', 1)[0]}.", "algorithm"
    )
    yield _refused("alg-eddsa", "The older algorithm name.", certificate(alg="EdDSA"), "algorithm")
    yield _refused("lease-as-certificate", "A lease where a certificate belongs.", world.lease(), "type")
    signed_by_root = certificate(world.lease_claims(), typ=envelopes.LEASE)
    yield _refused("lease-by-root", "Signed by the root, but as a lease.", signed_by_root, "type")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": world.public_text(world.OTHER_ROOT)}
    yield _refused("embedded-jwk", "It brings its own root.", certificate(key=world.OTHER_ROOT, jwk=jwk), "malformed")
    yield _refused("embedded-x5c", "It brings a chain of its own.", certificate(x5c=["MII"]), "malformed")


def _malformed() -> Iterator[Case]:
    for claim in ("tid", "iss", "kid", "key", "iat", "nbf", "exp"):
        yield _refused(
            f"no-{claim}", f"The claim `{claim}` is missing.", certificate(certificate_claims(**{claim: ...})), "malformed"
        )
    wrong: tuple[tuple[str, str, Claims], ...] = (
        ("exp-text", "A moment is a number.", {"exp": "1800000000"}),
        ("key-null", "A certificate is over a key.", {"key": None}),
        ("covers-list", "What a grant covers is an object.", {"covers": [world.ENTITLEMENT]}),
        ("covers-without-end", "A grant has an end.", {"covers": world.grant(end=...)}),
        ("covers-without-entitlements", "A grant names its entitlements.", {"covers": world.grant(entitlements=...)}),
        ("covers-without-features", "A grant names its features.", {"covers": world.grant(features=...)}),
        ("covers-entitlement-number", "An entitlement's id is text.", {"covers": world.grant(entitlements=[7])}),
        ("covers-amount-text", "An amount is a number.", {"covers": world.grant(features={"render": "10"})}),
    )
    for name, why, change in wrong:
        yield _refused(name, why, certificate(certificate_claims(**change)), "malformed")
    yield _refused(
        "lease-claims", "A lease's claims under a certificate's header.", certificate(world.lease_claims()), "malformed"
    )
    header, payload, signature = certificate().split(".")
    yield _refused("padded", "Padding is not allowed.", f"{header}.{payload}.{signature}==", "malformed")
    yield _refused("truncated", "The end is missing.", certificate()[:100], "malformed")
    not_ours = world.signed_parts(b64url(b"{}"), b64url(json.encode(certificate_claims())), key=world.ROOT)
    yield _refused("header-empty", "The header says nothing.", not_ours, "malformed")


def _believed(name: str, why: str, claims: Claims, result: Claims | None = None, **inputs: Any) -> Case:
    return _case(name, why, certificate(claims), {"claims": result or claims}, **inputs)


def _refused(name: str, why: str, token: str, reason: str, **inputs: Any) -> Case:
    return _case(name, why, token, {"reason": reason}, **inputs)


def _case(name: str, why: str, token: str, result: Claims, roots: list[str] | None = None) -> Case:
    pinned = [world.public_text(world.ROOT)] if roots is None else roots
    return {"name": name, "why": why, "roots": pinned, "certificate": token, "result": result}
