"""Dealing with a license server: lost answers, restarts, take-overs, several servers."""

import shutil
from pathlib import Path

import pytest
from msgspec import json

import seatkeeper
from seatkeeper._storage import state_folder
from seatkeeper.protocol.documents import ActivateRequest, RefreshRequest
from seatkeeper.testing import FakeServer
from tests.client.program import HoldingBack, Program, Routes, Slow

ACTIVATE = ("POST", "/api/v1/activate")
REFRESH = ("PATCH", "/api/v1/activation/refresh")
CHECKOUT = ("PATCH", "/api/v1/activation/features/checkout")


def test_a_seat_is_kept_for_an_hour() -> None:
    """A program that lives for an hour on two-minute leases holds one seat all the time, and is told so once."""
    server = FakeServer(seats=1)
    program = Program(server).begin()

    assert program.live(3600) == ["held"]
    assert server.seat_ids == ["s1"]
    assert 75 <= server.requests.count(REFRESH) <= 113


def test_a_full_pool_refuses_with_a_reason() -> None:
    """The next one in is refused, and told who holds the seat and until when at least."""
    server = FakeServer(seats=1)
    Program(server).begin()

    with pytest.raises(seatkeeper.NoSeat) as refusal:
        Program(server, seat_id="s2").begin()

    assert refusal.value.denial is not None
    assert (refusal.value.problem, refusal.value.denial.rule) == ("seats.exhausted", "pool-full")
    assert len(refusal.value.denial.holders) == 1


def test_a_lost_answer_to_activate_costs_no_second_seat() -> None:
    """The same call is sent again, word for word, and gets the same place."""
    server = FakeServer(seats=5)
    server.lose_next_answer()
    program = Program(server).begin()
    first, second, *_ = server._api.calls

    assert (first.body, first.headers) == (second.body, second.headers)
    assert program.session.claims is not None
    assert (server.used, program.session.claims.gen) == (1, 1)


def test_a_lost_answer_to_refresh_is_asked_for_again_with_the_same_nonce() -> None:
    """The repeat has the nonce and the body of the original; the seat goes on."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.lose_next_answer()
    program.live(60)
    refreshes = [call for call in server._api.calls if (call.method, call.path) == REFRESH]

    assert refreshes[0].body == refreshes[1].body
    assert refreshes[0].headers["n-nonce"] == refreshes[1].headers["n-nonce"]
    assert program.live(300) == []


def test_belief_counts_from_the_first_sending_of_a_call() -> None:
    """An answer that somebody held back brings what it would have brought at once, and not a second more."""
    server = FakeServer(seats=1)
    proxy = HoldingBack(server)
    proxy.withholds = False
    program = Program(server, through=proxy).begin()
    proxy.withholds = True
    program.live(50)  # a refresh is decided on, and its answer kept
    proxy.withholds, proxy.cut_off = False, True
    decided_until = server._pool.places["s1"].expires_at
    program.live(40)  # it is delivered, and nothing after it
    expires_at = program.session.expires_at()

    assert expires_at is not None
    assert expires_at.timestamp() == pytest.approx(decided_until, abs=0.5)
    assert program.live(100)[-1] == "lost"


def test_after_a_late_answer_the_seat_is_refreshed_at_once() -> None:
    """With a fresh nonce: what came late may be old, and says little about now."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.live(30)
    server.lose_next_answer()
    program.live(20)
    refreshes = [call.body for call in server._api.calls if (call.method, call.path) == REFRESH]

    assert len(refreshes) == 3
    assert refreshes[0] == refreshes[1] != refreshes[2]


def test_a_recorded_answer_is_of_no_use_to_the_next_life() -> None:
    """A proxy keeps the answer to an activate; its seat has long been another's when a restarted program is given it."""
    server = FakeServer(seats=1)
    proxy = HoldingBack(server)
    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server, through=proxy).begin()
    server.advance(121)
    Program(server, seat_id="s2").begin()
    proxy.withholds = False

    with pytest.raises(seatkeeper.NoSeat):
        Program(server, through=proxy).begin()


def test_no_program_starts_on_an_answer_to_an_earlier_activate_alone() -> None:
    """Clocks can be set back; only an answer to a fresh nonce proves that the seat is ours now."""
    server = FakeServer(seats=1)
    proxy = HoldingBack(server)
    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server, through=proxy).begin()
    proxy.withholds, proxy.cut_off = False, True

    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server, through=proxy).begin()


