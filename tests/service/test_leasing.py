"""Serving seats: what a batch of calls comes to, on a real store."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.envelopes import b64url
from seatkeeper.protocol.ids import ACTIVATION
from seatkeeper_server.domain.facts import link
from seatkeeper_server.domain.holdings import State
from seatkeeper_server.domain.terms import SEAT, Kind, NoncePolicy, Overdraft, Right
from seatkeeper_server.service import recording, workspace
from seatkeeper_server.service.calls import Done, Key, PoolStatus, Refused, Served, StatusCall, TokenClaims, Verb
from seatkeeper_server.service.timekeeping import set_clock_back
from seatkeeper_server.store.rows import to_fact
from support.house import START, TENANT, AnyStore, House, activate, held, make_house

RENDER = Right("render", Kind.ELEMENT_POOL, 5)
POINTS = Right("points", Kind.USAGE_COUNT, 10, Overdraft("absolute", 2))
EXPORT = Right("export", Kind.BOOL, 1)
OFF = Right("off", Kind.BOOL, 0)


def served(outcome: object) -> Served:
    assert isinstance(outcome, Served), outcome
    return outcome


def problem(outcome: object) -> str:
    assert isinstance(outcome, Refused), outcome
    return outcome.problem


@pytest.fixture
def house(store: AnyStore) -> House:
    return make_house(store, features=(RENDER, POINTS, EXPORT, OFF))


def test_the_next_one_in_is_refused_with_a_reason(house: House) -> None:
    """Two seats: the third is refused, and told who holds them and when the earliest lease ends."""
    outcomes = house.ask(activate("a"), activate("b"), activate("c"))

    assert isinstance(outcomes[2], Refused)
    assert outcomes[2].problem == "seats.exhausted"
    refusal = outcomes[2].refusal
    assert refusal is not None
    assert (refusal.rule, refusal.limit, refusal.used) == ("pool-full", 2, 2)
    assert sorted(h.name for h in refusal.occupancy.holders) == ["a@host", "b@host"]
    assert refusal.occupancy.next_free_by == START + timedelta(minutes=2, seconds=6)


def test_the_earliest_end_is_told(house: House) -> None:
    """Of several places, the one that comes back first is what a refused user may wait for."""
    house.one(activate("a"))
    house.pass_(30)
    house.one(activate("b"))
    refused = house.one(activate("c"))

    assert isinstance(refused, Refused)
    assert refused.refusal is not None
    assert refused.refusal.occupancy.next_free_by == START + timedelta(minutes=2, seconds=6)


def test_holders_beyond_twenty_are_counted(store: AnyStore) -> None:
    """A refusal names the first twenty holders and says how many more there are."""
    house = make_house(store, seats=25)
    refused = house.ask(*[activate(f"s{n}") for n in range(26)])[-1]

    assert isinstance(refused, Refused)
    assert refused.refusal is not None
    assert (len(refused.refusal.occupancy.holders), refused.refusal.occupancy.more) == (20, 5)


def test_another_edition_is_unknown_also_beside_one_that_asks_for_none(house: House) -> None:
    """What one call of a batch finds is not served to another that asked for less of it."""
    outcomes = house.ask(activate("a"), activate("b", edition_id="ed_other"))

    assert isinstance(outcomes[0], Served)
    assert problem(outcomes[1]) == "credentials.unknown"


def test_borrowing_is_refused_and_takes_no_seat(house: House) -> None:
    """The default is none: `borrowUntil` has its own problem code."""
    borrowing = activate("a", borrow_until=START + timedelta(days=1), device="key")

    assert problem(house.one(borrowing)) == "borrow.refused"
    assert house.used() == 0


def test_a_batch_is_decided_in_order_of_arrival(house: House) -> None:
    """Of ten who come at once, the first two get the seats."""
    outcomes = house.ask(*[activate(f"s{n}") for n in range(10)])

    assert [isinstance(outcome, Served) for outcome in outcomes] == [True] * 2 + [False] * 8


def test_refreshes_and_returns_go_before_new_activations(house: House) -> None:
    """A seat returned in a batch goes to who activates in the same batch, whatever the order of arrival."""
    first, _ = (served(o) for o in house.ask(activate("a"), activate("b")))
    outcomes = house.ask(activate("c"), held(Verb.RETURN, first))

    assert isinstance(outcomes[0], Served)
    assert outcomes[1] == Done()


def test_a_late_refresh_goes_before_a_new_activation(house: House) -> None:
    """Who was cut off gets the last place back before somebody new does, whatever the order of arrival."""
    late = served(house.one(activate("a")))
    house.pass_(200)
    house.one(activate("b"))
    outcomes = house.ask(activate("c"), held(Verb.REFRESH, late))

    assert problem(outcomes[0]) == "seats.exhausted"
    assert isinstance(outcomes[1], Served)


def test_an_ended_lease_frees_its_seat_without_any_sweeper(house: House) -> None:
    """Correctness never waits for a sweeper: the place is taken by the next activation once lease and margin are over."""
    house.ask(activate("a"), activate("b"))
    house.pass_(125)
    assert problem(house.one(activate("c"))) == "seats.exhausted"
    house.pass_(2)

    assert isinstance(house.one(activate("c")), Served)


def test_a_keyed_repeat_is_answered_anew(house: House) -> None:
    """A repeat gets the same seat, the stored end and a new sequence number, and takes no second seat."""
    first = served(house.one(activate("a", "key-1")))
    house.pass_(30)
    again = served(house.one(activate("a", "key-1")))

    assert again.holding.expires_at == first.holding.expires_at
    assert again.holding.generation == first.holding.generation
    assert again.holding.sequence > first.holding.sequence
    assert not again.new_place
    assert house.used() == 1


def test_a_key_with_another_body_is_a_mismatch(house: House) -> None:
    """The same idempotency key with another body is refused."""
    house.one(activate("a", "key-1"))

    assert problem(house.one(activate("a", "key-1", body="other"))) == "idempotency.mismatch"


def test_a_key_is_kept_as_long_as_its_lease_and_margin(house: House) -> None:
    """After that it means nothing: a body that would have been a mismatch is a request like any other."""
    house.one(activate("a", "key-1"))
    house.pass_(127)

    assert isinstance(house.one(activate("b", "key-1", body="other")), Served)


def test_a_key_speaks_of_its_latest_success(house: House) -> None:
    """A place taken anew under an old key is repeated under it as what it has become."""
    house.one(activate("a", "key-1"))
    house.one(activate("a", proof=TokenClaims(_only_activation(house), 1)))
    house.pass_(127)
    anew = served(house.one(activate("a", "key-1")))

    assert served(house.one(activate("a", "key-1"))).holding.generation == anew.holding.generation


def test_a_repeat_after_the_end_is_decided_as_new(house: House) -> None:
    """Attack 1: once the seat has ended and gone to others, a late repeat gets nobody's seat."""
    house.one(activate("a", "key-1"))
    house.pass_(127)
    house.ask(activate("b"), activate("c"))

    assert problem(house.one(activate("a", "key-1"))) == "seats.exhausted"


