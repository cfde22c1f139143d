"""Explains a refusal by its id, long after: when, who, by which rule, how full it was, who was there, whom to ask.

A refusal was written down (`Denied`), or counted: with a holder's repeats or a pool's flood, under the id of the minute it
was counted in, either written down since (`DeniedAgain`) or still being counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import json

from seatkeeper.protocol.codes import canonical
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import Catalogue, Counting, LogRow, NotFound, Sitting

HOLDERS_NAMED = 20
CHARACTERS = 6  # of a refusal's id after its `D-`

_CAME = frozenset({"Claimed", "Resumed", "TakenOver", "Retaken", "Restored"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why somebody was refused. `repeats` counts refusals under the same id that were not written down one by one.

    `limit`, `used`, `overdraft`, `feature` and `holders` are known for refusals that a pool decided and wrote down;
    `hint` is the end of a code that nobody knows; `who` is None for a flood of ever new seats.
    """

    denial_id: str
    rule: str
    at: datetime
    until: datetime
    tenant_id: str
    entitlement_id: str | None
    customer: str | None
    product: str | None
    who: Who | None
    feature: str = ""
    wanted: int = 1
    limit: int | None = None
    used: int | None = None
    overdraft: int = 0
    hint: str = ""
    repeats: int = 0
    holders: tuple[str, ...] = ()
    holders_more: int = 0
    contact: str | None = None


def explain(catalogue: Catalogue, denial_id: str) -> Explanation:
    """Explain the refusal of that id, however it is typed.

    Raises:
        NotFound: no refusal has this id, or its facts were pruned.
    """
    wanted = _spelt(denial_id)
    written, counting = catalogue.refusal(wanted)
    told = [_of_row(row) for row in written] + ([_of_counting(counting)] if counting else [])
    if not told:
        raise NotFound("refusal", wanted, catalogue.refusal_ids(), "nobody was refused as far as is remembered")
    there = _there_before(catalogue, written)
    return replace(
        told[0],
        until=max(one.until for one in told),
        repeats=sum(one.repeats for one in told),
        holders=tuple(there[:HOLDERS_NAMED]),
        holders_more=max(0, len(there) - HOLDERS_NAMED),
        contact=next((one.contact for one in catalogue.tenants() if one.tenant_id == told[0].tenant_id), None),
    )


def _spelt(denial_id: str) -> str:
    """Give the one spelling of an id: with or without its `D-`, and whichever of the letters that look alike were read."""
    plain = canonical(denial_id)
    return f"D-{plain[1:] if len(plain) > CHARACTERS and plain.startswith('D') else plain}"


def _of_row(row: LogRow) -> Explanation:
    fact, said = row.fact, read_data(row.fact.data)
    return Explanation(
        denial_id=fact.denial_id or "",
        rule=said.get("rule", ""),
        at=fact.at,
        until=datetime.fromisoformat(said["until"]) if "until" in said else fact.at,
        tenant_id=fact.tenant_id,
        entitlement_id=None if fact.chain_id == fact.tenant_id else fact.chain_id,
        customer=row.customer,
        product=row.product,
        who=row.who,
        feature=said.get("key", ""),
        wanted=said.get("wanted", 1),
        limit=said.get("limit"),
        used=said.get("used"),
        overdraft=said.get("overdraft", 0),
        hint=said.get("hint", ""),
        repeats=said.get("count", 0),
    )


def _of_counting(counting: Counting) -> Explanation:
    return Explanation(
        denial_id=counting.denial_id,
        rule=counting.rule,
        at=counting.since,
        until=counting.until,
        tenant_id=counting.tenant_id,
        entitlement_id=None if counting.chain_id == counting.tenant_id else counting.chain_id,
        customer=counting.customer,
        product=counting.product,
        who=counting.who,
        repeats=counting.count,
    )


def read_data(text: str) -> dict[str, Any]:  # a fact's own words: what they are depends on its kind
    """Read what a fact says beyond its fixed columns."""
    said: dict[str, Any] = json.decode(text)
    return said


def _there_before(catalogue: Catalogue, written: list[LogRow]) -> list[str]:
    """Name those whose places counted when the refusal was written down."""
    first = next((row.fact for row in written if row.fact.kind == "Denied" and row.fact.chain_id != row.fact.tenant_id), None)
    return [] if first is None else _present(catalogue.sittings(first))


def _present(sittings: Iterable[Sitting]) -> list[str]:
    """Go through who came and went. A place that is only kept (returned with linger, taken back) still counts."""
    places: dict[tuple[str, int], str] = {}
    for one in sittings:
        said = read_data(one.data)
        if one.kind in _CAME:
            _sit_down(places, one)
        elif one.kind == "Freed" and said.get("past"):
            _leave(places, one.activation_id, last=False)
        elif one.kind in ("Expired", "Freed") or "free_at" not in said:
            _leave(places, one.activation_id, last=True)
    return list(places.values())


def _sit_down(places: dict[tuple[str, int], str], one: Sitting) -> None:
    copies = [copy for activation, copy in places if activation == one.activation_id]
    if one.kind == "TakenOver" and copies:
        places[one.activation_id, max(copies) + 1] = one.name
    elif not copies:
        places[one.activation_id, 0] = one.name


def _leave(places: dict[tuple[str, int], str], activation_id: str, *, last: bool) -> None:
    copies = [copy for activation, copy in places if activation == activation_id]
    if copies:
        del places[activation_id, max(copies) if last else min(copies)]
