"""Many refreshes in one call, as a gateway sees them: each is what it would be alone. The same tests for every server."""

import json
from typing import Any

import httpx2
import msgspec
import pytest

from licensing.program import Answer, Program, fresh, problem
from seatkeeper.protocol.documents import MAX_LIST_BYTES, ListAnswer
from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Trust

PATH = "/api/v1/activations/refresh"
TREE = {"leaseTypes": ["tree"]}
WRONG = {"accessToken": "act_x.1.AAAA", **TREE}

Item = dict[str, Any]  # as free as JSON


@pytest.fixture
def pair(others: list[Program]) -> list[Program]:
    """Two programs behind one gateway; each holds a seat."""
    return others


def item(program: Program, **more: object) -> Item:
    """Give a program's refresh as an item: its token, its newest nonce, a fresh nonce of its own; `...` leaves one out."""
    program.client_nonce = fresh()
    said = {"accessToken": program.token, "nonce": program.nonce, "clientNonce": program.client_nonce, **TREE, **more}
    return {name: value for name, value in said.items() if value is not ...}


def send(http: httpx2.Client, *items: object, **headers: str) -> Answer:
    return http.post(PATH, json=list(items), headers=headers)


def results(answer: Answer) -> list[Item]:
    assert answer.status_code == 200, answer.text
    found: list[Item] = answer.json()["results"]
    return found


def take(program: Program, result: Item) -> Item:
    """Have a program keep what its result says."""
    program.token, program.nonce = result["accessToken"], result["nonce"]
    return result


def statuses(found: list[Item]) -> list[tuple[int, str | None]]:
    return [(result["status"], result.get("errorCode")) for result in found]


def test_each_result_is_what_the_refresh_alone_would_be_answered(pair: list[Program], http: httpx2.Client) -> None:
    """Token, state, next nonce, and a lease that verifies for this program; in the order of the list."""
    found = results(send(http, *map(item, pair)))

    for program, result in zip(pair, found, strict=True):
        claims = program.verified(result["lease"])
        assert result["status"] == 200
        assert result["activation"]["seatId"] == claims.sub == program.seat_id
        assert result["nonce"] != program.nonce
        assert program.token.startswith(f"{claims.act}.{claims.gen}.")
        assert result["activation"]["leaseExpiry"]


def test_results_stand_in_the_lists_order_whatever_that_is(pair: list[Program], http: httpx2.Client) -> None:
    """The first item's result is the first."""
    found = results(send(http, item(pair[1]), WRONG, item(pair[0])))

    assert [result.get("activation", {}).get("seatId") for result in found] == [pair[1].seat_id, None, pair[0].seat_id]


def test_a_list_is_signed_once(pair: list[Program], http: httpx2.Client) -> None:
    """All leases of programs that read trees are in one tree: one signature."""
    leases = [result["lease"].split(".") for result in results(send(http, *map(item, pair)))]

    assert {len(parts) for parts in leases} == {4}
    assert len({parts[3] for parts in leases}) == 1


def test_one_certificate_stands_for_all_leases(pair: list[Program], http: httpx2.Client) -> None:
    """It comes with the list's answer, and the pinned root vouches for it."""
    answer = send(http, *map(item, pair))
    certificate = Trust((read_public_key(pair[0].target.public_key),)).certificate(answer.json()["certificate"])

    assert certificate.kid == pair[0].certificate().kid


def test_who_reads_no_trees_gets_leases_signed_alone(pair: list[Program], http: httpx2.Client) -> None:
    """Three parts each, also beside items that do read them."""
    found = results(send(http, item(pair[0], leaseTypes=...), item(pair[1])))

    assert [len(result["lease"].split(".")) for result in found] == [3, 3]
    assert [program.verified(result["lease"]).sub for program, result in zip(pair, found, strict=True)]


def test_a_gateway_that_sends_no_nonces_of_programs_is_signed_for_once_too(pair: list[Program], http: httpx2.Client) -> None:
    """It sees all leases of its list anyway, and nobody else can guess one."""
    found = results(send(http, *(item(program, clientNonce=...) for program in pair)))

    assert [len(result["lease"].split(".")) for result in found] == [4, 4]


def test_the_next_nonce_is_good_for_the_next_call(pair: list[Program], http: httpx2.Client) -> None:
    """In a list or alone, turn by turn."""
    for _ in range(2):
        for program, result in zip(pair, results(send(http, *map(item, pair))), strict=True):
            assert take(program, result)["status"] == 200
        assert [program.refresh().status_code for program in pair] == [200, 200]


