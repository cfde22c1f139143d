"""The Licensing API as a program sees it, sentence by sentence of the contract; the same tests for every server there is."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licensing.program import Answer, Program, fresh, problem
from licensing.target import Target
from seatkeeper.protocol.envelopes import public_key_text


def test_activating_gives_a_seat_a_nonce_and_a_lease_that_verifies(program: Program, target: Target) -> None:
    """201: token, state, lease, certificate, N-Nonce; the lease names tenant, product, seat and the client's nonce."""
    answer = program.activate()
    claims = program.lease(answer)
    state = answer.json()["activation"]

    assert answer.status_code == 201
    assert answer.headers["N-Nonce"]
    assert (state["status"], state["mode"], state["seatId"]) == ("active", "online", program.seat_id)
    assert (claims.act, claims.gen, claims.ent) == (state["id"], 1, state["entitlementId"])
    assert 0 < claims.exp - claims.iat <= target.lease_seconds
    assert program.token.startswith(f"{state['id']}.1.")


@pytest.mark.parametrize("header", [False, True])
def test_a_repeated_activation_is_the_same_seat_answered_anew(program: Program, header: bool) -> None:
    """The same key (the header, else clientNonce) and body again: 200, same seat, same end, newer lease."""
    body = program.body()
    headers = {"Idempotency-Key": fresh()} if header else {}
    first, again = program.activate(body, **headers), program.activate(body, **headers)
    one, two = first.json()["activation"], again.json()["activation"]

    assert (first.status_code, again.status_code) == (201, 200)
    assert (one["id"], one["leaseExpiry"]) == (two["id"], two["leaseExpiry"])
    assert first.headers["N-Nonce"] == again.headers["N-Nonce"]
    assert program.lease(again).gen == 1


def at_once(program: Program, **more: object) -> list[Answer]:
    """Send one and the same refresh eight times at once: one is decided, the others are repeats, all are signed anew."""
    program.client_nonce = fresh()
    body, nonce = {"clientNonce": program.client_nonce, **more}, program.nonce or ""

    def sent(_: int) -> Answer:
        return program.raw("PATCH", "/api/v1/activation/refresh", body, **{"N-Nonce": nonce})

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(sent, range(8)))
    program.nonce = answers[0].headers["N-Nonce"]
    return answers


def parts(answer: Answer) -> int:
    """Count the parts of an answer's lease: three of one signed alone, four of one in a tree."""
    return len(answer.json()["lease"].split("."))


def test_programs_that_read_leases_in_trees_get_some_and_each_verifies(program: Program) -> None:
    """`leaseTypes: ["tree"]`: what is answered at the same time may share a signature."""
    program.activate(program.body(leaseTypes=["tree"]))
    seen: set[int] = set()
    for _ in range(100):  # who meets whom is chance on a real server, but not a hundred times
        answers = at_once(program, leaseTypes=["tree"])
        seen |= {parts(answer) for answer in answers}

        assert len({program.lease(answer).exp for answer in answers}) == 1
        if 4 in seen:
            break

    assert 4 in seen


def test_programs_that_say_nothing_get_leases_signed_alone(program: Program) -> None:
    """Three parts, whoever else is answered at the same time."""
    program.activate()
    answers = [answer for _ in range(3) for answer in at_once(program)]

    assert {parts(answer) for answer in answers} == {3}


def test_a_lease_that_repeats_no_nonce_is_signed_alone(program: Program) -> None:
    """It could be guessed by those who share its tree."""
    program.activate()
    answers = [program.call("PATCH", "/api/v1/activation/refresh", {"leaseTypes": ["tree"]}) for _ in range(3)]

    assert [parts(answer) for answer in answers] == [3, 3, 3]


def test_a_lease_in_a_tree_may_be_shown_as_the_last_one(program: Program) -> None:
    """As `lastLease`, at a refresh and when the seat is taken back."""
    program.activate(program.body(leaseTypes=["tree"]))
    last = next(
        answer.json()["lease"] for _ in range(100) for answer in at_once(program, leaseTypes=["tree"]) if parts(answer) == 4
    )
    program.client_nonce = fresh()
    refreshed = program.call("PATCH", "/api/v1/activation/refresh", {"clientNonce": program.client_nonce, "lastLease": last})
    back = program.activate(program.body(lastLease=last), Authorization=f"Bearer {program.token}")

    assert refreshed.status_code == 200
    assert (back.status_code, program.lease(back).gen) == (200, 2)


