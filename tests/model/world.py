"""A small world in which the rules of the seat are tried: programs, a server, a network, and everything that can go wrong.

One seed is one history; the same seed gives the same history. Time is true time in seconds. The server's wall clock may be
ahead or behind (`stepped`); a belief is held by true time, which is what a program's own clock counts.

Not modelled: two programs under one seat id *and* a restored database. Generations are counted again then, so that a token from
the lost history may be the equal of one from the new history; in the product both must have been taken over since the backup.

After a while everything becomes calm: no more faults, the network delivers, some programs have died. Then whatever was wrong
must come right by itself.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from seatkeeper_server.domain.admission import Tally
from seatkeeper_server.domain.catalogue import resized
from seatkeeper_server.domain.holdings import CURRENT, State
from seatkeeper_server.domain.pool import Pool
from seatkeeper_server.domain.restoring import numbers_from, set_back
from seatkeeper_server.domain.terms import SEAT, Kind, Mode, NoncePolicy, Right, Terms
from seatkeeper_server.domain.timekeeping import BEAT, margin_for
from tests.model.messages import Answer, Message, Network
from tests.model.programs import Program
from tests.model.servers import PAGES, Broken, Database, Server, at

TICK = 0.5
STORMY = 150.0  # seconds in which things go wrong
CALM = 60.0  # seconds after that in which they must come right
LEASE = 12.0
BEAT_EVERY = BEAT.total_seconds()
MARGIN = margin_for(BEAT).total_seconds()
CLONES = 100  # programs with a number above are clones
UNNOTICED = 4  # refreshes of a clone and its original, both served, after which somebody should have noticed


class Faults(Struct, frozen=True):
    """How often, per second, what goes wrong."""

    crash: float = 0.02  # of a program
    without_storage: float = 0.3  # of those that begin again
    outage: float = 0.02
    loop: float = 0.005  # of short outages one after the other
    step: float = 0.02  # of the wall clock, in either direction
    reboot: float = 0.3  # of outages
    clone: float = 0.005
    take_back: float = 0.02
    at_once: float = 0.3  # of those taken back
    resize: float = 0.01
    with_restores: float = 0.4  # of worlds
    restore: float = 0.01
    in_order: float = 0.5  # of restores
    linger: float = 0.3  # of worlds
    without_nonces: float = 0.2  # of worlds
    network: bool = True


@dataclass
class World:
    """One history."""

    seed: int
    faults: Faults = field(default_factory=Faults)
    make_server: type[Server] = Server
    stormy: float = STORMY
    clones_are_sly: bool = True
    now: float = 0.0
    stepped: float = 0.0
    boots: int = 0
    booted: float = 0.0
    restores: int = 0
    calm: bool = False

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.network = Network(self.chance, faulty=self.faults.network)
        self.with_nonces = not self._happens_at_all(self.faults.without_nonces)
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.resized = False
        self.cloned: set[int] = set()  # families
        self.down_until: float | None = None
        self.crash_at: float | None = None  # when the server is going to crash, in a loop, and for how long
        self.gap = 0.0
        self.loops = 0
        self.last_beat = 0.0
        self.pairs: list[tuple[Program, Program]] = []
        nonce = NoncePolicy.REQUIRED if self.with_nonces else NoncePolicy.OPTIONAL
        self.database = Database(_pool(self.chance, self.faults, nonce))
        self.saved = self.database.backup()
        self.server: Server | None = self.make_server(self, self.database)
        self.restores_happen = self._happens_at_all(self.faults.with_restores)
        names = self.chance.choice(["ab", "abc"] if self.restores_happen else ["ab", "aab", "abc"])
        self.programs = [Program(self, n, n, name, due=self.chance.uniform(0, 5)) for n, name in enumerate(names)]

    # --- what everybody needs ---

    def count(self, what: str) -> int:
        """Give the next number of something."""
        self.counts[what] += 1
        return self.counts[what]

    def fresh(self, what: str) -> str:
        """Give a name never given before."""
        return f"{what}-{self.count(what)}"

    # --- running ---

    def run(self) -> None:
        """Live through the storm and the calm after it.

        Raises:
            Broken: a rule was broken.
        """
        while self.now < self.stormy:
            self._go_wrong()
            self._tick()
        self._become_calm()
        while self.now < self.stormy + CALM:
            self._tick()
        self._check_all_is_well()

    def _tick(self) -> None:
        self.now += TICK
        self._serve()
        for program in self.programs:
            if program.alive:
                program.tick()
            if program.phase != "wanting":
                program.content_at = self.now
        self._check_beliefs()
        self._check_the_dead()
        self._check_clones()

    def _serve(self) -> None:
        if self.server is None and self.down_until is not None and self.now >= self.down_until:
            self._start_server()
        if self.server is not None and self.now - self.last_beat >= BEAT_EVERY:
            self.server.beat()
            self.last_beat = self.now
        for what in self.network.arrived(self.now):
            self._deliver(what)
        self._check_counters()

    def _deliver(self, what: Message | Answer) -> None:
        if isinstance(what, Answer):
            for program in self.programs:
                if program.number == what.program and program.alive:
                    program.hear(what)
        elif self.server is not None:
            if what.verb == "return":
                self._forget_copies_of(what)
            self.network.send(self.server.answer(what), self.now)

    def _forget_copies_of(self, message: Message) -> None:
        """What one copy of a token gives back, the other no longer has; on unborrowed seats the contract accepts that."""
        family = next(p.family for p in self.programs if p.number == message.program)
        copies = [p for p in self.programs if p.family == family]
        for program in copies:
            if program.number != message.program:
                self._believe_no_more(program)

    def _start_server(self) -> None:
        self.server, self.down_until, self.last_beat = self.make_server(self, self.database), None, self.now
        if self.loops:
            self.loops -= 1
            self._stop_server(self.chance.choice([0.5, 7.0]), after=self.chance.choice([0.5, 1.0, 2.5]))

    def _stop_server(self, gap: float, after: float = 0.0) -> None:
        self.crash_at, self.gap = self.now + after, gap
        self._crash_when_due()

    # --- what goes wrong ---

    def _go_wrong(self) -> None:
        self._crash_when_due()
        faults = self.faults
        for program in list(self.programs):
            if not program.alive and self._happens(0.2):
                program.begin_again(with_storage=not self._happens_at_all(faults.without_storage))
            elif program.alive and self._happens(faults.crash):
                self._say(f"{program.name}{program.number} crashes")
                program.crash()
            elif program.phase == "idle" and self._happens(0.3):
                program.phase, program.due = "wanting", self.now
            elif program.phase == "over" and self._happens(0.1):
                program.crash()
        if self._happens(faults.step):
            self._step(self.chance.choice([-20.0, -8.0, -2.5, 2.5, 2.5, 4.0, 8.0, 30.0]))
        if self.server is not None and self._happens(faults.outage):
            self._outage()
        if self.server is not None and self._happens(faults.loop):
            self.loops = self.chance.randint(3, 12)
            self._say("crash loop")
            self._stop_server(7.0)
        if self.server is not None:
            self._people()
        if self.with_nonces and self._happens(faults.clone):
            self._clone()
        if self.restores_happen and self._happens(faults.restore):
            self._restore()

    def _crash_when_due(self) -> None:
        if self.server is not None and self.crash_at is not None and self.now >= self.crash_at:
            self.server, self.down_until, self.crash_at = None, self.now + self.gap, None

    def _happens(self, per_second: float) -> bool:
        return self.chance.random() < per_second * TICK

    def _happens_at_all(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _step(self, by: float) -> None:
        """The wall clock steps, and the server learns of it as it starts again: by a restart, or a standby that is ahead."""
        self._say(f"the clock steps by {by:+}")
        self.stepped += by
        if self.server is not None:
            self._outage(short=True)

    def _outage(self, *, short: bool = False) -> None:
        gap = self.chance.choice([0.5, 2.0] if short else [0.5, 2.0, 5.0, 7.0, 30.0])
        self._say(f"the server is away for {gap}")
        if self._happens_at_all(self.faults.reboot):
            self.boots, self.booted = self.boots + 1, self.now
        self._stop_server(gap)

    def _people(self) -> None:
        assert self.server is not None
        if self._happens(self.faults.take_back):
            self._take_back(self.chance.choice("abc"), at_once=self._happens_at_all(self.faults.at_once))
        if self._happens(self.faults.resize):
            self._resize(self.chance.randint(1, 3))
        if self._happens(0.01):
            self.saved = self.database.backup()

    def _take_back(self, name: str, *, at_once: bool) -> None:
        """Whoever frees a place at once knows that there may be one believer too many."""
        assert self.server is not None
        taken = self.server.take_back(name, at_once=at_once)
        self._say(f"{name} is taken back{' at once' if at_once else ''}: {'yes' if taken else 'no'}")
        if taken and at_once:
            for program in self.programs:
                if program.name == name:
                    self._believe_no_more(program)

    def _believe_no_more(self, program: Program) -> None:
        program.believes_until, program.pending = 0.0, None  # whatever is on its way to it is not listened to

    def _resize(self, seats: int) -> None:
        self._say(f"{seats} seats are bought now")
        self.resized = True
        pool = self.database.pool
        leaving = sum(h.seats for h in pool.holdings.values() if h.occupies and h.state is not State.HELD)
        tally, excess = resized(pool.seats, seats, leaving)
        self.database.pool = replace(pool, tallies={**pool.tallies, SEAT: tally}, excess=excess)

    def _clone(self) -> None:
        holding = [program for program in self.programs if program.alive and program.phase == "holding"]
        if not holding or self.cloned:
            return
        original = self.chance.choice(holding)
        original.sly = self.clones_are_sly and self._happens_at_all(0.7)
        original.refreshes, original.found_out, original.pending = 0, False, None
        clone = original.copy(CLONES + self.count("clone"))
        clone.due = self.now + self.chance.uniform(0, 5)
        self._say(f"{original.name}{original.number} is cloned{' slyly' if original.sly else ''}")
        self.programs.append(clone)
        self.pairs.append((original, clone))
        self.cloned.add(original.family)

    def _restore(self) -> None:
        """The database is put back to its backup; whoever got a lease since believes in what it has never heard of.

        By copying files, or in order (`seatkeeper restore`), so that it knows that it was restored.
        """
        in_order = self._happens_at_all(self.faults.in_order)
        self._say(f"the database is restored{' in order' if in_order else ''}")
        self.restores += 1
        self.database = self.saved.backup()
        if in_order:
            self.database.pool = set_back(self.database.pool, numbers_from(at(self.now)))
        for program in self.programs:
            last, own = program.storage.last, self.database.pool.current(program.storage.activation or "")
            program.lost = last is not None and (own is None or last.sequence > own.sequence)
        if self.server is not None:
            self._stop_server(2.0)

    def _become_calm(self) -> None:
        """Some programs die for good, all clones do; nothing goes wrong any more."""
        self._say("calm")
        self.calm, self.network.faulty = True, False
        self.loops, self.crash_at = 0, None
        for program in self.programs:
            if program.number > CLONES or self._happens_at_all(0.4):
                program.crash()
            elif not program.alive or program.phase in ("idle", "over"):
                program.crash()
                program.begin_again(with_storage=True)

    def _say(self, what: str) -> None:
        self.log.append(f"{self.now:6.1f}  {what}")

    # --- what must be true ---

    def _check_beliefs(self) -> None:
        """No more programs believe in a seat than the pool counts. Copies of one program are one."""
        families = {p.family for p in self.programs if p.alive and not p.lost and p.believes_until > self.now}
        counted = self.database.pool.seats.used
        if len(families) > counted:
            raise Broken(f"at {self.now:.1f}: {len(families)} believe in a seat, {counted} are counted")

    def _check_counters(self) -> None:
        pool = self.database.pool
        held = [h for h in pool.holdings.values() if h.occupies]
        if pool.seats.used != sum(h.seats for h in held):
            raise Broken(f"at {self.now:.1f}: {pool.seats.used} seats are counted, {len(held)} places are taken")
        if pool.seats.above and not (self.resized or self.restores):
            raise Broken(f"at {self.now:.1f}: {pool.seats.used} of {pool.seats.right.cap} seats are taken")
        if pool.tallies[PAGES].used != len(self.database.drawn):
            raise Broken(f"at {self.now:.1f}: {pool.tallies[PAGES].used} pages for {len(self.database.drawn)} calls")

    def _check_the_dead(self) -> None:
        """However often the server is away, a place is kept for no longer than it is served without a refresh."""
        longest = LEASE + MARGIN + LEASE / 3 + MARGIN + 2 * BEAT_EVERY  # an outage within the margin gives both once more
        for holding in self.database.pool.holdings.values():
            signed_at = self.database.signed_at.get((holding.activation_id, holding.generation))
            if not holding.occupies or signed_at is None or self.restores:
                continue
            if self.database.served - signed_at > longest:
                raise Broken(f"at {self.now:.1f}: the place of {holding.activation_id} is kept although nobody refreshes it")

    def _check_clones(self) -> None:
        for pair in list(self.pairs):
            if any(not p.alive or p.found_out or p.phase in ("leaving", "idle", "over") for p in pair):
                self.pairs.remove(pair)
            elif min(p.refreshes for p in pair) >= UNNOTICED:
                raise Broken(f"at {self.now:.1f}: {pair[0].name} and its clone have gone unnoticed")

    def _check_all_is_well(self) -> None:
        """In the calm, the dead have gone, and whoever is alive holds a seat unless the pool is full."""
        pool = self.database.pool
        held = [h for h in pool.holdings.values() if h.occupies and h.past == CURRENT]
        holding = {(p.storage.activation, p.storage.generation) for p in self.programs if p.alive and p.phase == "holding"}
        if len(held) > len(holding):
            raise Broken(f"in the end {len(held)} places are taken for {len(holding)} programs")
        for program in self.programs:
            waited = program.alive and self.now - program.content_at > CALM / 4
            if waited and program.family not in self.cloned and pool.seats.has_room_for(1):
                raise Broken(f"in the end {program.name} has no seat although one is free")


def _pool(chance: Random, faults: Faults, nonce: NoncePolicy) -> Pool:
    terms = Terms(
        mode=Mode.CONCURRENT,
        nonce=nonce,
        lease=timedelta(seconds=LEASE),
        margin=timedelta(seconds=MARGIN),
        linger=timedelta(seconds=3 if chance.random() < faults.linger else 0),
    )
    rights = [Right(SEAT, Kind.SEAT, chance.randint(1, 2)), Right(PAGES, Kind.USAGE_COUNT, None)]
    return Pool(terms=terms, tallies={right.key: Tally(right) for right in rights})
