"""Refusals of a batch: written down or counted, and explained when everything else of the batch is written.

Who holds the seats is asked once a batch and pool, and last, so that a refusal names also those who got theirs in the same
batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from seatkeeper_server.domain.admission import outlook
from seatkeeper_server.domain.facts import Denied
from seatkeeper_server.domain.refusals import THE_FLOOD
from seatkeeper_server.domain.sites import LOCAL_SERVER
from seatkeeper_server.domain.terms import BORROWED, Switch
from seatkeeper_server.service.calls import Occupancy, Refusal, Refused, Who
from seatkeeper_server.service.drawing import Drawing
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.workspace import Workspace

HOLDERS_SHOWN = 20  # a refusal names this many holders and counts the rest

_UNEXPLAINED = frozenset({"credentials", "nonce"})  # rules of which the problem code says all there is to say


class Refusing(Struct, frozen=True):
    """A refusal that is to be written down and explained; `key` is its pool's, or a tenant's own twice."""

    key: PoolKey
    denied: Denied
    who: Who

    @property
    def concerns_a_tenant(self) -> bool:
        """Whether it concerns no entitlement: nobody knows the credentials."""
        return self.key[0] == self.key[1]


def unknown(tenant_id: str, hint: str, address: str | None, now: datetime) -> Refusing:
    """Refuse credentials that nobody knows; a fact in the chain of a known tenant, so that he can help his customer."""
    denied = Denied(at=now, rule="credentials", problem="credentials.unknown", hint=hint)
    return Refusing((tenant_id, tenant_id), denied, Who(seat_id=address or "?", address=address))


@dataclass(slots=True)
class Refusals:
    """The refusals of one batch."""

    work: Workspace
    draw: Drawing
    _ids: dict[int, str] = field(default_factory=dict)
    _rosters: dict[PoolKey, Occupancy] = field(default_factory=dict)

    def note(self, refusing: Sequence[Refusing]) -> None:
        """Write them down, or count them."""
        if not refusing:
            return
        tenants = sorted({item.key[0] for item in refusing if item.concerns_a_tenant})
        if tenants:
            self.work.ledgers.update({ledger.tenant_id: ledger for ledger in self.work.tx.ledgers(tenants)})
        noted = [item for item in refusing if not item.concerns_a_tenant or item.key[0] in self.work.ledgers]
        self.work.load_seats((*item.key, item.who.seat_id) for item in noted)
        self.work.load_windows({(item.key, holder) for item in noted for holder in self._counted_as(item)})
        for item in noted:
            self._ids[id(item)] = self.work.note_refusal(item.key, item.denied, item.who, self.draw.denial_id())

    def explained(self, item: Refusing) -> Refused:
        """Give a refusal with its explanation; everything of the batch must have been written."""
        denied = item.denied
        if denied.rule in _UNEXPLAINED:
            return Refused(denied.problem)
        record, pool = self.work.pools[item.key], self.work.pool(item.key)
        refusal = Refusal(
            denial_id=self._ids[id(item)],
            rule=denied.rule,
            feature=denied.key,
            wanted=denied.wanted,
            limit=denied.limit,
            used=denied.used,
            overdraft=denied.overdraft,
            product_name=record.entitlement.product_name,
            at=self.work.now,
            occupancy=self.occupancy(item.key),
            contact=record.contact,
            outlook=outlook(pool.tallies[denied.key], denied.wanted, pool.terms.mode),
            borrow=pool.terms.borrow,
        )
        return Refused(denied.problem, refusal)

    def occupancy(self, key: PoolKey) -> Occupancy:
        """Give who is in a pool, after everything of this batch is written."""
        if key not in self._rosters:
            out = self.work.pool(key).tallies.get(BORROWED)
            holders, earliest = self.work.tx.roster(key, HOLDERS_SHOWN, borrowing=out is not None and out.used > 0)
            more = max(0, self.work.pool(key).seats.used - len(holders))
            is_lent = any(holder.name.endswith(LOCAL_SERVER) for holder in holders)
            is_lent |= self.work.pool(key).terms.switch is Switch.EXPORTED
            self._rosters[key] = Occupancy(
                holders=holders,
                more=more,
                next_free_by=earliest,
                group_id=self.work.pools[key].entitlement.group_id,
                lent=self.work.tx.lent_out(key, self.work.now) if is_lent else [],
            )
        return self._rosters[key]

    def _counted_as(self, item: Refusing) -> list[int]:
        known = self.work.holders.get((*item.key, item.who.seat_id))
        return [known.number, THE_FLOOD] if known else [THE_FLOOD]
