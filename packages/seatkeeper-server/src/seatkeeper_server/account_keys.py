"""Makes the RSA key of a vendor's account. Everything else here signs by Ed25519; who verifies by this one expects RSA."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from seatkeeper.protocol.ids import b64url
from seatkeeper_server.service.accounts import AccountKey, NewAccountKey

BITS: Final = 2048
EXPONENT: Final = 65_537  # AQAB, which receivers take for granted


def new_account_key() -> NewAccountKey:
    """Make a key. It takes a good part of a second."""
    key = rsa.generate_private_key(EXPONENT, BITS)
    numbers = key.public_key().public_numbers()
    return NewAccountKey(
        AccountKey(_text(numbers.n), _text(numbers.e)),
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )


def _text(number: int) -> str:
    """Write a number as a JWK has it (RFC 7518, section 6.3.1): big-endian, in as few bytes as it takes."""
    return b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
