"""Licenses of local servers: a server asks for one under the vendor's activation code, keeps it, and gives it back.

A license is a seat of an entitlement that the vendor holds himself, product "Local License Server"; so the pool machine counts
servers like any programs. Whoever calls what changes a license has taken the turn (`Lender.take_turn`).
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from seatkeeper.protocol import ids
from seatkeeper.protocol.ids import b64url
from seatkeeper_server.domain.catalogue import DEFAULT_VENDOR, Sale, Terms
from seatkeeper_server.domain.facts import Denied
from seatkeeper_server.domain.requests import Activate, Refresh, Return
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.domain.state import Rejected
from seatkeeper_server.domain.terms import Mode
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import Who
from seatkeeper_server.service.catalogue import Bought, CannotDo, NotFound
from seatkeeper_server.service.delegation import Site, TokenRefused
from seatkeeper_server.service.lending import documents, hearing, places
from seatkeeper_server.service.lending.lender import LICENSE_LEASE, LICENSE_PRODUCT, Lender, licenses_of
from seatkeeper_server.service.ports import HoldingRecord, Random
from seatkeeper_server.service.site_books import Books, Keyholder
from seatkeeper_server.service.workspace import Workspace
from seatkeeper_server.statements import LicenseEnded, LicenseRequest, kind_of

LICENSES: Final = 1_000  # servers that one vendor may license, until he changes that


# --- asking for one ------------------------------------------------------------------------------------------------


def site_code(books: Books, keys: Keyholder, vendor: str | None, *, now: datetime, random: Random) -> tuple[str, str]:
    """Give a vendor's id, and the activation code by which his local servers are licensed; both are made if need be.

    Raises:
        CannotDo: there are several vendors, and none was named.
    """
    tenants = {tenant.name: tenant.tenant_id for tenant in books.tenants()}
    if vendor is None and len(tenants) > 1:
        raise CannotDo(f"there are {len(tenants)} vendors: name one with --tenant: {', '.join(sorted(tenants))}")
    name = vendor or next(iter(tenants), DEFAULT_VENDOR)
    if name in tenants and (found := licenses_of(books, tenants[name])):
        _, codes = selling.read_codes(books, keys, found[0].entitlement_id, now)
        return tenants[name], codes[0]
    terms = Terms(seats=LICENSES, mode=Mode.NODE_LOCK, lease=LICENSE_LEASE, days=None)
    sale = Sale(customer=name, product=LICENSE_PRODUCT, terms=terms, tenant=name)
    sold = selling.sell(books, keys, sale, now=now, starts_at=now, random=random)
    return sold.tenant_id, sold.code


def code(lender: Lender) -> str:
    """Give the activation code by which a vendor's local servers are licensed."""
    name = next((tenant.name for tenant in lender.books.tenants() if tenant.tenant_id == lender.tenant_id), None)
    return site_code(lender.books, lender.keys, name, now=lender.now, random=lender.random)[1]


def entitlement(lender: Lender) -> Bought:
    """Give the entitlement whose seats are the licenses.

    Raises:
        NotFound: no server was ever licensed.
    """
    found = lender.licenses()
    if not found:
        raise NotFound("entitlement", LICENSE_PRODUCT, [], "no local server can be licensed yet: see `seatkeeper site code`")
    return found[0]


def give(lender: Lender, token: str) -> str:
    """License the server that asks for it, and give the answer it waits for: who asks again keeps its license."""
    bought, asked = hearing.opened_request(lender, token)
    hearing.apply_once(lender, asked.jti)
    known = next((site for site in lender.sites() if site.signing_key == asked.signing_key), None)
    site_id = known.site_id if known else ids.make_id(ids.SITE, lender.random(ids.RANDOM_BYTES))
    activation_id = _take_seat(lender, bought, site_id, asked)
    site = _site(lender, bought, asked, site_id, activation_id)
    if known:
        site = _going_on(site, known)
    lender.note(lender.tenant_id, "siteLicensed", {"site": site.site_id, "name": site.name})
    return documents.of_license(lender, site, asked.challenge)


def _site(lender: Lender, bought: Bought, asked: LicenseRequest, site_id: str, activation_id: str) -> Site:
    return Site(
        tenant_id=lender.tenant_id,
        site_id=site_id,
        name=asked.name,
        entitlement_id=bought.entitlement_id,
        activation_id=activation_id,
        database_id=asked.iss,
        signing_key=asked.signing_key,
        sealing_key=asked.sealing_key,
        activated_at=lender.now,
    )