def test_a_program_that_kept_its_token_takes_its_own_place(house: House) -> None:
    """Proven by the earlier token, activating again takes no second place, and raises the generation."""
    first = served(house.one(activate("a")))
    proof = TokenClaims(first.holding.activation_id, first.holding.generation)
    again = served(house.one(activate("a", proof=proof)))

    assert (again.new_place, again.holding.generation, house.used()) == (False, 2, 1)
    assert problem(house.one(held(Verb.REFRESH, first))) == "seat.takenOver"


def test_the_token_of_another_seat_takes_nobodys_place(house: House) -> None:
    """A token proves whose one seat is: shown for another, it is no better than none, and the older copy counts on."""
    first, second = (served(outcome) for outcome in house.ask(activate("a"), activate("b")))
    assert first.holding.generation == second.holding.generation
    proof = TokenClaims(second.holding.activation_id, second.holding.generation)

    assert problem(house.one(activate("a", proof=proof))) == "seats.exhausted"
    assert isinstance(house.one(held(Verb.REFRESH, first)), Served)


def test_an_unproven_activation_of_a_held_seat_takes_a_new_place(house: House) -> None:
    """Attack 2: a copy without the token is a take-over, and the older copy's place counts until its lease ends."""
    first = served(house.one(activate("a")))
    served(house.one(activate("a")))
    assert house.used() == 2
    assert problem(house.one(activate("a"))) == "seats.exhausted"
    assert problem(house.one(held(Verb.REFRESH, first))) == "seat.takenOver"
    house.pass_(127)

    assert isinstance(house.one(activate("b")), Served)


def test_features_are_granted_with_the_seat_all_or_none(house: House) -> None:
    """A seat with features is granted whole or refused whole."""
    refused = house.one(activate("a", features={"render": 6}))
    assert problem(refused) == "feature.exhausted"
    assert (house.used(), house.used("render")) == (0, 0)
    granted = served(house.one(activate("a", features={"render": 3, "export": 1})))

    assert granted.holding.rights == {SEAT: 1, "render": 3, "export": 1}
    assert (house.used(), house.used("render")) == (1, 3)


