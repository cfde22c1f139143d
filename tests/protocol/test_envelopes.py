"""Signed envelopes: one algorithm, one key, one type, and no other spelling of the same document.

The many shapes of forged tokens are in `tests/vectors/leases.json`; here is what holds for every token.
"""

import json
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.ids import b64url

KEY = Ed25519PrivateKey.from_private_bytes(b"envelope tests, never pin this!!")
KEYS = {"k": KEY.public_key()}
TOKEN = envelopes.sign(b'{"a":1}', typ="test+jwt", kid="k", key=KEY)


def opened(token: str) -> bytes:
    """Open a token as this module's reader would."""
    return envelopes.open_envelope(token, typ="test+jwt", keys=KEYS)


@given(st.binary(max_size=2000))
def test_what_was_signed_is_what_is_read(payload: bytes) -> None:
    """An envelope carries any bytes unchanged."""
    assert opened(envelopes.sign(payload, typ="test+jwt", kid="k", key=KEY)) == payload


def test_the_header_says_algorithm_type_and_key_and_nothing_else() -> None:
    """RFC 9864 names the algorithm; the type keeps one kind of document from passing for another."""
    header = json.loads(envelopes.unb64url(TOKEN.split(".")[0]))

    assert header == {"alg": "Ed25519", "typ": "test+jwt", "kid": "k"}


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.sampled_from(string.ascii_letters + string.digits + "-_. +/=\n"))
def test_a_token_with_any_one_character_changed_is_refused(at: int, character: str) -> None:
    """There is no second spelling of a signed document."""
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    if changed == TOKEN:
        return

    with pytest.raises(EnvelopeError):
        opened(changed)


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1))
def test_a_token_cut_anywhere_is_refused(length: int) -> None:
    """A beginning of a document is not a document."""
    with pytest.raises(EnvelopeError):
        opened(TOKEN[:length])


@given(st.text(max_size=300) | st.text(alphabet=string.ascii_letters + "._-", max_size=300))
@example("..")
@example("." * 10_000)
@example("\ud800")
def test_rubbish_is_refused_as_an_envelope_error(text: str) -> None:
    """No foreign exception crosses our border, whatever comes in."""
    with pytest.raises(EnvelopeError):
        opened(text)


@given(st.binary(max_size=300))
@example(b'{"alg":"\xff","typ":"a","kid":"k"}')
@example(b'{"alg":"\\ud800","typ":"a","kid":"k"}')
@example(b"[" * 9_000)
@example(b'{"alg":' + b"[" * 9_000)
def test_a_header_of_rubbish_is_refused_as_an_envelope_error(header: bytes) -> None:
    """The header is read before anything was verified, so anything may be in it."""
    with pytest.raises(EnvelopeError, match="header"):
        opened(f"{b64url(header)}.e30.{b64url(bytes(64))}")


def test_a_reader_without_keys_believes_nothing() -> None:
    """No key is an error, never a reason to skip the check."""
    with pytest.raises(EnvelopeError) as refusal:
        envelopes.open_envelope(TOKEN, typ="test+jwt", keys={})

    assert refusal.value.reason == "unknown-key"


def test_peeking_gives_the_payload_of_a_forgery() -> None:
    """`peek` checks nothing: it is for finding out what to check against, and its docstring shouts."""
    header, payload, _ = TOKEN.split(".")

    assert envelopes.peek(f"{header}.{payload}.AAAA") == b'{"a":1}'


@given(st.binary(min_size=32, max_size=32))
def test_a_printed_public_key_is_read_back(seed: bytes) -> None:
    """43 characters, as they are pinned in a program; white space around them is a copying accident."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    text = envelopes.public_key_text(key)

    assert len(text) == 43
    assert envelopes.read_public_key(f" {text}\n").public_bytes_raw() == key.public_bytes_raw()


@pytest.mark.parametrize("text", ["", "short", b64url(bytes(31)), b64url(bytes(33)), "ä" * 43, b64url(bytes(32)) + "="])
def test_a_public_key_of_another_length_or_alphabet_is_refused(text: str) -> None:
    """A key that was copied badly is noticed at once, not at the first lease."""
    with pytest.raises(EnvelopeError) as refusal:
        envelopes.read_public_key(text)

    assert refusal.value.reason == "malformed"


def test_a_key_id_is_a_short_hash_of_the_key() -> None:
    """RFC 8032, section 7.1, test 1 gives the key; its `kid` must never change."""
    key = envelopes.read_public_key(b64url(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")))

    assert envelopes.key_id(key) == "If4x36FUomFia_hU"


@given(st.binary(max_size=100))
def test_base64url_is_read_back(data: bytes) -> None:
    """Strict reading takes what strict writing gives."""
    assert envelopes.unb64url(b64url(data)) == data


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_+/= \n", max_size=12))
def test_each_value_has_one_spelling_in_base64url(text: str) -> None:
    """What is accepted is exactly what `b64url` writes."""
    try:
        data = envelopes.unb64url(text)
    except EnvelopeError:
        return

    assert b64url(data) == text
