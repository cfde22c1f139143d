"""The facts of what was sold, page by page, on every database, also when the first ones were pruned."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seatkeeper.protocol import envelopes
from seatkeeper_server.service import auditing
from seatkeeper_server.service.tidying import CHECKPOINT, Tidying
from seatkeeper_server.store.pruning import Pruning
from tests.selling.conftest import Shop

HOUR = timedelta(hours=1)


@pytest.fixture
def sold(shop: Shop) -> list[str]:
    """Two entitlements with facts by turns: the first has four, the second three. Each says how many seats there are."""
    first = shop.sell("acme", "solver").entitlement_id
    second = shop.sell("acme", "mesher").entitlement_id
    for seats, entitlement_id in ((4, first), (5, second), (6, first), (7, second), (8, first)):
        shop.now += HOUR
        shop.change(entitlement_id, seats=seats)
    return [first, second]


def pages(shop: Shop, read: str, entitlement_id: str | None = None, size: int = 2) -> list[tuple[str, int]]:
    """Go through all pages; which fact of which entitlement was on them, in order."""
    with shop.opened() as (catalogue, _):
        tenant_id = catalogue.tenants()[0].tenant_id
        found = auditing.chains(catalogue, tenant_id, entitlement_id)
        total = sum(chain.length for chain in found)
        facts = [
            fact for skip in range(0, total + size, size) for fact in getattr(auditing, read)(catalogue, found, skip, size)
        ]
    assert len(facts) == total
    return [(fact.chain_id, fact.number) for fact in facts]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_every_fact_is_on_one_page(shop: Shop, sold: list[str], size: int) -> None:
    """The newest first, whichever entitlement it is of; or one entitlement after the other. The vendor's own are left out."""
    first, second = sold
    newest = [(first, 4), (second, 3), (first, 3), (second, 2), (first, 2), (second, 1), (first, 1)]

    assert pages(shop, "newest", size=size)[:5] == newest[:5]
    assert sorted(pages(shop, "newest", size=size)) == sorted(newest)
    assert pages(shop, "by_number", size=size) == [*((second, n) for n in (1, 2, 3)), *((first, n) for n in (1, 2, 3, 4))]
    assert pages(shop, "newest", first, size) == [(first, 4), (first, 3), (first, 2), (first, 1)]
    assert pages(shop, "by_number", second, size) == [(second, 1), (second, 2), (second, 3)]


def test_what_was_pruned_is_on_no_page(shop: Shop, sold: list[str]) -> None:
    """Numbers go on; what is left is counted."""
    first, second = sold
    key = Ed25519PrivateKey.generate()
    tidying = Tidying(lambda _, text: envelopes.sign(text, typ=CHECKPOINT, kid="k", key=key), facts_kept=3 * HOUR)
    with shop.opened() as (catalogue, _):
        tidying.prune(Pruning(catalogue.tx), (catalogue.tenants()[0].tenant_id, first), shop.now)

    assert pages(shop, "newest", first) == [(first, 4), (first, 3)]
    assert pages(shop, "by_number", first) == [(first, 3), (first, 4)]
    assert sorted(pages(shop, "newest")) == sorted([*pages(shop, "by_number", first), *pages(shop, "by_number", second)])