def test_a_seat_that_was_confirmed_after_a_crash_is_the_one_that_was_taken() -> None:
    """The next life learns of the seat by the late answer, and keeps it: one activation, one generation."""
    server = FakeServer(seats=1, features={"credits": "usageCount:5"})
    proxy = HoldingBack(server)
    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server, features={"credits": 2}, through=proxy).begin()
    proxy.withholds = False
    program = Program(server, features={"credits": 2}, through=proxy).begin()

    assert program.session.claims is not None
    assert (program.session.claims.gen, server._pool.features["credits"].consumed) == (1, 2)


def test_an_answer_that_was_long_under_way_makes_no_lease_longer() -> None:
    """The lease counts from the sending: what the network took is no time of the program's."""
    server = FakeServer(seats=1)
    program = Program(server, through=Slow(server, seconds=8)).begin()
    expires_at = program.session.expires_at()

    assert expires_at is not None
    assert expires_at.timestamp() == pytest.approx(server._pool.places["s1"].expires_at, abs=2)  # not 8


def test_every_call_about_a_seat_is_prepared_before_it_is_sent() -> None:
    """While a call is under way it is in the record, nonce and body, so that a crash can't lose it."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.lose_next_answer()
    with pytest.raises(seatkeeper.ServerUnreachable):
        program.perform(program.session.refresh())
    pending = program.plan.session()._memory.kept.pending

    assert pending is not None
    assert pending.nonce == server._api.calls[-1].headers["n-nonce"]
    assert pending.body.encode() == server._api.calls[-1].body


def test_a_restarted_program_takes_its_own_seat_back() -> None:
    """A crash in a full pool costs nothing: the stored token proves whose seat it is."""
    server = FakeServer(seats=1)
    Program(server).begin()
    restarted = Program(server).begin()

    assert (server.used, restarted.session.state()) == (1, "held")


def test_on_a_long_lease_too_a_restarted_program_takes_its_own_seat_back() -> None:
    """There the device vouches for it: its key lies with the user, readable by him alone."""
    server = FakeServer(seats=1, lease=3600)
    Program(server).begin()
    restarted = Program(server).begin()
    key = state_folder() / "device.key"

    assert (server.used, restarted.session.state()) == (1, "held")
    assert key.stat().st_mode & 0o777 == 0o600


def test_on_a_long_lease_a_copied_token_is_of_no_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The seat's record on another device, whose key is another: the pool is full for it."""
    server = FakeServer(seats=1, lease=3600)
    Program(server).begin()
    shutil.copytree(state_folder() / "seats", tmp_path / "elsewhere" / "seats")
    monkeypatch.setenv("SEATKEEPER_STATE_DIR", str(tmp_path / "elsewhere"))

    with pytest.raises(seatkeeper.NoSeat):
        Program(server).begin()


def test_where_no_key_can_be_kept_the_device_has_one_for_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lease names the device it was given to in any case, else a proxy could give seats back behind programs' backs."""
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("SEATKEEPER_STATE_DIR", str(tmp_path / "file" / "state"))
    server = FakeServer(seats=2)
    programs = [Program(server, seat_id=seat_id).begin() for seat_id in ("s1", "s2")]
    devices = {program.session.claims.dev for program in programs if program.session.claims is not None}

    assert len(devices) == 1
    assert None not in devices


def test_a_pending_activate_of_a_device_that_is_no_more_is_forgotten() -> None:
    """Its key was lost with a disk: the seat it may have got is another's, and waits for its lease to end."""
    server = FakeServer(seats=2)
    server.lose_next_answer(count=99)
    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server).begin()
    server.lose_next_answer(count=0)
    (state_folder() / "device.key").unlink()
    program = Program(server).begin()

    assert program.session.claims is not None
    assert (program.session.claims.gen, server.used) == (2, 2)


