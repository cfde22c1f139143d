"""A tenant's keys: made, renewed, found, and what is signed with them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError, read_public_key
from seatkeeper.protocol.trust import Expected, Trust, read_unverified_lease
from seatkeeper_server.keys import (
    CERTIFICATE_LASTS,
    MAX_UNKNOWN,
    RELOAD_AFTER,
    UNKNOWN_FOR,
    Keyring,
    SealKey,
    SealKeyError,
    TenantKeys,
    new_tenant_keys,
    renewed_signing_key,
)
from seatkeeper_server.service.calls import TokenClaims
from seatkeeper_server.service.ports import StorageUnavailable
from tests.server_http.front import (
    ACTIVATION,
    CLIENT_NONCE,
    CODE,
    DATABASE,
    NOW,
    PRODUCT,
    TENANT,
    a_holding,
    a_pool,
    counting,
    served,
)

SEAL = SealKey(bytes(range(32)))
ROWS = new_tenant_keys(TENANT, database_id=DATABASE, seal=SEAL, now=NOW, random=counting())
OTHERS_ROWS = new_tenant_keys("t_other", database_id=DATABASE, seal=SEAL, now=NOW, random=counting(1000))
KEYS = TenantKeys(ROWS, SEAL)
OTHERS_KEYS = TenantKeys(OTHERS_ROWS, SEAL)


def a_keyring(rows=None, clock=lambda: 0.0, database_id=DATABASE):
    """A keyring over a dictionary of rows."""
    kept = {TENANT: ROWS, "t_other": OTHERS_ROWS} if rows is None else rows
    return Keyring(load=lambda tenant_id: kept.get(tenant_id, []), seal=SEAL, database_id=database_id, epoch=2, clock=clock)


def renewed(rows, after, seed=500):
    """The rows as they are after a look at the keys so much later."""
    written = renewed_signing_key(rows, database_id=DATABASE, seal=SEAL, now=NOW + after, random=counting(seed))
    changed = {(row.purpose, row.kid): row for row in written}
    kept = [changed.pop((row.purpose, row.kid), row) for row in rows]
    return [*kept, *changed.values()]


def test_a_root_key_is_never_taken_for_an_option() -> None:
    """People type its public part after `--public-key`: it doesn't begin with a hyphen, as one of 64 would."""
    beginnings = set()
    for seed in range(0, 300_000, 1000):
        rows = new_tenant_keys(TENANT, database_id=DATABASE, seal=SEAL, now=NOW, random=counting(seed))
        beginnings.add(TenantKeys(rows, SEAL).root_public_key[0])

    assert len(beginnings) > 32
    assert "-" not in beginnings


# --- made ----------------------------------------------------------------------------------------------------------


def test_a_new_tenant_has_four_keys_and_no_secret_is_readable():
    """Root, signing key with certificate, and a secret each for tokens and codes, all sealed."""
    assert [(row.purpose, row.state, row.certificate is not None) for row in ROWS] == [
        ("root", "current", False),
        ("signing", "current", True),
        ("access-token", "current", False),
        ("code", "current", False),
    ]
    assert len({SEAL.open(row.sealed, row.context) for row in ROWS}) == 4


def test_a_key_opens_in_its_own_row_only():
    """Content that was moved from one tenant's row to another's does not open."""
    with pytest.raises(SealKeyError):
        SEAL.open(ROWS[0].sealed, OTHERS_ROWS[0].context)


def test_the_root_certifies_the_signing_key_for_this_database_and_a_year():
    """The certificate names tenant, database, key and validity, and begins before it was made, since clocks differ."""
    claims = Trust((read_public_key(KEYS.root_public_key),)).certificate(KEYS.certificate)

    assert (claims.tid, claims.iss, claims.covers) == (TENANT, DATABASE, None)
    assert claims.key == next(row.public_key for row in ROWS if row.purpose == "signing")
    assert claims.nbf < claims.iat == NOW.timestamp()
    assert claims.exp == (NOW + CERTIFICATE_LASTS).timestamp()


