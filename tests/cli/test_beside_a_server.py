"""The verbs beside a running server, on the same data: what programs do is seen, what people do takes effect."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import command
from tests.support.servers import CloudServer, Finished, Sold, seatkeeper

DENIED = 1


class Counter(CloudServer):
    """A server whose verbs run within this process; as processes of their own they are run in `test_verbs.py`."""

    def verb(self, *arguments: str) -> Finished:
        return command(*arguments, "--data", self.data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    """One server for all of them; each sells to a customer of its own."""
    with Counter(tmp_path_factory.mktemp("beside") / "data") as server:
        yield server


def activate(sold: Sold, user: str, host: str = "node7", **more: Any) -> Any:
    """Ask for a seat over HTTP, and give the answer, granted or refused."""
    body = {
        "productId": sold.product,
        "seatId": f"{user}-seat",
        "seatName": f"{user}@{host}",
        "activationCode": sold.code,
        "holder": {"user": user, "host": host},
        **more,
    }
    return call(sold, "POST", "/api/v1/activate", body, {})


def call(sold: Sold, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    """Make one call of the Licensing API."""
    request = urllib.request.Request(
        sold.server + path,
        json.dumps(body).encode(),
        {"N-TenantId": sold.tenant, "Content-Type": "application/json", **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        with refused:
            return json.loads(refused.read())


def test_what_is_sold_beside_the_server_is_served_at_once(server: CloudServer) -> None:
    """No restart between selling and the first seat, for a new vendor either."""
    sold = server.sell("acme", "solver", seats=1, tenant="fresh")

    assert activate(sold, "ann")["activation"]["entitlementId"] == sold.entitlement


def test_seats_and_ls_show_who_holds(server: CloudServer) -> None:
    """A seat taken over HTTP is there for the next look."""
    sold = server.sell("bolt", "solver", seats=2)
    activate(sold, "ann")
    (found,) = server.ask_json("seats", sold.entitlement)
    text = server.ask("seats", sold.entitlement)

    assert (found["seats"], found["held"], found["free"]) == (2, 1, 1)
    assert [(one["seatName"], one["state"], one["user"]) for one in found["holders"]] == [("ann@node7", "held", "ann")]
    assert "ann@node7" in text
    assert next(one for one in server.ask_json("ls") if one["entitlementId"] == sold.entitlement)["used"] == 1


def test_why_explains_a_refusal_by_the_id_its_user_saw(server: CloudServer) -> None:
    """Who asked, by which rule, how full it was, who was there, whom to ask."""
    sold = server.sell("coil", "solver", seats=1, contact="licenses@vendor.example", tenant="coil's vendor")
    activate(sold, "ann")
    denial_id = activate(sold, "eve")["denial"]["id"]
    found = server.ask_json("why", denial_id)
    text = server.ask("why", denial_id)

    assert (found["rule"], found["limit"], found["used"]) == ("pool-full", 1, 1)
    assert found["holder"]["name"] == "eve@node7"
    assert found["holders"] == ["ann@node7"]
    assert found["contact"] == "licenses@vendor.example"
    assert all(word in text for word in ("eve@node7", "coil", "1 of 1 taken", "ann@node7", "licenses@vendor.example"))


def test_growing_takes_effect_at_once(server: CloudServer) -> None:
    """One more seat bought is one more program let in."""
    sold = server.sell("dyne", "solver", seats=1)
    activate(sold, "ann")
    refused = activate(sold, "bob")
    server.ask("change", sold.entitlement, "--seats", "2")

    assert refused["errorCode"] == "seats.exhausted"
    assert "accessToken" in activate(sold, "bob")


def test_shrinking_below_use_needs_force_and_sends_a_holder_away(server: CloudServer) -> None:
    """Without --force nothing changes; with it the holder that refreshes next has to go, and counts until its lease ends."""
    sold = server.sell("ergo", "solver", seats=2)
    first = activate(sold, "ann")
    activate(sold, "bob")
    refused = server.verb("change", sold.entitlement, "--seats", "1")
    forced = server.ask("change", sold.entitlement, "--seats", "1", "--force")
    gone = call(sold, "PATCH", "/api/v1/activation/refresh", {}, {"Authorization": f"Bearer {first['accessToken']}"})

    assert refused.returncode == DENIED
    assert "--force" in refused.stderr
    assert "holders to go: 1" in forced
    assert gone["errorCode"] == "seat.gone"
    assert {one["seatName"]: one["state"] for one in server.ask_json("seats", sold.entitlement)[0]["holders"]} == {
        "ann@node7": "taken back",
        "bob@node7": "held",
    }


def test_free_says_that_the_place_counts_until_its_lease_ends(server: CloudServer) -> None:
    """And the next program is refused till then; with --now it gets in."""
    sold = server.sell("flux", "solver", seats=1)
    activate(sold, "fay", "node9")
    said = server.ask("free", "fay@node9")
    refused = activate(sold, "eve")
    freed = server.ask_json("free", "fay@node9", "--now")

    assert "the place counts until" in said
    assert "at the latest when its lease ends" not in said
    assert refused["errorCode"] == "seats.exhausted"
    assert freed["countsUntil"] is None
    assert "accessToken" in activate(sold, "eve")


def test_a_blocked_holder_is_refused(server: CloudServer) -> None:
    """`free --block` keeps him out, although there is room; why says so."""
    sold = server.sell("gyro", "solver", seats=2)
    activate(sold, "gus", "node9")
    server.ask("free", "gus@node9", "--now", "--block", "10m")
    refused = activate(sold, "gus", "node9")

    assert refused["errorCode"] == "policy.refused"
    assert server.ask_json("why", refused["denial"]["id"])["rule"] == "excluded"


def test_a_blocked_holder_is_shown_and_let_in_again(server: CloudServer) -> None:
    """`seats` says until when; `free --unblock` ends it."""
    sold = server.sell("harp", "solver", seats=2)
    activate(sold, "hugo", "node9")
    blocked = server.ask("free", "hugo@node9", "--now", "--block", "10m")
    shown = server.ask("seats", "harp")
    unblocked = server.ask("free", "hugo@node9", "--unblock")

    assert "hugo@node9 is refused until" in blocked
    assert "over-used until its program notices, at the latest when its lease ends at" in blocked
    assert "blocked: hugo@node9 until" in shown
    assert "hugo@node9 is not blocked any more" in unblocked
    assert "blocked" not in server.ask("seats", "harp")
    assert "accessToken" in activate(sold, "hugo", "node9")


def test_a_returned_place_is_no_holders(server: CloudServer) -> None:
    """It lingers: `seats` says so, and when it comes back, and names no lease end."""
    sold = server.sell("jazz", "solver", seats=1, linger="1h")
    granted = activate(sold, "joe")
    call(sold, "DELETE", "/api/v1/activation", {}, {"Authorization": f"Bearer {granted['accessToken']}"})

    moment = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"  # with its day, if that isn't today
    assert re.search(rf"joe@node7 +returned, comes back at {moment} +{moment} +- ", server.ask("seats", "jazz"))


def test_closing_a_customer_at_work_needs_force(server: CloudServer) -> None:
    """And then says how many are held beyond the end."""
    sold = server.sell("kilo", "solver", seats=2)
    activate(sold, "kim")
    refused = server.verb("change", "kilo", "--until", "2020-01-01")
    forced = server.ask("change", "kilo", "--until", "2020-01-01", "--force")

    assert refused.returncode == DENIED
    assert "--force" in refused.stderr
    assert "held beyond the new end: 1 seat" in forced


def test_a_feature_that_will_never_fit_is_not_to_be_waited_for(server: CloudServer) -> None:
    """The refusal says how much was wanted, and what helps instead."""
    sold = server.sell("lima", "solver", seats=2, feature="render=elementPool:4")
    refused = activate(sold, "leo", features=[{"key": "render", "amount": 9}])

    assert "9 wanted, 0 of 4 taken" in refused["details"]
    assert [remedy["kind"] for remedy in refused["denial"]["remedies"]] == ["renew", "contact"]


def test_log_shows_refusals_and_holders_and_never_a_code(server: CloudServer) -> None:
    """`--denied` and `--holder` filter; wrong codes are refusals of the vendor's own, by address."""
    sold = server.sell("helm", "solver", seats=1)
    activate(sold, "hal", "node9")
    denial_id = activate(sold, "ivy", "node9")["denial"]["id"]
    call(sold, "POST", "/api/v1/activate", {"productId": sold.product, "seatId": "x", "activationCode": "0" * 25}, {})
    denied = [json.loads(line) for line in server.ask("log", "--denied", "--json").splitlines()]
    of_hal = server.ask("log", "--holder", "hal@node9")
    everything = server.ask("log")

    assert denial_id in {one["denialId"] for one in denied}
    assert {one["kind"] for one in denied} <= {"Denied", "DeniedAgain"}
    assert "credentials" in {one["data"]["rule"] for one in denied}
    assert "hal@node9 took a seat" in of_hal
    assert "ivy" not in of_hal
    assert sold.code not in everything


