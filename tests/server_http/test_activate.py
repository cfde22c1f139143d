"""POST /api/v1/activate, and POST /api/v1/status: what is asked with a code."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from msgspec.structs import replace

from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Expected, Trust
from seatkeeper_server.domain.admission import Outlook, Tally, outlook
from seatkeeper_server.domain.terms import Kind, Mode, Right
from seatkeeper_server.service.calls import ActivateCall, Refused, StatusCall, TokenClaims
from tests.server_http.front import (
    ACTIVATION,
    ADDRESS,
    CLIENT_NONCE,
    CODE,
    NOW,
    OCCUPANCY,
    PRODUCT,
    TENANT,
    Client,
    a_pool,
    a_status,
    refused,
    served,
)


def test_a_new_place_is_201_and_carries_the_nonce():
    """201 for a new place; activate's answer carries the nonce to show next."""
    reply = Client(served(new_place=True)).activate()

    assert (reply.status, reply.headers["n-nonce"], reply.headers["content-type"]) == (201, "nonce-2", "application/json")


def test_the_same_place_again_is_200():
    """200 for a keyed repeat or a seat proven by its earlier token."""
    assert Client(served()).activate().status == 200


def test_the_lease_is_believed_by_a_client_that_pins_the_root():
    """The answer's lease names tenant, product, seat and the client's nonce, under the answer's certificate."""
    client = Client(served(new_place=True))
    body = client.activate().json
    trust = Trust((read_public_key(client.keys.root_public_key),))
    expected = Expected(tenant_id=TENANT, product_id=PRODUCT, seat_id="ada@ws/0", nonce=CLIENT_NONCE)
    lease = trust.lease(body["lease"], trust.certificate(body["certificate"]), expected)

    assert lease == LeaseClaims(
        iss="db_" + "D" * 22,
        tid=TENANT,
        prd=PRODUCT,
        edn="ed_1",
        ent="ent_" + "E" * 22,
        act=ACTIVATION,
        gen=3,
        sub="ada@ws/0",
        feat={"render": 4, "export": 1},
        iat=NOW.timestamp(),
        exp=(NOW + timedelta(minutes=2)).timestamp(),
        epo=1,
        seq=17,
        nonce=CLIENT_NONCE,
    )


def test_the_answer_describes_the_seat_with_every_feature():
    """Counted features say what this seat has, what is free and what was bought; a bool one is 1 when it is on."""
    state = Client(served()).activate().json["activation"]

    assert (state["id"], state["status"], state["leaseExpiry"]) == (ACTIVATION, "active", "2026-06-01T12:02:00Z")
    assert {f["key"]: (f["type"], f["active"], f["available"], f["total"]) for f in state["features"]} == {
        "render": ("elementPool", 4, 6, 10),
        "export": ("bool", 1, 1, 1),
        "credits": ("usageCount", 0, 70, 100),
    }


def test_no_end_is_told_beyond_the_one_that_is_signed():
    """The answer says in words what the lease says: never beyond the entitlement and its grace."""
    pool = a_pool(ends_at=NOW + timedelta(seconds=50))
    client = Client(served(pool=pool))
    reply = client.activate()
    claims = client.keyring.recognise(TENANT, reply.json["lease"])

    assert datetime.fromisoformat(reply.json["activation"]["leaseExpiry"]).timestamp() == claims.exp


def test_the_access_token_is_accepted_afterwards():
    """The answer's access token proves this life of the seat."""
    client = Client(served())
    token = client.activate().json["accessToken"]

    assert client.keys.read_token(token) == TokenClaims(ACTIVATION, 3)


