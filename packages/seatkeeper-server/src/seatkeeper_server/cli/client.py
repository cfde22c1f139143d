"""`seatkeeper client`: API clients, by which the vendor's own systems call the Management API."""

import os
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import NOTHING, clock, json_moment, print_json, print_table, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.service import clients, vendors
from seatkeeper_server.service.clients import PERMISSIONS, ApiClient, NewClient
from seatkeeper_server.store.clients import Clients

Vendor = Annotated[
    str | None, Parameter(env_var="SEATKEEPER_VENDOR", help="Whose, by the vendor's name or id; not needed for an only one.")
]


def create(
    name: Annotated[str, Parameter(help="What it calls itself: letters, digits, - and _, a letter first.")],
    /,
    *,
    permission: Annotated[
        tuple[str, ...],
        Parameter(
            help="What it may do, such as lls:admin or entitlements:read; everything unless given. Repeatable.",
            negative=(),
            show_default=False,
        ),
    ] = (),
    tenant: Vendor = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Make an API client, and print its secret, which is shown only now."""
    with wrong_values_told():
        wanted = NewClient(client_id=name, name=name, permissions=permission or PERMISSIONS)
    with opened(data, database) as place, place.transaction() as desk:
        tenant_id, vault = _tenant(place, desk, tenant), place.vault(desk)
        client, secret = clients.create(
            desk.catalogue, Clients(desk.catalogue.tx), vault, tenant_id, wanted, now=desk.now, random=os.urandom
        )
    if json:
        print_json({"tenantId": tenant_id, "clientId": client.client_id, "clientSecret": secret, "realm": tenant_id})
    else:
        say(
            f"tenant         {tenant_id}, which is the realm too",
            f"client id      {client.client_id}",
            f"client secret  {secret}  (shown only now)",
            f"may            {', '.join(client.permissions)}",
        )


def show(*, tenant: Vendor = None, data: Data = None, database: Database = None, json: Json = False) -> None:
    """List the API clients; their secrets can't be read again."""
    with opened(data, database) as place:
        found = place.read(lambda desk: Clients(desk.catalogue.tx).clients(_tenant(place, desk, tenant)))
    if json:
        print_json([_as_data(client) for client in found])
    else:
        rows = [[client.client_id, client.api_id, clock(client.created_at), _may(client)] for client in found]
        print_table(("client", "id", "made", "may"), rows)


def delete(
    client: Annotated[str, Parameter(help="Which: what it calls itself, or its id.")],
    /,
    *,
    tenant: Vendor = None,
    data: Data = None,
    database: Database = None,
) -> None:
    """Remove an API client; its tokens end with it."""
    with opened(data, database) as place, place.transaction() as desk:
        tenant_id = _tenant(place, desk, tenant)
        clients.remove(desk.catalogue, Clients(desk.catalogue.tx), tenant_id, client, desk.now)


def _tenant(place: Place, desk: Desk, called: str | None) -> str:
    return vendors.vendor(desk.catalogue, place.vault(desk), called).tenant_id


def _may(client: ApiClient) -> str:
    return "everything" if set(client.permissions) == set(PERMISSIONS) else ", ".join(client.permissions) or NOTHING


def _as_data(client: ApiClient) -> dict[str, object]:
    return {
        "id": client.api_id,
        "clientId": client.client_id,
        "clientName": client.name,
        "permissions": list(client.permissions),
        "created": json_moment(client.created_at),
    }
