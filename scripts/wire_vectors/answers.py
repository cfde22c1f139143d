"""Answers as servers write them, and what a program reads: values that must come out, or the field that is wrong."""

from collections.abc import Iterator
from typing import Any

from msgspec import json
from scripts.wire_vectors import world
from scripts.wire_vectors.world import Case, Claims

from seatkeeper.protocol import ids

_RENDER: Claims = {"key": "render", "type": "elementPool", "active": 4, "available": 6, "total": 10}
_STATE: Claims = {
    "id": world.ACTIVATION, "activationMethod": "activationCode", "status": "active", "mode": "online",
    "productId": world.PRODUCT, "editionId": world.EDITION, "entitlementId": world.ENTITLEMENT, "seatId": world.SEAT,
    "seatName": "Ada's workstation", "username": None, "activated": "2027-01-15T08:00:00Z",
    "lastLease": "2027-01-15T08:00:00Z", "leaseExpiry": "2027-01-15T08:02:00Z", "deactivated": None,
    "entitlementExpiryDate": "2027-12-31T00:00:00Z", "entitlementGracePeriodExpiry": None, "entitlementStatus": "active",
    "entitlementConcurrencyMode": "concurrent", "hasMaintenance": False, "maintenanceExpiryDate": None,
    "attributes": [{"key": "tier", "type": "string", "value": "gold"}], "features": [_RENDER],
}  # fmt: skip
_TOKEN = f"{world.ACTIVATION}.3.{ids.b64url(bytes(32))}"
_ACTIVATED: Claims = {"accessToken": _TOKEN, "activation": _STATE, "lease": world.lease(), "certificate": world.certificate()}
_DENIAL: Claims = {
    "id": "D-7K3M2Q", "rule": "pool-full", "limit": 2, "used": 2, "overdraft": 0, "line": 3,
    "holders": [{"seatName": "ada@workstation-7", "since": "2027-01-15T07:00:00Z", "leaseExpiry": "2027-01-15T08:01:30Z"}],
    "holdersMore": 1, "nextFreeBy": "2027-01-15T08:01:30Z",
    "expectedFreeAt": {"p50": "2027-01-15T08:20:00Z", "p90": "2027-01-15T09:10:00Z"},
    "remedies": [{"kind": "wait", "text": "Join the line."}, {"kind": "contact", "text": "Ask licenses@acme.example."}],
}  # fmt: skip
_FULL: Claims = {
    "error": "Every seat is taken.",
    "details": "2 of 2 seats are held.",
    "errorCode": "seats.exhausted",
    "denial": _DENIAL,
}


def cases() -> list[Case]:
    """Give all answer cases, by document."""
    return [*_activated(), *_refreshed(), *_listed(), *_feature(), *_pool(), *_refused(), *_keys()]


def _activated() -> Iterator[Case]:
    reads = {
        "/accessToken": _TOKEN, "/lease": world.lease(), "/certificate": world.certificate(), "/activation/seatId": world.SEAT,
        "/activation/leaseExpiry": "2027-01-15T08:02:00Z", "/activation/username": None,
        "/activation/features/0/active": 4, "/activation/attributes/0/value": "gold",
    }  # fmt: skip
    yield _activate("activated", "A seat was granted. Believe the lease, not the state beside it.", {}, reads=reads)
    yield _activate(
        "activated-newer-server",
        "Fields of a newer server are ignored.",
        {"banner": {"text": "hello"}},
        reads={"/accessToken": _TOKEN},
    )
    unlimited = {"activation": {**_STATE, "features": [{**_RENDER, "available": None, "total": None}]}}
    yield _activate("activated-unlimited", "Null is unlimited.", unlimited, reads={"/activation/features/0/total": None})
    locked = {"activation": {**_STATE, "entitlementConcurrencyMode": "nodeLock", "status": "leaseExpired"}}
    yield _activate(
        "activated-lapsed", "The place is kept, the right to run is not.", locked, reads={"/activation/status": "leaseExpired"}
    )
    offset = {"activation": {**_STATE, "leaseExpiry": "2027-01-15T09:02:00.5+01:00"}}
    yield _activate(
        "activated-offset",
        "Moments may come with an offset.",
        offset,
        reads={"/activation/leaseExpiry": "2027-01-15T08:02:00.500000Z"},
    )
    for field in ("accessToken", "activation", "lease", "certificate"):
        yield _activate(
            f"activated-no-{field}", f"An answer without `{field}` grants nothing.", {field: ...}, wrong=f"/{field}"
        )
    yield _activate("activated-lease-null", "An answer without a lease grants nothing.", {"lease": None}, wrong="/lease")
    broken = {"activation": {**_STATE, "leaseExpiry": 1800000120}}
    yield _activate("activated-moment-number", "Moments on this wire are text.", broken, wrong="/activation/leaseExpiry")


