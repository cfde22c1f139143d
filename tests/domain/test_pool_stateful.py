"""A whole pool, and whatever may happen to it in any order: what must always be true of it.

The programs are told apart from the holders: several programs may use one seat id, and each believes in the last lease it
was given until that has ended on its own clock. That clock doesn't follow the server's when it steps. The one thing that is
allowed to break the rule "no more believe than are counted" is an administrator who frees a place at once.
"""

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from msgspec.structs import replace

from seatkeeper_server.domain.facts import CHAIN_START, Fact, Restored, link
from seatkeeper_server.domain.holdings import CURRENT, Holding
from seatkeeper_server.domain.pool import Decision
from seatkeeper_server.domain.requests import CheckOut, Earlier, GiveBack, Refresh, Return
from seatkeeper_server.domain.terms import BORROWED, SEAT, Mode, Overdraft
from seatkeeper_server.service.ports import FactRecord
from seatkeeper_server.service.recording import body, chained
from tests.domain.build import MARGIN, Bench, Seat, at, bench, elements, since_start, switch, usage

NAMES = st.sampled_from("abcd")
KEYS = st.sampled_from(["render", "pages", "export"])
OVERDRAFTS = st.sampled_from([Overdraft(), Overdraft("absolute", 1), Overdraft.percentage(50), Overdraft("unlimited")])
FEATURES = st.dictionaries(KEYS, st.integers(1, 3), max_size=2)


@dataclass(eq=False)
class Program:
    """A copy of the application: what it remembers, and until when (on its own clock) it believes in its seat."""

    seat: Seat
    believes_until: float
    last_nonce: str = ""
    last_print: bytes = b""
    device: str | None = None  # that took it home


