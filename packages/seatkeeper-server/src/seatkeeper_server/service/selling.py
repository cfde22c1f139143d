"""Selling, the short way: one call makes the whole chain from a product to a pool with an activation code.

    product → edition → plan, offering → customer → group → entitlement → pool with its counters → activation code

What is there already is used again: a vendor, a product, an offering with the same terms. Selling the same product to the
same customer twice is refused unless it is meant. Every sale, change and reading of a code is a fact in the entitlement's
chain; no fact ever holds a code or a key.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote

from seatkeeper.protocol import codes, ids
from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.catalogue import (
    MAX_COUNT,
    STANDARD,
    Borrowing,
    Sale,
    Sold,
    is_nearly,
    resized,
    written_borrowing,
    written_overdraft,
)
from seatkeeper_server.domain.facts import CHAIN_START, Fact, Note
from seatkeeper_server.domain.intervals import written
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.domain.refusals import Flood
from seatkeeper_server.domain.terms import BORROWED, SEAT, Terms
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import Entitlement
from seatkeeper_server.service.catalogue import Bought, CannotDo, Catalogue, SealedCode, Tenant, Vault
from seatkeeper_server.service.finding import find
from seatkeeper_server.service.ports import PoolRecord, Random

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AlreadySold(CannotDo):
    """This customer has this product already. Change that entitlement, or say that another one is meant."""


class InUse(CannotDo):
    """More seats are taken than would be left. Wait, free some, or force it."""


# --- sell ----------------------------------------------------------------------------------------------------------


def sell(catalogue: Catalogue, vault: Vault, sale: Sale, *, now: datetime, starts_at: datetime, random: Random) -> Sold:
    """Sell, and give what an application needs to take a seat. The days bought are counted from `starts_at`.

    Raises:
        AlreadySold: the customer has this product, and another sale was not asked for.
        CannotDo: there is a customer of nearly this name, or the vendor has another contact.
    """
    tenant_id = _vendor(catalogue, vault, sale, now, random)
    product_id = catalogue.product(tenant_id, sale.product, ids.make_id(ids.PRODUCT, random(16)), now)
    _refuse_misspelt(catalogue, tenant_id, sale)
    customer_id = catalogue.customer(tenant_id, sale.customer, ids.make_id(ids.CUSTOMER, random(16)), now)
    _refuse_again(catalogue.sold_already(tenant_id, customer_id, product_id), sale)
    edition_id = catalogue.edition(tenant_id, product_id, STANDARD, ids.make_id(ids.EDITION, random(16)), now)
    plan_id = catalogue.plan(tenant_id, sale, ids.make_id(ids.PLAN, random(16)), now)
    new_offering = ids.make_id(ids.OFFERING, random(16))
    offering_id = catalogue.offering(tenant_id, sale, edition_id, plan_id, new_offering, now)
    entitlement = Entitlement(
        tenant_id=tenant_id,
        entitlement_id=ids.make_id(ids.ENTITLEMENT, random(16)),
        group_id=ids.make_id(ids.GROUP, random(16)),
        product_id=product_id,
        edition_id=edition_id,
        product_name=sale.product,
    )
    pool = _new_pool(sale, entitlement, sale.terms.end_from(starts_at))
    catalogue.add_entitlement(pool, customer_id, offering_id, now)
    code = _new_code(catalogue, vault, entitlement, now, random)
    recording.append(catalogue.tx, *pool.key, [_sold_note(sale, pool, code, now)], now)
    return Sold(
        tenant_id=tenant_id,
        tenant=sale.tenant,
        product_id=product_id,
        product=sale.product,
        customer=sale.customer,
        entitlement_id=entitlement.entitlement_id,
        seats=sale.terms.seats,
        overdraft=sale.terms.overdraft.above(sale.terms.seats),
        ends_at=pool.pool.terms.ends_at,
        code=code,
        public_key=vault.public_key(tenant_id),
    )


def _vendor(catalogue: Catalogue, vault: Vault, sale: Sale, now: datetime, random: Random) -> str:
    """Find the vendor, or make him with keys of his own."""
    known = next((tenant for tenant in catalogue.tenants() if tenant.name == sale.tenant), None)
    if known is not None:
        _refuse_other_contact(known, sale)
        catalogue.tx.ledgers([known.tenant_id])  # locked: a vendor's sales happen one after the other
        return known.tenant_id
    tenant_id = ids.make_id(ids.TENANT, random(16))
    catalogue.add_tenant(Tenant(tenant_id=tenant_id, name=sale.tenant, contact=sale.contact, created_at=now, head=CHAIN_START))
    vault.make_keys(tenant_id, now)
    recording.append(catalogue.tx, tenant_id, tenant_id, [Note(at=now, what="tenantMade")], now)
    return tenant_id


def _refuse_other_contact(known: Tenant, sale: Sale) -> None:
    """The contact is the vendor's: said with one sale, it would change what users of every other customer are shown."""
    if sale.contact is not None and sale.contact != known.contact:
        has = f"is {known.contact}" if known.contact else "is not set"
        raise CannotDo(
            f"the contact of the vendor {known.name} {has}, for all customers: sell without --contact, or change it for all"
            f" with `seatkeeper vendor {quote(known.name)} --contact {quote(sale.contact)}`"
        )


