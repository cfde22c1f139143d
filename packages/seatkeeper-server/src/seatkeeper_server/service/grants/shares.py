"""Shares as this server has them: a grant becomes an ordinary entitlement in its own database, which ends when the grant does.

A grant is applied when it is for this server, new, and of no older session than what was applied of the same entitlement. What
programs hold stays theirs: who is one too many goes soon. Whoever calls has taken the turn (`LocalServer.take_turn`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from seatkeeper.protocol import codes
from seatkeeper_server.domain.catalogue import Borrowing
from seatkeeper_server.domain.terms import SEAT, Kind, Overdraft, Right, is_feature
from seatkeeper_server.service.catalogue import SealedCode
from seatkeeper_server.service.delegation import LentRecord, OwnLicense, TokenRefused
from seatkeeper_server.service.grants import documents
from seatkeeper_server.service.grants.server import LocalServer
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.suspicion import believe_again
from seatkeeper_server.statements import GrantGiven, Snapshot, SnapshotRight, at


def take(server: LocalServer, said: GrantGiven) -> LentRecord:
    """Have what a vendor lends; give what it rests on from now on."""
    own = _licensed_for(server, said)
    documents.apply_once(server, said)
    known = server.books.sites.lent(said.tid)
    before = next((record for record in known if record.entitlement_id == said.snapshot.entitlement_id), None)
    _refuse_older(said, before)
    server.books.sites.put_entitlement(said.tid, said.snapshot, at(said.until), server.now)
    record = _recorded(server, said, before)
    _put_rights(server, record, said.snapshot.rights)
    limits = Borrowing.of(timedelta(microseconds=said.snapshot.borrow), said.snapshot.borrow_most)
    server.books.set_borrowing(record.key, limits)
    _put_codes(server, said.tid, said.snapshot)
    if said.seq > own.epoch:  # else a later document has brought a certificate that covers this one too
        server.keys.welcome(said.tid, own.root_key or "", said.certificate, server.now)
    server.books.sites.save_lent(record)
    believe_again(server.books, replace(own, patience=timedelta(seconds=said.patience)), said, server.now)
    seats = next(right for right in said.snapshot.rights if right.key == SEAT)
    features = [
        {"key": right.key, "type": right.kind, "value": right.amount} for right in said.snapshot.rights if is_feature(right.key)
    ]
    what = {"share": said.sid, "number": said.number, "seats": seats.amount, "features": features}
    what["until"] = record.until.isoformat()
    server.note(record.key, "granted", what)
    return record


# --- what can't be applied -----------------------------------------------------------------------------------------


def _licensed_for(server: LocalServer, said: GrantGiven) -> OwnLicense:
    own = server.own(said.tid)
    if own is None or not own.is_licensed:
        raise TokenRefused("offline.wrongServer", "this server has no license from that vendor: see `seatkeeper token request`")
    if said.site != own.site_id:
        raise TokenRefused("offline.wrongServer", f"this token is for the server {said.site}, and this is {own.site_id}")
    return own


def _refuse_older(said: GrantGiven, before: LentRecord | None) -> None:
    if before is None:
        return
    if said.sid == before.share_id:
        if before.ended_at is not None:
            raise TokenRefused("offline.tooOld", "this share was given back before: it has to be lent anew")
        if said.number <= before.number:
            raise TokenRefused("offline.tooOld", "a later document of this share was applied before: ask for a fresh one")
    elif said.began <= before.began:
        raise TokenRefused(
            "offline.tooOld", "this token is of an earlier share of this entitlement than the one that was applied"
        )


# --- the entitlement as it is from now on --------------------------------------------------------------------------


def _recorded(server: LocalServer, said: GrantGiven, before: LentRecord | None) -> LentRecord:
    """Give what an entitlement rests on: a later document of a share goes on with its reports, a new share begins anew."""
    record = LentRecord(
        tenant_id=said.tid,
        entitlement_id=said.snapshot.entitlement_id,
        share_id=said.sid,
        number=said.number,
        began=said.began,
        granted_at=at(said.iat),
        until=at(said.until),
        reported_at=server.now,
    )
    if before is None or before.share_id != said.sid:
        return replace(record, base=_used_before(server, record.key))
    return replace(
        record,
        reported=before.reported,
        reported_head=before.reported_head,
        reported_at=before.reported_at,
        base=before.base,
    )


def _used_before(server: LocalServer, key: PoolKey) -> dict[str, int]:
    """Give what was used up of an entitlement by an earlier share of it: that is none of a new one's."""
    tallies = server.bought(key).pool.tallies
    return {name: tally.used for name, tally in tallies.items() if tally.right.kind is Kind.USAGE_COUNT and tally.used}


def _put_rights(server: LocalServer, record: LentRecord, rights: Sequence[SnapshotRight]) -> None:
    """Have so much of each right, and of others nothing. What is taken stays; who is one too many goes soon."""
    key, named = record.key, {said.key for said in rights}
    for name, tally in server.bought(key).pool.tallies.items():
        if name not in named and is_feature(name):
            server.books.sites.put_right(key, Right(name, tally.right.kind, 0))
    for said in rights:
        server.books.sites.put_right(key, _lent_right(said, record.base))
    seats = server.bought(key).pool.seats
    excess = max(0, seats.above - server.books.leaving(key, server.now))
    server.books.resize(key, seats, excess)


def _lent_right(said: SnapshotRight, base: Mapping[str, int]) -> Right:
    amount = None if said.amount is None else said.amount + base.get(said.key, 0)
    return Right(said.key, Kind(said.kind), amount, Overdraft(said.overdraft, said.overdraft_value))


def _put_codes(server: LocalServer, tenant_id: str, snapshot: Snapshot) -> None:
    server.books.sites.drop_codes(tenant_id, snapshot.group_id)
    for code in snapshot.codes:
        code_hash = server.keys.code_hash(tenant_id, code)
        sealed = SealedCode(
            code_hash=code_hash,
            sealed=server.keys.seal_code(tenant_id, code_hash, code),
            last_four=codes.last_four(code),
            created_at=server.now,
        )
        server.books.add_code(tenant_id, snapshot.group_id, sealed)
