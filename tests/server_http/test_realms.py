"""The token endpoint and API clients: who gets an access token, what it may do, and when it ends."""

from base64 import b64encode
from urllib.parse import quote

import pytest

from seatkeeper_server.http.vendor import guard
from seatkeeper_server.http.vendor.guard import LASTS, token_for
from seatkeeper_server.keys import TenantKeys
from seatkeeper_server.service.clients import PERMISSIONS, ApiClient
from tests.server_http.front import _SEAL, NOW, ROWS, TENANT
from tests.server_http.vendor import SECRET, Vendor

CLIENTS = "/api/v1/account/api-clients"


def basic(client_id: str, secret: str) -> str:
    """HTTP Basic, as OAuth wants it."""
    return f"Basic {b64encode(f'{quote(client_id)}:{quote(secret)}'.encode()).decode()}"


# --- the token endpoint --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("realm", ["", "default"])
def test_a_client_gets_a_token_for_its_secret(vendor: Vendor, token: str, realm: str) -> None:
    """`{access_token, token_type, expires_in}`; the realm is the tenant's id or its name, and `scope` is passed over."""
    reply = vendor.ask_token({"client_id": "erp", "client_secret": SECRET, "scope": "openid"}, realm)
    body = reply.json()

    assert (reply.status_code, body["token_type"], body["expires_in"]) == (200, "Bearer", 3600)
    assert reply.headers["cache-control"] == "no-store"
    assert vendor.call("GET", CLIENTS, body["access_token"]).status_code == 200


def test_id_and_secret_may_come_by_http_basic(vendor: Vendor, token: str) -> None:
    """RFC 6749, section 2.3.1."""
    good = vendor.ask_token({}, authorization=basic("erp", SECRET))
    bad = vendor.ask_token({}, authorization="Basic !!!")

    assert (good.status_code, bad.status_code) == (200, 401)


@pytest.mark.parametrize(
    "form",
    [
        {"client_id": "erp", "client_secret": "wrong" * 8},
        {"client_id": "nobody", "client_secret": SECRET},
        {"client_id": "erp", "client_secret": ""},
        {"client_id": "erp"},
        {"client_secret": SECRET},
        {"client_id": "erp", "client_secret": "x" * 10_000},
    ],
)
def test_a_wrong_secret_and_an_unknown_client_are_told_alike(vendor: Vendor, token: str, form: dict[str, str]) -> None:
    """401 `invalid_client`, as clients of such endpoints expect."""
    reply = vendor.ask_token(form)

    assert (reply.status_code, reply.json()) == (401, {"error": "invalid_client"})


def test_an_unknown_realm_is_404(vendor: Vendor) -> None:
    """As the endpoint that we are compatible with says it."""
    reply = vendor.ask_token({"client_id": "erp", "client_secret": SECRET}, realm="elsewhere")

    assert (reply.status_code, reply.json()) == (404, {"error": "Realm does not exist"})


@pytest.mark.parametrize(
    ("form", "error"), [({"grant_type": "password"}, "unsupported_grant_type"), ({"grant_type": ""}, "unsupported_grant_type")]
)
def test_other_grants_are_refused(vendor: Vendor, form: dict[str, str], error: str) -> None:
    """Only client credentials."""
    reply = vendor.ask_token(form)

    assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_secrets_are_not_guessed_at_the_speed_of_the_network(vendor: Vendor, token: str) -> None:
    """Too many failures from one address are 429; who has the right secret gets a token all the same."""
    replies = [vendor.ask_token({"client_id": "erp", "client_secret": f"{n:040}"}) for n in range(22)]
    right = vendor.ask_token({"client_id": "erp", "client_secret": SECRET})

    assert [reply.status_code for reply in replies[-2:]] == [429, 429]
    assert int(replies[-1].headers["retry-after"]) > 0
    assert right.status_code == 200


# --- access tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["{}x", "x{}", "{}.", ".", "a.b", "{}" + "x" * 3_000])
def test_a_token_that_is_not_ours_proves_nothing(vendor: Vendor, token: str, change: str) -> None:
    """401 `token.invalid`."""
    reply = vendor.call("GET", CLIENTS, change.format(token))

    assert (reply.status_code, reply.json()["errorCode"]) == (401, "token.invalid")


