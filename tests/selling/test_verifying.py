"""Whether facts, counters and places say the same: and what is said when they don't."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seatkeeper.protocol import envelopes
from seatkeeper_server.domain.terms import Kind, Right
from seatkeeper_server.service import verifying
from seatkeeper_server.service.calls import Verb
from seatkeeper_server.service.tidying import CHECKPOINT, ChainIsBroken, Tidying, proven
from seatkeeper_server.service.verifying import Result, Verified
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.pruning import Pruning
from tests.selling.conftest import books, granted, take
from tests.support.house import TENANT, AnyStore, House, activate, held, make_house, raw


def verify(house: House) -> Verified:
    """Verify a house's database."""

    def read(question: Callable[[Catalogue], Result]) -> Result:
        with books(house) as catalogue:
            return question(catalogue)

    return verifying.verify(read)


@pytest.fixture
def lived_in(store: AnyStore) -> House:
    """A house in which much has happened: taken, refused, returned, lapsed, taken over, features drawn and used up."""
    features = (Right("render", Kind.ELEMENT_POOL, 10), Right("pages", Kind.USAGE_COUNT, 100))
    house = make_house(store, seats=3, features=features, linger=timedelta(seconds=10))
    ann = granted(house, activate("ann", features={"render": 4, "pages": 7}))
    take(house, "bob", "bob")
    house.one(activate("eve"))
    house.one(held(Verb.RETURN, ann))
    house.pass_(11)
    house.one(activate("joe", features={"render": 2}))
    house.pass_(200)
    house.one(activate("kim", features={"pages": 1}))
    house.sweep()
    return house


def test_a_house_in_which_much_has_happened_verifies(lived_in: House) -> None:
    """Chains hold, and facts and places come to the counters; used-up amounts outlive their places."""
    found = verify(lived_in)

    assert found.breaks == []
    assert found.facts == len(lived_in.facts())
    assert found.chains == 2
    assert found.counters == 3


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_chain_is_walked_page_by_page(lived_in: House, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """However much is read at once, every fact is seen once."""
    monkeypatch.setattr(verifying, "AT_ONCE", page)
    found = verify(lived_in)

    assert found.holds
    assert found.facts == len(lived_in.facts())


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE fact SET data = replace(data, '\"bob', '\"tom') || ' ' WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET at = at + 1 WHERE number = 3", "fact 3 .* was changed"),
        ("UPDATE fact SET holder = 9 WHERE number = 4", "fact 4 .* was changed"),
        ("UPDATE fact SET kind = 'Note' WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET recorded_at = recorded_at + 1 WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET activation_id = 'act_other' WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET generation = 9 WHERE number = 2", "fact 2 .* was changed"),
        ("UPDATE fact SET denial_id = 'D-000000' WHERE number = 2", "fact 2 .* was changed"),
        ("DELETE FROM fact WHERE number = 5", "fact 5 is missing"),
        ("DELETE FROM fact WHERE number = (SELECT max(number) FROM fact)", "the chain ends at fact"),
        ("UPDATE pool SET head = replace(head, substr(head, 1, 8), '00000000')", "the chain ends at fact"),
        ("UPDATE pool_right SET used = used + 1 WHERE key = ''", "seats: the counter says 2, the facts add up to 1"),
        ("UPDATE pool_right SET used = used - 1 WHERE key = 'pages'", "pages: the counter says 7, the facts add up to 8"),
        ("DELETE FROM holding WHERE occupies = 1", "seats: the counter says 1, the places add up to 0"),
    ],
)
def test_every_tampering_is_found_and_named(lived_in: House, tampering: str, said: str) -> None:
    """A changed, missing or cut-off fact, a counter or a place that doesn't fit: it says where it breaks."""
    lived_in.rows(tampering)
    found = verify(lived_in)

    assert not found.holds
    assert any(re.search(said, one.what) for one in found.breaks), found.breaks


# --- behind a checkpoint -------------------------------------------------------------------------------------------


def prune(house: House, key: Ed25519PrivateKey) -> None:
    """Prune everything that has happened so far, behind checkpoints signed by a key that the tenant is known to have."""
    kid = envelopes.key_id(key.public_key())
    tidying = Tidying(lambda _, payload: envelopes.sign(payload, typ=CHECKPOINT, kid=kid, key=key), timedelta(0))
    with house.store.transaction() as tx:
        raw(tx)(
            "INSERT INTO tenant_key VALUES (?, 'signing', ?, 'current', ?, ?, NULL, 0, NULL) ON CONFLICT DO NOTHING",
            (TENANT, kid, envelopes.public_key_text(key.public_key()), b"\0"),
        )
    house.clock.pass_(timedelta(seconds=1))
    with house.store.transaction() as tx:
        for chain in tidying.old_chains(Pruning(tx), house.clock.now()):
            tidying.prune(Pruning(tx), chain, house.clock.now())


def test_a_pruned_chain_verifies_from_its_checkpoint(lived_in: House) -> None:
    """What was pruned is known by its signed sums; what came after is walked fact by fact."""
    prune(lived_in, Ed25519PrivateKey.generate())
    granted(lived_in, activate("new", features={"render": 1}))
    found = verify(lived_in)

    assert found.breaks == []
    assert found.facts == 1


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE checkpoint SET signed = signed || 'A'", "not to be believed"),
        ("UPDATE tenant_key SET kid = 'other' WHERE purpose = 'signing'", "not to be believed"),
        ("UPDATE checkpoint SET number = number - 1; DELETE FROM checkpoint", "fact 1 is missing"),
    ],
)
def test_a_checkpoint_that_was_touched_is_found_out(lived_in: House, tampering: str, said: str) -> None:
    """A changed signature, a key the tenant never had, a checkpoint taken away."""
    prune(lived_in, Ed25519PrivateKey.generate())
    granted(lived_in, activate("new"))
    with lived_in.store.transaction() as tx:
        for statement in tampering.split(";"):
            raw(tx)(statement)

    assert any(said in each.what for each in verify(lived_in).breaks)


def test_a_checkpoint_of_another_chain_is_not_believed(lived_in: House) -> None:
    """One chain's sums can't stand for another's."""
    key = Ed25519PrivateKey.generate()
    prune(lived_in, key)
    with lived_in.store.transaction() as tx:
        signed = raw(tx)("SELECT signed FROM checkpoint").fetchone()[0]

    with pytest.raises(ChainIsBroken, match="another chain"):
        proven(signed, (TENANT, "ent_other"), {envelopes.key_id(key.public_key()): envelopes.public_key_text(key.public_key())})