# --- renewed -------------------------------------------------------------------------------------------------------


def test_a_good_key_is_left_alone():
    """Nothing is written while a third of the validity is left."""
    assert renewed(ROWS, CERTIFICATE_LASTS * 2 / 3) == ROWS


def test_a_key_that_wears_out_is_renewed_under_the_same_root():
    """With less than a third left there is a new key with a certificate of its own; the old one becomes previous."""
    rows = renewed(ROWS, CERTIFICATE_LASTS * 2 / 3 + timedelta(seconds=1))
    keys = TenantKeys(rows, SEAL)
    trust = Trust((read_public_key(KEYS.root_public_key),))

    assert [row.state for row in rows if row.purpose == "signing"] == ["previous", "current"]
    assert keys.certificate != KEYS.certificate
    assert trust.certificate(keys.certificate).exp > trust.certificate(KEYS.certificate).exp
    assert keys.certificates == (keys.certificate, KEYS.certificate)


def test_rows_are_given_in_an_order_in_which_two_are_never_current():
    """The database allows one current key a purpose; so the old one has to step back first."""
    written = renewed_signing_key(ROWS, database_id=DATABASE, seal=SEAL, now=NOW + CERTIFICATE_LASTS, random=counting(500))

    assert [row.state for row in written] == ["previous", "current"]


def test_leases_of_the_previous_key_are_still_recognised():
    """A renewal makes nobody's lease worthless."""
    before = a_keyring().sign(served(), CLIENT_NONCE)
    keyring = a_keyring({TENANT: renewed(ROWS, timedelta(days=300))})

    assert keyring.recognise(TENANT, before) is not None
    assert keyring.recognise(TENANT, keyring.sign(served(), CLIENT_NONCE)) is not None


def test_a_key_whose_certificate_has_ended_is_retired():
    """Two renewals later its leases are nobody's any more."""
    before = a_keyring().sign(served(), CLIENT_NONCE)
    rows = renewed(renewed(ROWS, timedelta(days=300)), timedelta(days=600), seed=700)

    assert [row.state for row in rows if row.purpose == "signing"] == ["retired", "previous", "current"]
    assert a_keyring({TENANT: rows}).recognise(TENANT, before) is None


# --- tokens and codes ----------------------------------------------------------------------------------------------


def test_a_token_says_which_life_of_which_seat():
    """`activationId.generation.HMAC`."""
    token = KEYS.access_token(ACTIVATION, 12)

    assert token.startswith(f"{ACTIVATION}.12.")
    assert KEYS.read_token(token) == TokenClaims(ACTIVATION, 12)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        ".",
        "..",
        ACTIVATION,
        f"{ACTIVATION}.12",
        KEYS.access_token(ACTIVATION, 12) + "A",
        KEYS.access_token(ACTIVATION, 12)[:-1],
        KEYS.access_token(ACTIVATION, 12).replace(".12.", ".012."),
        KEYS.access_token(ACTIVATION, 12).replace(".12.", ".13."),
        KEYS.access_token(ACTIVATION, 12).replace("A.", "B.", 1),
        OTHERS_KEYS.access_token(ACTIVATION, 12),
        KEYS.access_token(ACTIVATION, 12) + "é",
        f"{ACTIVATION}.12.{KEYS.code_hash(f'{ACTIVATION}.12')}",
    ],
)
def test_only_our_own_tokens_are_read(forged):
    """Cut, lengthened, another generation, another tenant's, or an HMAC made for something else: none is ours."""
    assert KEYS.read_token(forged) is None


def test_tokens_of_the_previous_key_are_accepted():
    """Changing the key of tokens throws nobody out."""
    token = KEYS.access_token(ACTIVATION, 12)
    old = [replace(row, state="previous") if row.purpose == "access-token" else row for row in ROWS]
    others = new_tenant_keys(TENANT, database_id=DATABASE, seal=SEAL, now=NOW, random=counting(900))
    keys = TenantKeys([*old, next(row for row in others if row.purpose == "access-token")], SEAL)

    new = keys.access_token(ACTIVATION, 12)

    assert new != token
    assert [keys.read_token(each) for each in (token, new)] == [TokenClaims(ACTIVATION, 12)] * 2


