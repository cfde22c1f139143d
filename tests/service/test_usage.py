"""Usage: what is rolled up says what a slow recount of the facts says, however and whenever it is rolled up."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatkeeper_server.domain.facts import Note
from seatkeeper_server.domain.periods import Period
from seatkeeper_server.domain.terms import SEAT, Kind, Overdraft, Right
from seatkeeper_server.domain.usage import slot_of
from seatkeeper_server.service import recording
from seatkeeper_server.service.calls import Served, Verb, Who
from seatkeeper_server.service.timekeeping import set_clock_back
from seatkeeper_server.service.usage import roll_up
from seatkeeper_server.service.usage_reports import Asked, By, UsageOfRight, shares, usage_of
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.rows import moment
from seatkeeper_server.store.sqlite import SqliteStore
from support import recount
from support.house import START, TENANT, AnyStore, activate, held, make_house

RENDER = Right("render", Kind.ELEMENT_POOL, 3)
HOUR = timedelta(hours=1)


class Life:
    """A house in which programs come and go, and whose facts are rolled up now and then."""

    def __init__(self, store: AnyStore) -> None:
        self.house = make_house(store, seats=2, overdraft=Overdraft("absolute", 1), features=(RENDER,))
        self.key = (TENANT, self.house.entitlement_id)
        self.seats: dict[str, Served] = {}
        self.say("sold", 2, [{"key": "render", "type": "elementPool", "value": 3}])

    def say(self, what: str, seats: object, features: Sequence[object] = ()) -> None:
        with self.house.store.transaction() as tx:
            note = Note(at=self.house.clock.now(), what=what, data={"seats": seats, "features": list(features)})
            recording.append(tx, *self.key, [note], self.house.clock.now())

    def do(self, step: tuple[str, Any]) -> None:
        match step:
            case "come", seat:
                self._keep(seat, self.house.one(activate(seat, who=who_is(seat))))
            case "draw", seat:
                self._keep(seat, self.house.one(activate(seat, who=who_is(seat), features={"render": 2})))
            case "go", seat if seat in self.seats:
                self.house.one(held(Verb.RETURN, self.seats.pop(seat)))
            case "refresh", seat if seat in self.seats:
                self._keep(seat, self.house.one(held(Verb.REFRESH, self.seats[seat])))
            case "pass", seconds:
                self.house.pass_(seconds, beating=False)
            case "wait", seconds:
                self.house.pass_(seconds)
            case "sweep", _:
                self.house.sweep()
            case "changed", seats:
                self.say("changed", {"before": 2, "after": seats})
            case "set back", minutes:
                self.house.clock.time -= timedelta(minutes=minutes)
                with self.house.store.transaction() as tx:
                    set_clock_back(tx, self.house.clock.time)
            case "roll", most:
                self.roll(most)

    def _keep(self, seat: str, outcome: object) -> None:
        if isinstance(outcome, Served):
            self.seats[seat] = outcome

    def roll(self, most: int) -> bool:
        with self.house.store.transaction() as tx:
            return roll_up(Catalogue(tx), self.key, most)

    def roll_all(self, most: int = 1_000) -> None:
        while self.roll(most):
            pass

    def facts(self) -> list[recount.Fact]:
        found = self.house.rows(
            f"SELECT number, kind, at, holder, activation_id, data FROM fact WHERE chain_id = '{self.key[1]}' ORDER BY number"
        )
        return [recount.read(row, moment) for row in found]

    def usage(self, asked: Asked) -> UsageOfRight:
        end = self.end
        with self.house.store.transaction() as tx:
            return usage_of(Catalogue(tx).usage, self.key, asked, end)

    @property
    def end(self) -> datetime:
        """A moment after everything that has happened, in the quarter it happened in or later."""
        return max([self.house.clock.now(), *(fact.at for fact in self.facts())]) + timedelta(seconds=1)

    def kept(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that facts came to."""
        tables = ("usage_slot", "usage_count", "usage_session", "usage_demand")
        return {table: sorted(self.house.rows(f"SELECT * FROM {table}"), key=repr) for table in tables}

    def forget(self) -> None:
        for table in ("usage_slot", "usage_count", "usage_session", "usage_demand", "usage_mark"):
            self.house.rows(f"DELETE FROM {table}")


