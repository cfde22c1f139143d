"""API clients by API: made, listed, removed. A client makes none that may do more than itself."""

from typing import Annotated

from fastapi import Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from seatkeeper_server.http.further import Asked, Document, Listed, in_state, listed
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.problems import ProblemError, reject_field
from seatkeeper_server.http.vendor.guard import ClientsAdmin, OfficeHere
from seatkeeper_server.service import clients
from seatkeeper_server.service.clients import (
    CLIENT_ID,
    LONGEST_NAME,
    LONGEST_SECRET,
    SHORTEST_SECRET,
    ApiClient,
    NewClient,
)
from seatkeeper_server.service.ports import Random

router = new_router()


class CreateApiClient(Asked):
    """What a client is to be; `permissions` are ours, and those of who asks unless given."""

    client_id: Annotated[str, Field(pattern=CLIENT_ID)]
    client_name: Annotated[str | None, Field(max_length=LONGEST_NAME)] = None
    client_secret: Annotated[str | None, Field(min_length=SHORTEST_SECRET, max_length=LONGEST_SECRET)] = None
    permissions: list[str] | None = None


class ApiClientItem(Document):
    """A client in a list."""

    id: str
    client_id: str
    client_name: str | None
    permissions: list[str]


class ApiClientMade(ApiClientItem):
    """A client that was made, with its secret: it can't be read again."""

    client_secret: str


def _random(request: Request) -> Random:
    random: Random = in_state(request, "random")
    return random


@router.post("/api/v1/account/api-clients")
def create(
    asked: CreateApiClient, caller: ClientsAdmin, office: OfficeHere, random: Annotated[Random, Depends(_random)]
) -> ApiClientMade:
    """Make an API client."""
    permissions = sorted(caller.permissions) if asked.permissions is None else asked.permissions
    try:
        wanted = NewClient(
            client_id=asked.client_id, name=asked.client_name, permissions=permissions, secret=asked.client_secret
        )
    except ValueError as error:
        reject_field("permissions", str(error))
    if not caller.permissions.issuperset(permissions):
        raise ProblemError("forbidden", "A client can't be given more permissions than the one that makes it has.")
    client, secret = office.do(
        lambda visit: clients.create(
            visit.catalogue, visit.clients, visit.vault, caller.tenant_id, wanted, now=visit.now, random=random
        )
    )
    return ApiClientMade(**_item(client).model_dump(), client_secret=secret)


@router.get("/api/v1/account/api-clients")
def all_clients(caller: ClientsAdmin, office: OfficeHere) -> Listed[ApiClientItem]:
    """List the API clients."""
    found = office.read(lambda visit: visit.clients.clients(caller.tenant_id))
    return listed([_item(client) for client in found])


@router.delete("/api/v1/account/api-clients/{api_id}", status_code=204)
def remove(api_id: str, caller: ClientsAdmin, office: OfficeHere) -> Response:
    """Remove an API client; its tokens end with it."""
    office.do(lambda visit: clients.remove(visit.catalogue, visit.clients, caller.tenant_id, api_id, visit.now))
    return Response(status_code=204)


def _item(client: ApiClient) -> ApiClientItem:
    return ApiClientItem(
        id=client.api_id,
        client_id=client.client_id,
        client_name=client.name,
        permissions=list(client.permissions),
    )