def test_a_token_ends(vendor: Vendor, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour it is as good as none."""
    monkeypatch.setattr(guard, "LASTS", -1)
    ended = vendor.token("erp")

    assert vendor.call("GET", CLIENTS, ended).status_code == 401


def test_tokens_of_seats_and_of_clients_are_no_use_to_each_other() -> None:
    """Separate keys by purpose: a text made for one never passes for another."""
    keys = TenantKeys(ROWS, _SEAL)
    client = ApiClient(tenant_id=TENANT, api_id="api_1", client_id="erp", name=None, permissions=PERMISSIONS, created_at=NOW)
    of_client, of_seat = token_for(client, keys, lambda: 1_000.0), keys.access_token("act_1", 1)

    assert keys.read_api_token(of_client) is not None
    assert b"%d" % (1_000 + LASTS) in (keys.read_api_token(of_client) or b"")
    assert (keys.read_api_token(of_seat), keys.read_token(of_client)) == (None, None)


def test_a_removed_clients_tokens_end_with_it(vendor: Vendor, token: str) -> None:
    """At once, not when they would have ended."""
    other = vendor.add_client("other", "api:admin")
    (removed,) = [each["id"] for each in vendor.call("GET", CLIENTS, token).json()["items"] if each["clientId"] == "other"]
    before = vendor.call("GET", CLIENTS, other).status_code
    reply = vendor.call("DELETE", f"{CLIENTS}/{removed}", token)

    assert (before, reply.status_code, vendor.call("GET", CLIENTS, other).status_code) == (200, 204, 401)
    assert vendor.ask_token({"client_id": "other", "client_secret": SECRET}).status_code == 401


# --- clients by API ------------------------------------------------------------------------------------------------


def test_a_client_is_made_with_a_secret_that_is_shown_once(vendor: Vendor, token: str) -> None:
    """`{id, clientId, clientName, clientSecret}`; 32 to 64 characters, made unless given; the list has no secrets."""
    made = vendor.call("POST", CLIENTS, token, {"clientId": "shop", "clientName": "The shop"})
    given = vendor.call("POST", CLIENTS, token, {"clientId": "crm", "clientSecret": "k" * 32})
    listed = vendor.call("GET", CLIENTS, token)

    assert (made.status_code, made.json()["clientName"], 32 <= len(made.json()["clientSecret"]) <= 64) == (
        200,
        "The shop",
        True,
    )
    assert vendor.token("shop", made.json()["clientSecret"])
    assert given.json()["clientSecret"] == "k" * 32
    assert (listed.json()["elementsTotal"], {each["clientId"] for each in listed.json()["items"]}) == (
        3,
        {"erp", "shop", "crm"},
    )
    assert made.json()["clientSecret"] not in listed.text


def test_no_client_makes_one_that_may_do_more(vendor: Vendor) -> None:
    """403; what is not said is what the maker may do."""
    narrow = vendor.add_client("narrow", "api:admin", "lls:admin")
    more = vendor.call("POST", CLIENTS, narrow, {"clientId": "more", "permissions": ["entitlements:admin"]})
    same = vendor.call("POST", CLIENTS, narrow, {"clientId": "same"})

    assert (more.status_code, more.json()["errorCode"]) == (403, "forbidden")
    assert sorted(same.json()["permissions"]) == ["api:admin", "lls:admin"]


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ({}, "clientId"),
        ({"clientId": "1st"}, "clientId"),
        ({"clientId": "a-"}, "clientId"),
        ({"clientId": "a" * 51}, "clientId"),
        ({"clientId": "erp\n"}, "clientId"),
        ({"clientId": "b", "clientSecret": "short"}, "clientSecret"),
        ({"clientId": "b", "clientSecret": "x" * 65}, "clientSecret"),
        ({"clientId": "b", "clientName": "x" * 51}, "clientName"),
        ({"clientId": "b", "permissions": ["everything"]}, "permissions"),
        ({"clientId": "b", "secret": "x"}, "secret"),
    ],
)
def test_clients_that_can_not_be_are_422(vendor: Vendor, token: str, document: object, wrong: str) -> None:
    """With the field that is wrong."""
    reply = vendor.call("POST", CLIENTS, token, document)

    assert (reply.status_code, [each["propertyName"] for each in reply.json()["validationErrors"]]) == (422, [wrong])


def test_two_clients_of_one_name_are_a_conflict(vendor: Vendor, token: str) -> None:
    """409."""
    reply = vendor.call("POST", CLIENTS, token, {"clientId": "erp"})

    assert (reply.status_code, reply.json()["errorCode"]) == (409, "conflict")


def test_a_client_that_is_not_there_is_404(vendor: Vendor, token: str) -> None:
    """On removing it."""
    assert vendor.call("DELETE", f"{CLIENTS}/api_9", token).status_code == 404
