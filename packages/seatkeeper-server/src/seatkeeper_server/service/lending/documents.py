"""The documents that go out to local servers: the license, and what is lent with the entitlement as it is now.

Each is the next one to its server, under a number of its own; it names a signing key of the vendor's that his root has
certified, and brings the server's certificate anew (`certificates.py`).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from msgspec import json
from msgspec.structs import replace as struct_replace

from seatkeeper.protocol.ids import b64url
from seatkeeper_server import tokens
from seatkeeper_server.domain.shares import Grant
from seatkeeper_server.domain.sites import DEFAULT_PATIENCE
from seatkeeper_server.domain.terms import BORROWED, Kind, Right, is_feature
from seatkeeper_server.domain.timekeeping import MICROSECOND
from seatkeeper_server.service.catalogue import Bought
from seatkeeper_server.service.delegation import Share, Site, writable
from seatkeeper_server.service.lending import certificates
from seatkeeper_server.service.lending.lender import LICENSE_LEASE, Lender
from seatkeeper_server.service.ports import PoolKey
from seatkeeper_server.statements import GrantGiven, LicenseGiven, Snapshot, SnapshotRight, public_text

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def of_license(lender: Lender, site: Site, challenge: str = "") -> str:
    """Give the document by which a server is licensed; who has asked is to hear its challenge. The site is kept as given."""
    site = _numbered(lender, site)
    lease_ends_at = next(known.lease_ends_at for known in lender.sites() if known.site_id == site.site_id)
    lease_ends_at = lease_ends_at or lender.now + LICENSE_LEASE
    tenant = lender.tenant()
    signer, issuer = lender.keys.signing_key(lender.tenant_id)
    said = LicenseGiven(
        **_head(lender, site),
        name=site.name,
        challenge=challenge,
        root=lender.keys.public_key(lender.tenant_id),
        vendor=tenant.name,
        contact=tenant.contact,
        sealing_key=public_text(lender.keys.sealing_key(lender.tenant_id, lender.now)),
        issuer=issuer,
        lease_ends_at=lease_ends_at.timestamp(),
        patience=DEFAULT_PATIENCE.total_seconds(),
        certificate=certificates.certificate(lender, site, lease_ends_at),
        heard=site.heard,
    )
    return writable(lambda: tokens.sealed(said, signer=signer, receiver=site.sealing_key))


def of_grant(lender: Lender, share: Share, site: Site, grant: Grant) -> str:
    """Give the document of a grant: one that was never confirmed is given again under its own number."""
    site = _numbered(lender, site)
    signer, issuer = lender.keys.signing_key(lender.tenant_id)
    said = GrantGiven(
        **_head(lender, site),
        sid=share.share_id,
        number=grant.number,
        began=(share.lent_at - _EPOCH) // MICROSECOND,
        until=grant.until.timestamp(),
        snapshot=struct_replace(_snapshot(lender, share, grant.rights), codes=_codes(lender, share.key)),
        issuer=issuer,
        certificate=certificates.certificate(lender, site, grant.until),
        patience=DEFAULT_PATIENCE.total_seconds(),
        heard=site.heard,
    )
    return writable(lambda: tokens.sealed(said, signer=signer, receiver=site.sealing_key))


def _numbered(lender: Lender, site: Site) -> Site:
    site = replace(site, sent=site.sent + 1)
    lender.books.sites.save_site(site)
    return site


def _head(lender: Lender, site: Site) -> dict[str, Any]:  # what every document says, by name
    jti = b64url(lender.random(16))
    return {"tid": lender.tenant_id, "site": site.site_id, "jti": jti, "iat": lender.now.timestamp(), "seq": site.sent}


def _codes(lender: Lender, key: PoolKey) -> list[str]:
    return [lender.keys.open_code(lender.tenant_id, code) for code in lender.books.codes(*key)]


# --- the entitlement as it is told ---------------------------------------------------------------------------------


def fingerprint(lender: Lender, share: Share, rights: Mapping[str, int]) -> str:
    """Give what tells whether an entitlement has changed; of one that is lent altogether, its end is a part."""
    last = lender.bought(share.entitlement_id).pool.terms.last_moment
    snapshot = _snapshot(lender, share, rights)
    return sha256(json.encode((snapshot, last if share.is_whole else None))).hexdigest()


def all_of(bought: Bought) -> dict[str, int]:
    """Give as much of each right as was bought. What may be borrowed of it is a policy, not a right that is lent."""
    rights = [tally.right for key, tally in bought.pool.tallies.items() if key != BORROWED]
    return {right.key: right.bought for right in rights if right.counted and right.bought is not None}


def _snapshot(lender: Lender, share: Share, rights: Mapping[str, int]) -> Snapshot:
    """Give an entitlement as a server is told it: so much of each right. What is granted above goes with all of it only."""
    tallies, whole = lender.bought(share.entitlement_id).pool.tallies, share.is_whole
    told = [
        _told(tally.right, rights.get(name), whole=whole)
        for name, tally in sorted(tallies.items())
        if name in rights or tally.right.kind is Kind.BOOL or (whole and is_feature(name) and tally.right.bought is None)
    ]
    out = tallies.get(BORROWED)
    most = out.right.bought if out is not None else None
    return struct_replace(lender.books.sites.snapshot(share.key), rights=told, borrow_most=most)


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
