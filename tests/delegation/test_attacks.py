"""What somebody may try with documents, clocks and copies, and by which code each is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json
from msgspec.structs import replace

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.documents import CertificateClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.delegation import TokenRefused
from seatkeeper_server.service.timekeeping import ClockState, Timekeeper
from tests.support.house import HandClock

from .town import DAY, EXPORT, MINUTE, RENDER, Server, Town, a_town, problem, rule


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(50, features=(RENDER, EXPORT))
        town.open_site("lab-1")
        yield town


def refused(town: Town, site: Server, token: str) -> str:
    """Try a document at a site; the code of its refusal, after which nothing may have changed."""
    before = site.used(town.key)
    with pytest.raises(TokenRefused) as caught:
        site.grants(lambda grants: grants.apply(token))
    assert site.used(town.key) == before
    return caught.value.problem


def state(town: Town, site: Server) -> SiteState:
    """Give whether a site believes itself."""
    return site.grants(lambda grants: grants.license(town.tenant)).state


def test_a_document_is_applied_once(town: Town) -> None:
    """The same token again is refused, on either side."""
    token = town.lend("lab-1", 10)
    report = town.report("lab-1")

    assert refused(town, town.sites["lab-1"], token) == "offline.replayed"
    with pytest.raises(TokenRefused) as caught:
        town.vendor(lambda lending: lending.report(report))
    assert caught.value.problem == "offline.replayed"


def test_a_document_for_another_server(town: Town) -> None:
    """What was made for lab-1 opens nowhere else, and what a site made doesn't open at another vendor's."""
    other = town.open_site("lab-2")
    token = town.lend("lab-1", 10, carried=False)

    assert refused(town, other, token) == "offline.wrongServer"


def test_a_document_of_an_earlier_session(town: Town) -> None:
    """A share that was given back doesn't come to life again by a document that was kept aside."""
    town.lend("lab-1", 10)
    kept = town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    town.give_back("lab-1")
    assert refused(town, town.sites["lab-1"], kept) == "offline.tooOld"
    town.pass_(MINUTE)
    later = town.lend("lab-1", 5, carried=False)
    another = town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    town.sites["lab-1"].grants(lambda grants: grants.apply(another))

    assert refused(town, town.sites["lab-1"], later) == "offline.tooOld"
    assert refused(town, town.sites["lab-1"], kept) == "offline.tooOld"


@pytest.mark.parametrize("part", range(5))
def test_an_edited_byte(town: Town, part: int) -> None:
    """One character more or less, anywhere, and it is no document any more."""
    parts = town.lend("lab-1", 10, carried=False).split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle : middle + 1] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]

    assert refused(town, town.sites["lab-1"], ".".join(parts)) in ("offline.forged", "offline.malformed", "offline.wrongServer")


def opened(town: Town, token: str) -> statements.GrantGiven:
    """Read what a document for lab-1 says, as only lab-1 can."""
    with town.sites["lab-1"].opened() as (_, vault):
        own = vault.sealing_key("", town.now)
    said = tokens.open_from_vendor(token, own=own, root_of=lambda said: town.sold.public_key)
    assert isinstance(said, statements.GrantGiven)
    return said


def sealing_key(town: Town) -> str:
    with town.sites["lab-1"].opened() as (_, vault):
        return statements.public_text(vault.sealing_key("", town.now))


def test_a_document_signed_by_a_wrong_key(town: Town) -> None:
    """Neither a stranger's key nor the site's own, although the root has certified that one, signs a grant."""
    said = replace(opened(town, town.lend("lab-1", 10, carried=False)), jti="another", number=7)
    with town.sites["lab-1"].opened() as (_, vault):
        own = vault.own_signing_key(town.now)
    stranger = tokens.sealed(said, signer=Ed25519PrivateKey.generate(), receiver=sealing_key(town))
    itself = tokens.sealed(replace(said, issuer=said.certificate), signer=own, receiver=sealing_key(town))

    assert refused(town, town.sites["lab-1"], stranger) == "offline.forged"
    assert refused(town, town.sites["lab-1"], itself) == "offline.wrongKey"