class PoolMachine(RuleBasedStateMachine):
    """Programs, administrators, sellers, outages and clocks, in any order."""

    programs = Bundle("programs")

    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench = bench()
        self.alive: list[Program] = []
        self.stepped = 0.0  # how far the server's clock is ahead of the programs'
        self.drawn = 0  # pages used up, as the programs were told
        self.signed = 0  # the number of the last lease
        self.shrunk = False
        self.generations: dict[str, int] = {}

    @initialize(
        seats=st.integers(1, 3), overdraft=OVERDRAFTS, linger=st.sampled_from([0, 20]), mode=st.sampled_from(list(Mode))
    )
    def sell(self, seats: int, overdraft: Overdraft, linger: float, mode: Mode) -> None:
        rights = (elements("render", 4, Overdraft("absolute", 1)), usage("pages", 20), switch("export"))
        rights = (*rights, elements(BORROWED, 2))
        self.bench = bench(seats, *rights, overdraft=overdraft, linger=linger, mode=mode, borrow=400)

    # --- programs ---

    @rule(target=programs, name=NAMES, features=FEATURES)
    def start(self, name: str, features: dict[str, int]) -> object:
        decision = self.bench.activate(name, features=features)
        return self._begun(name, decision, features)

    @rule(target=programs, program=consumes(programs), features=FEATURES)
    def restart(self, program: Program, features: dict[str, int]) -> object:
        """The program ends; another life of it begins with the token that it kept."""
        self._ended(program)
        name, device = program.seat.name, program.device
        decision = self.bench.activate(name, proof=program.seat.generation, features=features, device=device)
        return self._begun(name, decision, features, device)

    @rule(target=programs, name=NAMES, features=FEATURES, seconds=st.sampled_from([30, 100, 400, 5000]))
    def borrow(self, name: str, features: dict[str, int], seconds: float) -> object:
        """A device takes a seat home. Its name is the seat's, so that it finds its own place again."""
        decision = self.bench.activate(name, features=features, device=name, borrow=self.bench.now + seconds)
        if isinstance(decision, Fact) and decision.kind == "Resumed":
            for copy in self.alive:  # a device and its copy are one to everybody: nobody can tell them apart
                if copy.device == name:
                    copy.believes_until = 0.0
        return self._begun(name, decision, features, name)

    @rule(program=programs)
    def bring_home(self, program: Program) -> None:
        """What the device gives back, a copy that was made of it before goes on believing in."""
        asked = Return(activation_id=program.seat.name, generation=program.seat.generation, proven=True)
        if program.device is None:
            program.believes_until = 0.0
        self.bench.ask(asked)

    @rule(program=consumes(programs))
    def crash(self, program: Program) -> None:
        self._ended(program)

    @rule(program=programs)
    def ask_for_the_first_answer_again(self, program: Program) -> None:
        seat, before = program.seat, self.bench.pool.current(program.seat.name)
        decision = self.bench.activate(seat.name, earlier=Earlier(seat.generation, same_body=True))
        own = self.bench.pool.current(seat.name)
        if isinstance(decision, Fact) and decision.kind == "Repeated":
            assert _end(own) == _end(before), "a repeat extends nothing"
        self._served(program, decision)

    @rule(program=programs, different=st.booleans())
    def refresh(self, program: Program, different: bool) -> None:
        program.last_nonce, program.last_print = program.seat.nonce, f"refresh {self.bench.nonces}".encode()
        decision = self.bench.call(Refresh, program.seat, fingerprint=program.last_print if different else None)
        self._served(program, decision)

    @rule(program=programs)
    def retry(self, program: Program) -> None:
        before = self.bench.pool.current(program.seat.name)
        decision = self.bench.call(Refresh, program.seat, nonce=program.last_nonce, fingerprint=program.last_print)
        if isinstance(decision, Fact) and decision.kind == "Repeated":
            own = self.bench.pool.current(program.seat.name)
            assert _end(own) == _end(before), "a repeat extends nothing"
        self._served(program, decision)

    @rule(program=programs, key=KEYS, amount=st.integers(1, 3))
    def check_out(self, program: Program, key: str, amount: int) -> None:
        decision = self.bench.call(CheckOut, program.seat, key=key, amount=amount)
        if isinstance(decision, Fact) and decision.kind == "CheckedOut" and key == "pages":
            self.drawn += amount
        self._served(program, decision)

    @rule(program=programs, key=KEYS, amount=st.integers(1, 3))
    def give_some_back(self, program: Program, key: str, amount: int) -> None:
        self._served(program, self.bench.call(GiveBack, program.seat, key=key, amount=amount))

    @rule(program=programs)
    def return_it(self, program: Program) -> None:
        if program.device is None:
            program.believes_until = 0.0
        self.bench.give_back(program.seat)

    # --- people, time ---

    @rule(name=NAMES)
    def take_back(self, name: str) -> None:
        self.bench.take_back(name)

    @rule(name=NAMES)
    def free_at_once(self, name: str) -> None:
        """Whoever does this knows that there may be one too many."""
        if isinstance(self.bench.take_back(name, at_once=True), Fact):
            for program in self.alive:
                if program.seat.name == name and program.seat.generation == self.bench.holding(name).generation:
                    program.believes_until = 0.0

    @rule(seats=st.integers(0, 4))
    def sell_more_or_fewer(self, seats: int) -> None:
        self.shrunk = True
        self.bench.resize(seats)

    @rule(seconds=st.sampled_from([0.5, 3, 20, 59, 61, 66, 130]))
    def wait(self, seconds: float) -> None:
        self.bench.wait_until(self.bench.now + seconds)

    @rule(gap=st.sampled_from([6.5, 30, 200]), step=st.booleans())
    def outage(self, gap: float, step: bool) -> None:
        """The server is away; or its clock steps, and no time passes for the programs."""
        self.bench.outage(gap)
        self.stepped += gap if step else 0

    @rule()
    def settle_twice(self) -> None:
        """Settling again at the same moment finds nothing more."""
        self.bench.wait_until(self.bench.now)

        assert self.bench.wait_until(self.bench.now) == []

    # --- what must always be true ---

    @invariant()
    def never_above_seats_and_overdraft(self) -> None:
        for tally in self.bench.pool.tallies.values():
            cap = tally.right.cap
            assert cap is None or tally.used <= cap + tally.above
            assert tally.above == 0 or (self.shrunk and tally.right.key == SEAT)

    @invariant()
    def one_present_holding_a_holder(self) -> None:
        numbers = [h.holder for h in self.bench.pool.holdings.values() if h.past == CURRENT]

        assert len(numbers) == len(set(numbers))

    @invariant()
    def the_counters_are_what_the_places_hold_and_what_was_used_up(self) -> None:
        holdings = [h for h in self.bench.pool.holdings.values() if h.occupies]
        for key in (SEAT, BORROWED, "render"):
            assert self.bench.used(key) == sum(h.rights.get(key, 0) for h in holdings)
        assert self.bench.used("pages") == self.drawn

    @invariant()
    def the_facts_that_are_kept_rebuild_the_counters(self) -> None:
        kept = [fact for fact in self.bench.facts if fact.recorded]
        for key in self.bench.pool.tallies:
            assert self.bench.used(key) == sum(fact.taken.get(key, 0) for fact in kept)

    @invariant()
    def no_more_believe_in_a_seat_than_are_counted(self) -> None:
        now = self.bench.now - self.stepped
        believers = [program for program in self.alive if program.believes_until > now]

        assert len(believers) <= self.bench.used()

    @invariant()
    def generations_never_fall(self) -> None:
        for holding in self.bench.pool.holdings.values():
            if holding.past == CURRENT:
                assert holding.generation >= self.generations.get(holding.activation_id, 0)
                self.generations[holding.activation_id] = holding.generation

    @invariant()
    def only_as_many_have_to_go_as_are_too_many(self) -> None:
        assert self.bench.pool.excess <= self.bench.pool.seats.too_many

    def teardown(self) -> None:
        """At the end, the chain of facts verifies, and no longer does once any fact is changed."""
        records = _written([fact for fact in self.bench.facts if fact.recorded])
        assert _verifies(records)
        for index in range(0, len(records), 7):
            changed = replace(records[index], holder=records[index].holder + 1)
            assert not _verifies([*records[:index], changed, *records[index + 1 :]])

    # --- helpers ---

    def _begun(self, name: str, decision: Decision, features: dict[str, int], device: str | None = None) -> object:
        if not isinstance(decision, Fact) or decision.kind not in ("Claimed", "Resumed", "TakenOver"):
            return multiple()
        self.drawn += features.get("pages", 0)
        own = self.bench.holding(name)
        program = Program(Seat(name, own.generation, own.nonces.current), 0.0, device=device if own.is_borrowed else None)
        self.alive.append(program)
        self._served(program, decision)
        return program

    def _ended(self, program: Program) -> None:
        self.alive.remove(program)

    def _served(self, program: Program, decision: Decision) -> None:
        """Hand the program its lease, if the answer bears one."""
        signs = ("Claimed", "Resumed", "TakenOver", "Retaken", "Refreshed", "Repeated", "CheckedOut", "GivenBack")
        if not isinstance(decision, Fact) or isinstance(decision, Restored) or decision.kind not in signs:
            return
        own = self.bench.holding(program.seat.name)
        assert own.sequence == self.bench.pool.sequence, "each signed lease has the pool's newest number"
        if own.generation == program.seat.generation:
            ends = since_start(own.expires_at)
            assert ends is not None
            program.believes_until = ends - self.stepped
        assert own.sequence > self.signed, "the sequence rises with every signed lease"
        self.signed = own.sequence


def _end(holding: Holding | None) -> float | None:
    return since_start(holding.expires_at) if holding else None


def _written(facts: list[Fact]) -> list[FactRecord]:
    records: list[FactRecord] = []
    for fact in facts:
        head = records[-1].hash if records else CHAIN_START
        records.append(chained("tenant", "entitlement", len(records), head, fact, at(0)))
    return records


def _verifies(records: list[FactRecord]) -> bool:
    heads = [CHAIN_START, *(record.hash for record in records)]
    return all(link(head, body(record)) == record.hash for head, record in zip(heads, records, strict=False))


assert MARGIN < 6.5, "every outage above is downtime"

TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
