"""Whatever a stranger writes, a document is read or is unreadable: nothing else comes out, of us, joserfc or cryptography."""

from contextlib import suppress
from json import dumps
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe
from msgspec import json
from msgspec.structs import asdict

from seatkeeper.protocol import codes, envelopes
from seatkeeper.protocol.documents import CertificateClaims
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.statements import Unreadable

SITE, ROOT, VENDOR = (Ed25519PrivateKey.generate() for _ in range(3))
OWN = X25519PrivateKey.generate()
CODE = codes.make_code(bytes(codes.RANDOM_BYTES))
RECEIVER = statements.public_text(OWN)
WITHIN = settings(max_examples=250, deadline=None)


def key_text(key: Ed25519PrivateKey) -> str:
    return envelopes.public_key_text(key.public_key())


def certificate(key: Ed25519PrivateKey) -> str:
    claims = CertificateClaims(
        tid="t", iss="db", kid=envelopes.key_id(key.public_key()), key=key_text(key), iat=1e9, nbf=1e9, exp=3e9
    )
    kid = envelopes.key_id(ROOT.public_key())
    return envelopes.sign(json.encode(claims), typ=envelopes.CERTIFICATE, kid=kid, key=ROOT)


HEAD: dict[str, Any] = {"tid": "t", "site": "s", "jti": "j", "iat": 1.8e9, "seq": 1}
ASKED = statements.LicenseRequest(
    tid="t",
    jti="j",
    iat=1.8e9,
    name="lab",
    challenge="c",
    signing_key=key_text(SITE),
    sealing_key=RECEIVER,
    iss="db",
)
REPORTED = statements.Reported(**HEAD, state="ok", epoch=1, uses=[])
GIVEN = statements.LicenseGiven(
    **HEAD,
    name="lab",
    challenge="c",
    root=key_text(ROOT),
    vendor="v",
    contact=None,
    sealing_key=RECEIVER,
    issuer=certificate(VENDOR),
    lease_ends_at=1.9e9,
    patience=0,
    certificate=certificate(SITE),
)
REAL = {
    "request": tokens.sealed_by_code(ASKED, signer=SITE, code=CODE),
    "report": tokens.sealed(REPORTED, signer=SITE, receiver=RECEIVER),
    "license": tokens.sealed(GIVEN, signer=VENDOR, receiver=RECEIVER),
}


def read(token: str) -> list[statements.Said]:
    """Read a token in every way there is; what could be read."""
    tokens.is_request(token)
    found: list[statements.Said] = []
    with suppress(Unreadable):
        tokens.receiver_of(token)
    with suppress(Unreadable):
        found.append(tokens.open_by_code(token, CODE))
    with suppress(Unreadable):
        found.append(tokens.open_from_site(token, own=OWN, key_of=lambda _: key_text(SITE)))
    with suppress(Unreadable):
        found.append(tokens.open_from_vendor(token, own=OWN, root_of=lambda said: getattr(said, "root", key_text(ROOT))))
    return found


def written(data: object) -> str:
    """Write a header, or claims, as other programs may: with NaN, and halves of characters."""
    return b64url(dumps(data, separators=(",", ":")).encode())


def sealed(text: str) -> str:
    """Seal any text, as who has the receiver's key, which is no secret, can."""
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": tokens.SEALED, "kid": "k"}
    key = tokens.OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": RECEIVER})
    return jwe.encrypt_compact(header, text, key, algorithms=["ECDH-ES", "A256GCM"])


def signed(payload: bytes, key: Ed25519PrivateKey) -> str:
    """Sign and seal any claims."""
    return sealed(envelopes.sign(payload, typ=tokens.TYPE, kid=envelopes.key_id(key.public_key()), key=key))


# --- headers -------------------------------------------------------------------------------------------------------