def test_doctor_and_verify_pass_beside_a_server(server: CloudServer) -> None:
    """After everything above, the server is seen serving, and facts, counters and seats say the same."""
    sold = server.sell("iris", "solver", seats=1)
    activate(sold, "ann")
    states = {one["subject"]: one["state"] for one in server.ask_json("doctor")}
    verified = server.ask_json("verify")

    assert states["server"] == "ok"
    assert "failed" not in states.values()
    assert verified["holds"] is True
    assert verified["facts"] >= 3


def test_a_second_server_on_the_same_data_is_refused(server: CloudServer, tmp_path: Path) -> None:
    """One server per directory: the second says who has it, and ends."""
    second = seatkeeper("cloud", "--port", "0", "--data", server.data)

    assert second.returncode == 3
    assert "being served by another server" in second.stderr


def test_verbs_read_on_when_the_server_is_gone(tmp_path: Path) -> None:
    """While no server runs time stands still: a seat is still held, and doctor says that nobody serves."""
    with Counter(tmp_path / "data") as server:
        sold = server.sell("acme", "solver", seats=1, lease="1s")
        activate(sold, "ann")
        server.kill()
        states = {one["subject"]: one["seen"] for one in server.ask_json("doctor")}
        (found,) = server.ask_json("seats", sold.entitlement)

    assert states["server"].startswith("not serving since")
    assert found["held"] == 1
    assert server.ask_json("verify")["holds"] is True