def _refreshed() -> Iterator[Case]:
    body: Claims = {"accessToken": _TOKEN, "activation": _STATE, "lease": world.lease()}
    yield _case(
        "refreshed",
        "Held on; the certificate is the one known.",
        "RefreshAnswer",
        body,
        reads={"/lease": world.lease(), "/certificate": None},
    )
    changed = {**body, "certificate": world.certificate()}
    yield _case(
        "refreshed-new-certificate",
        "The key was changed.",
        "RefreshAnswer",
        changed,
        reads={"/certificate": world.certificate()},
    )
    yield _case("refreshed-no-lease", "Not held on.", "RefreshAnswer", {**body, "lease": None}, wrong="/lease")


def _listed() -> Iterator[Case]:
    served: Claims = {"status": 200, "nonce": "n-2", "accessToken": _TOKEN, "activation": _STATE, "lease": world.lease()}
    gone: Claims = {"status": 409, "error": "Conflict", "details": "It is gone.", "errorCode": "seat.gone"}
    away: Claims = {"status": 503, "retryAfter": 1, "error": "x", "details": "Later.", "errorCode": "storage.unavailable"}
    yield _list(
        "listed",
        "One result for each refresh of a list, in its order: held on, or the error body. One certificate stands for all.",
        [served, gone, {"status": 402, **_FULL}, away],
        reads={
            "/results/0/status": 200,
            "/results/0/nonce": "n-2",
            "/results/0/accessToken": _TOKEN,
            "/results/0/lease": world.lease(),
            "/results/0/activation/seatId": world.SEAT,
            "/results/1/status": 409,
            "/results/1/errorCode": "seat.gone",
            "/results/1/lease": None,
            "/results/2/denial/rule": "pool-full",
            "/results/3/retryAfter": 1,
            "/certificate": world.certificate(),
        },
    )
    without = {name: value for name, value in served.items() if name != "nonce"}
    yield _list("listed-no-nonce", "Who showed no nonce is told none.", [without], reads={"/results/0/nonce": None})
    yield _list(
        "listed-newer-server", "Fields of a newer server are ignored.", [{**gone, "mood": 1}], reads={"/results/0/status": 409}
    )
    yield _list("listed-no-status", "Every result has a status.", [{"lease": world.lease()}], wrong="/results/0/status")


def _list(name: str, why: str, results: list[Claims], **result: Any) -> Case:
    return _case(name, why, "ListAnswer", {"results": results, "certificate": world.certificate()}, **result)


def _feature() -> Iterator[Case]:
    body = {**_RENDER, "lease": world.lease()}
    yield _case(
        "feature",
        "Checked out, with the lease that says so.",
        "FeatureAnswer",
        body,
        reads={"/active": 4, "/lease": world.lease()},
    )
    yield _case("feature-no-lease", "An answer to a call without a nonce.", "FeatureAnswer", _RENDER, reads={"/lease": None})
    yield _case(
        "feature-type-unknown",
        "A type that this version doesn't know.",
        "FeatureAnswer",
        {**_RENDER, "type": "tide"},
        wrong="/type",
    )


