"""The FakeServer keeps the contract, so that what works against it works against a real server."""

from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seatkeeper.protocol import devices
from seatkeeper.protocol.envelopes import public_key_text
from seatkeeper.testing import FakeServer

NONCE = "nonce-0123456789"


class Wire:
    """The Licensing API by hand."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self._http = httpx2.Client(base_url=server.url, transport=server.transport)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str | None) -> httpx2.Response:
        """Make a call; a header that is None is left out."""
        named = {"N-TenantId": self.server.tenant} | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in named.items() if value is not None}
        return self._http.request(method, path, json=body, headers=sent)

    def activate(self, seat_id: str = "s1", *, token: str | None = None, **fields: Any) -> httpx2.Response:
        """Ask for a seat."""
        body = {
            "productId": self.server.product,
            "seatId": seat_id,
            "activationCredentials": {"type": "activationCode", "code": self.server.code},
        }
        return self.call("POST", "/api/v1/activate", body | fields, Authorization=token and f"Bearer {token}")

    def held(
        self, method: str, path: str, granted: httpx2.Response, body: Any = None, nonce: str | None = None
    ) -> httpx2.Response:
        """Make a call about a seat that was granted."""
        token = granted.json()["accessToken"]
        return self.call(method, f"/api/v1/activation{path}", body, Authorization=f"Bearer {token}", N_Nonce=nonce)


@pytest.fixture
def wire() -> Wire:
    """Two seats and ten renders."""
    return Wire(FakeServer(seats=2, features={"render": 10, "export": "bool", "credits": "usageCount:3"}))


def code_of(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errorCode"]


def test_a_new_place_is_201_and_the_same_again_200(wire: Wire) -> None:
    """A keyed repeat gets the same place, and its lease is not extended."""
    first = wire.activate(clientNonce=NONCE)
    again = wire.activate(clientNonce=NONCE)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["accessToken"] == again.json()["accessToken"]
    assert first.json()["activation"]["leaseExpiry"] == again.json()["activation"]["leaseExpiry"]
    assert first.headers["n-nonce"] == again.headers["n-nonce"]


def test_a_token_is_activation_generation_and_mac(wire: Wire) -> None:
    """And every new activate raises the generation."""
    first = wire.activate().json()["accessToken"]
    second = wire.activate(token=first).json()["accessToken"]

    assert (first.split(".")[1], second.split(".")[1]) == ("1", "2")
    assert first.split(".")[0] == second.split(".")[0]


def test_the_same_key_for_another_request_is_422(wire: Wire) -> None:
    """idempotency.mismatch."""
    wire.activate(clientNonce=NONCE)

    assert code_of(wire.activate(clientNonce=NONCE, seatName="other")) == (422, "idempotency.mismatch")


def test_with_its_token_a_place_is_taken_back_in_a_full_pool(wire: Wire) -> None:
    """200, and no second place."""
    first = wire.activate("s1").json()["accessToken"]
    wire.activate("s2")

    assert wire.activate("s1", token=first).status_code == 200
    assert wire.server.used == 2


def test_without_its_token_a_place_is_taken_over_if_there_is_room(wire: Wire) -> None:
    """The older copy's lease counts on; its next call is 409 seat.takenOver."""
    older = wire.activate("s1")
    newer = wire.activate("s1")

    assert newer.status_code == 201
    assert wire.server.used == 2
    assert code_of(wire.held("PATCH", "/refresh", older, {})) == (409, "seat.takenOver")
    assert code_of(wire.activate("s1")) == (402, "seats.exhausted")


def test_a_full_pool_is_402_and_explains_itself(wire: Wire) -> None:
    """With the denial of the contract."""
    wire.activate("s1", seatName="ann@ws-1")
    wire.activate("s2")
    denial = wire.activate("s3").json()["denial"]

    assert (denial["rule"], denial["limit"], denial["used"]) == ("pool-full", 2, 2)
    assert denial["holders"][0]["seatName"] == "ann@ws-1"


def test_giving_back_is_204_twice(wire: Wire) -> None:
    """And frees the place at once."""
    granted = wire.activate()

    assert wire.held("DELETE", "", granted).status_code == 204
    assert wire.held("DELETE", "", granted).status_code == 204
    assert wire.server.used == 0


def test_giving_back_without_the_device_is_204_and_the_place_counts_until_its_lease_ends(wire: Wire) -> None:
    """With all that it drew: whoever saw the token may have said it, behind a program that goes on."""
    device = Ed25519PrivateKey.generate()
    proof = devices.prove(device, devices.Asked(wire.server.tenant, wire.server.product, "s1", NONCE))
    vouched = {"clientNonce": NONCE, "deviceKey": public_key_text(device.public_key()), "deviceProof": proof}
    granted = wire.activate(features=[{"key": "render", "amount": 10}], **vouched)
    answer, used = wire.held("DELETE", "", granted).status_code, wire.server.used
    refused = wire.activate("s2", features=[{"key": "render"}])
    wire.server.advance(121)

    assert (answer, used, wire.server.used) == (204, 1, 0)
    assert code_of(refused) == (402, "feature.exhausted")
    assert wire.activate("s2", features=[{"key": "render"}]).status_code == 201


