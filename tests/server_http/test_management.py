"""The Management API over a real socket: paths, fields, codes and permissions of the public contract, and what is ours."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from seatkeeper.protocol.envelopes import unb64url
from seatkeeper_server.cli._place import opened
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
from tests.server_http.vendor import Export, Lending, Site, Vendor, sell

SITES = "/api/v1/local-license-servers"
ENTITLEMENTS = "/api/v1/entitlements"
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)


class Refused(CannotDo):
    """A token that can't be applied."""

    problem = "offline.replayed"


# --- local license servers -----------------------------------------------------------------------------------------


def test_sites_are_listed_with_the_contracts_fields(vendor: Vendor, token: str) -> None:
    """`{items, elementsTotal}`; each with what the contract names, and our `state` and `lastReport`."""
    reply = vendor.call("GET", SITES, token)
    first, second = reply.json()["items"]

    assert (reply.status_code, reply.json()["elementsTotal"]) == (200, 2)
    assert first == {
        "id": "lls_1",
        "name": "lab-1",
        "activationId": "act_1",
        "activated": "2026-06-01T12:00:00Z",
        "lastLease": "2026-06-01T12:00:00Z",
        "leaseExpiry": "2026-08-30T12:00:00Z",
        "deactivated": None,
        "licenseActive": True,
        "state": "ok",
        "lastReport": None,
    }
    assert (second["licenseActive"], second["deactivated"]) == (False, "2026-06-01T12:00:00Z")


def test_one_site_is_shown(vendor: Vendor, token: str) -> None:
    """By its id; 404 for another."""
    known, unknown = vendor.call("GET", f"{SITES}/lls_2", token), vendor.call("GET", f"{SITES}/lls_9", token)

    assert (known.status_code, known.json()["name"]) == (200, "lab-2")
    assert (unknown.status_code, unknown.json()["errorCode"]) == (404, "notFound")


def test_the_sites_entitlement_has_the_code_that_licenses(vendor: Vendor, token: str, lending: Lending) -> None:
    """`{entitlement, entitlementGroup: {activationCodes}}`, as existing clients read it."""
    with opened(vendor.settings.data) as place:
        lending.bought = place.read(lambda desk: desk.catalogue.bought()[0])
    body = vendor.call("GET", f"{SITES}/entitlement", token).json()

    assert body["entitlementGroup"]["activationCodes"] == ["SITE-CODE"]
    assert (body["entitlement"]["id"], body["entitlement"]["seatCount"]) == (vendor.sold.entitlement_id, 5)


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "asked"),
    [
        ("POST", f"{SITES}/license/activate", {"token": "abc"}, 200, ("license", "abc")),
        ("POST", f"{SITES}/license/deactivate", {"token": "abc"}, 204, ("end", "abc")),
        ("PATCH", f"{SITES}/lls_1/license/refresh", None, 200, ("renew", "lls_1")),
        ("POST", f"{SITES}/lls_1/license/deactivate-without-token", None, 204, ("forget", "lls_1")),
        ("POST", f"{SITES}/usage-report", {"token": "abc"}, 200, ("report", "abc")),
        ("POST", f"{ENTITLEMENTS}/ent_1/export/token", None, 200, ("fresh", "ent_1")),
        ("POST", f"{ENTITLEMENTS}/ent_1/import", {"token": "abc"}, 204, ("back", "ent_1", "abc")),
        ("POST", f"{ENTITLEMENTS}/ent_1/import", {"importWithoutToken": True}, 204, ("back", "ent_1", None)),
        ("DELETE", f"{ENTITLEMENTS}/ent_1/shares", None, 204, ("back", "ent_1", None)),
        ("DELETE", f"{ENTITLEMENTS}/ent_1/shares?localLicenseServerId=lls_1", None, 204, ("back", "ent_1", None, "lls_1")),
        ("POST", f"{ENTITLEMENTS}/ent_1/export/token?localLicenseServerId=lls_1", {}, 200, ("fresh", "ent_1", "lls_1")),
        (
            "POST",
            f"{ENTITLEMENTS}/ent_1/import",
            {"importWithoutToken": True, "localLicenseServerId": "lls_1"},
            204,
            ("back", "ent_1", None, "lls_1"),
        ),
    ],
)
def test_tokens_go_where_they_belong(
    vendor: Vendor, token: str, lending: Lending, method: str, path: str, document: object, status: int, asked: tuple[str, ...]
) -> None:
    """Path, verb, body and success code of each call that carries a token or gives one."""
    reply = vendor.call(method, path, token, document)

    assert (reply.status_code, lending.asked) == (status, [asked])
    if status == 204:
        assert reply.content == b""
    elif "usage" not in path:
        assert reply.json() == {"token": f"token of {asked[0]}"}


