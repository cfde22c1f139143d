"""Selling, the short way: the whole chain in one call, changed and read afterwards."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seatkeeper.protocol import codes
from seatkeeper_server.domain.catalogue import Sold, Terms, read_feature
from seatkeeper_server.domain.terms import Overdraft
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service import selling, vendors
from seatkeeper_server.service.calls import Outcome, Refused, Served
from seatkeeper_server.service.catalogue import CannotDo, NotFound
from seatkeeper_server.service.finding import Ambiguous
from seatkeeper_server.service.leasing import Leasing
from seatkeeper_server.service.selling import AlreadySold, InUse
from seatkeeper_server.store.vault import KeyVault
from tests.selling.conftest import Shop
from tests.support.house import START, Drawer, KnownLeases, activate
from tests.support.house import Sold as Serves

CHAIN = ("tenant", "product", "edition", "plan", "offering", "customer", "entitlement_group", "entitlement", "pool")


def ask(shop: Shop, sold: Sold, seat: str, *, code: str | None = None) -> Outcome:
    """Ask for a seat with the code that was sold."""
    with shop.opened() as (catalogue, vault):
        code_hash = vault.code_hash(sold.tenant_id, code or sold.code)
        call = activate(seat, tenant_id=sold.tenant_id, product_id=sold.product_id, code_hash=code_hash)
        return Leasing(Serves(), KnownLeases(), Drawer()).decide(catalogue.tx, [call], shop.now)[0]


def notes(shop: Shop, what: str) -> list[dict[str, Any]]:
    """Give the data of all notes of a kind."""
    rows = [json.loads(row[0]) for row in shop.rows("SELECT data FROM fact WHERE kind = 'Note' ORDER BY number")]
    return [row.get("data", {}) for row in rows if row["what"] == what]


# --- sell ----------------------------------------------------------------------------------------------------------


def test_a_sale_makes_the_whole_chain(shop: Shop) -> None:
    """Product, edition, plan, offering, customer, group, entitlement and pool: one of each, linked by their ids."""
    shop.sell()
    counts = {table: shop.rows(f"SELECT count(*) FROM {table}")[0][0] for table in CHAIN}

    assert counts == dict.fromkeys(CHAIN, 1)


def test_a_sale_is_a_fact_of_its_entitlement(shop: Shop) -> None:
    """Who looks at an entitlement's chain finds first how it came about."""
    sold = shop.sell()
    facts = shop.rows("SELECT number, kind, data FROM fact WHERE chain_id = ?", sold.entitlement_id)

    assert [(number, kind, json.loads(data)["what"]) for number, kind, data in facts] == [(1, "Note", "sold")]


def test_what_was_sold_stands_in_the_pool(shop: Shop) -> None:
    """Seats, overdraft, lease, linger, features and end are those that were sold."""
    terms = Terms(
        seats=50,
        lease=timedelta(minutes=5),
        linger=timedelta(seconds=30),
        overdraft=Overdraft.percentage(10),
        features=(read_feature("render=elementPool:10+10%"), read_feature("export=bool")),
        days=30,
    )
    sold = shop.sell(terms=terms)
    rights = shop.rows("SELECT key, kind, bought, cap, used FROM pool_right ORDER BY key")
    pool = shop.rows("SELECT lease, linger, ends_at, nonce FROM pool")[0]

    assert rights == [("", "seat", 50, 55, 0), ("export", "bool", 1, 1, 0), ("render", "elementPool", 10, 11, 0)]
    assert pool[:2] == (300_000_000, 30_000_000)
    assert pool[3] == "optional"
    assert sold.ends_at == START + timedelta(days=30)


def test_the_code_that_was_sold_lets_a_program_in(shop: Shop) -> None:
    """The activation code is all that a program needs besides tenant and product."""
    sold = shop.sell()

    assert isinstance(ask(shop, sold, "ann"), Served)