def _pool() -> Iterator[Case]:
    body: Claims = {
        "productId": world.PRODUCT, "productName": "solver", "entitlementId": world.ENTITLEMENT, "status": "active",
        "seats": 2, "used": 2, "free": 0, "overdraft": 0, "line": 0, "holders": _DENIAL["holders"],
        "nextFreeBy": "2027-01-15T08:01:30Z",
    }  # fmt: skip
    reads = {"/seats": 2, "/free": 0, "/holders/0/seatName": "ada@workstation-7", "/nextFreeBy": "2027-01-15T08:01:30Z"}
    yield _case("status", "A full pool.", "StatusAnswer", body, reads=reads)
    endless = {**body, "free": None, "nextFreeBy": None}
    yield _case("status-unlimited", "No limit.", "StatusAnswer", endless, reads={"/free": None, "/nextFreeBy": None})


def _refused() -> Iterator[Case]:
    reads = {
        "/errorCode": "seats.exhausted", "/denial/id": "D-7K3M2Q", "/denial/rule": "pool-full",
        "/denial/holders/0/seatName": "ada@workstation-7", "/denial/holdersMore": 1,
        "/denial/nextFreeBy": "2027-01-15T08:01:30Z", "/denial/expectedFreeAt/p50": "2027-01-15T08:20:00Z",
        "/denial/remedies/1/text": "Ask licenses@acme.example.",
    }  # fmt: skip
    yield _case("refused-full", "Refused, and why.", "ErrorBody", _FULL, status=402, reads=reads)
    least = {"id": "D-7K3M2Q", "rule": "pool-full", "limit": None, "used": 2, "overdraft": 0, "line": 0}
    private = {**_FULL, "denial": least}
    yield _case(
        "refused-private",
        "Holders are not shown.",
        "ErrorBody",
        private,
        status=402,
        reads={"/denial/id": "D-7K3M2Q", "/denial/limit": None},
    )
    gone = {"error": "The seat is no longer held.", "details": "It ended at 08:02.", "errorCode": "seat.gone"}
    yield _case(
        "refused-gone", "Not every refusal has a denial.", "ErrorBody", gone, status=409, reads={"/errorCode": "seat.gone"}
    )
    newer = {**_FULL, "errorCode": "weather.bad", "denial": {**_DENIAL, "rule": "rain", "since": "today"}}
    yield _case(
        "refused-newer-server",
        "Codes and rules are added: show what one doesn't know.",
        "ErrorBody",
        newer,
        status=402,
        reads={"/errorCode": "weather.bad", "/denial/rule": "rain"},
    )
    fields = [{"message": "An amount is at least 1.", "propertyName": "features[1].amount"}]
    invalid = {"error": "Some fields are wrong.", "details": "", "errorCode": "validation", "validationErrors": fields}
    yield _case(
        "refused-validation",
        "The wrong fields are named.",
        "ErrorBody",
        invalid,
        status=422,
        reads={"/validationErrors/0/propertyName": "features[1].amount"},
    )
    yield _case(
        "refused-without-code",
        "An error of something in between.",
        "ErrorBody",
        {"error": "Bad Gateway", "details": ""},
        status=502,
        wrong="/errorCode",
    )
    yield _case(
        "refused-by-proxy",
        "A proxy's page is no answer of ours.",
        "ErrorBody",
        "<html>Bad Gateway</html>",
        status=502,
        unparsable=True,
    )


def _keys() -> Iterator[Case]:
    body = {"tenantId": world.TENANT, "publicKey": world.public_text(world.ROOT), "certificates": [world.certificate()]}
    yield _case(
        "keys", "For looking at; what one trusts is pinned.", "KeysAnswer", body, reads={"/certificates/0": world.certificate()}
    )


def _activate(name: str, why: str, change: Claims, **result: Any) -> Case:
    body = {key: value for key, value in {**_ACTIVATED, **change}.items() if value is not ...}
    return _case(name, why, "ActivateAnswer", body, status=201, **result)


def _case(name: str, why: str, document: str, body: Claims | str, *, status: int = 200, **result: Any) -> Case:
    text = body if isinstance(body, str) else json.encode(body).decode()
    return {"name": name, "why": why, "document": document, "status": status, "body": text, "result": result}
