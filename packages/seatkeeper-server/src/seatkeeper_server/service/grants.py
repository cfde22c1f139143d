"""A local server's side of lending: it asks for its license, applies what its vendor sends, reports, and gives back.

What it was lent becomes an ordinary entitlement in its own database, under the ids that it has at the vendor's; so a program
changes nothing but a URL, and the pool machine needs to know nothing of this. A grant's end is the entitlement's end here.

A document is applied when it is sealed to this server, signed by a key that the vendor's root certified for himself, meant for
this server's id, new, and of no older session than what was applied of the same entitlement. Everything else is refused by
name, and nothing changes. A fresh document also clears the server of suspicion: that the vendor made it shows that he knows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from seatkeeper.protocol import codes as activation_codes
from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.borrowing import at_home
from seatkeeper_server.domain.catalogue import Borrowing
from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.terms import BORROWED, SEAT, Kind, Overdraft, Right, Switch, is_feature
from seatkeeper_server.service import recording, use
from seatkeeper_server.service.catalogue import Bought, CannotDo, NotFound, SealedCode
from seatkeeper_server.service.connections import Letter
from seatkeeper_server.service.delegation import (
    Applied,
    Books,
    Keyholder,
    Lent,
    LentRecord,
    License,
    OwnLicense,
    TokenRefused,
    readable,
    writable,
)
from seatkeeper_server.service.ports import FactRecord, PoolKey
from seatkeeper_server.service.suspicion import suspect
from seatkeeper_server.service.timekeeping import set_clock_back
from seatkeeper_server.service.workspace import settled
from seatkeeper_server.statements import (
    GrantGiven,
    LicenseEnded,
    LicenseGiven,
    LicenseRequest,
    OutStill,
    Reported,
    ShareRemoved,
    Snapshot,
    SnapshotRight,
    UseReported,
)

MAX_NAME: Final = 50  # characters of a server's name
COPIES_APART: Final = timedelta(minutes=5)  # by how much a vendor's clock may be behind a server's whose data were set back
CLOCKS_AGREE: Final = timedelta(days=1)  # a clock that is further behind the vendor's document is itself wrong

Random = Callable[[int], bytes]


class Grants:
    """What this server was licensed and lent, within one transaction."""

    def __init__(self, books: Books, keys: Keyholder, *, now: datetime, random: Random) -> None:
        self._books = books
        self._keys = keys
        self._now = now
        self._random = random

    # --- the license -----------------------------------------------------------------------------------------------

    def license(self, tenant_id: str | None = None) -> License | None:
        """Give this server's license from a vendor, or from the only one; None if it was never asked for."""
        mine = [one for one in self._books.sites.own_licenses() if tenant_id in (None, one.tenant_id)]
        return self._shown(mine[0]) if mine else None

    def licenses(self) -> list[License]:
        """Give this server's licenses, one a vendor."""
        return [self._shown(one) for one in self._books.sites.own_licenses()]

    def _shown(self, own: OwnLicense) -> License:
        is_given = own.site_id is not None and own.ended_at is None
        over = own.lease_ends_at is not None and own.lease_ends_at <= self._now
        return License(
            tenant_id=own.tenant_id,
            status="notActive" if not is_given else "expired" if over else "active",
            site_id=own.site_id,
            name=own.name,
            lease_ends_at=own.lease_ends_at,
            state=own.state,
            serves_until=own.suspect_until,
        )

    def request(self, tenant_id: str, code: str, name: str) -> str:
        """Ask a vendor for a license, under his activation code; give the document to carry to him.

        Raises:
            CannotDo: the code is mistyped, or the name can't be one.
        """
        if activation_codes.is_mistyped(code):
            raise CannotDo("the activation code is mistyped: its check character doesn't fit")
        if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
            raise CannotDo(f"a server's name is 1 to {MAX_NAME} printable characters")
        known = self._own(tenant_id)
        challenge = b64url(self._random(24))
        asked = OwnLicense(tenant_id=tenant_id, name=name.strip(), challenge=challenge, asked_at=self._now)
        kept = asked if known is None else replace(known, challenge=challenge, name=asked.name, asked_at=self._now)
        self._books.sites.save_own_license(kept)
        signer = self._keys.own_signing_key(self._now)
        said = LicenseRequest(
            tid=tenant_id,
            jti=b64url(self._random(16)),
            iat=self._now.timestamp(),
            name=asked.name,
            challenge=challenge,
            signing_key=envelopes.public_key_text(signer.public_key()),
            sealing_key=self._sealing_key(),
            iss=self._keys.database_id(),
        )
        return tokens.sealed_by_code(said, signer=signer, code=code)

    def deactivate(self, tenant_id: str) -> str:
        """Give the license back, which takes effect at once, and give the document that says so.

        Raises:
            CannotDo: there is none, or something is still lent under it.
        """
        own = self._licensed(tenant_id)
        if lent := self._running(tenant_id):
            raise CannotDo(
                f"{len(lent)} entitlements are still lent to this server: give them back first (`seatkeeper token remove`)"
            )
        own = replace(own, sent=own.sent + 1, ended_at=self._now)
        self._books.sites.save_own_license(own)
        return self._sealed(own, LicenseEnded(**self._head(own), name=own.name))

    # --- what is lent ----------------------------------------------------------------------------------------------

    def entitlements(self, tenant_id: str) -> list[Lent]:
        """Give what a vendor has lent to this server."""
        return [self._lent(record) for record in self._running(tenant_id)]

    def entitlement(self, tenant_id: str, entitlement_id: str) -> Lent:
        """Give one entitlement that was lent.

        Raises:
            NotFound: there is none of that id.
        """
        return self._lent(self._record(tenant_id, entitlement_id))

    def remove(self, tenant_id: str, entitlement_id: str) -> str:
        """Give an entitlement back: nothing more is served from it; give the document that says so.

        Programs that hold a seat go on until the lease they have has ended; the document says how many, and until when.

        Raises:
            NotFound: there is none of that id.
        """
        self._take_turn(tenant_id)
        own, record = self._licensed(tenant_id), self._record(tenant_id, entitlement_id, again=True)
        settled(self._books.tx, record.key, self._now)
        reported, report = self._reported(record, use.MOST_HOURS)
        out = self._out(record.key)
        self._books.sites.set_switch(record.key, Switch.EXPORTED)
        self._books.sites.set_end(
            record.key, max((_at(still.until) for still in out), default=self._now)
        )  # and no lease beyond it
        self._books.sites.save_lent(replace(reported, ended_at=self._now))
        own = replace(own, sent=own.sent + 1)
        self._books.sites.save_own_license(own)
        said = ShareRemoved(**self._head(own), sid=record.share_id, out=out, use=report)
        self._note(record.key[1], tenant_id, "shareGivenBack", {"number": record.number})
        return self._sealed(own, said)

    def report(self, tenant_id: str) -> str:
        """Report what became of everything that a vendor has lent; give the document to carry to him.

        Raises:
            CannotDo: this server has no license from him.
        """
        self._take_turn(tenant_id)
        own = self._licensed(tenant_id)
        running = self._running(tenant_id)
        uses: list[UseReported] = []
        more = False
        for record in running:
            settled(self._books.tx, record.key, self._now)
            reported, report = self._reported(record, use.MOST_HOURS // len(running))
            self._books.sites.save_lent(reported)
            uses.append(report)
            more = more or reported.reported_at != self._now
        own = replace(own, sent=own.sent + 1)
        self._books.sites.save_own_license(own)
        ends_at = own.lease_ends_at
        said = Reported(
            **self._head(own),
            state=own.state.value,
            epoch=own.epoch,
            uses=uses,
            license_ends_at=None if ends_at is None else ends_at.timestamp(),
            more=more,
        )
        return self._sealed(own, said)

    def next_letter(self, tenant_id: str) -> tuple[Letter, bool] | None:
        """Give the next document to send to a vendor, and whether it is the last word for now: None if there is nothing to say.

        What he has not answered yet comes first, as it was made. Then it is a report.
        """
        if waiting := self._books.connections.unanswered(tenant_id):
            return waiting[0], False
        own = self._own(tenant_id)
        if own is None or own.site_id is None or own.ended_at is not None:
            return None
        self.report(tenant_id)
        at_end = all(record.reported_at == self._now for record in self._running(tenant_id))
        return self._books.connections.unanswered(tenant_id)[0], at_end

    def heed(self, tenant_id: str, state: SiteState) -> None:
        """Note that the vendor doesn't believe this server: it goes on as long as its grants say."""
        suspect(self._books, tenant_id, state, self._now)

    # --- documents from the vendor ---------------------------------------------------------------------------------

    def apply(self, token: str) -> Applied:
        """Apply a document from a vendor.

        Raises:
            TokenRefused: it can't be applied here.
        """
        said = self._opened(token)
        self._take_turn(said.tid)
        match said:
            case LicenseGiven():
                self._take_license(said)
                until = _moment(said.lease_ends_at)
                return Applied("license", f"this server is licensed by {said.vendor} as {said.name}, until {until}")
            case GrantGiven():
                lent = self._take_grant(said)
                seats = next((right.amount for right in said.snapshot.rights if right.key == SEAT), 0)
                until = _moment(said.until)
                return Applied(
                    "grant", f"{seats} seats of {lent.bought.product} for {lent.bought.customer} are lent until {until}"
                )

    def read(self, token: str) -> statements.FromVendor:
        """Give what a document says that a vendor has sent, without applying it.

        Raises:
            TokenRefused: it can't be read here.
        """
        return self._opened(token)

    def applied_entitlement(self, token: str) -> Lent:
        """Apply a document that lends something, and give what it lends.

        Raises:
            TokenRefused: it can't be applied here, or lends nothing.
        """
        said = self._opened(token)
        if not isinstance(said, GrantGiven):
            raise TokenRefused("offline.wrongKind", "this token lends nothing: apply it as a license")
        self._take_turn(said.tid)
        return self._take_grant(said)

    def _opened(self, token: str) -> statements.FromVendor:
        own = self._keys.sealing_key("", self._now)
        if readable(lambda: tokens.receiver_of(token)) != statements.sealing_kid(statements.public_text(own)):
            raise TokenRefused("offline.wrongServer", "this token was made for another server: carry it to the one it is for")
        return readable(lambda: tokens.open_from_vendor(token, own=own, root_of=self._root_of))

    def _root_of(self, said: statements.FromVendor) -> str | None:
        """Give the root to believe: the one that was believed before; at first, the one of who repeats the challenge."""
        own = self._own(said.tid)
        if own is None:
            return None
        if own.root_key is not None:
            return own.root_key
        answers = isinstance(said, LicenseGiven) and said.challenge == own.challenge
        return said.root if isinstance(said, LicenseGiven) and answers else None

    def _take_license(self, said: LicenseGiven) -> None:
        own = self._own(said.tid)
        assert own is not None  # else its root would not have been believed
        self._apply_once(said)
        if own.site_id is not None and own.ended_at is None and said.site != own.site_id:
            raise TokenRefused("offline.wrongServer", f"this token is for the server {said.site}, and this is {own.site_id}")
        if said.seq <= own.epoch and said.site == own.site_id:
            raise TokenRefused("offline.tooOld", "a later document from this vendor was applied before: ask for a fresh one")
        self._books.sites.put_tenant(said.tid, said.vendor, said.contact, self._now)
        self._keys.welcome(said.tid, said.root, said.certificate, self._now)
        given = replace(
            own,
            site_id=said.site,
            name=said.name,
            root_key=said.root,
            sealing_key=said.sealing_key,
            lease_ends_at=_at(said.lease_ends_at),
            patience=timedelta(seconds=said.patience),
            ended_at=None,
        )
        self._believe_again(given, said)
        self._note(said.tid, said.tid, "licensed", {"site": said.site})

    def _take_grant(self, said: GrantGiven) -> Lent:
        own = self._licensed_for(said)
        self._apply_once(said)
        before = next((r for r in self._books.sites.lent(said.tid) if r.entitlement_id == said.snapshot.entitlement_id), None)
        self._refuse_older(said, before)
        key = said.tid, said.snapshot.entitlement_id
        until = _at(said.until)
        is_new = before is None or before.share_id != said.sid
        self._books.sites.put_entitlement(said.tid, said.snapshot, until, self._now)
        base = self._used_before(key) if is_new or before is None else before.base
        self._put_rights(key, said.snapshot.rights, base)
        limits = Borrowing.of(timedelta(microseconds=said.snapshot.borrow), said.snapshot.borrow_most)
        self._books.set_borrowing(key, limits)
        self._put_codes(said.tid, said.snapshot)
        if said.seq > own.epoch:  # else a later document has brought a certificate that covers this one too
            self._keys.welcome(said.tid, own.root_key or "", said.certificate, self._now)
        record = LentRecord(
            tenant_id=said.tid,
            entitlement_id=key[1],
            share_id=said.sid,
            number=said.number,
            began=said.began,
            granted_at=_at(said.iat),
            until=until,
            reported=0 if is_new or before is None else before.reported,
            reported_head="" if is_new or before is None else before.reported_head,
            reported_at=self._now if is_new or before is None else before.reported_at,
            base=base,
        )
        self._books.sites.save_lent(record)
        self._believe_again(replace(own, patience=timedelta(seconds=said.patience)), said)
        self._note(key[1], said.tid, "granted", {"share": said.sid, "number": said.number, "until": until.isoformat()})
        return self._lent(record)

    def _refuse_older(self, said: GrantGiven, before: LentRecord | None) -> None:
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

    def _used_before(self, key: PoolKey) -> dict[str, int]:
        """Give what was used up of an entitlement by an earlier share of it: that is none of a new one's."""
        tallies = self._bought(key).pool.tallies
        return {name: tally.used for name, tally in tallies.items() if tally.right.kind is Kind.USAGE_COUNT and tally.used}

    def _put_rights(self, key: PoolKey, rights: Sequence[SnapshotRight], base: Mapping[str, int]) -> None:
        """Have so much of each right, and of others nothing. What is taken stays; who is one too many goes soon."""
        named = {said.key for said in rights}
        for name, tally in self._bought(key).pool.tallies.items():
            if name not in named and is_feature(name):
                self._books.sites.put_right(key, name, tally.right.kind.value, 0, ("none", 0), 0)
        for said in rights:
            amount = None if said.amount is None else said.amount + base.get(said.key, 0)
            right = Right(said.key, Kind(said.kind), amount, Overdraft(said.overdraft, said.overdraft_value))
            overdraft = right.overdraft.kind, right.overdraft.value
            self._books.sites.put_right(key, right.key, right.kind.value, right.bought, overdraft, right.cap)
        seats = self._bought(key).pool.seats
        excess = max(0, seats.above - self._books.leaving(key, self._now))
        self._books.resize(key, seats, excess)

    def _put_codes(self, tenant_id: str, snapshot: Snapshot) -> None:
        self._books.sites.drop_codes(tenant_id, snapshot.group_id)
        for code in snapshot.codes:
            code_hash = self._keys.code_hash(tenant_id, code)
            sealed = SealedCode(
                code_hash=code_hash,
                sealed=self._keys.seal_code(tenant_id, code_hash, code),
                last_four=activation_codes.last_four(code),
                created_at=self._now,
            )
            self._books.add_code(tenant_id, snapshot.group_id, sealed)

    def _believe_again(self, own: OwnLicense, said: statements.FromVendor) -> None:
        """Note the vendor's last word: it raises the epoch and clears this server of suspicion."""
        own = replace(own, epoch=max(own.epoch, said.seq), sent=max(own.sent, said.heard))
        if not self._knows_of(own, _at(said.iat)):
            self._books.sites.save_own_license(own)
            self._bound(own)
            return
        self._set_clock(_at(said.iat))
        self._books.sites.save_own_license(replace(own, state=SiteState.OK, state_since=None))
        for record in self._running(said.tid):
            self._books.sites.set_end(record.key, record.until)

    def _knows_of(self, own: OwnLicense, said_at: datetime) -> bool:
        """Tell whether a document can have been made since this server is suspect: one from before clears nothing."""
        alive = self._books.tx.alive()
        ahead = alive.offset if alive is not None and own.state is SiteState.CLOCK else timedelta(0)
        near = CLOCKS_AGREE if own.state is SiteState.CLOCK else COPIES_APART
        return own.state_since is None or said_at + near >= own.state_since - ahead

    def _bound(self, own: OwnLicense) -> None:
        """Keep what is lent within the patience with a suspect server."""
        for record in self._running(own.tenant_id):
            last = own.suspect_until
            self._books.sites.set_end(record.key, record.until if last is None else min(record.until, last))

    def _set_clock(self, said_at: datetime) -> None:
        """Lower a recorded moment that was wrong, if what the clock says now agrees with the vendor's.

        Of several vendors none may: it would move the others' ends.
        """
        alive = self._books.tx.alive()
        if len(self._books.sites.own_licenses()) > 1:
            return
        if alive is not None and alive.offset and self._now - alive.offset + CLOCKS_AGREE >= said_at:
            set_clock_back(self._books.tx, self._now - alive.offset)

    def _apply_once(self, said: statements.FromVendor) -> None:
        if self._books.sites.has_applied(said.tid, said.jti):
            raise TokenRefused(TokenRefused.REPLAYED, "this token was applied before; nothing was changed")
        self._books.sites.note_applied(said.tid, said.jti, self._now)

    def _licensed_for(self, said: GrantGiven) -> OwnLicense:
        own = self._own(said.tid)
        if own is None or own.site_id is None or own.ended_at is not None:
            raise TokenRefused(
                "offline.wrongServer", "this server has no license from that vendor: see `seatkeeper token request`"
            )
        if said.site != own.site_id:
            raise TokenRefused("offline.wrongServer", f"this token is for the server {said.site}, and this is {own.site_id}")
        return own

    # --- reporting -------------------------------------------------------------------------------------------------

    def _reported(self, record: LentRecord, most_hours: int) -> tuple[LentRecord, UseReported]:
        """Give a report of what became of a share since the last one, and the record that it was made.

        It covers so many hours at most, and its facts end where its hours do.
        """
        bought = self._bought(record.key)
        facts: Sequence[FactRecord] = self._books.sites.facts_after(record.key, record.reported)
        tallies = bought.pool.tallies
        since = min(record.reported_at or record.granted_at, self._now)
        until = min(self._now, use.hour_of(since) + most_hours * use.HOUR)
        later: Sequence[FactRecord] = ()
        if until < self._now:
            facts, later = use.cut(facts, until)
        last = facts[-1] if facts else None
        new = [fact for fact in facts if fact.recorded_at >= since]  # else of an earlier share of the same entitlement
        report = UseReported(
            sid=record.share_id,
            number=record.number,
            settled=self._keeps_to(record, bought),
            after=record.reported,
            after_head=record.reported_head,
            upto=record.reported if last is None else last.number,
            head=record.reported_head if last is None else last.hash.hex(),
            used=bought.pool.seats.used,
            hours=use.by_hour(new, tallies[SEAT].used - use.moved(later), since, until),
            used_up={
                key: tally.used - record.base.get(key, 0)
                for key, tally in tallies.items()
                if tally.right.kind is Kind.USAGE_COUNT
            },
        )
        return replace(record, reported=report.upto, reported_head=report.head, reported_at=until), report

    def _keeps_to(self, record: LentRecord, bought: Bought) -> bool:
        """Tell whether nobody holds more than the newest document allows, or for longer."""
        if any(tally.is_overfull for key, tally in bought.pool.tallies.items() if key != BORROWED):
            return False
        latest = record.until + bought.pool.terms.margin
        return all(until <= latest for _, until in self._books.sites.believed(record.key))

    def _out(self, key: PoolKey) -> list[OutStill]:
        """Give what programs still believe in, by the moment until which they do."""
        by_end: dict[datetime, dict[str, int]] = {}
        for rights, until in self._books.sites.believed(key):
            if until > self._now:
                total = by_end.setdefault(until, {})
                for name, amount in at_home(rights).items():
                    total[name] = total.get(name, 0) + amount
        return _stairs(by_end)

    # --- finding ---------------------------------------------------------------------------------------------------

    def _own(self, tenant_id: str) -> OwnLicense | None:
        return next((one for one in self._books.sites.own_licenses() if one.tenant_id == tenant_id), None)

    def _licensed(self, tenant_id: str) -> OwnLicense:
        own = self._own(tenant_id)
        if own is None or own.site_id is None or own.ended_at is not None:
            raise CannotDo("this server has no license from that vendor: ask for one with `seatkeeper token request`")
        return own

    def _running(self, tenant_id: str) -> list[LentRecord]:
        return [record for record in self._books.sites.lent(tenant_id) if record.ended_at is None]

    def _take_turn(self, tenant_id: str) -> None:
        """Have everything to oneself that this vendor has lent: another server could change it meanwhile."""
        self._books.tx.lock(sorted(record.key for record in self._books.sites.lent(tenant_id)), ())

    def _record(self, tenant_id: str, entitlement_id: str, *, again: bool = False) -> LentRecord:
        """Give what an entitlement rests on; `again`: also of one that was given back, whose document may have been lost."""
        running = [r for r in self._books.sites.lent(tenant_id) if again or r.ended_at is None]
        found = next((record for record in running if record.entitlement_id == entitlement_id), None)
        if found is None:
            known = [record.entitlement_id for record in running]
            raise NotFound("entitlement", entitlement_id, known, "nothing is lent to this server")
        return found

    def _lent(self, record: LentRecord) -> Lent:
        bought = self._bought(record.key)
        return Lent(
            bought=bought,
            codes=[self._keys.open_code(record.tenant_id, code) for code in self._books.codes(*record.key)],
            until=record.until,
            number=record.number,
            share_id=record.share_id,
            granted_at=record.granted_at,
        )

    def _bought(self, key: PoolKey) -> Bought:
        return self._books.bought(*key)[0]

    # --- documents to the vendor -----------------------------------------------------------------------------------

    def _sealing_key(self) -> str:
        return statements.public_text(self._keys.sealing_key("", self._now))

    def _head(self, own: OwnLicense) -> dict[str, Any]:  # what every document says, by name
        jti = b64url(self._random(16))
        return {"tid": own.tenant_id, "site": own.site_id, "jti": jti, "iat": self._now.timestamp(), "seq": own.sent}

    def _sealed(self, own: OwnLicense, said: statements.Said) -> str:
        signer = self._keys.own_signing_key(self._now)
        token = writable(lambda: tokens.sealed(said, signer=signer, receiver=own.sealing_key or ""))
        if self._books.connections.of(own.tenant_id) is not None:
            self._books.connections.add(own.tenant_id, Letter(said.seq, token), self._now)
        return token

    def _note(self, chain_id: str, tenant_id: str, what: str, data: Mapping[str, object]) -> None:
        recording.append(self._books.tx, tenant_id, chain_id, [Note(at=self._now, what=what, data=data)], self._now)


def _stairs(by_end: Mapping[datetime, Mapping[str, int]]) -> list[OutStill]:
    """Give what is out as grants that end one after the other: each says what is out until its end, later ends included."""
    total: dict[str, int] = {}
    found: list[OutStill] = []
    for until in sorted(by_end, reverse=True):
        for name, amount in by_end[until].items():
            total[name] = total.get(name, 0) + amount
        found.append(OutStill(rights=dict(total), until=until.timestamp()))
    return found


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _moment(seconds: float) -> str:
    return _at(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
