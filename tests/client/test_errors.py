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


def test_the_sites_contact_takes_the_place_of_the_vendors() -> None:
    """One answer to the question whom to ask."""
    refused = denial(remedies=[Remedy(kind="contact", text="Ask the vendor.")])

    assert "Ask the vendor." in errors.refusal_text(refused)
    assert "vendor" not in errors.refusal_text(refused, contact="it@example.com")


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

    assert (str(error), error.details) == (TAMED, HOSTILE)


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

    assert len(tree) == 12
    assert all(issubclass(kind, seatkeeper.SeatkeeperError) and (kind.__doc__ or "").strip() for kind in tree)


def test_every_error_is_in_the_drawing() -> None:
    """The tree on top of the module is the tree in it."""
    names = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]

    assert all(name in (errors.__doc__ or "") for name in names)