def test_a_restarted_program_sends_its_last_lease_and_does_not_start_on_it() -> None:
    """The stored lease is evidence for the server; without an answer there is no seat."""
    server = FakeServer(seats=1)
    first = Program(server).begin()
    assert first.session.holding is not None
    server.unreachable = True
    restarted = Program(server)
    with pytest.raises(seatkeeper.ServerUnreachable):
        restarted.begin()
    assert restarted.session.state() == "returned"
    server.unreachable = False
    Program(server).begin()

    assert _activate(server, -1).last_lease == first.session.holding.lease.token


def test_a_crash_between_sending_and_answer_costs_no_second_seat() -> None:
    """The next life repeats the pending activate first, and so learns the token of the place it was given."""
    server = FakeServer(seats=1)
    server.lose_next_answer(count=99)
    with pytest.raises(seatkeeper.ServerUnreachable):
        Program(server).begin()
    server.lose_next_answer(count=0)
    restarted = Program(server).begin()

    assert (server.used, restarted.session.state()) == (1, "held")


def test_a_new_life_does_not_ask_for_the_refresh_of_an_earlier_one() -> None:
    """What was pending about a seat of an earlier life is moot: activating begins a new conversation."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.lose_next_answer()
    with pytest.raises(seatkeeper.ServerUnreachable):
        program.perform(program.session.refresh())
    asked = len(server.requests)
    Program(server).begin()

    assert server.requests[asked:] == [ACTIVATE]


def test_a_program_that_gave_its_seat_back_leaves_no_token_behind() -> None:
    """After a clean end there is nothing to take back."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.perform(program.session.leave())
    kept = program.plan.session()._memory.kept

    assert server.used == 0
    assert (kept.access_token, kept.nonce, kept.pending) == (None, None, None)


def test_a_seat_that_could_not_be_given_back_is_taken_back_by_the_next_life() -> None:
    """If the server is away at the end, the token is kept."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.unreachable = True
    program.perform(program.session.leave())
    server.unreachable = False
    Program(server).begin()

    assert server.used == 1


def test_an_outage_shorter_than_the_lease_is_worked_through() -> None:
    """A server that is away for 70 s of a 120 s lease costs nobody a seat; the program is told while it is at risk."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.live(35)
    server.unreachable = True
    told = program.live(70)
    server.unreachable = False

    assert told == ["held", "at risk"] or told == ["at risk"]
    assert program.live(60) == ["held"]


def test_a_seat_that_lapsed_is_taken_back_when_the_server_returns() -> None:
    """After an outage longer than the lease, the refresh takes the lapsed seat back."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.unreachable = True

    assert program.live(400)[-1] == "lost"
    server.unreachable = False
    assert program.live(120) == ["held"]


def test_a_seat_that_is_gone_is_activated_again_once() -> None:
    """Taken back by an administrator with room left: the program is told of the loss and of the new seat."""
    server = FakeServer(seats=2)
    program = Program(server).begin()
    program.live(1)
    server.take_back("s1")

    assert program.live(60) == ["lost", "held"]


def test_a_seat_given_to_another_is_lost_with_a_reason() -> None:
    """When the new activation is refused, the loss says who has the seat now."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.expire_all()
    Program(server, seat_id="s2").begin()
    program.live(60)
    loss = program.session.fresh_loss()

    assert loss is not None
    assert isinstance(loss.__cause__, seatkeeper.NoSeat)
    assert isinstance(loss, seatkeeper.SeatGone)
    assert "taken back by an administrator before its lease had ended; a new one was refused: No seat is free" in str(loss)
    assert program.session.fresh_loss() is None


def test_a_taken_over_seat_is_lost_and_not_fought_for() -> None:
    """Two copies with one seat id: the older one learns it at its next call and stops."""
    server = FakeServer(seats=2)
    older = Program(server).begin()
    _forget(older)
    newer = Program(server).begin()
    older.live(60)
    loss = older.session.fresh_loss()
    calls = len(server.requests)
    older.live(30)

    assert isinstance(loss, seatkeeper.SeatTakenOver)
    assert newer.session.state() != "lost"
    assert len(server.requests) == calls


def test_a_program_that_was_taken_over_leaves_the_record_to_the_other() -> None:
    """The record belongs to the copy that holds the seat; the older one must not write over its token."""
    server = FakeServer(seats=2)
    older = Program(server).begin()
    newer = Program(server).begin()
    older.live(100)
    older.perform(older.session.leave())

    assert newer.plan.session()._memory.kept == newer.session._memory.kept


