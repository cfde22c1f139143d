"""A data directory with live leases in it, made as users make one: sold by the command, filled through the desk.

Two products are sold: `solver`, every seat of which is held, and `spare`, which always has room.
"""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import SEATKEEPER
from seatkeeper_server.apps import cloud
from seatkeeper_server.service.calls import ActivateCall, Served, Who
from seatkeeper_server.settings import Settings

LEASE = "12h"  # none may end during the run
ROOM = 1_000_000  # seats of `spare`: more than any run can use up
AT_ONCE = 1_000  # activations that wait at the desk while the house is filled


@dataclass(frozen=True, slots=True)
class Sold:
    """What a program needs to take a seat."""

    tenant: str
    product: str
    code: str


@dataclass(frozen=True, slots=True)
class House:
    """A filled data directory. `tokens` names a file with the access token of every live lease, one a line."""

    data: Path
    live_leases: int
    full: Sold
    spare: Sold
    tokens: Path


def build(data: Path, live_leases: int) -> House:
    """Sell, and take every seat of the full pool."""
    full, spare = _sell(data, "solver", live_leases), _sell(data, "spare", ROOM)
    tokens = data / "tokens.txt"
    with cloud.build(Settings(data=data, queue_limit=2 * AT_ONCE, log_level="warning")) as server:
        tokens.write_text("".join(f"{token}\n" for token in asyncio.run(_fill(server, full, live_leases))))
    return House(data, live_leases, full, spare, tokens)


def _sell(data: Path, product: str, seats: int) -> Sold:
    command: list[str | Path] = [SEATKEEPER, "sell", "acme", product, "--seats", str(seats), "--lease", LEASE]
    said = subprocess.run([*command, "--data", data, "--json"], check=True, capture_output=True, text=True)
    sold = json.loads(said.stdout)
    return Sold(sold["tenantId"], sold["productId"], sold["activationCode"])


async def _fill(server: cloud.Cloud, sold: Sold, count: int) -> list[str]:
    tokens: list[str] = []
    for first in range(0, count, AT_ONCE):
        asked = [_activation(server, sold, number) for number in range(first, min(count, first + AT_ONCE))]
        tokens += _tokens(server, sold, await asyncio.gather(*map(server.desk.ask, asked)))
    return tokens


def _activation(server: cloud.Cloud, sold: Sold, number: int) -> ActivateCall:
    return ActivateCall(
        tenant_id=sold.tenant,
        code_hash=server.keyring.code_hash(sold.tenant, sold.code),
        code_hint="",
        product_id=sold.product,
        who=Who(seat_id=f"machine-{number:06}", seat_name=f"user{number}@machine-{number:06}", address="127.0.0.1"),
    )


def _tokens(server: cloud.Cloud, sold: Sold, outcomes: Sequence[object]) -> list[str]:
    keys = server.keyring.tenant(sold.tenant)
    assert keys is not None
    served = [outcome for outcome in outcomes if isinstance(outcome, Served)]
    assert len(served) == len(outcomes), "a seat was refused while the house was filled"
    return [keys.access_token(each.holding.activation_id, each.holding.generation) for each in served]
