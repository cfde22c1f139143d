"""The store contract (store/contract.md), sentence by sentence, on every store."""

from datetime import timedelta

import apsw
import psycopg
import pytest
from msgspec.structs import replace

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.holdings import Nonces, State
from seatkeeper_server.domain.refusals import Flood
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, Right
from seatkeeper_server.domain.timekeeping import Alive, extended
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import Served, Verb, Who
from seatkeeper_server.service.ports import Changes
from support.house import START, TENANT, AnyStore, activate, held, make_house

BROKEN = (apsw.ConstraintError, psycopg.IntegrityError)
RENDER = Right("render", Kind.ELEMENT_POOL, 5)


def served(outcome: object) -> Served:
    assert isinstance(outcome, Served)
    return outcome


def test_an_exception_leaves_nothing_behind(store: AnyStore) -> None:
    """All or nothing: what a failed transaction wrote is not there."""
    house = make_house(store)
    with pytest.raises(RuntimeError, match="stop"), store.transaction() as tx:
        recording.append(tx, TENANT, TENANT, [Note(at=START, what="half")], START)
        raise RuntimeError("stop")

    assert house.facts() == []


def test_holdings_come_back_as_they_were_saved(store: AnyStore) -> None:
    """Reading gives back exactly what was saved, to the microsecond."""
    house = make_house(store, features=(RENDER,))
    house.clock.pass_(timedelta(microseconds=123457))
    first = served(house.one(activate("a", features={"render": 2})))
    nonces = Nonces("now", "before", b"\x00\xff", True)
    ends_at = START + timedelta(days=1, microseconds=1)
    saved = replace(first.holding, nonces=nonces, floored=True, expires_at=ends_at, device="another-device")
    with store.transaction() as tx:
        record = tx.holdings([(TENANT, saved.activation_id)])[0]
        tx.save(Changes(holdings=[replace(record, holding=saved)]))

    with store.transaction() as tx:
        assert tx.holdings([(TENANT, saved.activation_id)])[0].holding == saved


def test_of_a_renewed_holding_lease_and_nonces_come_back_as_they_were_saved(store: AnyStore) -> None:
    """What a refresh changes is saved, to the microsecond; nothing else of the holding, and no other one, is touched."""
    house = make_house(store, features=(RENDER,))
    before = served(house.one(activate("a", features={"render": 2}))).holding
    other = served(house.one(activate("b"))).holding
    moment = START + timedelta(microseconds=123457)
    saved = replace(
        before,
        refreshed_at=moment,
        expires_at=moment + timedelta(days=1),
        free_at=moment + timedelta(days=2),
        sequence=17,
        nonces=Nonces("now", "before", b"\x00\xff", True),
        floored=True,
    )
    never = replace(saved, rights={}, generation=9, state=State.RETURNED, activated_at=moment, noted_at=moment, device="d")
    with store.transaction() as tx:
        record = tx.holdings([(TENANT, before.activation_id)])[0]
        tx.save(Changes(renewed=[replace(record, holding=never)]))

    with store.transaction() as tx:
        found = tx.holdings([(TENANT, before.activation_id), (TENANT, other.activation_id)])
        assert {record.holding.activation_id: record.holding for record in found} == {
            before.activation_id: saved,
            other.activation_id: other,
        }


def test_pools_come_back_as_they_were_saved(store: AnyStore) -> None:
    """So do a pool's counters, its chain's end and its refusals of the minute."""
    house = make_house(store, features=(RENDER,))
    key = (TENANT, house.entitlement_id)
    with store.transaction() as tx:
        record = tx.pools([key])[0]
        tallies = {**record.pool.tallies, "render": Tally(RENDER, 7, 2)}
        pool = replace(record.pool, tallies=tallies, sequence=1, holders=2, excess=3, lost_after=4, lost_until=5)
        saved = replace(record, pool=pool, facts=6, head=bytes(range(32)), flood=Flood(START, 7))
        tx.save(Changes(pools=[saved]))

    with store.transaction() as tx:
        assert tx.pools([key]) == [saved]


def test_who_a_holder_is_comes_back_in_his_latest_words(store: AnyStore) -> None:
    """A holder keeps his number and his seat id; every word about him may change."""
    house = make_house(store)
    house.one(activate("a"))
    seat = (TENANT, house.entitlement_id, "a")
    said = {"user": "ada", "host": "node7", "process": "job-1", "group": "fluids", "project": "wing"}
    words = Who(seat_id="a", seat_name="Ada", username="ada7", address="192.0.2.7", **said)
    with store.transaction() as tx:
        saved = replace(tx.seats([seat])[0][0], who=words, blocked_until=START)
        tx.save(Changes(holders=[saved]))

    with store.transaction() as tx:
        assert tx.seats([seat])[0][0] == saved


def test_unknown_keys_are_left_out(store: AnyStore) -> None:
    """Unknown keys are no errors."""
    make_house(store)
    with store.transaction() as tx:
        found = [
            tx.holdings([(TENANT, "act_x")]),
            tx.pools([(TENANT, "ent_x")]),
            tx.ledgers(["t_x"]),
            tx.seats([(TENANT, "ent_x", "seat")]),
            tx.keyed([(TENANT, "s", "k")]),
            tx.windows([(TENANT, "ent_x", 1)]),
            list(tx.pools_for_codes([(TENANT, "nope", "prod_x", None)])),
        ]

    assert found == [[]] * 7


