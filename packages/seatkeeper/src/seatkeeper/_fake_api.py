"""The fake server's Licensing API: routes, nonces, keyed repeats, documents, refusals. No socket; see `testing.py`."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct, ValidationError, json
from msgspec.structs import replace

from seatkeeper._fake_pool import Feature, Place, Pool, Rejection
from seatkeeper._fake_replies import denial_of, holders, invalid_field, moment, next_free_by, problem, reply, sentence
from seatkeeper._fake_signing import Signer, new_id
from seatkeeper._wire import Reply
from seatkeeper.protocol import devices, ids
from seatkeeper.protocol.codes import canonical, make_code
from seatkeeper.protocol.documents import (
    MAX_BODY_BYTES,
    MAX_LIST_BYTES,
    MAX_LISTED,
    TREE,
    UNREADABLE,
    ActivateAnswer,
    ActivateRequest,
    ActivationEntitlement,
    ActivationState,
    CodeCredentials,
    FeatureAnswer,
    FeatureRequest,
    FeatureState,
    Interval,
    KeysAnswer,
    ListedAnswer,
    ListedRefresh,
    PlanTerms,
    RefreshAnswer,
    RefreshRequest,
    StatusAnswer,
    StatusRequest,
    UsageRequest,
)

Body = TypeVar("Body", bound=Struct)

_LIST = "/api/v1/activations/refresh"
_List = Annotated[list[Raw], Meta(min_length=1, max_length=MAX_LISTED)]


@dataclass(frozen=True)
class Request:
    """One request; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Api:
    """Answers requests about one product of one tenant."""

    def __init__(self, pool: Pool, now: Callable[[], float], *, nonce_required: bool) -> None:
        self.pool = pool
        self.now = now
        self.nonce_required = nonce_required
        self.code = make_code(secrets.token_bytes(15))
        self.calls: list[Request] = []
        self.signer = Signer(now)
        self._done: dict[tuple[str, str | None], bytes] = {}  # activation and Idempotency-Key → request's digest
        self._repeats: dict[str, tuple[bytes, str, int]] = {}  # key → request's digest, activation, generation
        self._routes: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("POST", "/api/v1/activate"): self._activate,
            ("GET", "/api/v1/activation"): self._state,
            ("PATCH", "/api/v1/activation/refresh"): self._refresh,
            ("POST", _LIST): self._refresh_all,
            ("DELETE", "/api/v1/activation"): self._deactivate,
            ("GET", "/api/v1/activation/entitlement"): self._entitlement,
            ("PATCH", "/api/v1/activation/features/checkout"): self._checkout,
            ("PATCH", "/api/v1/activation/features/return"): self._return,
            ("POST", "/api/v1/activation/features/usage"): self._usage,
            ("POST", "/api/v1/status"): self._status,
            ("GET", "/.well-known/seatkeeper/keys"): self._keys,
        }

    def answer(self, request: Request) -> Reply:
        """Decide a request; every outcome is a reply."""
        self.calls.append(request)
        try:
            route = self._routes.get((request.method, request.path))
            if route is None:
                return self._nowhere(request.path)
            if len(request.body) > (MAX_LIST_BYTES if request.path == _LIST else MAX_BODY_BYTES):
                raise Rejection("body.tooLarge")
            if request.headers.get("n-tenantid") != self.signer.tenant:
                raise Rejection("credentials.unknown")
            return route(request)
        except (Rejection, *UNREADABLE) as error:
            return self._unserved(error, request)

    def _unserved(self, error: Exception, request: Request) -> Reply:
        match error:
            case Rejection():
                return self._refusal(error, request)
            case ValidationError():
                return problem("validation", str(error), invalid=invalid_field(str(error)))
            case _:
                return problem("body.unparsable")

    def _nowhere(self, path: str) -> Reply:
        allowed = ", ".join(method for method, known in self._routes if known == path)
        if not allowed:
            return problem("notFound")
        answer = problem("notFound", f"this path answers to {allowed} only")
        return Reply(405, {**answer.headers, "allow": allowed}, answer.body)

    # --- taking and keeping a seat ---------------------------------------------------------------------------------

    def _activate(self, request: Request) -> Reply:
        asked = _read(request, ActivateRequest)
        self._require_code(asked)
        key = request.headers.get("idempotency-key") or asked.client_nonce
        again = self._repeated(key, request)
        if again is not None:
            return self._granted(again, 200, asked)
        now, wanted = self.now(), {feature.key: feature.amount for feature in asked.features}
        place, is_new = self.pool.take(self._fresh(asked, now), wanted, proven=self._proves(request, asked.seat_id), now=now)
        place.nonce = secrets.token_urlsafe(16)
        if key is not None:
            self._repeats[key] = (_digest(request), place.activation_id, place.generation)
        return self._granted(place, 201 if is_new else 200, asked)

    def _granted(self, place: Place, status: int, asked: ActivateRequest) -> Reply:
        answer = ActivateAnswer(
            access_token=self.signer.token(place),
            activation=self._seen(place),
            lease=self._lease(place, asked),
            certificate=self.signer.certificate,
        )
        return reply(status, answer, place.nonce)

    def _refresh(self, request: Request) -> Reply:
        place, asked = self._kept(request)
        answer = RefreshAnswer(
            access_token=self.signer.token(place),
            activation=self._seen(place),
            lease=self._lease(place, asked),
            certificate=self.signer.certificate,
        )
        return reply(200, answer, place.nonce)

    def _kept(self, request: Request) -> tuple[Place, RefreshRequest]:
        place, asked = self._place(request), _read(request, RefreshRequest)
        if not self._once(place, request, lambda: self.pool.refresh(place, self.now())) and not place.is_held(self.now()):
            raise Rejection("seat.gone")
        return place, asked

    def _refresh_all(self, request: Request) -> Reply:
        """Refresh the seats of a list one by one, then sign for all that read trees together."""
        items = json.decode(request.body, type=_List)
        ends = [self._refreshed(request, bytes(item)) for item in items]
        kept = [end for end in ends if not isinstance(end, Reply)]
        leases = iter(self.signer.sign_list([(payload, TREE in asked.lease_types) for _, asked, payload in kept]))
        results = [
            _as_result(end) if isinstance(end, Reply) else json.encode(replace(end[0], lease=next(leases))) for end in ends
        ]
        certificate = json.encode(self.signer.certificate)
        body = b'{"results":[%b],"certificate":%b}' % (b",".join(results), certificate)
        return Reply(200, {"content-type": "application/json"}, body)

    def _refreshed(self, request: Request, item: bytes) -> tuple[ListedAnswer, ListedRefresh, bytes] | Reply:
        """Refresh one seat of a list by the rules of a call of its own: its result, still without the lease over the claims."""
        try:
            asked = json.decode(item, type=ListedRefresh)
        except UNREADABLE as error:
            return self._unserved(error, request)
        alone = Request(request.method, request.path, _own_headers(request.headers, asked), item)
        try:
            place, _ = self._kept(alone)
        except Rejection as error:
            return self._unserved(error, alone)
        nonce = None if asked.nonce is None else place.nonce
        answer = ListedAnswer(status=200, nonce=nonce, access_token=self.signer.token(place), activation=self._seen(place))
        return answer, asked, self.signer.payload(place, self._features(place), asked.client_nonce)

    def _deactivate(self, request: Request) -> Reply:
        place, generation = self._named(request)
        if place is not None and generation == place.generation:
            end = self.pool.give_up if self._is_vouched_for(place, request) else self.pool.take_back
            end(place)
        return reply(204)

    def _is_vouched_for(self, place: Place, request: Request) -> bool:
        """Tell whether the device gives the place back that it was given to; whoever saw the token could."""
        if place.device is None:
            return True
        returned = devices.Returned(self.signer.tenant, place.activation_id, place.generation)
        return devices.is_proven(place.device, request.headers.get(devices.RETURN_HEADER.lower(), ""), returned)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _state(self, request: Request) -> Reply:
        place = self._place(request)
        self._present(place, request)
        return reply(200, self._seen(place), request.headers.get("n-nonce"))

    def _entitlement(self, request: Request) -> Reply:
        place = self._place(request)
        self._present(place, request)
        none = Interval(type="none")
        bought = ActivationEntitlement(
            customer_name="Fake customer",
            customer_account_ref_id=None,
            order_ref_id=None,
            offering_name="fake",
            sku="FAKE",
            product_name="fake",
            plan=PlanTerms(
                name="fake", license_type="perpetual", license_start_type="entitlementCreation", license_duration=none
            ),
            grace_period=none,
            linger_period=none,
            lease_period=Interval(type="second", count=max(1, round(self.pool.lease))),
            offline_lease_period=none,
            has_maintenance=False,
            maintenance_expiry_date=None,
            seat_count=self.pool.seats,
            expiry_date=None,
            snapshot_date=moment(self.now()),
        )
        return reply(200, bought, request.headers.get("n-nonce"))

    def _status(self, request: Request) -> Reply:
        asked, now = _read(request, StatusRequest), self.now()
        self._require_code(asked)
        used = self.pool.used(now)
        answer = StatusAnswer(
            product_id=self.signer.product,
            product_name="fake",
            entitlement_id=self.signer.entitlement,
            status="active",
            seats=self.pool.seats,
            used=used,
            free=max(0, self.pool.seats - used),
            overdraft=0,
            line=0,
            holders=holders(self.pool, now),
            next_free_by=next_free_by(self.pool, now),
        )
        return reply(200, answer)

    def _keys(self, request: Request) -> Reply:
        return reply(
            200,
            KeysAnswer(tenant_id=self.signer.tenant, public_key=self.signer.public_key, certificates=[self.signer.certificate]),
        )

    # --- features --------------------------------------------------------------------------------------------------

    def _checkout(self, request: Request) -> Reply:
        return self._feature_call(request, lambda place, key, amount: self.pool.checkout(place, key, amount, self.now()))

    def _return(self, request: Request) -> Reply:
        return self._feature_call(request, self.pool.give_back)

    def _feature_call(self, request: Request, change: Callable[[Place, str, int], Feature]) -> Reply:
        place, asked = self._held(request), _read(request, FeatureRequest)
        self._require_key(place, request)
        self._once(place, request, lambda: change(place, asked.key, asked.amount))
        state = self._feature_state(place, self.pool.features[asked.key])
        answer = FeatureAnswer(
            key=state.key,
            type=state.type,
            active=state.active,
            available=state.available,
            total=state.total,
            lease=self._lease(place, asked),
        )
        return reply(200, answer, place.nonce)

    def _usage(self, request: Request) -> Reply:
        place, asked = self._held(request), _read(request, UsageRequest)
        self._require_key(place, request)
        self._once(place, request, lambda: self.pool.use(asked.key))
        return reply(204, None, place.nonce)

    # --- tokens and nonces -----------------------------------------------------------------------------------------

    def _named(self, request: Request) -> tuple[Place | None, int]:
        """Give the place and generation that a request's token names; the place may have been forgotten."""
        activation_id, generation = self.signer.read_token(request.headers.get("authorization", ""))
        return self.pool.by_activation(activation_id), generation

    def _place(self, request: Request) -> Place:
        """Give the place a request is about, be it held or lapsed."""
        place, generation = self._named(request)
        if place is None:
            raise Rejection("seat.gone")
        if generation < place.generation:
            raise Rejection("seat.takenOver")
        if place.status != "held":
            raise Rejection("seat.gone")
        return place

    def _held(self, request: Request) -> Place:
        place = self._place(request)
        if not place.is_held(self.now()):
            raise Rejection("seat.gone")
        return place

    def _proves(self, request: Request, seat_id: str) -> bool:
        """Tell whether an activate brought the current token of this seat id's place."""
        try:
            place, generation = self._named(request)
        except Rejection:
            return False
        return place is not None and place.seat_id == seat_id and generation == place.generation

    def _present(self, place: Place, request: Request) -> None:
        nonce = request.headers.get("n-nonce")
        if nonce != place.nonce and not (nonce is None and self._may_omit(place)):
            raise Rejection("nonce.stale")

    def _once(self, place: Place, request: Request, change: Callable[[], object]) -> bool:
        """Make a change, unless this is the repeat of a request that made it; tell whether it was made now.

        Uses the request's nonce up. A request that was refused is decided anew when it is repeated.
        """
        key = (place.activation_id, request.headers.get("idempotency-key"))
        nonce, digest = request.headers.get("n-nonce"), _digest(request)
        if key[1] is not None and key in self._done:
            if self._done[key] != digest:
                raise Rejection("idempotency.mismatch")
            return False
        if nonce is not None and (nonce, digest) == (place.nonce_before, place.request_before):
            if place.request_done:
                return False
        elif nonce is not None or not self._may_omit(place):
            self._use_up(place, nonce, digest if b'"clientNonce"' in request.body else None)
        change()
        place.request_done = True
        if key[1] is not None:
            self._done[key] = digest
        return True

    def _use_up(self, place: Place, nonce: str | None, digest: bytes | None) -> None:
        if nonce is None or nonce != place.nonce:
            raise Rejection("nonce.stale")
        place.nonce_before, place.request_before, place.request_done = nonce, digest, False
        place.nonce, place.sends_nonces = secrets.token_urlsafe(16), True

    def _may_omit(self, place: Place) -> bool:
        return not (self.nonce_required or place.sends_nonces)

    def _require_key(self, place: Place, request: Request) -> None:
        if "n-nonce" not in request.headers and "idempotency-key" not in request.headers:
            raise Rejection("validation", "a feature call needs N-Nonce or Idempotency-Key", feature="N-Nonce")

    def _repeated(self, key: str | None, request: Request) -> Place | None:
        """Give the place that an earlier activate with this key got, if that holding hasn't ended."""
        if key is None or key not in self._repeats:
            return None
        digest, activation_id, generation = self._repeats[key]
        if digest != _digest(request):
            raise Rejection("idempotency.mismatch")
        place = self.pool.by_activation(activation_id)
        return place if place is not None and place.generation == generation and place.is_held(self.now()) else None

    def _require_code(self, asked: ActivateRequest | StatusRequest) -> None:
        credentials = asked.activation_credentials
        if credentials is None and asked.activation_code is None:
            raise Rejection("validation", "an activation code is needed", feature="activationCredentials")
        code = credentials.code if isinstance(credentials, CodeCredentials) else asked.activation_code
        if asked.product_id != self.signer.product or code is None or canonical(code) != canonical(self.code):
            raise Rejection("credentials.unknown")

    # --- documents -------------------------------------------------------------------------------------------------

    def _fresh(self, asked: ActivateRequest, now: float) -> Place:
        return Place(
            activation_id=new_id(ids.ACTIVATION),
            seat_id=asked.seat_id,
            seat_name=asked.seat_name,
            holder=asked.holder,
            since=now,
            expires_at=max(now + self.pool.lease, self._borrowed_until(asked, now)),
            refreshed_at=now,
            device=self._device(asked),
            borrowed=asked.borrow_until is not None,
        )

    def _borrowed_until(self, asked: ActivateRequest, now: float) -> float:
        """Give until when the seat is borrowed, if it is to be."""
        if asked.borrow_until is None:
            return 0.0
        until, last = asked.borrow_until.timestamp(), now + self.pool.borrow
        if not self.pool.borrow or not now < until <= last + 3600.0 or self._device(asked) is None:
            raise Rejection("borrow.refused")
        return min(until, last)

    def _device(self, asked: ActivateRequest) -> str | None:
        """Give the device's key if the request proves that the device has it."""
        if asked.device_key is None or asked.device_proof is None:
            return None
        said = devices.Asked(self.signer.tenant, asked.product_id, asked.seat_id, asked.client_nonce or "")
        if not devices.is_proven(asked.device_key, asked.device_proof, said):
            raise Rejection("validation", "this is not a signature by deviceKey over this request", feature="deviceProof")
        return asked.device_key

    def _lease(self, place: Place, asked: ActivateRequest | RefreshRequest | FeatureRequest) -> str:
        return self.signer.lease(place, self._features(place), asked.client_nonce, TREE in asked.lease_types)

    def _features(self, place: Place) -> dict[str, int]:
        features = {key: 1 for key, feature in self.pool.features.items() if feature.type == "bool"}
        return features | {key: amount for key, amount in (place.drawn | place.spent).items() if amount}

    def _seen(self, place: Place) -> ActivationState:
        return ActivationState(
            id=place.activation_id,
            activation_method="activationCode",
            status="active" if place.is_held(self.now()) else "leaseExpired",
            mode="online",
            product_id=self.signer.product,
            edition_id=self.signer.edition,
            entitlement_id=self.signer.entitlement,
            seat_id=place.seat_id,
            seat_name=place.seat_name,
            username=place.holder.user if place.holder else None,
            activated=moment(place.since),
            last_lease=moment(place.refreshed_at),
            lease_expiry=moment(place.expires_at),
            features=[self._feature_state(place, feature) for feature in self.pool.features.values()],
        )

    def _feature_state(self, place: Place, feature: Feature) -> FeatureState:
        if feature.type == "bool":
            return FeatureState(key=feature.key, type="bool", active=1, available=1, total=1)
        left = None if feature.total is None else feature.total - self.pool.in_use(feature, self.now())
        active = (place.spent if feature.type == "usageCount" else place.drawn).get(feature.key, 0)
        return FeatureState(key=feature.key, type=feature.type, active=active, available=left, total=feature.total)

    def _refusal(self, rejection: Rejection, request: Request) -> Reply:
        """Give the error body; an answer that used a nonce up carries the next one even if it is a refusal."""
        if rejection.code == "validation":
            return problem("validation", str(rejection), invalid=rejection.feature)
        cause = rejection.__cause__ if isinstance(rejection.__cause__, Rejection) else rejection
        denial = denial_of(cause, self.pool, self.now()) if cause.code in {"seats.exhausted", "feature.exhausted"} else None
        said = str(rejection) if denial is None else sentence(rejection.code, denial)
        return problem(rejection.code, said, denial=denial, nonce=self._nonce_after(rejection, request))

    def _nonce_after(self, rejection: Rejection, request: Request) -> str | None:
        if request.headers.get("n-nonce") is None or rejection.code in {"nonce.stale", "token.invalid", "seat.takenOver"}:
            return None
        try:
            place, _ = self._named(request)
        except Rejection:
            return None
        return place.nonce if place is not None else None


def _own_headers(headers: Mapping[str, str], asked: ListedRefresh) -> dict[str, str]:
    """Give the headers that an item of a list would have alone; an `Idempotency-Key` of the call is each item's."""
    own = {name: value for name, value in headers.items() if name not in {"authorization", "n-nonce"}}
    own["authorization"] = f"Bearer {asked.access_token}"
    return own if asked.nonce is None else own | {"n-nonce": asked.nonce}


def _as_result(reply: Reply) -> bytes:
    """Give an error's reply as the result of an item."""
    nonce = reply.headers.get("n-nonce")
    given = b"" if nonce is None else b'"nonce":%b,' % json.encode(nonce)
    return b'{"status":%d,%b%b' % (reply.status, given, reply.body[1:])


def _digest(request: Request) -> bytes:
    return sha256(f"{request.method} {request.path}\n".encode() + request.body).digest()


def _read(request: Request, kind: type[Body]) -> Body:
    return json.decode(request.body or b"{}", type=kind)
