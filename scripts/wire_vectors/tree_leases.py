"""Leases that were signed together, good and forged; what may be wrong with a lease's own claims is in `leases.py`.

Each forgery differs from the good lease, the second of five, in one thing only.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import json
from scripts.wire_vectors import forgery, leases, world
from scripts.wire_vectors.trees import TYP, Grower, lease_in_tree, planted
from scripts.wire_vectors.world import Case, Claims, lease_claims

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url


def cases() -> list[Case]:
    """Give all cases of leases in trees, in the order in which a reader meets their checks."""
    return [*_good(), *_shape(), *_place(), *_header(), *_signature(), *_growth(), *_claims(), *_certificate()]


def _good() -> Iterator[Case]:
    yield _believed("good", "The lease just asked for, the second of five.", lease_in_tree())
    yield _believed("good-alone", "Alone in its tree: no path, and its hash is the root.", lease_in_tree(at=0, size=1))
    for at in range(2):
        yield _believed(f"good-{at}-of-2", "The smallest tree with a path.", lease_in_tree(at=at, size=2))
    for at in range(7):
        why = "The odd one out has a shorter path." if at == 6 else "Each place has its own sides, left and right."
        yield _believed(f"good-{at}-of-7", why, lease_in_tree(at=at, size=7))
    yield _believed("good-last-of-9", "The odd one out moves up three levels as it is.", lease_in_tree(at=8, size=9))
    yield _believed("good-200-of-256", "A full tree of eight levels.", lease_in_tree(at=200, size=256))
    yield _believed("good-300-of-65535", "The largest tree: sixteen hashes.", lease_in_tree(at=300, size=65_535))
    foreign = lease_claims(sub="Žofie@počítač-3/0 🪑", colour="blue")
    wanted = lease_claims(sub=foreign["sub"])
    yield _believed("good-other-claims", "Claims are read as those of any lease.", lease_in_tree(foreign), claims=wanted)
    yield _believed("good-longest", "A reader takes tokens of up to 16,384 characters.", _padded(_LONGEST))


def _shape() -> Iterator[Case]:
    good = planted()
    header, payload, place, signature = good.token().split(".")
    yield _refused("too-long", "Properly signed, but over 16,384 characters.", _padded(_LONGEST + 1), "malformed")
    yield _refused("place-missing", "Three parts, and a type of four.", f"{header}.{payload}.{signature}", "type")
    yield _refused("place-twice", "Five parts.", f"{header}.{payload}.{place}.{place}.{signature}", "malformed")
    yield _refused("signature-twice", "Five parts.", f"{good.token()}.{signature}", "malformed")
    yield _refused("place-after-signature", "Two parts exchanged.", f"{header}.{payload}.{signature}.{place}", "malformed")
    yield _refused("place-empty", "No index, no size, no path.", good.token(place=b""), "malformed")
    short = planted(at=0, size=1)
    yield _refused("place-of-three-bytes", "Half a size.", short.token(place=b"\x00\x00\x01"), "malformed")
    yield _refused("place-of-five-bytes", "A byte too many.", short.token(place=b"\x00\x00\x00\x01\x00"), "malformed")
    padded = f"{header}.{payload}.{place}==.{signature}"
    yield _refused("place-padded", "Padding is not allowed (RFC 7515, section 2).", padded, "malformed")
    loose = ".".join([header, payload, forgery.with_loose_bits(place), signature])
    yield _refused("place-not-canonical", "Unused bits of the place's last character are set.", loose, "malformed")
    yield _refused(
        "place-with-newline", "White space in the place.", good.token().replace(place, f"{place[:9]}\n{place[9:]}"), "malformed"
    )


def _place() -> Iterator[Case]:
    """Places that don't exist, or are another's."""
    good = planted()
    path = good.path
    yield _refused("index-beyond-tree", "There is no sixth leaf of five.", good.token(index=5), "malformed")
    yield _refused("index-huge", "Nor the last one that two bytes count.", good.token(index=65_535), "malformed")
    yield _refused("size-zero", "A tree of none has no leaf.", good.token(index=0, size=0, path=()), "malformed")
    yield _refused("path-missing", "The place says that there are three hashes.", good.token(path=()), "malformed")
    yield _refused("path-too-short", "The last hash is missing.", good.token(path=path[:-1]), "malformed")
    yield _refused("path-too-long", "A fourth hash follows.", good.token(path=(*path, path[0])), "malformed")
    yield _refused("path-huge", "As many hashes as a token has room for.", good.token(path=path * 115), "malformed")
    cut = (*path[:-1], path[-1][:-1])
    yield _refused("path-cut", "The last hash has 31 bytes.", good.token(path=cut), "malformed")
    yield _refused("path-of-odd-one", "The fifth leaf's place, which has one hash.", good.token(index=4), "malformed")
    yield _refused("index-of-neighbour", "The first leaf's place: left for right.", good.token(index=0), "signature")
    yield _refused("index-of-third", "The third leaf's place.", good.token(index=2), "signature")
    yield _refused(
        "size-one-more", "A tree of six: the same path, but another size was signed.", good.token(size=6), "signature"
    )
    yield _refused("size-one-less", "A tree of four, whose paths have two hashes.", good.token(size=4), "malformed")
    yield _refused("path-reversed", "From the root down.", good.token(path=path[::-1]), "signature")
    yield _refused("path-of-neighbour", "The first leaf's path.", good.token(path=planted(at=0).path), "signature")
    flipped = (bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:])
    yield _refused("path-bit-flipped", "One bit of a hash was changed.", good.token(path=flipped), "signature")
    four = planted(at=1, size=4)
    node = four.token(index=0, size=2, path=four.path[1:])
    yield _refused("node-for-leaf", "A tree of four shown as one of two, whose leaves are nodes.", node, "signature")


def _header() -> Iterator[Case]:
    good = planted()
    flipped, spaced = forgery.kid_bit_flipped(good.header), forgery.header_with_space(good.header)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": world.public_text(world.STRANGER)}
    yield _refused("header-array", "The header is an array.", good.token(header=b64url(b'["Ed25519"]')), "malformed")
    yield _refused("embedded-jwk", "It brings the key it wants to be checked with.", lease_in_tree(jwk=jwk), "malformed")
    yield _refused("index-in-header", "Where a leaf stands is not said in its header.", lease_in_tree(index=1), "malformed")
    yield _refused("alg-none", "No signature, and the header says so.", planted(alg="none").token(signature=""), "algorithm")
    yield _refused("alg-eddsa", "The older algorithm name.", lease_in_tree(alg="EdDSA"), "algorithm")
    yield _refused(
        "typ-of-lease-alone", "Signed as a leaf, but as a lease signed alone.", lease_in_tree(typ=envelopes.LEASE), "type"
    )
    yield _refused(
        "typ-of-certificate", "Signed as a leaf, but as a certificate.", lease_in_tree(typ=envelopes.CERTIFICATE), "type"
    )
    yield _refused("typ-upper-case", "Our `typ` is compared letter by letter.", lease_in_tree(typ=TYP.upper()), "type")
    yield _refused("alone-with-typ-of-tree", "Signed alone, but as a leaf.", world.lease(typ=TYP), "type")
    yield _refused("kid-unknown", "Signed by a key that nobody certified.", lease_in_tree(key=world.STRANGER), "unknown-key")
    yield _refused("kid-of-root", "The root signs certificates only.", lease_in_tree(key=world.ROOT), "unknown-key")
    yield _refused("header-byte-flipped", "One bit of the `kid` was changed.", good.token(header=flipped), "unknown-key")
    yield _refused("header-spaced", "The same header, written with a space.", good.token(header=spaced), "signature")


def _signature() -> Iterator[Case]:
    good = planted()
    signature = good.signature
    said = f"{good.header}.{good.payload}"
    alone = b64url(world.SIGNER.sign(said.encode()))
    impostor = lease_in_tree(key=world.STRANGER, kid=world.key_id(world.SIGNER))
    whole = good.token()
    yield _refused(
        "payload-byte-flipped",
        "One bit of the claims was changed.",
        good.token(payload=forgery.bit_flipped(good.payload, 20)),
        "signature",
    )
    yield _refused(
        "payload-of-neighbour",
        "Another lease in the same place.",
        good.token(payload=planted(lease_claims(seq=1)).payload),
        "signature",
    )
    yield _refused(
        "signature-byte-flipped",
        "One bit of the signature was changed.",
        good.token(signature=forgery.bit_flipped(signature, 20)),
        "signature",
    )
    yield _refused("signature-empty", "The signature is empty.", good.token(signature=""), "signature")
    yield _refused("signature-padded", "Padding is not allowed.", f"{whole}==", "malformed")
    yield _refused(
        "signature-not-canonical",
        "Unused bits of its last character are set.",
        good.token(signature=forgery.with_loose_bits(signature)),
        "malformed",
    )
    yield _refused(
        "signature-malleable",
        "S + L instead of S (RFC 8032, section 5.1.7).",
        good.token(signature=forgery.other_scalar(signature)),
        "signature",
    )
    yield _refused(
        "signature-of-another-tree",
        "A good signature, of another root.",
        good.token(signature=planted(at=0).signature),
        "signature",
    )
    yield _refused(
        "signature-of-lease-alone", "The key's signature over `header.payload`.", good.token(signature=alone), "signature"
    )
    of_root = world.lease().rsplit(".", 1)[0] + "." + planted(at=0, size=1, typ=envelopes.LEASE).signature
    yield _refused("alone-with-signature-of-root", "A root's signature under a lease signed alone.", of_root, "signature")
    yield _refused("impostor", "Signed by a stranger under the certified key's `kid`.", impostor, "signature")
    others = lease_in_tree(key=world.SIGNER, kid=world.key_id(world.STRANGER))
    own = world.certificate(world.certificate_claims(kid=world.key_id(world.STRANGER), key=world.public_text(world.STRANGER)))
    yield _refused(
        "tree-of-another-key",
        "The leaf names one certified key, and another signed the root.",
        others,
        "signature",
        certificate=own,
    )


def _growth() -> Iterator[Case]:
    """Trees grown in another way, and properly signed: each must come out as another root."""
    yield _grown("leaf-without-prefix", "A leaf is hashed after a zero byte.", Grower(leaf=b""))
    yield _grown("node-without-prefix", "A node is hashed after a one byte.", Grower(node=b""))
    yield _grown("leaf-like-node", "A leaf is no node.", Grower(leaf=b"\x01"))
    yield _grown("node-like-leaf", "A node is no leaf.", Grower(node=b"\x00"))
    twice = Grower(odd_one_twice=True)
    yield _grown("odd-one-twice", "An odd one out moves up as it is, and is not hashed with itself.", twice, at=4)
    yield _grown("root-without-size", "The size is signed with the root.", Grower(size_is_signed=False))
    yield _grown("root-without-domain", "What is signed begins with what it is for.", Grower(domain=b""))
    yield _grown(
        "root-of-another-domain", "A later version may mean something else.", Grower(domain=b"seatkeeper lease tree v2\x00")
    )
    yield _grown("domain-without-zero", "The domain ends with a zero byte.", Grower(domain=b"seatkeeper lease tree v1"))
    claims = json.encode(lease_claims())
    yield _grown("leaf-of-claims", "A leaf is over header and payload as they travel, not over the claims.", entry=claims)
    yield _grown("leaf-without-header", "Without the header, a leaf could change its key.", entry=b64url(claims).encode())


def _claims() -> Iterator[Case]:
    """What a lease says is checked as if it were signed alone; one of each kind."""
    yield _refused("claims-not-json", "The payload is no JSON.", lease_in_tree(b"lease"), "malformed")
    yield _refused("no-exp", "The claim `exp` is missing.", lease_in_tree(lease_claims(exp=...)), "malformed")
    yield _refused(
        "other-tenant",
        "A lease of another tenant in this one's tree.",
        lease_in_tree(lease_claims(tid=world.OTHER_TENANT)),
        "tenant",
    )
    yield _refused(
        "other-product", "A lease for a cheaper product.", lease_in_tree(lease_claims(prd=world.OTHER_PRODUCT)), "product"
    )
    yield _refused("other-seat", "A colleague's lease.", lease_in_tree(lease_claims(sub="eve@elsewhere/0")), "seat")
    yield _refused(
        "nonce-wrong", "A recording of an earlier answer.", lease_in_tree(lease_claims(nonce=world.OTHER_NONCE)), "nonce"
    )
    yield _refused("nonce-missing", "A lease that repeats no nonce.", lease_in_tree(lease_claims(nonce=...)), "nonce")
    yield _refused(
        "other-issuer", "Another database signs with this key.", lease_in_tree(lease_claims(iss=world.OTHER_DATABASE)), "issuer"
    )
    just = lease_claims(exp=world.CERTIFIED_UNTIL + 0.5)
    yield _refused("beyond-certificate", "It ends after its certificate.", lease_in_tree(just), "validity")
    device = world.public_text(world.STRANGER)
    given = lease_claims(dev=device)
    yield _believed("good-device", "It names the device that proved itself.", lease_in_tree(given), claims=given, device=device)
    yield _refused("device-missing", "A proxy left the device out of the request.", lease_in_tree(), "device", device=device)


def _certificate() -> Iterator[Case]:
    foreign = world.certificate(key=world.OTHER_ROOT)
    yield _refused(
        "certificate-of-other-root",
        "A fake vendor's certificate.",
        lease_in_tree(),
        "unknown-key",
        certificate=foreign,
        document="certificate",
    )
    yield _refused(
        "lease-as-certificate",
        "A lease where the certificate belongs.",
        lease_in_tree(),
        "malformed",
        certificate=lease_in_tree(),
        document="certificate",
    )
    local = world.certificate(world.certificate_claims(covers=world.grant()))
    full, above = lease_claims(feat={"render": 10}), lease_claims(feat={"render": 11})
    yield _believed("good-within-grant", "All of a feature that was lent.", lease_in_tree(full), claims=full, certificate=local)
    yield _refused("feature-above-grant", "More of a feature than granted.", lease_in_tree(above), "feature", certificate=local)
    other = lease_claims(ent=world.OTHER_ENTITLEMENT)
    yield _refused(
        "entitlement-not-granted",
        "Another entitlement than the granted one.",
        lease_in_tree(other),
        "entitlement",
        certificate=local,
    )
    late = lease_claims(exp=world.grant()["end"] + 1)
    yield _refused("end-beyond-grant", "Beyond the grant's end.", lease_in_tree(late), "end", certificate=local)


_LONGEST = 12_113  # bytes of claims with which a lease of a tree of two has 16,384 characters


def _padded(payload_bytes: int) -> str:
    return lease_in_tree(forgery.padded_claims(payload_bytes), at=0, size=2)


def _grown(name: str, why: str, grower: Grower | None = None, **how: Any) -> Case:
    return _refused(name, why, lease_in_tree(grower=grower or Grower(), **how), "signature")


def _believed(name: str, why: str, token: str, *, claims: Claims | None = None, **inputs: Any) -> Case:
    return leases.case(name, why, token, {"claims": claims or lease_claims()}, claims or lease_claims(), inputs)


def _refused(name: str, why: str, token: str, reason: str, *, document: str = "lease", **inputs: Any) -> Case:
    return leases.case(name, why, token, {"document": document, "reason": reason}, lease_claims(), inputs)