def _refuse_misspelt(catalogue: Catalogue, tenant_id: str, sale: Sale) -> None:
    """`ACME` beside `acme` is a slip of the finger far more often than a second customer."""
    names = catalogue.customers(tenant_id)
    near = next((name for name in names if is_nearly(name, sale.customer)), None)
    if near is not None and sale.customer not in names and not sale.another:
        raise CannotDo(
            f"there is no customer {quoted(sale.customer)} yet: did you mean {near}? Use --another to sell to a second customer"
            " of nearly this name"
        )


def _refuse_again(already: list[str], sale: Sale) -> None:
    if already and not sale.another:
        raise AlreadySold(
            f"{sale.customer} has {sale.product} already ({already[-1]}): change that with"
            f" `seatkeeper change {already[-1]} --seats N`, or sell it once more with --another"
        )


def _new_pool(sale: Sale, entitlement: Entitlement, ends_at: datetime | None) -> PoolRecord:
    terms = Terms(
        mode=sale.terms.mode,
        lease=sale.terms.lease,
        linger=sale.terms.linger,
        margin=margin_for(BEAT),
        nonce=sale.terms.nonce,
        ends_at=ends_at,
        borrow=timedelta(0) if sale.terms.borrow is None else sale.terms.borrow.longest,
    )
    tallies = {right.key: Tally(right) for right in sale.terms.rights}
    return PoolRecord(
        entitlement=entitlement,
        pool=Pool(terms=terms, tallies=tallies),
        facts=0,
        head=CHAIN_START,
        flood=Flood(_EPOCH),
    )


def _new_code(catalogue: Catalogue, vault: Vault, sold: Entitlement, now: datetime, random: Random) -> str:
    code = codes.make_code(random(codes.RANDOM_BYTES))
    code_hash = vault.code_hash(sold.tenant_id, code)
    sealed = SealedCode(
        code_hash=code_hash,
        sealed=vault.seal_code(sold.tenant_id, code_hash, code),
        last_four=codes.last_four(code),
        created_at=now,
    )
    catalogue.add_code(sold.tenant_id, sold.group_id, sealed)
    return code


def _sold_note(sale: Sale, pool: PoolRecord, code: str, now: datetime) -> Fact:
    terms, ends_at = sale.terms, pool.pool.terms.ends_at
    return Note(
        at=now,
        what="sold",
        data={
            "sku": terms.sku(sale.product),
            "seats": terms.seats,
            "mode": terms.mode.value,
            "lease": written(terms.lease),
            "linger": written(terms.linger),
            "overdraft": written_overdraft(terms.overdraft),
            "features": [feature.as_data() for feature in terms.features],
            "until": _moment(ends_at),
            **({"borrow": written_borrowing(terms.borrow)} if terms.borrow else {}),
            "code": codes.last_four(code),
        },
    )


# --- change --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of an entitlement: another number of seats, another end (`until`, if `moves_end`), other limits of
    borrowing (`borrow`, if `limits_borrowing`).

    `force` shrinks it below its use, or ends it before the leases that are held end: holders go at their next refresh, and
    count until their leases have ended.
    """

    seats: int | None = None
    moves_end: bool = False
    until: datetime | None = None
    limits_borrowing: bool = False
    borrow: Borrowing | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.seats is None and not self.moves_end and not self.limits_borrowing:
            raise ValueError("say what to change: --seats N, --until DATE, --borrow 14d:5, or several of them")
        if self.seats is not None and not 1 <= self.seats <= MAX_COUNT:
            raise ValueError(f"seats: 1 to {MAX_COUNT:,}, not {quoted(str(self.seats))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An entitlement before and after; `going` holders lose their seat at their next refresh.

    `working` are held under leases that end after it does: their programs are refused then, and go on till their leases end.
    """

    entitlement_id: str
    seats_before: int | None
    seats: int | None
    until_before: datetime | None
    until: datetime | None
    going: int
    working: int = 0
    borrow_before: Borrowing | None = None
    borrow: Borrowing | None = None