def test_a_code_is_looked_up_however_it_is_typed():
    """Lower case, missing hyphens and look-alikes are the same code; tenants never share a hash."""
    assert KEYS.code_hash(CODE) == KEYS.code_hash(" ooooo00000OOOOO00000ooooo ")
    assert KEYS.code_hash(CODE) != OTHERS_KEYS.code_hash(CODE)


# --- leases --------------------------------------------------------------------------------------------------------


def test_a_lease_is_an_envelope_like_any_other():
    """The short way of signing gives the very bytes of `envelopes.sign`."""
    payload = json.encode({"a": 1})
    row = next(row for row in ROWS if row.purpose == "signing")
    key = Ed25519PrivateKey.from_private_bytes(SEAL.open(row.sealed, row.context))

    assert KEYS.signed(payload) == envelopes.sign(payload, typ=envelopes.LEASE, kid=row.kid, key=key)


def test_other_documents_are_signed_as_what_they_are():
    """A checkpoint of facts is no lease, although the same key signed it."""
    keyring = a_keyring()
    checkpoint = keyring.sign_document(TENANT, b"{}", typ="checkpoint+jwt")

    assert envelopes.open_envelope(checkpoint, typ="checkpoint+jwt", keys=KEYS.recognised) == b"{}"
    assert keyring.recognise(TENANT, checkpoint) is None


@pytest.mark.parametrize("length", range(60))
def test_a_lease_of_any_length_opens(length):
    """Base64 without padding comes out right at every remainder."""
    payload = b"x" * length

    assert envelopes.open_envelope(KEYS.signed(payload), typ=envelopes.LEASE, keys=KEYS.recognised) == payload


def test_a_client_believes_the_lease():
    """Signed by the certified key, naming what the client expects, within the certificate."""
    keyring = a_keyring()
    trust = Trust((read_public_key(KEYS.root_public_key),))
    expected = Expected(tenant_id=TENANT, product_id=PRODUCT, seat_id="ada@ws/0", nonce=CLIENT_NONCE)
    claims = trust.lease(keyring.sign(served(), CLIENT_NONCE), trust.certificate(keyring.certificate(TENANT)), expected)

    assert (claims.epo, claims.seq, claims.iss) == (2, 17, DATABASE)


def test_a_lease_never_outlives_the_entitlement_and_its_grace():
    """`exp` lies at most at the end plus grace, whatever is stored."""
    ends_at = NOW + timedelta(seconds=30)
    bounded = served(pool=a_pool(ends_at=ends_at, grace=timedelta(seconds=10)))

    assert read_unverified_lease(a_keyring().sign(bounded, None)).exp == (NOW + timedelta(seconds=40)).timestamp()


def test_a_lease_never_outlives_the_certificate():
    """Else no client would believe it (contract, rule 7)."""
    long = served(holding=a_holding(expires_at=NOW + timedelta(days=1000)))

    assert read_unverified_lease(a_keyring().sign(long, None)).exp == (NOW + CERTIFICATE_LASTS).timestamp()


def test_leases_of_others_are_not_recognised():
    """Another tenant's, another database's, a certificate, or nonsense: nothing is ours but our own leases."""
    keyring = a_keyring()
    lease = keyring.sign(served(), CLIENT_NONCE)
    restored_elsewhere = a_keyring(database_id="db_other")

    assert isinstance(keyring.recognise(TENANT, lease), LeaseClaims)
    assert keyring.recognise("t_other", lease) is None
    assert keyring.recognise("t_unknown", lease) is None
    assert restored_elsewhere.recognise(TENANT, lease) is None
    assert keyring.recognise(TENANT, keyring.certificate(TENANT)) is None
    assert keyring.recognise(TENANT, lease[:-4] + "AAAA") is None
    assert keyring.recognise(TENANT, "nonsense é") is None


