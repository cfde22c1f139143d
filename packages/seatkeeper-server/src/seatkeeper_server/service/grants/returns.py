"""Shares that this server gives back: nothing more is served of them, and the document says what programs still believe in.

Programs that hold a seat go on until the lease they have has ended, and no lease is signed beyond that. Whoever calls has taken
the turn (`LocalServer.take_turn`).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from seatkeeper_server.domain.borrowing import at_home
from seatkeeper_server.domain.terms import Switch
from seatkeeper_server.service import use
from seatkeeper_server.service.grants import documents, reports
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.workspace import settled
from seatkeeper_server.statements import OutStill, ShareRemoved, at


def give_back(server: LocalServer, tenant_id: str, entitlement_id: str) -> str:
    """Give an entitlement back, and give the document that says so; once more, if that got lost."""
    own, record = server.licensed(tenant_id), server.record(tenant_id, entitlement_id, again=True)
    settled(server.books.tx, record.key, server.now)
    reported, became = reports.use_of(server, record, use.MOST_HOURS)
    out = _out(server, record.key)
    server.books.sites.set_switch(record.key, Switch.EXPORTED)
    last = max((at(still.until) for still in out), default=server.now)
    server.books.set_end(record.key, last)  # and no lease beyond it
    server.books.sites.save_lent(replace(reported, ended_at=server.now))
    own = replace(own, sent=own.sent + 1)
    server.books.sites.save_own_license(own)
    said = ShareRemoved(**documents.head(server, own), sid=record.share_id, out=out, use=became)
    server.note(record.key, "shareGivenBack", {"number": record.number})
    return documents.sealed(server, own, said)


def _out(server: LocalServer, key: PoolKey) -> list[OutStill]:
    """Give what programs still believe in, by the moment until which they do."""
    by_end: dict[datetime, dict[str, int]] = {}
    for rights, until in server.books.sites.believed(key):
        if until > server.now:
            total = by_end.setdefault(until, {})
            for name, amount in at_home(rights).items():
                total[name] = total.get(name, 0) + amount
    return _stairs(by_end)


def _stairs(by_end: Mapping[datetime, Mapping[str, int]]) -> list[OutStill]:
    """Give what is out as grants that end one after the other: each says what is out until its end, later ends included."""
    total: dict[str, int] = {}
    found: list[OutStill] = []
    for until in sorted(by_end, reverse=True):
        for name, amount in by_end[until].items():
            total[name] = total.get(name, 0) + amount
        found.append(OutStill(rights=dict(total), until=until.timestamp()))
    return found