def test_a_key_with_another_body_is_a_mismatch(program: Program) -> None:
    """422: one key, one request."""
    key = fresh()
    program.activate(**{"Idempotency-Key": key})

    assert problem(program.activate(**{"Idempotency-Key": key})) == (422, "idempotency.mismatch")


def test_a_full_pool_refuses_and_explains(program: Program, others: list[Program], target: Target) -> None:
    """402 with the denial: id, rule, numbers, who holds, the earliest lease end, what would help."""
    answer = program.activate()
    denial = answer.json()["denial"]

    assert problem(answer) == (402, "seats.exhausted")
    assert denial["id"].startswith("D-")
    assert (denial["rule"], denial["limit"], denial["used"]) == ("pool-full", target.seats, target.seats)
    assert {holder["seatName"] for holder in denial["holders"]} == {f"{one.seat_id}@host" for one in others}
    assert all({"since", "leaseExpiry"} <= holder.keys() for holder in denial["holders"])
    assert denial["nextFreeBy"]
    assert [remedy["kind"] for remedy in denial["remedies"]] == ["wait", "free", "contact"]
    assert "free at" not in answer.text


def test_a_refusals_sentence_is_the_same_everywhere(program: Program, others: list[Program], target: Target) -> None:
    """How full, and the earliest lease end, which is no promise: a program may show it as it is."""
    said, denial = program.activate().json()["details"], program.activate().json()["denial"]
    full, end = f"{target.seats} of {target.seats}", denial["nextFreeBy"][:19].replace("T", " ")

    assert said == (
        f"Every seat of {denial['productName']} is taken: {full}. The earliest lease ends and its place comes back"
        f" by {end} UTC, unless it is refreshed."
    )


def test_what_there_is_never_enough_of_is_not_worth_waiting_for(program: Program) -> None:
    """More than was bought: the amounts, no holders, no lease end, and no advice to wait."""
    answer = program.activate(program.body(features=[{"key": "render", "amount": 10_000}])).json()
    denial = answer["denial"]

    assert denial["wanted"] == 10_000
    assert not {"holders", "nextFreeBy"} & denial.keys()
    assert [remedy["kind"] for remedy in denial["remedies"]] == ["renew", "contact"]
    assert "render is left in" in answer["details"]
    assert "10000 wanted" in answer["details"]
    assert "earliest" not in answer["details"]


def test_a_returned_seat_goes_to_the_next(program: Program, others: list[Program]) -> None:
    """204, and the next one in gets the seat; returning twice is 204 too."""
    returned = [others[0].give_back().status_code for _ in range(2)]

    assert returned == [204, 204]
    assert program.activate().status_code == 201


def test_refreshing_moves_the_end_and_the_nonce(program: Program) -> None:
    """200: a new lease for the client's new nonce, a higher sequence, the next N-Nonce."""
    first = program.lease(program.activate())
    before = program.nonce
    answer = program.refresh()
    claims = program.lease(answer)

    assert answer.status_code == 200
    assert claims.seq > first.seq
    assert claims.exp >= first.exp
    assert program.nonce not in (None, before)


def test_the_same_request_with_the_nonce_before_is_answered_again(program: Program) -> None:
    """A lost answer is asked for again with the same nonce and body: the same state, nothing extended."""
    program.activate()
    nonce, body = program.nonce or "", {"clientNonce": fresh()}
    path = "/api/v1/activation/refresh"
    first = program.raw("PATCH", path, body, **{"N-Nonce": nonce})
    again = program.raw("PATCH", path, body, **{"N-Nonce": nonce})

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.headers["N-Nonce"] == again.headers["N-Nonce"]
    assert first.json()["activation"]["leaseExpiry"] == again.json()["activation"]["leaseExpiry"]


def test_a_used_nonce_with_another_request_is_stale(program: Program) -> None:
    """409 nonce.stale for any other use of an old nonce, and for none once the program has shown one."""
    program.activate()
    nonce = program.nonce or ""
    program.refresh()
    path = "/api/v1/activation/refresh"
    answers = [
        program.raw("PATCH", path, {"clientNonce": fresh()}, **{"N-Nonce": nonce}),
        program.raw("PATCH", path, {}, **{"N-Nonce": nonce}),
        program.raw("PATCH", path, {"clientNonce": fresh()}),
        program.raw("GET", "/api/v1/activation"),
    ]

    assert [problem(answer) for answer in answers] == [(409, "nonce.stale")] * 4


