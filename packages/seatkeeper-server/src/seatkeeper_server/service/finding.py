"""Finds what was sold as people name it: by an entitlement's id, the beginning of one, a customer, or customer/product.

Whoever only looks is shown all that fit; whoever changes something has to name one, and is told which there are.
"""

from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.service.catalogue import Bought, CannotDo, Catalogue, NotFound

BEGINNING = 8  # characters of an id that are enough to name it: `ent_` and four of its own
CHOICES = 5


class Ambiguous(CannotDo):
    """Several are called that. Name one of them by its id."""


def matching(catalogue: Catalogue, called: str) -> list[Bought]:
    """Give every entitlement that goes by this name.

    Raises:
        NotFound: none does; the message names the nearest.
    """
    if found := catalogue.bought(entitlement_id=called):
        return found
    everything = catalogue.bought()
    found = [bought for bought in everything if _is_called(bought, called)]
    if not found:
        known = [name for bought in everything for name in (bought.entitlement_id, bought.customer, _pair(bought))]
        raise NotFound("entitlement", called, known, "nothing has been sold yet: see `seatkeeper sell --help`")
    return found


def find(catalogue: Catalogue, called: str) -> Bought:
    """Give the one entitlement that goes by this name, to be changed: nobody else changes it until the transaction ends.

    Raises:
        NotFound: none does; the message names the nearest.
        Ambiguous: several do; the message names them.
    """
    found = matching(catalogue, called)
    if len(found) > 1:
        choices = ", ".join(f"{bought.entitlement_id} ({_pair(bought)})" for bought in found[:CHOICES])
        more = f" and {len(found) - CHOICES} more" if len(found) > CHOICES else ""
        raise Ambiguous(f"{len(found)} entitlements are called {quoted(called)}: name one of {choices}{more}")
    return catalogue.to_change(found[0])


def _is_called(bought: Bought, called: str) -> bool:
    begins = len(called) >= BEGINNING and bought.entitlement_id.startswith(called)
    return begins or called in (bought.customer, _pair(bought))


def _pair(bought: Bought) -> str:
    return f"{bought.customer}/{bought.product}"
