"""What goes to a server and comes back: calls, replies, and a reply's meaning when it is no success.

The `Transport` seam is one method; a fake of it, a socket and an in-process application are alike to everything above.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from msgspec import UNSET, Struct, json

from seatkeeper import errors
from seatkeeper._clock import LONG_AGO, Instant
from seatkeeper.errors import SeatkeeperError
from seatkeeper.protocol.devices import RETURN_HEADER
from seatkeeper.protocol.documents import UNREADABLE, ErrorBody
from seatkeeper.protocol.text import visible

Kind = Literal["activate", "refresh", "checkout", "return", "usage", "entitlement", "deactivate", "status"]

Answered = TypeVar("Answered", bound=Struct)

_ROUTES: dict[Kind, tuple[str, str]] = {
    "activate": ("POST", "/api/v1/activate"),
    "refresh": ("PATCH", "/api/v1/activation/refresh"),
    "checkout": ("PATCH", "/api/v1/activation/features/checkout"),
    "return": ("PATCH", "/api/v1/activation/features/return"),
    "usage": ("POST", "/api/v1/activation/features/usage"),
    "entitlement": ("GET", "/api/v1/activation/entitlement"),
    "deactivate": ("DELETE", "/api/v1/activation"),
    "status": ("POST", "/api/v1/status"),
}


class Call(Struct, frozen=True, kw_only=True):
    """One request, exactly as it will be sent, and sent again should its answer get lost.

    `asked_at` is from just before its first sending: whenever an answer comes, it may have been decided right then.
    """

    kind: Kind
    tenant_id: str
    body: str = ""
    token: str | None = None
    nonce: str | None = None
    client_nonce: str = ""
    device_proof: str | None = None
    asked_at: Instant = LONG_AGO

    @property
    def method(self) -> str:
        return _ROUTES[self.kind][0]

    @property
    def path(self) -> str:
        return _ROUTES[self.kind][1]

    def headers(self) -> dict[str, str]:
        """Give the headers the contract asks for."""
        found = {"N-TenantId": self.tenant_id, "Accept": "application/json"}
        if self.body:
            found["Content-Type"] = "application/json"
        if self.token is not None:
            found["Authorization"] = f"Bearer {self.token}"
        if self.nonce is not None:
            found["N-Nonce"] = self.nonce
        if self.device_proof is not None:
            found[RETURN_HEADER] = self.device_proof
        return found


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call on its way to one server; `timeout` in seconds, for each of connecting and answering."""

    server: str
    call: Call
    timeout: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Unreachable(Exception):
    """No reply came. `maybe_sent` tells whether the server may have seen the request all the same."""

    def __init__(self, reason: str, *, maybe_sent: bool) -> None:
        super().__init__(reason)
        self.maybe_sent = maybe_sent


class Transport(Protocol):
    """Brings a call to a server and its reply back."""

    def send(self, outgoing: Outgoing) -> Reply:
        """Send and wait for the reply.

        Raises:
            Unreachable: there was none.
        """

    def close(self) -> None:
        """Let go of connections."""


class AsyncTransport(Protocol):
    """The same for asyncio."""

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and wait for the reply.

        Raises:
            Unreachable: there was none.
        """

    async def close(self) -> None:
        """Let go of connections."""


_read_error = json.Decoder(ErrorBody).decode

_BY_CODE: dict[str, type[SeatkeeperError]] = {
    "seats.exhausted": errors.NoSeat,
    "feature.exhausted": errors.NoFeature,
    "feature.unknown": errors.NoFeature,
    "feature.notReturnable": errors.NoFeature,
    "feature.overReturn": errors.NoFeature,
    "seat.gone": errors.SeatGone,
    "seat.takenOver": errors.SeatTakenOver,
}
_BY_STATUS: dict[int, type[SeatkeeperError]] = {
    401: errors.NotAuthorized,
    402: errors.Refused,
    403: errors.NotAuthorized,
}


def is_final(reply: Reply) -> bool:
    """Tell whether this is the server's decision, so that the call need not be repeated.

    Busy and broken servers, and proxies in front of them, have decided nothing that we know of.
    """
    return reply.status < 500 and reply.status not in {408, 425, 429}


def problem_in(
    reply: Reply,
    *,
    server: str,
    at: datetime,
    product: str | None,
    contact: str | None,
    features: Sequence[str] = (),
) -> SeatkeeperError:
    """Give the error that a reply other than a success stands for; `features` are the keys that the call was about."""
    try:
        said = _read_error(reply.body)
    except UNREADABLE:
        return _stranger(server, reply, at)
    kind = _BY_CODE.get(said.error_code) or _BY_STATUS.get(reply.status) or errors.ServerProblem
    denial = None if said.denial is UNSET else said.denial
    if denial is not None and denial.rule == "borrow-limit":  # its limits are in the server's sentence
        message = errors.problem_text(said.details, server=server, at=at, contact=contact, denial_id=denial.id)
    elif denial is not None:
        message = errors.refusal_text(denial, product=product, server=server, at=at, contact=contact)
    else:
        message = errors.problem_text(_named(said, features), server=server, at=at, contact=contact)
    return kind(
        message,
        problem=said.error_code,
        details=said.details,
        denial=denial,
        server=server,
        at=at,
        retry_after=_retry_after(reply),
    )


def _named(said: ErrorBody, features: Sequence[str]) -> str:
    """Give the server's sentence, with the feature that it is about."""
    sentence = said.details or said.error
    is_named = not features or any(key in sentence for key in features)
    return sentence if is_named or not said.error_code.startswith("feature.") else f"{', '.join(features)}: {sentence}"


def read_answer(server: str, reply: Reply, kind: type[Answered], at: datetime) -> Answered:
    """Read the body of a successful reply.

    Raises:
        ServerProblem: it is not what a license server answers.
    """
    try:
        return json.decode(reply.body, type=kind)
    except UNREADABLE as error:
        raise _stranger(server, reply, at) from error


def unanswered(servers: Sequence[str], reasons: Sequence[str]) -> errors.ServerUnreachable:
    """Give the error for a call that no server answered."""
    told = visible("; ".join(reasons))
    return errors.ServerUnreachable(f"no license server answered ({told})", server=servers[0])


def _stranger(server: str, reply: Reply, at: datetime) -> errors.ServerProblem:
    said = f"{server} answered {reply.status}, but not as a license server does; is there a proxy in between?"
    return errors.ServerProblem(said, server=server, at=at)


def _retry_after(reply: Reply) -> float:
    """Give Retry-After in seconds, within reason; a date is not worth reading."""
    text = reply.headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isdecimal() else 0.0
