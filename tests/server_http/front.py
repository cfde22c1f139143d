"""A front on a scripted desk: the real application, real keys and a client that speaks ASGI to it, without a socket.

`Scripted` gives the outcomes it was told to and remembers what it was asked, so that a test can say both what crosses the
wire and what reaches the desk.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from msgspec.structs import replace

from seatkeeper.protocol.documents import ActivationEntitlement
from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.terms import SEAT, Kind, Right, Terms
from seatkeeper_server.http.application import application
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.licensing import Front
from seatkeeper_server.http.metrics import Metrics, Readers
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.keys import Keyring, KeyRow, SealKey, TenantKeys, new_tenant_keys
from seatkeeper_server.service.calls import (
    Call,
    Entitlement,
    HolderView,
    Occupancy,
    Outcome,
    PoolStatus,
    Refusal,
    Refused,
    Served,
    Who,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TENANT = "t_" + "T" * 22
PRODUCT = "prod_" + "P" * 22
ACTIVATION = "act_" + "A" * 22
CODE = "00000-00000-00000-00000-00000"
CLIENT_NONCE = "c" * 24
DATABASE = "db_" + "D" * 22
ADDRESS = "192.0.2.7"
THIS_MACHINE = "127.0.0.1"

_SEAL = SealKey(bytes(range(32)))


def counting(start: int = 1) -> Callable[[int], bytes]:
    """Draw bytes that differ each time and are the same in every run."""
    state = [start]

    def draw(count: int) -> bytes:
        state[0] += 1
        return state[0].to_bytes(count, "big")

    return draw


ROWS: list[KeyRow] = new_tenant_keys(TENANT, database_id=DATABASE, seal=_SEAL, now=NOW, random=counting())


# --- outcomes ------------------------------------------------------------------------------------------------------

RENDER = Right("render", Kind.ELEMENT_POOL, 10)
EXPORT = Right("export", Kind.BOOL, 1)
CREDITS = Right("credits", Kind.USAGE_COUNT, 100)

ENTITLEMENT = Entitlement(
    tenant_id=TENANT,
    entitlement_id="ent_" + "E" * 22,
    group_id="egr_1",
    product_id=PRODUCT,
    edition_id="ed_1",
    product_name="solver",
)


def a_pool(**terms: Any) -> Pool:
    """A pool of three seats, one taken, with a feature of each kind."""
    return Pool(
        terms=Terms(**{"lease": timedelta(minutes=2), "margin": timedelta(seconds=6), **terms}),
        tallies={
            SEAT: Tally(Right(SEAT, Kind.SEAT, 3), 1),
            "render": Tally(RENDER, 4),
            "export": Tally(EXPORT),
            "credits": Tally(CREDITS, 30),
        },
    )


def a_holding(**changes: Any) -> Holding:
    """A seat that was taken two minutes before its lease ends."""
    holding = Holding(
        activation_id=ACTIVATION,
        generation=3,
        holder=1,
        state=State.HELD,
        occupies=True,
        rights={SEAT: 1, "render": 4},
        activated_at=NOW,
        refreshed_at=NOW,
        expires_at=NOW + timedelta(minutes=2),
        free_at=NOW + timedelta(minutes=2, seconds=6),
        sequence=17,
        nonces=Nonces("nonce-2", "nonce-1"),
        noted_at=NOW,
    )
    return replace(holding, **changes)


def served(*, pool: Pool | None = None, holding: Holding | None = None, **changes: Any) -> Served:
    """A call that was served."""
    outcome = Served(
        entitlement=ENTITLEMENT,
        pool=pool or a_pool(),
        holding=holding or a_holding(),
        who=Who(seat_id="ada@ws/0", seat_name="Ada"),
        at=NOW,
        sign=True,
    )
    return replace(outcome, **changes)


OCCUPANCY = Occupancy(
    holders=[HolderView(name="bob@ws", since=NOW - timedelta(hours=1), lease_ends_at=NOW + timedelta(minutes=1))],
    more=2,
    next_free_by=NOW + timedelta(minutes=1),
)


def refused(problem: str = "seats.exhausted", **changes: Any) -> Refused:
    """A seat that was refused, because the pool is full unless told otherwise."""
    refusal = Refusal(
        denial_id="D-7K3M2Q",
        rule="pool-full",
        feature="",
        limit=3,
        used=3,
        overdraft=0,
        product_name="solver",
        at=NOW,
        occupancy=OCCUPANCY,
    )
    return Refused(problem, replace(refusal, **changes))


def a_status() -> PoolStatus:
    """How full the pool is."""
    pool = a_pool()
    return PoolStatus(entitlement=ENTITLEMENT, standing=pool.terms.standing(NOW), pool=pool, occupancy=OCCUPANCY, at=NOW)


# --- the front -----------------------------------------------------------------------------------------------------


@dataclass
class Scripted:
    """A desk that says what it was told to say, an exception too."""

    outcome: Outcome | Exception | Callable[[Call], Outcome]
    calls: list[Call] = field(default_factory=list)

    def submit(self, call: Call, on_result: Callable[[Outcome | Exception], None]) -> None:
        self.calls.append(call)
        outcome = self.outcome(call) if callable(self.outcome) else self.outcome
        asyncio.get_running_loop().call_soon(on_result, outcome)

    @property
    def call(self) -> Any:
        """The only call there was."""
        (call,) = self.calls
        return call


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes
    body_read: int  # bytes of the request's body that the application took

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks to the application in process."""

    def __init__(self, outcome: Outcome | Exception | Callable[[Call], Outcome], **front: Any) -> None:
        self.desk = Scripted(outcome)
        self.keyring = Keyring(
            load=lambda tenant_id: ROWS if tenant_id == TENANT else [], seal=_SEAL, database_id=DATABASE, epoch=1
        )
        self.metrics = Metrics(
            front.pop("pools", list),
            most_pools=front.pop("most_pools", 10),
            readers=front.pop("readers", Readers()),
            clock=front.pop("clock", monotonic),
        )
        self.health = Health()
        parts = {
            "desk": self.desk,
            "keyring": self.keyring,
            "tenants": Tenants(self.keyring),
            "entitlements": lambda tenant_id, entitlement_id: None,
            "failures": Failures(20),
            "metrics": self.metrics,
        }
        self._front = Front(**{**parts, **front})
        self.app = application(self._front, self.health)

    @property
    def keys(self) -> TenantKeys:
        """The tenant's keys."""
        keys = self.keyring.tenant(TENANT)
        assert keys is not None
        return keys

    @property
    def token(self) -> str:
        """The access token of the seat that `served` speaks of."""
        return self.keys.access_token(ACTIVATION, 3)

    def held(
        self, method: str, path: str, document: Any = None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Reply:
        """Send a request of the seat's holder, with token and nonce."""
        own = {"authorization": f"Bearer {self.token}", "n-nonce": "nonce-1"}
        return self.send(method, path, document, {**own, **(headers or {})}, **more)

    def activate(self, headers: Mapping[str, str] | None = None, **changes: Any) -> Reply:
        """Send an activation; `changes` are fields of its body."""
        document = {
            "productId": PRODUCT,
            "seatId": "ada@ws/0",
            "activationCredentials": {"type": "activationCode", "code": CODE},
            "clientNonce": CLIENT_NONCE,
        }
        given = {key: value for key, value in {**document, **changes}.items() if value is not ...}
        return self.send("POST", "/api/v1/activate", given, headers)

    def send(
        self,
        method: str,
        path: str,
        document: Any = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        parts: list[bytes] | None = None,
        query: str = "",
        address: str = ADDRESS,
    ) -> Reply:
        """Send a request; `parts` is a raw body as it comes from the network. A header set to None is left out."""
        if parts is None:
            parts = [b"" if document is None else json.dumps(document).encode()]
        given = {"n-tenantid": TENANT, **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items() if value is not None],
            "client": (address, 50_000),
        }
        return asyncio.run(self._exchange(scope, parts))

    async def exchange(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """Send a request from within a loop; its body is seven bytes, whatever its head says."""
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": given, "client": None}
        return await self._exchange(scope, [b"1234567"])

    async def _exchange(self, scope: dict[str, Any], parts: list[bytes]) -> Reply:
        waiting, sent, taken = list(parts), [], 0

        async def receive() -> dict[str, Any]:
            nonlocal taken
            body = waiting.pop(0)
            taken += len(body)
            return {"type": "http.request", "body": body, "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, end = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], names, end["body"], taken)


BOUGHT = ActivationEntitlement(
    customer_name="acme",
    customer_account_ref_id=None,
    order_ref_id=None,
    offering_name="solver, 3 seats",
    sku="SOLVER-3",
    product_name="solver",
    plan={"name": "yearly"},  # type: ignore[arg-type]  # only passed on
    grace_period=None,  # type: ignore[arg-type]
    linger_period=None,  # type: ignore[arg-type]
    lease_period=None,  # type: ignore[arg-type]
    offline_lease_period=None,  # type: ignore[arg-type]
    has_maintenance=False,
    maintenance_expiry_date=None,
    seat_count=3,
    expiry_date=None,
    snapshot_date=NOW,
)
