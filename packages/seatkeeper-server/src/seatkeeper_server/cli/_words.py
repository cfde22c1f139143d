"""Says in a sentence what a fact means, for the log. A fact's data never holds a code or a key, so neither does a sentence."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from seatkeeper_server.cli._output import amounts, clock, counted, day, number
from seatkeeper_server.domain.terms import BORROWED, SEAT, is_feature
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import LogRow
from seatkeeper_server.service.explaining import read_data

Said = Mapping[str, Any]  # a fact's own words: what they are depends on its kind


def name_of(who: Who | None) -> str:
    """Give what a holder is called; of one who only failed to prove who he is, his address."""
    if who is None:
        return ""
    return who.seat_name or who.seat_id or who.address or ""


def sentence(row: LogRow) -> str:
    """Say what a fact means."""
    said = read_data(row.fact.data)
    if row.fact.kind == "Note":
        told = _NOTES.get(str(said.get("what")))
        return told(said.get("data", {})) if told else str(said.get("what"))
    told = _KINDS.get(row.fact.kind)
    text = told(said) if told else row.fact.kind
    return f"{text} ({row.fact.denial_id})" if row.fact.denial_id else text


def _granted(text: str) -> Callable[[Said], str]:
    def told(said: Said) -> str:
        features = {key: amount for key, amount in said.get("rights", {}).items() if is_feature(key) and amount}
        with_what = f" with {amounts(features)}" if features else ""
        how = "borrowed" if BORROWED in said.get("rights", {}) else "lease"
        return f"{text}{with_what}, {how} until {_clock(said.get('expires_at'))}"

    return told


def _returned(said: Said) -> str:
    return "gave the seat back" + (f", its place counts until {_clock(said['free_at'])}" if "free_at" in said else "")


def _taken_back(said: Said) -> str:
    counts = f"counts until {_clock(said['free_at'])}" if "free_at" in said else "free at once"
    by = {"operator": "an operator took it back", "shrinking": "fewer are bought now"}.get(str(said.get("by")), said.get("by"))
    return f"lost the seat: {by}; place {counts}"


def _denied(said: Said) -> str:
    rule, hint = said.get("rule"), said.get("hint")
    if rule == "credentials":
        return f"refused: unknown code or product{f', code ends in {hint}' if hint else ''}"
    if rule not in ("pool-full", "feature-exhausted"):
        return f"refused: {rule}"
    what = f"feature {said['key']}" if said.get("key") else "seats"
    return f"refused: {rule}, {said.get('used')} of {number(said.get('limit'))} {what} taken"


def _lent(said: Said) -> str:
    seats = sum(layer.get("rights", {}).get(SEAT, 0) for layer in said.get("layers", []))
    if not said.get("layers"):
        return "gave everything back that it was lent"
    until = max((layer["free_at"] for layer in said["layers"]), default=None)
    why = {"confirmed": "keeps to", "returned": "gave back what it was lent, but for"}.get(str(said.get("cause")), "was lent")
    return f"{why} {counted(seats, 'seat')}, which count until {_clock(until)}"


def _amount(text: str) -> Callable[[Said], str]:
    return lambda said: text.format(amount=said.get("amount"), key=said.get("key"))


_KINDS: Mapping[str, Callable[[Said], str]] = {
    "Claimed": _granted("took a seat"),
    "Resumed": _granted("took the same seat again"),
    "TakenOver": _granted("took the seat over from an older copy"),
    "Retaken": _granted("took the lapsed seat again"),
    "Refreshed": _granted("is still there"),
    "Restored": _granted("showed a lease that this database had forgotten: it was restored"),
    "CloneSuspected": lambda said: "showed a lease that this database can't have signed",
    "Returned": _returned,
    "Expired": lambda said: f"lease ended without a refresh, place free at {_clock(said.get('free_at'))}",
    "Freed": lambda said: f"place came back ({said.get('cause')})",
    "TakenBack": _taken_back,
    "CheckedOut": _amount("checked out {amount} of {key}"),
    "GivenBack": _amount("gave {amount} of {key} back"),
    "Used": _amount("used {key}"),
    "ShareLent": _lent,
    "Denied": _denied,
    "DeniedAgain": lambda said: f"refused {counted(said.get('count', 0), 'time')} more: {said.get('rule')}",
}


def _changed(data: Said) -> str:
    parts = []
    if "seats" in data:
        parts.append(f"seats {data['seats']['before']} to {data['seats']['after']}")
    if "until" in data:
        parts.append(f"end {_day(data['until']['before'])} to {_day(data['until']['after'])}")
    if "borrow" in data:
        parts.append(f"borrowing {data['borrow']['before']} to {data['borrow']['after']}")
    if data.get("going"):
        parts.append(f"{counted(data['going'], 'holder')} to go")
    if data.get("working"):
        parts.append(f"{counted(data['working'], 'seat')} held beyond the new end")
    return f"changed: {', '.join(parts)}"


_NOTES: Mapping[str, Callable[[Said], str]] = {
    "tenantMade": lambda data: "vendor made, with keys",
    "sold": lambda data: (
        f"sold: {counted(data.get('seats', 0), 'seat')} until {_day(data.get('until'))}, code ends in {data.get('code')}"
    ),
    "changed": _changed,
    "madeUp": lambda data: "made up: nothing of this happened",
    "codeRead": lambda data: f"activation code read: ends in {', '.join(data.get('codes', []))}",
    "contactChanged": lambda data: f"refused users are told to ask {data.get('after') or 'nobody'}",
    "unblocked": lambda data: "is not blocked any more",
    "blocked": lambda data: f"is refused until {_clock(data.get('until'))}",
    "downtime": lambda data: f"server was down for {data.get('seconds', 0):.0f} s; leases got the time back",
    "restored": lambda data: f"restored from the backup of {_clock(data.get('backup'))}; epoch {data.get('epoch')} begins",
    "siteLicensed": lambda data: f"local server {data.get('name')} was licensed",
    "siteEnded": lambda data: f"local server {data.get('name')} has no license any more",
    "reportGap": lambda data: f"a report doesn't fit: {data.get('what')}",
    "licensed": lambda data: "this local server was licensed",
    "granted": lambda data: f"was lent to this server until {_clock(data.get('until'))} (document {data.get('number')})",
    "shareGivenBack": lambda data: "was given back to the vendor",
    "grantRunsOut": lambda data: (
        f"its grant is over since {_clock(data.get('until'))}"
        if data.get("percent") == 100
        else f"{data.get('percent')} % of its grant's time have passed; it ends at {_clock(data.get('until'))}"
    ),
    "suspect": lambda data: f"this server is {data.get('state')} from now on; a fresh token from the vendor clears it",
    "clockSetBack": lambda data: f"clock set back by {data.get('seconds', 0):.0f} s",
}


def _clock(text: str | None) -> str:
    return clock(datetime.fromisoformat(text) if text else None)


def _day(text: str | None) -> str:
    return day(datetime.fromisoformat(text) if text else None)
