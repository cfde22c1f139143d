"""What a vendor's document may say to a site. His server may be broken too: what is out of bounds is refused, and nothing done.

Each bound is tried from outside and from within, with documents that are signed and sealed as they should be. And the largest
that can be sold is lent and applied.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.catalogue import MAX_COUNT, MAX_NAME, Borrowing, Feature
from seatkeeper_server.domain.intervals import LONGEST
from seatkeeper_server.domain.terms import SEAT, Kind, Overdraft
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.delegation import TokenRefused
from seatkeeper_server.statements import MAX_TOKEN, MOST_CODES, MOST_RIGHTS, SnapshotRight

from .town import DAY, EXPORT, RENDER, Town, a_town

CENTURY = timedelta(seconds=LONGEST)
MICROS = LONGEST * 1_000_000
SEATS = {"key": SEAT, "kind": "seat", "amount": 1}

Document = dict[str, Any]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with a_town(tmp_path) as town:
        town.sell(50, features=(RENDER, EXPORT), borrow=Borrowing(14 * DAY, 2))
        town.open_site("lab")
        yield town


def rows(town: Town) -> list[str]:
    """Give everything that the site's database holds."""
    with closing(sqlite3.connect(town.directory / "lab" / "seatkeeper.db")) as connection:
        return list(connection.iterdump())


def said_by(town: Town, token: str) -> Document:
    """Read what a document says, as only the site can."""
    with town.sites["lab"].opened() as (_, vault):
        own = vault.sealing_key("", town.now)
    said = tokens.open_from_vendor(token, own=own, root_of=lambda _: town.sold.public_key)
    return json.decode(json.encode(said), type=Document)


def written(town: Town, said: Document) -> str:
    """Write any document as the vendor's server does, whatever it says."""
    with town.sites["lab"].opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key("", town.now))
    with town.cloud.opened() as (_, vault):
        signer, _ = vault.signing_key(town.tenant)
    signed = envelopes.sign(json.encode(said), typ=tokens.TYPE, kid=envelopes.key_id(signer.public_key()), key=signer)
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": tokens.SEALED, "kid": statements.sealing_kid(receiver)}
    key = tokens.OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": receiver})
    return tokens.jwe.encrypt_compact(header, signed, key, registry=tokens._REGISTRY)


def changed(said: Document, path: str, value: object) -> Document:
    """Give a document that says something else in one place, such as `snapshot.lease` or `snapshot.rights.0.amount`."""
    *way, last = path.split(".")
    inner: Any = said
    for step in way:
        inner = inner[int(step) if step.isdecimal() else step]
    inner[int(last) if last.isdecimal() else last] = value
    return said


def grant(town: Town) -> Document:
    return said_by(town, town.lend("lab", 10, features={"render": 5}, carried=False))


def license_(town: Town) -> Document:
    return said_by(town, town.vendor(lambda lending: lending.renew_license(town.site_ids["lab"])))


def apply(town: Town, said: Document) -> None:
    token = written(town, said)
    town.sites["lab"].grants(lambda grants: grants.apply(token))


def refused(town: Town, said: Document) -> str:
    """Give the code by which the site refuses a document, after which its database is as it was."""
    before = rows(town)
    with pytest.raises(TokenRefused) as caught:
        apply(town, said)
    assert rows(town) == before
    return caught.value.problem


