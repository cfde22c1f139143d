"""Trees of leases, grown right or wrong: what `sign_batch` rightly doesn't offer.

Written after RFC 9162, section 2.1, definition by definition, and not with the product's code: two ways to the same hashes.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json
from scripts.wire_vectors import world
from scripts.wire_vectors.world import Claims

from seatkeeper.protocol.ids import b64url

TYP: Final = "seatkeeper-lease-tree"


@dataclass(frozen=True)
class Grower:
    """How a tree is grown; by default as it should be."""

    leaf: bytes = b"\x00"
    node: bytes = b"\x01"
    domain: bytes = b"seatkeeper lease tree v1\x00"
    size_is_signed: bool = True
    odd_one_twice: bool = False  # hashed with itself, where it should move up as it is

    def root(self, entries: list[bytes]) -> bytes:
        """Give the hash of a list of entries (RFC 9162, section 2.1.1)."""
        if len(entries) == 1:
            return sha256(self.leaf + entries[0]).digest()
        left, right = _halves(entries)
        return sha256(self.node + self.root(left) + self._filled(right, len(left))).digest()

    def path(self, at: int, entries: list[bytes]) -> list[bytes]:
        """Give the inclusion path of an entry (RFC 9162, section 2.1.3.1)."""
        if len(entries) == 1:
            return []
        left, right = _halves(entries)
        if at < len(left):
            return [*self.path(at, left), self._filled(right, len(left))]
        return [*self.path(at - len(left), right), self.root(left)]

    def signed(self, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
        """Sign a root."""
        return b64url(key.sign(self.domain + (_two_bytes(size) if self.size_is_signed else b"") + root))

    def _filled(self, right: list[bytes], width: int) -> bytes:
        root, span = self.root(right), 1 << (len(right) - 1).bit_length()
        while self.odd_one_twice and span < width:
            root, span = sha256(self.node + root + root).digest(), span * 2
        return root


RIGHT: Final = Grower()


@dataclass(frozen=True)
class Planted:
    """A lease in its tree, part by part."""

    header: str
    payload: str
    index: int
    size: int
    path: tuple[bytes, ...]
    signature: str

    def token(self, **changes: Any) -> str:
        """Give it as it travels, with parts exchanged; `place` exchanges the bytes of index, size and path."""
        said = {**vars(self), **changes}
        place = said.get("place", _two_bytes(said["index"]) + _two_bytes(said["size"]) + b"".join(said["path"]))
        return f"{said['header']}.{said['payload']}.{b64url(place)}.{said['signature']}"


def planted(
    claims: Claims | bytes | None = None,
    *,
    at: int = 1,
    size: int = 5,
    key: Ed25519PrivateKey = world.SIGNER,
    grower: Grower = RIGHT,
    entry: bytes | None = None,
    **header: Any,
) -> Planted:
    """Sign a lease in a tree, by default the good one; `header` changes header members (`...` removes one).

    `entry` is hashed in the place of `header.payload`. The neighbours are anybody's: no reader sees more than their hashes.
    """
    said = world.lease_claims() if claims is None else claims
    payload = b64url(said if isinstance(said, bytes) else json.encode(said))
    head = b64url(json.encode(world.changed({"alg": "Ed25519", "typ": TYP, "kid": world.key_id(key)}, header)))
    entries = [f"neighbour {number}".encode() for number in range(size)]
    entries[at] = f"{head}.{payload}".encode() if entry is None else entry
    return Planted(
        header=head,
        payload=payload,
        index=at,
        size=size,
        path=tuple(grower.path(at, entries)),
        signature=grower.signed(size, grower.root(entries), key),
    )


def lease_in_tree(claims: Claims | bytes | None = None, **how: Any) -> str:
    """Give a lease in a tree as it travels, by default the good one."""
    return planted(claims, **how).token()


def _halves(entries: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Split at the largest power of two that is smaller than the number of entries."""
    half = 1 << (len(entries) - 1).bit_length() - 1
    return entries[:half], entries[half:]


def _two_bytes(number: int) -> bytes:
    return number.to_bytes(2, "big")