def test_a_feature_switched_off_is_refused(house: House) -> None:
    """A bool feature that was not bought is not granted."""
    assert problem(house.one(activate("a", features={"off": 1}))) == "feature.exhausted"


def test_an_unknown_feature_is_named_as_such(house: House) -> None:
    """A feature the entitlement doesn't have is not a matter of room."""
    assert problem(house.one(activate("a", features={"nope": 1}))) == "feature.unknown"


def test_elements_come_back_with_the_seat_and_usage_does_not(house: House) -> None:
    """Returning a seat returns its elements; what was used up stays used up."""
    first = served(house.one(activate("a", features={"render": 3, "points": 4})))
    house.one(held(Verb.RETURN, first))

    assert (house.used(), house.used("render"), house.used("points")) == (0, 0, 4)


def test_a_feature_is_drawn_and_given_back_while_the_seat_is_held(house: House) -> None:
    """Checkout and return of an element pool move the counter and the lease's rights."""
    first = served(house.one(activate("a")))
    drawn = served(house.one(held(Verb.CHECK_OUT, first, feature="render", amount=4, key=Key("s", "1", "b"))))
    assert drawn.holding.rights["render"] == 4
    back = served(house.one(held(Verb.GIVE_BACK, first, feature="render", amount=3, key=Key("s", "2", "b"))))

    assert (back.holding.rights["render"], house.used("render")) == (1, 1)


def test_usage_is_drawn_once_however_often_the_request_comes(house: House) -> None:
    """Attack 7: the same checkout, asked twice under one key, draws once."""
    first = served(house.one(activate("a")))
    call = held(Verb.CHECK_OUT, first, feature="points", amount=4, key=Key("s", "1", "b"))
    house.one(call)
    again = served(house.one(call))

    assert (again.holding.rights["points"], house.used("points")) == (4, 4)


def test_feature_overdraft_is_granted_and_ends(house: House) -> None:
    """Ten points and an overdraft of two: twelve, not thirteen."""
    first = served(house.one(activate("a")))
    house.one(held(Verb.CHECK_OUT, first, feature="points", amount=12, key=Key("s", "1", "b")))

    assert house.used("points") == 12
    more = house.one(held(Verb.CHECK_OUT, first, feature="points", amount=1, key=Key("s", "2", "b")))
    assert problem(more) == "feature.exhausted"


@pytest.mark.parametrize(
    ("verb", "feature", "amount", "expected"),
    [
        (Verb.GIVE_BACK, "render", 1, "feature.overReturn"),
        (Verb.GIVE_BACK, "points", 1, "feature.notReturnable"),
        (Verb.CHECK_OUT, "nope", 1, "feature.unknown"),
        (Verb.USE, "off", 0, "feature.exhausted"),
    ],
)
def test_misuse_of_features_is_named(house: House, verb: Verb, feature: str, amount: int, expected: str) -> None:
    """Each way of asking wrongly has its own problem code."""
    first = served(house.one(activate("a")))

    assert problem(house.one(held(verb, first, feature=feature, amount=amount, key=Key("s", "1", "b")))) == expected


def test_the_nonce_chain_admits_each_call_once(store: AnyStore) -> None:
    """The current nonce is accepted, the one before only for the same request, anything else is stale and a fact."""
    house = make_house(store, nonce=NoncePolicy.REQUIRED)
    first = served(house.one(activate("a")))
    call = held(Verb.REFRESH, first, nonce=first.nonce, fingerprint=b"1")
    second = served(house.one(call))
    repeated = served(house.one(call))
    assert repeated.nonce == second.nonce
    assert repeated.holding.expires_at == second.holding.expires_at
    other_body = replace(call, fingerprint=b"2")
    assert problem(house.one(other_body)) == "nonce.stale"
    assert problem(house.one(replace(call, nonce=None))) == "nonce.stale"

    assert house.facts().count("Denied") == 1  # repeats within a minute are counted, not written one by one


def test_reading_needs_the_current_nonce_and_does_not_consume_it(store: AnyStore) -> None:
    """Attack 7: a clone can't fetch the current nonce by reading."""
    house = make_house(store, nonce=NoncePolicy.REQUIRED)
    first = served(house.one(activate("a")))
    assert problem(house.one(held(Verb.READ, first))) == "nonce.stale"
    read = served(house.one(held(Verb.READ, first, nonce=first.nonce)))

    assert read.nonce == first.nonce
    assert not read.sign


