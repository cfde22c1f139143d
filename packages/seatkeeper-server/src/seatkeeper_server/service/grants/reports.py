"""What this server reports to a vendor: use by the hour, which documents it has applied, and the chain of facts behind that.

A report begins where the last one ended, and covers so many hours at most; its facts end where its hours do. So a vendor finds
out a server whose data were set back, or two on one site's data. Whoever calls has taken the turn (`LocalServer.take_turn`).
"""

from collections.abc import Sequence
from dataclasses import replace

from seatkeeper_server.domain.terms import BORROWED, SEAT, Kind
from seatkeeper_server.service import use
from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.connections import Letter
from seatkeeper_server.service.delegation import LentRecord
from seatkeeper_server.service.grants import documents
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.service.workspace import settled
from seatkeeper_server.statements import Reported, UseReported


def report(server: LocalServer, tenant_id: str) -> str:
    """Report what became of everything that a vendor has lent; give the document to carry to him."""
    own = server.licensed(tenant_id)
    running = server.running(tenant_id)
    uses: list[UseReported] = []
    more = False
    for record in running:
        settled(server.books.tx, record.key, server.now)
        reported, became = use_of(server, record, use.MOST_HOURS // len(running))
        server.books.sites.save_lent(reported)
        uses.append(became)
        more = more or reported.reported_at != server.now
    own = replace(own, sent=own.sent + 1)
    server.books.sites.save_own_license(own)
    ends_at = own.lease_ends_at
    said = Reported(
        **documents.head(server, own),
        state=own.state.value,
        epoch=own.epoch,
        uses=uses,
        license_ends_at=None if ends_at is None else ends_at.timestamp(),
        more=more,
    )
    return documents.sealed(server, own, said)


def next_letter(server: LocalServer, tenant_id: str) -> tuple[Letter, bool] | None:
    """Give the next document to send to a vendor, and whether it is the last word for now; None: nothing is to be said.

    What he has not answered yet comes first, as it was made. Then it is a report.
    """
    if waiting := server.books.connections.unanswered(tenant_id):
        return waiting[0], False
    own = server.own(tenant_id)
    if own is None or not own.is_licensed:
        return None
    server.take_turn(tenant_id)
    report(server, tenant_id)
    at_end = all(record.reported_at == server.now for record in server.running(tenant_id))
    return server.books.connections.unanswered(tenant_id)[0], at_end


# --- of one share --------------------------------------------------------------------------------------------------


def use_of(server: LocalServer, record: LentRecord, most_hours: int) -> tuple[LentRecord, UseReported]:
    """Give a report of what became of a share since the last one, and the record that it was made."""
    bought = server.bought(record.key)
    tallies = bought.pool.tallies
    since = min(record.reported_at or record.granted_at, server.now)
    until = min(server.now, use.hour_of(since) + most_hours * use.HOUR)
    facts: Sequence[FactRecord] = server.books.sites.facts_after(record.key, record.reported)
    later: Sequence[FactRecord] = ()
    if until < server.now:
        facts, later = use.cut(facts, until)
    last = facts[-1] if facts else None
    new = [fact for fact in facts if fact.recorded_at >= since]  # else of an earlier share of the same entitlement
    became = UseReported(
        sid=record.share_id,
        number=record.number,
        settled=_keeps_to(server, record, bought),
        after=record.reported,
        after_head=record.reported_head,
        upto=record.reported if last is None else last.number,
        head=record.reported_head if last is None else last.hash.hex(),
        used=bought.pool.seats.used,
        hours=use.by_hour(new, tallies[SEAT].used - use.moved(later), since, until),
        used_up={
            key: tally.used - record.base.get(key, 0) for key, tally in tallies.items() if tally.right.kind is Kind.USAGE_COUNT
        },
    )
    return replace(record, reported=became.upto, reported_head=became.head, reported_at=until), became


def _keeps_to(server: LocalServer, record: LentRecord, bought: Bought) -> bool:
    """Tell whether nobody holds more than the newest document allows, or for longer."""
    if any(tally.is_overfull for key, tally in bought.pool.tallies.items() if key != BORROWED):
        return False
    latest = record.until + bought.pool.terms.margin
    return all(until <= latest for _, until in server.books.sites.believed(record.key))