def test_reading_gives_the_nonce_back(program: Program) -> None:
    """GET presents the current nonce, does not consume it, and gives it back."""
    program.activate()
    program.refresh()
    before = program.nonce
    answers = [program.call("GET", "/api/v1/activation") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.headers["N-Nonce"] for answer in answers] == [before, before]
    assert answers[0].json()["id"] == program.token.split(".")[0]


def test_an_activation_of_a_held_seat_without_its_token_is_a_take_over(
    program: Program, http: httpx2.Client, target: Target
) -> None:
    """A new place (201) while there is room; the older copy gets 409 seat.takenOver; without room, 402."""
    copy, third = (Program(target, http, program.seat_id) for _ in range(2))
    assert program.activate().status_code == 201
    assert copy.activate().status_code == 201

    assert problem(program.refresh()) == (409, "seat.takenOver")
    assert problem(third.activate()) == (402, "seats.exhausted")
    copy.leave()


def test_a_program_that_kept_its_token_takes_its_own_place(program: Program, others: list[Program]) -> None:
    """In a full pool: 200, the same seat, a higher generation; the token of the earlier life is over."""
    others[0].refresh()
    old = others[0].token
    answer = others[0].activate(Authorization=f"Bearer {old}")

    assert answer.status_code == 200
    assert others[0].token.split(".")[:2] == [old.split(".")[0], "2"]
    others[0].nonce = None
    gone = others[0].raw("PATCH", "/api/v1/activation/refresh", {}, Authorization=f"Bearer {old}")
    assert problem(gone) == (409, "seat.takenOver")


@pytest.mark.lease(3600)
def test_on_a_long_lease_the_token_alone_does_not_take_the_place_back(others: list[Program]) -> None:
    """A token can be copied: without the device's proof it is a take-over, and a full pool refuses it."""
    answer = others[0].activate(Authorization=f"Bearer {others[0].token}")

    assert problem(answer) == (402, "seats.exhausted")


@pytest.mark.lease(3600)
def test_on_a_long_lease_token_and_device_take_the_place_back(program: Program, others: list[Program]) -> None:
    """200: the same seat for the device it was given to; another device's proof is of no use."""
    device, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    others[0].leave()
    assert program.activate(program.proven(device)).status_code == 201
    bearer = {"Authorization": f"Bearer {program.token}"}

    assert problem(program.activate(program.proven(stranger), **bearer)) == (402, "seats.exhausted")
    assert program.activate(program.proven(device), **bearer).status_code == 200
    assert program.token.split(".")[1] == "2"


@pytest.mark.parametrize("as_another_device", [True, False])
def test_the_token_alone_does_not_take_a_devices_place(
    program: Program, others: list[Program], as_another_device: bool
) -> None:
    """On a short lease either: a proxy saw the token; a life of its own it could return while the program goes on."""
    others[0].leave()
    program.activate(program.proven(Ed25519PrivateKey.generate()))
    body = program.proven(Ed25519PrivateKey.generate()) if as_another_device else program.body()

    assert problem(program.activate(body, Authorization=f"Bearer {program.token}")) == (402, "seats.exhausted")


def test_a_device_takes_its_own_place_back_with_its_token(program: Program, others: list[Program]) -> None:
    """200 in a full pool: token and device prove whose place it is."""
    device = Ed25519PrivateKey.generate()
    others[0].leave()
    program.activate(program.proven(device))

    assert program.activate(program.proven(device), Authorization=f"Bearer {program.token}").status_code == 200
    program.give_back(device)


def test_a_wrong_proof_is_named(program: Program) -> None:
    """422: a signature over another request, or by another key."""
    body = program.proven(Ed25519PrivateKey.generate())
    answer = program.activate({**body, "seatId": "another seat"})

    assert problem(answer) == (422, "validation")
    assert answer.json()["validationErrors"][0]["propertyName"] == "deviceProof"


def test_a_lease_names_the_device_it_was_given_to(program: Program) -> None:
    """Activation and refresh: `dev` is the key that was proven, so that a program knows the lease for its own."""
    device = Ed25519PrivateKey.generate()
    granted = program.lease(program.activate(program.proven(device)), device)
    refreshed = program.lease(program.refresh(), device)

    assert [claims.dev for claims in (granted, refreshed)] == [public_key_text(device.public_key())] * 2


