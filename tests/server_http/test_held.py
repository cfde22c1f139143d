"""What a seat's holder calls with his access token: refresh, return, reading, features."""

import pytest

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.terms import SEAT, Kind, Right
from seatkeeper_server.keys import features_of
from seatkeeper_server.service.calls import Done, HeldCall, Refused, TokenClaims, Verb
from tests.server_http.front import ACTIVATION, BOUGHT, CLIENT_NONCE, TENANT, Client, a_holding, a_pool, refused, served

ACTIVATION_PATH = "/api/v1/activation"
REFRESH = f"{ACTIVATION_PATH}/refresh"
CHECK_OUT = f"{ACTIVATION_PATH}/features/checkout"
GIVE_BACK = f"{ACTIVATION_PATH}/features/return"
USAGE = f"{ACTIVATION_PATH}/features/usage"
TRACK = f"{ACTIVATION_PATH}/features/track-usage"

HELD_ROUTES = [
    ("PATCH", REFRESH, {}),
    ("GET", ACTIVATION_PATH, None),
    ("DELETE", ACTIVATION_PATH, None),
    ("GET", f"{ACTIVATION_PATH}/entitlement", None),
    ("PATCH", CHECK_OUT, {"key": "render"}),
    ("PATCH", GIVE_BACK, {"key": "render"}),
    ("POST", USAGE, {"key": "export"}),
]


# --- tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "document"), HELD_ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": None},
        {"authorization": "Bearer "},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer nothing"},
        {"authorization": "Bearer " + "x" * 300},
        {"authorization": f"Bearer {ACTIVATION}.3.{'A' * 43}"},
        {"n-tenantid": None},
        {"n-tenantid": "t_unknown"},
    ],
)
def test_a_wrong_token_is_refused_before_the_desk_is_asked(method, path, document, headers):
    """A missing, foreign or forged token, or another tenant's, is 401 `token.invalid`; no database work is done for it."""
    client = Client(served())
    reply = client.held(method, path, document, headers)

    assert (reply.status, reply.json["errorCode"], client.desk.calls) == (401, "token.invalid", [])


def test_a_token_of_another_generation_can_not_be_made_from_ours():
    """The generation is part of what is signed."""
    client = Client(served())
    forged = client.token.replace(".3.", ".4.")

    assert client.held("PATCH", REFRESH, {}, {"authorization": f"Bearer {forged}"}).status == 401


# --- refresh -------------------------------------------------------------------------------------------------------


def test_a_refresh_asks_the_desk_with_everything():
    """Token, nonce, the fingerprint of a request that can be repeated, and the last lease."""
    client = Client(served())
    client.held("PATCH", REFRESH, {"clientNonce": CLIENT_NONCE, "lastLease": "a.b.c"})
    call = client.desk.call

    assert isinstance(call, HeldCall)
    assert (call.verb, call.tenant_id, call.token) == (Verb.REFRESH, TENANT, TokenClaims(ACTIVATION, 3))
    assert (call.nonce, call.last_lease, call.key, len(call.fingerprint)) == ("nonce-1", "a.b.c", None, 32)


def test_a_refresh_answers_with_a_lease_and_the_next_nonce():
    """An answer that consumed a nonce carries the next one."""
    client = Client(served())
    reply = client.held("PATCH", REFRESH, {"clientNonce": CLIENT_NONCE})
    claims = client.keyring.recognise(TENANT, reply.json["lease"])

    assert (reply.status, reply.headers["n-nonce"], reply.json["accessToken"]) == (200, "nonce-2", client.token)
    assert claims is not None
    assert (claims.nonce, claims.seq, claims.sub) == (CLIENT_NONCE, 17, "ada@ws/0")


def test_a_body_is_not_needed():
    """A refresh without a body is one without a client's nonce."""
    client = Client(served())

    assert (client.held("PATCH", REFRESH).status, client.desk.call.fingerprint) == (200, None)


def test_no_nonce_shown_none_given():
    """Who shows no nonce consumes none, and gets none: else a copy with a stolen token could read it."""
    client = Client(served())
    refreshed = client.held("PATCH", REFRESH, {}, {"n-nonce": None})
    read = client.held("GET", ACTIVATION_PATH, None, {"n-nonce": None})

    assert ("n-nonce" in refreshed.headers, "n-nonce" in read.headers) == (False, False)


