"""The rules of the seat hold in the model with everything at once, and each of them is needed.

The attacks are those found before the protocol was built. For each, the rule that answers it is taken out of the production
code, and the same search that finds nothing otherwise must find the attack. A test that fails here prints how to replay it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from seatkeeper_server.domain import applying, order, restoring, timekeeping
from seatkeeper_server.domain import pool as rules
from seatkeeper_server.domain.facts import Resumed, TakenBack
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.requests import Activate, Call, Refresh, Return, TakeBack
from seatkeeper_server.domain.terms import Terms
from seatkeeper_server.service import timekeeping as keeping
from tests.model.messages import Answer, Message
from tests.model.search import Found, first, story
from tests.model.servers import Server
from tests.model.world import MARGIN, Faults, World

SEEDS = 500
CALMER = Faults(crash=0.02, outage=0.0, loop=0.0, step=0.0, clone=0.0, take_back=0.0, resize=0.0, with_restores=0.0)


def test_nothing_is_broken_with_everything_at_once() -> None:
    """No two believe beyond the limit, the dead go, nothing is drawn twice, clones are found out, numbers rise."""
    assert first(range(SEEDS)) is None


def test_one_seed_is_one_history() -> None:
    """Randomness gets a seed and a story."""
    one, other = World(4), World(4)
    one.run()
    other.run()

    assert one.log == other.log
    assert one.database.pool == other.database.pool


def test_the_storm_is_one() -> None:
    """What never goes wrong is not tried: over some histories, every kind of fault happens."""
    told = "\n".join(line for seed in range(60) for line in _log(seed))

    for fault in ("crashes", "is away", "crash loop", "steps", "cloned", "taken back", "bought now", "restored"):
        assert fault in told


def _log(seed: int) -> list[str]:
    world = World(seed)
    world.run()
    return world.log


def _attack(problem: str, make: Callable[[int], World] = World, seeds: int = 400) -> Found:
    """Find the attack; a history that breaks something else doesn't count."""
    for seed in range(seeds):
        found = story(seed, make)
        if found is not None and problem in found.problem:
            return found
    pytest.fail(f"{seeds} histories without: {problem}")


# --- attack 1 ------------------------------------------------------------------------------------------------------


class ReplayingServer(Server):
    """Keeps its answers to activations and gives them again, word for word."""

    def answer(self, message: Message) -> Answer:
        """Replay the stored answer of a keyed repeat."""
        stored: dict[str, Answer] = self.world.__dict__.setdefault("stored_answers", {})
        if message.call in stored:
            return replace(stored[message.call], attempt=message.attempt)
        answer = super().answer(message)
        if message.verb == "activate" and not answer.problem:
            stored[message.call] = answer
        return answer


def test_attack_1_a_stored_answer_that_is_replayed_makes_two_believe_in_one_seat() -> None:
    """Rule 2: a repeat's answer is made anew from the present state."""
    _attack("believe in a seat", lambda seed: World(seed, faults=CALMER, make_server=ReplayingServer))


# --- attack 2 ------------------------------------------------------------------------------------------------------


def test_attack_2_an_older_copy_that_is_not_counted_lets_all_copies_believe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules 3 and 4: a superseded lease counts until its exp."""

    def forgotten(pool: rules.Pool, own: Holding) -> rules.Pool:
        tally = pool.seats.changed(-1)
        return replace(pool, tallies={**pool.tallies, "": tally})

    monkeypatch.setattr(applying, "_keep_superseded", forgotten)

    _attack("believe in a seat", lambda seed: World(seed, faults=CALMER))


def test_attack_2_any_token_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules 3 and 4: only a program that kept its token takes its own place back at once."""
    monkeypatch.setattr(rules, "_is_its_own", lambda *_: True)

    _attack("believe in a seat", lambda seed: World(seed, faults=CALMER))


def test_attack_2_a_place_taken_back_that_is_free_at_once_is_given_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3: taken back by an administrator counts until its exp."""
    patient = rules._take_back

    def hasty(pool: rules.Pool, ask: TakeBack, now: datetime) -> rules.Decision:
        return patient(pool, replace(ask, at_once=True), now)

    monkeypatch.setattr(rules, "_take_back", hasty)
    faults = replace(CALMER, take_back=0.05, at_once=0.0)

    _attack("believe in a seat", lambda seed: World(seed, faults=faults))


def test_attack_2_a_holder_cut_by_shrinking_whose_place_is_free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3: cut by shrinking counts until its exp."""

    def hasty(pool: rules.Pool, own: Holding, now: datetime) -> TakenBack:
        return TakenBack(
            at=now,
            activation_id=own.activation_id,
            generation=own.generation,
            holder=own.holder,
            by="shrinking",
            taken={"": -1},
            free_at=None,
        )

    monkeypatch.setattr(rules, "_cut", hasty)

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, resize=0.05)))


# --- attack 4 ------------------------------------------------------------------------------------------------------


def test_attack_4_a_late_return_by_an_older_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules 1 and 5: a DELETE of an older generation changes nothing."""
    careful = rules._return

    def careless(pool: rules.Pool, ask: Return, now: datetime) -> rules.Decision:
        own = pool.current(ask.activation_id)
        return careful(pool, replace(ask, generation=own.generation) if own else ask, now)

    monkeypatch.setattr(rules, "_return", careless)

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, crash=0.06)))


def test_attack_4_a_generation_that_is_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 1: every activate that is not a keyed repeat raises the generation."""
    raising = rules._resume

    def staying(pool: rules.Pool, own: Holding, ask: Activate, now: datetime) -> rules.Decision:
        decision = raising(pool, own, ask, now)
        return replace(decision, generation=own.generation) if isinstance(decision, Resumed) else decision

    monkeypatch.setattr(rules, "_resume", staying)

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, crash=0.06, without_storage=0.0)))