def test_a_feature_calls_lease_names_the_device_too(program: Program) -> None:
    """Every lease of the activation does."""
    device = Ed25519PrivateKey.generate()
    program.activate(program.proven(device))
    program.client_nonce = fresh()
    body = {"key": "render", "amount": 1, "clientNonce": program.client_nonce}

    assert program.lease(program.call("PATCH", "/api/v1/activation/features/checkout", body), device).feat["render"] == 1


@pytest.mark.parametrize("claims_a_key", [True, False])
def test_a_lease_names_no_device_that_was_not_proven(program: Program, claims_a_key: bool) -> None:
    """A key without a proof says nothing: anybody could name it."""
    key = public_key_text(Ed25519PrivateKey.generate().public_key())
    answer = program.activate(program.body(deviceKey=key) if claims_a_key else None)

    assert program.lease(answer).dev is None


def test_a_return_vouched_for_by_the_device_frees_the_place(program: Program, others: list[Program]) -> None:
    """DELETE with the proof: 204, and the next one gets in at once."""
    device = Ed25519PrivateKey.generate()
    others[0].leave()
    assert program.activate(program.proven(device)).status_code == 201
    assert problem(others[0].activate()) == (402, "seats.exhausted")

    assert program.give_back(device).status_code == 204
    assert others[0].activate().status_code == 201


def test_a_return_without_the_device_frees_nothing(program: Program, others: list[Program]) -> None:
    """DELETE without the proof, or with a stranger's: 204 each, and the place counts; a proxy may have sent it."""
    device, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    others[0].leave()
    program.activate(program.proven(device))
    answers = [program.give_back(), program.give_back(stranger), program.give_back()]

    assert [answer.status_code for answer in answers] == [204] * 3
    assert problem(others[0].activate()) == (402, "seats.exhausted")
    program.give_back(device)


def test_a_return_without_the_device_keeps_the_features_too(program: Program, http: httpx2.Client, target: Target) -> None:
    """What the place had drawn counts as long as the place does."""
    device, other = Ed25519PrivateKey.generate(), Program(target, http, f"other-{fresh()}")
    program.activate(program.proven(device, features=[{"key": "render", "amount": 5}]))
    program.give_back()
    refused = other.activate(other.body(features=[{"key": "render"}]))
    program.give_back(device)
    granted = other.activate(other.body(features=[{"key": "render"}]))
    other.leave()

    assert problem(refused) == (402, "feature.exhausted")
    assert granted.status_code == 201


def test_a_late_return_vouched_for_in_an_earlier_life_changes_nothing(program: Program, others: list[Program]) -> None:
    """The device's word is about one generation: a proxy that kept it can't end the next."""
    device = Ed25519PrivateKey.generate()
    others[0].leave()
    program.activate(program.proven(device))
    old = program.token
    program.activate(program.proven(device), Authorization=f"Bearer {old}")
    new, program.token = program.token, old
    late = program.give_back(device).status_code
    program.token = new

    assert late == 204
    assert program.refresh().status_code == 200
    program.give_back(device)


def test_a_late_return_of_an_earlier_life_changes_nothing(others: list[Program], program: Program) -> None:
    """DELETE by an older generation is 204 and the seat stays held."""
    old = others[0].token
    others[0].activate(Authorization=f"Bearer {old}")
    late = others[0].raw("DELETE", "/api/v1/activation", Authorization=f"Bearer {old}")

    assert late.status_code == 204
    assert problem(program.activate()) == (402, "seats.exhausted")


def test_a_returned_seat_is_not_brought_back_by_a_refresh(program: Program) -> None:
    """409 seat.gone: only a lapsed seat is taken again by a refresh."""
    program.activate()
    program.give_back()

    assert problem(program.refresh()) == (409, "seat.gone")


def test_elements_are_drawn_and_given_back(program: Program) -> None:
    """Checkout and return answer the feature's state and a lease that says what is held."""
    program.activate()
    program.client_nonce = fresh()
    path = "/api/v1/activation/features/"
    drawn = program.call("PATCH", path + "checkout", {"key": "render", "amount": 3, "clientNonce": program.client_nonce})
    assert program.lease(drawn).feat["render"] == 3
    program.client_nonce = fresh()
    back = program.call("PATCH", path + "return", {"key": "render", "amount": 2, "clientNonce": program.client_nonce})

    assert (drawn.status_code, back.status_code) == (200, 200)
    assert [drawn.json()[name] for name in ("key", "type", "active")] == ["render", "elementPool", 3]
    assert program.lease(back).feat["render"] == 1
    assert back.json()["active"] == 1


