"""The vendor's side of lending: he licenses local servers, lends them shares, takes shares back, and hears what became of them.

Everything that goes to a server or comes from one is a document (`tokens.py`), whether it is carried or sent. Each method is
the work of one transaction. What keeps seats from being given away twice is the pool machine alone (`domain/lending.py`): a
share is a holding, and comes back when its server has given it up, or when its grant and the skew allowed to its clock end.

    license   →  the server's own license: a seat of an entitlement that the vendor holds, product "Local License Server"
    lend      →  a new share, or a document of a running one: more, fewer or other rights, a later end
    take_back →  by the server's word (a removal), or without it when its grant has run out
    report    →  use by the hour, what has been applied, and whether facts go on where the last report ended
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from msgspec import json
from msgspec.structs import replace as struct_replace

from seatkeeper.protocol import ids
from seatkeeper.protocol.documents import Covered, Covers
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.admission import COUNTABLE
from seatkeeper_server.domain.catalogue import DEFAULT_VENDOR, Sale, Terms
from seatkeeper_server.domain.facts import Denied, Fact, Note
from seatkeeper_server.domain.lending import Lend, relend
from seatkeeper_server.domain.requests import Activate, Refresh, Return
from seatkeeper_server.domain.shares import Grant, Layer, in_force, together
from seatkeeper_server.domain.sites import DEFAULT_PATIENCE, DEFAULT_SKEW, LOCAL_SERVER, SiteState
from seatkeeper_server.domain.state import Rejected
from seatkeeper_server.domain.terms import BORROWED, SEAT, Kind, Mode, Right, Standing, Switch, is_feature
from seatkeeper_server.service import recording, selling
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import Bought, CannotDo, NotFound
from seatkeeper_server.service.delegation import (
    Applied,
    Books,
    Exchanged,
    Export,
    Keyholder,
    NoRoom,
    Share,
    ShareUse,
    Site,
    TokenRefused,
    readable,
    writable,
)
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.service.use import by_day
from seatkeeper_server.service.workspace import Workspace, settled
from seatkeeper_server.statements import (
    GrantGiven,
    LicenseEnded,
    LicenseGiven,
    LicenseRequest,
    Reported,
    ShareRemoved,
    Snapshot,
    SnapshotRight,
    UseReported,
)

LICENSE_PRODUCT: Final = "Local License Server"
LICENSE_LEASE: Final = timedelta(days=365)  # after which a server's license has to be renewed
LICENSES: Final = 1_000  # servers that one vendor may license, until he changes that
EARLIER_BY: Final = timedelta(days=1)  # a certificate is valid from before it was made: a site's clock may be behind
WITHOUT_END: Final = timedelta(days=365)  # for how long a share is lent of what never ends, unless it is said

Random = Callable[[int], bytes]


def site_code(books: Books, keys: Keyholder, vendor: str | None, *, now: datetime, random: Random) -> tuple[str, str]:
    """Give a vendor's id, and the activation code by which his local servers are licensed; both are made if need be.

    Raises:
        CannotDo: there are several vendors, and none was named.
    """
    tenants = {tenant.name: tenant.tenant_id for tenant in books.tenants()}
    if vendor is None and len(tenants) > 1:
        raise CannotDo(f"there are {len(tenants)} vendors: name one with --tenant: {', '.join(sorted(tenants))}")
    name = vendor or next(iter(tenants), DEFAULT_VENDOR)
    if name in tenants and (found := _licenses(books, tenants[name])):
        _, codes = selling.read_codes(books, keys, found[0].entitlement_id, now)
        return tenants[name], codes[0]
    terms = Terms(seats=LICENSES, mode=Mode.NODE_LOCK, lease=LICENSE_LEASE, days=None)
    sale = Sale(customer=name, product=LICENSE_PRODUCT, terms=terms, tenant=name)
    sold = selling.sell(books, keys, sale, now=now, starts_at=now, random=random)
    return sold.tenant_id, sold.code


def _licenses(books: Books, tenant_id: str) -> list[Bought]:
    return [bought for bought in books.bought(tenant_id) if bought.product == LICENSE_PRODUCT]


class Lending:
    """What one vendor lends, within one transaction."""

    def __init__(self, books: Books, keys: Keyholder, *, tenant_id: str, now: datetime, random: Random) -> None:
        self._books = books
        self._keys = keys
        self._tenant_id = tenant_id
        self._now = now
        self._random = random

    # --- servers and their licenses --------------------------------------------------------------------------------

    def site_code(self) -> str:
        """Give the activation code by which local servers are licensed."""
        name = next((tenant.name for tenant in self._books.tenants() if tenant.tenant_id == self._tenant_id), None)
        return site_code(self._books, self._keys, name, now=self._now, random=self._random)[1]

    def license_entitlement(self) -> Bought:
        """Give the entitlement whose seats are the licenses of local servers.

        Raises:
            NotFound: no server was ever licensed.
        """
        found = _licenses(self._books, self._tenant_id)
        if not found:
            raise NotFound(
                "entitlement", LICENSE_PRODUCT, [], "no local server can be licensed yet: see `seatkeeper site code`"
            )
        return found[0]

    def sites(self) -> list[Site]:
        """Give the vendor's local servers, oldest first."""
        return self._books.sites.sites(self._tenant_id)

    def site(self, called: str) -> Site:
        """Give a server by its id or its name.

        Raises:
            NotFound: there is none, or none that is licensed, of that name.
            CannotDo: there are several of that name.
        """
        everyone = self.sites()
        found = [site for site in everyone if site.site_id == called]
        found = found or [site for site in everyone if site.name == called and site.is_licensed]
        if not found:
            names = [name for site in everyone for name in (site.site_id, site.name)]
            raise NotFound("local server", called, names, "none is licensed yet: see `seatkeeper site code`")
        if len(found) > 1:
            raise CannotDo(
                f"{len(found)} local servers are called {called}: name one by its id: {', '.join(s.site_id for s in found)}"
            )
        return found[0]

    def license(self, token: str) -> str:
        """License the server that asks for it, and give the answer it waits for.

        Raises:
            TokenRefused: nobody here has that code, or the token was used before.
            CannotDo: there is no license left.
        """
        self._take_turn()
        bought, asked = self._opened_request(token)
        self._apply_once(asked.jti)
        known = next((site for site in self.sites() if site.signing_key == asked.signing_key), None)
        seat = known.site_id if known else ids.make_id(ids.SITE, self._random(ids.RANDOM_BYTES))
        activation_id = self._take_license(bought, seat, asked)
        site = Site(
            tenant_id=self._tenant_id,
            site_id=seat,
            name=asked.name,
            entitlement_id=bought.entitlement_id,
            activation_id=activation_id,
            database_id=asked.iss,
            signing_key=asked.signing_key,
            sealing_key=asked.sealing_key,
            sent=known.sent if known else 0,
            heard=known.heard if known else 0,
            heard_id=known.heard_id if known else "",
            heard_made_at=known.heard_made_at if known else None,
            activated_at=known.activated_at if known else self._now,
        )
        self._note(self._tenant_id, "siteLicensed", {"site": site.site_id, "name": site.name})
        return self._licensed(site, asked.challenge)

    def renew_license(self, site_id: str) -> str:
        """Renew a server's license, and give the document that says so; it clears the server of suspicion.

        Raises:
            NotFound: there is no such server.
            CannotDo: its license was given back.
        """
        self._take_turn()
        site = self._licensed_site(site_id)
        self._keep_license(site)
        return self._licensed(replace(site, state=SiteState.OK, state_since=None), "")

    def end_license(self, token: str) -> None:
        """Take a server's license back, by its word.

        Raises:
            TokenRefused: it is not that server's word, or was applied before.
            CannotDo: the server still has shares.
        """
        self._take_turn()
        said = self._opened(token)
        if not isinstance(said, LicenseEnded):
            raise TokenRefused("offline.wrongKind", f"this token is a {_kind(said)}: see `seatkeeper token apply`")
        self._end_license(self._heard(said))

    def forget(self, site_id: str) -> None:
        """Take a server's license back without its word: it is lost.

        Raises:
            NotFound: there is no such server.
            CannotDo: it still has shares.
        """
        self._take_turn()
        self._end_license(self._licensed_site(site_id))

    def _opened_request(self, token: str) -> tuple[Bought, LicenseRequest]:
        wanted = readable(lambda: tokens.receiver_of(token))
        for bought in _licenses(self._books, self._tenant_id):
            for code in self._books.codes(self._tenant_id, bought.entitlement_id):
                text = self._keys.open_code(self._tenant_id, code)
                if tokens.code_kid(text) == wanted:
                    asked = readable(lambda text=text: tokens.open_by_code(token, text))  # type: ignore[misc]
                    return bought, asked
        raise TokenRefused(
            "offline.wrongServer",
            "this token was made with an activation code that nobody has here: see `seatkeeper site code`",
        )

    def _take_license(self, bought: Bought, seat_id: str, asked: LicenseRequest) -> str:
        work, key, who = Workspace(self._books.tx, self._now), bought.key, Who(seat_id=seat_id, seat_name=asked.name)
        work.load_pools([key])
        work.load_seats([(*key, seat_id)])
        known = work.holders.get((*key, seat_id))
        own = work.holding_of(known) if known else None
        holder = known.number if known else work.pool(key).holders + 1
        ask = Activate(
            activation_id=own.holding.activation_id if own else ids.make_id(ids.ACTIVATION, self._random(ids.RANDOM_BYTES)),
            holder=holder,
            next_nonce=b64url(self._random(16)),
            proof=own.holding.generation if own else None,
            device=asked.signing_key,  # which has signed the request: who asks again has his own license again
        )
        decision = work.decide(key, ask, own, who)
        if isinstance(decision, Denied | Rejected):
            limit = bought.pool.seats.right.bought
            raise CannotDo(
                f"no license for a local server is left: {limit} are in use; see `seatkeeper change {key[1]} --seats N`"
            )
        work.know(key, decision.holder, who)
        work.save()
        return ask.activation_id

    def _keep_license(self, site: Site) -> None:
        work, key = Workspace(self._books.tx, self._now), (self._tenant_id, site.entitlement_id)
        work.load_pools([key])
        work.load_held([(self._tenant_id, site.activation_id)])
        own = work.held[self._tenant_id, site.activation_id]
        ask = Refresh(
            activation_id=site.activation_id,
            generation=own.holding.generation,
            next_nonce=b64url(self._random(16)),
            nonce=own.holding.nonces.current,
        )
        decision = work.decide(key, ask, own, own.who)
        if isinstance(decision, Denied | Rejected):
            raise CannotDo(f"the license of {site.name} can't be renewed: {decision.problem}")
        work.save()

    def _end_license(self, site: Site) -> None:
        if out := [share for share in self._running() if share.site_id == site.site_id and self._counts(share)]:
            raise CannotDo(
                f"{site.name} still has {len(out)} of your entitlements: take them back first (`seatkeeper site list`)"
            )
        work, key = Workspace(self._books.tx, self._now), (self._tenant_id, site.entitlement_id)
        work.load_pools([key])
        work.load_held([(self._tenant_id, site.activation_id)])
        own = work.held[self._tenant_id, site.activation_id]
        work.decide(key, Return(activation_id=site.activation_id, generation=own.holding.generation, proven=True), own, own.who)
        work.save()
        self._books.sites.save_site(replace(site, deactivated_at=self._now))
        self._note(self._tenant_id, "siteEnded", {"site": site.site_id, "name": site.name})

    def _licensed_site(self, site_id: str) -> Site:
        site = self.site(site_id)
        if not site.is_licensed:
            raise CannotDo(
                f"the license of {site.name} was given back: it has to ask for a new one (`seatkeeper token request`)"
            )
        return site

    def _licensed(self, site: Site, challenge: str) -> str:
        """Give the document by which a server is licensed."""
        site = replace(site, sent=site.sent + 1)
        self._books.sites.save_site(site)
        held = next(one.lease_ends_at for one in self.sites() if one.site_id == site.site_id)
        lease_ends_at = held or self._now + LICENSE_LEASE
        tenant = next(tenant for tenant in self._books.tenants() if tenant.tenant_id == self._tenant_id)
        signer, issuer = self._keys.signing_key(self._tenant_id)
        said = LicenseGiven(
            **self._head(site),
            name=site.name,
            challenge=challenge,
            root=self._keys.public_key(self._tenant_id),
            vendor=tenant.name,
            contact=tenant.contact,
            sealing_key=statements.public_text(self._keys.sealing_key(self._tenant_id, self._now)),
            issuer=issuer,
            lease_ends_at=lease_ends_at.timestamp(),
            patience=DEFAULT_PATIENCE.total_seconds(),
            certificate=self._certificate(site, lease_ends_at),
            heard=site.heard,
        )
        return writable(lambda: tokens.sealed(said, signer=signer, receiver=site.sealing_key))

    # --- shares ----------------------------------------------------------------------------------------------------

    def exports(self, entitlement_id: str) -> list[Export]:
        """Give what of an entitlement is lent, to whom, and until when."""
        sites = {site.site_id: site for site in self.sites()}
        mine = [share for share in self._running() if share.entitlement_id == entitlement_id]
        return [self._export(share, sites[share.site_id]) for share in mine]

    def _export(self, share: Share, site: Site) -> Export:
        grants = self._books.sites.grants(self._tenant_id, share.share_id)
        held = [place for place in self._books.sites.layers(self._tenant_id, share.share_id) if place.occupies]
        newest = grants[-1]
        return Export(
            share_id=share.share_id,
            site=site,
            seats=newest.rights.get(SEAT, 0),
            features={key: amount for key, amount in newest.rights.items() if key != SEAT},
            until=newest.until,
            is_whole=share.is_whole,
            exported_at=share.lent_at,
            last_token_at=share.token_at,
            out_of_sync=self._is_behind(share, newest),
            counts_until=max((place.free_at for place in held if place.free_at), default=self._now),
        )

    def uses(self, site_id: str | None = None) -> list[ShareUse]:
        """Give what servers have reported of the use of their shares, day by day; ended shares too."""
        sites = {site.site_id: site for site in self.sites()}
        wanted = None if site_id is None else self.site(site_id).site_id
        return [
            ShareUse(
                share_id=share.share_id,
                entitlement_id=share.entitlement_id,
                site=sites[share.site_id],
                facts=share.facts,
                days=by_day(self._books.sites.use(self._tenant_id, share.share_id)),
            )
            for share in self._books.sites.shares(self._tenant_id)
            if wanted in (None, share.site_id)
        ]

    def lend(
        self,
        entitlement_id: str,
        site_id: str,
        *,
        seats: int | None = None,
        features: Mapping[str, int] | None = None,
        until: datetime | None = None,
        skew: timedelta | None = None,
    ) -> str:
        """Lend a part of an entitlement to a server, or all of it (`seats` None), and give the document that says so.

        What the server has of it already is changed: more seats count at once, fewer when the documents before have ended or
        the server says that it has applied this one.

        Raises:
            NotFound: there is no such entitlement or server.
            CannotDo: there is not so much left of it, or the end can't be.
        """
        if seats is not None and seats < 1:
            raise CannotDo(f"seats: lend at least one, not {seats}")
        self._take_turn()
        site = self._licensed_site(site_id)
        bought = self._bought(entitlement_id)
        self._refuse_closed(bought)
        running = [share for share in self._running() if share.entitlement_id == entitlement_id]
        mine = next((share for share in running if share.site_id == site.site_id), None)
        whole = seats is None
        self._refuse_mixture(bought, running, mine, whole=whole)
        rights = _all_of(bought) if seats is None else {SEAT: seats, **(features or {})}
        ends_at = self._end(bought, until)
        share = mine or self._new_share(bought, site, whole=whole, skew=DEFAULT_SKEW if skew is None else skew)
        if skew is not None:
            share = replace(share, skew=skew)
        return self._granted(replace(share, is_whole=whole), site, rights, ends_at)

    def fresh_token(self, entitlement_id: str, site_id: str | None = None) -> str:
        """Give a fresh document of what a server was lent, with the entitlement as it is now.

        Raises:
            NotFound: there is no such entitlement, or it is not lent.
            CannotDo: it is lent to several servers, and none was named.
        """
        self._take_turn()
        share, site = self._the_share(entitlement_id, site_id)
        newest = self._books.sites.grants(self._tenant_id, share.share_id)[-1]
        last = self._bought(entitlement_id).pool.terms.last_moment
        until = newest.until if last is None else last if share.is_whole else min(newest.until, last)
        return self._granted(share, site, self._rights(share, newest), until)

    def _is_behind(self, share: Share, newest: Grant) -> bool:
        """Tell whether an entitlement is not any more as the newest document of a share says."""
        last = self._bought(share.entitlement_id).pool.terms.last_moment
        is_longer = last is not None and last < newest.until
        return is_longer or share.snapshot != self._hash_of(share, self._rights(share, newest))

    def _rights(self, share: Share, newest: Grant) -> Mapping[str, int]:
        """Give what is lent now: of an entitlement that is lent altogether, as much as was bought."""
        return _all_of(self._bought(share.entitlement_id)) if share.is_whole else newest.rights

    def _hash_of(self, share: Share, rights: Mapping[str, int]) -> str:
        """Give what tells whether an entitlement has changed; of one that is lent altogether, its end is a part."""
        last = self._bought(share.entitlement_id).pool.terms.last_moment
        snapshot = self._snapshot(share.key, rights, whole=share.is_whole)
        return sha256(json.encode((snapshot, last if share.is_whole else None))).hexdigest()

    def take_back(self, entitlement_id: str, token: str | None, site_id: str | None = None) -> None:
        """Take a share back: by its server's word, or without it when its grant has run out.

        Raises:
            NotFound: there is no such entitlement, or it is not lent.
            TokenRefused: the token is not that server's word about this entitlement, or was applied before.
            CannotDo: it is still lent.
        """
        self._take_turn()
        if token is None:
            self._take_back_unheard(*self._the_share(entitlement_id, site_id))
            return
        said = self._opened(token)
        if not isinstance(said, ShareRemoved):
            raise TokenRefused("offline.wrongKind", f"this token is a {_kind(said)}: see `seatkeeper token apply`")
        share = self._share_of(said)
        if share.entitlement_id != entitlement_id:
            raise TokenRefused("offline.wrongServer", "this token gives back another entitlement than the one that was named")
        self._take_back_heard(share, said)

    def _take_back_unheard(self, share: Share, site: Site) -> None:
        if still := self._counts(share):
            raise CannotDo(
                f"{site.name} may go on with what it was lent until its grant has ended, and its clock may be off: it counts"
                f" until {_moment(still)}; bring the removal token from there, or wait"
            )
        self._ended(share, (), self._drawn(share))

    def _take_back_heard(self, share: Share, said: ShareRemoved) -> None:
        self._heard(said)
        self._take_use(share, said.use)
        share = self._share_of(said)
        out = tuple(self._still_out(share, said, number) for number in range(len(said.out)))
        drawn = self._drawn(share)
        used_up = {key: min(max(0, said.use.used_up.get(key, amount)), amount) for key, amount in drawn.items()}
        self._ended(share, out, used_up)

    def _still_out(self, share: Share, said: ShareRemoved, number: int) -> Grant:
        """Give what programs of a site still believe in, as a grant; it is no more than the site was lent.

        Until when is counted from now, since the site's clock may be wrong; and as it says, with the skew it is allowed.
        """
        places = [place for place in self._books.sites.layers(self._tenant_id, share.share_id) if place.occupies]
        lent = together(Layer(place.rights, place.expires_at, place.expires_at) for place in places)
        tallies, still = self._bought(share.entitlement_id).pool.tallies, said.out[number]
        for key, amount in still.rights.items():
            most = lent.get(key, 0)
            if share.is_whole and key in tallies and tallies[key].right.cap is not None:
                most = max(most, tallies[key].right.cap or 0)
            if not 0 <= amount <= most:
                raise TokenRefused(
                    "offline.malformed", f"this token gives back {amount} of {key or 'the seats'}: more than was lent"
                )
        ends_at = datetime.fromtimestamp(still.until, tz=UTC)
        counted_from_now = self._now + (ends_at - datetime.fromtimestamp(said.iat, tz=UTC))
        return Grant(said.use.number + number, still.rights, min(counted_from_now, ends_at + share.skew))

    def _drawn(self, share: Share) -> dict[str, int]:
        """Give what a share has drawn of what is used up: it comes back only if its server says that it was not used."""
        tallies = self._bought(share.entitlement_id).pool.tallies
        drawn: dict[str, int] = {}
        for place in self._books.sites.layers(self._tenant_id, share.share_id):
            for key, amount in place.rights.items():
                if key in tallies and tallies[key].right.kind is Kind.USAGE_COUNT:
                    drawn[key] = max(drawn.get(key, 0), amount)
        return drawn

    def _ended(self, share: Share, out: Sequence[Grant], used_up: Mapping[str, int]) -> None:
        """End a share; what programs of its server still believe in counts until they don't."""
        self._relend(replace(share, skew=timedelta(0)), out, "returned", used_up)
        self._books.sites.save_grants(self._tenant_id, share.share_id, out, self._now)
        self._books.sites.save_share(replace(share, ended_at=self._now))
        self._switch(share.key, Switch.ON)

    def _refuse_mixture(self, bought: Bought, running: Sequence[Share], mine: Share | None, *, whole: bool) -> None:
        if other := next((share for share in running if share.is_whole and share is not mine), None):
            name = next(site.name for site in self.sites() if site.site_id == other.site_id)
            raise CannotDo(f"{bought.customer}'s {bought.product} is lent to {name} altogether: take it back first")
        if whole and (others := [share for share in running if share is not mine]):
            raise CannotDo(
                f"parts of {bought.customer}'s {bought.product} are lent to {len(others)} other servers: say how many --seats"
            )

    def _end(self, bought: Bought, until: datetime | None) -> datetime:
        last = bought.pool.terms.last_moment
        ends_at = until or last or self._now + WITHOUT_END
        if ends_at.year >= 9999:
            raise CannotDo("until: say an end before the year 9999")
        if ends_at <= self._now:
            raise CannotDo(f"until: {_moment(ends_at)} is over; say a later end")
        if last is not None and ends_at > last:
            raise CannotDo(
                f"until: {bought.customer}'s {bought.product} itself ends at {_moment(last)}; nothing is lent beyond that"
            )
        return ends_at

    def _new_share(self, bought: Bought, site: Site, *, whole: bool, skew: timedelta) -> Share:
        return Share(
            tenant_id=self._tenant_id,
            share_id=ids.make_id(ids.SHARE, self._random(ids.RANDOM_BYTES)),
            entitlement_id=bought.entitlement_id,
            site_id=site.site_id,
            holder=0,
            is_whole=whole,
            skew=skew,
            snapshot="",
            lent_at=self._now,
            token_at=self._now,
        )

    def _granted(self, share: Share, site: Site, rights: Mapping[str, int], until: datetime) -> str:
        """Add a document to a share, and give it."""
        grants = self._books.sites.grants(self._tenant_id, share.share_id) if share.holder else []
        number = grants[-1].number + 1 if grants else 1
        grants = [*in_force(grants, share.skew, self._now), Grant(number, dict(rights), until)]
        share = self._relend(share, grants, "lent", {}, site)
        self._switch(share.key, Switch.EXPORTED if share.is_whole else Switch.ON)
        share = replace(share, token_at=self._now, snapshot=self._hash_of(share, rights))
        self._books.sites.save_share(share)
        self._books.sites.save_grants(self._tenant_id, share.share_id, grants, self._now)
        return self._document(share, site, grants[-1])

    def _switch(self, key: PoolKey, switch: Switch) -> None:
        """Say whether the vendor serves an entitlement himself; one that was switched off stays so."""
        if self._bought(key[1]).pool.terms.switch in (Switch.ON, Switch.EXPORTED):
            self._books.sites.set_switch(key, switch)

    def _document(self, share: Share, site: Site, grant: Grant) -> str:
        """Give a document of a share: one that was never confirmed is given again under its own number."""
        snapshot = self._snapshot(share.key, grant.rights, whole=share.is_whole)
        site = replace(site, sent=site.sent + 1)
        self._books.sites.save_site(site)
        signer, issuer = self._keys.signing_key(self._tenant_id)
        said = GrantGiven(
            **self._head(site),
            sid=share.share_id,
            number=grant.number,
            began=(share.lent_at - _EPOCH) // timedelta(microseconds=1),
            until=grant.until.timestamp(),
            snapshot=struct_replace(snapshot, codes=self._codes(share.key)),
            issuer=issuer,
            certificate=self._certificate(site, grant.until),
            patience=DEFAULT_PATIENCE.total_seconds(),
            heard=site.heard,
        )
        return writable(lambda: tokens.sealed(said, signer=signer, receiver=site.sealing_key))

    def _relend(
        self, share: Share, grants: Sequence[Grant], cause: str, used_up: Mapping[str, int], site: Site | None = None
    ) -> Share:
        """Have the pool machine decide what of a share counts from now on."""
        key = share.key
        settled(self._books.tx, key, self._now)
        work = Workspace(self._books.tx, self._now)
        work.load_pools([key])
        places = {place.key: place for place in self._books.sites.layers(self._tenant_id, share.share_id)}
        holder = share.holder or work.pool(key).holders + 1
        ask = Lend(share_id=share.share_id, holder=holder, grants=tuple(grants), skew=share.skew, cause=cause, used_up=used_up)
        pool = work.pool(key).seeing(places)
        decision = relend(pool, ask, self._now)
        if isinstance(decision, Denied):
            raise NoRoom(_too_few(decision))
        if isinstance(decision, Rejected):
            raise CannotDo(f"this entitlement has no such feature: {decision.problem.partition(': ')[2]}")
        who = Who(seat_id=share.share_id, seat_name=site.name + LOCAL_SERVER if site else None)
        work.apply(key, pool, decision, who)
        if site is not None:
            work.know(key, holder, who)
        work.save()
        return replace(share, holder=holder)

    def _counts(self, share: Share) -> datetime | None:
        """Tell until when a share counts; None if it doesn't any more."""
        places = self._books.sites.layers(self._tenant_id, share.share_id)
        return max((p.free_at for p in places if p.occupies and p.free_at and p.free_at > self._now), default=None)

    def _certificate(self, site: Site, until: datetime) -> str:
        """Have the root certify a server's key, for everything that it may still have been lent."""
        each: dict[str, Covered] = {}
        for share in self._running():
            if share.site_id != site.site_id:
                continue
            grants = in_force(self._books.sites.grants(self._tenant_id, share.share_id), share.skew, self._now)
            if grants:
                each[share.entitlement_id] = self._covered(share, grants)
        ends_at = max([until, *(datetime.fromtimestamp(one.end, tz=UTC) for one in each.values())])
        most: dict[str, int] = {}
        for one in each.values():
            for key, amount in one.features.items():
                most[key] = max(most.get(key, 0), COUNTABLE if amount is None else amount)
        covers = Covers(entitlements=sorted(each), features=most, end=ends_at.timestamp(), each=each)
        skews = (share.skew for share in self._running() if share.site_id == site.site_id)
        return self._keys.certify(
            self._tenant_id,
            site=site,
            covers=covers,
            since=self._now - max(EARLIER_BY, *skews, timedelta(0)),
            until=ends_at,
            epoch=site.sent,
            now=self._now,
        )

    def _covered(self, share: Share, grants: Sequence[Grant]) -> Covered:
        tallies = self._bought(share.entitlement_id).pool.tallies
        most: dict[str, int | None] = {}
        for name, tally in tallies.items():
            lent = max((grant.rights[name] for grant in grants if name in grant.rights), default=0)
            if not is_feature(name):
                continue
            if tally.right.kind is Kind.BOOL:
                most[name] = 1
            elif share.is_whole and tally.right.bought is None:
                most[name] = None
            elif lent:
                most[name] = _cap(struct_replace(tally.right, bought=lent))
        return Covered(features=most, end=max(grant.until for grant in grants).timestamp())

    def _snapshot(self, key: PoolKey, rights: Mapping[str, int], *, whole: bool) -> Snapshot:
        """Give an entitlement as a server is told it: so much of each right. What is granted above goes with all of it only."""
        tallies = self._bought(key[1]).pool.tallies
        told = [
            _told(tally.right, rights.get(name), whole=whole)
            for name, tally in sorted(tallies.items())
            if name in rights or tally.right.kind is Kind.BOOL or (whole and is_feature(name) and tally.right.bought is None)
        ]
        out = tallies.get(BORROWED)
        most = out.right.bought if out is not None else None
        return struct_replace(self._books.sites.snapshot(key), rights=told, borrow_most=most)

    def _codes(self, key: PoolKey) -> list[str]:
        return [self._keys.open_code(self._tenant_id, code) for code in self._books.codes(*key)]

    # --- what servers say ------------------------------------------------------------------------------------------

    def apply(self, token: str) -> Applied:
        """Apply whatever document a server has sent.

        Raises:
            TokenRefused: it can't be applied here.
            CannotDo: what it asks for can't be done.
        """
        self._take_turn()
        said = self.read(token)
        match said:
            case LicenseRequest():
                return Applied("license-request", f"{said.name} is licensed", self.license(token))
            case Reported():
                return self.report(token)
            case ShareRemoved():
                share = self._share_of(said)
                self._take_back_heard(share, said)
                still = f"; its programs still hold {_sum(said)}" if said.out else ""
                return Applied("removal", f"{self._named(share)} was given back by {self.site(share.site_id).name}{still}")
            case LicenseEnded():
                self._end_license(self._heard(said))
                return Applied("license-end", f"{said.name} has given its license back")

    def read(self, token: str) -> statements.FromSite:
        """Give what a document says that a server has sent, without applying it.

        Raises:
            TokenRefused: it can't be read here.
        """
        readable(lambda: tokens.receiver_of(token))
        return self._opened_request(token)[1] if tokens.is_request(token) else self._opened(token)

    # --- over a line -----------------------------------------------------------------------------------------------

    def exchange(self, token: str) -> Exchanged:
        """Apply a document that a server has sent, and give it what it needs and has not confirmed.

        A document that was applied before changes nothing: its answer was lost. What a server needs is said when it reports,
        since then it says what it has. A server that seems to be two is given nothing before somebody has looked
        (`renew_license`); one whose data were set back is told where it stands, and believed again.

        Raises:
            TokenRefused: it can't be applied here.
            CannotDo: what it asks for can't be done, or its license has ended.
        """
        said = self.read(token)
        try:
            applied = self.apply(token)
        except TokenRefused as refused:
            if refused.problem != TokenRefused.REPLAYED or isinstance(said, LicenseRequest):
                raise
            return Exchanged(str(refused), self.site(said.site).state, ())
        match said:
            case LicenseRequest():
                return Exchanged(applied.text, SiteState.OK, [applied.reply] if applied.reply else ())
            case Reported():
                site = self._licensed_site(said.site)
                return Exchanged(applied.text, site.state, self._needed(site, said))
            case _:
                return Exchanged(applied.text, self.site(said.site).state, ())

    def _needed(self, site: Site, said: Reported) -> list[str]:
        """Give the documents that a server has to have, as far as it has not just said that it has them."""
        if site.state is SiteState.CLONED:
            return []
        needed = [self.renew_license(site.site_id)] if self._wants_license(site, said) else []
        confirmed = {use.sid: use.number for use in said.uses}
        for share in self._running():
            newest = self._books.sites.grants(self._tenant_id, share.share_id)[-1]
            if share.site_id != site.site_id or newest.until <= self._now:
                continue
            if self._is_behind(share, newest):
                with suppress(NoRoom):  # there is no room for it now: it stays out of step, which the vendor is shown
                    needed.append(self.fresh_token(share.entitlement_id, site.site_id))
            elif confirmed.get(share.share_id, 0) < newest.number:
                needed.append(self._document(share, self.site(site.site_id), newest))
        return needed

    def _wants_license(self, site: Site, said: Reported) -> bool:
        """Tell whether a server needs a document of its license: it is suspect, has missed the last one, or that wears out."""
        ends_at = site.lease_ends_at
        is_worn = ends_at is not None and ends_at - self._now < LICENSE_LEASE / 3
        is_behind = ends_at is not None and said.license_ends_at is not None and said.license_ends_at < ends_at.timestamp() - 1
        is_suspect = site.state is not SiteState.OK or said.state != SiteState.OK.value
        return is_worn or is_behind or is_suspect

    def report(self, token: str) -> Applied:
        """Take in a server's report: its use by the hour, and which documents it has applied.

        Raises:
            TokenRefused: it is no report of a server of this vendor's, or was applied before.
        """
        self._take_turn()
        said = self._opened(token)
        if not isinstance(said, Reported):
            raise TokenRefused("offline.wrongKind", f"this token is a {_kind(said)}, not a report")
        site = replace(self._heard(said), last_report_at=self._now)
        is_late = site.heard_id != said.jti
        wrong = self._forgotten(site, said)
        site = replace(site, sent=max(site.sent, said.epoch))
        for use in said.uses:
            known = self._books.sites.shares(self._tenant_id)
            share = next((one for one in known if one.share_id == use.sid and one.site_id == site.site_id), None)
            if share is None:
                continue
            if is_late:
                self._books.sites.save_use(self._tenant_id, share.share_id, use.hours)
            elif share.ended_at is not None:
                continue
            elif fault := self._take_use(share, use):
                wrong.append(fault)
        knows_all = said.epoch >= site.sent  # else a document is on its way to it that clears it
        if said.state != SiteState.OK.value and site.state is SiteState.OK and knows_all:
            site = replace(site, state=SiteState(said.state), state_since=self._now)
        if wrong and site.state is SiteState.OK:
            site = replace(site, state=SiteState.CLONED if "twice" in wrong[0] else SiteState.RESTORED, state_since=self._now)
        self._books.sites.save_site(site)
        trouble = (
            f"; {'; '.join(wrong)}: it is {site.state.value}"
            if wrong
            else ""
            if site.state is SiteState.OK
            else f"; it is {site.state.value}"
        )
        return Applied("usage-report", f"{site.name} reports the use of {_count(len(said.uses), 'entitlement')}{trouble}")

    def _forgotten(self, site: Site, said: Reported) -> list[str]:
        """Tell what a server has from this vendor that he doesn't know of: then it is his own data that were set back."""
        found = []
        known = {share.share_id: share for share in self._books.sites.shares(self._tenant_id)}
        for use in said.uses:
            share = known.get(use.sid)
            newest = self._books.sites.grants(self._tenant_id, use.sid)[-1:] if share else []
            if share is None or (newest and newest[0].number < use.number):
                found.append(f"it has document {use.number} of {use.sid}, which is not known here: were your data set back?")
            if share is not None and newest and newest[0].number < use.number:  # the next one has to come after it
                grants = self._books.sites.grants(self._tenant_id, use.sid)
                known_as = Grant(use.number, newest[0].rights, newest[0].until)
                self._books.sites.save_grants(self._tenant_id, use.sid, [*grants, known_as], self._now)
        if said.epoch > site.sent or found:
            what = f"{site.name} has heard more from you than you remember"
            self._note(self._tenant_id, "reportGap", {"site": site.site_id, "what": what})
        return found

    def _take_use(self, share: Share, use: UseReported) -> str | None:
        """Take in what became of a share; what doesn't fit to what was reported before, if anything."""
        share = next(one for one in self._running() if one.share_id == share.share_id)
        if use.settled:
            self._confirm(share, use.number)
        if use.after == share.facts and (not share.head or use.after_head == share.head):
            self._books.sites.save_use(self._tenant_id, share.share_id, use.hours)
            self._books.sites.save_share(replace(share, facts=use.upto, head=use.head))
            return None
        if use.upto == share.facts and use.head == share.head:
            return None
        what = self._named(share)
        self._books.sites.save_share(replace(share, facts=use.upto, head=use.head))  # told once, then it goes on from there
        if use.after > share.facts:
            fault = f"{what}: facts {share.facts + 1} to {use.after} were never reported"
            self._books.sites.save_use(self._tenant_id, share.share_id, use.hours)
        elif use.upto < share.facts or use.after_head != share.head:
            fault = f"{what}: facts up to {share.facts} were reported before, and these end at {use.upto}"
            if use.upto >= share.facts:
                fault = f"{what}: facts from {use.after + 1} on happened twice, differently"
        else:
            fault = f"{what}: facts {use.after + 1} to {share.facts} were reported before"
        self._note(share.entitlement_id, "reportGap", {"site": share.site_id, "what": fault})
        return fault if use.after <= share.facts else None

    def _confirm(self, share: Share, number: int) -> None:
        """Let go of the documents before one that a server has applied and keeps to."""
        grants = self._books.sites.grants(self._tenant_id, share.share_id)
        kept = [grant for grant in grants if grant.number >= number]
        if kept and len(kept) < len(grants):
            self._relend(share, kept, "confirmed", {})
            self._books.sites.save_grants(self._tenant_id, share.share_id, kept, self._now)

    def _opened(self, token: str) -> statements.FromSite:
        if not self.sites():  # nobody was ever given a key to seal anything to
            raise TokenRefused("offline.wrongServer", "this token is from a license server that is not known here")
        own = self._keys.sealing_key(self._tenant_id, self._now)
        if readable(lambda: tokens.receiver_of(token)) != statements.sealing_kid(statements.public_text(own)):
            raise TokenRefused("offline.wrongServer", "this token was made for another server: carry it to the one it is for")
        keys = {site.site_id: site.signing_key for site in self.sites()}
        said = readable(lambda: tokens.open_from_site(token, own=own, key_of=keys.get))
        if said.tid != self._tenant_id:
            raise TokenRefused("offline.wrongServer", "this token was made for another vendor")
        return said

    def _heard(self, said: statements.Said) -> Site:
        """Remember that a server has said something: once, and after all that it said before.

        What was made before the last thing that was heard, and comes only now, was held up on its way: it is applied, and
        changes nothing about the order. What was made after it under an older number is from a server that has forgotten.
        """
        site = next(site for site in self.sites() if site.site_id == said.site)
        self._apply_once(said.jti)
        made_at = datetime.fromtimestamp(said.iat, tz=UTC)
        if said.seq < site.heard and site.heard_made_at is not None and made_at <= site.heard_made_at:
            return site
        if said.seq <= site.heard:
            state = SiteState.CLONED if said.seq == site.heard else SiteState.RESTORED
            site = replace(site, state=state, state_since=self._now)
        site = replace(site, heard=max(site.heard, said.seq), heard_id=said.jti, heard_made_at=made_at)
        self._books.sites.save_site(site)
        return site

    def _apply_once(self, token_id: str) -> None:
        if self._books.sites.has_applied(self._tenant_id, token_id):
            raise TokenRefused(TokenRefused.REPLAYED, "this token was applied before; nothing was changed")
        self._books.sites.note_applied(self._tenant_id, token_id, self._now)

    # --- finding ---------------------------------------------------------------------------------------------------

    def _bought(self, entitlement_id: str) -> Bought:
        found = self._books.bought(self._tenant_id, entitlement_id)
        if not found:
            known = [bought.entitlement_id for bought in self._books.bought(self._tenant_id)]
            raise NotFound("entitlement", entitlement_id, known, "nothing has been sold yet: see `seatkeeper sell --help`")
        return found[0]

    def _running(self) -> list[Share]:
        return [share for share in self._books.sites.shares(self._tenant_id) if share.ended_at is None]

    def _the_share(self, entitlement_id: str, site_id: str | None) -> tuple[Share, Site]:
        bought = self._bought(entitlement_id)
        wanted = self.site(site_id).site_id if site_id else None
        mine = [share for share in self._running() if share.entitlement_id == entitlement_id]
        mine = [share for share in mine if wanted in (None, share.site_id)]
        if not mine:
            raise NotFound("share", f"{bought.customer}/{bought.product}", [], "it is lent to no local server")
        if len(mine) > 1:
            raise CannotDo(f"it is lent to {len(mine)} local servers: name one")
        return mine[0], self.site(mine[0].site_id)

    def _share_of(self, said: ShareRemoved) -> Share:
        found = [share for share in self._books.sites.shares(self._tenant_id) if share.share_id == said.sid]
        if not found or found[0].site_id != said.site:
            raise TokenRefused("offline.wrongServer", "this token speaks of nothing that was lent to its server")
        if found[0].ended_at is not None:
            raise TokenRefused("offline.tooOld", "this share was taken back before; nothing was changed")
        return found[0]

    def _take_turn(self) -> None:
        """Have everything that is lent to oneself: what was read before could be changed by another server meanwhile.

        The pool of the licenses stands for all of it. No program takes a seat of it, so nobody waits for it who serves seats.
        """
        if found := _licenses(self._books, self._tenant_id):
            self._books.tx.lock([found[0].key], ())

    def _refuse_closed(self, bought: Bought) -> None:
        standing = bought.pool.terms.standing(self._now)
        if standing not in (Standing.ACTIVE, Standing.GRACE_PERIOD, Standing.EXPORTED):
            raise CannotDo(f"{bought.customer}'s {bought.product} is {standing.value}: nothing is lent of it")

    def _named(self, share: Share) -> str:
        bought = self._bought(share.entitlement_id)
        return f"{bought.customer}'s {bought.product}"

    def _head(self, site: Site) -> dict[str, Any]:  # what every document says, by name
        jti = b64url(self._random(16))
        return {"tid": self._tenant_id, "site": site.site_id, "jti": jti, "iat": self._now.timestamp(), "seq": site.sent}

    def _note(self, chain_id: str, what: str, data: Mapping[str, object]) -> None:
        note: Fact = Note(at=self._now, what=what, data=data)
        recording.append(self._books.tx, self._tenant_id, chain_id, [note], self._now)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _kind(said: statements.Said) -> str:
    return str(type(said).__struct_config__.tag)


