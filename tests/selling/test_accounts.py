"""The key of a vendor's account, on every database: one, whoever asks for it at once, and its private part sealed."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from seatkeeper.protocol.ids import b64url
from seatkeeper_server.account_keys import new_account_key
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service import accounts
from seatkeeper_server.service.accounts import AccountKey, NewAccountKey
from seatkeeper_server.service.ports import Conflict
from tests.selling.conftest import Shop

MADE = [new_account_key() for _ in range(2)]


def keep(shop: Shop, tenant_id: str, made: NewAccountKey) -> AccountKey:
    """Keep a key, as a server does it: again if another transaction was in the way."""
    while True:
        try:
            with shop.opened() as (catalogue, vault):
                return accounts.keep(catalogue, vault, tenant_id, made, shop.now)
        except Conflict:
            continue


def sealed_of(shop: Shop) -> bytes:
    """Give what is kept of the private part."""
    ((sealed,),) = shop.rows("SELECT sealed FROM account_key")
    return bytes(sealed)


def test_of_two_keys_that_were_made_at_once_one_is_everybodys(shop: Shop) -> None:
    """Both who asked are given the one that is kept, and one fact says that it was made."""
    tenant_id, together = shop.sell().tenant_id, Barrier(2)

    def ask(made: NewAccountKey) -> AccountKey:
        together.wait(10)
        return keep(shop, tenant_id, made)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, MADE)
    with shop.opened() as (catalogue, vault):
        kept = vault.account_key(tenant_id)
        chain = catalogue.chain((tenant_id, tenant_id), 0, 100, 100)

    assert first == second == kept
    assert kept in [made.public for made in MADE]
    assert sum("accountKeyMade" in fact.data for fact in chain) == 1


def test_each_vendor_has_a_key_of_his_own(shop: Shop) -> None:
    """What one has is not another's."""
    ours, theirs = shop.sell().tenant_id, shop.sell(tenant="other").tenant_id
    keep(shop, ours, MADE[0])
    with shop.opened() as (_, vault):
        none = vault.account_key(theirs)

    assert none is None
    assert keep(shop, theirs, MADE[1]) == MADE[1].public


def test_the_private_part_is_sealed_for_its_row(shop: Shop) -> None:
    """It opens under the sealing key, to the key whose public part is told; for another vendor it doesn't."""
    tenant_id = shop.sell().tenant_id
    kept, sealed = keep(shop, tenant_id, MADE[0]), sealed_of(shop)
    private: Any = load_der_private_key(shop.seal.open(sealed, f"account_key/{tenant_id}"), None)
    with pytest.raises(SealKeyError):
        shop.seal.open(sealed, "account_key/t_other")

    assert kept == MADE[0].public
    assert b64url(private.public_key().public_numbers().n.to_bytes(256, "big")) == kept.modulus
    assert MADE[0].private not in sealed