def test_a_stale_nonce_is_put_right_by_activating_with_the_token() -> None:
    """If the conversation was disturbed, the program proves itself by its token and goes on."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.live(60)
    server._pool.places["s1"].nonce = "disturbed-by-somebody"

    assert program.live(120) == []
    assert server.requests.count(ACTIVATE) == 2


def test_the_next_server_is_asked_when_one_is_unreachable() -> None:
    """A list of servers is a list of chances."""
    server = FakeServer(seats=1)
    program = Program(server, servers=f"http://127.0.0.1:1,{server.url}", through=Routes(server)).begin()

    assert program.session.home() == server.url


def test_the_next_server_is_asked_when_one_is_full() -> None:
    """Full at the first, free at the second."""
    full, free = FakeServer(seats=0), FakeServer(seats=1)
    program = Program(free, servers="http://full.example,http://free.example", through=Routes(free, full))
    _share_identity(full, free)
    program.begin()

    assert program.session.home() == "http://free.example"


def test_a_server_that_may_have_granted_a_seat_is_asked_again_before_another() -> None:
    """Its answer got lost, so the seat may be ours already: taking one elsewhere would be a second."""
    first, second = FakeServer(seats=1), FakeServer(seats=1)
    _share_identity(first, second)
    first.lose_next_answer()
    program = Program(second, servers="http://full.example,http://free.example", through=Routes(second, first)).begin()

    assert program.session.home() == "http://full.example"
    assert (first.used, second.used) == (1, 0)


def test_a_server_that_does_not_know_the_seat_is_not_asked_about_it() -> None:
    """While ours is away, another's "unknown token" says nothing about our seat, and no second one is taken there."""
    ours, other = FakeServer(seats=1), FakeServer(seats=1)
    _share_identity(ours, other)
    program = Program(other, servers="http://full.example,http://free.example", through=Routes(other, ours)).begin()
    ours.unreachable = True
    program.live(45)
    ours.unreachable = False

    assert program.session.home() == "http://full.example"
    assert other.used == 0


def test_all_servers_full_is_a_refusal() -> None:
    """The first server's refusal is the one that is told."""
    full, fuller = FakeServer(seats=0), FakeServer(seats=0)
    _share_identity(full, fuller)
    program = Program(fuller, servers="http://full.example,http://free.example", through=Routes(fuller, full))

    with pytest.raises(seatkeeper.NoSeat) as refusal:
        program.begin()
    assert refusal.value.server == "http://full.example"


def test_a_busy_server_is_asked_again() -> None:
    """503 decides nothing: the call stays pending, and is repeated."""
    server = FakeServer(seats=1)
    server.busy = True

    with pytest.raises(seatkeeper.ServerProblem) as problem:
        Program(server).begin()
    assert problem.value.problem == "storage.unavailable"
    server.busy = False
    Program(server).begin()
    assert server.used == 1


def test_a_token_of_another_server_is_dropped() -> None:
    """Pointed at a new server, a program with an old token simply takes a seat there."""
    old, new = FakeServer(seats=1), FakeServer(seats=1)
    _share_identity(old, new)
    Program(old).begin()
    Program(new).begin()

    assert new.used == 1


def test_features_come_with_the_seat_or_not_at_all() -> None:
    """All or none: three of two is refused, and no seat is taken."""
    server = FakeServer(seats=1, features={"render": 2})

    with pytest.raises(seatkeeper.NoFeature):
        Program(server, features={"render": 3}).begin()
    assert server.used == 0


def test_a_checkout_whose_answer_was_lost_does_not_draw_twice() -> None:
    """The caller who asks again collects the answer of his first call."""
    server = FakeServer(seats=1, features={"render": 10})
    program = Program(server).begin()
    server.lose_next_answer()
    with pytest.raises(seatkeeper.ServerUnreachable):
        program.perform(program.session.checkout("render", 2))
    program.live(60)  # the keeper settles what is pending before it refreshes
    state = program.perform(program.session.checkout("render", 2))

    assert state.active == 2


