"""The fake server's Licensing API: routes, tokens, nonces, signed leases, refusals. No socket; see `testing.py`.

Keys and ids are made anew for each server and live as long as it does.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET, DecodeError, Struct, ValidationError, json

from seatkeeper._fake_pool import Feature, Place, Pool, Rejection
from seatkeeper._wire import Reply
from seatkeeper.protocol import ids
from seatkeeper.protocol.codes import ALPHABET, canonical, make_code
from seatkeeper.protocol.documents import (
    MAX_BODY_BYTES,
    ActivateAnswer,
    ActivateRequest,
    ActivationEntitlement,
    ActivationState,
    CertificateClaims,
    CodeCredentials,
    Denial,
    ErrorBody,
    FeatureAnswer,
    FeatureRequest,
    FeatureState,
    Interval,
    KeysAnswer,
    LeaseClaims,
    PlanTerms,
    RefreshAnswer,
    RefreshRequest,
    Remedy,
    SeatHolder,
    StatusAnswer,
    StatusRequest,
    UsageRequest,
    ValidationProblem,
)
from seatkeeper.protocol.envelopes import CERTIFICATE, LEASE, key_id, public_key_text, sign
from seatkeeper.protocol.problems import PROBLEMS

Body = TypeVar("Body", bound=Struct)
YEAR = 365 * 86_400


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
        self.tenant, self.product = _new_id(ids.TENANT), _new_id(ids.PRODUCT)
        self.edition, self.entitlement, self.database = _new_id(ids.EDITION), _new_id(ids.ENTITLEMENT), _new_id(ids.DATABASE)
        self.code = make_code(secrets.token_bytes(15))
        self.calls: list[Request] = []
        self._root, self._key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._token_key = secrets.token_bytes(32)
        self._sequence = 0
        self._repeats: dict[str, tuple[bytes, str, int]] = {}  # key → request's digest, activation, generation
        self._certificate = self._certify()
        self._routes: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("POST", "/api/v1/activate"): self._activate,
            ("GET", "/api/v1/activation"): self._state,
            ("PATCH", "/api/v1/activation/refresh"): self._refresh,
            ("DELETE", "/api/v1/activation"): self._deactivate,
            ("GET", "/api/v1/activation/entitlement"): self._entitlement,
            ("PATCH", "/api/v1/activation/features/checkout"): self._checkout,
            ("PATCH", "/api/v1/activation/features/return"): self._return,
            ("POST", "/api/v1/activation/features/usage"): self._usage,
            ("POST", "/api/v1/status"): self._status,
            ("GET", "/.well-known/seatkeeper/keys"): self._keys,
        }

    @property
    def public_key(self) -> str:
        return public_key_text(self._root.public_key())

    def answer(self, request: Request) -> Reply:
        """Decide a request; every outcome is a reply."""
        self.calls.append(request)
        try:
            route = self._routes.get((request.method, request.path))
            if route is None:
                raise Rejection("notFound")
            if len(request.body) > MAX_BODY_BYTES:
                raise Rejection("body.tooLarge")
            if request.headers.get("n-tenantid") != self.tenant:
                raise Rejection("credentials.unknown")
            return route(request)
        except Rejection as rejection:
            return self._refusal(rejection, request)
        except ValidationError as error:
            return _problem("validation", str(error), invalid=_invalid_field(str(error)))
        except DecodeError:
            return _problem("body.unparsable")

    # --- taking and keeping a seat ---------------------------------------------------------------------------------

    def _activate(self, request: Request) -> Reply:
        asked = _read(request, ActivateRequest)
        credentials = asked.activation_credentials
        self._require_code(
            asked.product_id, credentials.code if isinstance(credentials, CodeCredentials) else asked.activation_code
        )
        key = request.headers.get("idempotency-key") or asked.client_nonce
        again = self._repeated(key, request)
        if again is not None:
            return self._granted(again, 200, asked.client_nonce)
        now, wanted = self.now(), {feature.key: feature.amount for feature in asked.features}
        place, is_new = self.pool.take(self._fresh(asked, now), wanted, proven=self._proves(request, asked.seat_id), now=now)
        place.nonce = secrets.token_urlsafe(16)
        if key is not None:
            self._repeats[key] = (sha256(request.body).digest(), place.activation_id, place.generation)
        return self._granted(place, 201 if is_new else 200, asked.client_nonce)

    def _granted(self, place: Place, status: int, client_nonce: str | None) -> Reply:
        answer = ActivateAnswer(
            access_token=self._token(place),
            activation=self._seen(place),
            lease=self._lease(place, client_nonce),
            certificate=self._certificate,
        )
        return _reply(status, answer, place.nonce)

    def _refresh(self, request: Request) -> Reply:
        place, asked = self._place(request), _read(request, RefreshRequest)
        if not self._consume(place, request):
            self.pool.refresh(place, self.now())
        elif not place.is_held(self.now()):
            raise Rejection("seat.gone")
        answer = RefreshAnswer(
            access_token=self._token(place),
            activation=self._seen(place),
            lease=self._lease(place, asked.client_nonce),
            certificate=self._certificate,
        )
        return _reply(200, answer, place.nonce)

    def _deactivate(self, request: Request) -> Reply:
        place, generation = self._named(request)
        if place is not None and place.status == "held" and generation == place.generation:
            self.pool.end(place, "returned")
        return _reply(204)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _state(self, request: Request) -> Reply:
        place = self._place(request)
        self._present(place, request)
        return _reply(200, self._seen(place), place.nonce)

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
            snapshot_date=_moment(self.now()),
        )
        return _reply(200, bought, place.nonce)

    def _status(self, request: Request) -> Reply:
        asked, now = _read(request, StatusRequest), self.now()
        credentials = asked.activation_credentials
        self._require_code(
            asked.product_id, credentials.code if isinstance(credentials, CodeCredentials) else asked.activation_code
        )
        used = self.pool.used(now)
        answer = StatusAnswer(
            product_id=self.product,
            product_name="fake",
            entitlement_id=self.entitlement,
            status="active",
            seats=self.pool.seats,
            used=used,
            free=max(0, self.pool.seats - used),
            overdraft=0,
            line=0,
            holders=self._holders(),
            next_free_by=self._next_free_by(),
        )
        return _reply(200, answer)

    def _keys(self, request: Request) -> Reply:
        return _reply(200, KeysAnswer(tenant_id=self.tenant, public_key=self.public_key, certificates=[self._certificate]))

    # --- features --------------------------------------------------------------------------------------------------

    def _checkout(self, request: Request) -> Reply:
        return self._feature_call(request, lambda place, key, amount: self.pool.checkout(place, key, amount, self.now()))

    def _return(self, request: Request) -> Reply:
        return self._feature_call(request, self.pool.give_back)

    def _feature_call(self, request: Request, change: Callable[[Place, str, int], Feature]) -> Reply:
        place, asked = self._held(request), _read(request, FeatureRequest)
        self._require_key(place, request)
        if not self._consume(place, request):
            change(place, asked.key, asked.amount)
        state = self._feature_state(place, self.pool.features[asked.key])
        answer = FeatureAnswer(
            key=state.key,
            type=state.type,
            active=state.active,
            available=state.available,
            total=state.total,
            lease=self._lease(place, asked.client_nonce),
        )
        return _reply(200, answer, place.nonce)

    def _usage(self, request: Request) -> Reply:
        place, asked = self._held(request), _read(request, UsageRequest)
        self._require_key(place, request)
        if not self._consume(place, request):
            self.pool.use(asked.key)
        return _reply(204, None, place.nonce)

    # --- tokens and nonces -----------------------------------------------------------------------------------------

    def _token(self, place: Place) -> str:
        return f"{place.activation_id}.{place.generation}.{self._mac(place.activation_id, place.generation)}"

    def _mac(self, activation_id: str, generation: int) -> str:
        return ids.b64url(hmac.digest(self._token_key, f"{activation_id}.{generation}".encode(), "sha256"))

    def _named(self, request: Request) -> tuple[Place | None, int]:
        """Give the place and generation that a request's token names; the place may have been forgotten."""
        found = re.fullmatch(
            r"Bearer (act_[A-Za-z0-9_-]{22})\.(\d{1,18})\.([A-Za-z0-9_-]+)", request.headers.get("authorization", "")
        )
        if found is None or not hmac.compare_digest(found[3], self._mac(found[1], int(found[2]))):
            raise Rejection("token.invalid")
        return self.pool.by_activation(found[1]), int(found[2])

    def _place(self, request: Request) -> Place:
        """Give the place a request is about, be it held or lapsed."""
        place, generation = self._named(request)
        if place is None:
            raise Rejection("seat.gone")
        if generation < place.generation:
            raise Rejection("seat.takenOver")
        if place.status != "held":
            raise Rejection("seat.gone", f"the seat was {place.status}")
        return place

    def _held(self, request: Request) -> Place:
        place = self._place(request)
        if not place.is_held(self.now()):
            raise Rejection("seat.gone", "the lease has ended; refresh first")
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

    def _consume(self, place: Place, request: Request) -> bool:
        """Use the request's nonce up, and tell whether the request is a repeat of the one before."""
        nonce = request.headers.get("n-nonce")
        if nonce is None and self._may_omit(place):
            return False
        print_of = sha256(f"{request.method} {request.path}\n".encode() + request.body).digest()
        if (
            nonce is not None
            and nonce == place.nonce_before
            and print_of == place.request_before
            and b'"clientNonce"' in request.body
        ):
            return True
        if nonce != place.nonce:
            raise Rejection("nonce.stale")
        place.nonce_before, place.request_before, place.sends_nonces = nonce, print_of, True
        place.nonce = secrets.token_urlsafe(16)
        return False

    def _may_omit(self, place: Place) -> bool:
        return not (self.nonce_required or place.sends_nonces)

    def _require_key(self, place: Place, request: Request) -> None:
        if "n-nonce" not in request.headers and "idempotency-key" not in request.headers:
            raise Rejection("nonce.stale", "a feature call needs N-Nonce or Idempotency-Key")

    def _repeated(self, key: str | None, request: Request) -> Place | None:
        """Give the place that an earlier activate with this key got, if that holding hasn't ended."""
        if key is None or key not in self._repeats:
            return None
        digest, activation_id, generation = self._repeats[key]
        if digest != sha256(request.body).digest():
            raise Rejection("idempotency.mismatch")
        place = self.pool.by_activation(activation_id)
        return place if place is not None and place.generation == generation and place.is_held(self.now()) else None

    def _require_code(self, product: str, code: str | None) -> None:
        if product != self.product or code is None or canonical(code) != canonical(self.code):
            raise Rejection("credentials.unknown")

    # --- documents -------------------------------------------------------------------------------------------------

    def _fresh(self, asked: ActivateRequest, now: float) -> Place:
        return Place(
            activation_id=_new_id(ids.ACTIVATION),
            seat_id=asked.seat_id,
            seat_name=asked.seat_name,
            holder=asked.holder,
            since=now,
            expires_at=now + self.pool.lease,
            refreshed_at=now,
        )

    def _lease(self, place: Place, client_nonce: str | None) -> str:
        self._sequence += 1
        granted = {key: 1 for key, feature in self.pool.features.items() if feature.type == "bool"}
        claims = LeaseClaims(
            iss=self.database,
            tid=self.tenant,
            prd=self.product,
            edn=self.edition,
            ent=self.entitlement,
            act=place.activation_id,
            gen=place.generation,
            sub=place.seat_id,
            feat=granted | {key: amount for key, amount in place.drawn.items() if amount},
            iat=self.now(),
            exp=place.expires_at,
            epo=1,
            seq=self._sequence,
            nonce=client_nonce,
        )
        return sign(json.encode(claims), typ=LEASE, kid=key_id(self._key.public_key()), key=self._key)

    def _certify(self) -> str:
        now, signer = self.now(), self._key.public_key()
        claims = CertificateClaims(
            tid=self.tenant,
            iss=self.database,
            kid=key_id(signer),
            key=public_key_text(signer),
            iat=now,
            nbf=now - 60,
            exp=now + 10 * YEAR,
        )
        return sign(json.encode(claims), typ=CERTIFICATE, kid=key_id(self._root.public_key()), key=self._root)

    def _seen(self, place: Place) -> ActivationState:
        return ActivationState(
            id=place.activation_id,
            activation_method="activationCode",
            status="active" if place.is_held(self.now()) else "leaseExpired",
            mode="online",
            product_id=self.product,
            edition_id=self.edition,
            entitlement_id=self.entitlement,
            seat_id=place.seat_id,
            seat_name=place.seat_name,
            username=place.holder.user if place.holder else None,
            activated=_moment(place.since),
            last_lease=_moment(place.refreshed_at),
            lease_expiry=_moment(place.expires_at),
            features=[self._feature_state(place, feature) for feature in self.pool.features.values()],
        )

    def _feature_state(self, place: Place, feature: Feature) -> FeatureState:
        left = None if feature.total is None else feature.total - self.pool.in_use(feature, self.now())
        active = feature.consumed if feature.type == "usageCount" else place.drawn.get(feature.key, 0)
        return FeatureState(key=feature.key, type=feature.type, active=active, available=left, total=feature.total)

    def _holders(self) -> list[SeatHolder]:
        held = self.pool.held(self.now())
        return [
            SeatHolder(
                seat_name=place.seat_name or place.seat_id, since=_moment(place.since), lease_expiry=_moment(place.expires_at)
            )
            for place in held[:20]
        ]

    def _next_free_by(self) -> datetime | None:
        now = self.now()
        ends = [end for place in self.pool.places.values() for end in place.free_by(now)]
        return _moment(min(ends)) if ends else None

    def _refusal(self, rejection: Rejection, request: Request) -> Reply:
        """Give the error body; an answer that used a nonce up carries the next one even if it is a refusal."""
        denial = self._denial(rejection) if rejection.code in {"seats.exhausted", "feature.exhausted"} else None
        return _problem(rejection.code, str(rejection), denial=denial, nonce=self._nonce_after(rejection, request))

    def _nonce_after(self, rejection: Rejection, request: Request) -> str | None:
        if request.headers.get("n-nonce") is None or rejection.code in {"nonce.stale", "token.invalid", "seat.takenOver"}:
            return None
        try:
            place, _ = self._named(request)
        except Rejection:
            return None
        return place.nonce if place is not None else None

    def _denial(self, rejection: Rejection) -> Denial:
        now, key = self.now(), rejection.feature
        feature = self.pool.features[key] if key is not None else None
        holders = self._holders()
        return Denial(
            id="D-" + "".join(secrets.choice(ALPHABET) for _ in range(6)),
            rule="pool-full" if feature is None else "feature-exhausted",
            limit=self.pool.seats if feature is None else feature.total,
            used=self.pool.used(now) if feature is None else self.pool.in_use(feature, now),
            overdraft=0,
            line=0,
            feature=key,
            holders=holders,
            holders_more=max(0, len(self.pool.held(now)) - len(holders)),
            next_free_by=self._next_free_by(),
            remedies=[Remedy(kind="wait", text="Wait until one of them is done, or ask them.")],
        )


