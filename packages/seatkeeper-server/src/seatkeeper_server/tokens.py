"""Documents between a vendor's server and a license server at a customer's site: signed by the sender, sealed to the receiver.

They travel by hand, by mail or over HTTPS, as one line of text: a JWE (RFC 7516; X25519 and AES-256-GCM) around a JWS (Ed25519)
around claims. Each says which number it has in its direction and has an id of its own, so that a receiver applies it once and
in order. This module seals and opens; whether a document may be applied is decided in `service/lending` and `service/grants`.

The first one, by which a server asks for its license, has no receiver's key yet: it is sealed under the activation code, which
both sides know and nobody between them. Inside is a challenge, and the answer has to repeat it: so the server knows that its
vendor has answered, and from then on which root to believe.

JOSE is joserfc's work here. What ships inside applications has its own few lines (`seatkeeper.protocol.envelopes`).
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import OctKey, OKPKey
from msgspec import Struct, json

from seatkeeper.protocol import codes, envelopes
from seatkeeper.protocol.documents import UNREADABLE
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.ids import b64url
from seatkeeper.protocol.trust import Trust
from seatkeeper_server.statements import (
    LATEST,
    MAX_TOKEN,
    FromSite,
    FromVendor,
    LicenseGiven,
    LicenseRequest,
    Said,
    TooLong,
    Unreadable,
    kind_of,
    sealing_kid,
)

TYPE: Final = "seatkeeper-token+jwt"
SEALED: Final = "seatkeeper-token+jwe"

_ALGORITHMS: Final = ["ECDH-ES", "dir", "A256GCM"]
_PARTS: Final = 5


class _Registry(JWERegistry):
    max_ciphertext_length = MAX_TOKEN  # theirs is 64 KiB


_REGISTRY: Final = _Registry(algorithms=_ALGORITHMS)


_read_from_site: Final[Callable[[bytes], FromSite]] = json.Decoder(FromSite).decode
_read_from_vendor: Final[Callable[[bytes], FromVendor]] = json.Decoder(FromVendor).decode
_encode = json.Encoder().encode


# --- sealing -------------------------------------------------------------------------------------------------------


def sealed(claims: Said, *, signer: Ed25519PrivateKey, receiver: str) -> str:
    """Give the document: signed, then sealed to the receiver's public key (32 bytes, base64url).

    Raises:
        TooLong: no receiver would read it.
    """
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": SEALED, "kid": sealing_kid(receiver)}
    key = OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": receiver})
    token = jwe.encrypt_compact(header, _signed(claims, signer), key, registry=_REGISTRY)
    if len(token) > MAX_TOKEN:
        raise TooLong(
            f"this document would have {len(token):,} characters, and may have {MAX_TOKEN:,}: lend less to one server"
        )
    return token


def sealed_by_code(claims: LicenseRequest, *, signer: Ed25519PrivateKey, code: str) -> str:
    """Give the first document, sealed under an activation code."""
    header = {"alg": "dir", "enc": "A256GCM", "typ": SEALED, "kid": code_kid(code)}
    return jwe.encrypt_compact(header, _signed(claims, signer), OctKey.import_key(_code_key(code)), algorithms=_ALGORITHMS)


def _signed(claims: Said, signer: Ed25519PrivateKey) -> str:
    return envelopes.sign(_encode(claims), typ=TYPE, kid=envelopes.key_id(signer.public_key()), key=signer)


def receiver_of(token: str) -> str:
    """Give the `kid` of whom a document was sealed to.

    Raises:
        Unreadable: it is none.
    """
    return _header(token).kid


def is_request(token: str) -> bool:
    """Tell whether a document is a server's first one: sealed under a code, not to anybody's key."""
    try:
        return _header(token).alg == "dir"
    except Unreadable:
        return False


class _Ephemeral(Struct, forbid_unknown_fields=True):
    kty: Literal["OKP"]
    crv: Literal["X25519"]
    x: str


class _Header(Struct, forbid_unknown_fields=True):
    """A header as we write it. Any other is a stranger's, and not for joserfc to make something of."""

    kid: str
    alg: Literal["ECDH-ES", "dir"]
    enc: Literal["A256GCM"]
    typ: Literal["seatkeeper-token+jwe"]
    epk: _Ephemeral | None = None


def _header(token: str) -> _Header:
    text = token.strip()
    if len(text) > MAX_TOKEN or text.count(".") != _PARTS - 1:
        raise Unreadable("malformed", "this is not a Seatkeeper token: copy the whole line, and nothing else")
    try:
        return json.decode(envelopes.unb64url(text.partition(".")[0]), type=_Header)
    except (EnvelopeError, *UNREADABLE):
        raise Unreadable("malformed", "this is not a Seatkeeper token: copy the whole line, and nothing else") from None


def code_kid(code: str) -> str:
    """Give the `kid` of an activation code that a document is sealed under; it says nothing of the code."""
    return b64url(hmac.digest(_code_key(code), b"kid", "sha256"))[:16]