def test_giving_back_with_an_older_generation_changes_nothing(wire: Wire) -> None:
    """A delayed DELETE of an earlier life does not take the seat away."""
    older = wire.activate()
    wire.activate(token=older.json()["accessToken"])

    assert wire.held("DELETE", "", older).status_code == 204
    assert wire.server.used == 1


def test_a_returned_seat_is_gone(wire: Wire) -> None:
    """A late refresh does not take it again for nobody."""
    granted = wire.activate()
    wire.held("DELETE", "", granted)

    assert code_of(wire.held("PATCH", "/refresh", granted, {})) == (409, "seat.gone")


def test_nonces_are_optional_until_one_is_sent(wire: Wire) -> None:
    """curl works without; whoever began with them goes on with them."""
    granted = wire.activate()
    first = wire.held("PATCH", "/refresh", granted, {})
    second = wire.held("PATCH", "/refresh", granted, {}, first.headers.get("n-nonce"))

    assert (first.status_code, second.status_code) == (200, 200)
    assert code_of(wire.held("PATCH", "/refresh", granted, {})) == (409, "nonce.stale")


def test_a_used_nonce_is_good_for_its_own_request_only(wire: Wire) -> None:
    """The same request again is answered again; any other one is stale."""
    granted = wire.activate()
    nonce = granted.headers["n-nonce"]
    first = wire.held("PATCH", "/refresh", granted, {"clientNonce": NONCE}, nonce)
    again = wire.held("PATCH", "/refresh", granted, {"clientNonce": NONCE}, nonce)
    other = wire.held("PATCH", "/refresh", granted, {"clientNonce": NONCE + "x"}, nonce)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.headers["n-nonce"] == again.headers["n-nonce"]
    assert code_of(other) == (409, "nonce.stale")


def test_an_identical_body_without_client_nonce_is_no_repeat(wire: Wire) -> None:
    """`{}` passes for nothing but itself."""
    granted = wire.activate()
    nonce = granted.headers["n-nonce"]
    wire.held("PATCH", "/refresh", granted, {}, nonce)

    assert code_of(wire.held("PATCH", "/refresh", granted, {}, nonce)) == (409, "nonce.stale")


def test_reading_gives_the_nonce_back(wire: Wire) -> None:
    """A GET consumes nothing."""
    granted = wire.activate()
    nonce = granted.headers["n-nonce"]
    state = wire.held("GET", "", granted, nonce=nonce)

    assert (state.status_code, state.headers["n-nonce"]) == (200, nonce)
    assert wire.held("GET", "", granted, nonce="stale").status_code == 409


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"key": "render", "amount": 11}, (402, "feature.exhausted")),
        ({"key": "rendre", "amount": 1}, (404, "feature.unknown")),
    ],
)
def test_a_checkout_is_refused(wire: Wire, body: dict[str, Any], expected: tuple[int, str]) -> None:
    """Too much, or of something that isn't there; the refusal carries the next nonce."""
    granted = wire.activate()
    response = wire.held("PATCH", "/features/checkout", granted, body | {"clientNonce": NONCE}, granted.headers["n-nonce"])

    assert code_of(response) == expected
    assert response.headers["n-nonce"] != granted.headers["n-nonce"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"key": "credits", "amount": 1}, (402, "feature.notReturnable")),
        ({"key": "render", "amount": 1}, (402, "feature.overReturn")),
    ],
)
def test_a_return_is_refused(wire: Wire, body: dict[str, Any], expected: tuple[int, str]) -> None:
    """What is used up, and what wasn't drawn."""
    granted = wire.activate()

    assert code_of(wire.held("PATCH", "/features/return", granted, body, granted.headers["n-nonce"])) == expected


def test_a_feature_call_needs_a_key(wire: Wire) -> None:
    """Without nonce and Idempotency-Key a repeat could not be told from a second checkout."""
    granted = wire.activate()

    assert code_of(wire.held("PATCH", "/features/checkout", granted, {"key": "render"})) == (422, "validation")


def test_features_are_returned_with_the_seat(wire: Wire) -> None:
    """Usage counts never are."""
    granted = wire.activate(features=[{"key": "render", "amount": 10}, {"key": "credits", "amount": 2}])
    wire.held("DELETE", "", granted)

    assert wire.activate("s2", features=[{"key": "render", "amount": 10}]).status_code == 201
    assert code_of(wire.activate("s2", features=[{"key": "credits", "amount": 2}])) == (402, "feature.exhausted")