IDS = ["entitlement_id", "group_id", "product_id", "edition_id", "offering_id", "plan_id", "customer_id"]
WORDS = ["product", "edition", "offering", "sku", "plan", "customer", "account_ref_id", "order_ref_id"]
OUTSIDE: list[tuple[str, object]] = [
    *((f"snapshot.{name}", "x" * 65) for name in IDS),
    *((f"snapshot.{name}", "") for name in IDS),
    *((f"snapshot.{name}", "x" * 201) for name in WORDS),
    *((f"snapshot.{name}", "not\0printable") for name in WORDS),
    *((f"snapshot.{name}", "nope") for name in ("plan_type", "license_type", "license_start_type", "duration_type")),
    *((f"snapshot.{name}", "nope") for name in ("mode", "nonce")),
    ("snapshot.duration_count", 0),
    ("snapshot.duration_count", LONGEST + 1),
    ("snapshot.duration_count", None),
    ("snapshot.lease", 0),
    ("snapshot.lease", -1),
    ("snapshot.lease", 999_999),
    *((f"snapshot.{name}", MICROS + 1) for name in ("lease", "linger", "borrow")),
    *((f"snapshot.{name}", -1) for name in ("linger", "borrow", "margin")),
    ("snapshot.margin", 86_400_000_001),
    ("snapshot.maintenance_ends_at", -1),
    ("snapshot.maintenance_ends_at", 1e15),
    ("snapshot.borrow_most", -1),
    ("snapshot.borrow_most", 0),
    ("snapshot.borrow_most", MAX_COUNT + 1),
    ("snapshot.rights.0.amount", -1),
    ("snapshot.rights.0.amount", 0),
    ("snapshot.rights.0.amount", None),
    ("snapshot.rights.0.amount", MAX_COUNT + 1),
    ("snapshot.rights.0.amount", 2**63),
    ("snapshot.rights.0.kind", "bool"),
    ("snapshot.rights.2.amount", -1),
    ("snapshot.rights.2.amount", MAX_COUNT + 1),
    ("snapshot.rights.2.kind", "seat"),
    ("snapshot.rights.2.kind", "nope"),
    ("snapshot.rights.2.key", "x" * (MAX_NAME + 1)),
    ("snapshot.rights.2.key", "not\0printable"),
    ("snapshot.rights.2.key", "export"),
    ("snapshot.rights.2.overdraft", "nope"),
    ("snapshot.rights.2.overdraft_value", -1),
    ("snapshot.rights.2.overdraft_value", MAX_COUNT + 1),
    ("snapshot.rights", []),
    ("snapshot.rights", [SEATS, *({"key": f"f{n}", "kind": "bool", "amount": 1} for n in range(MOST_RIGHTS))]),
    ("snapshot.codes", [""]),
    ("snapshot.codes", ["x" * 51]),
    ("snapshot.codes", [f"code-{number}" for number in range(MOST_CODES + 1)]),
    ("patience", -1),
    ("patience", LONGEST + 1),
    ("patience", 1e300),
    ("sid", ""),
    ("sid", "x" * 65),
    ("jti", ""),
    ("jti", "x" * 65),
    ("until", 1e15),
    ("number", -1),
    ("number", 2**53),
    ("certificate", ""),
    ("certificate", "no.certificate.at-all"),
    ("certificate", "x" * (envelopes.MAX_TOKEN + 1)),
]
WITHIN: list[tuple[str, object]] = [
    *((f"snapshot.{name}", "x" * 200) for name in WORDS),
    *((f"snapshot.{name}", None) for name in ("account_ref_id", "order_ref_id", "maintenance_ends_at")),
    ("snapshot.duration_count", LONGEST),
    ("snapshot.duration_count", 1),
    ("snapshot.lease", 1_000_000),
    *((f"snapshot.{name}", MICROS) for name in ("lease", "linger", "borrow")),
    *((f"snapshot.{name}", 0) for name in ("linger", "borrow", "margin")),
    ("snapshot.margin", 86_400_000_000),
    ("snapshot.maintenance_ends_at", statements.LATEST),
    ("snapshot.borrow_most", 1),
    ("snapshot.borrow_most", MAX_COUNT),
    ("snapshot.rights.0.amount", 1),
    ("snapshot.rights.0.amount", MAX_COUNT),
    ("snapshot.rights.2.amount", 0),
    ("snapshot.rights.2.amount", None),
    ("snapshot.rights.2.amount", MAX_COUNT),
    ("snapshot.rights.2.key", "x" * MAX_NAME),
    ("snapshot.rights.2.overdraft_value", MAX_COUNT),
    ("snapshot.rights", [SEATS]),
    ("snapshot.codes", []),
    ("snapshot.codes", ["x" * 50]),
    ("snapshot.codes", [f"code-{number}" for number in range(MOST_CODES)]),
    ("patience", 0),
    ("patience", LONGEST),
]


def short(value: object) -> str:
    return str(value)[:12]


def test_documents_as_they_are_made(town: Town) -> None:
    """What is tried here is what documents say, not how they are written: unchanged, they are applied."""
    apply(town, grant(town))
    apply(town, license_(town))

    assert isinstance(town.take(town.sites["lab"], "a"), Served)


@pytest.mark.parametrize(("path", "value"), OUTSIDE, ids=short)
def test_a_grant_that_is_out_of_bounds(town: Town, path: str, value: object) -> None:
    """Too long, too large, too many, of no kind that there is: refused as malformed, and nothing is changed."""
    assert refused(town, changed(grant(town), path, value)) == "offline.malformed"


@pytest.mark.parametrize(("path", "value"), WITHIN, ids=short)
def test_a_grant_within_bounds(town: Town, path: str, value: object) -> None:
    """The largest and the smallest that are allowed are applied, and the site serves by them."""
    apply(town, changed(grant(town), path, value))

    assert isinstance(town.take(town.sites["lab"], "a"), Served) or "codes" in path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("patience", -1),
        ("patience", LONGEST + 1),
        ("name", ""),
        ("name", "x" * (MAX_NAME + 1)),
        ("vendor", "x" * 201),
        ("contact", "x" * 201),
        ("lease_ends_at", 1e15),
        ("root", "x"),
        ("sealing_key", "x"),
        ("sealing_key", b64url(bytes(32))),
        ("certificate", ""),
    ],
    ids=short,
)
def test_a_license_that_is_out_of_bounds(town: Town, path: str, value: object) -> None:
    """The same with a license, and with keys that are none: a server that had applied them could never answer again."""
    assert refused(town, changed(license_(town), path, value)) == "offline.malformed"