@pytest.mark.parametrize(
    ("what", "key", "amount", "expected"),
    [
        ("checkout", "render", 10_000, (402, "feature.exhausted")),
        ("checkout", "nope", 1, (404, "feature.unknown")),
        ("return", "render", 1, (402, "feature.overReturn")),
        ("return", "points", 1, (402, "feature.notReturnable")),
    ],
)
def test_misuse_of_features_has_its_own_code(
    program: Program, what: str, key: str, amount: int, expected: tuple[int, str]
) -> None:
    """Each way of asking wrongly is told apart."""
    program.activate()
    body = {"key": key, "amount": amount, "clientNonce": fresh()}

    assert problem(program.call("PATCH", f"/api/v1/activation/features/{what}", body)) == expected


def test_usage_is_drawn_once_however_often_the_request_comes(program: Program) -> None:
    """The same checkout with the same key draws once."""
    program.activate()
    body = {"key": "points", "amount": 2}
    key = {"Idempotency-Key": fresh()}
    path = "/api/v1/activation/features/checkout"
    answers = [program.raw("PATCH", path, body, **key) for _ in range(3)]

    assert [answer.json()["active"] for answer in answers] == [2, 2, 2]


def test_active_is_what_this_seat_drew_and_available_what_is_left_for_all(
    program: Program, http: httpx2.Client, target: Target
) -> None:
    """Two seats draw uses: each sees its own as active, and the same rest as available."""
    other = Program(target, http, f"other-{fresh()}")
    drawn = [one.activate(one.body(features=[{"key": "points", "amount": n}])) for n, one in ((3, program), (4, other))]
    seen = [
        (one.call("GET", "/api/v1/activation").json()["features"], answer.status_code)
        for one, answer in zip((program, other), drawn, strict=True)
    ]
    points = [next(each for each in features if each["key"] == "points") for features, _ in seen]
    other.leave()

    assert program.lease(drawn[0]).feat["points"] == 3
    assert [each["active"] for each in points] == [3, 4]
    assert {each["available"] for each in points} == {993}
    assert {each["total"] for each in points} == {1000}


def test_features_come_with_the_seat_all_or_none(program: Program) -> None:
    """A seat with features is granted whole, or refused whole with the feature named."""
    refused = program.activate(program.body(features=[{"key": "render", "amount": 10_000}]))
    assert problem(refused) == (402, "feature.exhausted")
    assert refused.json()["denial"]["feature"] == "render"
    granted = program.activate(program.body(features=[{"key": "render", "amount": 2}, {"key": "export"}]))
    features = {feature["key"]: feature["active"] for feature in granted.json()["activation"]["features"]}

    assert granted.status_code == 201
    assert (features["render"], features["export"]) == (2, 1)
    assert program.lease(granted).feat == {"render": 2, "export": 1}


def test_using_a_feature_is_recorded(program: Program) -> None:
    """POST …/usage: 204, with the next nonce."""
    program.activate()
    before = program.nonce
    answer = program.call("POST", "/api/v1/activation/features/usage", {"key": "export", "clientNonce": fresh()})

    assert answer.status_code == 204
    assert program.nonce != before


def test_what_counts_needs_a_nonce_or_a_key(program: Program) -> None:
    """422 naming N-Nonce: a checkout without either could count twice."""
    program.activate()
    answer = program.raw("PATCH", "/api/v1/activation/features/checkout", {"key": "points", "amount": 1})

    assert problem(answer) == (422, "validation")
    assert answer.json()["validationErrors"][0]["propertyName"] == "N-Nonce"


