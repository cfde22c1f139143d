"""Whom an application believes. Each forged chain is in `tests/vectors/`; here are the rules that no single case shows.

Every lease in here is signed both alone and in a tree: what it may say has nothing to do with that.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs, to_builtins

from seatkeeper.protocol import envelopes, tree
from seatkeeper.protocol.documents import CertificateClaims, Covers, LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.ids import b64url
from seatkeeper.protocol.trust import Expected, Trust, read_unverified_lease

ROOT, SIGNER = (Ed25519PrivateKey.from_private_bytes(name.ljust(32, b"!")) for name in (b"root", b"signer"))
KID = envelopes.key_id(SIGNER.public_key())
TRUST = Trust((ROOT.public_key(),))
EXPECTED = Expected(tenant_id="t_1", product_id="prod_1", seat_id="ada@host", nonce="nonce-nonce-nonce")

LEASE = LeaseClaims(
    iss="db_1", tid="t_1", prd="prod_1", edn="ed_1", ent="ent_1", act="act_1", gen=1, sub="ada@host", feat={"render": 2},
    iat=1000.0, exp=1120.0, epo=1, seq=7, nonce="nonce-nonce-nonce",
)  # fmt: skip
CERTIFICATE = CertificateClaims(
    tid="t_1", iss="db_1", kid=KID, key=envelopes.public_key_text(SIGNER.public_key()), iat=900.0, nbf=900.0, exp=2000.0
)
GRANTED = structs.replace(CERTIFICATE, covers=Covers(entitlements=["ent_1"], features={"render": 2}, end=1500.0))

seconds = st.floats(min_value=0, max_value=4000, allow_nan=False)


def signed(claims: LeaseClaims) -> list[str]:
    """Sign a lease as a server does, alone and together with another."""
    payload = json.encode(claims)
    alone = envelopes.sign(payload, typ=envelopes.LEASE, kid=KID, key=SIGNER)
    return [alone, tree.sign_batch([b"{}", payload], kid=KID, key=SIGNER)[1]]


def refusal_of(claims: LeaseClaims, certificate: CertificateClaims = CERTIFICATE, expected: Expected = EXPECTED) -> str | None:
    """Give the reason why a properly signed lease is refused, or None if it is believed: the same for either type."""
    alone, in_tree = (_refusal_of(token, certificate, expected) for token in signed(claims))
    assert alone == in_tree
    return alone


@given(iat=seconds, exp=seconds)
def test_a_lease_lies_within_its_certificate(iat: float, exp: float) -> None:
    """nbf <= iat < exp <= the certificate's exp, and nothing else is believed."""
    claims = structs.replace(LEASE, iat=iat, exp=exp)

    assert (refusal_of(claims) is None) == (900.0 <= iat < exp <= 2000.0)


@given(exp=seconds, amounts=st.dictionaries(st.sampled_from(["render", "export"]), st.integers(0, 4)))
def test_a_local_servers_lease_lies_within_its_grant(exp: float, amounts: dict[str, int]) -> None:
    """No feature the grant lacks, none beyond its amount, no moment beyond its end."""
    claims = structs.replace(LEASE, exp=exp, feat=amounts)
    within = 1000.0 < exp <= 1500.0 and amounts.get("render", 0) <= 2 and amounts.get("export", 0) == 0

    assert (refusal_of(claims, GRANTED) is None) == within


@pytest.mark.parametrize(
    ("field", "reason"),
    [("tenant_id", "tenant"), ("product_id", "product"), ("seat_id", "seat"), ("nonce", "nonce"), ("device", "device")],
)
def test_each_expectation_alone_is_enough_to_refuse(field: str, reason: str) -> None:
    """A lease of another tenant, product, seat, call or device is somebody else's."""
    expected = Expected(**{**_fields(EXPECTED), field: "something else"})

    assert refusal_of(LEASE, expected=expected) == reason


def test_a_certificate_of_another_tenant_carries_no_lease() -> None:
    """Lease and expectation agree, but the root certified the key for somebody else."""
    assert refusal_of(LEASE, structs.replace(CERTIFICATE, tid="t_2")) == "tenant"


def test_without_a_pinned_root_no_certificate_is_believed() -> None:
    """No key is an error, not a warning."""
    token = envelopes.sign(json.encode(CERTIFICATE), typ=envelopes.CERTIFICATE, kid=_kid(ROOT), key=ROOT)

    assert TRUST.certificate(token) == CERTIFICATE
    with pytest.raises(EnvelopeError):
        Trust(()).certificate(token)


def test_an_unverified_lease_is_read_whoever_signed_it() -> None:
    """A server looks into `lastLease` before it knows which key to ask; its name warns."""
    stranger = envelopes.sign(json.encode(LEASE), typ="anything", kid="?", key=ROOT)
    strangers = tree.sign_batch([json.encode(LEASE), b"{}"], kid="?", key=ROOT)

    assert read_unverified_lease(stranger) == read_unverified_lease(strangers[0]) == LEASE


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"\xff", b'{"iss":"\xff"}', b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"],
    ids=["empty", "object", "array", "no-text", "latin-1", "nested"],
)
def test_an_unverified_lease_of_rubbish_is_an_envelope_error(payload: bytes) -> None:
    """It comes from anybody; no foreign exception crosses our border."""
    for rest in ("AA", "AA.AA"):
        with pytest.raises(EnvelopeError) as refusal:
            read_unverified_lease(f"e30.{b64url(payload)}.{rest}")

        assert refusal.value.reason == "malformed"


def _refusal_of(token: str, certificate: CertificateClaims, expected: Expected) -> str | None:
    try:
        TRUST.lease(token, certificate, expected)
    except EnvelopeError as error:
        return error.reason
    return None


def _fields(expected: Expected) -> dict[str, str]:
    fields: dict[str, str] = to_builtins(expected)
    return fields


def _kid(key: Ed25519PrivateKey) -> str:
    return envelopes.key_id(key.public_key())
