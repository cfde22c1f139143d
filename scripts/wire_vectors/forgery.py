"""A forger's tools: small changes to tokens, each of which a reader must notice.

For what a signer might do, see `world`; nothing in here needs a key that a forger wouldn't have, but the functions whose
names say `lease`: those make a good one first, to show that only the one thing is wrong with it.
"""

import hmac
from hashlib import sha256

from msgspec import json
from scripts.wire_vectors import world
from scripts.wire_vectors.world import lease, lease_claims

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url

_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group (RFC 8032, section 5.1)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # RFC 4648, section 5


def padded_claims(payload_bytes: int) -> bytes:
    """Give the good claims with an unknown one that makes the payload exactly that long."""
    empty = len(json.encode(lease_claims(pad="")))
    return json.encode(lease_claims(pad="x" * (payload_bytes - empty)))


def json_form(token: str) -> str:
    """Give the token in the flattened JSON serialisation (RFC 7515, section 7.2.2)."""
    header, payload, signature = token.split(".")
    return json.encode({"payload": payload, "protected": header, "signature": signature}).decode()


def with_look_alike(token: str) -> str:
    """Replace a Latin letter by the Cyrillic one that looks the same."""
    return token.replace("a", "а", 1)


def lease_in_standard_alphabet() -> str:
    """Give a good lease in base64's other alphabet, one where that makes a difference."""
    for seq in range(100):
        token = lease(lease_claims(seq=seq))
        signature = token.rsplit(".", 1)[1]
        if "-" in signature and "_" in signature:
            return token.replace("-", "+").replace("_", "/")
    raise AssertionError("no signature with both characters")


def with_loose_bits(part: str) -> str:
    """Set an unused bit of the last character of a part whose length isn't a multiple of four."""
    return part[:-1] + _ALPHABET[_ALPHABET.index(part[-1]) | 1]


def lease_with_loose_bits() -> str:
    """Give a lease whose payload is spelt with loose bits, and signed like that."""
    for padding in range(3):
        text = json.encode(lease_claims()) + b" " * padding
        if len(text) % 3:
            header = lease().split(".")[0]
            return world.signed_parts(header, with_loose_bits(b64url(text)), key=world.SIGNER)
    raise AssertionError("one of three lengths leaves unused bits")


def unsigned_lease(alg: str) -> str:
    """Give the good claims under a header that asks for no signature."""
    head, payload, _ = lease(alg=alg).split(".")
    return f"{head}.{payload}."


def lease_by_hmac() -> str:
    """Give a lease authenticated with the only key that everybody has: the public one."""
    head, payload, _ = lease(alg="HS256").split(".")
    secret = world.SIGNER.public_key().public_bytes_raw()
    return f"{head}.{payload}.{b64url(hmac.digest(secret, f'{head}.{payload}'.encode(), sha256))}"


def bit_flipped(part: str, position: int) -> str:
    """Change the lowest bit of one byte."""
    raw = bytearray(raw_bytes(part))
    raw[position] ^= 1
    return b64url(bytes(raw))


def kid_bit_flipped(header: str) -> str:
    """Change a bit inside the value of `kid`, so that the header stays one of ours."""
    return bit_flipped(header, raw_bytes(header).index(b'"kid":"') + len(b'"kid":"'))


def header_with_space(header: str) -> str:
    """Give another spelling of the same header."""
    return b64url(raw_bytes(header).replace(b'":', b'": ', 1))


def other_scalar(signature: str) -> str:
    """Give the signature with S + L for S, which a careless reader takes for the same."""
    raw = raw_bytes(signature)
    scalar = int.from_bytes(raw[32:], "little") + _ORDER
    return b64url(raw[:32] + scalar.to_bytes(32, "little"))


def raw_bytes(part: str) -> bytes:
    """Decode one part of a token."""
    return envelopes.unb64url(part)
