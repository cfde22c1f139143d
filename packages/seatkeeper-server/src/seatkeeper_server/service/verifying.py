"""Checks that what happened, what is counted and what is held say the same: chains, counters, places.

For every chain each fact must link to the one before, the last must be the one that its owner remembers, and no number may be
missing. For every entitlement the facts, added up, must come to the counters; and so must the places that count.

Counters and places are read in one snapshot; the facts after it, page by page, up to where the chain ended then. Facts never
change, so a server may go on writing meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from seatkeeper_server.domain.facts import CHAIN_START, link
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service import recording
from seatkeeper_server.service.catalogue import Catalogue
from seatkeeper_server.service.explaining import read_data
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.service.tidying import ChainIsBroken, proven

AT_ONCE = 2_000  # facts read at once


Result = TypeVar("Result")


class Read(Protocol):
    """Has a question answered from one snapshot of the database."""

    def __call__(self, question: Callable[[Catalogue], Result], /) -> Result:
        """Answer it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where something does not fit: in which chain, at which fact (None: in the counters), and what."""

    tenant_id: str
    chain_id: str
    number: int | None
    what: str


@dataclass(slots=True)
class Verified:
    """What was checked, and where it broke."""

    chains: int = 0
    facts: int = 0
    counters: int = 0
    breaks: list[Break] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything fits."""
        return not self.breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The end of a chain as its owner remembers it, its counters, and what its places say that they take."""

    key: PoolKey
    facts: int
    head: bytes
    checkpoint: str | None
    signing_keys: Mapping[str, str]
    counters: Mapping[str, int]
    by_places: Mapping[str, int]


def verify(read: Read) -> Verified:
    """Check every chain and every counter of a database."""
    result = Verified()
    for one in read(lambda catalogue: list(_remembered(catalogue))):
        result.chains += 1
        result.counters += len(one.counters)
        result.breaks.extend(_walk(read, one, result))
        result.breaks.extend(_compare(one, one.by_places, "the places add up to", only=one.by_places))
    return result


def _remembered(catalogue: Catalogue) -> Iterator[Remembered]:
    for tenant in catalogue.tenants():
        key = tenant.tenant_id, tenant.tenant_id
        yield Remembered(
            key=key,
            facts=tenant.facts,
            head=tenant.head,
            checkpoint=catalogue.checkpoint(key),
            signing_keys=catalogue.signing_keys(tenant.tenant_id),
            counters={},
            by_places={},
        )
    for bought in catalogue.bought():
        tallies = bought.pool.tallies
        taken = catalogue.taken(bought.key)
        held = [key for key, tally in tallies.items() if tally.right.returnable]  # used-up amounts outlive their places
        yield Remembered(
            key=bought.key,
            facts=bought.record.facts,
            head=bought.record.head,
            checkpoint=catalogue.checkpoint(bought.key),
            signing_keys=catalogue.signing_keys(bought.key[0]),
            counters={key: tally.used for key, tally in tallies.items() if tally.right.kind is not Kind.BOOL},
            by_places={key: taken.get(key, 0) for key in held},
        )


def _walk(read: Read, one: Remembered, result: Verified) -> list[Break]:
    """Follow a chain from its start, or from the signed checkpoint behind which it was pruned.

    Stops at the first link that doesn't fit, since all later ones rest on it.
    """
    try:
        start = proven(one.checkpoint, one.key, one.signing_keys)
    except ChainIsBroken as error:
        return [_break(one, None, str(error))]
    head, number, taken = CHAIN_START, 0, Counter[str]()
    if start is not None:
        head, number, taken = bytes.fromhex(start.head), start.number, Counter(start.counters)
    for fact in _facts(read, one):
        if fact.number != number + 1:
            return [_break(one, number + 1, f"fact {number + 1} is missing; the next one there is {fact.number}")]
        head, number = link(head, recording.body(fact)), fact.number
        if head != fact.hash:
            return [_break(one, number, f"fact {number} ({fact.kind}) was changed, or one before it was")]
        taken.update(read_data(fact.data).get("taken", {}))
        result.facts += 1
    if number != one.facts or head != one.head:
        return [_break(one, number, f"the chain ends at fact {number}, but was written up to fact {one.facts}")]
    return _compare(one, taken, "the facts add up to", only=one.counters)


def _facts(read: Read, one: Remembered) -> Iterator[FactRecord]:
    after = 0
    while page := _page(read, one, after):
        yield from page
        after = page[-1].number


def _page(read: Read, one: Remembered, after: int) -> Sequence[FactRecord]:
    return read(lambda catalogue: catalogue.chain(one.key, after, one.facts, AT_ONCE))


def _compare(one: Remembered, found: Mapping[str, int], what: str, only: Mapping[str, int]) -> list[Break]:
    return [
        _break(one, None, f"{key or 'seats'}: the counter says {one.counters[key]}, {what} {found.get(key, 0)}")
        for key in only
        if one.counters[key] != found.get(key, 0)
    ]


def _break(one: Remembered, number: int | None, what: str) -> Break:
    return Break(tenant_id=one.key[0], chain_id=one.key[1], number=number, what=what)