def test_a_code_may_be_typed_in_lower_case_without_hyphens(shop: Shop) -> None:
    """What is looked up is the one spelling of a code."""
    sold = shop.sell()

    assert isinstance(ask(shop, sold, "ann", code=sold.code.lower().replace("-", "")), Served)


def test_another_code_lets_nobody_in(shop: Shop) -> None:
    """A code that was never sold fits nothing."""
    sold = shop.sell()
    refused = ask(shop, sold, "ann", code=codes.make_code(bytes(15)))

    assert isinstance(refused, Refused)
    assert refused.problem == "credentials.unknown"


def test_selling_the_same_twice_is_refused(shop: Shop) -> None:
    """A command that is repeated by mistake must not give a customer twice what he paid for; nothing is changed by it."""
    first = shop.sell()
    with pytest.raises(AlreadySold, match=f"change {first.entitlement_id}.*--another"):
        shop.sell()

    assert shop.rows("SELECT count(*) FROM entitlement") == [(1,)]


def test_the_same_may_be_sold_again_when_it_is_meant(shop: Shop) -> None:
    """With `another` the customer gets a second entitlement with a code of its own, of the same offering."""
    first, second = shop.sell(), shop.sell(another=True)

    assert first.code != second.code
    assert first.product_id == second.product_id
    assert shop.rows("SELECT count(*) FROM offering") == [(1,)]


def test_the_same_terms_are_one_offering_for_every_customer(shop: Shop) -> None:
    """An offering is sold many times; other terms are another offering."""
    shop.sell("acme")
    shop.sell("bolt")
    shop.sell("coil", terms=Terms(seats=4))

    assert shop.rows("SELECT count(*) FROM offering") == [(2,)]
    assert shop.rows("SELECT count(*) FROM product") == [(1,)]


def test_vendors_share_nothing(shop: Shop) -> None:
    """Another vendor has his own root key, products and codes: a code of one fits nothing of the other's."""
    one, other = shop.sell(), shop.sell(tenant="other")
    with shop.opened() as (_, vault):
        hashes = {vault.code_hash(tenant_id, one.code) for tenant_id in (one.tenant_id, other.tenant_id)}

    assert one.public_key != other.public_key
    assert one.product_id != other.product_id
    assert len(hashes) == 2


def test_a_sale_changes_no_contact_of_a_known_vendor(shop: Shop) -> None:
    """It is what refused users of every other customer are shown; the refusal says how it is changed for all."""
    shop.sell(contact="old@example.com")
    with pytest.raises(CannotDo, match=r"old@example.com, for all customers.*seatkeeper vendor default --contact 'O'"):
        shop.sell("bolt", contact="O'Brien")

    assert shop.rows("SELECT contact FROM tenant") == [("old@example.com",)]
    assert shop.rows("SELECT name FROM customer") == [("acme",)]


def test_saying_the_same_contact_or_none_is_no_change(shop: Shop) -> None:
    """A script that always names the contact goes on working."""
    shop.sell(contact="old@example.com")
    shop.sell("bolt", contact="old@example.com")
    shop.sell("coil")

    assert shop.rows("SELECT contact FROM tenant") == [("old@example.com",)]


def test_a_vendors_contact_is_changed_for_all_and_that_is_a_fact(shop: Shop) -> None:
    """What it was before stays on record; saying the same again is no fact."""
    sold = shop.sell(contact="old@example.com")
    with shop.opened() as (catalogue, vault):
        for contact in ("new@example.com", "new@example.com"):
            vendors.change_contact(catalogue, None, contact, START)
        found = vendors.vendor(catalogue, vault, "default")

    assert (found.contact, found.public_key, found.customers) == ("new@example.com", sold.public_key, 1)
    assert notes(shop, "contactChanged") == [{"before": "old@example.com", "after": "new@example.com"}]


