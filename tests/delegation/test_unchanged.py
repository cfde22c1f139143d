"""What can't be lent, and what is no document, is refused by name; and then the database is as it was, to the last row."""

import sqlite3
from bisect import bisect
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.catalogue import Feature
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import TokenRefused
from seatkeeper_server.service.selling import Change

from .town import Town, a_town

TOO_MANY = "too many shares"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with a_town(tmp_path) as town:
        yield town


def rows(town: Town, name: str) -> list[str]:
    """Give everything that a server's database holds."""
    path = town.directory / "cloud.db" if name == "cloud" else town.directory / name / "seatkeeper.db"
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@contextmanager
def unchanged(town: Town, name: str = "cloud") -> Iterator[None]:
    """See to it that a server's database stays as it is."""
    before = rows(town, name)
    yield
    assert rows(town, name) == before


# --- a certificate that no program could read ----------------------------------------------------------------------


def pools(count: int, length: int = 50) -> tuple[Feature, ...]:
    """Give features with names of a length, of which ten each are sold."""
    return tuple(Feature(f"{number:03}".ljust(length, "x"), Kind.ELEMENT_POOL, 10) for number in range(count))


def lendable(town: Town, site: str, features: tuple[Feature, ...], sold: str = "") -> int:
    """Tell how many of these features can be lent together; nothing is."""
    amounts = [{feature.key: 10 for feature in features[:count]} for count in range(len(features) + 1)]
    return bisect(amounts, False, key=lambda more: not lends(town, site, sold or town.key[1], more)) - 1


def lends(town: Town, site: str, sold: str, features: dict[str, int], seats: int | None = 5) -> bool:
    """Tell whether so much can be lent; nothing is."""

    def tried(lending) -> None:
        lending.lend(sold, town.site_ids[site], seats=seats, features=features)
        raise Undone

    try:
        town.vendor(tried)
    except CannotDo:
        return False
    except Undone:
        return True


class Undone(Exception):
    """It could be done, and was not committed."""


def test_what_no_program_could_read_the_certificate_of_is_not_lent(town: Town) -> None:
    """A certificate too long for programs is refused before anything is lent: the vendor's database is as it was."""
    features = pools(130)
    town.sell(50, features=features)
    lab = town.open_site("lab")

    with unchanged(town), pytest.raises(CannotDo, match=TOO_MANY):
        town.lend("lab")

    with unchanged(town), pytest.raises(CannotDo, match=TOO_MANY):
        town.lend("lab", 5, features={feature.key: 1 for feature in features})
    town.lend("lab", 5)
    assert isinstance(town.take(lab, "a"), Served)


def test_the_longest_certificate_is_read_by_programs(town: Town) -> None:
    """As many features as can be lent: a program believes its lease; with one more nothing is lent."""
    features = pools(130)
    town.sell(50, features=features)
    lab = town.open_site("lab")
    most = lendable(town, "lab", features)

    with unchanged(town), pytest.raises(CannotDo, match=TOO_MANY):
        town.lend("lab", 5, features={feature.key: 10 for feature in features[: most + 1]})
    town.lend("lab", 5, features={feature.key: 10 for feature in features[:most]})
    held = town.take(lab, "a", {features[most - 1].key: 10})

    assert isinstance(held, Served)
    assert town.believed(lab, held).feat[features[most - 1].key] == 10


def test_a_report_is_not_answered_with_what_could_not_be_made(town: Town) -> None:
    """A fresh document would have too long a certificate: the exchange says so, and nothing counts that nobody has."""
    town.sell(50)
    town.open_site("lab")
    sold = sold_to_the_last_character(town)
    token = town.vendor(lambda lending: lending.lend(sold, town.site_ids["lab"]))
    town.sites["lab"].grants(lambda grants: grants.apply(token))
    with town.cloud.opened() as (catalogue, _):
        selling.change(catalogue, sold, Change(seats=51), town.now)
    town.pass_(timedelta(microseconds=123_456))  # moments are longer to write now
    report = town.report("lab", carried=False)

    with unchanged(town), pytest.raises(CannotDo, match=TOO_MANY):
        town.vendor(lambda lending: lending.exchange(report))


def sold_to_the_last_character(town: Town) -> str:
    """Sell what can just be lent altogether, now: a certificate of it has no room for some characters more."""
    sold = town.sell_another("measured", seats=50, features=pools(130))
    most = lendable(town, "lab", pools(130), sold)
    last, found = 0, ""
    for step in (32, 16, 8, 4, 2, 1):
        features = (*pools(most), Feature("a" * (last + step), Kind.ELEMENT_POOL, 10))
        sold = town.sell_another(f"{last + step} characters", seats=50, features=features)
        if lends(town, "lab", sold, {}, seats=None):
            last, found = last + step, sold
    return found


# --- a request under keys that are none ----------------------------------------------------------------------------


def request(town: Town, **changed: str) -> str:
    """Make a request of a new server for its license, with something else in it."""
    signer = Ed25519PrivateKey.generate()
    said = statements.LicenseRequest(
        tid=town.tenant,
        jti="j",
        iat=town.now.timestamp(),
        name="lab",
        challenge="c" * 32,
        signing_key=envelopes.public_key_text(signer.public_key()),
        sealing_key=statements.public_text(tokens.X25519PrivateKey.generate()),
        iss="db_x",
    )
    return tokens.sealed_by_code(replace(said, **changed), signer=signer, code=town.code)


NO_KEYS = ["", "x", "no key at all", "=" * 43, "A" * 42 + "B", "é" * 43, b64url(bytes(31)), b64url(bytes(33))]
NOTHING_TO_AGREE_WITH = [b64url(bytes(32)), b64url(b"\1" + bytes(31)), b64url(b"\xec" + b"\xff" * 30 + b"\x7f")]


@pytest.mark.parametrize(
    ("field", "text"),
    [("signing_key", text) for text in NO_KEYS] + [("sealing_key", text) for text in NO_KEYS + NOTHING_TO_AGREE_WITH],
)
def test_a_request_under_a_key_that_is_none(town: Town, field: str, text: str) -> None:
    """A request that names a malformed signing or sealing key is refused as malformed, says which, and changes nothing."""
    town.sell(50)
    token = request(town, **{field: text})
    words = field.replace("_", " ")

    for do in (lambda lending: lending.license(token), lambda lending: lending.exchange(token)):
        with unchanged(town), pytest.raises(TokenRefused, match=f"the {words} that this token names is none") as caught:
            town.vendor(do)
        assert caught.value.problem == "offline.malformed"
    town.vendor(lambda lending: lending.license(request(town)))