GOOD = json.decode(envelopes.unb64url(REAL["report"].partition(".")[0]))
WORDS = st.sampled_from([
    "alg", "enc", "zip", "DEF", "epk", "crv", "x", "d", "kty", "OKP", "X25519", "X448", "Ed25519", "P-256", "EC", "oct", "dir",
    "ECDH-ES", "ECDH-ES+A256KW", "A256GCM", "A128CBC-HS256", "PBES2-HS256+A128KW", "RSA1_5", "crit", "b64", "apu", "apv", "use",
    "sig", "key_ops", "deriveKey", "kid", "typ", "cty", "jwk", "jku", "x5u", "x5c", "p2s", "p2c", "iv", "tag",
])  # fmt: skip
LEAVES = (
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**30, "\ud800"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
)
FIELDS = st.dictionaries(WORDS, VALUES, max_size=4)
HEADERS = st.one_of(
    VALUES,
    FIELDS.map(lambda more: {**GOOD, **more}),
    FIELDS.map(lambda more: {**GOOD, "epk": {**GOOD["epk"], **more}}),
    st.binary(max_size=64).map(lambda raw: {**GOOD, "epk": {**GOOD["epk"], "x": b64url(raw)}}),
    FIELDS.map(lambda more: {**GOOD, "alg": "dir", **more}),
)
PARTS = st.sampled_from(["", "A", "AA", "A" * 16, "A" * 22, "A" * 43, "é", "=", "A B", "\n"]) | st.text(max_size=4)


@WITHIN
@given(HEADERS, PARTS, PARTS, PARTS, PARTS)
def test_any_header_and_any_parts(header: object, key: str, iv: str, ciphertext: str, tag: str) -> None:
    """Unknown algorithms, curves and keys, wrong types, huge numbers, compression: the token is unreadable."""
    token = ".".join([written(header), key, iv, ciphertext, tag])

    assert read(token) == []


@WITHIN
@given(HEADERS, st.sampled_from(sorted(REAL)))
def test_any_header_before_the_rest_of_a_real_token(header: object, kind: str) -> None:
    """The header is sealed too: with another one a token opens no more, whatever it says."""
    _, _, rest = REAL[kind].partition(".")
    token = f"{written(header)}.{rest}"

    assert read(token) == [] or token == REAL[kind]


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"kid":' * 50_000, b'{"kid":1e999}', b"\xff", b'"alg enc"', b"9" * 5_000])
def test_headers_that_are_hard_to_read(raw: bytes) -> None:
    """Nested too deep, out of any range, no text, no object: unreadable."""
    assert read(f"{b64url(raw)}..{'A' * 16}.AA.{'A' * 22}") == []


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f", bytes(31), bytes(33)])
def test_keys_that_nothing_can_be_agreed_with(point: bytes) -> None:
    """A point of small order, or no point at all, is no sender's key."""
    header = {**GOOD, "epk": {**GOOD["epk"], "x": b64url(point)}}

    assert read(f"{written(header)}..{'A' * 16}.AA.{'A' * 22}") == []


# --- real tokens, changed ------------------------------------------------------------------------------------------


@WITHIN
@given(st.sampled_from(sorted(REAL)), st.data())
def test_a_real_token_changed_anywhere(kind: str, data: st.DataObject) -> None:
    """Some characters more, fewer or others: it says what it said, or is unreadable."""
    token = REAL[kind]
    begin = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(begin, min(len(token), begin + 40)))
    middle = data.draw(st.text(st.sampled_from("AZaz09-_.=+ \n\0é\ud800"), max_size=6))
    changed = token[:begin] + middle + token[end:]

    assert all(said in (ASKED, REPORTED, GIVEN) for said in read(changed))
    assert read(changed) == [] or changed.strip() == token


# --- what is inside, sealed by somebody who may --------------------------------------------------------------------

FIELD_NAMES = sorted({name for said in (ASKED, REPORTED, GIVEN) for name in asdict(said)} | {"kind", "uses", "snapshot"})
CLAIMS = st.sampled_from([ASKED, REPORTED, GIVEN]).flatmap(
    lambda said: st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES, max_size=3).map(
        lambda more: {**json.decode(json.encode(said)), **more}
    )
)


@WITHIN
@given(VALUES | CLAIMS, st.sampled_from([SITE, VENDOR]))
def test_any_signed_claims(claims: object, key: Ed25519PrivateKey) -> None:
    """Well signed and sealed, and nonsense inside: it is read as one of our documents, or unreadable."""
    for said in read(signed(dumps(claims).encode(), key)):
        assert isinstance(said, statements.Said)


@WITHIN
@given(st.binary(max_size=80))
def test_any_signed_bytes(payload: bytes) -> None:
    """No text, no JSON: unreadable."""
    assert read(signed(payload, SITE)) == []


@WITHIN
@given(st.text(max_size=40) | st.lists(PARTS, min_size=3, max_size=3).map(".".join))
def test_anything_sealed_that_is_not_signed(text: str) -> None:
    """What is inside has to be a signed document."""
    assert read(sealed(text)) == []
