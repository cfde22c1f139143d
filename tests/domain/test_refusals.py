"""A first refusal is a fact; repeats of a holder within a minute, and floods of a pool, become one later fact with a count."""

from dataclasses import dataclass, field

from seatkeeper_server.domain.facts import Denied, DeniedAgain, Fact
from seatkeeper_server.domain.refusals import FIRSTS_PER_MINUTE, THE_FLOOD, Flood, Window, note
from tests.domain.build import START, at


@dataclass
class Ledger:
    """Keeps windows and the flood count as the service does: the pool's window is used once its flood is over."""

    windows: dict[int, Window] = field(default_factory=dict)
    flood: Flood = field(default_factory=lambda: Flood(START))
    facts: list[Fact] = field(default_factory=list)

    def refuse(self, holder: int, seconds: float, rule: str = "pool-full") -> str:
        """Refuse a holder, and give the id that is quoted to it."""
        now = at(seconds)
        denied = Denied(at=now, holder=holder, rule=rule, problem="seats.exhausted")
        own = self.windows.get(holder)
        flooded = self.flood.at(now).is_over and (own is None or not own.is_open(now))
        noted = note(denied, self.windows.get(THE_FLOOD) if flooded else own, self.flood, now, f"D-{len(self.facts)}-{holder}")
        self.windows[noted.window.holder] = noted.window
        self.facts.extend(noted.facts)
        self.flood = noted.flood
        return noted.window.denial_id


def test_the_first_refusal_is_written_down_with_the_id_that_is_quoted() -> None:
    """`seatkeeper why D-7K3M2Q`."""
    ledger = Ledger()

    quoted = ledger.refuse(1, 0)

    assert [(f.kind, f.denial_id, f.holder) for f in ledger.facts if isinstance(f, Denied)] == [("Denied", quoted, 1)]


def test_repeats_within_a_minute_are_only_counted_under_the_same_id() -> None:
    """Repeats of a holder within a minute become one later fact with a count."""
    ledger = Ledger()
    first = ledger.refuse(1, 0)

    later = [ledger.refuse(1, t) for t in (1, 30, 59.9)]

    assert later == [first] * 3
    assert len(ledger.facts) == 1


def test_the_count_is_written_down_once_the_minute_is_over() -> None:
    """One later fact with the count, and until when it was counted."""
    ledger = Ledger()
    for t in (0, 1, 30, 59):
        ledger.refuse(1, t)

    ledger.refuse(1, 60)

    assert [f.kind for f in ledger.facts] == ["Denied", "DeniedAgain", "Denied"]
    counted = ledger.facts[1]
    assert isinstance(counted, DeniedAgain)
    assert (counted.count, counted.at, counted.until) == (3, at(0), at(59))


def test_a_minute_with_a_single_refusal_leaves_no_count_behind() -> None:
    """Nothing was counted."""
    ledger = Ledger()
    ledger.refuse(1, 0)
    ledger.refuse(1, 60)

    assert [f.kind for f in ledger.facts] == ["Denied", "Denied"]


def test_another_rule_is_another_first_refusal() -> None:
    """Whoever asks why is told why."""
    ledger = Ledger()
    ledger.refuse(1, 0, "pool-full")
    ledger.refuse(1, 1, "entitlement-expired")

    assert [f.rule for f in ledger.facts if isinstance(f, Denied)] == ["pool-full", "entitlement-expired"]


def test_a_flood_of_ever_new_seat_ids_writes_a_bounded_number_of_facts_a_minute() -> None:
    """Attack 11: rotating seat ids make refusal facts without bound."""
    ledger = Ledger()

    ids = [ledger.refuse(holder, holder / 1000) for holder in range(1, 1001)]

    assert len(ledger.facts) == FIRSTS_PER_MINUTE
    assert len(set(ids)) == FIRSTS_PER_MINUTE + 1
    assert ledger.windows[THE_FLOOD].count == 1000 - FIRSTS_PER_MINUTE


def test_an_hour_of_flood_is_bounded_too_and_none_of_it_is_lost() -> None:
    """Floods of a pool become one later fact with a count."""
    ledger = Ledger()
    for holder in range(1, 6001):
        ledger.refuse(holder, holder / 2)
    last = ledger.windows[THE_FLOOD].closed()

    written = sum(isinstance(f, Denied) for f in ledger.facts)
    counted = sum(f.count for f in [*ledger.facts, *last] if isinstance(f, DeniedAgain))

    assert written <= FIRSTS_PER_MINUTE * 51
    assert written + counted == 6000


def test_a_holder_that_changes_its_rule_each_time_is_bounded_by_the_flood_as_well() -> None:
    """No way of asking fills the disk."""
    ledger = Ledger()

    for n in range(1000):
        ledger.refuse(1, n / 1000, f"rule {n % 2}")

    assert len(ledger.facts) <= 2 * FIRSTS_PER_MINUTE
