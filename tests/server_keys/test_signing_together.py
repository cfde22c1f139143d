"""Leases signed together: what one turn of the event loop asks for shares a signature, tenant by tenant."""

import asyncio
from collections.abc import Awaitable
from contextlib import closing
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from seatkeeper.protocol import envelopes, tree
from seatkeeper.protocol.envelopes import read_public_key, unb64url
from seatkeeper.protocol.trust import Expected, Trust, read_unverified_lease
from seatkeeper_server.keys import MOST_TOGETHER, RELOAD_AFTER, TenantKeys
from seatkeeper_server.service.calls import Served, Verb
from seatkeeper_server.store.sqlite import SqliteStore
from tests.server_http.front import CLIENT_NONCE, ENTITLEMENT, PRODUCT, TENANT, a_holding, served
from tests.server_keys.test_tenant_keys import KEYS, OTHERS_KEYS, OTHERS_ROWS, ROWS, SEAL, a_keyring, renewed
from tests.support.house import activate, held, make_house

OTHER = "t_other"


def a_seat(number: int, tenant_id: str = TENANT) -> Served:
    """A served call about one seat of many."""
    return served(
        holding=a_holding(sequence=number),
        entitlement=replace(ENTITLEMENT, tenant_id=tenant_id),
    )


def together(*asked: Awaitable[str]) -> list[str]:
    """Wait for leases that are asked for in one turn."""

    async def gathered() -> list[str]:
        return list(await asyncio.gather(*asked))

    return asyncio.run(gathered())


async def asking(keyring, seat: Served) -> str:
    """Ask as a handler does."""
    return await keyring.sign_together(seat, CLIENT_NONCE)


def believed(lease: str, keys: TenantKeys = KEYS, tenant_id: str = TENANT) -> int:
    """Check a lease as a client does, and give its number."""
    trust = Trust((read_public_key(keys.root_public_key),))
    return trust.lease(lease, trust.certificate(keys.certificate), Expected(tenant_id, PRODUCT, "ada@ws/0", CLIENT_NONCE)).seq


def size_of(lease: str) -> int:
    """Give the size of the tree a lease is in; 0 for one that was signed alone."""
    parts = lease.split(".")
    return int.from_bytes(unb64url(parts[2])[2:4], "big") if len(parts) == 4 else 0


def root_signature(lease: str) -> str:
    """Give the part that all leases of a tree have in common."""
    return lease.rsplit(".", 1)[1]


def test_leases_of_one_turn_share_a_signature_and_everybody_gets_his_own():
    """Each is believed by itself, and answers who asked for it."""
    keyring = a_keyring()
    leases = together(*(asking(keyring, a_seat(number)) for number in range(1, 8)))

    assert [believed(lease) for lease in leases] == [1, 2, 3, 4, 5, 6, 7]
    assert {size_of(lease) for lease in leases} == {7}
    assert len({root_signature(lease) for lease in leases}) == 1


def test_a_lease_in_a_tree_says_what_it_says_alone():
    """The claims are the very same."""
    keyring = a_keyring()
    first, _ = together(asking(keyring, a_seat(1)), asking(keyring, a_seat(2)))

    assert read_unverified_lease(first) == read_unverified_lease(keyring.sign(a_seat(1), CLIENT_NONCE))


def test_one_alone_is_signed_alone():
    """A tree of one would only be longer."""
    keyring = a_keyring()
    (lease,) = together(asking(keyring, a_seat(1)))

    assert lease == keyring.sign(a_seat(1), CLIENT_NONCE)


def test_the_next_turn_has_a_tree_of_its_own():
    """Nobody waits for who comes later."""
    keyring = a_keyring()

    async def two_turns() -> list[list[str]]:
        return [list(await asyncio.gather(*(asking(keyring, a_seat(n)) for n in turn))) for turn in ((1, 2), (3, 4, 5))]

    leases = asyncio.run(two_turns())

    assert [[size_of(lease) for lease in turn] for turn in leases] == [[2, 2], [3, 3, 3]]
    assert [[believed(lease) for lease in turn] for turn in leases] == [[1, 2], [3, 4, 5]]


def test_two_tenants_never_share_a_tree():
    """Each tenant's leases are in a tree that his own key signed."""
    keyring = a_keyring()
    asked = [(1, TENANT), (2, OTHER), (3, TENANT), (4, OTHER), (5, OTHER)]
    leases = together(*(asking(keyring, a_seat(number, tenant)) for number, tenant in asked))

    assert [size_of(lease) for lease in leases] == [2, 3, 2, 3, 3]
    assert [believed(leases[at]) for at in (0, 2)] == [1, 3]
    assert [believed(leases[at], OTHERS_KEYS, OTHER) for at in (1, 3, 4)] == [2, 4, 5]