# --- the key of the account ----------------------------------------------------------------------------------------


def test_the_config_has_the_contracts_fields(vendor: Vendor, token: str) -> None:
    """Tenant and public key twice: here the one who licenses local servers is the one who lends to them."""
    reply = vendor.call("GET", f"{SITES}/config", token)
    key = vendor.call("GET", "/api/v1/account/key", token).json()

    assert reply.status_code == 200
    assert reply.json() == {
        "llsLicenseTenantId": vendor.tenant_id,
        "llsLicenseTenantKey": key,
        "clientTenantId": vendor.tenant_id,
        "clientTenantKey": key,
    }


def test_the_key_of_the_account_is_rsa_and_stays(vendor: Vendor, token: str) -> None:
    """A JWK with `kty`, `n` and `e` alone: 2048 bits, AQAB; the same whenever it is asked for."""
    first, again = (vendor.call("GET", "/api/v1/account/key", token) for _ in range(2))
    body = first.json()

    assert (first.status_code, again.json()) == (200, body)
    assert (set(body), body["kty"], body["e"]) == ({"kty", "n", "e"}, "RSA", "AQAB")
    assert int.from_bytes(unb64url(body["n"]), "big").bit_length() == 2048


def test_all_who_ask_at_once_get_the_same_key(vendor: Vendor, token: str) -> None:
    """Each may have made one; the first that is kept is everybody's."""
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: vendor.call("GET", "/api/v1/account/key", token), range(8)))

    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["n"] for reply in replies}) == 1


# --- lending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("export", 200), ("shares", 201)])
def test_a_share_is_lent(vendor: Vendor, token: str, lending: Lending, path: str, status: int) -> None:
    """`seats`, `features` and `until` are ours: an export with them is a share."""
    document = {
        "localLicenseServerId": "lls_1",
        "seats": 3,
        "features": [{"key": "render", "amount": 4}],
        "until": "2027-01-01T00:00:00Z",
    }
    reply = vendor.call("POST", f"{ENTITLEMENTS}/ent_1/{path}", token, document)

    assert (reply.status_code, reply.json()) == (status, {"token": "token of lend"})
    assert lending.asked == [("lend", "ent_1", "lls_1", 3, {"render": 4}, UNTIL)]


def test_an_export_without_seats_is_of_the_whole(vendor: Vendor, token: str, lending: Lending) -> None:
    """The contract's own body: only whom to."""
    vendor.call("POST", f"{ENTITLEMENTS}/ent_1/export", token, {"localLicenseServerId": "lls_1"})

    assert lending.asked == [("lend", "ent_1", "lls_1", None, {}, None)]


@pytest.mark.parametrize(
    ("path", "document", "wrong"),
    [
        ("export", {}, "localLicenseServerId"),
        ("export", {"localLicenseServerId": ""}, "localLicenseServerId"),
        ("export", {"localLicenseServerId": "lls_1", "seat": 3}, "seat"),
        ("export", {"localLicenseServerId": "lls_1", "seats": 0}, "seats"),
        ("export", {"localLicenseServerId": "lls_1", "until": "2027-01-01T00:00:00"}, "until"),
        ("export", {"localLicenseServerId": "lls_1", "features": [{"key": "render", "amount": 1}]}, "seats"),
        ("export", {"localLicenseServerId": "l", "seats": 1, "features": [{"key": "a", "amount": 0}]}, "features[0].amount"),
        ("export", {"localLicenseServerId": "l", "seats": 1, "features": [{"key": "a", "amount": 1}] * 2}, "features"),
        ("shares", {"localLicenseServerId": "lls_1"}, "seats"),
        ("import", {}, "token"),
    ],
)
def test_wrong_fields_are_named(vendor: Vendor, token: str, lending: Lending, path: str, document: object, wrong: str) -> None:
    """422 with the path of the field; an unknown one is wrong too. Nothing is lent."""
    reply = vendor.call("POST", f"{ENTITLEMENTS}/ent_1/{path}", token, document)

    assert (reply.status_code, reply.json()["errorCode"]) == (422, "validation")
    assert [each["propertyName"] for each in reply.json()["validationErrors"]] == [wrong]
    assert not lending.asked