@pytest.mark.parametrize(
    ("path", "value"),
    [("patience", 0), ("patience", LONGEST), ("name", "x" * MAX_NAME), ("vendor", "x" * 200), ("contact", "x" * 200)],
    ids=short,
)
def test_a_license_within_bounds(town: Town, path: str, value: object) -> None:
    """The largest and the smallest that are allowed are applied."""
    apply(town, changed(license_(town), path, value))

    assert town.report("lab")


def test_a_certificate_of_somebody_elses_root(town: Town) -> None:
    """A vendor whose certificate is not his own root's would leave a site that no program believes: it is refused."""
    with town.unlicensed("other").opened() as (catalogue, vault):
        catalogue.sites.put_tenant(town.tenant, "x", None, town.now)
        vault.make_keys(town.tenant, town.now)
        _, foreign = vault.signing_key(town.tenant)

    assert refused(town, changed(grant(town), "certificate", foreign)) == "offline.malformed"


def test_a_state_that_there_is_none_of(town: Town) -> None:
    """A site's report says one of the states that a site can be in, or is none."""
    with town.cloud.opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key(town.tenant, town.now))
    with town.sites["lab"].opened() as (_, vault):
        signer = vault.own_signing_key(town.now)
    head = {"tid": town.tenant, "site": town.site_ids["lab"], "jti": "j", "iat": town.now.timestamp(), "seq": 9}
    said = statements.Reported(**head, state="nope", epoch=1, uses=[])  # type: ignore[arg-type]  # that is what is tried
    token = tokens.sealed(said, signer=signer, receiver=receiver)

    with pytest.raises(TokenRefused) as caught:
        town.vendor(lambda lending: lending.report(token))
    assert caught.value.problem == "offline.malformed"


# --- no narrower than what can be sold -----------------------------------------------------------------------------


def test_the_largest_that_can_be_sold_is_lent(tmp_path: Path) -> None:
    """The most seats, the longest names and intervals, and all of every feature: lent altogether, applied and served."""
    longest = "n" * MAX_NAME
    features = tuple(
        Feature(f"{number:02}".ljust(MAX_NAME, "x"), kind, amount, Overdraft("absolute", 999_999_999))
        for number, (kind, amount) in enumerate(
            (kind, amount) for kind in (Kind.ELEMENT_POOL, Kind.USAGE_COUNT) for amount in (0, MAX_COUNT, None)
        )
    )
    with a_town(tmp_path) as town:
        town.sell(5)
        lab = town.open_site("l" * MAX_NAME)
        sold = town.sell_another(
            longest,
            seats=MAX_COUNT,
            overdraft=Overdraft.percentage(999_999_999),
            lease=CENTURY,
            linger=CENTURY,
            days=36_500,
            features=(*features, Feature(longest, Kind.BOOL)),
            borrow=Borrowing(CENTURY, MAX_COUNT),
        )
        token = town.vendor(lambda lending: lending.lend(sold, town.site_ids["l" * MAX_NAME]))
        lab.grants(lambda grants: grants.apply(token))

        (lent,) = lab.grants(lambda grants: grants.entitlements(town.tenant))
        with town.cloud.opened() as (catalogue, _):
            bought = catalogue.bought(town.tenant, sold)[0].pool

        assert [tally.right for tally in lent.bought.pool.tallies.values()] == [t.right for t in bought.tallies.values()]
        terms = lent.bought.pool.terms
        assert (terms.lease, terms.linger, terms.borrow) == (CENTURY, CENTURY, CENTURY)


def test_more_rights_than_may_be_named_have_no_room_in_a_document() -> None:
    """However short their names, so many rights are longer than a document may be: none that could be sent is refused."""
    rights = [SnapshotRight(key=f"{number:x}", kind="bool", amount=1) for number in range(MOST_RIGHTS)]

    assert len(b64url(b64url(json.encode(rights)).encode())) > MAX_TOKEN


def test_limits_that_were_taken_away_are_lent_on(tmp_path: Path) -> None:
    """Where no seat may be borrowed any more, none at once is no contradiction."""
    with a_town(tmp_path) as town:
        town.sell(5, borrow=Borrowing(14 * DAY, 2))
        town.open_site("lab")
        with town.cloud.opened() as (catalogue, _):
            catalogue.set_borrowing(town.key, None)
        town.lend("lab", 3)

        assert isinstance(town.take(town.sites["lab"], "a"), Served)