def test_an_earlier_life_reads_nothing(house: House) -> None:
    """The token of an earlier generation does not show the seat of the present one."""
    first = served(house.one(activate("a")))
    proof = TokenClaims(first.holding.activation_id, first.holding.generation)
    now = served(house.one(activate("a", proof=proof)))

    assert problem(house.one(held(Verb.READ, first))) == "seat.takenOver"
    assert isinstance(house.one(held(Verb.READ, now)), Served)


def test_a_returned_seat_is_not_read(house: House) -> None:
    """Who has given a seat back has none to look at."""
    first = served(house.one(activate("a")))
    house.one(held(Verb.RETURN, first))

    assert problem(house.one(held(Verb.READ, first))) == "seat.gone"


def test_returning_twice_is_a_success_and_changes_nothing(house: House) -> None:
    """DELETE is idempotent, also for a seat nobody remembers."""
    first = served(house.one(activate("a")))
    stranger = held(Verb.RETURN, replace(first, holding=replace(first.holding, activation_id="act_unknown")))

    assert house.ask(held(Verb.RETURN, first), held(Verb.RETURN, first), stranger) == [Done()] * 3
    assert house.used() == 0


def test_a_late_return_does_not_free_the_seat_of_a_later_life(house: House) -> None:
    """Attack 4: DELETE by an older generation is a success that changes nothing."""
    first = served(house.one(activate("a")))
    proof = TokenClaims(first.holding.activation_id, first.holding.generation)
    served(house.one(activate("a", proof=proof)))

    assert house.one(held(Verb.RETURN, first)) == Done()
    assert house.used() == 1


def test_a_late_refresh_does_not_bring_a_returned_seat_back(house: House) -> None:
    """Attack 4: a refresh takes back only a lapsed seat."""
    first = served(house.one(activate("a")))
    house.one(held(Verb.RETURN, first))

    assert problem(house.one(held(Verb.REFRESH, first))) == "seat.gone"


def test_a_lapsed_seat_is_retaken_while_there_is_room(house: House) -> None:
    """A late refresh takes the seat again, its generation stays; without room it is gone, and says why."""
    first = served(house.one(activate("a")))
    house.pass_(200)
    retaken = served(house.one(held(Verb.REFRESH, first)))
    assert retaken.holding.generation == 1
    house.pass_(200)
    house.ask(activate("b"), activate("c"))
    gone = house.one(held(Verb.REFRESH, first))

    assert problem(gone) == "seat.gone"
    assert isinstance(gone, Refused)
    assert gone.refusal is not None


def test_a_returned_seat_lingers(store: AnyStore) -> None:
    """With linger, a returned seat stays taken for a while, and its own holder may have it back at once."""
    house = make_house(store, seats=1, linger=timedelta(seconds=60))
    first = served(house.one(activate("a")))
    house.one(held(Verb.RETURN, first))
    assert problem(house.one(activate("b"))) == "seats.exhausted"
    assert isinstance(house.one(activate("a")), Served)
    house.one(held(Verb.RETURN, served(house.one(activate("a", proof=TokenClaims(first.holding.activation_id, 2))))))
    house.pass_(61)

    assert isinstance(house.one(activate("b")), Served)


def test_downtime_does_not_count(house: House) -> None:
    """A server that was down for ten minutes gives them back: nobody loses a seat, and it is a fact."""
    first = served(house.one(activate("a")))
    house.ask(activate("b"))
    house.pass_(600, beating=False)

    assert problem(house.one(activate("c"))) == "seats.exhausted"
    assert served(house.one(held(Verb.REFRESH, first))).holding.state is State.HELD
    assert "Note" in house.facts()


def test_a_crash_loop_still_frees_the_seats_of_the_dead(store: AnyStore) -> None:
    """Attack 6: down ten seconds, up two, again and again: the time up still counts against a dead holder's lease."""
    house = make_house(store, seats=1, lease=timedelta(seconds=30))
    house.one(activate("dead"))
    for _ in range(40):
        house.pass_(10, beating=False)
        house.sweep()
        house.pass_(2)
        house.sweep()

    assert isinstance(house.one(activate("b")), Served)


def test_a_clock_that_is_behind_is_set_forward(store: AnyStore) -> None:
    """A wall clock a year behind keeps time running from the recorded moment, and says so."""
    house = make_house(store)
    house.one(activate("a"))
    house.clock.time -= timedelta(days=365)
    with store.transaction() as tx:
        state = house.timekeeper.start(tx)

    assert state == "clock-suspect"
    assert house.clock.now() == START
    assert house.used() == 1