def test_a_counter_above_its_cap_is_refused(store: AnyStore) -> None:
    """The database repeats: never more taken than bought and overdraft."""
    house = make_house(store, seats=2)
    with pytest.raises(BROKEN), store.transaction() as tx:
        tx._save("save_rights", [[TENANT, house.entitlement_id, "", 3, 0]])

    assert house.used() == 0


def test_a_second_present_holding_of_a_holder_is_refused(store: AnyStore) -> None:
    """The database repeats: one present holding per holder."""
    house = make_house(store)
    first = served(house.one(activate("a")))
    with store.transaction() as tx:
        record = tx.holdings([(TENANT, first.holding.activation_id)])[0]
    twin = replace(record, holding=replace(record.holding, activation_id="act_other"))

    with pytest.raises(BROKEN), store.transaction() as tx:
        tx.save(Changes(holdings=[twin]))


def test_a_number_is_used_once_in_a_chain(store: AnyStore) -> None:
    """The database repeats: facts of a chain have each number once."""
    make_house(store)
    with store.transaction() as tx:
        recording.append(tx, TENANT, TENANT, [Note(at=START, what="one")], START)
        ledger = replace(tx.ledgers([TENANT])[0], facts=0)
    again = recording.in_ledger(ledger, Note(at=START, what="two"), START)[1]

    with pytest.raises(BROKEN), store.transaction() as tx:
        tx.save(Changes(facts=[again]))


def test_due_places_come_oldest_first_and_only_when_due(store: AnyStore) -> None:
    """`due` gives the places that time has ended, in the order in which they ended."""
    house = make_house(store, seats=5)
    for name in "abc":
        house.one(activate(name))
        house.pass_(10)
    key = (TENANT, house.entitlement_id)
    lease_and_margin = timedelta(minutes=2, seconds=6)
    with store.transaction() as tx:
        ended = tx.due(key, START + lease_and_margin + timedelta(seconds=10), 10)

    assert [holding.holder for holding in ended] == [1, 2]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("floored", [False, True])
@pytest.mark.parametrize("gap", [7, 50, 4000])
def test_lost_time_is_given_back_as_the_domain_says(store: AnyStore, mode: Mode, floored: bool, gap: int) -> None:
    """`extend_leases` does to every holding what `domain.timekeeping.extended` says of one."""
    house = make_house(store, seats=9, mode=mode)
    holdings = [served(house.one(activate(name))).holding for name in "abcd"]
    house.pass_(60)
    house.one(held(Verb.RETURN, served(house.one(activate("r")))))
    with store.transaction() as tx:
        records = tx.holdings([(TENANT, h.activation_id) for h in holdings])
        shifted = [
            replace(r, holding=replace(r.holding, floored=floored, expires_at=r.holding.expires_at - timedelta(seconds=40 * i)))
            for i, r in enumerate(records)
        ]
        if mode is Mode.CONCURRENT:
            margin = timedelta(seconds=6)
            shifted = [replace(r, holding=replace(r.holding, free_at=r.holding.expires_at + margin)) for r in shifted]
        tx.save(Changes(holdings=shifted))
        terms = tx.pools([(TENANT, house.entitlement_id)])[0].pool.terms
    now = house.clock.now() + timedelta(seconds=gap)
    expected = [extended(r.holding, terms, timedelta(seconds=gap), now) for r in shifted]

    with store.transaction() as tx:
        tx.extend_leases(house.clock.now(), timedelta(seconds=gap), now)
        found = [tx.holdings([(TENANT, r.holding.activation_id)])[0].holding for r in shifted]

    assert found == expected
    assert any(before.holding != after for before, after in zip(shifted, expected, strict=True))


def test_a_batch_is_remembered_by_its_id(store: AnyStore) -> None:
    """`was_committed` tells a transaction that happened from one that didn't."""
    make_house(store)
    with store.transaction() as tx:
        tx.mark_alive(Alive(START), "happened")
    with pytest.raises(RuntimeError, match="lost"), store.transaction() as tx:
        tx.mark_alive(Alive(START), "did not")
        raise RuntimeError("lost")

    assert (store.was_committed("happened"), store.was_committed("did not")) == (True, False)


def test_migrating_twice_changes_nothing(store: AnyStore) -> None:
    """`migrate` on a present database does nothing."""
    house = make_house(store)
    served(house.one(activate("a")))
    store.migrate(START)

    assert house.used() == 1


def test_a_superseded_place_is_kept_beside_the_present_one(store: AnyStore) -> None:
    """An older copy's place stands under its own generation and goes when its time is over."""
    house = make_house(store, seats=2)
    house.one(activate("a"))
    house.one(activate("a"))
    states = house.rows("SELECT past, state, occupies FROM holding ORDER BY past")

    assert states == [(0, State.HELD.value, 1), (1, State.SUPERSEDED.value, 1)]
    assert house.used(SEAT) == 2
    house.pass_(200)
    house.sweep()
    assert house.used(SEAT) == 0
    assert house.rows("SELECT count(*) FROM holding WHERE past > 0") == [(0,)]