def test_the_same_words_have_the_same_fingerprint_and_others_have_not():
    """A fingerprint is of method, path and body; `{}` has none, since two different calls may both say that."""
    client = Client(served())
    document = {"clientNonce": CLIENT_NONCE}
    client.held("PATCH", REFRESH, document)
    client.held("PATCH", REFRESH, document)
    client.held("PATCH", REFRESH, {**document, "lastLease": "a.b.c"})
    client.held("PATCH", CHECK_OUT, {**document, "key": "render"})
    client.held("PATCH", GIVE_BACK, {**document, "key": "render"})
    client.held("PATCH", REFRESH, {})
    client.held("PATCH", CHECK_OUT, {"key": "render"})
    first, again, other_body, checkout, other_path, *bare = (call.fingerprint for call in client.desk.calls)

    assert first == again
    assert len({first, other_body, checkout, other_path}) == 4
    assert bare == [None, None]


def test_the_certificate_comes_to_who_does_not_know_it():
    """Whoever shows a lease of the present key knows its certificate; it is sent to others only."""
    client = Client(served())
    unknowing = client.held("PATCH", REFRESH, {}).json
    foreign = client.held("PATCH", REFRESH, {"lastLease": "eyJ.b.c"}).json
    knowing = client.held("PATCH", REFRESH, {"lastLease": unknowing["lease"]}).json

    assert unknowing["certificate"] == foreign["certificate"] == client.keys.certificate
    assert "certificate" not in knowing


@pytest.mark.parametrize("problem", ["seat.gone", "seat.takenOver", "nonce.stale"])
def test_a_seat_that_is_not_yours_any_more_is_409(problem):
    """Expired and given to another, taken over, or an old nonce: the program has to activate again."""
    reply = Client(Refused(problem)).held("PATCH", REFRESH, {})

    assert (reply.status, reply.json["errorCode"], "denial" in reply.json) == (409, problem, False)


def test_a_late_refresh_that_finds_no_room_is_told_both():
    """The seat had lapsed and went to another: activate again, and this is how full it is."""
    reply = Client(refused("seat.gone")).held("PATCH", REFRESH, {})

    assert (reply.status, reply.json["denial"]["rule"]) == (409, "pool-full")
    assert reply.json["details"].startswith("It was not held any more, and no place is left. Every seat of solver is taken")


def test_an_old_nonce_is_explained_by_its_code_alone():
    """A stale nonce is no matter of seats: even where the service explains it, no denial is told."""
    reply = Client(refused("nonce.stale", rule="nonce")).held("PATCH", REFRESH, {})

    assert (reply.status, "denial" in reply.json) == (409, False)


def test_a_refused_call_gives_no_nonce():
    """A refused call has consumed nothing."""
    assert "n-nonce" not in Client(refused()).held("PATCH", REFRESH, {}).headers


def test_an_idempotency_key_of_a_held_call_belongs_to_seat_and_route():
    """The same key on another route, or of another life of the seat, is another key."""
    client = Client(served())
    key = {"idempotency-key": "k" * 22}
    client.held("PATCH", CHECK_OUT, {"key": "render"}, key)
    client.held("PATCH", GIVE_BACK, {"key": "render"}, key)
    client.held(
        "PATCH", CHECK_OUT, {"key": "render"}, {**key, "authorization": f"Bearer {client.keys.access_token(ACTIVATION, 4)}"}
    )
    scopes = {call.key.scope for call in client.desk.calls}

    assert len(scopes) == 3


# --- return and reading --------------------------------------------------------------------------------------------


def test_a_return_is_204_without_a_nonce():
    """Deactivating needs no nonce, so that a program which lost it can still give its seat back."""
    client = Client(Done())
    reply = client.held("DELETE", ACTIVATION_PATH, None, {"n-nonce": None})

    assert (reply.status, reply.body, client.desk.call.verb) == (204, b"", Verb.RETURN)


def test_a_get_gives_back_the_nonce_it_was_shown():
    """Reading presents the current nonce and consumes nothing; no lease is signed for it."""
    client = Client(served(sign=False))
    reply = client.held("GET", ACTIVATION_PATH, None, {"n-nonce": "nonce-2"})

    assert (reply.status, reply.headers["n-nonce"], client.desk.call.verb) == (200, "nonce-2", Verb.READ)
    assert (reply.json["seatId"], "lease" in reply.json) == ("ada@ws/0", False)