def _all_of(bought: Bought) -> dict[str, int]:
    """Give as much of each right as was bought. What may be borrowed of it is a policy, not a right that is lent."""
    tallies = {key: tally for key, tally in bought.pool.tallies.items() if key != BORROWED}
    return {key: tally.right.bought for key, tally in tallies.items() if tally.right.counted and tally.right.bought is not None}


def _told(right: Right, amount: int | None, *, whole: bool) -> SnapshotRight:
    lent = right.bought if right.kind is Kind.BOOL else amount
    overdraft = right.overdraft if whole else None
    return SnapshotRight(
        key=right.key,
        kind=right.kind.value,
        amount=lent,
        overdraft=overdraft.kind if overdraft else "none",
        overdraft_value=overdraft.value if overdraft else 0,
    )


def _cap(right: Right) -> int | None:
    return right.cap


def _too_few(denied: Denied) -> str:
    what = f"of {denied.key}" if denied.key else "seats"
    free = max(0, (denied.limit or 0) - denied.used)
    return (
        f"{free} {what} of {denied.limit} are free, and {denied.wanted} more would be lent: lend fewer, or free some"
        " (`seatkeeper seats`); what was lent before counts until its grant has ended"
    )


def _sum(said: ShareRemoved) -> str:
    seats = sum(still.rights.get(SEAT, 0) for still in said.out)
    until = max(still.until for still in said.out)
    return f"{_count(seats, 'seat')} until {_moment(datetime.fromtimestamp(until, tz=UTC))} at the latest"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