def borrowing_of(pool: Pool) -> Borrowing | None:
    """Give the limits of borrowing that a pool has."""
    out = pool.tallies.get(BORROWED)
    return Borrowing.of(pool.terms.borrow, out.right.bought if out is not None else None)


def change(catalogue: Catalogue, called: str, wanted: Change, now: datetime) -> Changed:
    """Change what a customer bought; a fact says what it was before and after.

    Raises:
        NotFound: there is no such entitlement.
        Ambiguous: there are several of that name.
        InUse: more seats are taken than would be left, or held for longer than to the new end, and it was not forced.
    """
    bought = find(catalogue, called)
    working = _working_beyond(catalogue, bought, wanted, now)
    tally, excess = bought.pool.seats, bought.pool.excess
    if wanted.seats is not None:
        tally, excess = resized(tally, wanted.seats, catalogue.leaving(bought.key, now))
        _refuse_below_use(catalogue, bought, tally, wanted, now)
        catalogue.resize(bought.key, tally, excess)
    if wanted.moves_end:
        catalogue.set_end(bought.key, wanted.until)
    if wanted.limits_borrowing:
        catalogue.set_borrowing(bought.key, wanted.borrow)
    borrow_before = borrowing_of(bought.pool)
    changed = Changed(
        entitlement_id=bought.entitlement_id,
        seats_before=bought.pool.seats.right.bought,
        seats=tally.right.bought,
        until_before=bought.pool.terms.ends_at,
        until=wanted.until if wanted.moves_end else bought.pool.terms.ends_at,
        going=excess,
        working=working,
        borrow_before=borrow_before,
        borrow=wanted.borrow if wanted.limits_borrowing else borrow_before,
    )
    recording.append(catalogue.tx, *bought.key, [_changed_note(changed, wanted, now)], now)
    return changed


def _refuse_below_use(catalogue: Catalogue, bought: Bought, after: Tally, wanted: Change, now: datetime) -> None:
    """Places that time has ended don't stand in the way, although nobody has settled them yet."""
    used = after.used - catalogue.ended(bought.key, now).get(SEAT, 0)
    shrinks = wanted.seats is not None and wanted.seats < (bought.pool.seats.right.bought or 0)
    if not shrinks or wanted.force or after.right.cap is None or used <= after.right.cap:
        return
    raise InUse(
        f"{used} seats of {bought.customer}'s {bought.product} are taken, {after.right.cap} would be left: free some"
        f" (`seatkeeper seats {bought.entitlement_id}`), or add --force: then holders lose their seat at their next refresh"
    )


def _working_beyond(catalogue: Catalogue, bought: Bought, wanted: Change, now: datetime) -> int:
    """Count the holders whose leases end after the new end does; nobody closes a customer at work by a slip of the finger."""
    if not wanted.moves_end or wanted.until is None:
        return 0
    working, last = catalogue.working(bought.key, max(now, wanted.until))
    if working and last is not None and not wanted.force:
        what = "the lease of 1 held seat runs" if working == 1 else f"the leases of {working} held seats run"
        raise InUse(
            f"{bought.customer}'s {bought.product} is in use: {what}"
            f" until {_moment(last)}, beyond that end: choose a later one, or add --force: then nobody gets or keeps a seat"
            " after it, and programs go on till their leases end"
        )
    return working


def _changed_note(changed: Changed, wanted: Change, now: datetime) -> Fact:
    data: dict[str, object] = {}
    if wanted.seats is not None:
        data["seats"] = {"before": changed.seats_before, "after": changed.seats}
        data["going"] = changed.going
    if wanted.moves_end:
        data["until"] = {"before": _moment(changed.until_before), "after": _moment(changed.until)}
    if wanted.limits_borrowing:
        before, after = written_borrowing(changed.borrow_before), written_borrowing(changed.borrow)
        data["borrow"] = {"before": before, "after": after}
    if changed.working:
        data["working"] = changed.working
    if wanted.force:
        data["forced"] = True
    return Note(at=now, what="changed", data=data)


# --- codes ---------------------------------------------------------------------------------------------------------


def read_codes(catalogue: Catalogue, vault: Vault, called: str, now: datetime) -> tuple[Bought, list[str]]:
    """Give the activation codes of an entitlement; that they were read is a fact.

    Raises:
        NotFound: there is no such entitlement.
        Ambiguous: there are several of that name.
    """
    bought = find(catalogue, called)
    sealed = catalogue.codes(bought.key[0], bought.entitlement_id)
    opened = [vault.open_code(bought.key[0], code) for code in sealed]
    note = Note(at=now, what="codeRead", data={"codes": [code.last_four for code in sealed]})
    recording.append(catalogue.tx, *bought.key, [note], now)
    return bought, opened


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
