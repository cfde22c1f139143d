"""Bodies, paths and errors: bad input is named, nothing of ours is told."""

import asyncio
import json

import pytest

from seatkeeper_server.http import messages
from seatkeeper_server.service.desk import Closed, Overloaded
from seatkeeper_server.service.ports import CommitUnknown, StorageFull, StorageUnavailable
from tests.server_http.front import CODE, PRODUCT, Client, served

ACTIVATE = ("POST", "/api/v1/activate")
MOST = 9_007_199_254_740_990  # of features in one call
LIMIT = 65_536  # bytes, as the contract says; the product's own constant would agree with itself whatever it is


def properties(reply):
    return [problem["propertyName"] for problem in reply.json["validationErrors"]]


@pytest.mark.parametrize("body", [b"", b"x", b"{", b'{"productId": "\xff"}', b"{}}", b'{"productId": "\\ud800"}'])
def test_what_is_not_json_is_400(body):
    """A body that can't be parsed is told apart from one with wrong fields."""
    client = Client(served())
    reply = client.send(*ACTIVATE, parts=[body])

    assert (reply.status, reply.json["errorCode"], client.desk.calls) == (400, "body.unparsable", [])


@pytest.mark.parametrize("body", [b"[" * 5_000, b'{"a":' * 5_000])
def test_what_is_nested_without_end_is_an_error_of_the_client(body):
    """Depth is not a way to bring the server down."""
    assert Client(served()).send(*ACTIVATE, parts=[body]).status in (400, 422)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
def test_json_of_the_wrong_kind_is_422(body):
    """JSON that is no object parses, and is wrong."""
    reply = Client(served()).send(*ACTIVATE, parts=[body])

    assert (reply.status, reply.json["errorCode"]) == (422, "validation")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"seatId": ...}, ["seatId"]),
        ({"seatId": 7}, ["seatId"]),
        ({"seatId": ""}, ["seatId"]),
        ({"seatId": "s" * 201}, ["seatId"]),
        ({"seatId": "a\nb"}, ["seatId"]),
        ({"seatId": ..., "productId": ...}, ["productId", "seatId"]),
        ({"seatId": ..., "wait": {"maxSeconds": 0}, "clientNonce": "!"}, ["seatId", "clientNonce", "wait.maxSeconds"]),
        ({"activationCredentials": {"type": "activationCode"}}, ["activationCredentials.code"]),
        ({"activationCredentials": {"type": "activationCode", "code": ""}}, ["activationCredentials.code"]),
        ({"activationCredentials": {"type": "magic"}}, ["activationCredentials.type"]),
        ({"activationCredentials": {}}, ["activationCredentials.type"]),
        ({"features": [{"key": "a"}, {"amount": 2}]}, ["features[1].key"]),
        ({"features": [{"key": "a", "amount": 0}]}, ["features[0].amount"]),
        ({"features": [{"key": "a", "amount": MOST + 1}]}, ["features[0].amount"]),
        ({"features": [{"key": "a", "amount": MOST}, {"key": "a"}]}, ["features"]),
        ({"features": [{"key": "a", "amount": MOST}] * 100}, ["features"]),
        ({"features": [{"key": "a\u202eb"}]}, ["features[0].key"]),
        ({"seatId": "a\u009b2J"}, ["seatId"]),
        ({"seatName": "ada\u202e"}, ["seatName"]),
        ({"holder": {"user": "a\u2028b"}}, ["holder.user"]),
        ({"sentAt": "2026-01-01T00:00:00"}, ["sentAt"]),
        ({"holder": {"user": "x" * 201}}, ["holder.user"]),
    ],
)
def test_wrong_fields_are_named(changes, wrong):
    """422 names every top-level field that is missing or wrong, by its path on the wire."""
    client = Client(served())
    reply = client.activate(**changes)

    assert (reply.status, reply.json["errorCode"], sorted(properties(reply))) == (422, "validation", sorted(wrong))
    assert not client.desk.calls


def test_a_missing_field_is_told_apart_from_a_wrong_one():
    """`code` says which of both it is, for programs."""
    missing, wrong = Client(served()).activate(seatId=...), Client(served()).activate(seatId=7)

    assert missing.json["validationErrors"] == [
        {"message": "This field is required.", "propertyName": "seatId", "code": "required"}
    ]
    assert wrong.json["validationErrors"][0]["code"] == "invalid"


def test_seat_ids_of_200_characters_are_fine():
    """Longer than theirs is ours: 200 characters of printable text, not bytes."""
    assert Client(served()).activate(seatId="ž" * 200).status == 200