def _code_key(code: str) -> bytes:
    return sha256(b"seatkeeper license request v1\0" + codes.canonical(code).encode()).digest()


# --- opening -------------------------------------------------------------------------------------------------------


def open_by_code(token: str, code: str) -> LicenseRequest:
    """Open the first document of a server, which is signed by the key that it names.

    Raises:
        Unreadable: it was sealed under another code, or changed on its way.
    """
    signed = _unsealed(token, OctKey.import_key(_code_key(code)))
    claims = _from_site(_payload(signed))
    if not isinstance(claims, LicenseRequest):
        raise Unreadable("malformed", f"this token is a {kind_of(claims)}, not a request for a license")
    _sealing_key(claims.sealing_key)
    _verify(signed, _public_key(claims.signing_key))
    return claims


def open_from_site(token: str, *, own: X25519PrivateKey, key_of: Callable[[str], str | None]) -> FromSite:
    """Open a document from a licensed server; `key_of` gives the signing key of a server by its id.

    Raises:
        Unreadable: it is from nobody that is known, or was changed on its way.
    """
    signed = _unsealed(token, _own(own))
    claims = _from_site(_payload(signed))
    key = key_of(claims.site)
    if key is None:
        raise Unreadable("signer", "this token is from a license server that is not known here")
    _verify(signed, _public_key(key))
    return claims


def open_from_vendor(token: str, *, own: X25519PrivateKey, root_of: Callable[[FromVendor], str | None]) -> FromVendor:
    """Open a document from a vendor: signed by a key that his root has certified for himself, not for a local server.

    `root_of` gives the root to believe.

    Raises:
        Unreadable: it is from somebody else, or was changed on its way.
    """
    signed = _unsealed(token, _own(own))
    try:
        claims = _read_from_vendor(_payload(signed))
    except UNREADABLE:
        raise Unreadable("malformed", "this token is none that a vendor makes for a license server") from None
    root = root_of(claims)
    if root is None:
        raise Unreadable("signer", "this token is from a vendor that is not known here")
    try:
        certificate = Trust((envelopes.read_public_key(root),)).certificate(claims.issuer)
    except EnvelopeError:
        raise Unreadable("signer", "this token was not signed by the vendor that it names") from None
    if certificate.covers is not None or certificate.tid != claims.tid or not certificate.nbf <= claims.iat <= certificate.exp:
        raise Unreadable("signer", "this token was signed by a key that may not sign it")
    _verify(signed, _public_key(certificate.key))
    _certificate(claims.certificate, claims.root if isinstance(claims, LicenseGiven) else root)
    if isinstance(claims, LicenseGiven):
        _sealing_key(claims.sealing_key)
    return claims


def _own(key: X25519PrivateKey) -> OKPKey:
    public = b64url(key.public_key().public_bytes_raw())
    return OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": public, "d": b64url(key.private_bytes_raw())})


def _unsealed(token: str, key: OctKey | OKPKey) -> str:
    _header(token)  # first: of one that isn't ours, joserfc 1.8 raises KeyError or TypeError
    try:
        return (jwe.decrypt_compact(token.strip(), key, registry=_REGISTRY).plaintext or b"").decode("ascii")
    except (JoseError, ValueError):  # ValueError: no base64, no text, or a key that is none (cryptography)
        raise Unreadable("seal", "this token was changed on its way, or is not whole: carry it again") from None


def _payload(signed: str) -> bytes:
    try:
        return envelopes.peek(signed, most=MAX_TOKEN)
    except EnvelopeError:
        raise Unreadable("malformed", "there is no signed document in this token") from None


def _from_site(payload: bytes) -> FromSite:
    try:
        return _read_from_site(payload)
    except UNREADABLE:
        raise Unreadable("malformed", "this token is none that a license server makes") from None


def _verify(signed: str, key: Ed25519PublicKey) -> None:
    try:
        envelopes.open_envelope(signed, typ=TYPE, keys={envelopes.key_id(key): key}, most=MAX_TOKEN)
    except EnvelopeError:
        raise Unreadable("signature", "this token was not signed by whom it says") from None


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return envelopes.read_public_key(text)
    except EnvelopeError:
        raise Unreadable("malformed", "the signing key that this token names is none") from None


def _sealing_key(text: str) -> None:
    try:
        key = X25519PublicKey.from_public_bytes(envelopes.unb64url(text))
        X25519PrivateKey.generate().exchange(key)  # with a point of small order nothing can be agreed (RFC 7748, 6.1)
    except (EnvelopeError, ValueError):
        raise Unreadable("malformed", "the sealing key that this token names is none") from None


def _certificate(text: str, root: str) -> None:
    try:
        ends_at = Trust((envelopes.read_public_key(root),)).certificate(text).exp
    except EnvelopeError:
        ends_at = -1.0
    if not 0 <= ends_at <= LATEST:
        raise Unreadable("malformed", "the certificate in this token is none of its vendor's")