def who_is(seat: str) -> Who:
    return Who(seat_id=seat, seat_name=f"{seat}@host", user=seat, group="odd" if seat in "ace" else "even")


def says_what_a_recount_says(life: Life, zone: str, period: Period) -> None:
    facts = life.facts()
    for right in (SEAT, "render"):
        asked = Asked(since=START - HOUR, until=life.end, period=period, zone=ZoneInfo(zone), right=right)
        for one in life.usage(asked).periods:
            span = one.span
            assert recount.Counted(span.high, span.low, span.held, span.over) == recount.counted(
                facts, right, span.start, span.end
            )
            assert span.bought == recount.bought_at(facts, right, span.end - recount.MICROSECOND)
            if right == SEAT:
                assert dict(one.denials) == recount.denials(facts, span.start, span.end)


seats = st.sampled_from("abcde")
steps = st.one_of(
    st.tuples(st.just("come"), seats),
    st.tuples(st.just("come"), seats),
    st.tuples(st.just("draw"), seats),
    st.tuples(st.just("go"), seats),
    st.tuples(st.just("refresh"), seats),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 40, 70])),
    st.tuples(st.just("pass"), st.sampled_from([3, 700, 5_000])),
    st.tuples(st.just("sweep"), st.none()),
    st.tuples(st.just("changed"), st.sampled_from([1, 2, 3, None])),
    st.tuples(st.just("set back"), st.sampled_from([5, 50])),
    st.tuples(st.just("roll"), st.sampled_from([1, 2, 5, 1_000])),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(steps, max_size=40), zones, st.sampled_from(Period))
def test_what_is_rolled_up_is_what_a_slow_recount_comes_to(steps: list[tuple[str, Any]], zone: str, period: Period) -> None:
    """Late facts, downtime, clocks that were set back, any cutting into parts: most, fewest, how long, and refusals."""
    life = Life(SqliteStore(None))
    for step in steps:
        life.do(step)
    life.roll_all()
    kept = life.kept()
    says_what_a_recount_says(life, zone, period)
    life.forget()
    life.roll_all()

    assert life.kept() == kept


def test_what_was_recorded_before_a_clock_was_set_back_is_found() -> None:
    """One came at 13:00, the clock was set back to 12:10, others came at 12:12 and 12:40: 13:00 is told of as before."""
    life = Life(SqliteStore(None))
    life.do(("pass", 3_600))
    for seat, minutes in (("a", -50), ("b", 28), ("c", 0)):
        life.do(("come", seat))
        life.roll_all()
        if minutes < 0:
            life.do(("set back", -minutes))
            minutes = 2
        life.do(("wait", minutes * 60))
    life.roll_all()
    kept = life.kept()
    life.forget()
    life.roll_all()

    assert life.kept() == kept
    says_what_a_recount_says(life, "UTC", Period.HOUR)


def test_it_is_the_same_on_every_database(store: AnyStore) -> None:
    """A day of programs that come, go, die and are refused, rolled up in odd parts."""
    chance, life = Random(7), Life(store)
    for _ in range(250):
        seat = chance.choice("abcde")
        life.do((chance.choice(["come", "come", "draw", "go", "refresh"]), seat))
        life.do(("pass" if chance.random() < 0.1 else "wait", chance.choice([5, 30, 400])))
        if chance.random() < 0.3:
            life.do(chance.choice([("sweep", None), ("roll", 1), ("roll", 7)]))
    life.roll_all(3)
    kept = life.kept()

    says_what_a_recount_says(life, "Europe/Berlin", Period.HOUR)
    assert all(kept.values())


# --- demand --------------------------------------------------------------------------------------------------------


def filled(store: AnyStore) -> Life:
    """A pool in which every seat, overdraft included, is taken."""
    life = Life(store)
    for seat in "abc":
        life.do(("come", seat))
    return life


def asked(life: Life) -> Asked:
    return Asked(since=START, until=life.end, period=Period.HOUR, zone=UTC)


