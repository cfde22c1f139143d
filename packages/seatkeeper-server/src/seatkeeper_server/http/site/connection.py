"""A local server's connection to its vendor: made, and ended, by its administrator. How it stands is shown with the server."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field
from starlette.requests import Request

from seatkeeper_server.http.further import Asked, Document, in_state
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.site.console import TenantHere
from seatkeeper_server.http.site.ports import Connected, Connects

PATH = "/api/v1/lls/connect"

router = new_router()


class ConnectionAsked(Asked):
    """Where the vendor is found, and the code that he gave; a server that is licensed already needs no code."""

    cloud_url: Annotated[str, Field(min_length=1, max_length=2_000)]
    activation_code: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    server_name: Annotated[str | None, Field(min_length=1, max_length=50)] = None


class Connection(Document):
    """A connection, and how it stands."""

    cloud_url: str
    connected: datetime
    last_contact: datetime | None
    next_try: datetime
    failures: int
    last_error: str | None

    @classmethod
    def of(cls, found: Connected) -> Self:
        """Say how a connection stands."""
        return cls(
            cloud_url=found.url,
            connected=found.connected_at,
            last_contact=found.succeeded_at,
            next_try=found.next_at,
            failures=found.failures,
            last_error=found.error,
        )


class Left(Document):
    """What the vendor has not answered yet: it goes to him by hand, in this order."""

    tokens: list[str]


@router.post(PATH)
def connect(asked: ConnectionAsked, tenant_id: TenantHere, request: Request) -> Connection:
    """Be licensed by a vendor over the network, and stay in step with him."""
    upstream: Connects = in_state(request, "upstream")
    ca_file: str | None = in_state(request, "ca_file")
    made = upstream.connect(tenant_id, asked.cloud_url, code=asked.activation_code, name=asked.server_name, ca_file=ca_file)
    return Connection.of(made)


@router.delete(PATH)
def disconnect(tenant_id: TenantHere, request: Request) -> Left:
    """Go back to tokens that are carried."""
    upstream: Connects = in_state(request, "upstream")
    return Left(tokens=upstream.disconnect(tenant_id))