def test_time_never_goes_back(store: AnyStore) -> None:
    """A clock that is behind what another transaction recorded decides at the recorded moment: no order of facts is turned."""
    house = make_house(store)
    house.pass_(10)
    house.one(activate("a"))
    house.clock.time -= timedelta(seconds=5)

    assert served(house.one(activate("b"))).at == START + timedelta(seconds=10)


def test_a_clock_set_back_moves_leases_and_places_alike(store: AnyStore) -> None:
    """When the recorded time itself was wrong, nobody's lease is longer or shorter for it, nor the margin after it."""
    house = make_house(store)
    before = served(house.one(activate("a"))).holding
    hour = timedelta(hours=1)
    with store.transaction() as tx:
        set_clock_back(tx, START - hour)
        after = tx.holdings([(TENANT, before.activation_id)])[0].holding

    assert before.free_at is not None
    assert (after.expires_at, after.free_at) == (before.expires_at - hour, before.free_at - hour)


def test_a_restored_database_learns_from_its_clients(house: House) -> None:
    """Rule 8: a lease newer than the database is proof; the seat counts again, the sequence goes on from there."""
    lease = _lease(house, sequence=91)
    call = held(Verb.REFRESH, _ghost(house), last_lease=lease)
    back = served(house.one(call))

    assert back.holding.sequence == 92
    assert house.used() == 1
    assert house.facts() == ["Restored"]


def test_a_forged_lease_proves_nothing(house: House) -> None:
    """A lease whose signature is not this database's restores nothing."""
    lease = _lease(house, sequence=91)
    house.signer.leases.clear()

    assert problem(house.one(held(Verb.REFRESH, _ghost(house), last_lease=lease))) == "seat.gone"
    assert house.used() == 0


def test_the_lease_of_another_seat_restores_nothing(house: House) -> None:
    """A shown lease is proof of the very activation that its token names."""
    lease = _lease(house, sequence=91, activation_id="act_other")

    assert problem(house.one(held(Verb.REFRESH, _ghost(house), last_lease=lease))) == "seat.gone"
    assert house.used() == 0


def test_a_forgotten_activation_does_not_push_the_present_one_aside(house: House) -> None:
    """A database that knows the seat under a later activation tells the forgotten one that it was taken over."""
    now = served(house.one(activate("a")))
    forgotten = replace(now, holding=replace(now.holding, activation_id="act_earlier"))
    lease = _lease(house, sequence=91, activation_id="act_earlier", seat_id="a")

    assert problem(house.one(held(Verb.REFRESH, forgotten, last_lease=lease))) == "seat.takenOver"
    assert house.used() == 1


def test_a_lease_this_database_cannot_have_signed_is_a_clone(house: House) -> None:
    """Rule 8: a sequence number that is not new, but newer than what this seat was given, was signed by a copy."""
    first = served(house.one(activate("a")))
    for _ in range(3):
        house.one(held(Verb.REFRESH, served(house.one(activate("b", "k")))))
    lease = _lease(house, sequence=4, activation_id=first.holding.activation_id, seat_id="a")
    served(house.one(held(Verb.REFRESH, first, last_lease=lease)))

    assert "CloneSuspected" in house.facts()


def test_unknown_codes_are_told_alike_and_written_into_the_tenants_chain(house: House) -> None:
    """Unknown code and unknown product are the same refusal; of a known tenant it is a fact."""
    outcomes = house.ask(activate("a", code_hash="x"), activate("a", product_id="prod_x"), activate("a", tenant_id="t_x"))

    assert [problem(outcome) for outcome in outcomes] == ["credentials.unknown"] * 3
    rows = house.rows("SELECT chain_id, kind FROM fact")
    assert set(rows) == {(TENANT, "Denied")}


def test_repeated_refusals_become_one_fact_with_a_count(house: House) -> None:
    """A holder's first refusal is a fact; repeats within a minute are one later fact with their number."""
    house.ask(activate("a"), activate("b"))
    ids = {house.one(activate("c")).refusal.denial_id for _ in range(5)}  # type: ignore[union-attr]
    house.pass_(61)
    house.sweep()

    assert len(ids) == 1
    assert house.facts() == ["Claimed", "Claimed", "Denied", "DeniedAgain"]
    data = house.rows("SELECT data FROM fact WHERE kind = 'DeniedAgain'")[0][0]
    assert json.loads(data)["count"] == 4


