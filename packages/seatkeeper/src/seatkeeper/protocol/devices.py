"""How a device proves that it is the one a place was given to: signatures by a key that never leaves it.

An access token can be copied with the files around it, and a proxy that a customer runs himself sees it. So what a token alone
must not do needs a proof by the device as well (contract, "Rules of the seat", 3 and 7):

- An activation carries `deviceKey`, an Ed25519 public key, and `deviceProof`, a signature over what is asked for. The lease
  names the key (`dev`), and the program refuses a lease that names another or none. On leases over 15 minutes only the same
  device takes a place back. The client's nonce is part of the signature, so a recorded proof is of no use: with the same nonce
  it is the same request, with another it doesn't verify.
- A return of such a place carries the header `Device-Proof`, a signature over the activation and its generation. Without it
  the place counts until its lease ends: else a proxy could give seats back behind the programs that believe in them.

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

RETURN_HEADER = "Device-Proof"


class Asked(NamedTuple):
    """What an activation asks for, as far as the device vouches for it."""

    tenant_id: str
    product_id: str
    seat_id: str
    client_nonce: str


class Returned(NamedTuple):
    """Which life of which seat is given back."""

    tenant_id: str
    activation_id: str
    generation: int


Vouched = Asked | Returned

_DOMAINS = {Asked: "seatkeeper-device", Returned: "seatkeeper-device-return"}  # no signature can be taken for another


def prove(key: Ed25519PrivateKey, vouched: Vouched) -> str:
    """Give the proof: the signature over a JSON array without blanks, base64url."""
    return b64url(key.sign(_said(vouched)))


def is_proven(device_key: str, proof: str, vouched: Vouched) -> bool:
    """Tell whether the device that has this key vouches for this."""
    try:
        read_public_key(device_key).verify(unb64url(proof), _said(vouched))
    except (EnvelopeError, InvalidSignature):
        return False
    return True


def _said(vouched: Vouched) -> bytes:
    return json.encode([_DOMAINS[type(vouched)], *vouched])


__all__ = ["RETURN_HEADER", "Asked", "Returned", "is_proven", "prove", "public_key_text"]