def test_a_lapsed_seat_reads_as_lease_expired():
    """The state says whether the lease still runs."""
    late = served(holding=a_holding(expires_at=served().at))

    assert Client(late).held("GET", ACTIVATION_PATH).json["status"] == "leaseExpired"


def test_what_was_bought_is_read_for_the_seats_entitlement():
    """Commercial details come from the catalogue, for the entitlement the desk found the seat in."""
    asked = []
    client = Client(served(sign=False), entitlements=lambda *key: asked.append(key) or BOUGHT)
    reply = client.held("GET", f"{ACTIVATION_PATH}/entitlement")

    assert (reply.status, reply.json["sku"], reply.json["seatCount"]) == (200, "SOLVER-3", 3)
    assert asked == [(TENANT, "ent_" + "E" * 22)]


def test_an_entitlement_that_is_not_found_is_404():
    """The seat is there, the catalogue's row is not."""
    assert Client(served()).held("GET", f"{ACTIVATION_PATH}/entitlement").status == 404


# --- features ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "verb"), [(CHECK_OUT, Verb.CHECK_OUT), (GIVE_BACK, Verb.GIVE_BACK)])
def test_drawing_and_giving_back_answer_with_the_feature_and_a_lease(path, verb):
    """The answer says how the feature stands, and the lease beside it says what is held now."""
    client = Client(served(feature="render"))
    reply = client.held("PATCH", path, {"key": "render", "amount": 2, "clientNonce": CLIENT_NONCE})
    body, call = reply.json, client.desk.call
    claims = client.keyring.recognise(TENANT, body.pop("lease"))

    assert body.pop("certificate") == client.keyring.certificate(TENANT)
    assert (reply.status, reply.headers["n-nonce"], call.verb, call.feature, call.amount) == (200, "nonce-2", verb, "render", 2)
    assert body == {"key": "render", "type": "elementPool", "active": 4, "available": 6, "total": 10}
    assert claims is not None
    assert (claims.feat, claims.nonce) == ({"render": 4, "export": 1}, CLIENT_NONCE)


@pytest.mark.parametrize(("method", "path"), [("POST", USAGE), ("PATCH", TRACK)])
def test_usage_is_204_on_both_paths(method, path):
    """The path the reference only infers is an alias."""
    client = Client(Done("nonce-2"))
    reply = client.held(method, path, {"key": "export"})

    assert (reply.status, reply.headers["n-nonce"], client.desk.call.verb) == (204, "nonce-2", Verb.USE)


@pytest.mark.parametrize(("method", "path"), [("PATCH", CHECK_OUT), ("PATCH", GIVE_BACK), ("POST", USAGE)])
def test_a_counted_call_needs_a_nonce_or_a_key(method, path):
    """Else it could count twice."""
    client = Client(served(feature="render"))
    document = {"key": "render"}
    bare = client.held(method, path, document, {"n-nonce": None})
    asked_when_bare = list(client.desk.calls)
    keyed = client.held(method, path, document, {"n-nonce": None, "idempotency-key": "k" * 22})

    assert (bare.status, bare.json["validationErrors"][0]["propertyName"], asked_when_bare) == (422, "N-Nonce", [])
    assert keyed.status in (200, 204)


@pytest.mark.parametrize(
    ("problem", "status"), [("feature.unknown", 404), ("feature.notReturnable", 402), ("feature.overReturn", 402)]
)
def test_impossible_feature_calls_have_their_codes(problem, status):
    """Each has a code of its own."""
    reply = Client(Refused(problem)).held("PATCH", GIVE_BACK, {"key": "render"})

    assert (reply.status, reply.json["errorCode"]) == (status, problem)


def test_a_lease_speaks_of_bool_features_that_are_on_and_of_amounts_held():
    """A bool feature is in the lease while it is on, also if it was granted before it was switched off; the seat never is."""
    pool = a_pool()
    off = {**pool.tallies, "export": Tally(Right("export", Kind.BOOL, 0)), "extra": Tally(Right("extra", Kind.BOOL, None))}
    holding = a_holding(rights={SEAT: 1, "render": 0, "credits": 7, "export": 1})
    outcome = served(pool=type(pool)(terms=pool.terms, tallies=off), holding=holding)

    assert features_of(outcome) == {"credits": 7, "extra": 1}