def test_unknown_tenants_have_no_certificate():
    """Asking for one is a mistake of ours."""
    with pytest.raises(LookupError):
        a_keyring().certificate("t_unknown")


# --- the keyring ---------------------------------------------------------------------------------------------------


def counted_keyring(rows, now):
    """A keyring, and the list of what it looked up."""
    asked = []

    def load(tenant_id):
        asked.append(tenant_id)
        found = rows.get(tenant_id, [])
        if isinstance(found, Exception):
            raise found
        return found

    return Keyring(load=load, seal=SEAL, database_id=DATABASE, epoch=1, clock=lambda: now[0]), asked


def test_a_known_tenant_is_read_once_a_minute():
    """So a key that another process renewed is used here soon, and no request pays for looking."""
    now = [0.0]
    keyring, asked = counted_keyring({TENANT: ROWS}, now)
    for moment in (0.0, 1.0, RELOAD_AFTER - 1, RELOAD_AFTER, RELOAD_AFTER + 1):
        now[0] = moment
        keyring.tenant(TENANT)

    assert asked == [TENANT, TENANT]


def test_a_tenant_sold_while_the_server_runs_is_found():
    """An unknown tenant is looked up again, but not more than once a second."""
    rows, now = {}, [0.0]
    keyring, asked = counted_keyring(rows, now)
    unknown = [keyring.tenant(TENANT) for _ in range(5)]
    rows[TENANT] = ROWS
    too_soon = keyring.tenant(TENANT)
    now[0] = UNKNOWN_FOR

    assert (unknown, too_soon) == ([None] * 5, None)
    assert keyring.tenant(TENANT) is not None
    assert len(asked) == 2


def test_unknown_tenants_do_not_fill_the_memory():
    """Only so many are remembered; the oldest is forgotten first."""
    keyring, asked = counted_keyring({}, [0.0])
    for number in range(MAX_UNKNOWN + 1):
        keyring.tenant(f"t_{number}")
    keyring.tenant("t_0")
    keyring.tenant(f"t_{MAX_UNKNOWN}")

    assert len(keyring._unknown) == MAX_UNKNOWN
    assert asked.count("t_0") == 2
    assert asked.count(f"t_{MAX_UNKNOWN}") == 1


def test_keys_once_read_go_on_serving_when_the_database_is_away():
    """Trouble with the catalogue is no reason to stop signing."""
    rows, now = {TENANT: ROWS}, [0.0]
    keyring, _ = counted_keyring(rows, now)
    before = keyring.tenant(TENANT)
    rows[TENANT] = StorageUnavailable("away")
    now[0] = RELOAD_AFTER

    assert keyring.tenant(TENANT) is before
    rows["t_other"] = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        keyring.tenant("t_other")


def test_an_unknown_tenants_codes_are_hashed_all_the_same():
    """Under a key that is nobody's and that differs from server to server."""
    one, other = a_keyring(), a_keyring()

    assert one.code_hash(TENANT, CODE) == KEYS.code_hash(CODE)
    assert one.code_hash("t_unknown", CODE) not in (KEYS.code_hash(CODE), other.code_hash("t_unknown", CODE))


def test_a_wrong_sealing_key_is_a_clear_error():
    """The message says what to do."""
    keyring = Keyring(load=lambda tenant_id: ROWS, seal=SealKey(bytes(32)), database_id=DATABASE, epoch=1)

    with pytest.raises(SealKeyError, match="use the key file"):
        keyring.tenant(TENANT)


def test_the_root_signs_no_lease():
    """It signs certificates and nothing else: a lease under its key id is not recognised, even if somebody made one."""
    row = ROWS[0]
    root = Ed25519PrivateKey.from_private_bytes(SEAL.open(row.sealed, row.context))
    payload = envelopes.peek(a_keyring().sign(served(), None))
    forged = envelopes.sign(payload, typ=envelopes.LEASE, kid=row.kid, key=root)

    assert a_keyring().recognise(TENANT, forged) is None
    with pytest.raises(EnvelopeError):
        envelopes.open_envelope(forged, typ=envelopes.LEASE, keys=KEYS.recognised)