def test_everything_that_was_asked_reaches_the_desk():
    """Holder, features (named twice: wanted twice), edition, last lease, and the address the call came from."""
    client = Client(served())
    client.activate(
        editionId="ed_1",
        seatName="Ada",
        lastLease="a.b.c",
        features=[{"key": "render", "amount": 2}, {"key": "export"}, {"key": "render"}],
        holder={"user": "ada", "host": "ws", "process": "solver", "group": "fluids", "project": "wing"},
        borrowUntil="2026-07-01T00:00:00Z",
        wait={"maxSeconds": 60},
        somethingNew=True,
    )
    call = client.desk.call
    who = call.who

    assert isinstance(call, ActivateCall)
    assert (call.tenant_id, call.product_id, call.edition_id, call.last_lease) == (TENANT, PRODUCT, "ed_1", "a.b.c")
    assert (call.code_hash, call.code_hint) == (client.keys.code_hash(CODE), "0000")
    assert dict(call.features) == {"render": 3, "export": 1}
    assert (who.seat_id, who.seat_name, who.user, who.host, who.process) == ("ada@ws/0", "Ada", "ada", "ws", "solver")
    assert (who.group, who.project, who.address, call.borrow_until) == (
        "fluids",
        "wing",
        ADDRESS,
        datetime(2026, 7, 1, tzinfo=UTC),
    )


def test_the_older_spelling_of_the_code_is_understood():
    """A flat `activationCode` is the same as credentials of that type, however it is typed."""
    client = Client(served())
    client.activate(activationCredentials=..., activationCode=CODE.lower().replace("0", "o"))

    assert client.desk.call.code_hash == client.keys.code_hash(CODE)


def test_no_credentials_at_all_are_named():
    """One of both spellings is required."""
    client = Client(served())
    reply = client.activate(activationCredentials=...)

    assert (reply.status, reply.json["validationErrors"][0]["propertyName"]) == (422, "activationCredentials")
    assert not client.desk.calls


@pytest.mark.parametrize(
    "credentials", [{"type": "openIdToken", "token": "a.b.c"}, {"type": "password", "username": "ada", "password": "secret"}]
)
def test_credentials_nobody_can_check_are_unknown(credentials):
    """Where no identity provider is set up, its tokens and passwords are unknown credentials."""
    reply = Client(served()).activate(activationCredentials=credentials)

    assert (reply.status, reply.json["errorCode"]) == (401, "credentials.unknown")


def test_an_earlier_lifes_token_goes_along_as_proof():
    """A program that kept its token takes its own place back; so the desk is told which life it proves."""
    client = Client(served())
    client.activate({"authorization": f"Bearer {client.keys.access_token(ACTIVATION, 2)}"})

    assert client.desk.call.proof == TokenClaims(ACTIVATION, 2)


def test_a_foreign_token_proves_nothing_and_harms_nothing():
    """An activation with a token that isn't ours is an activation without one."""
    client = Client(served())
    reply = client.activate({"authorization": "Bearer act_x.2.AAAA"})

    assert (reply.status, client.desk.call.proof) == (200, None)


# --- keys ----------------------------------------------------------------------------------------------------------


def test_the_clients_nonce_is_the_key_of_an_activation():
    """Without an Idempotency-Key, `clientNonce` is the key: the same for the same words, another body for others."""
    client = Client(served())
    client.activate()
    client.activate()
    client.activate(seatName="Another")
    first, again, changed = (call.key for call in client.desk.calls)

    assert first == again
    assert (first.scope, first.key) == (changed.scope, changed.key)
    assert first.body != changed.body


def test_an_idempotency_key_goes_before_the_clients_nonce():
    """The header is the key where there is one; without either there is none."""
    client = Client(served())
    client.activate({"idempotency-key": "k" * 22})
    client.activate({"idempotency-key": "k" * 22}, clientNonce="d" * 24)
    client.activate(clientNonce=...)
    first, second, none = (call.key for call in client.desk.calls)

    assert (first.key == second.key, first.body == second.body, none) == (True, False, None)


def test_keys_of_different_codes_never_meet():
    """A key belongs to the credential it came with."""
    client = Client(served())
    client.activate()
    client.activate(activationCredentials={"type": "activationCode", "code": "another code"})
    one, other = (call.key for call in client.desk.calls)

    assert one.scope != other.scope


@pytest.mark.parametrize("key", ["", "short", "k" * 21, "k" * 201, "k" * 30 + "!", "k" * 22 + "\n"])
def test_a_weak_idempotency_key_is_refused(key):
    """A key has at least 128 random bits: 22 characters of base64url."""
    client = Client(served())
    reply = client.activate({"idempotency-key": key})

    assert (reply.status, reply.json["validationErrors"][0]["propertyName"]) == (422, "Idempotency-Key")
    assert not client.desk.calls