def test_of_several_vendors_one_has_to_be_named(shop: Shop) -> None:
    """Nobody's contact is changed by guessing."""
    shop.sell()
    shop.sell(tenant="other")
    with shop.opened() as (catalogue, _), pytest.raises(CannotDo, match="name one of default, other"):
        vendors.change_contact(catalogue, None, "new@example.com", START)

    assert shop.rows("SELECT contact FROM tenant") == [(None,), (None,)]


def test_a_customer_of_nearly_a_known_name_is_probably_that_one(shop: Shop) -> None:
    """`ACME` beside `acme` is refused, unless a second customer is meant."""
    shop.sell("acme")
    with pytest.raises(CannotDo, match=r"did you mean acme\?.*--another"):
        shop.sell("ACME", "editor")
    shop.sell("ACME", "editor", another=True)
    shop.sell("ACME", "viewer")

    assert shop.rows("SELECT name FROM customer ORDER BY name") == [("ACME",), ("acme",)]


def test_a_code_lies_nowhere_in_the_open(shop: Shop, tmp_path: Path) -> None:
    """Neither table nor fact nor file holds an activation code; a copy of the database doesn't give it away."""
    sold = shop.sell()
    shop.store.close()
    plain = codes.canonical(sold.code).encode()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert sold.code.encode() not in content
    assert plain not in content
    assert sold.code not in repr(sold)


def test_a_code_opens_only_with_the_key_it_was_sealed_with(shop: Shop) -> None:
    """The key is outside of the database: without it nobody reads a code."""
    sold = shop.sell()
    with shop.opened() as (catalogue, _), pytest.raises(SealKeyError):
        selling.read_codes(catalogue, KeyVault(catalogue, SealKey(bytes(32))), sold.entitlement_id, START)


def test_reading_a_code_gives_it_and_is_a_fact(shop: Shop) -> None:
    """Who may read codes may do so; that it was done stands in the chain, with the last four characters."""
    sold = shop.sell()
    with shop.opened() as (catalogue, vault):
        _, opened = selling.read_codes(catalogue, vault, sold.entitlement_id, START)

    assert opened == [sold.code]
    assert notes(shop, "codeRead") == [{"codes": [codes.last_four(sold.code)]}]


def test_a_wrong_entitlement_names_the_nearest(shop: Shop) -> None:
    """A typing mistake is answered with what was probably meant."""
    sold = shop.sell()
    with pytest.raises(NotFound, match=f"did you mean {sold.entitlement_id}"):
        shop.change(sold.entitlement_id[:-1] + "-wrong", seats=5)


@pytest.mark.parametrize("called", ["acme", "acme/solver", "the beginning"])
def test_an_entitlement_goes_by_customer_product_or_the_beginning_of_its_id(shop: Shop, called: str) -> None:
    """What people have at hand is enough, as long as only one is meant."""
    sold = shop.sell()
    shop.sell("bolt")
    shop.change(sold.entitlement_id[:10] if called == "the beginning" else called, seats=5)

    assert dict(shop.rows("SELECT entitlement_id, bought FROM pool_right"))[sold.entitlement_id] == 5


def test_a_name_of_several_is_refused_with_the_choice(shop: Shop) -> None:
    """Nothing is changed by guessing."""
    first, _ = shop.sell("acme", "solver"), shop.sell("acme", "editor")
    with pytest.raises(Ambiguous, match=rf"{first.entitlement_id} \(acme/solver\)"):
        shop.change("acme", seats=5)

    assert shop.rows("SELECT DISTINCT bought FROM pool_right") == [(3,)]


# --- change --------------------------------------------------------------------------------------------------------


def test_growing_gives_room_at_once(shop: Shop) -> None:
    """More seats are there for the next program; overdraft grows along."""
    sold = shop.sell(terms=Terms(seats=1, overdraft=Overdraft.percentage(50)))
    assert isinstance(ask(shop, sold, "ann"), Served)
    assert isinstance(ask(shop, sold, "bob"), Refused)
    shop.change(sold.entitlement_id, seats=2)

    assert isinstance(ask(shop, sold, "bob"), Served)
    assert shop.rows("SELECT bought, cap FROM pool_right") == [(2, 3)]