def test_features_checked_out_later_are_asked_for_when_the_seat_is_taken_anew() -> None:
    """A seat that was gone comes back with what the program had drawn."""
    server = FakeServer(seats=2, features={"render": 10})
    program = Program(server).begin()
    program.perform(program.session.checkout("render", 3))
    server.take_back("s1")
    program.live(60)

    assert program.session.claims is not None
    assert program.session.claims.feat == {"render": 3}


def test_features_given_back_are_not_asked_for_when_the_seat_is_taken_anew() -> None:
    """A seat comes back with what the program still had."""
    server = FakeServer(seats=2, features={"render": 10})
    program = Program(server).begin()
    program.perform(program.session.checkout("render", 3))
    program.perform(program.session.give_back("render", 2))
    server.take_back("s1")
    program.live(60)

    assert program.session.claims is not None
    assert program.session.claims.feat == {"render": 1}


def test_a_usage_count_is_not_paid_twice_when_the_seat_is_taken_anew() -> None:
    """What came with the first seat and is used up is not asked for with the second."""
    server = FakeServer(seats=2, features={"credits": "usageCount:5"})
    program = Program(server, features={"credits": 2}).begin()
    server.take_back("s1")
    program.live(60)

    assert program.session.state() == "held"
    assert server._pool.features["credits"].consumed == 2


def test_giving_back_more_than_was_drawn_is_refused() -> None:
    """A refusal about a feature says nothing about the seat."""
    server = FakeServer(seats=1, features={"render": 10})
    program = Program(server).begin()

    with pytest.raises(seatkeeper.NoFeature) as refusal:
        program.perform(program.session.give_back("render", 1))
    assert refusal.value.problem == "feature.overReturn"
    assert program.live(300) == ["held"]


def test_every_granting_call_carries_a_client_nonce() -> None:
    """Without one the lease could be a recording."""
    server = FakeServer(seats=1, features={"render": 10})
    program = Program(server).begin()
    program.perform(program.session.checkout("render", 1))
    program.live(60)

    assert all(b'"clientNonce"' in call.body for call in server._api.calls)


def test_every_granting_call_says_that_leases_in_trees_are_read() -> None:
    """Taking, keeping, drawing and giving back: a busy server may sign all of their leases together."""
    server = FakeServer(seats=1, features={"render": 10})
    program = Program(server).begin()
    program.perform(program.session.checkout("render", 2))
    program.perform(program.session.give_back("render", 1))
    program.perform(program.session.refresh())

    assert [json.decode(call.body).get("leaseTypes") for call in server._api.calls] == [["tree"]] * 4


def test_a_seat_is_kept_on_leases_of_either_type() -> None:
    """Signed alone or together: they replace each other, count from the same clock, and are shown to the server alike."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    shown = []
    for _ in range(12):
        program.perform(program.session.refresh())
        assert program.session.holding is not None
        shown.append(program.session.holding.lease.token.count(".") + 1)

    assert set(shown) == {3, 4}
    assert program.live(300) == ["held"]


def test_it_works_where_nonces_are_required() -> None:
    """The strictest server is served from the first call on."""
    server = FakeServer(seats=1, features={"render": 10}, nonce_required=True)
    program = Program(server).begin()
    program.perform(program.session.checkout("render", 1))
    program.perform(program.session.entitlement())

    assert program.live(300) == ["held"]


def test_a_refresh_sends_the_last_lease() -> None:
    """So that a server restored from a backup notices."""

    server = FakeServer(seats=1)
    program = Program(server).begin()
    assert program.session.holding is not None
    before = program.session.holding.lease.token
    program.perform(program.session.refresh())

    assert json.decode(server._api.calls[-1].body, type=RefreshRequest).last_lease == before


def _activate(server: FakeServer, index: int) -> ActivateRequest:

    calls = [call for call in server._api.calls if (call.method, call.path) == ACTIVATE]
    return json.decode(calls[index].body, type=ActivateRequest)


def _forget(program: Program) -> None:
    """Remove the record of a seat, as if the newer copy ran in another home."""
    path = program.session._memory._path
    assert path is not None
    path.unlink()


def _share_identity(one: FakeServer, other: FakeServer) -> None:
    """Make two servers sell the same product of the same vendor, each from a database of its own."""
    one._api.code = other._api.code
    for name in ("tenant", "product", "root"):
        setattr(one._api.signer, name, getattr(other._api.signer, name))
    one._api.signer.rotate()