def test_unknown_credentials_are_told_alike(program: Program, http: httpx2.Client) -> None:
    """Unknown code, product or tenant: 401, to the letter the same answer."""
    wrong_code = program.body(activationCredentials={"type": "activationCode", "code": "0" * 25})
    answers = [
        program.activate(wrong_code),
        program.activate(program.body(productId="prod_" + "x" * 22)),
        program.activate(None, **{"N-TenantId": "t_" + "x" * 22}),
    ]

    assert [problem(answer) for answer in answers] == [(401, "credentials.unknown")] * 3
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("token", ["", "nonsense", "act_x.1.AAAA", "{id}.9.{mac}"])
def test_a_wrong_token_is_refused(program: Program, token: str) -> None:
    """401 token.invalid: missing, malformed, forged, or with another generation."""
    program.activate()
    activation_id, _, mac = program.token.split(".")
    wrong = f"Bearer {token.format(id=activation_id, mac=mac)}".strip()

    assert problem(program.raw("PATCH", "/api/v1/activation/refresh", {}, Authorization=wrong)) == (401, "token.invalid")


def test_the_older_spelling_of_the_code_works(program: Program, target: Target) -> None:
    """`activationCode` instead of `activationCredentials`."""
    body = program.body(activationCode=target.code)
    del body["activationCredentials"]

    assert program.activate(body).status_code == 201


def test_a_code_is_read_generously(program: Program, target: Target) -> None:
    """Lower case and without hyphens is the same code."""
    code = target.code.lower().replace("-", "")

    assert program.activate(program.body(activationCredentials={"type": "activationCode", "code": code})).status_code == 201


def test_unknown_fields_are_ignored(program: Program) -> None:
    """A newer program works with an older server."""
    assert program.activate(program.body(somethingNew={"x": 1})).status_code == 201


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seatId": ""}, "seatId"),
        ({"seatId": "x" * 201}, "seatId"),
        ({"seatId": "bell\x07"}, "seatId"),
        ({"productId": 7}, "productId"),
        ({"features": [{"key": "render", "amount": 0}]}, "features"),
        ({"activationCredentials": {"type": "magic"}}, "activationCredentials"),
        ({"activationCredentials": None, "activationCode": None}, "activationCredentials"),
    ],
)
def test_a_wrong_field_is_named(program: Program, change: dict[str, object], name: str) -> None:
    """422 with the field's name."""
    answer = program.activate(program.body(**change))

    assert problem(answer) == (422, "validation")
    assert answer.json()["validationErrors"][0]["propertyName"].startswith(name)


def test_a_seat_id_of_two_hundred_characters_is_taken(program: Program) -> None:
    """Longer than theirs, as the contract says."""
    program.seat_id = "ü" * 200

    assert program.activate(program.body(seatName="ü")).status_code == 201


def test_a_body_that_is_no_json_is_unparsable(http: httpx2.Client) -> None:
    """400."""
    assert problem(http.post("/api/v1/activate", content=b"{oops")) == (400, "body.unparsable")


def test_a_huge_body_is_too_large(http: httpx2.Client) -> None:
    """413, beyond 64 KiB."""
    content = json.dumps({"productId": "x" * 70_000}).encode()

    assert problem(http.post("/api/v1/activate", content=content)) == (413, "body.tooLarge")


def test_status_shows_how_full_it_is(http: httpx2.Client, others: list[Program], target: Target) -> None:
    """POST /api/v1/status: seats, used, free, line, holders; for anybody with the code."""
    answer = http.post("/api/v1/status", json={"productId": target.product_id, "activationCode": target.code})
    body = answer.json()

    assert answer.status_code == 200
    assert (body["seats"], body["used"], body["free"], body["line"]) == (target.seats, target.seats, 0, 0)
    assert len(body["holders"]) == target.seats


def test_the_entitlement_is_shown_to_its_holder(program: Program, target: Target) -> None:
    """GET …/entitlement: what was bought, with the nonce given back."""
    program.activate()
    answer = program.call("GET", "/api/v1/activation/entitlement")

    assert answer.status_code == 200
    assert answer.json()["seatCount"] == target.seats
    assert {"offeringName", "sku", "productName", "plan", "leasePeriod", "snapshotDate"} <= answer.json().keys()


def test_the_keys_are_public_and_certified(http: httpx2.Client, target: Target, program: Program) -> None:
    """/.well-known/seatkeeper/keys: the root and certificates that verify against it."""
    answer = http.get("/.well-known/seatkeeper/keys")

    assert answer.json()["publicKey"] == target.public_key
    assert program.certificate().tid == target.tenant_id


def test_another_path_or_method_is_told_in_the_same_words(http: httpx2.Client) -> None:
    """404 and 405 have the error body too."""
    assert problem(http.get("/api/v1/nothing")) == (404, "notFound")
    assert http.get("/api/v1/activate").status_code == 405