def _going_on(site: Site, known: Site) -> Site:
    """Give a server that asks anew with what was said to it and heard from it before."""
    return replace(
        site,
        sent=known.sent,
        heard=known.heard,
        heard_id=known.heard_id,
        heard_made_at=known.heard_made_at,
        last_report_at=known.last_report_at,
        activated_at=known.activated_at,
    )


def _take_seat(lender: Lender, bought: Bought, site_id: str, asked: LicenseRequest) -> str:
    """Take a seat of the licenses for a server, or again the one it has; give the activation's id."""
    work, key, who = Workspace(lender.books.tx, lender.now), bought.key, Who(seat_id=site_id, seat_name=asked.name)
    work.load_pools([key])
    work.load_seats([(*key, site_id)])
    known = work.holders.get((*key, site_id))
    own = work.holding_of(known) if known else None
    ask = Activate(
        activation_id=own.holding.activation_id if own else ids.make_id(ids.ACTIVATION, lender.random(ids.RANDOM_BYTES)),
        holder=known.number if known else work.pool(key).holders + 1,
        next_nonce=b64url(lender.random(16)),
        proof=own.holding.generation if own else None,
        device=asked.signing_key,  # which has signed the request: who asks again has his own license again
    )
    decision = work.decide(key, ask, own, who)
    if isinstance(decision, Denied | Rejected):
        limit = bought.pool.seats.right.bought
        raise CannotDo(f"no license for a local server is left: {limit} are in use; see `seatkeeper change {key[1]} --seats N`")
    work.know(key, decision.holder, who)
    work.save()
    return ask.activation_id


# --- keeping it ----------------------------------------------------------------------------------------------------


def renew(lender: Lender, called: str) -> str:
    """Renew a server's license, and give the document that says so; it clears the server of suspicion."""
    site = lender.licensed_site(called)
    _refresh_seat(lender, site)
    return documents.of_license(lender, replace(site, state=SiteState.OK, state_since=None))


def _refresh_seat(lender: Lender, site: Site) -> None:
    work, own = _held(lender, site)
    ask = Refresh(
        activation_id=site.activation_id,
        generation=own.holding.generation,
        next_nonce=b64url(lender.random(16)),
        nonce=own.holding.nonces.current,
    )
    decision = work.decide((lender.tenant_id, site.entitlement_id), ask, own, own.who)
    if isinstance(decision, Denied | Rejected):
        raise CannotDo(f"the license of {site.name} can't be renewed: {decision.problem}")
    work.save()


# --- giving it back ------------------------------------------------------------------------------------------------


def end(lender: Lender, token: str) -> None:
    """Take a server's license back, by its word."""
    said = hearing.opened(lender, token)
    if not isinstance(said, LicenseEnded):
        raise TokenRefused("offline.wrongKind", f"this token is a {kind_of(said)}: see `seatkeeper token apply`")
    end_heard(lender, said)


def end_heard(lender: Lender, said: LicenseEnded) -> None:
    """Take a server's license back, which says so."""
    _end(lender, hearing.heard(lender, said))


def forget(lender: Lender, called: str) -> None:
    """Take a server's license back without its word: it is lost."""
    _end(lender, lender.licensed_site(called))


def _end(lender: Lender, site: Site) -> None:
    if out := [share for share in lender.running_at(site) if places.counts_until(lender, share)]:
        raise CannotDo(f"{site.name} still has {len(out)} of your entitlements: take them back first (`seatkeeper site list`)")
    work, own = _held(lender, site)
    ask = Return(activation_id=site.activation_id, generation=own.holding.generation, proven=True)
    work.decide((lender.tenant_id, site.entitlement_id), ask, own, own.who)
    work.save()
    lender.books.sites.save_site(replace(site, deactivated_at=lender.now))
    lender.note(lender.tenant_id, "siteEnded", {"site": site.site_id, "name": site.name})


def _held(lender: Lender, site: Site) -> tuple[Workspace, HoldingRecord]:
    """Give the seat that a server's license is, where it can be changed."""
    work = Workspace(lender.books.tx, lender.now)
    work.load_pools([(lender.tenant_id, site.entitlement_id)])
    work.load_held([(lender.tenant_id, site.activation_id)])
    return work, work.held[lender.tenant_id, site.activation_id]
