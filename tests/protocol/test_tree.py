"""Leases signed together: the tree is RFC 9162's, and nothing but what was signed opens. Single forgeries: `tests/vectors/`."""

from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from seatkeeper.protocol import envelopes, tree
from seatkeeper.protocol.envelopes import EnvelopeError, unb64url
from seatkeeper.protocol.ids import b64url

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(name.ljust(32, b"!")) for name in (b"key", b"other"))
KEYS = {"k": KEY.public_key(), "other": OTHER.public_key()}

sizes = st.integers(1, 70)


def payloads(count: int) -> list[bytes]:
    """Give so many payloads, all different."""
    return [json.encode({"seat": number}) for number in range(count)]


def batch(count: int, kid: str = "k", key: Ed25519PrivateKey = KEY) -> list[str]:
    """Sign so many payloads together."""
    return tree.sign_batch(payloads(count), kid=kid, key=key)


def refusal_of(token: str) -> str | None:
    """Give the reason why a lease is refused, or None if it opens."""
    try:
        tree.open_leaf(token, keys=KEYS)
    except EnvelopeError as error:
        return error.reason
    return None


def with_place(token: str, place: bytes) -> str:
    """Give a lease with another place in its tree."""
    header, payload, _, signature = token.split(".")
    return f"{header}.{payload}.{b64url(place)}.{signature}"


def place_of(token: str) -> bytes:
    """Give the bytes of a lease's place."""
    return unb64url(token.split(".")[2])


# --- the definitions of RFC 9162, sections 2.1.1 and 2.1.3.1, as they are written there --------------------------------


def root_hash(entries: list[bytes]) -> bytes:
    """MTH(D[n])."""
    if not entries:
        return sha256().digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return sha256(b"\x01" + root_hash(entries[:k]) + root_hash(entries[k:])).digest()


def path(m: int, entries: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), root_hash(entries[k:])]
    return [*path(m - k, entries[k:]), root_hash(entries[:k])]


def split(n: int) -> int:
    """Give the largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


@pytest.mark.parametrize(
    ("count", "root"),
    [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_the_definitions_above_are_those_of_certificate_transparency(count: int, root: str) -> None:
    """Its well-known test tree has these roots."""
    entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]

    assert root_hash([bytes.fromhex(entry) for entry in entries[:count]]).hex() == root


# --- what is signed ----------------------------------------------------------------------------------------------------


@given(size=sizes)
def test_the_root_and_the_paths_are_those_of_the_specification(size: int) -> None:
    """A leaf is the text `header.payload`; the signature is over domain, size and root; the place is index, size and path."""
    tokens = batch(size)
    entries = [".".join(token.split(".")[:2]).encode() for token in tokens]
    signed = b"seatkeeper lease tree v1\0" + size.to_bytes(2, "big") + root_hash(entries)

    for index, token in enumerate(tokens):
        KEY.public_key().verify(unb64url(token.split(".")[3]), signed)
        assert place_of(token) == index.to_bytes(2, "big") + size.to_bytes(2, "big") + b"".join(path(index, entries))


@given(size=sizes)
def test_every_lease_of_a_batch_opens_by_itself_in_its_order(size: int) -> None:
    """The first answer is for the first who asked."""
    assert [tree.open_leaf(token, keys=KEYS) for token in batch(size)] == payloads(size)


def test_the_header_says_algorithm_type_and_key() -> None:
    """It is a JWS header of a type of its own, and nothing else."""
    header = json.decode(unb64url(batch(2)[0].split(".")[0]))

    assert header == {"alg": "Ed25519", "typ": "seatkeeper-lease-tree", "kid": "k"}


def test_the_largest_tree_has_paths_of_sixteen_hashes() -> None:
    """Two bytes count 65,535 leaves; so nobody has to follow a longer path."""
    leases = tree.sign_batch([b"{}"] * tree.MAX_LEAVES, kid="k", key=KEY)

    assert len(place_of(leases[0])) == 4 + 16 * 32
    assert tree.open_leaf(leases[-1], keys=KEYS) == b"{}"


# --- what opens --------------------------------------------------------------------------------------------------------


@given(size=sizes, data=st.data())
def test_a_lease_with_any_character_changed_does_not_open(size: int, data: st.DataObject) -> None:
    """Header, payload, place and signature: not a bit of them is free."""
    token = data.draw(st.sampled_from(batch(size)))
    at = data.draw(st.integers(0, len(token) - 1))
    instead = data.draw(st.sampled_from("ABCXYZabcxyz019-_.= \n").filter(lambda character: character != token[at]))

    assert refusal_of(token[:at] + instead + token[at + 1 :]) is not None


@given(size=sizes, said=st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1)), data=st.data())
def test_a_lease_has_one_place_only(size: int, said: tuple[int, int], data: st.DataObject) -> None:
    """With its own path, no other index or size leads to what was signed."""
    own = data.draw(st.integers(0, size - 1))
    index, claimed = data.draw(st.sampled_from([said, (said[0] % size, size), (own, said[1]), (own, size + 1)]))
    token = batch(size)[own]
    forged = with_place(token, index.to_bytes(2, "big") + claimed.to_bytes(2, "big") + place_of(token)[4:])

    assert (refusal_of(forged) is None) == ((index, claimed) == (own, size))


@pytest.mark.parametrize("hashes", [0, 1, 3, 16, 200])
def test_a_path_is_as_long_as_its_place_says(hashes: int) -> None:
    """Index and size alone say how many hashes there are; more or fewer are refused before one is computed."""
    token = batch(4)[1]

    assert refusal_of(with_place(token, place_of(token)[:4] + place_of(token)[4:36] * hashes)) == "malformed"


def test_an_inner_node_is_no_leaf() -> None:
    """A tree of four can't be shown as one of two, whose leaves would be the nodes above them."""
    token = batch(4)[0]
    cut = (0).to_bytes(2, "big") + (2).to_bytes(2, "big") + place_of(token)[36:]

    assert refusal_of(with_place(token, cut)) == "signature"


