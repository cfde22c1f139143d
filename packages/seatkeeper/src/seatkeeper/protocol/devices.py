"""How a device proves that it is the one a place was given to: a signature by a key that never leaves it.

An access token can be copied with the files around it. On leases over 15 minutes, and on borrowed ones, a token alone
therefore doesn't take a place back (contract, "Rules of the seat", 3): the activation also carries `deviceKey`, an Ed25519
public key, and `deviceProof`, a signature over what is asked for. The client's nonce is part of it, so a recorded proof is
of no use: with the same nonce it is the same request, with another it doesn't verify.

>>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
>>> key = Ed25519PrivateKey.from_private_bytes(bytes(32))
>>> asked = Asked("t_1", "prod_1", "seat-1", "nonce-nonce-nonce")
>>> is_proven(public_key_text(key.public_key()), prove(key, asked), asked)
True
"""

from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from seatkeeper.protocol.envelopes import EnvelopeError, public_key_text, read_public_key, unb64url
from seatkeeper.protocol.ids import b64url

_DOMAIN = "seatkeeper-device"  # so that no other signature of the key can be taken for this one


class Asked(NamedTuple):
    """What an activation asks for, as far as the device vouches for it."""

    tenant_id: str
    product_id: str
    seat_id: str
    client_nonce: str


def prove(key: Ed25519PrivateKey, asked: Asked) -> str:
    """Give the proof that belongs into `deviceProof`: the signature over a JSON array of strings, base64url."""
    return b64url(key.sign(_said(asked)))


def is_proven(device_key: str, proof: str, asked: Asked) -> bool:
    """Tell whether the device that has this key asked for this."""
    try:
        read_public_key(device_key).verify(unb64url(proof), _said(asked))
    except (EnvelopeError, InvalidSignature):
        return False
    return True


def _said(asked: Asked) -> bytes:
    return json.encode([_DOMAIN, *asked])


__all__ = ["Asked", "is_proven", "prove", "public_key_text"]
