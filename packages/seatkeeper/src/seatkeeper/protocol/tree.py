"""Leases that were signed together: one Ed25519 signature for all of them, and for each the path that leads to it.

A signature costs more than everything else about a refresh, so a server signs what it answers at the same time as one: it
makes a Merkle tree of the leases (RFC 9162, section 2.1; the same as RFC 6962's) and signs its root. Each lease travels with
what it takes to compute the root from it. It is verified alone, under the same certificate as a lease that was signed alone.

A lease in a tree is `header.payload.place.signature`, each part base64url without padding:

- `header` is a JWS header whose `typ` is `seatkeeper-lease-tree`; `payload` holds the claims of any other lease.
- `place` is the leaf's index and the tree's size (2 bytes each, big-endian), then the hashes of the leaf's siblings on the way
  up, 32 bytes each. Index and size alone say how many there are, 16 at most, and on which side each of them stands.
- `signature` is over the text `seatkeeper lease tree v1`, a zero byte, the size (2 bytes) and the root (32 bytes).

A leaf's hash is SHA-256 over a zero byte and the text `header.payload`; a node's is over a one byte and its children's hashes.

Rules kept here
- What binds a lease that was signed alone binds it in a tree: the leaf is over key id, type and all claims.
- No signature passes for another: what a JWS signs is base64url with a dot, what a tree signs has blanks and a zero byte. No
  leaf passes for a node, nor a node for a leaf: what they hash begins differently.
- One tree, one key. Every leaf's header names the key; a root that another one signed does not verify.
- A path shows hashes of other holders' leases. Who guesses the whole text of one could test his guess, so what is signed in
  a tree must not be guessable. A lease isn't that repeats its client's nonce, fresh for each call, and that names an
  activation, whose id is 128 random bits and told to no other holder. One whose client sent no nonce is to be signed alone.

>>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
>>> key = Ed25519PrivateKey.from_private_bytes(bytes(32))
>>> first, second = sign_batch([b'{"a":1}', b'{"a":2}'], kid="k1", key=key)
>>> open_leaf(second, keys={"k1": key.public_key()})
b'{"a":2}'
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.envelopes import EnvelopeError, unb64url
from seatkeeper.protocol.ids import b64url_bytes

LEASE_IN_TREE: Final = "seatkeeper-lease-tree"  # not `+jwt`: it has four parts, and no JOSE library reads it
PARTS: Final = 4
MAX_LEAVES: Final = 2**16 - 1  # what two bytes count

_ROOT: Final = b"seatkeeper lease tree v1\0"
_LEAF, _NODE = b"\0", b"\1"
_HASH: Final = 32  # bytes
_COUNT: Final = 2  # bytes of an index or a size


def sign_batch(payloads: Sequence[bytes], *, kid: str, key: Ed25519PrivateKey) -> list[str]:
    """Give the leases over some claims, in their order. There are 1 to 65,535, all of the tenant whose key it is."""
    head = _LEAF + envelopes.header_part(LEASE_IN_TREE, kid).encode("ascii") + b"."
    leaves = [head + b64url_bytes(payload) for payload in payloads]
    levels = _levels([sha256(leaf).digest() for leaf in leaves])
    size = _counted(len(leaves))
    end = b"." + b64url_bytes(key.sign(_ROOT + size + levels[-1][0]))
    return [
        (leaf[1:] + b"." + b64url_bytes(_counted(index) + size + path) + end).decode("ascii")
        for index, (leaf, path) in enumerate(zip(leaves, _paths(levels), strict=True))
    ]


def is_in_tree(token: str) -> bool:
    """Tell whether a token has the shape of a lease in a tree. What it is, is not said by that."""
    return token.count(".") == PARTS - 1


def open_leaf(token: str, *, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """Give the payload of a lease in a tree, if the way from it leads to a root that its key has signed.

    Raises:
        EnvelopeError: with reason `malformed`, `algorithm`, `type`, `unknown-key` or `signature`.
    """
    header, payload, place, signature = envelopes.parts_of(token, PARTS)
    size, siblings = _read_place(unb64url(place))
    key = envelopes.key_for(header, typ=LEASE_IN_TREE, keys=keys)
    top = sha256(_LEAF + f"{header}.{payload}".encode("ascii")).digest()
    for sibling, is_left in siblings:
        top = _node(sibling, top) if is_left else _node(top, sibling)
    envelopes.verify(key, signature, _ROOT + _counted(size) + top)
    return unb64url(payload)


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """Give a tree's hashes level by level, from the leaves to the root. On its level, an odd one out moves up as it is."""
    levels = [leaves]
    while len(level := levels[-1]) > 1:
        above = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        levels.append(above)
    return levels


def _paths(levels: list[list[bytes]]) -> list[bytes]:
    """Give the path of each leaf: its sibling's hash, if it has one, then the path of what is above both."""
    paths = [b""]
    for level in levels[-2::-1]:
        last = len(level) - 1
        paths = [
            paths[index >> 1] if index == last and index % 2 == 0 else level[index ^ 1] + paths[index >> 1]
            for index in range(len(level))
        ]
    return paths


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def _counted(number: int) -> bytes:
    return number.to_bytes(_COUNT, "big")


def _read_place(place: bytes) -> tuple[int, list[tuple[bytes, bool]]]:
    """Read the tree's size, and the siblings on the way up, each with whether it stands on the left.

    It is the walk of RFC 9162, section 2.1.3.2, but that sides are told before a hash is looked at.

    Raises:
        EnvelopeError: with reason `malformed`: there is no such place in a tree of that size, or it has another path.
    """
    index, size = int.from_bytes(place[:_COUNT], "big"), int.from_bytes(place[_COUNT : 2 * _COUNT], "big")
    sides, path = _sides(index, size), 2 * _COUNT
    if index >= size or len(place) != path + _HASH * len(sides):
        raise EnvelopeError("malformed", "the path does not fit its place in the tree")
    return size, [(place[path + at * _HASH :][:_HASH], is_left) for at, is_left in enumerate(sides)]


def _sides(index: int, width: int) -> list[bool]:
    """Tell of each sibling on the way up whether it stands on the left. An odd one out has none on its level."""
    sides = []
    while width > 1:
        if index ^ 1 < width:
            sides.append(index % 2 == 1)
        index, width = index // 2, (width + 1) // 2
    return sides