def test_a_change_is_a_fact_with_before_and_after(shop: Shop) -> None:
    """What an entitlement was stays on record."""
    sold = shop.sell(terms=Terms(seats=3, days=10))
    until = datetime(2030, 1, 1, tzinfo=UTC)
    shop.change(sold.entitlement_id, seats=5, moves_end=True, until=until)

    assert notes(shop, "changed") == [
        {
            "seats": {"before": 3, "after": 5},
            "going": 0,
            "until": {"before": "2026-06-11T12:00:00Z", "after": "2030-01-01T00:00:00Z"},
        }
    ]


def test_shrinking_below_use_is_refused(shop: Shop) -> None:
    """Nobody loses a seat by a slip of the finger; nothing is changed by it."""
    sold = shop.sell()
    for seat in ("ann", "bob", "eve"):
        ask(shop, sold, seat)
    with pytest.raises(InUse, match="3 seats of acme's solver are taken, 2 would be left"):
        shop.change(sold.entitlement_id, seats=2)

    assert shop.rows("SELECT bought, above FROM pool_right") == [(3, 0)]


def test_shrinking_below_use_by_force_sends_holders_away(shop: Shop) -> None:
    """As many holders as are too many have to go; until their leases end the counter knows that it is above."""
    sold = shop.sell()
    for seat in ("ann", "bob", "eve"):
        ask(shop, sold, seat)
    changed = shop.change(sold.entitlement_id, seats=1, force=True)

    assert changed.going == 2
    assert shop.rows("SELECT excess FROM pool") == [(2,)]
    assert shop.rows("SELECT bought, cap, used, above FROM pool_right") == [(1, 1, 3, 2)]


def test_places_that_ended_do_not_stand_in_the_way_of_shrinking(shop: Shop) -> None:
    """What time has ended is free, whether or not a server has settled it."""
    sold = shop.sell()
    ask(shop, sold, "ann")
    ask(shop, sold, "bob")
    shop.now = START + timedelta(minutes=5)
    changed = shop.change(sold.entitlement_id, seats=1)

    assert changed.going == 0


def test_a_customer_at_work_is_not_closed_by_a_slip(shop: Shop) -> None:
    """An end before the leases that are held end is refused, in the past or not; by force it is told how many are held."""
    sold = shop.sell()
    ask(shop, sold, "ann")
    for until in (START - timedelta(days=2000), START + timedelta(minutes=1)):
        with pytest.raises(InUse, match="the lease of 1 held seat runs until 2026-06-01T12:02:00Z"):
            shop.change(sold.entitlement_id, moves_end=True, until=until)
    later = shop.change(sold.entitlement_id, moves_end=True, until=START + timedelta(minutes=2))
    forced = shop.change(sold.entitlement_id, moves_end=True, until=START, force=True)

    assert (later.working, forced.working) == (0, 1)
    assert [note.get("working") for note in notes(shop, "changed")] == [None, 1]


def test_leases_that_are_over_do_not_stand_in_the_way_of_an_end(shop: Shop) -> None:
    """Nobody is at work under them."""
    sold = shop.sell()
    ask(shop, sold, "ann")
    shop.now = START + timedelta(minutes=3)

    assert shop.change(sold.entitlement_id, moves_end=True, until=START).working == 0


def test_an_end_in_the_past_refuses_the_next_program(shop: Shop) -> None:
    """An entitlement can be ended early."""
    sold = shop.sell()
    shop.change(sold.entitlement_id, moves_end=True, until=START)
    refused = ask(shop, sold, "ann")

    assert isinstance(refused, Refused)
    assert refused.problem == "entitlement.expired"


def test_a_change_of_nothing_is_no_change() -> None:
    """A change says what is to be changed."""
    with pytest.raises(ValueError, match="--seats"):
        selling.Change()