def test_attack_4_a_late_refresh_takes_a_returned_seat_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5: a refresh takes back only a lapsed seat, never one returned or taken back."""
    strict = rules._refresh

    def resurrecting(pool: rules.Pool, ask: Refresh, now: datetime) -> rules.Decision:
        own = pool.current(ask.activation_id)
        if own is not None and own.state is State.RETURNED and not own.occupies:
            pool = replace(pool, holdings={**pool.holdings, own.key: own.freed(State.LAPSED)})
        return strict(pool, ask, now)

    monkeypatch.setattr(rules, "_refresh", resurrecting)

    _attack("took a seat that", lambda seed: World(seed, faults=replace(CALMER, without_nonces=1.0)))


# --- attack 5 ------------------------------------------------------------------------------------------------------


def test_attack_5_a_step_of_the_clock_ends_every_lease_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 8: a gap of more than three beats is given back."""
    monkeypatch.setattr(keeping, "downtime", lambda *_: timedelta(0))
    monkeypatch.setattr(keeping, "step", lambda *_: timedelta(0))

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, step=0.05)))


def test_attack_5_small_steps_add_up_past_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 8: smaller steps are summed and treated as a step before they add up to half the margin."""
    monkeypatch.setattr(keeping, "step", lambda *_: timedelta(0))

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, step=0.2, reboot=0.0)))


def test_attack_5_an_older_copys_place_ends_at_once_when_the_clock_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 8: places that wait for a lease to end are kept longer too."""
    giving = timekeeping.extended

    def only_held(holding: Holding, terms: Terms, gap: timedelta, now: datetime) -> Holding:
        return giving(holding, terms, gap, now) if holding.state is State.HELD else holding

    monkeypatch.setattr(timekeeping, "extended", only_held)

    _attack("believe in a seat", lambda seed: World(seed, faults=replace(CALMER, step=0.05, take_back=0.05, at_once=0.0)))


@pytest.mark.parametrize(
    ("steps", "reboots"),
    [((2, 2, 2, 2, 2), False), ((5, 5, 5), False), ((5, 5, 5), True), ((-10, 5, 5), False), ((-10, 5, -10, 5, 5), False)],
    ids=["small", "larger", "with reboots", "after one backwards", "back and forth"],
)
def test_attack_5_steps_of_any_kind_never_use_up_the_margin(steps: tuple[int, ...], reboots: bool) -> None:
    """Decision 8: what time jumped and was not given back stays within the margin, however often a server is started."""
    world = World(0, faults=CALMER)
    lost = 0.0
    for by in steps:
        before, given = world.database.alive, world.database.extended_by
        world.now, world.stepped = world.now + 0.5, world.stepped + by
        if reboots:
            world.boots, world.booted = world.boots + 1, world.now
        Server(world, world.database)
        after = world.database.alive
        assert before is not None
        assert after is not None
        lost += (after.at - before.at).total_seconds() - 0.5 - (world.database.extended_by - given)

        assert lost < MARGIN


# --- attack 6 ------------------------------------------------------------------------------------------------------


def test_attack_6_a_crash_loop_keeps_the_dead_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 8: the floor at most once per refresh."""
    giving = timekeeping.extended

    def every_time(holding: Holding, terms: Terms, gap: timedelta, now: datetime) -> Holding:
        return giving(replace(holding, floored=False), terms, gap, now)

    monkeypatch.setattr(timekeeping, "extended", every_time)

    _attack("is kept although nobody", lambda seed: World(seed, faults=replace(CALMER, crash=0.05, loop=0.05)))


# --- attack 7 ------------------------------------------------------------------------------------------------------

CLONES = replace(CALMER, crash=0.0, clone=0.3, network=False)


def test_attack_7_a_clone_that_reads_the_current_nonce_is_never_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 6: a GET presents the current nonce and gives it back."""
    monkeypatch.setattr(rules, "nonce_in_order", lambda *_: True)

    _attack("have gone unnoticed", lambda seed: World(seed, faults=CLONES))


class IncuriousServer(Server):
    """Takes requests with the same words for the same request."""

    def _fingerprint(self, message: Message) -> bytes | None:
        return f"{message.verb} {{}}".encode()


def test_attack_7_a_clone_whose_bodies_are_identical_passes_as_a_retry() -> None:
    """Rule 6: only for the same request, with a body that bears a client's nonce."""
    _attack("have gone unnoticed", lambda seed: World(seed, faults=CLONES, make_server=IncuriousServer))


def test_attack_7_usage_is_drawn_twice_on_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 6: the nonce is consumed by the call that shows it."""

    def any_recent(pool: rules.Pool, own: Holding, ask: Call, now: datetime) -> rules.Decision | None:
        known: Nonces = own.nonces
        return None if ask.nonce in (known.current, known.previous) else rules.Rejected("nonce.stale")

    monkeypatch.setattr(order, "_nonce_problem", any_recent)

    _attack("drawn twice", lambda seed: World(seed, faults=CALMER))


# --- attack 9, and the rest of rule 8 --------------------------------------------------------------------------------


def test_attack_9_a_restored_database_counts_its_leases_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 8: a valid lease newer than the database raises its sequence."""

    def blind(*_: Any) -> None:
        return None

    monkeypatch.setattr(rules, "restored", blind)
    monkeypatch.setattr(restoring, "restored", blind)
    faults = replace(CALMER, with_restores=1.0, restore=0.03)

    _attack("got lease", lambda seed: World(seed, faults=faults))
