"""The facts of a vendor's entitlements, page by page, for whoever wants to check what happened.

Of each fact everything is given that its hash covers (`recording.body`), so that a reader can check the chain by himself. What
was pruned is not there any more; numbers go on all the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

from seatkeeper_server.service.catalogue import Bought, Catalogue
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.service.tidying import start_of


class Chain(NamedTuple):
    """The facts of an entitlement that are kept: those after one number, up to another."""

    bought: Bought
    after: int
    last: int

    @property
    def length(self) -> int:
        """How many there are."""
        return self.last - self.after


def chains(catalogue: Catalogue, tenant_id: str, entitlement_id: str | None) -> list[Chain]:
    """Give the chains of a vendor's entitlements, or of one of them; none if there is no such entitlement."""
    found = catalogue.bought(tenant_id, entitlement_id)
    return [Chain(bought, _pruned(catalogue, bought), bought.record.facts) for bought in found]


def by_number(catalogue: Catalogue, found: Sequence[Chain], skip: int, most: int) -> list[FactRecord]:
    """Give a page of facts as they were chained, entitlement by entitlement: what was on a page stays there."""
    facts: list[FactRecord] = []
    for one in found:
        here = max(0, one.length - skip)
        if here and len(facts) < most:
            facts += catalogue.chain(one.bought.key, one.last - here, one.last, most - len(facts))
        skip = max(0, skip - one.length)
    return facts


def newest(catalogue: Catalogue, found: Sequence[Chain], skip: int, most: int) -> list[FactRecord]:
    """Give a page of facts of one entitlement, or of all of a vendor's, the newest first."""
    if len(found) == 1:
        return list(catalogue.chain_back(found[0].bought.key, found[0].last - skip + 1, most))
    return list(catalogue.newest_facts(found[0].bought.key[0], skip, most)) if found else []


def _pruned(catalogue: Catalogue, bought: Bought) -> int:
    """Give the number up to which an entitlement's facts were pruned."""
    checkpoint = start_of(catalogue.checkpoint(bought.key))
    return 0 if checkpoint is None else checkpoint.number
