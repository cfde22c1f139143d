"""Requests as programs write them, and what a server reads: values that must come out, or the field that is wrong."""

from collections.abc import Iterator
from typing import Any

from msgspec import json
from scripts.wire_vectors import world
from scripts.wire_vectors.world import Case, Claims

from seatkeeper.protocol import ids

_CODE = "04106-1050R-3GG28-A1C60-T3GFZ"
_MINIMAL: Claims = {
    "productId": world.PRODUCT,
    "seatId": world.SEAT,
    "activationCredentials": {"type": "activationCode", "code": _CODE},
}


def cases() -> list[Case]:
    """Give all request cases, by document."""
    return [*_activate_read(), *_activate_wrong(), *_activate_unparsable(), *_refresh(), *_lists(), *_features(), *_status()]


def _activate_read() -> Iterator[Case]:
    yield _activate(
        "activate-minimal",
        "The least a program must say.",
        {},
        reads={
            "/productId": world.PRODUCT,
            "/seatId": world.SEAT,
            "/activationCredentials/type": "activationCode",
            "/activationCredentials/code": _CODE,
            "/clientNonce": None,
            "/features": [],
        },
    )
    everything = {
        "seatName": "Ada's workstation", "editionId": world.EDITION, "clientNonce": world.NONCE, "lastLease": world.lease(),
        "sentAt": "2027-01-15T08:00:00Z", "features": [{"key": "render", "amount": 4}, {"key": "export"}],
        "wait": {"maxSeconds": 600}, "holder": {"user": "ada", "host": "workstation-7", "process": "solver", "group": "fluids"},
        "productVersion": "12.1.0", "borrowUntil": "2027-01-20T08:00:00Z", "deviceKey": world.public_text(world.STRANGER),
        "leaseTypes": ["tree"],
    }  # fmt: skip
    read = {
        "/seatName": "Ada's workstation", "/editionId": world.EDITION, "/clientNonce": world.NONCE,
        "/lastLease": world.lease(), "/sentAt": "2027-01-15T08:00:00Z", "/features/0/amount": 4, "/features/1/key": "export",
        "/features/1/amount": 1, "/wait/maxSeconds": 600, "/holder/host": "workstation-7", "/holder/project": None,
        "/productVersion": "12.1.0", "/borrowUntil": "2027-01-20T08:00:00Z", "/deviceKey": world.public_text(world.STRANGER),
        "/leaseTypes/0": "tree",
    }  # fmt: skip
    yield _activate("activate-everything", "Every field; an amount left out is 1.", everything, reads=read)
    yield _activate(
        "activate-unknown-fields",
        "Fields of a newer program are ignored.",
        {"mood": "good", "holder": {"user": "ada", "shoe": 42}},
        reads={"/holder/user": "ada"},
    )
    yield _activate(
        "activate-nulls",
        "Null is the same as left out.",
        {"clientNonce": None, "editionId": None, "wait": None},
        reads={"/clientNonce": None, "/editionId": None, "/wait": None},
    )
    older = {"activationCredentials": None, "activationCode": _CODE}
    yield _activate(
        "activate-older-spelling", "The code stands outside the credentials.", older, reads={"/activationCode": _CODE}
    )
    token = {"activationCredentials": {"type": "openIdToken", "token": "a.b.c"}}
    yield _activate(
        "activate-openid", "A token of an identity provider.", token, reads={"/activationCredentials/token": "a.b.c"}
    )
    person = {"activationCredentials": {"type": "password", "username": "ada@example.org", "password": "s3cret"}}
    yield _activate("activate-password", "A named user.", person, reads={"/activationCredentials/username": "ada@example.org"})
    yield _activate(
        "activate-seat-200",
        "A seat id has up to 200 characters, not bytes.",
        {"seatId": "ž" * 200},
        reads={"/seatId": "ž" * 200},
    )
    offset = {"sentAt": "2027-01-15T10:00:00.250+02:00"}
    yield _activate(
        "activate-offset",
        "Moments may come with an offset and a fraction.",
        offset,
        reads={"/sentAt": "2027-01-15T08:00:00.250000Z"},
    )


