"""Keeps a database from growing without end, in short steps that nobody waits for.

What goes: idempotency keys whose time is over; seats that ended long ago; facts older than their retention. Facts go only
behind a signed checkpoint, which says up to which number they were pruned, the hash the chain had there, and what the
counters had come to: so that the rest of the chain can still be checked from there (decision 6).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import DecodeError, Struct, json

from seatkeeper.protocol.envelopes import EnvelopeError, open_envelope, peek, read_public_key
from seatkeeper_server.domain.facts import CHAIN_START, link
from seatkeeper_server.service import recording
from seatkeeper_server.service.ports import FactRecord, PoolKey

FACTS_KEPT = timedelta(days=400)  # a year's charts and a month to look at them
SEATS_KEPT = timedelta(days=30)  # after which a token of an ended seat means "gone"
AT_ONCE = 2_000  # facts pruned in one transaction
CHAINS_AT_ONCE = 500  # whose holders are forgotten in one transaction

CHECKPOINT = "seatkeeper-checkpoint+jwt"


class ChainIsBroken(Exception):
    """Facts don't fit their chain, so they are not pruned. Run `seatkeeper verify` to see where."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What the pruned facts of a chain came to. `head` is the hash of fact `number`, in hex."""

    tid: str
    chain: str
    number: int
    head: str
    counters: dict[str, int]
    iat: float


class Kept(Protocol):
    """What tidying needs of a transaction."""

    def forget_keyed(self, now: datetime) -> None:
        """Forget idempotency keys whose time is over."""
        ...

    def forget_holdings(self, before: datetime) -> None:
        """Forget seats that ended before a moment."""
        ...

    def forget_holders(self, now: datetime, most: int) -> int:
        """Forget who is who where nothing is left that speaks of him, in so many chains; how many holders were forgotten."""
        ...

    def old_chains(self, before: datetime) -> list[PoolKey]:
        """Give the chains that have facts recorded before a moment."""
        ...

    def facts_before(self, key: PoolKey, before: datetime, limit: int) -> list[FactRecord]:
        """Give the first facts of a chain, up to the first one that was recorded at a moment or later."""
        ...

    def checkpoint(self, key: PoolKey) -> str | None:
        """Give a chain's last checkpoint."""
        ...

    def prune(self, key: PoolKey, number: int, at: datetime, signed: str) -> None:
        """Forget a chain's facts up to a number, behind a checkpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Tidying:
    """The use case of tidying; each method is one short transaction's work. `sign(tenant, payload)` signs a checkpoint."""

    sign: Callable[[str, bytes], str]
    facts_kept: timedelta = FACTS_KEPT
    seats_kept: timedelta = SEATS_KEPT

    def forget(self, kept: Kept, now: datetime) -> None:
        """Forget keys and seats that are of no use to anybody any more."""
        kept.forget_keyed(now)
        kept.forget_holdings(now - self.seats_kept)

    def forget_holders(self, kept: Kept, now: datetime) -> bool:
        """Forget names, hosts and addresses that nothing speaks of any more, a good number at a time; may there be more?

        It looks at all of them, so do it seldom.
        """
        return kept.forget_holders(now, CHAINS_AT_ONCE) > 0

    def old_chains(self, kept: Kept, now: datetime) -> list[PoolKey]:
        """Give the chains that may have facts to prune."""
        return kept.old_chains(now - self.facts_kept)

    def prune(self, kept: Kept, key: PoolKey, now: datetime) -> bool:
        """Prune the oldest facts of a chain, a good number at a time; tell whether there may be more.

        Raises:
            ChainIsBroken: the chain is left as it is, as evidence.
        """
        facts = kept.facts_before(key, now - self.facts_kept, AT_ONCE)
        if not facts:
            return False
        after = came_to(start_of(kept.checkpoint(key)), key, facts, now)
        kept.prune(key, after.number, now, self.sign(key[0], json.encode(after)))
        return len(facts) == AT_ONCE


def start_of(checkpoint: str | None) -> Checkpoint | None:
    """Read a checkpoint of this very database; `proven` is for those who don't trust it.

    Raises:
        ChainIsBroken: it is not one.
    """
    if checkpoint is None:
        return None
    try:
        return json.decode(peek(checkpoint), type=Checkpoint)
    except (EnvelopeError, DecodeError) as error:
        raise ChainIsBroken(f"a checkpoint can't be read: {error}") from error


def proven(checkpoint: str | None, key: PoolKey, signing_keys: Mapping[str, str]) -> Checkpoint | None:
    """Read a checkpoint of a chain whose signature is by one of the tenant's keys.

    Raises:
        ChainIsBroken: it was forged, changed, or belongs to another chain.
    """
    if checkpoint is None:
        return None
    try:
        known = {kid: read_public_key(text) for kid, text in signing_keys.items()}
        found = json.decode(open_envelope(checkpoint, typ=CHECKPOINT, keys=known), type=Checkpoint)
    except (EnvelopeError, DecodeError) as error:
        raise ChainIsBroken(f"its checkpoint is not to be believed: {error}") from error
    if (found.tid, found.chain) != key:
        raise ChainIsBroken("its checkpoint belongs to another chain")
    return found


def came_to(before: Checkpoint | None, key: PoolKey, facts: list[FactRecord], now: datetime) -> Checkpoint:
    """Add facts up from a checkpoint, checking each link.

    Raises:
        ChainIsBroken: a fact is missing or was changed.
    """
    head, number = (bytes.fromhex(before.head), before.number) if before else (CHAIN_START, 0)
    counters = Counter(before.counters if before else {})
    for fact in facts:
        head, number = link(head, recording.body(fact)), number + 1
        if (fact.number, fact.hash) != (number, head):
            raise ChainIsBroken(f"{key[1]}: fact {number} is missing or was changed")
        counters.update(json.decode(fact.data).get("taken", {}))
    totals = {right: amount for right, amount in counters.items() if amount}
    return Checkpoint(tid=key[0], chain=key[1], number=number, head=head.hex(), counters=totals, iat=now.timestamp())
