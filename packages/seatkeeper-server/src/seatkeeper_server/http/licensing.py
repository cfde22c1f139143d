"""The Licensing API: what applications call. Each route is a plain function of a parsed request.

It checks what can be checked without the database (bodies, tokens, keys), asks the desk once, and puts the outcome into the
wire's words. It decides nothing about seats, opens no database and knows no web framework.

Rules of the contract that are kept here
- An answer that consumed a nonce, and activate, carry the next one in `N-Nonce`. A GET gives back the nonce it was shown,
  and none to a caller who showed none: else a copy with a stolen token could read it (`protocol-attacks.md`, 7).
- A wrong token is refused before any database work; unknown tenants, products and codes are refused alike and in like time.
- Only a request whose body bears a client's nonce can be told from another with the same words, so only that has a fingerprint.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final, NoReturn
from urllib.parse import parse_qs

import structlog
from msgspec import json

from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import (
    MAX_AMOUNT,
    TREE,
    ActivateAnswer,
    ActivateRequest,
    ActivationEntitlement,
    FeatureRequest,
    KeysAnswer,
    RefreshAnswer,
    RefreshRequest,
    StatusRequest,
    UsageRequest,
    WantedFeature,
)
from seatkeeper_server.http.handling import Decides, Handled, decided
from seatkeeper_server.http.identity import (
    Failures,
    code_of,
    earlier_life,
    fingerprint_of,
    hint_of,
    holder_of,
    is_tenant_id,
    key_of,
    tenant_of,
)
from seatkeeper_server.http.mapping import activation_state, feature_answer, status_answer
from seatkeeper_server.http.messages import Answer, Header, Request, json_answer
from seatkeeper_server.http.metrics import Metrics
from seatkeeper_server.http.problems import (
    ProblemError,
    problem_answer,
    read_document,
    refusal_answer,
    reject_field,
    retry_after,
)
from seatkeeper_server.http.reading import Reader
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.keys import Keyring, TenantKeys
from seatkeeper_server.service.calls import (
    ActivateCall,
    Done,
    HeldCall,
    Key,
    Outcome,
    PoolStatus,
    Refused,
    Served,
    StatusCall,
    TokenClaims,
    Verb,
    Who,
)

log = structlog.get_logger("seatkeeper.http")

_read_activate: Final = Reader(ActivateRequest)
_read_refresh: Final = json.Decoder(RefreshRequest)
_read_feature: Final = Reader(FeatureRequest)
_read_usage: Final = Reader(UsageRequest)
_read_status: Final = json.Decoder(StatusRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What the routes need. `entitlements` reads what was bought (tenant, entitlement); it may block, so it gets a thread.

    `keyring` signs for tenants that were served; of whom nothing is known yet, `tenants` is asked.
    """

    desk: Decides
    keyring: Keyring
    tenants: Tenants
    entitlements: Callable[[str, str], ActivationEntitlement | None]
    failures: Failures
    metrics: Metrics
    contact: str | None = None  # whom refused users should ask, where the vendor named nobody


Handler = Callable[[Request], Handled[Answer]]


def routes(front: Front) -> Mapping[str, Mapping[str, Handler]]:
    """Give the routing table, path by path. Paths that the reference only infers have their aliases here."""

    def on(handler: Callable[[Front, Request], Handled[Answer]]) -> Handler:
        return lambda request: handler(front, request)

    return {
        "/api/v1/activate": {"POST": on(activate)},
        "/api/v1/activation": {"GET": on(state), "DELETE": on(deactivate)},
        "/api/v1/activation/refresh": {"PATCH": on(refresh)},
        "/api/v1/activation/entitlement": {"GET": on(entitlement)},
        "/api/v1/activation/features/checkout": {"PATCH": on(check_out)},
        "/api/v1/activation/features/return": {"PATCH": on(give_back)},
        "/api/v1/activation/features/usage": {"POST": on(use)},
        "/api/v1/activation/features/track-usage": {"PATCH": on(use)},
        "/api/v1/status": {"POST": on(status)},
        "/.well-known/seatkeeper/keys": {"GET": on(keys)},
    }


# --- with a code ---------------------------------------------------------------------------------------------------