def test_a_uuid_is_a_good_idempotency_key():
    """UUIDs are what most people have at hand."""
    assert Client(served()).activate({"idempotency-key": "7c0be1c2-54b6-4a36-9a2f-0a4fbbd0a1ce"}).status == 200


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_full_pool_is_402_and_explains_itself():
    """No seat free: the rule, how full, who holds, the earliest lease end, what would help, the refusal's id."""
    reply = Client(refused()).activate()
    denial = reply.json["denial"]

    assert (reply.status, reply.json["errorCode"]) == (402, "seats.exhausted")
    assert reply.json["details"] == (
        "Every seat of solver is taken: 3 of 3. The earliest lease ends and its place comes back by 2026-06-01 12:01:00 UTC,"
        " unless it is refreshed."
    )
    assert (denial["id"], denial["rule"], denial["limit"], denial["used"], denial["line"]) == ("D-7K3M2Q", "pool-full", 3, 3, 0)
    assert denial["holders"] == [{"seatName": "bob@ws", "since": "2026-06-01T11:00:00Z", "leaseExpiry": "2026-06-01T12:01:00Z"}]
    assert (denial["holdersMore"], denial["nextFreeBy"]) == (2, "2026-06-01T12:01:00Z")
    assert [remedy["kind"] for remedy in denial["remedies"]] == ["wait", "free", "contact"]


def test_nobody_is_promised_a_moment_of_freedom():
    """A lease that ends is an end only if it isn't refreshed: no text says "free at"."""
    assert b"free at" not in Client(refused()).activate().body.lower()


def test_the_vendors_contact_is_named_and_ours_where_he_named_none():
    """Whom to ask: the vendor's contact, else the server's setting."""
    theirs = Client(refused(contact="sales@vendor.example"), contact="it@site.example").activate().json
    ours = Client(refused(), contact="it@site.example").activate().json

    assert theirs["denial"]["remedies"][-1]["text"] == "Ask sales@vendor.example."
    assert ours["denial"]["remedies"][-1]["text"] == "Ask it@site.example."


def test_a_missing_feature_is_named():
    """A feature that is short is named in the sentence and in the denial."""
    outcome = refused("feature.exhausted", rule="feature-exhausted", feature="render", limit=10, used=12, overdraft=2)
    body = Client(outcome).activate().json

    assert body["details"].startswith("Not enough of render is left in solver: 1 wanted, 12 of 10 (2 in overdraft) taken.")
    assert body["denial"]["feature"] == "render"


@pytest.mark.parametrize(
    ("problem", "rule", "remedies"),
    [
        ("policy.refused", "excluded", ["contact"]),
        ("entitlement.expired", "entitlement-expired", ["renew", "contact"]),
        ("entitlement.disabled", "entitlement-disabled", ["contact"]),
        ("entitlement.exported", "exported", ["point", "contact"]),
    ],
)
def test_where_waiting_does_not_help_nobody_is_named(problem, rule, remedies):
    """Who is excluded, or whose entitlement has ended, gets no list of holders and no lease end to wait for."""
    denial = Client(refused(problem, rule=rule)).activate().json["denial"]

    assert [remedy["kind"] for remedy in denial["remedies"]] == remedies
    assert {"holders", "holdersMore", "nextFreeBy"}.isdisjoint(denial)


def test_what_can_never_be_had_is_not_to_be_waited_for():
    """More than there is, or used up: say how much was wanted, and to buy more or ask for less."""
    short = {"rule": "feature-exhausted", "feature": "pages", "limit": 500, "used": 498, "wanted": 600}
    body = Client(refused("feature.exhausted", **short, outlook=Outlook.NEVER)).activate().json

    assert body["details"] == "Not enough of pages is left in solver: 600 wanted, 498 of 500 taken."
    assert [remedy["kind"] for remedy in body["denial"]["remedies"]] == ["renew", "contact"]
    assert "nextFreeBy" not in body["denial"]