def test_without_a_nonce_none_comes_back(pair: list[Program], http: httpx2.Client) -> None:
    """As alone: the nonce to show next is told to who showed one."""
    found = results(send(http, *(item(program, nonce=...) for program in pair)))

    assert [(result["status"], "nonce" in result) for result in found] == [(200, False)] * 2


def test_an_item_that_fails_spoils_no_other(pair: list[Program], http: httpx2.Client) -> None:
    """A wrong token, an old nonce, a wrong field, no token, no object, a seat that is gone: each fails for itself."""
    keeper, gone = pair
    gone.leave()
    found = results(
        send(
            http,
            WRONG,
            {**item(keeper), "nonce": "another"},
            {**item(keeper), "clientNonce": "short"},
            {"nonce": "x"},
            [],
            None,
            item(gone),
            item(keeper),
        )
    )

    assert statuses(found) == [
        (401, "token.invalid"),
        (409, "nonce.stale"),
        (422, "validation"),
        (422, "validation"),
        (422, "validation"),
        (422, "validation"),
        (409, "seat.gone"),
        (200, None),
    ]
    assert found[2]["validationErrors"][0]["propertyName"] == "clientNonce"
    assert all(result["error"] and result["details"] for result in found[:-1])
    assert keeper.verified(found[-1]["lease"]).sub == keeper.seat_id


def test_a_refused_item_changes_nothing(pair: list[Program], http: httpx2.Client) -> None:
    """The nonce of a seat whose item was refused is still good."""
    results(send(http, {**item(pair[0]), "nonce": "another"}, item(pair[1])))

    assert statuses(results(send(http, item(pair[0])))) == [(200, None)]


def test_another_items_nonce_is_not_accepted(pair: list[Program], http: httpx2.Client) -> None:
    """A nonce is good for its own seat, whoever else is in the list."""
    one, two = map(item, pair)
    found = results(send(http, {**one, "nonce": two["nonce"]}, {**two, "nonce": one["nonce"]}))

    assert statuses(found) == [(409, "nonce.stale")] * 2


def test_a_seat_named_twice_is_refreshed_and_its_repeat_answered(pair: list[Program], http: httpx2.Client) -> None:
    """The same bytes twice: one refresh, two answers with the same end and the same next nonce."""
    twice = item(pair[0])
    found = results(send(http, twice, item(pair[1]), twice))
    one, _, two = found

    assert statuses(found) == [(200, None)] * 3
    assert (one["nonce"], one["activation"]["leaseExpiry"]) == (two["nonce"], two["activation"]["leaseExpiry"])
    assert pair[0].client_nonce == pair[0].verified(two["lease"]).nonce


def test_of_two_different_refreshes_of_a_seat_the_first_is_served(pair: list[Program], http: httpx2.Client) -> None:
    """Decided in the list's order: the second shows a nonce that the first has used up."""
    found = results(send(http, item(pair[0]), item(pair[0])))

    assert statuses(found) == [(200, None), (409, "nonce.stale")]


def test_an_item_in_another_list_is_the_same_repeat(pair: list[Program], http: httpx2.Client) -> None:
    """What makes a repeat is the item, not the list around it."""
    same = item(pair[0])
    first = results(send(http, same))[0]
    again = results(send(http, WRONG, item(pair[1]), same))[2]

    assert again["status"] == 200
    assert (again["nonce"], again["activation"]["leaseExpiry"]) == (first["nonce"], first["activation"]["leaseExpiry"])


def test_an_item_with_the_same_nonce_and_other_bytes_is_no_repeat(pair: list[Program], http: httpx2.Client) -> None:
    """A blank more is another item."""
    text = json.dumps(item(pair[0]))
    first = http.post(PATH, content=f"[{text}]".encode())
    other = http.post(PATH, content=f"[{text[:-1]} }}]".encode())

    assert statuses(results(first)) == [(200, None)]
    assert statuses(results(other)) == [(409, "nonce.stale")]


