"""Keeps API clients: `service.clients.ClientBook` over the named queries of `clients.sql`."""

from msgspec import json

from seatkeeper_server.service.clients import ApiClient
from seatkeeper_server.store.rows import Row, json_text, micros, moment
from seatkeeper_server.store.transaction import SqlTransaction

_read_permissions = json.Decoder(tuple[str, ...]).decode


class Clients:
    """The API clients of every vendor, within one transaction."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def clients(self, tenant_id: str) -> list[ApiClient]:
        """Give a vendor's API clients, oldest first."""
        return [_to_client(row) for row in self._found(tenant_id)]

    def client(self, tenant_id: str, api_id: str) -> ApiClient | None:
        """Give an API client by its id."""
        return next((_to_client(row) for row in self._found(tenant_id, api_id=api_id)), None)

    def called(self, tenant_id: str, client_id: str) -> tuple[ApiClient, str] | None:
        """Give the API client that calls itself so, and what is kept of its secret."""
        return next(((_to_client(row), str(row[4])) for row in self._found(tenant_id, client_id=client_id)), None)

    def add(self, client: ApiClient, secret_hash: str) -> None:
        """Add an API client."""
        self._tx.execute(
            "add_api_client",
            tenant_id=client.tenant_id,
            api_id=client.api_id,
            client_id=client.client_id,
            name=client.name,
            secret_hash=secret_hash,
            permissions=json_text(client.permissions),
            now=micros(client.created_at),
        )

    def remove(self, tenant_id: str, api_id: str) -> None:
        """Forget an API client."""
        self._tx.execute("remove_api_client", tenant_id=tenant_id, api_id=api_id)

    def _found(self, tenant_id: str, api_id: str | None = None, client_id: str | None = None) -> list[Row]:
        return list(self._tx.query("api_clients", tenant_id=tenant_id, api_id=api_id, client_id=client_id))


def _to_client(row: Row) -> ApiClient:
    return ApiClient(
        tenant_id=row[0],
        api_id=row[1],
        client_id=row[2],
        name=row[3],
        permissions=_read_permissions(row[5]),
        created_at=moment(row[6]),
    )