def test_a_flood_of_new_seat_ids_does_not_fill_the_disk(house: House) -> None:
    """Attack 11: at most sixty first refusals a minute and pool are facts, the rest is one count."""
    house.ask(activate("a"), activate("b"))
    outcomes = house.ask(*[activate(f"flood-{n}") for n in range(500)])
    ids = [outcome.refusal.denial_id for outcome in outcomes]  # type: ignore[union-attr]
    house.pass_(61)
    house.sweep()

    assert len(set(ids)) == 61
    assert house.facts().count("Denied") == 60
    counts = house.rows("SELECT data FROM fact WHERE kind = 'DeniedAgain'")
    assert [json.loads(row[0])["count"] for row in counts] == [440]
    assert house.rows("SELECT count(*) FROM holder") == [(62,)]


@pytest.mark.parametrize(
    "verbs", [(Verb.REFRESH, Verb.CHECK_OUT), (Verb.GIVE_BACK, Verb.REFRESH), (Verb.REFRESH, Verb.GIVE_BACK)]
)
def test_a_refresh_beside_another_call_of_the_same_seat_is_kept_with_it(house: House, verbs: tuple[Verb, Verb]) -> None:
    """In one batch, whichever comes first: both are in the database afterwards."""
    first = served(house.one(activate("a", features={"render": 2})))
    house.pass_(40)
    calls = [held(verb, first, feature="render", amount=1, key=Key("s", str(at), "b")) for at, verb in enumerate(verbs)]
    last = [served(outcome).holding for outcome in house.ask(*calls)][-1]
    with house.store.transaction() as tx:
        (kept,) = tx.holdings([(first.entitlement.tenant_id, first.holding.activation_id)])

    assert kept.holding == last
    assert kept.holding.rights["render"] == (3 if Verb.CHECK_OUT in verbs else 1)
    assert kept.holding.expires_at > first.holding.expires_at


def test_a_refresh_is_written_down_at_most_once_an_hour(house: House) -> None:
    """A refresh moves an end and is no fact, beyond one per holder and hour."""
    first = served(house.one(activate("a")))
    for _ in range(100):
        house.pass_(40)
        house.one(held(Verb.REFRESH, first))

    assert house.facts() == ["Claimed", "Refreshed"]


def test_the_chain_of_facts_verifies_from_the_table_alone(house: House) -> None:
    """Each fact's hash covers all that is kept of it and the hash before."""
    first = served(house.one(activate("a")))
    house.ask(activate("b"), activate("c"), held(Verb.RETURN, first))
    rows = house.rows(f"SELECT * FROM fact WHERE chain_id = '{house.entitlement_id}' ORDER BY number")
    head = bytes(32)
    for row in rows:
        fact = to_fact(row)
        head = link(head, recording.body(fact))
        assert head == fact.hash

    assert house.rows("SELECT head FROM pool") == [(head.hex(),)]


def test_facts_rebuild_the_counters(house: House) -> None:
    """Adding up what the facts took gives the counters, through expiry, return, take-over and features."""
    first = served(house.one(activate("a", features={"render": 2, "points": 3})))
    house.one(activate("a"))
    house.one(held(Verb.RETURN, first))
    house.pass_(300)
    house.one(activate("b", features={"render": 1}))
    house.sweep()
    sums: dict[str, int] = {}
    for (data,) in house.rows("SELECT data FROM fact"):
        for key, amount in json.loads(data).get("taken", {}).items():
            sums[key] = sums.get(key, 0) + amount

    assert sums == {SEAT: house.used(), "render": house.used("render"), "points": house.used("points")}


def test_status_shows_how_full_a_pool_is(house: House) -> None:
    """Any user of the code may see seats, used and holders."""
    house.ask(activate("a"))
    status = house.one(
        StatusCall(tenant_id=TENANT, code_hash="code-hash", code_hint="ABCD", product_id=activate("a").product_id)
    )

    assert isinstance(status, PoolStatus)
    assert status.pool.tallies[SEAT].used == 1
    assert [h.name for h in status.occupancy.holders] == ["a@host"]


def _only_activation(house: House) -> str:
    ((activation_id,),) = house.rows("SELECT activation_id FROM holding")
    return str(activation_id)


def _ghost(house: House) -> Served:
    """A seat that an earlier state of this database had given out, and forgot when it was restored."""
    now = served(house.one(activate("ghost")))
    house.rows("DELETE FROM holding")
    house.rows("DELETE FROM holder")
    house.rows("UPDATE pool_right SET used = 0")
    house.rows("UPDATE pool SET sequence = 0, holders = 0, facts = 0")
    house.rows("DELETE FROM fact")
    return now