@pytest.mark.parametrize("wrong", ["code", "product", "tenant"])
def test_unknown_code_product_and_tenant_are_401_alike(wire: Wire, wrong: str) -> None:
    """Nobody learns which of them was right."""
    body = {"productId": wire.server.product, "seatId": "s", "activationCode": wire.server.code}
    changed = body | {"code": {"activationCode": "x"}, "product": {"productId": "x"}, "tenant": {}}[wrong]
    tenant = "t_x" if wrong == "tenant" else wire.server.tenant
    response = wire.call("POST", "/api/v1/activate", changed, N_TenantId=tenant)

    assert code_of(response) == (401, "credentials.unknown")


def test_a_wrong_field_is_named(wire: Wire) -> None:
    """422 with the property; a body that is no JSON is 400, one too large 413."""
    missing = wire.call("POST", "/api/v1/activate", {"productId": "p"})
    large = wire.activate("s1", seatName="x" * 70_000)
    garbage = wire._http.post("/api/v1/activate", content=b"{", headers={"N-TenantId": wire.server.tenant})

    assert missing.json()["validationErrors"][0]["propertyName"] == "seatId"
    assert (missing.status_code, large.status_code, garbage.status_code) == (422, 413, 400)


def test_a_forged_token_is_401(wire: Wire) -> None:
    """Checked before anything is looked up."""
    token = wire.activate().json()["accessToken"]
    response = wire.call("PATCH", "/api/v1/activation/refresh", {}, Authorization=f"Bearer {token[:-2]}xx")

    assert code_of(response) == (401, "token.invalid")


def test_a_place_that_lapsed_and_was_given_away_is_gone(wire: Wire) -> None:
    """A refresh takes back only what nobody else has."""
    lapsed = wire.activate("s1")
    wire.server.advance(121)
    back = wire.held("PATCH", "/refresh", lapsed, {})
    wire.server.advance(121)
    wire.activate("s2")
    wire.activate("s3")

    assert back.status_code == 200
    assert code_of(wire.held("PATCH", "/refresh", lapsed, {})) == (409, "seat.gone")


def test_a_place_taken_back_counts_until_its_lease_ends(wire: Wire) -> None:
    """Its holder may still believe in it."""
    wire.activate("s1")
    wire.activate("s2")
    wire.server.take_back("s1")
    full = wire.activate("s3").status_code
    wire.server.advance(121)

    assert (full, wire.activate("s3").status_code) == (402, 201)


def test_the_keys_are_served(wire: Wire) -> None:
    """The root's public key, and the certificates it made."""
    keys = wire.call("GET", "/.well-known/seatkeeper/keys").json()

    assert keys["publicKey"] == wire.server.public_key
    assert len(keys["certificates"]) == 1


def test_an_unknown_path_is_404(wire: Wire) -> None:
    """With the contract's error body."""
    assert code_of(wire.call("GET", "/api/v1/nothing")) == (404, "notFound")


def test_in_process_and_on_a_socket_it_is_the_same_server() -> None:
    """`with` puts the same pool on a port."""
    server = FakeServer(seats=1)
    Wire(server).activate("s1")
    with server:
        answer = httpx2.post(
            server.url + "/api/v1/status",
            json={"productId": server.product, "activationCode": server.code},
            headers={"N-TenantId": server.tenant},
        ).json()

    assert (answer["used"], answer["seats"]) == (1, 1)


def test_a_feature_of_no_kind_is_a_mistake() -> None:
    """Said when the server is made."""
    with pytest.raises(ValueError, match="elementPool"):
        FakeServer(features={"render": "pool of ten"})


def test_a_refused_request_is_decided_anew_when_it_is_repeated(wire: Wire) -> None:
    """Only successes are kept: what was refused for want of room may be granted later."""
    other, granted = wire.activate("s1", features=[{"key": "render", "amount": 10}]), wire.activate("s2")
    body, nonce = {"key": "render", "amount": 1, "clientNonce": NONCE}, granted.headers["n-nonce"]
    refused = wire.held("PATCH", "/features/checkout", granted, body, nonce)
    wire.held("DELETE", "", other)
    again = wire.held("PATCH", "/features/checkout", granted, body, nonce)

    assert (refused.status_code, again.status_code) == (402, 200)
    assert again.json()["active"] == 1


def test_an_idempotency_key_does_for_a_nonce(wire: Wire) -> None:
    """The same key draws once; the same key for something else is 422."""
    token = wire.activate().json()["accessToken"]

    def checkout(amount: int) -> httpx2.Response:
        body = {"key": "render", "amount": amount}
        headers = {"Authorization": f"Bearer {token}", "Idempotency_Key": "key-0123456789abcdef"}
        return wire.call("PATCH", "/api/v1/activation/features/checkout", body, **headers)

    assert [checkout(2).json()["active"], checkout(2).json()["active"]] == [2, 2]
    assert code_of(checkout(3)) == (422, "idempotency.mismatch")