async def activate(front: Front, request: Request) -> Answer:
    """POST /api/v1/activate: take a seat."""
    tenant_id = tenant_of(request)
    ask = read_document(request.body, _read_activate)
    code = code_of(ask)
    if code is None:
        return _unknown(front, request, "")
    tenants = front.tenants
    keys, code_hash = tenants.at_hand_for_code(tenant_id, code) or await tenants.keys_for_code(tenant_id, code)
    call = ActivateCall(
        tenant_id=tenant_id,
        code_hash=code_hash,
        code_hint=hint_of(code),
        product_id=ask.product_id,
        edition_id=ask.edition_id,
        who=_who(ask, request),
        features=_amounts(ask.features),
        key=key_of(request, code_hash, ask.client_nonce),
        proof=earlier_life(request, keys),
        last_lease=ask.last_lease,
        device=_device(tenant_id, ask),
        borrow_until=None if ask.borrow_until is None else ask.borrow_until.astimezone(UTC),
    )
    match await decided(front.desk, call):
        case Served() as served:
            return await _activated(front, served, ask)
        case Refused("credentials.unknown"):
            return _unknown(front, request, call.code_hint)
        case Refused() as refused:
            return refusal(front, refused)
        case other:
            return _unexpected(other)


async def _activated(front: Front, served: Served, ask: ActivateRequest) -> Answer:
    tenant_id, holding = served.entitlement.tenant_id, served.holding
    answer = ActivateAnswer(
        access_token=_keys(front, tenant_id).access_token(holding.activation_id, holding.generation),
        activation=activation_state(served),
        lease=await _lease(front, served, ask),
        certificate=front.keyring.certificate(tenant_id),
    )
    return json_answer(201 if served.new_place else 200, answer, _nonce(served.nonce))


def _device(tenant_id: str, ask: ActivateRequest) -> str | None:
    """Give the device's key if the request proves that the device has it; a key without a proof says nothing.

    Raises:
        ProblemError: the proof is wrong.
    """
    if ask.device_key is None or ask.device_proof is None:
        return None
    asked = devices.Asked(tenant_id, ask.product_id, ask.seat_id, ask.client_nonce or "")
    if ask.client_nonce is None or not devices.is_proven(ask.device_key, ask.device_proof, asked):
        reject_field("deviceProof", "This is not a signature by deviceKey over this request; see the reference.")
    return ask.device_key


def _who(ask: ActivateRequest, request: Request) -> Who:
    holder = ask.holder
    if holder is None:
        return Who(seat_id=ask.seat_id, seat_name=ask.seat_name, address=request.address)
    return Who(
        seat_id=ask.seat_id,
        seat_name=ask.seat_name,
        user=holder.user,
        host=holder.host,
        process=holder.process,
        group=holder.group,
        project=holder.project,
        address=request.address,
    )


def _amounts(wanted: list[WantedFeature]) -> dict[str, int]:
    """Add up what is wanted of each feature; one that is named twice is wanted twice.

    Raises:
        ProblemError: together it is more than one may ask for: every amount alone may be counted, their sum need not be.
    """
    if not wanted:
        return {}
    if sum(each.amount for each in wanted) > MAX_AMOUNT:
        reject_field("features", f"The amounts add up to more than {MAX_AMOUNT}.")
    amounts: dict[str, int] = {}
    for each in wanted:
        amounts[each.key] = amounts.get(each.key, 0) + each.amount
    return amounts


async def status(front: Front, request: Request) -> Answer:
    """POST /api/v1/status: how full a pool is, for anybody with the code."""
    tenant_id = tenant_of(request)
    ask = read_document(request.body, _read_status)
    code = code_of(ask)
    if code is None:
        return _unknown(front, request, "")
    _, code_hash = await front.tenants.keys_for_code(tenant_id, code)
    call = StatusCall(
        tenant_id=tenant_id,
        code_hash=code_hash,
        code_hint=hint_of(code),
        product_id=ask.product_id,
        address=request.address,
    )
    match await decided(front.desk, call):
        case PoolStatus() as found:
            return json_answer(200, status_answer(found))
        case Refused("credentials.unknown"):
            return _unknown(front, request, call.code_hint)
        case Refused() as refused:
            return refusal(front, refused)
        case other:
            return _unexpected(other)