def test_shares_are_listed(vendor: Vendor, token: str, lending: Lending) -> None:
    """Whom to, how much, until when, and whether the site's document is still what is sold."""
    lending.shares = [Export(features={"render": 4}, out_of_sync=True)]
    (share,) = vendor.call("GET", f"{ENTITLEMENTS}/{vendor.sold.entitlement_id}/shares", token).json()["items"]

    assert (share["id"], share["seats"], share["features"]) == ("shr_1", 3, [{"key": "render", "amount": 4}])
    assert (share["until"], share["whole"], share["outOfSync"]) == ("2026-07-01T12:00:00Z", False, True)
    assert share["localLicenseServer"]["id"] == "lls_1"


# --- what was sold -------------------------------------------------------------------------------------------------


def test_an_entitlement_has_the_contracts_fields(vendor: Vendor, token: str) -> None:
    """What was bought, how it stands, and, where asked for, product, features and offering."""
    path = f"{ENTITLEMENTS}/{vendor.sold.entitlement_id}?expand=product,features,offering,attributes"
    body = vendor.call("GET", path, token).json()
    render = next(feature for feature in body["features"] if feature["key"] == "render")

    assert (body["id"], body["seatCount"], body["seatsUsed"], body["seatsAvailable"]) == (vendor.sold.entitlement_id, 5, 0, 5)
    assert (body["status"], body["exported"], body["export"]) == ("active", False, None)
    assert (body["concurrencyMode"], body["leasePeriod"]) == ("concurrent", {"type": "minute", "count": 2})
    assert (body["offlineLeasePeriod"], body["gracePeriod"]) == ({"type": "none", "count": None},) * 2
    assert body["overdraftSeatLimit"] == {"type": "none", "value": None}
    assert (render["type"], render["value"], render["used"]) == ("elementPool", 10, 0)
    assert (body["product"]["name"], body["offering"]["seatCount"], body["attributes"]) == ("solver", 5, [])
    assert not any(body["editInfo"].values())


def test_an_entitlement_that_is_lent_says_to_whom(vendor: Vendor, token: str, lending: Lending) -> None:
    """`exported` and `export`, with whether a fresh token is due."""
    lending.shares = [Export(is_whole=True, out_of_sync=True, site=Site(name="lab-7"))]
    body = vendor.call("GET", f"{ENTITLEMENTS}/{vendor.sold.entitlement_id}", token).json()

    assert (body["exported"], body["export"]["outOfSync"]) == (True, True)
    assert body["export"]["localLicenseServer"]["name"] == "lab-7"
    assert set(body["actions"]) == {"exportToken", "import"}


def test_lists_come_in_pages(vendor: Vendor, token: str) -> None:
    """`pageNumber` from 1, `pageSize` 10 unless given, `elementsTotal` over all pages; filters by customer and product."""
    sold = [vendor.sold, *(sell(vendor.settings, f"customer-{n}", "mesher") for n in range(2))]
    pages = [vendor.call("GET", f"{ENTITLEMENTS}?pageSize=2&pageNumber={n}", token).json() for n in (1, 2, 3)]
    mesher = vendor.call("GET", f"{ENTITLEMENTS}?productId={sold[1].product_id}", token).json()

    assert [[item["id"] for item in page["items"]] for page in pages] == [
        [sold[0].entitlement_id, sold[1].entitlement_id],
        [sold[2].entitlement_id],
        [],
    ]
    assert {(page["elementsTotal"], page["pageSize"]) for page in pages} == {(3, 2)}
    assert (mesher["elementsTotal"], mesher["pageSize"], mesher["pageNumber"]) == (2, 10, 1)


