"""Leases, good and forged: what an application was given, what it expected, and what it must make of it.

Each forgery differs from the good lease in one thing only, so that a reader who forgets one check fails one case.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import json
from scripts.wire_vectors import forgery, world
from scripts.wire_vectors.world import Case, Claims, lease, lease_claims

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url


def cases() -> list[Case]:
    """Give all lease cases in the order in which a reader meets their checks."""
    return [*_good(), *_shape(), *_header(), *_signature(), *_claims(), *_other(), *_certificate(), *_grant(), *_device()]


def _good() -> Iterator[Case]:
    yield _believed("good", "The lease just asked for, signed by a certified key.", lease())
    fraction = lease_claims(iat=world.NOW + 0.25, exp=world.NOW + 0.25 + world.LEASE_SECONDS)
    yield _believed(
        "good-fractional-times", "Moments may have a fraction (RFC 7519, section 2).", lease(fraction), claims=fraction
    )
    yield _believed("good-unknown-claim", "A claim added by a newer server is ignored.", lease(lease_claims(colour="blue")))
    bare = lease_claims(feat={})
    yield _believed("good-without-features", "A seat without features has an empty `feat`.", lease(bare), claims=bare)
    text = json.encode(lease_claims())
    spaced = text.replace(b'":', b'" : ').replace(b",", b",\n ")
    yield _believed("good-spaced-json", "JSON may be written with white space; what counts is what it says.", lease(spaced))
    escaped = text.replace(b'"sub":"ada', b'"s\\u0075b":"\\u0061da').replace(b"/0", b"\\/0")
    yield _believed("good-escaped-json", "JSON strings, names included, may be written with escapes.", lease(escaped))
    foreign = lease_claims(sub="Žofie@počítač-3/0 🪑")
    yield _believed("good-seat-beyond-ascii", "A seat id is any printable text, in UTF-8.", lease(foreign), claims=foreign)
    until = world.CERTIFIED_UNTIL
    edge = lease_claims(iat=world.CERTIFIED_FROM, exp=until)
    yield _believed("good-fills-the-certificate", "A lease may begin and end with its certificate.", lease(edge), claims=edge)
    yield _believed("good-longest", "A reader takes tokens of up to 16,384 characters.", lease(forgery.padded_claims(12_150)))


def _shape() -> Iterator[Case]:
    good = lease()
    header, payload, signature = good.split(".")
    yield _refused("empty", "Nothing is not a lease.", "", "malformed")
    yield _refused(
        "too-long", "Properly signed, but over 16,384 characters.", lease(forgery.padded_claims(12_151)), "malformed"
    )
    yield _refused("two-parts", "The signature is missing altogether.", f"{header}.{payload}", "malformed")
    yield _refused("four-parts", "A fourth part hangs on a good lease.", f"{good}.{signature}", "malformed")
    yield _refused("json-serialisation", "JWS in JSON form is not compact JWS.", forgery.json_form(good), "malformed")
    yield _refused(
        "beyond-ascii",
        "A look-alike letter (Cyrillic) replaces one of the token's.",
        forgery.with_look_alike(good),
        "malformed",
    )
    yield _refused(
        "padding-in-header", "Padding is not allowed (RFC 7515, section 2).", f"{header}==.{payload}.{signature}", "malformed"
    )
    yield _refused("leading-white-space", "White space before the token.", f" {good}", "malformed")
    yield _refused("trailing-newline", "White space after the token.", f"{good}\n", "malformed")
    yield _refused(
        "newline-in-signature",
        "White space in the token.",
        f"{header}.{payload}.{signature[:40]}\n{signature[40:]}",
        "malformed",
    )
    yield _refused(
        "standard-base64", "Base64 of the other alphabet, `+` and `/`.", forgery.lease_in_standard_alphabet(), "malformed"
    )
    loose = forgery.with_loose_bits(signature)
    yield _refused(
        "non-canonical-signature",
        "Unused bits of the last character are set: another spelling of the same bytes.",
        f"{header}.{payload}.{loose}",
        "malformed",
    )
    tail = forgery.lease_with_loose_bits()
    yield _refused("non-canonical-payload", "The same in the payload, and signed like that.", tail, "malformed")


def _header() -> Iterator[Case]:
    payload = b64url(json.encode(lease_claims()))
    yield _refused(
        "header-not-json",
        "The header is no JSON.",
        world.signed_parts(b64url(b"Ed25519"), payload, key=world.SIGNER),
        "malformed",
    )
    yield _refused(
        "header-not-utf-8",
        "The header is no UTF-8.",
        world.signed_parts(b64url(b'{"alg":"\xff"}'), payload, key=world.SIGNER),
        "malformed",
    )
    yield _refused(
        "header-array",
        "The header is an array.",
        world.signed_parts(b64url(b'["Ed25519"]'), payload, key=world.SIGNER),
        "malformed",
    )
    yield _refused("no-kid", "The header names no key.", lease(kid=...), "malformed")
    yield _refused("kid-number", "The header's `kid` is a number.", lease(kid=7), "malformed")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": world.public_text(world.STRANGER)}
    yield _refused(
        "embedded-jwk",
        "The token brings the key it wants to be checked with.",
        lease(key=world.STRANGER, kid=world.key_id(world.SIGNER), jwk=jwk),
        "malformed",
    )
    yield _refused(
        "embedded-jku", "The token says where its key may be fetched.", lease(jku="https://keys.example/"), "malformed"
    )
    yield _refused(
        "critical-extension", "The token demands an extension (`crit`).", lease(crit=["b64"], b64=False), "malformed"
    )
    yield _refused("alg-none", "No signature at all, and the header says so.", forgery.unsigned_lease(alg="none"), "algorithm")
    yield _refused("alg-none-capitals", "The same in other letters.", forgery.unsigned_lease(alg="nOnE"), "algorithm")
    yield _refused("alg-hs256", "HMAC, keyed with the signer's public key.", forgery.lease_by_hmac(), "algorithm")
    yield _refused("alg-eddsa", "A good signature under the older, wider algorithm name.", lease(alg="EdDSA"), "algorithm")
    yield _refused("alg-lower-case", "Names of algorithms are case-sensitive.", lease(alg="ed25519"), "algorithm")
    yield _refused("certificate-as-lease", "A certificate where a lease belongs.", world.certificate(), "type")
    yield _refused("typ-jwt", "Another kind of document, signed by the certified key.", lease(typ="JWT"), "type")
    yield _refused("typ-upper-case", "Our `typ` is compared letter by letter.", lease(typ=envelopes.LEASE.upper()), "type")
    yield _refused(
        "kid-unknown", "Signed by a key that the certificate doesn't speak of.", lease(key=world.STRANGER), "unknown-key"
    )
    yield _refused("kid-of-root", "The root signs certificates only, never leases.", lease(key=world.ROOT), "unknown-key")
    yield _refused("kid-empty", "An empty `kid` finds no key.", lease(kid=""), "unknown-key")


def _signature() -> Iterator[Case]:
    header, payload, signature = lease().split(".")
    other = lease(lease_claims(nonce=world.OTHER_NONCE)).split(".")[2]
    impostor = lease(key=world.STRANGER, kid=world.key_id(world.SIGNER))
    yield _refused(
        "header-byte-flipped",
        "One bit of the header's `kid` was changed.",
        f"{forgery.kid_bit_flipped(header)}.{payload}.{signature}",
        "unknown-key",
    )
    yield _refused(
        "payload-byte-flipped",
        "One bit of the payload was changed.",
        f"{header}.{forgery.bit_flipped(payload, 20)}.{signature}",
        "signature",
    )
    yield _refused(
        "signature-byte-flipped",
        "One bit of the signature was changed.",
        f"{header}.{payload}.{forgery.bit_flipped(signature, 20)}",
        "signature",
    )
    yield _refused(
        "header-spaced",
        "The same header, written with a space: the signature covers bytes, not meaning.",
        f"{forgery.header_with_space(header)}.{payload}.{signature}",
        "signature",
    )
    yield _refused("signature-empty", "The signature is empty.", f"{header}.{payload}.", "signature")
    yield _refused(
        "signature-truncated",
        "The signature's last three bytes are missing.",
        f"{header}.{payload}.{b64url(forgery.raw_bytes(signature)[:-3])}",
        "signature",
    )
    yield _refused(
        "signature-too-long",
        "Three bytes follow the signature.",
        f"{header}.{payload}.{b64url(forgery.raw_bytes(signature) + bytes(3))}",
        "signature",
    )
    yield _refused(
        "signature-of-another-lease", "A good signature, of another lease.", f"{header}.{payload}.{other}", "signature"
    )
    yield _refused(
        "signature-malleable",
        "S + L instead of S, another number for the same point (RFC 8032, section 5.1.7).",
        f"{header}.{payload}.{forgery.other_scalar(signature)}",
        "signature",
    )
    yield _refused("impostor", "Signed by a stranger under the certified key's `kid`.", impostor, "signature")


def _claims() -> Iterator[Case]:
    text = json.encode(lease_claims())
    for claim in ("iss", "tid", "prd", "edn", "ent", "act", "gen", "sub", "feat", "iat", "exp", "epo", "seq"):
        yield _refused(f"no-{claim}", f"The claim `{claim}` is missing.", lease(lease_claims(**{claim: ...})), "malformed")
    for name, why, change in _WRONG_TYPES:
        yield _refused(name, why, lease(lease_claims(**change)), "malformed")
    yield _refused("claims-not-json", "The payload is no JSON.", lease(b"lease"), "malformed")
    yield _refused("claims-array", "The payload is an array.", lease(b"[" + text + b"]"), "malformed")
    yield _refused("claims-empty", "The payload is empty.", lease(b""), "malformed")
    yield _refused("claims-twice", "A second object follows the first.", lease(text + text), "malformed")
    yield _refused("claims-cut", "The payload ends in the middle.", lease(text[:-1]), "malformed")
    yield _refused(
        "claims-byte-order-mark", "The payload begins with a byte order mark.", lease(b"\xef\xbb\xbf" + text), "malformed"
    )
    yield _refused("claims-not-utf-8", "The seat id is Latin-1.", lease(text.replace(b"ada@", b"ad\xe0@")), "malformed")
    yield _refused(
        "claims-lone-surrogate",
        "The seat id has half a surrogate pair.",
        lease(text.replace(b"ada@", b"\\ud83e@")),
        "malformed",
    )
    yield _refused("claims-nan", "NaN is no JSON.", lease(text.replace(b'"exp":1800000120', b'"exp":NaN')), "malformed")
    yield _refused(
        "claims-infinite", "1e999 is no moment.", lease(text.replace(b'"exp":1800000120', b'"exp":1e999')), "malformed"
    )


_WRONG_TYPES: tuple[tuple[str, str, Claims], ...] = (
    ("exp-text", "A moment is a number, not text.", {"exp": str(world.NOW + world.LEASE_SECONDS)}),
    ("exp-null", "A lease without end is no lease.", {"exp": None}),
    ("iat-true", "True is not 1.", {"iat": True}),
    ("gen-fraction", "A generation is a whole number.", {"gen": 3.5}),
    ("seq-text", "A sequence is a number, not text.", {"seq": "4711"}),
    ("sub-number", "A seat id is text.", {"sub": 7}),
    ("sub-list", "A seat id is one text, not several.", {"sub": [world.SEAT, "eve@elsewhere"]}),
    ("tid-null", "A lease belongs to a tenant.", {"tid": None}),
    ("nonce-number", "A nonce is text.", {"nonce": 7}),
    ("feat-list", "Features are an object of amounts.", {"feat": ["render"]}),
    ("feat-amount-text", "An amount is a number.", {"feat": {"render": "4"}}),
    ("feat-amount-fraction", "An amount is a whole number.", {"feat": {"render": 4.5}}),
)


def _other() -> Iterator[Case]:
    """Properly signed leases that are somebody else's, or this one's past."""
    yield _refused("other-tenant", "A lease of another tenant.", lease(lease_claims(tid=world.OTHER_TENANT)), "tenant")
    yield _refused(
        "other-product",
        "A lease for a cheaper product, fetched by a rewriting proxy.",
        lease(lease_claims(prd=world.OTHER_PRODUCT)),
        "product",
    )
    yield _refused("other-seat", "A colleague's lease.", lease(lease_claims(sub="eve@elsewhere/0")), "seat")
    yield _refused(
        "other-seat-case", "Seat ids are compared letter by letter.", lease(lease_claims(sub=world.SEAT.upper())), "seat"
    )
    yield _refused("nonce-wrong", "A recording of an earlier answer.", lease(lease_claims(nonce=world.OTHER_NONCE)), "nonce")
    yield _refused("nonce-missing", "A lease signed for a call that sent no nonce.", lease(lease_claims(nonce=...)), "nonce")
    yield _refused("nonce-null", "The same, spelt out.", lease(lease_claims(nonce=None)), "nonce")
    yield _refused("nonce-empty", "An empty nonce is not the one sent.", lease(lease_claims(nonce="")), "nonce")
    yield _refused(
        "nonce-prefix", "Only the beginning of the nonce sent.", lease(lease_claims(nonce=world.NONCE[:16])), "nonce"
    )
    yield _refused(
        "other-issuer", "Another database signs with this key.", lease(lease_claims(iss=world.OTHER_DATABASE)), "issuer"
    )
    early = lease_claims(iat=world.CERTIFIED_FROM - 1)
    yield _refused("before-certificate", "Signed before the key was certified.", lease(early), "validity")
    late = lease_claims(iat=world.CERTIFIED_UNTIL - 60, exp=world.CERTIFIED_UNTIL + 60)
    yield _refused("beyond-certificate", "It ends after its certificate.", lease(late), "validity")
    just = lease_claims(exp=world.CERTIFIED_UNTIL + 0.5)
    yield _refused("beyond-certificate-by-half-a-second", "Fractions count.", lease(just), "validity")
    after = lease_claims(iat=world.CERTIFIED_UNTIL + 60, exp=world.CERTIFIED_UNTIL + 180)
    yield _refused("after-certificate", "Signed after the certificate ended.", lease(after), "validity")
    yield _refused("no-duration", "It ends as it begins.", lease(lease_claims(exp=world.NOW)), "validity")
    yield _refused("backwards", "It ends before it begins.", lease(lease_claims(exp=world.NOW - 1)), "validity")


def _certificate() -> Iterator[Case]:
    """Good leases under certificates that don't carry them."""
    foreign = world.certificate(key=world.OTHER_ROOT)
    forged = world.certificate(key=world.OTHER_ROOT, kid=world.key_id(world.ROOT))
    other_tenant = world.certificate(world.certificate_claims(tid=world.OTHER_TENANT))
    own = world.certificate(world.certificate_claims(kid=world.key_id(world.STRANGER), key=world.public_text(world.STRANGER)))
    swapped = world.certificate(world.certificate_claims(key=world.public_text(world.STRANGER)))
    short = world.certificate(world.certificate_claims(key=b64url(bytes(31))))
    yield _refused(
        "certificate-of-other-root",
        "A fake vendor's certificate.",
        lease(),
        "unknown-key",
        certificate=foreign,
        document="certificate",
    )
    yield _refused(
        "certificate-forged",
        "The same, claiming the pinned root's `kid`.",
        lease(),
        "signature",
        certificate=forged,
        document="certificate",
    )
    yield _refused(
        "lease-as-certificate",
        "A lease where the certificate belongs.",
        lease(),
        "type",
        certificate=lease(),
        document="certificate",
    )
    yield _refused(
        "certificate-self-signed",
        "The signing key certifies itself.",
        lease(),
        "unknown-key",
        certificate=world.certificate(key=world.SIGNER),
        document="certificate",
    )
    yield _refused(
        "certificate-of-other-tenant",
        "The pinned root certified the key for another tenant.",
        lease(),
        "tenant",
        certificate=other_tenant,
    )
    yield _refused(
        "certificate-of-other-key", "The certificate speaks of another key.", lease(), "unknown-key", certificate=own
    )
    yield _refused(
        "certificate-of-swapped-key", "The right `kid`, but another key behind it.", lease(), "signature", certificate=swapped
    )
    yield _refused("certificate-key-short", "The certified key has 31 bytes.", lease(), "malformed", certificate=short)
    roots = [world.public_text(world.OTHER_ROOT), world.public_text(world.ROOT)]
    yield _believed("good-second-root", "While a root is replaced, two are pinned; either will do.", lease(), roots=roots)


