"""Signed envelopes: compact JWS with Ed25519, and nothing else.

Only what RFC 7515 and RFC 9864 need for our few kinds of document: one algorithm (`Ed25519`), one key found by `kid`,
one expected `typ`. A header that names another algorithm, another type or a key of its own is refused; nothing in a
token ever chooses how it is checked. Sixty lines rather than a JOSE library, because this ships inside other people's
programs. Leases that were signed together have a header like these and a shape of their own: `tree.py`.

>>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
>>> key = Ed25519PrivateKey.from_private_bytes(bytes(32))
>>> token = sign(b'{"a":1}', typ="demo+jwt", kid="k1", key=key)
>>> open_envelope(token, typ="demo+jwt", keys={"k1": key.public_key()})
b'{"a":1}'
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import DecodeError, Struct, json

from seatkeeper.protocol.ids import b64url

LEASE = "seatkeeper-lease+jwt"
CERTIFICATE = "seatkeeper-cert+jwt"
ALGORITHM = "Ed25519"
PARTS = 3
MAX_TOKEN = 16 * 1024  # characters; our longest lease, with 100 features, has about 9,000


class EnvelopeError(ValueError):
    """The document is not what it claims to be. Do not act on it; `reason` says which check failed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Header(Struct, forbid_unknown_fields=True):
    alg: str
    typ: str
    kid: str


_read_header = json.Decoder(_Header).decode


@lru_cache(maxsize=256)
def header_part(typ: str, kid: str) -> str:
    """Give the first part of a token: its header, base64url."""
    return b64url(json.encode(_Header(alg=ALGORITHM, typ=typ, kid=kid)))


def sign(payload: bytes, *, typ: str, kid: str, key: Ed25519PrivateKey) -> str:
    """Give the compact JWS over a payload."""
    signed = f"{header_part(typ, kid)}.{b64url(payload)}"
    return f"{signed}.{b64url(key.sign(signed.encode('ascii')))}"


def open_envelope(token: str, *, typ: str, keys: Mapping[str, Ed25519PublicKey], most: int = MAX_TOKEN) -> bytes:
    """Give the payload of a token of at most so many characters whose signature, type and key are as expected.

    Raises:
        EnvelopeError: with reason `malformed`, `algorithm`, `type`, `unknown-key` or `signature`.
    """
    header, payload, signature = parts_of(token, PARTS, most)
    key = key_for(header, typ=typ, keys=keys)
    verify(key, signature, f"{header}.{payload}".encode("ascii"))
    return unb64url(payload)


def peek(token: str, parts: int = PARTS, most: int = MAX_TOKEN) -> bytes:
    """Give the payload of a token WITHOUT checking anything: for finding out what to check it against."""
    return unb64url(parts_of(token, parts, most)[1])


def key_id(key: Ed25519PublicKey) -> str:
    """Give the `kid` of a public key: the first 16 characters of its SHA-256, base64url."""
    return b64url(sha256(key.public_bytes_raw()).digest())[:16]


def public_key_text(key: Ed25519PublicKey) -> str:
    """Give a public key as it is printed and pinned: 32 raw bytes, base64url, 43 characters."""
    return b64url(key.public_bytes_raw())


def read_public_key(text: str) -> Ed25519PublicKey:
    """Read what `public_key_text` printed.

    Raises:
        EnvelopeError: it is not 32 bytes of base64url.
    """
    raw = unb64url(text.strip())
    if len(raw) != 32:
        raise EnvelopeError("malformed", "a public key is 43 characters of base64url; copy it again from `seatkeeper sell`")
    return Ed25519PublicKey.from_public_bytes(raw)


def unb64url(text: str) -> bytes:
    """Decode base64url without padding, strictly.

    Raises:
        EnvelopeError: with reason `malformed`.
    """
    if not text.isascii() or any(character in text for character in "+/=\n\r \t"):
        raise EnvelopeError("malformed", "not base64url")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError):
        raise EnvelopeError("malformed", "not base64url") from None
    if b64url(raw) != text:
        raise EnvelopeError("malformed", "not canonical base64url")
    return raw


def parts_of(token: str, count: int, most: int = MAX_TOKEN) -> list[str]:
    """Take a token apart at its dots.

    Raises:
        EnvelopeError: with reason `malformed`.
    """
    if len(token) > most or not token.isascii():
        raise EnvelopeError("malformed", "too long or not text")
    parts = token.split(".")
    if len(parts) != count:
        raise EnvelopeError("malformed", "not a compact signed document")
    return parts


def key_for(header: str, *, typ: str, keys: Mapping[str, Ed25519PublicKey]) -> Ed25519PublicKey:
    """Give the key that a header names, if the header is that of a document of the expected type.

    Raises:
        EnvelopeError: with reason `malformed`, `algorithm`, `type` or `unknown-key`.
    """
    head = _parse_header(header)
    if head.alg != ALGORITHM:
        raise EnvelopeError("algorithm", f"signed with {head.alg!r}; only {ALGORITHM} is accepted")
    if head.typ != typ:
        raise EnvelopeError("type", f"this is a {head.typ!r}, not a {typ!r}")
    key = keys.get(head.kid)
    if key is None:
        raise EnvelopeError("unknown-key", f"signed with the unknown key {head.kid!r}")
    return key


def verify(key: Ed25519PublicKey, signature: str, signed: bytes) -> None:
    """Check a signature, base64url, over what was signed.

    Raises:
        EnvelopeError: with reason `malformed` or `signature`.
    """
    try:
        key.verify(unb64url(signature), signed)
    except InvalidSignature:
        raise EnvelopeError("signature", "the signature does not fit the document") from None


def _parse_header(header: str) -> _Header:
    try:
        return _read_header(unb64url(header))
    except (DecodeError, UnicodeDecodeError):  # msgspec lets the latter through for text that is not UTF-8
        raise EnvelopeError("malformed", "the header is not one of ours") from None
