"""Keeps what is sold, and reads what happened: `service.catalogue.Catalogue` over the named queries of `catalogue.sql`.

It maps rows to values and decides nothing. It works on any transaction that runs named queries, so it is the same on every
database.
"""

from collections.abc import Sequence
from datetime import datetime

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.catalogue import Borrowing, Sale
from seatkeeper_server.domain.timekeeping import MICROSECOND
from seatkeeper_server.keys import KeyRow
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import (
    Blocked,
    Bought,
    Commercial,
    Counting,
    LogFilter,
    LogRow,
    Place,
    SealedCode,
    Sitting,
    Tenant,
)
from seatkeeper_server.service.ports import FactRecord, HolderRecord, PoolKey, PoolRecord
from seatkeeper_server.store.connections import Connections
from seatkeeper_server.store.rows import (
    Row,
    added_up,
    from_right,
    maybe_micros,
    maybe_moment,
    micros,
    moment,
    named,
    span,
    to_fact,
    to_holding,
    to_who,
)
from seatkeeper_server.store.sites import Sites
from seatkeeper_server.store.transaction import SqlTransaction
from seatkeeper_server.store.usage import Usage


class Catalogue:
    """What is sold and what happened, within one transaction."""

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    @property
    def tx(self) -> SqlTransaction:
        """The transaction everything happens in."""
        return self._tx

    @property
    def sites(self) -> Sites:
        """What is known of local license servers, and on one of itself."""
        return Sites(self._tx)

    @property
    def connections(self) -> Connections:
        """On a local server: its connections to vendors."""
        return Connections(self._tx)

    @property
    def usage(self) -> Usage:
        """What facts come to."""
        return Usage(self._tx)

    # --- what is sold -----------------------------------------------------------------------------------------------

    def tenants(self) -> list[Tenant]:
        """Give all vendors."""
        return [
            Tenant(
                tenant_id=row[0],
                name=row[1],
                contact=row[2],
                created_at=moment(row[3]),
                facts=row[4],
                head=bytes.fromhex(row[5]),
            )
            for row in self._tx.query("vendors")
        ]

    def add_tenant(self, tenant: Tenant) -> None:
        """Add a vendor."""
        self._tx.execute(
            "add_tenant",
            tenant_id=tenant.tenant_id,
            name=tenant.name,
            contact=tenant.contact,
            now=micros(tenant.created_at),
            head=tenant.head.hex(),
        )

    def set_contact(self, tenant_id: str, contact: str | None) -> None:
        """Say whom refused users should ask; None: nobody."""
        self._tx.execute("set_contact", tenant_id=tenant_id, contact=contact)

    def keys(self, tenant_id: str) -> list[KeyRow]:
        """Give a tenant's keys, their private parts sealed; none for an unknown tenant."""
        return [
            KeyRow(
                tenant_id=row[0],
                purpose=row[1],
                kid=row[2],
                state=row[3],
                public_key=row[4],
                sealed=row[5],
                certificate=row[6],
                created_at=moment(row[7]),
                expires_at=maybe_moment(row[8]),
            )
            for row in self._tx.query("keys_of", tenant_id=tenant_id)
        ]

    def add_key(self, key: KeyRow) -> None:
        """Add a key, or set the state of a known one."""
        self._tx.execute(
            "add_key",
            tenant_id=key.tenant_id,
            purpose=key.purpose,
            kid=key.kid,
            state=key.state,
            public_key=key.public_key,
            sealed=key.sealed,
            certificate=key.certificate,
            created_at=micros(key.created_at),
            expires_at=maybe_micros(key.expires_at),
        )

    def database_id(self) -> str:
        """Give the id of this database, which every lease names as its issuer."""
        return str(self._tx.query("history")[0][0])

    def product(self, tenant_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the product of that name; add it under the new id if there is none."""
        if found := self._tx.query("product_named", tenant_id=tenant_id, name=name):
            return str(found[0][0])
        self._tx.execute("add_product", tenant_id=tenant_id, product_id=new_id, name=name, now=micros(now))
        return new_id

    def edition(self, tenant_id: str, product_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the product's edition; add it if there is none."""
        if found := self._tx.query("edition_named", tenant_id=tenant_id, product_id=product_id, name=name):
            return str(found[0][0])
        self._tx.execute(
            "add_edition", tenant_id=tenant_id, edition_id=new_id, product_id=product_id, name=name, now=micros(now)
        )
        return new_id

    def plan(self, tenant_id: str, sale: Sale, new_id: str, now: datetime) -> str:
        """Give the id of the plan that a sale belongs to; add it if there is none."""
        days = sale.terms.days
        if found := self._tx.query("plan_named", tenant_id=tenant_id, name=sale.terms.plan):
            return str(found[0][0])
        self._tx.execute(
            "add_plan",
            tenant_id=tenant_id,
            plan_id=new_id,
            name=sale.terms.plan,
            license_type="perpetual" if days is None else "subscription",
            duration_type="none" if days is None else "day",
            duration_count=days,
            now=micros(now),
        )
        return new_id

    def offering(self, tenant_id: str, sale: Sale, edition_id: str, plan_id: str, new_id: str, now: datetime) -> str:
        """Give the id of the offering with the sale's terms; add it if there is none."""
        terms, sku = sale.terms, sale.terms.sku(sale.product)
        if found := self._tx.query("offering_with", tenant_id=tenant_id, sku=sku):
            return str(found[0][0])
        self._tx.execute(
            "add_offering",
            tenant_id=tenant_id,
            offering_id=new_id,
            edition_id=edition_id,
            plan_id=plan_id,
            name=f"{sale.product}, {terms.seats} seats",
            sku=sku,
            seats=terms.seats,
            mode=terms.mode.value,
            overdraft_kind=terms.overdraft.kind,
            overdraft_value=terms.overdraft.value,
            features=terms.features_json,
            lease=terms.lease // MICROSECOND,
            linger=terms.linger // MICROSECOND,
            now=micros(now),
        )
        return new_id

    def customer(self, tenant_id: str, name: str, new_id: str, now: datetime) -> str:
        """Give the id of the customer of that name; add him if there is none."""
        if found := self._tx.query("customer_named", tenant_id=tenant_id, name=name):
            return str(found[0][0])
        self._tx.execute("add_customer", tenant_id=tenant_id, customer_id=new_id, name=name, now=micros(now))
        return new_id

    def customers(self, tenant_id: str) -> list[str]:
        """Give the names of a vendor's customers."""
        return [row[0] for row in self._tx.query("customer_names", tenant_id=tenant_id)]

    def sold_already(self, tenant_id: str, customer_id: str, product_id: str) -> list[str]:
        """Give the entitlements that this customer has to this product."""
        found = self._tx.query("sold_already", tenant_id=tenant_id, customer_id=customer_id, product_id=product_id)
        return [row[0] for row in found]

    def add_entitlement(self, pool: PoolRecord, customer_id: str, offering_id: str, now: datetime) -> None:
        """Add a group, an entitlement in it, its pool and its counters."""
        sold, terms, at = pool.entitlement, pool.pool.terms, micros(now)
        names = named(pool.key)
        self._tx.execute("add_group", tenant_id=sold.tenant_id, group_id=sold.group_id, customer_id=customer_id, now=at)
        self._tx.execute("add_entitlement", **names, group_id=sold.group_id, offering_id=offering_id, now=at)
        self._tx.execute(
            "add_pool",
            **names,
            group_id=sold.group_id,
            product_id=sold.product_id,
            edition_id=sold.edition_id,
            mode=terms.mode.value,
            lease=terms.lease // MICROSECOND,
            linger=terms.linger // MICROSECOND,
            margin=terms.margin // MICROSECOND,
            nonce=terms.nonce.value,
            ends_at=maybe_micros(terms.ends_at),
            borrow=terms.borrow // MICROSECOND,
            head=pool.head.hex(),
        )
        for tally in pool.pool.tallies.values():
            self._tx.execute("add_right", **names, **from_right(tally.right))

    def add_code(self, tenant_id: str, group_id: str, code: SealedCode) -> None:
        """Add an activation code to a group."""
        self._tx.execute(
            "add_code",
            tenant_id=tenant_id,
            group_id=group_id,
            code_hash=code.code_hash,
            sealed=code.sealed,
            last_four=code.last_four,
            now=micros(code.created_at),
        )

    def codes(self, tenant_id: str, entitlement_id: str) -> list[SealedCode]:
        """Give the activation codes of an entitlement's group."""
        return [to_code(row) for row in self._tx.query("codes_of", tenant_id=tenant_id, entitlement_id=entitlement_id)]

    def resize(self, key: PoolKey, seats: Tally, excess: int) -> None:
        """Set how many seats are bought, and how many holders have to go."""
        names = named(key)
        self._tx.execute("resize", **names, bought=seats.right.bought, cap=seats.right.cap, above=seats.above)
        self._tx.execute("set_excess", **names, excess=excess)

    def set_end(self, key: PoolKey, ends_at: datetime | None) -> None:
        """Set when the entitlement ends."""
        self._tx.execute("set_end", **named(key), ends_at=maybe_micros(ends_at))

    def set_borrowing(self, key: PoolKey, limits: Borrowing | None) -> None:
        """Set for how long seats may be borrowed, and how many at once; what is out stays out."""
        names = named(key)
        longest = 0 if limits is None else limits.longest // MICROSECOND
        self._tx.execute("set_borrow", **names, borrow=longest)
        if limits is None:
            self._tx.execute("end_borrowing", **names)
            return
        self._tx.execute("put_right", **names, **from_right(limits.right))

    # --- what is held -----------------------------------------------------------------------------------------------

    def bought(self, tenant_id: str | None = None, entitlement_id: str | None = None) -> list[Bought]:
        """Give what was sold: all of it, a vendor's, or one entitlement."""
        found = self._tx.query("entitlements", tenant_id=tenant_id, entitlement_id=entitlement_id)
        pools = {pool.key: pool for pool in self._tx.pools_seen([(row[0], row[1]) for row in found])}
        return [
            Bought(
                tenant=row[2],
                customer=row[3],
                product=row[4],
                edition=row[5],
                offering=row[6],
                sku=row[7],
                created_at=moment(row[8]),
                record=pools[row[0], row[1]],
            )
            for row in found
        ]

    def to_change(self, bought: Bought) -> Bought:
        """Have an entitlement to oneself until the transaction ends, and give it as it is now."""
        self._tx.lock([bought.key], ())
        return self.bought(entitlement_id=bought.entitlement_id)[0]

    def commercial(self, tenant_id: str, entitlement_id: str) -> Commercial | None:
        """Give the commercial side of an entitlement."""
        for row in self._tx.query("commercial", tenant_id=tenant_id, entitlement_id=entitlement_id):
            return Commercial(
                customer=row[0],
                account_ref_id=row[1],
                order_ref_id=row[2],
                offering=row[3],
                sku=row[4],
                product=row[5],
                plan=row[6],
                license_type=row[7],
                license_start_type=row[8],
                duration_unit=row[9],
                duration_count=row[10],
                grace=span(row[11]),
                linger=span(row[12]),
                lease=span(row[13]),
                has_maintenance=row[14] == 1,
                maintenance_ends_at=maybe_moment(row[15]),
                seats=row[16],
                ends_at=maybe_moment(row[17]),
            )
        return None

    def places(self, key: PoolKey, lapsed_since: datetime) -> list[Place]:
        """Give the places that count, and those that lapsed since a moment."""
        found = self._tx.query("places", **named(key), lapsed_since=micros(lapsed_since))
        return [
            Place(holding=to_holding(row[:19]), who=to_who(row[19:28]), blocked_until=maybe_moment(row[28])) for row in found
        ]

    def ended(self, key: PoolKey, now: datetime) -> dict[str, int]:
        """Give what time has ended but nobody has settled yet, by right."""
        return added_up(self._tx.query("ended_places", **named(key), now=micros(now)))

    def taken(self, key: PoolKey) -> dict[str, int]:
        """Add up what the places that count say they take, by right."""
        return added_up(self._tx.query("counting_places", **named(key)))

    def leaving(self, key: PoolKey, now: datetime) -> int:
        """Count the places that go by themselves: nobody may refresh them any more, or time has ended them already."""
        return int(self._tx.query("leaving", **named(key), now=micros(now))[0][0])

    def working(self, key: PoolKey, after: datetime) -> tuple[int, datetime | None]:
        """Count the seats that are held under a lease which ends after a moment; with the last of those ends."""
        found = self._tx.query("working", **named(key), after=micros(after))
        return found[0][0], maybe_moment(found[0][1])

    def blocked(self, key: PoolKey, now: datetime) -> list[Blocked]:
        """Give who is refused now, and until when."""
        found = self._tx.query("blocked", tenant_id=key[0], chain_id=key[1], now=micros(now))
        return [Blocked(row[0], moment(row[1])) for row in found]

    def holders_called(self, called: str) -> list[tuple[HolderRecord, str | None]]:
        """Find holders by seat id, name, user@host or activation; with the activation they have."""
        return [
            (
                HolderRecord(
                    tenant_id=row[0],
                    chain_id=row[1],
                    number=row[2],
                    who=to_who(row[3:12]),
                    blocked_until=maybe_moment(row[12]),
                ),
                row[13],
            )
            for row in self._tx.query("holders_called", called=called)
        ]

    def holder_names(self) -> list[str]:
        """Give what present holders can be called."""
        return [name for row in self._tx.query("holder_names") for name in row if name]

    def block(self, holder: HolderRecord, until: datetime | None) -> None:
        """Refuse a holder until a moment; None: no longer."""
        whose = {"tenant_id": holder.tenant_id, "chain_id": holder.chain_id, "number": holder.number}
        self._tx.execute("block", **whose, until=maybe_micros(until))

    # --- what happened ----------------------------------------------------------------------------------------------

    def log(self, wanted: LogFilter) -> list[LogRow]:
        """Give the newest facts that are wanted, oldest first."""
        found = self._tx.query(
            "log",
            since=micros(wanted.since),
            customer=wanted.customer,
            called=wanted.holder,
            denied=int(wanted.denied),
            most=wanted.most,
        )
        return [_to_log_row(row) for row in reversed(found)]

    def refusal(self, denial_id: str) -> tuple[list[LogRow], Counting | None]:
        """Give the facts of a refusal and what is still being counted under its id."""
        written = [_to_log_row(row) for row in self._tx.query("facts_called", denial_id=denial_id)]
        for row in self._tx.query("counting", denial_id=denial_id):
            return written, Counting(
                tenant_id=row[0],
                chain_id=row[1],
                denial_id=row[3],
                rule=row[4],
                since=moment(row[5]),
                until=moment(row[6]),
                count=row[7],
                customer=row[8],
                product=row[9],
                who=_maybe_who(row[10:19]),
            )
        return written, None

    def refusal_ids(self) -> list[str]:
        """Give the ids of the newest refusals."""
        return [row[0] for row in self._tx.query("refusal_ids")]

    def sittings(self, fact: FactRecord) -> list[Sitting]:
        """Tell who came and went in a pool before a fact."""
        found = self._tx.query("sittings", tenant_id=fact.tenant_id, chain_id=fact.chain_id, number=fact.number)
        return [Sitting(row[0], moment(row[1]), row[2] or "", row[3], row[4] or "") for row in found]

    def chain(self, key: PoolKey, after: int, last: int, most: int) -> Sequence[FactRecord]:
        """Give a stretch of a chain of facts."""
        found = self._tx.query("chain", tenant_id=key[0], chain_id=key[1], after=after, last=last, most=most)
        return [to_fact(row) for row in found]

    def chain_back(self, key: PoolKey, before: int, most: int) -> Sequence[FactRecord]:
        """Give a stretch of a chain of facts, the newest first."""
        found = self._tx.query("chain_back", tenant_id=key[0], chain_id=key[1], before=before, most=most)
        return [to_fact(row) for row in found]

    def newest_facts(self, tenant_id: str, skip: int, most: int) -> Sequence[FactRecord]:
        """Give what happened to a vendor's entitlements, whichever, the newest first."""
        return [to_fact(row) for row in self._tx.query("newest_facts", tenant_id=tenant_id, skip=skip, most=most)]

    def checkpoint(self, key: PoolKey) -> str | None:
        """Give the signed checkpoint behind which a chain was pruned last; None if it never was."""
        for row in self._tx.query("last_checkpoint", tenant_id=key[0], chain_id=key[1]):
            return str(row[0])
        return None

    def signing_keys(self, tenant_id: str) -> dict[str, str]:
        """Give the public part of every signing key a tenant ever had, by key id."""
        return {row.kid: row.public_key for row in self.keys(tenant_id) if row.purpose == "signing" and row.public_key}


def to_code(row: Row) -> SealedCode:
    """Read the columns of an activation code, from `code_hash` to `created_at`."""
    return SealedCode(code_hash=row[0], sealed=row[1], last_four=row[2], created_at=moment(row[3]))


def _to_log_row(row: Row) -> LogRow:
    return LogRow(fact=to_fact(row[:12]), customer=row[12], product=row[13], who=_maybe_who(row[14:23]))


def _maybe_who(row: Row) -> Who | None:
    return None if row[0] is None else to_who(row)