def test_a_key_of_the_call_is_each_items_own(pair: list[Program], http: httpx2.Client) -> None:
    """The same list under the same `Idempotency-Key`: nothing is extended. Another item under it is a mismatch, by itself."""
    items, key = [item(program, nonce=..., clientNonce=...) for program in pair], {"Idempotency-Key": fresh()}
    first, again = results(send(http, *items, **key)), results(send(http, *items, **key))
    mixed = results(send(http, items[0], {**items[1], "more": 1}, **key))

    assert statuses(first) == statuses(again) == [(200, None)] * 2
    ends = [[result["activation"]["leaseExpiry"] for result in found] for found in (first, again)]
    assert ends[0] == ends[1]
    assert statuses(mixed) == [(200, None), (422, "idempotency.mismatch")]


def test_a_lease_of_a_list_may_be_shown_as_the_last_one(pair: list[Program], http: httpx2.Client) -> None:
    """In the next list, and alone."""
    last = [take(program, result)["lease"] for program, result in zip(pair, results(send(http, *map(item, pair))), strict=True)]
    found = results(send(http, item(pair[0], lastLease=last[0]), item(pair[1], lastLease=last[1])))
    take(pair[0], found[0])
    alone = pair[0].call("PATCH", "/api/v1/activation/refresh", {"clientNonce": fresh(), "lastLease": found[0]["lease"]})

    assert statuses(found) == [(200, None)] * 2
    assert alone.status_code == 200


@pytest.mark.parametrize("count", [0, 1001])
def test_a_list_has_one_to_a_thousand_items(http: httpx2.Client, count: int) -> None:
    """More, or none at all: 422, and nothing is decided."""
    assert problem(send(http, *[{"accessToken": "-"}] * count)) == (422, "validation")


def test_a_thousand_items_are_answered(pair: list[Program], http: httpx2.Client) -> None:
    """As many results as items."""
    found = results(send(http, *[WRONG] * 998, *map(item, pair)))

    assert statuses(found) == [*[(401, "token.invalid")] * 998, (200, None), (200, None)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", (422, "validation")),
        (b'"list"', (422, "validation")),
        (b"", (400, "body.unparsable")),
        (b'[{"accessToken": "x"}', (400, "body.unparsable")),
        (b"[" * 100_000, (400, "body.unparsable")),
        (b'[{"accessToken": "\\ud800"}]', (400, "body.unparsable")),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(http: httpx2.Client, body: bytes, expected: tuple[int, str]) -> None:
    """Another document, or none."""
    assert problem(http.post(PATH, content=body)) == expected


def test_bytes_that_are_no_text_harm_their_own_item_only(pair: list[Program], http: httpx2.Client) -> None:
    """400 for the item that has them."""
    good = json.dumps(item(pair[0])).encode()
    found = results(http.post(PATH, content=b'[{"accessToken": "\xff.1.x"}, %b]' % good))

    assert statuses(found) == [(400, "body.unparsable"), (200, None)]


def test_a_list_may_be_larger_than_any_other_body(pair: list[Program], http: httpx2.Client) -> None:
    """2 MiB, so that a thousand programs can show their last leases; beyond that 413."""
    padding = MAX_LIST_BYTES - len(json.dumps([item(pair[0], padding="")], separators=(",", ":")))
    whole = json.dumps([item(pair[0], padding="x" * padding)], separators=(",", ":")).encode()

    assert len(whole) == MAX_LIST_BYTES
    assert statuses(results(http.post(PATH, content=whole))) == [(200, None)]
    assert problem(http.post(PATH, content=whole + b" ")) == (413, "body.tooLarge")


def test_an_unknown_tenant_is_refused_as_a_whole(pair: list[Program], http: httpx2.Client) -> None:
    """401: it has no tokens."""
    answer = send(http, *map(item, pair), **{"N-TenantId": "t_AAAAAAAAAAAAAAAAAAAAAA"})

    assert answer.status_code == 401


def test_a_seat_taken_over_is_told_so_in_its_own_result(pair: list[Program], http: httpx2.Client) -> None:
    """An older generation's item is refused, the newer one's is served."""
    older = item(pair[0])
    pair[0].activate(pair[0].body(), Authorization=f"Bearer {pair[0].token}")
    found = results(send(http, older, item(pair[0])))

    assert [result["status"] for result in found] == [found[0]["status"], 200]
    assert found[0]["errorCode"] in {"seat.takenOver", "token.invalid"}


def test_the_answer_is_the_document_that_is_published(pair: list[Program], http: httpx2.Client) -> None:
    """`ListAnswer` reads it, refusals too."""
    read = msgspec.json.decode(send(http, item(pair[0]), WRONG).content, type=ListAnswer)

    assert [result.status for result in read.results] == [200, 401]
    assert read.results[1].error_code == "token.invalid"