def _activate_wrong() -> Iterator[Case]:
    wrong: tuple[tuple[str, str, Claims, str], ...] = (
        ("no-product", "A product is needed.", {"productId": ...}, "/productId"),
        ("no-seat", "A seat id is needed.", {"seatId": ...}, "/seatId"),
        ("product-number", "A product's id is text.", {"productId": 7}, "/productId"),
        ("seat-empty", "A seat id has at least one character.", {"seatId": ""}, "/seatId"),
        ("seat-201", "A seat id has at most 200 characters.", {"seatId": "s" * 201}, "/seatId"),
        ("seat-control-character", "A seat id is printable.", {"seatId": "ada\u0000"}, "/seatId"),
        ("seat-c1-control", "C1 controls, which terminals obey, aren't printable.", {"seatId": "ada\u009b2J"}, "/seatId"),
        ("seat-bidi-override", "Nor is what is never seen itself.", {"seatId": "ada\u202e"}, "/seatId"),
        ("seat-name-line-separator", "Names are printable too.", {"seatName": "ada\u2028eve"}, "/seatName"),
        ("seat-trailing-newline", "So it has no last newline either.", {"seatId": "ada\n"}, "/seatId"),
        ("nonce-short", "A nonce has at least 16 characters.", {"clientNonce": "0123456789abcde"}, "/clientNonce"),
        ("nonce-long", "A nonce has at most 100 characters.", {"clientNonce": "n" * 101}, "/clientNonce"),
        ("nonce-alphabet", "A nonce is of A-Z a-z 0-9 - _.", {"clientNonce": "0123456789abcdef="}, "/clientNonce"),
        ("nonce-trailing-newline", "So it has no last newline either.", {"clientNonce": f"{world.NONCE}\n"}, "/clientNonce"),
        (
            "credentials-unknown",
            "Credentials are of a known type.",
            {"activationCredentials": {"type": "smile"}},
            "/activationCredentials/type",
        ),
        (
            "credentials-untyped",
            "Credentials say their type.",
            {"activationCredentials": {"code": _CODE}},
            "/activationCredentials/type",
        ),
        (
            "credentials-without-code",
            "The code is missing.",
            {"activationCredentials": {"type": "activationCode"}},
            "/activationCredentials/code",
        ),
        (
            "amount-zero",
            "An amount is at least 1.",
            {"features": [{"key": "export"}, {"key": "render", "amount": 0}]},
            "/features/1/amount",
        ),
        (
            "amount-fraction",
            "An amount is a whole number.",
            {"features": [{"key": "render", "amount": 1.5}]},
            "/features/0/amount",
        ),
        ("amount-huge", "2**53 - 2 is the most.", {"features": [{"key": "render", "amount": 2**53 - 1}]}, "/features/0/amount"),
        ("feature-without-key", "A feature has a key.", {"features": [{"amount": 1}]}, "/features/0/key"),
        ("features-object", "Features are a list.", {"features": {"render": 1}}, "/features"),
        ("features-101", "At most 100 features at once.", {"features": [{"key": "render"}] * 101}, "/features"),
        ("sent-at-words", "A moment is RFC 3339.", {"sentAt": "yesterday"}, "/sentAt"),
        ("sent-at-without-offset", "A moment without an offset is no moment.", {"sentAt": "2027-01-15T08:00:00"}, "/sentAt"),
        ("wait-zero", "Whoever joins the line waits at least a second.", {"wait": {"maxSeconds": 0}}, "/wait/maxSeconds"),
        ("holder-text", "A holder is an object.", {"holder": "ada"}, "/holder"),
    )
    for name, why, change, field in wrong:
        yield _activate(f"activate-{name}", why, change, wrong=field)


def _activate_unparsable() -> Iterator[Case]:
    whole = json.encode(_MINIMAL).decode()
    for name, why, body in (
        ("empty", "Nothing is not JSON.", ""),
        ("words", "Words are not JSON.", "a seat, please"),
        ("cut", "The end is missing.", whole[:-1]),
        ("twice", "One document at a time.", whole + whole),
        ("trailing-comma", "JSON has no trailing commas.", whole[:-1] + ",}"),
        ("single-quotes", "JSON has double quotes.", whole.replace('"', "'")),
        ("byte-order-mark", "JSON begins with no byte order mark (RFC 8259, section 8.1).", "\ufeff" + whole),
    ):
        yield _case(f"activate-{name}", why, "POST", "/api/v1/activate", body, unparsable=True)
    yield _case("activate-array", "JSON, but not an object.", "POST", "/api/v1/activate", f"[{whole}]", wrong="")