def test_a_node_lock_is_given_up_and_not_waited_for():
    """Its place outlives its lease: holders are named, and how one of them makes room; no lease end is."""
    body = Client(refused(outlook=Outlook.GIVEN_BACK)).activate().json

    assert body["details"] == "Every seat of solver is taken: 3 of 3."
    assert body["denial"]["holders"]
    assert [remedy["kind"] for remedy in body["denial"]["remedies"]] == ["free", "contact"]


@pytest.mark.parametrize(
    ("kind", "wanted", "mode", "expected"),
    [
        (Kind.SEAT, 1, Mode.CONCURRENT, Outlook.COMES_BACK),
        (Kind.SEAT, 1, Mode.NODE_LOCK, Outlook.GIVEN_BACK),
        (Kind.ELEMENT_POOL, 10, Mode.CONCURRENT, Outlook.COMES_BACK),
        (Kind.ELEMENT_POOL, 11, Mode.CONCURRENT, Outlook.NEVER),
        (Kind.USAGE_COUNT, 1, Mode.CONCURRENT, Outlook.NEVER),
    ],
)
def test_what_can_be_had_later(kind, wanted, mode, expected):
    """What is held comes back, up to what there is; what is used up never does."""
    assert outlook(Tally(Right("key", kind, 10), 10), wanted, mode) is expected


def test_a_problem_without_a_pool_has_no_denial():
    """What no pool decided has a code and a sentence, nothing to explain."""
    reply = Client(Refused("feature.unknown")).activate()

    assert (reply.status, reply.json["errorCode"], "denial" in reply.json) == (404, "feature.unknown", False)


# --- status --------------------------------------------------------------------------------------------------------


def test_status_says_how_full_and_who():
    """What any user of the code may see."""
    client = Client(a_status())
    credentials = {"type": "activationCode", "code": CODE}
    reply = client.send("POST", "/api/v1/status", {"productId": PRODUCT, "activationCredentials": credentials})
    body = reply.json

    assert isinstance(client.desk.call, StatusCall)
    assert (reply.status, body["productName"], body["status"]) == (200, "solver", "active")
    assert (body["seats"], body["used"], body["free"], body["line"]) == (3, 1, 2, 0)
    assert body["holders"][0]["seatName"] == "bob@ws"


def test_refusals_that_share_their_holders_share_nothing_else():
    """One batch, one list of holders: each answer has its own id, numbers, reason and contact."""
    client = Client(refused(denial_id="D-000001"))
    outcomes = [
        refused(denial_id="D-000001"),
        refused(denial_id="D-000002"),
        refused(denial_id="D-000003", used=4, overdraft=1),
        refused(denial_id="D-000004", limit=4),
        refused("feature.exhausted", denial_id="D-000005", rule="feature-exhausted", feature="render"),
        refused("feature.exhausted", denial_id="D-000006", rule="feature-exhausted", feature="render", wanted=2),
        refused("feature.exhausted", denial_id="D-000007", rule="feature-exhausted", feature="export"),
        refused(denial_id="D-000008", product_name="another"),
        refused(denial_id="D-000009", contact="ada@example.com"),
        refused(denial_id="D-00000A", outlook=Outlook.GIVEN_BACK),
        refused("seat.gone", denial_id="D-00000B"),
        refused("policy.refused", denial_id="D-00000C", rule="excluded"),
    ]
    bodies = []
    for client.desk.outcome in outcomes * 2:
        bodies.append(client.activate().json)

    ids = [body["denial"].pop("id") for body in bodies]
    assert ids == [outcome.refusal.denial_id for outcome in outcomes] * 2
    assert bodies[: len(outcomes)] == bodies[len(outcomes) :]
    assert bodies[0] == bodies[1]
    assert all(one != other for one, other in combinations(bodies[1 : len(outcomes)], 2))


def test_a_refusal_names_the_holders_of_its_own_moment():
    """What was put into words for one batch is not told to the next."""
    client = Client(refused(used=7))
    before = client.activate().json["denial"]
    client.desk.outcome = refused(used=7, occupancy=replace(OCCUPANCY, more=3))
    after = client.activate().json["denial"]

    assert (before["holdersMore"], after["holdersMore"]) == (2, 3)