def _unknown(front: Front, request: Request, hint: str) -> Answer:
    """Turn away credentials that nobody knows; see `Failures` for why only now."""
    wait = front.failures.count(request.address)
    if wait is not None:
        return problem_answer("rate.limited", headers=[retry_after(wait)])  # not logged: a flood must not fill the disk
    log.info("credentials.unknown", tenant=request.tenant_id, code_ends=hint, address=request.address)
    return problem_answer("credentials.unknown")


# --- with an access token ------------------------------------------------------------------------------------------


async def refresh(front: Front, request: Request) -> Answer:
    """PATCH /api/v1/activation/refresh: keep the seat."""
    keys, token = await holder_of(request, front.tenants)
    ask = read_document(request.body or b"{}", _read_refresh)
    outcome = await decided(front.desk, refresh_call(request, keys, token, ask))
    if not isinstance(outcome, Served):
        return _not_served(front, outcome)
    answer = RefreshAnswer(
        access_token=keys.access_token(outcome.holding.activation_id, outcome.holding.generation),
        activation=activation_state(outcome),
        lease=await _lease(front, outcome, ask),
        # Who shows a lease of the present key knows its certificate. Others may not: the key was changed, or they keep none.
        certificate=None if keys.signed_by_current(ask.last_lease) else keys.certificate,
    )
    return json_answer(200, answer, *_next_nonce(request, outcome))


def refresh_call(request: Request, keys: TenantKeys, token: TokenClaims, ask: RefreshRequest) -> HeldCall:
    """Put a refresh into a call. One that came in a list comes with the request that it would have been alone."""
    return HeldCall(
        verb=Verb.REFRESH,
        tenant_id=keys.tenant_id,
        token=token,
        nonce=request.nonce,
        fingerprint=fingerprint_of(request) if ask.client_nonce is not None else None,
        key=_held_key(request, token),
        last_lease=ask.last_lease,
    )


async def deactivate(front: Front, request: Request) -> Answer:
    """DELETE /api/v1/activation: give the seat back. Twice is as good as once."""
    keys, token = await holder_of(request, front.tenants)
    call = HeldCall(verb=Verb.RETURN, tenant_id=keys.tenant_id, token=token, device_proof=request.device_proof)
    outcome = await decided(front.desk, call)
    return Answer(204) if isinstance(outcome, Served | Done) else _not_served(front, outcome)


async def state(front: Front, request: Request) -> Answer:
    """GET /api/v1/activation: how the seat stands."""
    served = await _read_seat(front, request)
    return json_answer(200, activation_state(served), *_next_nonce(request, served)) if isinstance(served, Served) else served


async def entitlement(front: Front, request: Request) -> Answer:
    """GET /api/v1/activation/entitlement: what was bought."""
    served = await _read_seat(front, request)
    if isinstance(served, Answer):
        return served
    bought = served.entitlement
    document = await asyncio.to_thread(front.entitlements, bought.tenant_id, bought.entitlement_id)
    if document is None:
        raise ProblemError("notFound")
    return json_answer(200, document, *_next_nonce(request, served))


async def _read_seat(front: Front, request: Request) -> Served | Answer:
    keys, token = await holder_of(request, front.tenants)
    call = HeldCall(verb=Verb.READ, tenant_id=keys.tenant_id, token=token, nonce=request.nonce)
    outcome = await decided(front.desk, call)
    return outcome if isinstance(outcome, Served) else _not_served(front, outcome)


async def check_out(front: Front, request: Request) -> Answer:
    """PATCH …/features/checkout: draw an amount of a feature."""
    return await _feature_call(front, request, Verb.CHECK_OUT)


async def give_back(front: Front, request: Request) -> Answer:
    """PATCH …/features/return: give an amount of a feature back."""
    return await _feature_call(front, request, Verb.GIVE_BACK)


async def _feature_call(front: Front, request: Request, verb: Verb) -> Answer:
    keys, token = await holder_of(request, front.tenants)
    ask = read_document(request.body, _read_feature)
    outcome = await decided(front.desk, _counted_call(verb, request, keys, token, ask.key, ask.client_nonce, ask.amount))
    if not isinstance(outcome, Served):
        return _not_served(front, outcome)
    tally = outcome.pool.tallies.get(ask.key)
    if tally is None:
        raise ProblemError("feature.unknown")
    lease = await _lease(front, outcome, ask)
    return json_answer(200, feature_answer(outcome, ask.key, tally, lease, keys.certificate), *_next_nonce(request, outcome))