@pytest.mark.parametrize("query", ["pageNumber=0", "pageSize=0", "pageSize=10000", "pageNumber=x"])
def test_pages_that_can_not_be_are_422(vendor: Vendor, token: str, query: str) -> None:
    """The parameter is named."""
    reply = vendor.call("GET", f"{ENTITLEMENTS}?{query}", token)

    assert reply.status_code == 422
    assert [each["propertyName"] for each in reply.json()["validationErrors"]] == [query.partition("=")[0]]


def test_groups_have_their_codes(vendor: Vendor, token: str) -> None:
    """`activationCodes`, with the customer and the entitlements where asked for; that they were read is a fact."""
    path = f"{ENTITLEMENTS}/groups"
    (listed,) = vendor.call("GET", f"{path}?expand=customer", token).json()["items"]
    one = vendor.call("GET", f"{path}/{listed['id']}", token).json()
    with opened(vendor.settings.data) as place:
        chain = place.read(lambda desk: desk.catalogue.chain((vendor.tenant_id, vendor.tenant_id), 0, 100, 100))

    assert listed["activationCodes"] == one["activationCodes"] == [vendor.sold.code]
    assert (listed["customer"]["name"], listed["entitlements"]) == ("acme", None)
    assert [each["id"] for each in one["entitlements"]] == [vendor.sold.entitlement_id]
    assert sum("codesRead" in fact.data for fact in chain) == 2
    assert not any(vendor.sold.code in fact.data for fact in chain)


def test_what_is_not_there_is_404(vendor: Vendor, token: str) -> None:
    """An entitlement, a group, a path."""
    paths = [f"{ENTITLEMENTS}/ent_9", f"{ENTITLEMENTS}/groups/egr_9", f"{ENTITLEMENTS}/ent_9/shares", "/api/v1/nothing"]
    replies = [vendor.call("GET", path, token) for path in paths]

    assert [(reply.status_code, reply.json()["errorCode"]) for reply in replies] == [(404, "notFound")] * 4


def test_a_neighbours_entitlement_is_not_there(vendor: Vendor, token: str) -> None:
    """One vendor's token is no key to another's data, whatever tenant the header names."""
    stranger = vendor.call("GET", ENTITLEMENTS, token, headers={"n-tenantid": "t_" + "x" * 22})

    assert (stranger.status_code, stranger.json()["errorCode"]) == (401, "token.invalid")


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CannotDo("the share is not out yet"), 409, "conflict"),
        (Refused("it was applied before"), 402, "offline.replayed"),
        (StorageFull("disk"), 503, "storage.full"),
        (StorageUnavailable("file"), 503, "storage.unavailable"),
        (ZeroDivisionError("a bug"), 503, "storage.unavailable"),
    ],
)
def test_what_can_not_be_done_is_told(
    vendor: Vendor, token: str, lending: Lending, error: Exception, status: int, code: str
) -> None:
    """In the contract's body, with its code; trouble with a time to come again, and nothing of the inside."""
    lending.raises = error
    reply = vendor.call("POST", f"{SITES}/license/activate", token, {"token": "abc"})

    assert (reply.status_code, reply.json()["errorCode"]) == (status, code)
    assert ("retry-after" in reply.headers) == (status == 503)
    assert ("a bug" in reply.text, "disk" in reply.json()["details"] and code != "storage.full") == (False, False)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "body.unparsable"),
        (b"\xff", 400, "body.unparsable"),
        (b"[" * 50_000, 400, "body.unparsable"),
        (b"[]", 422, "validation"),
        (b"", 422, "validation"),
        (b'{"token": "\\ud800"}', 422, "validation"),
        (b'{"token": "' + b"x" * 1_100_000 + b'"}', 413, "body.tooLarge"),
    ],
)
def test_bodies_that_are_no_such_documents(
    vendor: Vendor, token: str, lending: Lending, body: bytes, status: int, code: str
) -> None:
    """400, 422 and 413, as on the Licensing API."""
    reply = vendor.call("POST", f"{SITES}/license/activate", token, content=body)

    assert (reply.status_code, reply.json()["errorCode"], lending.asked) == (status, code, [])