def _grant() -> Iterator[Case]:
    """Leases of a local server, whose certificate says what it may sign for."""
    end = world.grant()["end"]
    full = lease_claims(feat={"render": 10})
    yield _granted("good-within-grant", "All of a feature, and not a unit more.", full)
    last = lease_claims(iat=end - world.LEASE_SECONDS, exp=end)
    yield _granted("good-until-end-of-grant", "A lease may end with the grant.", last)
    none = lease_claims(feat={"render": 0, "export": 0})
    yield _granted("good-none-of-a-feature", "None of a feature that the grant lacks is within the grant.", none)
    yield _granted(
        "entitlement-not-granted",
        "Another entitlement than the granted one.",
        lease_claims(ent=world.OTHER_ENTITLEMENT),
        "entitlement",
    )
    yield _granted(
        "feature-not-granted", "A feature that the grant lacks.", lease_claims(feat={"render": 4, "export": 1}), "feature"
    )
    yield _granted("feature-above-grant", "More of a feature than granted.", lease_claims(feat={"render": 11}), "feature")
    yield _granted("end-beyond-grant", "Within the certificate, but beyond the grant's end.", lease_claims(exp=end + 1), "end")
    nothing = world.grant(entitlements=[], features={})
    yield _granted(
        "nothing-granted",
        "An empty list grants nothing; it does not grant everything.",
        lease_claims(feat={}),
        "entitlement",
        covers=nothing,
    )