def _lease(house: House, *, sequence: int, activation_id: str | None = None, seat_id: str = "ghost") -> str:
    if activation_id is None:
        activation_id = _peek_next_id(house)
    claims = LeaseClaims(
        iss="db",
        tid=TENANT,
        prd="p",
        edn="e",
        ent=house.entitlement_id,
        act=activation_id,
        gen=1,
        sub=seat_id,
        feat={},
        iat=START.timestamp(),
        exp=START.timestamp() + 120,
        epo=1,
        seq=sequence,
    )
    import msgspec

    token = f"e30.{b64url(msgspec.json.encode(claims))}.sig"
    house.signer.leases[token] = claims
    return token


def _peek_next_id(house: House) -> str:
    """The id the next new activation will get."""
    house.leasing.draw.text()
    return ACTIVATION + house.leasing.draw._texts[-1]


# --- a restored database, several clients, unhappy ends -------------------------------------------------------------


def _restored_house(store: AnyStore, seats: int, **terms: object) -> tuple[House, list[Served], list[str]]:
    """A house whose database was set back to before its two seats were taken; the programs still have their leases."""
    house = make_house(store, seats=seats, **terms)  # type: ignore[arg-type]
    programs = [served(house.one(activate(name))) for name in "ab"]
    leases = [
        _lease(house, sequence=p.holding.sequence, activation_id=p.holding.activation_id, seat_id=p.who.seat_id)
        for p in programs
    ]
    for table in ("holding", "holder", "fact"):
        house.rows(f"DELETE FROM {table}")
    house.rows("UPDATE pool_right SET used = 0")
    house.rows(f"UPDATE pool SET sequence = 0, holders = 0, facts = 0, head = '{bytes(32).hex()}'")
    return house, programs, leases


def test_every_program_of_a_lost_state_is_counted_whoever_comes_first(store: AnyStore) -> None:
    """Rule 8, with two clients, the higher number first: both leases count, and the newcomer finds the pool full."""
    house, (a, b), (lease_a, lease_b) = _restored_house(store, seats=2)
    served(house.one(held(Verb.REFRESH, b, last_lease=lease_b)))
    served(house.one(held(Verb.REFRESH, a, last_lease=lease_a)))

    assert problem(house.one(activate("new"))) == "seats.exhausted"
    assert house.used() == 2
    assert "CloneSuspected" not in house.facts()


def test_a_restored_seat_that_is_then_refused_is_known_and_counted_once(store: AnyStore) -> None:
    """What was restored stands although the request is refused; asking again and again counts nothing twice."""
    house, (a, _), (lease_a, _) = _restored_house(store, seats=2)
    house.rows("UPDATE pool SET switch = 'disabled'")
    for _ in range(5):
        assert problem(house.one(held(Verb.REFRESH, a, last_lease=lease_a))) == "entitlement.disabled"

    assert house.used() == 1
    assert house.rows("SELECT count(*) FROM holding JOIN holder ON number = holding.holder") == [(1,)]
    house.pass_(200)
    house.sweep()
    assert house.used() == 0


def test_whoever_is_gone_goes_before_the_living_when_a_pool_was_shrunk(house: House) -> None:
    """Two held, shrunk to one, and one of them is dead: the living one's refresh goes through, whatever the sweeper did."""
    living = served(house.one(activate("living")))
    house.one(activate("dead"))
    house.pass_(100)
    served(house.one(held(Verb.REFRESH, living)))
    house.rows("UPDATE pool_right SET bought = 1, cap = 1, above = 1 WHERE key = ''")
    house.rows("UPDATE pool SET excess = 1")
    house.pass_(60)

    assert isinstance(house.one(held(Verb.REFRESH, living)), Served)
    assert house.used() == 1


def test_idempotency_keys_get_downtime_back_too(house: House) -> None:
    """An activation whose answer was lost before a long outage is the same seat when it is repeated after it."""
    first = served(house.one(activate("a", "key")))
    house.pass_(600, beating=False)
    again = served(house.one(activate("a", "key")))

    assert (again.holding.activation_id, again.holding.generation) == (first.holding.activation_id, 1)
    assert house.used() == 1