def test_a_tree_is_no_larger_than_it_pays():
    """Beyond that many another tree begins, in the same turn."""
    keyring = a_keyring()
    leases = together(*(asking(keyring, a_seat(number)) for number in range(MOST_TOGETHER + 3)))

    assert [size_of(lease) for lease in leases] == [MOST_TOGETHER] * MOST_TOGETHER + [3] * 3
    assert [believed(lease) for lease in leases] == list(range(MOST_TOGETHER + 3))


def test_a_key_renewed_in_the_middle_of_a_turn_makes_two_trees():
    """A lease names the key that signed it."""
    now, rows = [0.0], {TENANT: ROWS, OTHER: OTHERS_ROWS}
    keyring = a_keyring(rows, clock=lambda: now[0])

    async def asked() -> list[str]:
        old = [keyring.sign_together(a_seat(number), CLIENT_NONCE) for number in (1, 2)]
        rows[TENANT], now[0] = renewed(ROWS, timedelta(days=300)), RELOAD_AFTER
        return list(await asyncio.gather(*old, *(keyring.sign_together(a_seat(number), CLIENT_NONCE) for number in (3, 4))))

    leases = asyncio.run(asked())

    assert [size_of(lease) for lease in leases] == [2, 2, 2, 2]
    assert [keyring.recognise(TENANT, lease).seq for lease in leases] == [1, 2, 3, 4]
    assert [keyring.tenant(TENANT).signed_by_current(lease) for lease in leases] == [False, False, True, True]