def test_a_root_that_another_key_signed_opens_nothing() -> None:
    """The leaf names its key, and a tree has one: of two tenants in one tree, the other's leaves are worth nothing."""
    own, others = tree.sign_batch(payloads(1), kid="k", key=KEY)[0], batch(2, "other", KEY)[0]

    assert refusal_of(own) is None
    assert refusal_of(others) == "signature"


def test_the_signature_of_a_lease_signed_alone_is_none_of_a_tree_and_the_reverse() -> None:
    """The same key signs both, over texts that can't be the same."""
    in_tree = batch(1)[0]
    header, payload, place, of_root = in_tree.split(".")
    alone = b64url(KEY.sign(f"{header}.{payload}".encode()))

    assert refusal_of(f"{header}.{payload}.{place}.{alone}") == "signature"
    with pytest.raises(EnvelopeError) as refusal:
        envelopes.open_envelope(f"{header}.{payload}.{of_root}", typ=tree.LEASE_IN_TREE, keys=KEYS)
    assert refusal.value.reason == "signature"


def test_a_type_is_no_other() -> None:
    """A lease signed alone that calls itself one in a tree is refused for its shape, the reverse for its type."""
    alone = envelopes.sign(b"{}", typ=tree.LEASE_IN_TREE, kid="k", key=KEY)
    header = envelopes.header_part(envelopes.LEASE, "k")
    _, payload, place, signature = batch(1)[0].split(".")

    assert refusal_of(alone) == "malformed"
    assert refusal_of(f"{header}.{payload}.{place}.{signature}") == "type"


@given(st.text(st.sampled_from("AAB_-.="), max_size=60) | st.text(max_size=20))
def test_whatever_comes_is_refused_by_an_error_of_ours(text: str) -> None:
    """No foreign exception crosses our border."""
    header = envelopes.header_part(tree.LEASE_IN_TREE, "k")

    assert refusal_of(text) is not None
    assert refusal_of(f"{header}.{text}.AAAAAQ.{text}") is not None
    assert refusal_of(f"{header}.AAAA.{text}.AAAA") is not None


def test_a_root_is_not_signed_without_its_size_or_domain() -> None:
    """What was signed for something else is no root, even if it has the root's bytes."""
    token = batch(2)[0]
    entries = [".".join(each.split(".")[:2]).encode() for each in batch(2)]

    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(unb64url(token.split(".")[3]), root_hash(entries))