async def use(front: Front, request: Request) -> Answer:
    """POST …/features/usage: say that a feature was used."""
    keys, token = await holder_of(request, front.tenants)
    ask = read_document(request.body, _read_usage)
    outcome = await decided(front.desk, _counted_call(Verb.USE, request, keys, token, ask.key, ask.client_nonce))
    if not isinstance(outcome, Served | Done):
        return _not_served(front, outcome)
    return Answer(204, headers=_next_nonce(request, outcome))


def _counted_call(
    verb: Verb, request: Request, keys: TenantKeys, token: TokenClaims, key: str, client_nonce: str | None, amount: int = 0
) -> HeldCall:
    """Make a call that must not happen twice; so it has to bear a nonce or a key.

    Raises:
        ProblemError: it bears neither.
    """
    if request.nonce is None and request.idempotency_key is None:
        why = "This call needs the header N-Nonce (or Idempotency-Key), so that it can't count twice."
        reject_field("N-Nonce", why, "required")
    return HeldCall(
        verb=verb,
        tenant_id=keys.tenant_id,
        token=token,
        nonce=request.nonce,
        fingerprint=fingerprint_of(request) if client_nonce is not None else None,
        key=_held_key(request, token),
        feature=key,
        amount=amount,
    )


def _held_key(request: Request, token: TokenClaims) -> Key | None:
    if request.idempotency_key is None:
        return None
    return key_of(request, f"{token.activation_id}.{token.generation}")


def _next_nonce(request: Request, outcome: Served | Done) -> list[Header]:
    """Give the nonce to show next, to who showed one."""
    return [] if request.nonce is None or outcome.nonce is None else [_nonce(outcome.nonce)]


def _nonce(value: str) -> Header:
    return b"n-nonce", value.encode("ascii")


# --- without either ------------------------------------------------------------------------------------------------


async def keys(front: Front, request: Request) -> Answer:
    """GET /.well-known/seatkeeper/keys: a tenant's root and the keys it certified."""
    tenant_id = request.tenant_id or _asked_tenant(request.query)
    known = await front.tenants.keys(tenant_id) if tenant_id and is_tenant_id(tenant_id) else None
    if known is None:
        raise ProblemError("notFound", "No such tenant; name it by the header N-TenantId or by ?tenant=.")
    return json_answer(
        200, KeysAnswer(tenant_id=known.tenant_id, public_key=known.root_public_key, certificates=list(known.certificates))
    )


def _asked_tenant(query: bytes) -> str | None:
    return next(iter(parse_qs(query.decode("latin-1")).get("tenant", [])), None)


# --- what was not served -------------------------------------------------------------------------------------------


def refusal(front: Front, refused: Refused) -> Answer:
    """Put a refusal into the wire's words. One that only says "your nonce is old" is explained by its code alone."""
    told = refused.refusal
    front.metrics.refused(refused.problem if told is None else told.rule)
    if told is None or told.rule == "nonce":
        return problem_answer(refused.problem)
    return refusal_answer(refused.problem, told, told.contact or front.contact)


def _not_served(front: Front, outcome: Outcome) -> Answer:
    return refusal(front, outcome) if isinstance(outcome, Refused) else _unexpected(outcome)


def _unexpected(outcome: Outcome) -> NoReturn:
    raise TypeError(f"the desk answered with a {type(outcome).__name__} where that makes no sense")


async def _lease(front: Front, served: Served, ask: ActivateRequest | RefreshRequest | FeatureRequest) -> str:
    """Sign the lease of a served call; for a program that reads leases in trees, together with what is answered meanwhile."""
    if ask.client_nonce is None or TREE not in ask.lease_types:
        return front.keyring.sign(served, ask.client_nonce)
    return await front.keyring.sign_together(served, ask.client_nonce)


def _keys(front: Front, tenant_id: str) -> TenantKeys:
    found = front.keyring.tenant(tenant_id)
    assert found is not None  # it has just been served
    return found