def test_who_asks_again_and_again_wants_one_seat(store: AnyStore) -> None:
    """Eight refusals within two minutes, then the grant: one demand, met; both numbers are told."""
    life = filled(store)
    for _ in range(8):
        life.do(("come", "d"))
        life.house.pass_(15)
        for seat in "abc":
            life.do(("refresh", seat))
    life.do(("go", "a"))
    life.do(("come", "d"))
    life.house.pass_(70)
    life.do(("sweep", None))
    life.roll_all()
    found = life.usage(asked(life))

    assert dict(found.denials) == {"pool-full": 8}
    assert [(demand.tries, demand.waited) for demand in found.met] == [(8, timedelta(minutes=2))]
    assert (found.unmet, found.high, found.needed) == ([], 3, 4)


def test_who_is_never_granted_is_counted_as_long_as_he_asked(store: AnyStore) -> None:
    """Two tries half an hour apart are one demand that was not met; a third, two hours later, is another."""
    life = filled(store)
    for minutes in (30, 120, 0):
        life.do(("come", "d"))
        for _ in range(minutes * 2):
            life.house.clock.pass_(timedelta(seconds=30))
            for seat in "abc":
                life.do(("refresh", seat))
    life.do(("sweep", None))
    life.roll_all()
    found = life.usage(asked(life))

    assert [(demand.tries, demand.waited) for demand in found.unmet] == [(2, timedelta(minutes=30)), (1, timedelta(0))]
    assert found.met == []


# --- who -----------------------------------------------------------------------------------------------------------


def test_the_time_is_told_by_holder_and_by_group(store: AnyStore) -> None:
    """One stays for two minutes, one for one and comes back; what lasts is counted till now."""
    life = Life(store)
    life.do(("come", "a"))
    life.do(("come", "b"))
    life.house.pass_(60)
    life.do(("refresh", "a"))
    life.do(("go", "b"))
    life.house.pass_(60)
    life.do(("go", "a"))
    life.do(("come", "b"))
    life.house.pass_(30)
    life.roll_all()
    with store.transaction() as tx:
        stays = Catalogue(tx).usage.stays(life.key, START, life.house.clock.now())

    assert [(one.name, one.time.total_seconds(), one.sessions, one.lasting) for one in shares(stays, By.HOLDER)] == [
        ("a@host", 120, 1, 0),
        ("b@host", 90, 2, 1),
    ]
    assert [(one.name, one.holders) for one in shares(stays, By.GROUP)] == [("odd", 1), ("even", 1)]
    assert [one.name for one in shares(stays, By.PROJECT)] == [""]


def test_a_session_ends_with_its_lease_not_with_its_discovery(store: AnyStore) -> None:
    """A program that dies is noticed late; how long it was there is told to the second."""
    life = Life(store)
    life.do(("come", "a"))
    life.house.pass_(1_000)
    life.do(("sweep", None))
    life.roll_all()
    with store.transaction() as tx:
        ((session, who),) = Catalogue(tx).usage.sessions(life.key, START, START + HOUR, 0, 10)

    assert (session.ended_at, session.cause) == (START + timedelta(minutes=2), "expired")
    assert who is not None
    assert who.seat_name == "a@host"


@pytest.mark.parametrize("most", [1, 2, 1_000])
def test_what_was_pruned_still_counts(store: AnyStore, most: int) -> None:
    """The first facts have gone behind a checkpoint before anything was rolled up: it begins with what they came to."""
    from seatkeeper_server.service.tidying import Tidying
    from seatkeeper_server.store.pruning import Pruning
    from service.test_tidying import _unsigned

    life = filled(store)
    life.house.pass_(600, beating=False)
    life.do(("refresh", "a"))
    with store.transaction() as tx:
        Tidying(lambda tenant_id, payload: _unsigned(payload), facts_kept=timedelta(minutes=5)).prune(
            Pruning(tx), life.key, life.house.clock.now()
        )
    life.do(("go", "a"))
    life.roll_all(most)
    found = life.usage(Asked(since=slot_of(life.house.clock.now()), until=life.end, period=Period.HOUR, zone=UTC))

    assert (found.high, found.low) == (3, 2)
