"""What is out of range, too long or named twice is refused in words, before anything is kept."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import json

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.ids import b64url
from seatkeeper_server import statements, tokens
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.use import MOST_HOURS

from .town import a_town

SIGNER, RECEIVER = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()


def report(*hours: statements.HourOfUse, epoch: int = 1, **more) -> statements.Reported:
    """Make a report of one share."""
    said = {"sid": "s", "number": 1, "settled": False, "after": 0, "after_head": "", "upto": 1, "head": "", "used": 0}
    use = statements.UseReported(**{**said, "hours": list(hours), **more})
    return statements.Reported(tid="t", site="s", jti="j", iat=1.8e9, state="ok", epoch=epoch, uses=[use])


def opened(said: statements.Said) -> statements.FromSite:
    """Seal and open a document."""
    token = tokens.sealed(said, signer=SIGNER, receiver=statements.public_text(RECEIVER))
    return tokens.open_from_site(token, own=RECEIVER, key_of=lambda _: envelopes.public_key_text(SIGNER.public_key()))


def hour(at: int) -> statements.HourOfUse:
    """Make an hour of large numbers."""
    return statements.HourOfUse(hour=at, high=10**5, low=10**5, denials=10**5, seat_seconds=36 * 10**7)


def test_the_longest_report_can_be_opened() -> None:
    """A report of as many hours as one may have is read."""
    said = report(*(hour(1_800_000_000 + 3600 * i) for i in range(MOST_HOURS)))

    assert opened(said) == said


@pytest.mark.parametrize("said", [report(hour(3_600 * 10**12)), report(hour(1)), report(upto=2**63), report(used_up={"": -1})])
def test_numbers_out_of_range(said: statements.Reported) -> None:
    """A signed document with a number that nothing could be done with is none."""
    with pytest.raises(statements.Unreadable):
        opened(said)


@pytest.mark.parametrize("name", ["epoch", "number"])
def test_numbers_that_leave_the_vendor_no_room(name: str) -> None:
    """He goes on above what a server says that it has had from him, so there must be numbers above it."""
    near, beyond = ({name: 2**52}, {name: 2**52 + 1})

    assert opened(report(**near))
    with pytest.raises(statements.Unreadable):
        opened(report(**beyond))


def test_an_unknown_curve() -> None:
    """Whatever a stranger writes into the header, the token is unreadable."""
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": "k", "epk": {"kty": "OKP", "crv": "nope", "x": "AA"}}
    token = f"{b64url(json.encode(header))}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA"

    with pytest.raises(statements.Unreadable):
        tokens.open_from_site(token, own=RECEIVER, key_of=lambda _: None)


def test_two_vendors_of_one_name(tmp_path: Path) -> None:
    """A local server may have licenses of two vendors that are both called default."""
    (tmp_path / "other").mkdir()
    with a_town(tmp_path) as town, a_town(tmp_path / "other") as other:
        town.sell(50)
        other.sell(50)
        lab = town.open_site("lab")
        asked = lab.grants(lambda grants: grants.request(other.tenant, other.code, "lab"))
        answer = other.vendor(lambda lending: lending.license(asked))
        lab.grants(lambda grants: grants.apply(answer))

        assert len(lab.grants(lambda grants: grants.licenses())) == 2


@pytest.mark.parametrize("seats", [0, -5])
def test_no_seats_are_lent(tmp_path: Path, seats: int) -> None:
    """At least one seat is lent."""
    with a_town(tmp_path) as town:
        town.sell(50)
        town.open_site("lab")

        with pytest.raises(CannotDo, match="at least one"):
            town.lend("lab", seats)


def test_the_end_of_time(tmp_path: Path) -> None:
    """An end to which nothing can be added is refused."""
    with a_town(tmp_path) as town:
        town.sell(50, days=None)
        town.open_site("lab")

        with pytest.raises(CannotDo, match="9999"):
            town.lend("lab", 10, until=datetime(9999, 12, 31, tzinfo=UTC))