def test_room_is_found_however_many_dead_stand_before_it(store: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead places are settled a good number at a time, until there is room or none is left."""
    monkeypatch.setattr(workspace, "DUE_AT_ONCE", 3)
    house = make_house(store, seats=20, features=(RENDER,))
    house.ask(*[activate(f"s{n}") for n in range(10)])
    house.pass_(1)
    house.one(activate("last", features={"render": 5}))
    house.pass_(200)

    assert isinstance(house.one(activate("new", features={"render": 5})), Served)
    assert house.used() == 1


def test_what_is_unlimited_is_refused_before_it_can_no_longer_be_counted(store: AnyStore) -> None:
    """Numbers beyond 2^53 are not exact in every language: the draw is refused, and later ones are still served."""
    house = make_house(store, features=(Right("points", Kind.USAGE_COUNT, None),))
    first = served(house.one(activate("a", features={"points": 2**53 - 10})))
    more = house.one(held(Verb.CHECK_OUT, first, feature="points", amount=10, key=Key("s", "1", "b")))

    assert problem(more) == "feature.exhausted"
    assert isinstance(house.one(held(Verb.CHECK_OUT, first, feature="points", amount=9, key=Key("s", "2", "b"))), Served)


def test_a_keyed_repeat_does_not_tell_the_nonce_to_who_shows_a_wrong_one(store: AnyStore) -> None:
    """Attack 7: a clone with the token and one recorded call learns nothing by repeating it."""
    house = make_house(store, nonce=NoncePolicy.REQUIRED, features=(RENDER,))
    first = served(house.one(activate("a")))
    call = held(Verb.CHECK_OUT, first, nonce=first.nonce, feature="render", amount=1, key=Key("s", "1", "b"))
    drawn = served(house.one(call))

    assert served(house.one(call)).nonce == drawn.nonce
    assert problem(house.one(replace(call, nonce="garbage"))) == "nonce.stale"
    assert problem(house.one(replace(call, nonce=None))) == "nonce.stale"


def test_a_return_that_the_device_does_not_vouch_for_frees_nothing_early(store: AnyStore) -> None:
    """A proxy that sees the token can't give the seat back behind the program that believes in it."""
    house = make_house(store, seats=1)
    device, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    first = served(house.one(activate("a", device=devices.public_key_text(device.public_key()))))
    returned = devices.Returned(TENANT, first.holding.activation_id, first.holding.generation)
    for proof in (None, devices.prove(stranger, returned)):
        assert house.one(held(Verb.RETURN, first, device_proof=proof)) == Done()
        assert problem(house.one(activate("b"))) == "seats.exhausted"
    assert house.one(held(Verb.RETURN, first, device_proof=devices.prove(device, returned))) == Done()

    assert isinstance(house.one(activate("b")), Served)


def test_refusals_for_different_features_have_different_ids(house: House) -> None:
    """An id stands for one reason: who asks for another feature is refused anew."""
    first, second = (house.one(activate("a", features={key: 99})) for key in ("render", "points"))
    assert isinstance(first, Refused)
    assert isinstance(second, Refused)
    assert first.refusal is not None
    assert second.refusal is not None

    assert first.refusal.denial_id != second.refusal.denial_id
    assert house.facts() == ["Denied", "Denied"]


def test_who_has_returned_his_seat_is_not_named_among_its_holders(store: AnyStore) -> None:
    """A lingering place is taken, but nobody holds it any more."""
    house = make_house(store, seats=1, linger=timedelta(minutes=5))
    house.one(held(Verb.RETURN, served(house.one(activate("gone")))))
    refused = house.one(activate("new"))
    assert isinstance(refused, Refused)
    assert refused.refusal is not None

    assert refused.refusal.occupancy.holders == []
    assert refused.refusal.occupancy.more == 1
    assert refused.refusal.occupancy.next_free_by == START + timedelta(minutes=5)


def test_newcomers_of_one_batch_are_refused_each_for_his_own_reason(store: AnyStore) -> None:
    """A flood of a full pool is decided alike; who asks for more, shows a key or comes after a return is decided apart."""
    house = make_house(store, seats=1, features=(RENDER,))
    first = served(house.one(activate("first", key="k")))
    outcomes = house.ask(
        activate("one"),
        activate("two"),
        activate("greedy", features={"render": 99}),
        activate("odd", features={"nothing": 1}),
        activate("first", key="k"),
        activate("three"),
    )

    assert [problem(each) if isinstance(each, Refused) else "" for each in outcomes] == [
        "seats.exhausted",
        "seats.exhausted",
        "feature.exhausted",
        "feature.unknown",
        "",
        "seats.exhausted",
    ]
    denials = [each.refusal.denial_id for each in outcomes if isinstance(each, Refused) and each.refusal is not None]
    assert len(set(denials)) == len(denials) == 4

    after = house.ask(activate("four"), held(Verb.RETURN, first), activate("five"), activate("six"))
    assert [isinstance(each, Refused) for each in after] == [False, False, True, True]