def _refresh() -> Iterator[Case]:
    call = ("PATCH", "/api/v1/activation/refresh")
    yield _case("refresh-empty", "A curl user says nothing.", *call, "{}", reads={"/clientNonce": None, "/lastLease": None})
    said = {"clientNonce": world.NONCE, "lastLease": world.lease()}
    yield _case("refresh", "An SDK sends its nonce and the lease it has.", *call, said, reads={"/clientNonce": world.NONCE})
    types = {"clientNonce": world.NONCE, "leaseTypes": ["tree", "forest"]}
    yield _case(
        "refresh-lease-types",
        "An SDK that reads leases in trees; types that a server doesn't know are passed over.",
        *call,
        types,
        reads={"/leaseTypes/0": "tree", "/leaseTypes/1": "forest"},
    )
    yield _case("refresh-lease-types-text", "Types are a list.", *call, {"leaseTypes": "tree"}, wrong="/leaseTypes")
    yield _case("refresh-nonce-empty", "A nonce is left out or long enough.", *call, {"clientNonce": ""}, wrong="/clientNonce")
    yield _case("refresh-last-lease-object", "A lease is text.", *call, {"lastLease": {}}, wrong="/lastLease")


def _lists() -> Iterator[Case]:
    """Give lists of refreshes. What is wrong with an item is told in its own result, what is wrong with the list as a whole."""
    token = f"{world.ACTIVATION}.3.{ids.b64url(bytes(32))}"
    least = {"accessToken": token}
    yield _list("list-minimal", "The least an item says.", [least], reads={"/0/accessToken": token, "/0/nonce": None})
    full = {**least, "nonce": "n-1", "clientNonce": world.NONCE, "lastLease": world.lease(), "leaseTypes": ["tree"]}
    yield _list(
        "list",
        "Two seats; what has a header in a refresh alone has a field here.",
        [full, least],
        reads={
            "/0/accessToken": token,
            "/0/nonce": "n-1",
            "/0/clientNonce": world.NONCE,
            "/0/lastLease": world.lease(),
            "/0/leaseTypes/0": "tree",
            "/1/accessToken": token,
            "/1/leaseTypes": [],
        },
    )
    yield _list("list-unknown-fields", "As everywhere.", [{**least, "mood": "good"}], reads={"/0/accessToken": token})
    yield _list("list-no-token", "Whose seat?", [least, {"nonce": "n-1"}], wrong="/1/accessToken")
    yield _list("list-nonce-number", "A nonce is text.", [{**least, "nonce": 7}], wrong="/0/nonce")
    yield _list("list-text", "An item is an object.", [token], wrong="/0")
    yield _list("list-object", "It is a list, also of one.", least, wrong="")
    yield _list("list-empty", "Of at least one.", [], wrong="")
    yield _list("list-1001", "Of at most 1,000.", [{"accessToken": "t"}] * 1001, wrong="")


def _list(name: str, why: str, body: object, **result: Any) -> Case:
    return _case(name, why, "POST", "/api/v1/activations/refresh", json.encode(body).decode(), **result)


def _features() -> Iterator[Case]:
    for verb in ("checkout", "return"):
        call = ("PATCH", f"/api/v1/activation/features/{verb}")
        full = {"key": "render", "amount": 4, "clientNonce": world.NONCE}
        yield _case(verb, "An amount of a feature.", *call, full, reads={"/key": "render", "/amount": 4, "/leaseTypes": []})
        types = full | {"leaseTypes": ["tree"]}
        yield _case(f"{verb}-lease-types", "With what it reads.", *call, types, reads={"/leaseTypes/0": "tree"})
        yield _case(f"{verb}-one", "An amount left out is 1.", *call, {"key": "render"}, reads={"/amount": 1})
        yield _case(
            f"{verb}-negative",
            "Nothing is given back by drawing less.",
            *call,
            {"key": "render", "amount": -1},
            wrong="/amount",
        )
        yield _case(f"{verb}-without-key", "Which feature?", *call, {"amount": 1}, wrong="/key")
    yield _case(
        "usage", "A feature was used.", "POST", "/api/v1/activation/features/usage", {"key": "export"}, reads={"/key": "export"}
    )


def _status() -> Iterator[Case]:
    body = {"productId": world.PRODUCT, "activationCode": _CODE}
    yield _case("status", "How full is it?", "POST", "/api/v1/status", body, reads={"/activationCode": _CODE})
    yield _case("status-no-product", "Of which product?", "POST", "/api/v1/status", {}, wrong="/productId")


def _activate(name: str, why: str, change: Claims, **result: Any) -> Case:
    body = {key: value for key, value in {**_MINIMAL, **change}.items() if value is not ...}
    return _case(name, why, "POST", "/api/v1/activate", body, **result)


def _case(name: str, why: str, method: str, path: str, body: Claims | str, **result: Any) -> Case:
    text = body if isinstance(body, str) else json.encode(body).decode()
    return {"name": name, "why": why, "method": method, "path": path, "body": text, "result": result}
