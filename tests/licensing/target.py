"""A server to test against, whatever it is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A server with one product sold: two seats, `render` a pool of 5, `points` 10 uses, `export` on."""

    url: str
    tenant_id: str
    product_id: str
    code: str
    public_key: str
    seats: int
    lease_seconds: float
    customer: str = ""