def test_a_vendor_that_nobody_knows(town: Town) -> None:
    """A license that doesn't repeat the challenge is nobody's: whoever hasn't the code can't become the vendor."""
    site = town.unlicensed("lab-9")
    site.grants(lambda grants: grants.request(town.tenant, town.code, "lab-9"))
    with site.opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key("", town.now))
    root, signer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    year = (town.now + 365 * DAY).timestamp()
    claims = CertificateClaims(
        tid=town.tenant,
        iss="db_x",
        kid=envelopes.key_id(signer.public_key()),
        key=envelopes.public_key_text(signer.public_key()),
        iat=town.now.timestamp(),
        nbf=town.now.timestamp(),
        exp=year,
    )
    kid = envelopes.key_id(root.public_key())
    issuer = envelopes.sign(json.encode(claims), typ=envelopes.CERTIFICATE, kid=kid, key=root)
    said = statements.LicenseGiven(
        tid=town.tenant,
        site="lls_x",
        jti="j",
        iat=town.now.timestamp(),
        seq=1,
        name="lab-9",
        challenge="guessed",
        root=envelopes.public_key_text(root.public_key()),
        vendor="default",
        contact=None,
        sealing_key=receiver,
        issuer=issuer,
        lease_ends_at=year,
        patience=0,
        certificate=issuer,
    )

    assert refused(town, site, tokens.sealed(said, signer=signer, receiver=receiver)) == "offline.wrongKey"


def test_a_swapped_grant(town: Town) -> None:
    """A signed grant that was sealed to another server anew speaks of the one that it was made for."""
    other = town.open_site("lab-2")
    token = town.lend("lab-1", 10, carried=False)
    with town.sites["lab-1"].opened() as (_, vault):
        inner = tokens._unsealed(token, tokens._own(vault.sealing_key("", town.now)))
    with other.opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key("", town.now))
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": tokens.SEALED, "kid": statements.sealing_kid(receiver)}
    key = tokens.OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": receiver})
    resealed = tokens.jwe.encrypt_compact(header, inner, key, algorithms=tokens._ALGORITHMS)

    assert refused(town, other, resealed) == "offline.wrongServer"


def test_a_request_under_a_wrong_code(town: Town) -> None:
    """Nobody here has that code."""
    site = town.unlicensed("lab-9")
    token = site.grants(lambda grants: grants.request(town.tenant, "00000-00000-00000-00000-00000", "lab-9"))
    with pytest.raises(TokenRefused) as caught:
        town.vendor(lambda lending: lending.license(token))

    assert caught.value.problem == "offline.wrongServer"


def test_a_site_signs_for_nothing_but_what_it_was_lent(town: Town) -> None:
    """A site that was taken apart signs a lease for more of a feature than it was lent: programs don't believe it."""
    lab = town.open_site("lab-2")
    town.lend("lab-2", 10, features={"render": 2})
    held = town.take(lab, "a", {"render": 2})
    assert isinstance(held, Served)
    assert town.believed(lab, held).feat == {"render": 2, "export": 1}
    more = replace(held, holding=replace(held.holding, rights={"": 1, "render": 3}))
    longer = replace(held, holding=replace(held.holding, expires_at=town.now + 31 * DAY))

    with pytest.raises(EnvelopeError, match="feature"):
        town.believed(lab, more)
    assert town.believed(lab, longer).exp == (town.now + 30 * DAY).timestamp()


def test_what_is_lent_of_one_entitlement_is_not_signed_for_another(town: Town) -> None:
    """A site has five of a feature in one entitlement and two in another: with the second it signs for two."""
    lab = town.open_site("lab-2")
    town.lend("lab-2", 10, features={"render": 2})
    other = town.sell_another("viewer", seats=3, features=(RENDER,))
    token = town.vendor(
        lambda lending: lending.lend(other, town.site_ids["lab-2"], seats=3, features={"render": 5}, until=town.now + 30 * DAY)
    )
    lab.grants(lambda grants: grants.apply(token))
    held = town.take(lab, "a", {"render": 2})
    assert isinstance(held, Served)
    more = replace(held, holding=replace(held.holding, rights={"": 1, "render": 4}))

    assert town.believed(lab, held).feat["render"] == 2
    with pytest.raises(EnvelopeError, match="feature"):
        town.believed(lab, more)


def test_a_restored_data_directory_is_found_out_by_its_own_programs(town: Town) -> None:
    """A copy from before is put back: the first program that shows a newer lease tells, and its seat counts."""
    lab = town.sites["lab-1"]
    town.lend("lab-1", 10)
    old = town.copy_of("lab-1", "old")
    lab = town.sites["lab-1"]
    held = town.take(lab, "a")
    assert isinstance(held, Served)
    lease = lab.keyring.sign(held, "n" * 22)

    answer = town.refresh(old, held, lease)

    assert isinstance(answer, Served)
    assert state(town, old) is SiteState.RESTORED
    assert old.used(town.key) == 1


