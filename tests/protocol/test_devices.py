"""What a device vouches for: one request, word for word, and no other."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seatkeeper.protocol.devices import Asked, Returned, Vouched, is_proven, prove, public_key_text

DEVICE = Ed25519PrivateKey.from_private_bytes(b"device".ljust(32, b"!"))
KEY = public_key_text(DEVICE.public_key())
ASKED = Asked("t_1", "prod_1", "ada@host", "nonce-nonce-nonce")
RETURNED = Returned("t_1", "act_1", 1)


@pytest.mark.parametrize("vouched", [ASKED, RETURNED])
def test_what_the_device_said_is_proven(vouched: Vouched) -> None:
    """Its signature fits the very thing it was asked to vouch for."""
    assert is_proven(KEY, prove(DEVICE, vouched), vouched)


@pytest.mark.parametrize(
    ("vouched", "other"),
    [
        *((ASKED, ASKED._replace(**{field: "another"})) for field in Asked._fields),
        *((RETURNED, RETURNED._replace(**{field: "another"})) for field in Returned._fields[:2]),
        (RETURNED, RETURNED._replace(generation=2)),
    ],
)
def test_each_word_of_it_counts(vouched: Vouched, other: Vouched) -> None:
    """A recorded proof is of no use for another tenant, product, seat, nonce, activation or generation."""
    assert not is_proven(KEY, prove(DEVICE, vouched), other)


def test_another_devices_signature_proves_nothing() -> None:
    """The key that the place was given to is the one that has to sign."""
    stranger = Ed25519PrivateKey.from_private_bytes(b"stranger".ljust(32, b"!"))

    assert not is_proven(KEY, prove(stranger, ASKED), ASKED)


@pytest.mark.parametrize(("key", "proof"), [("", ""), (KEY, ""), (KEY, "ä"), ("short", prove(DEVICE, ASKED))])
def test_rubbish_proves_nothing(key: str, proof: str) -> None:
    """It comes from anybody; no foreign exception crosses our border."""
    assert not is_proven(key, proof, ASKED)