def test_a_body_of_64_kib_is_read_whole_however_it_comes():
    """The bound is on the sum, not on the parts."""
    document = {"productId": PRODUCT, "seatId": "s", "activationCode": CODE, "padding": ""}
    room = LIMIT - len(json.dumps(document))
    body = json.dumps({**document, "padding": "x" * room}).encode()
    reply = Client(served()).send(*ACTIVATE, parts=[body[:100], body[100:30_000], body[30_000:]])

    assert (len(body), reply.status) == (LIMIT, 200)


@pytest.mark.parametrize("parts", [[b"x" * (LIMIT + 1)], [b"x" * LIMIT, b"x"]])
def test_a_body_over_64_kib_is_413(parts):
    """Over 64 KiB is refused, in one part or in many."""
    client = Client(served())
    reply = client.send(*ACTIVATE, parts=parts)

    assert (reply.status, reply.json["errorCode"], client.desk.calls) == (413, "body.tooLarge", [])


def test_a_huge_announced_body_is_refused_unread():
    """What says it is huge is not received at all, and the connection is closed."""
    reply = Client(served()).send(*ACTIVATE, parts=[b"x"], headers={"content-length": str(1 << 40)})

    assert (reply.status, reply.headers["connection"], reply.body_read) == (413, "close", 0)


def test_a_huge_unannounced_body_is_not_read_to_its_end():
    """What only turns out to be huge is received for a megabyte, then the connection is closed."""
    part = b"x" * LIMIT
    reply = Client(served()).send(*ACTIVATE, parts=[part] * 100)

    assert (reply.status, reply.headers["connection"], reply.body_read) == (413, "close", 17 * LIMIT)


LISTS = ("POST", "/api/v1/activations/refresh")
LISTS_LIMIT = 2_097_152  # bytes


@pytest.mark.parametrize(("size", "status"), [(LISTS_LIMIT, 400), (LISTS_LIMIT + 1, 413)])
def test_a_list_may_have_two_mebibytes(size, status):
    """It is read whole, or refused for its size."""
    reply = Client(served()).send(*LISTS, parts=[b"x" * (size - 9), b"x" * 9])

    assert reply.status == status
    if status == 413:
        assert reply.json["details"] == "The body is larger than 2048 KiB."


def test_a_huge_list_is_refused_unread_or_not_read_to_its_end():
    """The bounds on what is thrown away hold beyond its own size."""
    announced = Client(served()).send(*LISTS, parts=[b"x"], headers={"content-length": str(LISTS_LIMIT + 16 * LIMIT)})
    unannounced = Client(served()).send(*LISTS, parts=[b"x" * LIMIT] * 100)

    assert (announced.status, announced.headers["connection"], announced.body_read) == (413, "close", 0)
    assert (unannounced.status, unannounced.headers["connection"]) == (413, "close")
    assert unannounced.body_read == LISTS_LIMIT + 16 * LIMIT


async def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch):
    """Whoever sends the beginning of a body and then nothing gives no connection work for ever."""
    monkeypatch.setattr(messages, "BODY_WITHIN", 0.05)
    arriving = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive():
        if (message := next(arriving, None)) is not None:
            return message
        await asyncio.sleep(2)
        return {"type": "http.disconnect"}

    with pytest.raises(messages.BodyTooSlow):
        await messages.read_body(messages.Request("POST", "/api/v1/activate", b"", None), receive)


def test_a_missing_tenant_is_401():
    """`N-TenantId` comes with every request."""
    for tenant in (None, "", "t" * 65):
        reply = Client(served()).send("POST", "/api/v1/activate", {}, {"n-tenantid": tenant})

        assert (reply.status, reply.json["errorCode"]) == (401, "credentials.unknown")


# --- paths ---------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_404():
    """Every answer that is no success has the error body."""
    reply = Client(served()).send("GET", "/api/v2/activate")

    assert (reply.status, reply.json["errorCode"], reply.json["error"]) == (404, "notFound", "Not Found")


def test_another_method_is_405_and_names_those_that_are_served():
    """The path is right, the verb isn't."""
    reply = Client(served()).send("PUT", "/api/v1/activation", {})

    assert (reply.status, reply.headers["allow"], reply.json["errorCode"]) == (405, "DELETE, GET", "notFound")


# --- trouble inside ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFull("/secret/place is full"), "storage.full"),
        (StorageUnavailable("/secret/place is away"), "storage.unavailable"),
        (CommitUnknown("/secret/place went"), "storage.unavailable"),
        (Overloaded(), "storage.unavailable"),
        (Closed(), "storage.unavailable"),
        (ZeroDivisionError("/secret/place"), "storage.unavailable"),
    ],
)
def test_trouble_inside_is_503_and_tells_nothing_of_ours(error, code, capsys):
    """Nothing was acknowledged: 503 with Retry-After, and no path, query or stack in the answer."""
    reply = Client(error).activate()

    assert (reply.status, reply.json["errorCode"], reply.headers["retry-after"]) == (503, code, "1")
    assert b"secret" not in reply.body