def test_a_wrong_method_is_told_the_right_ones(vendor: Vendor, token: str) -> None:
    """405 with `Allow`: all of the path's methods."""
    replies = [vendor.call("PUT", path, token) for path in (f"{ENTITLEMENTS}/ent_1/shares", "/api/v1/activate", SITES)]

    assert [(reply.status_code, reply.headers["allow"]) for reply in replies] == [
        (405, "DELETE, GET, POST"),
        (405, "POST"),
        (405, "GET"),
    ]


def test_the_licensing_api_is_still_there(vendor: Vendor) -> None:
    """What is hot is answered by the thin application."""
    reply = vendor.call("POST", "/api/v1/activate", None, {"productId": vendor.sold.product_id, "seatId": "a"})

    assert (reply.status_code, reply.json()["validationErrors"][0]["propertyName"]) == (422, "activationCredentials")


# --- permissions ---------------------------------------------------------------------------------------------------

CALLS = [
    ("GET", SITES, {"lls:admin"}),
    ("GET", f"{SITES}/lls_1", {"lls:admin"}),
    ("GET", f"{SITES}/config", {"lls:admin"}),
    ("GET", f"{SITES}/entitlement", {"lls:admin"}),
    ("POST", f"{SITES}/license/activate", {"lls:admin"}),
    ("POST", f"{SITES}/license/deactivate", {"lls:admin"}),
    ("PATCH", f"{SITES}/lls_1/license/refresh", {"lls:admin"}),
    ("POST", f"{SITES}/lls_1/license/deactivate-without-token", {"lls:admin"}),
    ("POST", f"{SITES}/usage-report", {"lls:admin"}),
    ("GET", ENTITLEMENTS, {"entitlements:read", "entitlements:admin"}),
    ("GET", f"{ENTITLEMENTS}/ent_1", {"entitlements:read", "entitlements:admin"}),
    ("GET", f"{ENTITLEMENTS}/groups", {"entitlements:read", "entitlements:admin"}),
    ("GET", f"{ENTITLEMENTS}/groups/egr_1", {"entitlements:read", "entitlements:admin"}),
    ("POST", f"{ENTITLEMENTS}/ent_1/export", {"entitlements:admin"}),
    ("POST", f"{ENTITLEMENTS}/ent_1/export/token", {"entitlements:admin"}),
    ("POST", f"{ENTITLEMENTS}/ent_1/import", {"entitlements:admin"}),
    ("GET", f"{ENTITLEMENTS}/ent_1/shares", {"entitlements:read", "entitlements:admin"}),
    ("POST", f"{ENTITLEMENTS}/ent_1/shares", {"entitlements:admin"}),
    ("DELETE", f"{ENTITLEMENTS}/ent_1/shares", {"entitlements:admin"}),
    ("GET", "/api/v1/account/key", {"api:admin"}),
    ("POST", "/api/v1/account/api-clients", {"api:admin"}),
    ("GET", "/api/v1/account/api-clients", {"api:admin"}),
    ("DELETE", "/api/v1/account/api-clients/api_1", {"api:admin"}),
]


def test_every_call_takes_its_permission(vendor: Vendor) -> None:
    """One of those that the contract lists is enough; with all others it is 403, and without a token 401."""
    holders = {
        name: vendor.add_client(name.replace(":", "-"), name) for name in ("lls:admin", "entitlements:read", "api:admin")
    }
    holders["entitlements:admin"] = vendor.add_client("ent-admin", "entitlements:admin")
    let_in = {
        (method, path): {name for name, token in holders.items() if vendor.call(method, path, token).status_code != 403}
        for method, path, _ in CALLS
    }
    without = {vendor.call(method, path, None).status_code for method, path, _ in CALLS}

    assert let_in == {(method, path): permissions for method, path, permissions in CALLS}
    assert without == {401}