def test_a_suspect_site_serves_as_long_as_its_grant_says(town: Town) -> None:
    """Fourteen days, then it refuses and says why; a fresh document clears it."""
    town.lend("lab-1", 10)
    old = town.copy_of("lab-1", "old")
    held = town.take(town.sites["lab-1"], "a")
    assert isinstance(held, Served)
    town.refresh(old, held, old.keyring.sign(held, "n" * 22))

    town.pass_(13 * DAY)
    assert isinstance(town.take(old, "b"), Served)
    town.pass_(1 * DAY)
    late = town.take(old, "c")
    assert (problem(late), rule(late)) == ("entitlement.expired", "restored")

    fresh = town.vendor(lambda lending: lending.fresh_token(town.key[1]))
    old.grants(lambda grants: grants.apply(fresh))
    assert state(town, old) is SiteState.OK
    assert isinstance(town.take(old, "c"), Served)


def test_a_restored_site_is_found_out_at_its_next_report(town: Town) -> None:
    """What it reports ends before what it had reported: the vendor knows, without a program's help."""
    town.lend("lab-1", 10)
    town.report("lab-1")
    old = town.copy_of("lab-1", "old")
    for seat in "abc":
        town.take(town.sites["lab-1"], seat)
    town.report("lab-1")
    token = old.grants(lambda grants: grants.report(town.tenant))
    town.vendor(lambda lending: lending.report(token))

    assert town.vendor(lambda lending: lending.site("lab-1")).state is SiteState.CLONED  # two documents have one number


@pytest.mark.parametrize("product", ["solver", "twice"])
def test_a_restored_site_that_has_gone_on_is_found_out_too(product: str, tmp_path: Path) -> None:
    """Its document has a number of its own, but facts are missing from it that were reported: restored, whatever is sold."""
    with a_town(tmp_path) as town:
        town.sell(50, product=product)
        town.open_site("lab-1")
        town.lend("lab-1", 10)
        town.report("lab-1")
        old = town.copy_of("lab-1", "old")
        town.take(town.sites["lab-1"], "a")
        town.report("lab-1")
        old.grants(lambda grants: grants.report(town.tenant))  # which gets lost
        token = old.grants(lambda grants: grants.report(town.tenant))
        town.vendor(lambda lending: lending.report(token))

        assert town.vendor(lambda lending: lending.site("lab-1")).state is SiteState.RESTORED


def test_two_copies_of_one_site_are_found_out(town: Town) -> None:
    """Both go on: the vendor hears two different stories under the same numbers."""
    town.lend("lab-1", 10)
    town.report("lab-1")
    copy = town.copy_of("lab-1", "copy")
    town.take(town.sites["lab-1"], "a")
    town.take(copy, "b")
    town.report("lab-1")
    token = copy.grants(lambda grants: grants.report(town.tenant))
    applied = town.vendor(lambda lending: lending.report(token))

    assert town.vendor(lambda lending: lending.site("lab-1")).state is SiteState.CLONED
    assert "clone-suspect" in applied.text


def test_a_copy_that_numbers_its_reports_ahead_is_found_out_by_its_facts(town: Town) -> None:
    """Its reports look newer; but what they tell happened otherwise in what was reported before."""
    town.lend("lab-1", 10)
    copy = town.copy_of("lab-1", "copy")
    town.take(town.sites["lab-1"], "a")
    town.report("lab-1")
    town.take(copy, "b")
    copy.grants(lambda grants: grants.report(town.tenant))
    copy.grants(lambda grants: grants.report(town.tenant))
    token = copy.grants(lambda grants: grants.report(town.tenant))
    applied = town.vendor(lambda lending: lending.report(token))

    assert "suspect" in applied.text
    assert town.vendor(lambda lending: lending.site("lab-1")).state is not SiteState.OK


@pytest.mark.parametrize("back", [DAY, 365 * DAY])
def test_a_clock_that_is_set_back_gains_nothing(town: Town, back: timedelta) -> None:
    """The recorded time goes on; the site knows that its clock is not to be believed."""
    town.lend("lab-1", 10, days=30)
    lab = town.sites["lab-1"]
    clock = HandClock(town.now)
    keeper = Timekeeper(clock)
    with lab.store.transaction() as tx:
        keeper.begin(tx, "1")
    later = Timekeeper(HandClock(town.now - back, boot_id="boot-2"))
    with lab.store.transaction() as tx:
        found = later.start(tx)
        now = later.begin(tx, "2")

    assert found is ClockState.SUSPECT
    assert now >= town.now


def test_a_wrong_report_of_somebody_else(town: Town) -> None:
    """A stranger who has the vendor's sealing key, which is no secret, can say nothing in a site's name."""
    with town.cloud.opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key(town.tenant, town.now))
    said = statements.Reported(
        tid=town.tenant, site=town.site_ids["lab-1"], jti="x", iat=0, seq=99, state="ok", epoch=1, uses=[]
    )
    token = tokens.sealed(said, signer=Ed25519PrivateKey.generate(), receiver=receiver)
    with pytest.raises(TokenRefused) as caught:
        town.vendor(lambda lending: lending.report(token))

    assert caught.value.problem == "offline.forged"