def _device() -> Iterator[Case]:
    """Leases of programs that proved a device key, as every program should: who else could give its seat back?"""
    own, other = world.public_text(world.STRANGER), world.public_text(world.OTHER_ROOT)
    given = lease_claims(dev=own)
    yield _believed("good-device", "It names the device that proved itself.", lease(given), claims=given, device=own)
    yield _refused("device-missing", "A proxy left the device out of the request.", lease(), "device", device=own)
    yield _refused("device-null", "The same, spelt out.", lease(lease_claims(dev=None)), "device", device=own)
    yield _refused("device-other", "It was given to another device.", lease(lease_claims(dev=other)), "device", device=own)
    yield _refused("device-unexpected", "It was given to a device, and this program proved none.", lease(given), "device")
    yield _refused("device-number", "A device key is text.", lease(lease_claims(dev=7)), "malformed", device=own)


def _believed(name: str, why: str, token: str, *, claims: Claims | None = None, **inputs: Any) -> Case:
    return case(name, why, token, {"claims": claims or lease_claims()}, claims or lease_claims(), inputs)


def _refused(name: str, why: str, token: str, reason: str, *, document: str = "lease", **inputs: Any) -> Case:
    return case(name, why, token, {"document": document, "reason": reason}, lease_claims(), inputs)


def _granted(name: str, why: str, claims: Claims, reason: str | None = None, covers: Claims | None = None) -> Case:
    certificate = world.certificate(world.certificate_claims(covers=covers or world.grant()))
    if reason is None:
        return _believed(name, why, lease(claims), claims=claims, certificate=certificate)
    return _refused(name, why, lease(claims), reason, certificate=certificate)


def case(name: str, why: str, token: str, result: Claims, expected: Claims, inputs: dict[str, Any]) -> Case:
    """Give a case: what was given, what was expected by a program whose seat is that of the `expected` claims, the result."""
    return {
        "name": name,
        "why": why,
        "roots": inputs.get("roots", [world.public_text(world.ROOT)]),
        "certificate": inputs.get("certificate") or world.certificate(),
        "lease": token,
        "expected": {**world.EXPECTED, "seatId": expected["sub"], "deviceKey": inputs.get("device")},
        "result": result,
    }
