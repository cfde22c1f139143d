"""The error tree and the refusal on a terminal."""

import inspect
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import json

import seatkeeper
from seatkeeper import errors
from seatkeeper._wire import Reply, problem_in, unanswered
from seatkeeper.protocol.documents import Denial, ErrorBody, Remedy, SeatHolder
from seatkeeper.testing import FakeServer
from tests.client.program import Program

NOW = datetime.now(UTC)


def denial(held: int = 3, more: int = 0, **changes: object) -> Denial:
    holders = [
        SeatHolder(seat_name=f"user{n}@ws-{n}", since=NOW - timedelta(hours=n), lease_expiry=NOW + timedelta(minutes=2))
        for n in range(held)
    ]
    fields: dict[str, object] = {
        "id": "D-7K3M2Q",
        "rule": "pool-full",
        "limit": 50,
        "used": 50,
        "overdraft": 0,
        "line": 3,
        "holders": holders,
        "holders_more": more,
        "next_free_by": NOW + timedelta(minutes=1),
        "remedies": [Remedy(kind="wait", text="Wait for one.")],
    }
    return Denial(**(fields | changes))  # type: ignore[arg-type]


def test_a_refusal_says_everything_one_needs_to_know() -> None:
    """Product, how full, who holds, the earliest lease end, what to do, whom to ask, id, server and time."""
    text = errors.refusal_text(denial(), product="solver", server="http://s.example", at=NOW, contact="it@example.com")

    for part in ("solver", "50 of 50", "3 waiting", "user0@ws-0", "unless it is refreshed", "Wait for one.", "it@example.com"):
        assert part in text
    assert f"(D-7K3M2Q · http://s.example · {NOW:%Y-%m-%d %H:%M:%S}Z)" in text


def test_a_few_holders_are_shown_and_the_others_counted() -> None:
    """Five of sixty, then how many more."""
    text = errors.refusal_text(denial(held=20, more=40))

    assert text.count("since") == 5
    assert "and 55 more" in text


def test_the_sites_contact_does_not_hide_the_vendors() -> None:
    """The one frees a seat, the other sells one."""
    refused = denial(remedies=[Remedy(kind="contact", text="Ask the vendor.")])
    text = errors.refusal_text(refused, contact="it@example.com")

    assert "To do: Ask the vendor.\nAsk: it@example.com\n" in text


def test_nobody_is_told_to_wait_in_vain() -> None:
    """Without an end of a lease that would help, neither the sentence about it nor the advice to wait."""
    text = errors.refusal_text(denial(next_free_by=None))

    assert "Wait" not in text
    assert "earliest" not in text


def test_a_refused_feature_says_how_much_was_wanted() -> None:
    """Three may be too many where two would do."""
    refused = denial(rule="feature-exhausted", feature="render", limit=10, used=8, wanted=3)

    assert "render of solver: 3 wanted, 8 of 10 are taken, 3 waiting" in errors.refusal_text(refused, product="solver")


def test_no_text_promises_a_free_seat() -> None:
    """A lease end is no promise: it may be refreshed."""
    assert "free at" not in errors.refusal_text(denial())


def test_a_refused_feature_is_named() -> None:
    """Which feature, and of which product."""
    text = errors.refusal_text(denial(rule="feature-exhausted", feature="render", limit=10, used=10), product="solver")

    assert "render of solver: 10 of 10 are taken" in text


@pytest.mark.parametrize("rule", sorted(errors._RULES))
def test_every_rule_has_words(rule: str) -> None:
    """A refusal that has nothing to do with a full pool doesn't speak of one."""
    assert "taken" not in errors.refusal_text(denial(rule=rule)).splitlines()[0]


HOSTILE = "ann\x1b[2J\x9b2J\u202etxt.exe\u2028\U000e0041\n"  # clears the screen, turns the line around, hides, breaks the line
TAMED = r"ann\x1b[2J\x9b2J\u202etxt.exe\u2028\U000e0041\n"


def test_a_refusal_commands_no_terminal() -> None:
    """Names and server's words are strangers' words: what could act on a terminal is shown as an escape."""
    holder = SeatHolder(seat_name=HOSTILE, since=NOW, lease_expiry=NOW)
    remedy = Remedy(kind="contact", text=HOSTILE)
    text = errors.refusal_text(denial(holders=[holder], remedies=[remedy], product_name=HOSTILE, rule=HOSTILE, id=HOSTILE))

    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(TAMED) == 5


def test_an_error_shows_a_servers_sentence_and_obeys_none_of_it() -> None:
    """What the server said word for word is in `details`."""
    body = json.encode(ErrorBody(error="x", details=HOSTILE, error_code="credentials.unknown"))
    error = problem_in(Reply(401, {}, body), server="http://s.example", at=NOW, product=None, contact=None)

    assert (str(error).splitlines()[0], error.details) == (TAMED, HOSTILE)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "credentials.unknown"), (404, "feature.unknown"), (409, "seat.gone"), (503, "storage.full")]
)
def test_every_problem_ends_with_contact_server_and_time(status: int, code: str) -> None:
    """Whoever is asked for help needs them."""
    body = json.encode(ErrorBody(error="x", details="No.", error_code=code))
    error = problem_in(Reply(status, {}, body), server="http://s.example", at=NOW, product=None, contact="it@example.com")

    assert str(error) == f"No.\nAsk: it@example.com\n(http://s.example · {NOW:%Y-%m-%d %H:%M:%S}Z)"


def test_an_unknown_feature_is_named() -> None:
    """By the key that was asked for, whatever the server calls it."""
    server = FakeServer(features={"render": 2})

    with (
        seatkeeper.seat(**server.settings) as seat,
        pytest.raises(seatkeeper.NoFeature, match=r"^rendr: This entitlement has no such feature"),
    ):
        seat.checkout("rendr")


def test_an_unreachable_servers_words_are_tamed_too() -> None:
    """Reasons may quote what came over the wire."""
    assert TAMED in str(unanswered(["http://s.example"], [HOSTILE]))


def test_the_error_itself_is_friendly() -> None:
    """`str(NoSeat)` is the refusal as a person wants to read it."""
    server = FakeServer(seats=0)

    with pytest.raises(seatkeeper.NoSeat) as refusal:
        Program(server).begin()
    assert "0 of 0 are taken" in str(refusal.value)
    assert refusal.value.server == server.url


def test_an_unknown_code_is_not_authorized() -> None:
    """Unknown code, product and tenant look alike."""
    server = FakeServer()
    settings = server.settings | {"code": "wrong"}

    with pytest.raises(seatkeeper.NotAuthorized) as error:
        seatkeeper.seat(**settings).acquire()
    assert error.value.problem == "credentials.unknown"


def test_every_error_is_a_seatkeeper_error_and_says_what_to_do() -> None:
    """One root, and a sentence for each."""
    tree = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]

    assert len(tree) == 16
    assert all(issubclass(kind, seatkeeper.SeatkeeperError) and (kind.__doc__ or "").strip() for kind in tree)


def test_every_error_is_in_the_drawing() -> None:
    """The tree on top of the module is the tree in it."""
    names = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]

    assert all(name in (errors.__doc__ or "") for name in names)
