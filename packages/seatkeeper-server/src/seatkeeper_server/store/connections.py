"""Keeps a local server's connection to its vendor: `service.connections.ConnectionBook` over `connections.sql`."""

from datetime import datetime

from seatkeeper_server.service.connections import Connection, Letter
from seatkeeper_server.store.rows import Row, maybe_micros, maybe_moment, micros, moment
from seatkeeper_server.store.transaction import SqlTransaction


class Connections:
    """The connections of a local server, one a vendor, within one transaction."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    def all(self) -> list[Connection]:
        """Give every connection."""
        return [_to_connection(row) for row in self._tx.query("connections")]

    def of(self, tenant_id: str) -> Connection | None:
        """Give the connection to a vendor; None if there is none."""
        return next((one for one in self.all() if one.tenant_id == tenant_id), None)

    def save(self, connection: Connection) -> None:
        """Keep a connection."""
        self._tx.execute(
            "save_connection",
            tenant_id=connection.tenant_id,
            url=connection.url,
            ca_file=connection.ca_file,
            is_plain=int(connection.is_plain),
            connected_at=micros(connection.connected_at),
            next_at=micros(connection.next_at),
            tried_at=maybe_micros(connection.tried_at),
            succeeded_at=maybe_micros(connection.succeeded_at),
            failures=connection.failures,
            error=connection.error,
        )

    def drop(self, tenant_id: str) -> None:
        """Go without the connection, and forget what was to be sent over it."""
        for letter in self.unanswered(tenant_id):
            self.answered(tenant_id, letter.number)
        self._tx.execute("drop_connection", tenant_id=tenant_id)

    def claim(self, tenant_id: str, now: datetime, until: datetime) -> bool:
        """Take the turn to exchange, until a moment by which it is over; False if it isn't due, or another server has it."""
        return bool(list(self._tx.query("claim_connection", tenant_id=tenant_id, now=micros(now), until=micros(until))))

    def unanswered(self, tenant_id: str) -> list[Letter]:
        """Give the documents that a vendor has not answered yet, oldest first."""
        return [Letter(row[0], row[1]) for row in self._tx.query("unanswered", tenant_id=tenant_id)]

    def add(self, tenant_id: str, letter: Letter, now: datetime) -> None:
        """Have a document sent to a vendor."""
        self._tx.execute("add_unanswered", tenant_id=tenant_id, number=letter.number, token=letter.token, now=micros(now))

    def answered(self, tenant_id: str, number: int) -> None:
        """Note that a document was answered."""
        self._tx.execute("drop_unanswered", tenant_id=tenant_id, number=number)


def _to_connection(row: Row) -> Connection:
    return Connection(
        tenant_id=row[0],
        url=row[1],
        ca_file=row[2],
        is_plain=row[3] == 1,
        connected_at=moment(row[4]),
        next_at=moment(row[5]),
        tried_at=maybe_moment(row[6]),
        succeeded_at=maybe_moment(row[7]),
        failures=row[8],
        error=row[9],
    )