def _read(request: Request, kind: type[Body]) -> Body:
    return json.decode(request.body or b"{}", type=kind)


def _reply(status: int, document: Struct | None = None, nonce: str | None = None) -> Reply:
    headers = {"content-type": "application/json"} if document is not None else {}
    if nonce is not None:
        headers["n-nonce"] = nonce
    return Reply(status=status, headers=headers, body=b"" if document is None else json.encode(document))


def _problem(
    code: str, details: str = "", *, denial: Denial | None = None, invalid: str | None = None, nonce: str | None = None
) -> Reply:
    problem = PROBLEMS[code]
    said = details if details and details != code else problem.title
    body = ErrorBody(
        error=problem.title,
        details=said,
        error_code=code,
        denial=denial if denial is not None else UNSET,
        validation_errors=[ValidationProblem(message=said, property_name=invalid)] if invalid is not None else UNSET,
    )
    return _reply(problem.status, body, nonce)


def _invalid_field(message: str) -> str:
    """Give the name of the field that msgspec complains about."""
    missing = re.search(r"required field `([^`]+)`", message)
    path = re.search(r"at `\$\.?([^`]*)`", message)
    return ".".join(part for part in (path[1] if path else "", missing[1] if missing else "") if part)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _new_id(prefix: str) -> str:
    return ids.make_id(prefix, secrets.token_bytes(ids.RANDOM_BYTES))
