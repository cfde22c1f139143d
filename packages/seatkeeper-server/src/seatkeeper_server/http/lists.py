"""Many refreshes in one call, for gateways and node agents: POST /api/v1/activations/refresh.

An item of the list is a refresh like any other: it is read, decided and answered as if it had come alone, under the access
token and with the nonce that it names. What it shares with the others is the way: one request, one transaction or a few, and
one signature for all who read leases in trees.

Rules of the contract that are kept here
- One result each, in the order of the list, whatever becomes of the others. Items about one seat are decided in that order.
- What tells an item from another with the same words are its own bytes: in whatever list it is sent again, it is a repeat.
- An `Idempotency-Key` of the call is each item's own.
- The call fails as a whole only if nothing of it was decided: no such tenant, no such list, a desk that is full or away.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Raw, ValidationError, json

from seatkeeper.protocol.documents import MAX_LISTED, TREE, UNREADABLE, ListedAnswer, ListedRefresh
from seatkeeper_server.http.handling import all_decided
from seatkeeper_server.http.identity import key_of, keys_of, token_of
from seatkeeper_server.http.licensing import Front, refresh_call, refusal
from seatkeeper_server.http.mapping import activation_state
from seatkeeper_server.http.messages import JSON, Answer, Request, encode
from seatkeeper_server.http.problems import ProblemError, answer_to, read_document, reject_field
from seatkeeper_server.keys import TenantKeys
from seatkeeper_server.service.calls import HeldCall, Outcome, Refused, Served
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

MOST_COMMAS: Final = 64 * MAX_LISTED  # in a list's body: more parts than an item can have; taking a million apart takes long

RETRY_AFTER: Final = b"retry-after"

_read_list: Final[json.Decoder[list[Raw]]] = json.Decoder(Annotated[list[Raw], Meta(min_length=1, max_length=MAX_LISTED)])
_read_item: Final = json.Decoder(ListedRefresh)

_Asked = tuple[ListedRefresh, HeldCall]
_Kept = tuple[ListedRefresh, Served]


async def refresh_all(front: Front, request: Request) -> Answer:
    """POST /api/v1/activations/refresh: keep many seats."""
    keys = await keys_of(request, front.tenants)
    if keys is None:
        raise ProblemError("token.invalid", "The header N-TenantId is missing, or names nobody.")
    key_of(request, "")  # one of another form is refused here, once
    asked = [_asked(request, keys, item) for item in _items(request.body)]
    outcomes = await all_decided(front.desk, [each[1] for each in asked if isinstance(each, tuple)])
    _fail_together(outcomes)
    return _answer(front, keys, list(_ends(front, asked, outcomes)))


def _items(body: bytes) -> list[Raw]:
    """Take a list apart; what its items say is read one by one.

    Raises:
        ProblemError: it is none, or it is too long.
    """
    if body.count(b",") > MOST_COMMAS:
        reject_field("", f"A list has at most {MAX_LISTED} refreshes.")
    try:
        return _read_list.decode(body)
    except ValidationError:
        reject_field("", f"The body is a list of 1 to {MAX_LISTED} refreshes.")
    except UNREADABLE:
        raise ProblemError("body.unparsable") from None


def _asked(request: Request, keys: TenantKeys, item: Raw) -> _Asked | Answer:
    """Read an item: what is asked of the desk, or what is wrong with it."""
    body = bytes(item)
    try:
        ask = read_document(body, _read_item)
        token = token_of(ask.access_token, keys)
    except ProblemError as error:
        return answer_to(error)
    alone = Request(
        request.method,
        request.path,
        b"",
        request.address,
        nonce=ask.nonce,
        idempotency_key=request.idempotency_key,
        body=body,
    )
    return ask, refresh_call(alone, keys, token, ask)


def _fail_together(outcomes: Sequence[Outcome | Exception]) -> None:
    """Raise why nothing at all was decided, if that is so."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, StorageFull | StorageUnavailable)]
    if failures and len(failures) == len(outcomes):
        raise failures[0]


# --- answering -----------------------------------------------------------------------------------------------------


def _ends(front: Front, asked: Sequence[_Asked | Answer], outcomes: Sequence[Outcome | Exception]) -> Iterator[_Kept | Answer]:
    """Tell what became of each item: it was served, or there is an answer that says why not."""
    left, told = iter(outcomes), dict[str, Answer]()
    for each in asked:
        if isinstance(each, Answer):
            yield each
            continue
        outcome = next(left)
        if isinstance(outcome, Served):
            yield each[0], outcome
        elif isinstance(outcome, Refused):
            yield refusal(front, outcome)
        else:
            why = repr(outcome)
            if why not in told:
                told[why] = _failed(outcome)
            yield told[why]


def _failed(outcome: Outcome | Exception) -> Answer:
    """Give the answer for what went wrong, and log it; of a thousand items that a full disk refused one line is enough."""
    return answer_to(outcome if isinstance(outcome, Exception) else TypeError(f"a refresh ended as {outcome}"))


def _answer(front: Front, keys: TenantKeys, ends: Sequence[_Kept | Answer]) -> Answer:
    kept = [end for end in ends if isinstance(end, tuple)]
    wanted = [(served, ask.client_nonce, TREE in ask.lease_types) for ask, served in kept]
    leases = iter(front.keyring.sign_list(keys.tenant_id, wanted))
    results = [_refused(end) if isinstance(end, Answer) else _served(keys, *end, next(leases)) for end in ends]
    certificate = front.keyring.certificate(keys.tenant_id).encode()
    return Answer(200, b'{"results":[%b],"certificate":"%b"}' % (b",".join(results), certificate), [JSON])


def _served(keys: TenantKeys, ask: ListedRefresh, served: Served, lease: str) -> bytes:
    return encode(
        ListedAnswer(
            status=200,
            nonce=None if ask.nonce is None else served.nonce,
            access_token=keys.access_token(served.holding.activation_id, served.holding.generation),
            activation=activation_state(served),
            lease=lease,
        )
    )


def _refused(answer: Answer) -> bytes:
    """Give an error's answer as a result: its body, with what stands in its head."""
    again = next((b'"retryAfter":%b,' % value for name, value in answer.headers if name == RETRY_AFTER), b"")
    return b'{"status":%d,%b%b' % (answer.status, again, answer.body[1:])