def test_who_has_gone_away_keeps_nobody_from_his_lease():
    """A cancelled request takes no other with it."""
    keyring = a_keyring()

    async def one_goes() -> list[str]:
        tasks = [asyncio.create_task(asking(keyring, a_seat(number))) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return [await tasks[0], await tasks[2]]

    assert [believed(lease) for lease in asyncio.run(one_goes())] == [1, 3]


def test_a_signature_that_fails_is_told_to_all_who_wait_and_the_next_turn_is_tried_anew():
    """Nobody is left waiting for ever."""

    class Broken:
        def sign(self, text: bytes) -> bytes:
            raise OSError("the key can't be used")

    keyring = a_keyring()
    keys = keyring.tenant(TENANT)
    key, keys._signing_key = keys._signing_key, Broken()

    async def fails_then_works() -> list[object]:
        failed = await asyncio.gather(*(asking(keyring, a_seat(number)) for number in (1, 2)), return_exceptions=True)
        keys._signing_key = key
        return [*failed, await asking(keyring, a_seat(3))]

    *failed, lease = asyncio.run(fails_then_works())

    assert [type(error) for error in failed] == [OSError, OSError]
    assert believed(lease) == 3


def test_a_loop_waits_for_no_other_loop():
    """What is asked for on one event loop is answered there, though another one has leases to sign too."""
    keyring, barrier, found = a_keyring(), Barrier(2, timeout=20), {}

    async def slow() -> None:
        asked = keyring.sign_together(a_seat(1), CLIENT_NONCE)
        barrier.wait()
        barrier.wait()  # this loop stands still until the other one has its lease
        found[1] = await asked

    async def quick() -> None:
        barrier.wait()
        found[2] = await keyring.sign_together(a_seat(2), CLIENT_NONCE)
        barrier.wait()

    threads = [Thread(target=asyncio.run, args=(work(),)) for work in (slow, quick)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert {number: believed(lease) for number, lease in found.items()} == {1: 1, 2: 2}


# --- a list ----------------------------------------------------------------------------------------------------------


def test_leases_of_a_list_share_a_signature_in_the_lists_order():
    """However many there are: one tree."""
    numbers = range(MOST_TOGETHER + 44)
    leases = a_keyring().sign_list(TENANT, [(a_seat(number), CLIENT_NONCE, True) for number in numbers])

    assert [believed(lease) for lease in leases] == list(numbers)
    assert {size_of(lease) for lease in leases} == {len(numbers)}
    assert len({root_signature(lease) for lease in leases}) == 1


def test_who_reads_no_trees_is_signed_alone_in_a_list_too():
    """In his place; the others share a tree without him."""
    leases = a_keyring().sign_list(TENANT, [(a_seat(n), CLIENT_NONCE, n != 2) for n in (1, 2, 3)])

    assert [believed(lease) for lease in leases] == [1, 2, 3]
    assert [size_of(lease) for lease in leases] == [2, 0, 2]


def test_only_one_of_a_list_reads_trees():
    """It is signed alone: a tree of one would only be longer."""
    leases = a_keyring().sign_list(TENANT, [(a_seat(n), CLIENT_NONCE, n == 1) for n in (1, 2)])

    assert [size_of(lease) for lease in leases] == [0, 0]


def test_a_list_of_nobody_is_signed_for_nobody():
    """All of it may have been refused."""
    assert a_keyring().sign_list(TENANT, []) == []


def test_a_list_shares_no_tree_with_its_turn():
    """What others ask for meanwhile is not in it, nor is it in theirs: it may hold leases that repeat no nonce."""
    keyring = a_keyring()

    async def turn() -> tuple[list[str], list[str]]:
        asked = [asyncio.ensure_future(asking(keyring, a_seat(number))) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        listed = keyring.sign_list(TENANT, [(a_seat(number), None, True) for number in (4, 5)])
        return listed, await asyncio.gather(*asked)

    listed, others = asyncio.run(turn())

    assert [size_of(lease) for lease in listed] == [2, 2]
    assert [size_of(lease) for lease in others] == [3, 3, 3]


# --- what comes back -------------------------------------------------------------------------------------------------


def test_leases_in_trees_are_recognised_as_ours_and_others_are_not():
    """A shown lease counts whichever way it was signed: its tenant's, this database's, and unchanged."""
    keyring = a_keyring()
    lease, _ = together(asking(keyring, a_seat(7)), asking(keyring, a_seat(8)))
    changed = lease[:-4] + "AAAA"

    assert keyring.recognise(TENANT, lease).seq == 7
    assert keyring.recognise(OTHER, lease) is None
    assert a_keyring(database_id="db_other").recognise(TENANT, lease) is None
    assert keyring.recognise(TENANT, changed) is None


def test_leases_in_trees_of_the_previous_key_are_still_recognised():
    """A renewal makes nobody's lease worthless."""
    before, _ = together(asking(keyring := a_keyring(), a_seat(7)), asking(keyring, a_seat(8)))

    assert a_keyring({TENANT: renewed(ROWS, timedelta(days=300))}).recognise(TENANT, before).seq == 7


def test_the_root_signs_no_tree():
    """It signs certificates and nothing else: a tree under its key id is not recognised."""
    row = ROWS[0]
    root = Ed25519PrivateKey.from_private_bytes(SEAL.open(row.sealed, row.context))
    payload = envelopes.peek(a_keyring().sign(a_seat(1), CLIENT_NONCE))
    forged = tree.sign_batch([payload, payload], kid=row.kid, key=root)

    assert [a_keyring().recognise(TENANT, lease) for lease in forged] == [None, None]


def test_a_lease_in_a_tree_proves_that_the_database_was_set_back(tmp_path):
    """Shown by a program whose seat the database has forgotten, it counts, as one that was signed alone (rule 8)."""
    with closing(SqliteStore(tmp_path / "seatkeeper.db")) as store:
        house, keyring = make_house(store), a_keyring()
        house.leasing.signer = keyring
        seats = [house.one(activate(name)) for name in ("a", "b")]
        lease, _ = together(*(asking(keyring, seat) for seat in seats))
        for table in ("holding", "holder", "fact"):
            house.rows(f"DELETE FROM {table}")
        house.rows("UPDATE pool_right SET used = 0")
        house.rows("UPDATE pool SET sequence = 0, holders = 0, facts = 0")

        back = house.one(held(Verb.REFRESH, seats[0], last_lease=lease))

        assert size_of(lease) == 2
        assert (back.who.seat_id, house.used(), house.facts()) == ("a", 1, ["Restored"])


@pytest.mark.parametrize("count", [1, 2])
def test_who_shows_a_lease_of_the_current_key_knows_its_certificate(count):
    """Of either type; one of the previous key does not."""
    leases = together(*(asking(keyring, a_seat(number)) for keyring in [a_keyring()] for number in range(count)))
    after = TenantKeys(renewed(ROWS, timedelta(days=300)), SEAL)

    assert all(KEYS.signed_by_current(lease) for lease in leases)
    assert not any(after.signed_by_current(lease) for lease in leases)
