"""This local server in one transaction: its licenses, and what vendors have lent to it.

Everything else in this package is a function of it. Here it is only asked; what changes what it was lent is beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import Bought, CannotDo, NotFound
from seatkeeper_server.service.delegation import Lent, LentRecord, OwnLicense
from seatkeeper_server.service.ports import PoolKey, Random
from seatkeeper_server.service.site_books import Books, Keyholder


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """What this server was licensed and lent, within one transaction."""

    books: Books
    keys: Keyholder
    now: datetime
    random: Random

    def take_turn(self, tenant_id: str) -> None:
        """Have everything to oneself that a vendor has lent: another server could change it meanwhile."""
        self.books.tx.lock(sorted(record.key for record in self.books.sites.lent(tenant_id)), ())

    # --- licenses --------------------------------------------------------------------------------------------------

    def own(self, tenant_id: str) -> OwnLicense | None:
        """Give what is known of this server's license from a vendor; None if it was never asked for."""
        return next((own for own in self.books.sites.own_licenses() if own.tenant_id == tenant_id), None)

    def licensed(self, tenant_id: str) -> OwnLicense:
        """Give this server's license from a vendor.

        Raises:
            CannotDo: there is none.
        """
        own = self.own(tenant_id)
        if own is None or not own.is_licensed:
            raise CannotDo("this server has no license from that vendor: ask for one with `seatkeeper token request`")
        return own

    # --- what is lent ----------------------------------------------------------------------------------------------

    def running(self, tenant_id: str) -> list[LentRecord]:
        """Give what a vendor has lent and nobody has given back."""
        return [record for record in self.books.sites.lent(tenant_id) if record.ended_at is None]

    def record(self, tenant_id: str, entitlement_id: str, *, again: bool = False) -> LentRecord:
        """Give what an entitlement rests on; `again`: also of one that was given back, whose document may have been lost.

        Raises:
            NotFound: there is none of that id.
        """
        known = self.books.sites.lent(tenant_id) if again else self.running(tenant_id)
        found = next((record for record in known if record.entitlement_id == entitlement_id), None)
        if found is None:
            ids = [record.entitlement_id for record in known]
            raise NotFound("entitlement", entitlement_id, ids, "nothing is lent to this server")
        return found

    def bought(self, key: PoolKey) -> Bought:
        """Give an entitlement as it is in this server's own database."""
        return self.books.bought(*key)[0]

    def lent(self, record: LentRecord) -> Lent:
        """Give what was lent in words, with its activation codes."""
        return Lent(
            bought=self.bought(record.key),
            codes=[self.keys.open_code(record.tenant_id, code) for code in self.books.codes(*record.key)],
            until=record.until,
            number=record.number,
            share_id=record.share_id,
            granted_at=record.granted_at,
        )

    # --- what happened ---------------------------------------------------------------------------------------------

    def note(self, key: PoolKey, what: str, data: Mapping[str, object]) -> None:
        """Write into a chain of facts what has happened: an entitlement's, or the vendor's own (his id twice)."""
        tenant_id, chain_id = key
        recording.append(self.books.tx, tenant_id, chain_id, [Note(at=self.now, what=what, data=data)], self.now)
