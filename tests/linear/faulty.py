"""Servers with one fault each, for the checker to find out from what their clients saw.

Each is the healthy server of `model` with a few lines changed. `FAULTS` names them by what is untrue of them.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from tests.linear.history import Feature, History, Kind, Lease, Operation, Rules
from tests.linear.model import RULES, Habits, Server, crowd
from tests.linear.spec import FULL, NEW, Deed, Pool, Seat, Standing

Asked = tuple[Deed, str]


class Misjudging(Server):
    """Decides otherwise than it should; `misjudge` says how."""

    def serve(self, call: Operation, now: int) -> Operation:
        self.pool.settle(now)
        deed, why = self.misjudge(call, *self.pool.deed(call))
        self.act(call, deed, now)
        return self.answer(call, deed, why, now)

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        raise NotImplementedError

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        if deed not in (Deed.NOTHING, Deed.REFUSED, Deed.GONE, Deed.TAKEN_OVER):
            self.pool._do(call, deed)


def seat_of(server: Server, call: Operation) -> Seat | None:
    """Give the seat that a call is about."""
    return server.pool.seats.get(call.seat)


# --- places ------------------------------------------------------------------------------------------------------------


class EndsPlacesEarly(Server):
    """A place is free a little before its lease is over."""

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        super().act(call, deed, now)
        seat = seat_of(self, call)
        if seat is not None and seat.until is not None and seat.standing is Standing.HELD:
            seat.until = seat.ends - 20
            self.pool._list(seat)


class KeepsReturned(Server):
    """A seat is returned, and its place counts until its lease has ended."""

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        seat = seat_of(self, call)
        until = seat.until if seat is not None else None
        super().act(call, deed, now)
        if deed is Deed.RETURN and seat is not None and until is not None:
            self.pool.left_behind.until = until
            self.pool._place(type(self.pool.left_behind)(until, {}))


class KeepsReturnedForEver(Server):
    """A seat is returned, and its place is never counted down."""

    returned = 0

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        super().act(call, deed, now)
        self.returned += deed is Deed.RETURN
        if deed is Deed.RETURN and self.returned % 5 == 0:
            self.pool.used += 1


class Forgets(Server):
    """A seat that was acknowledged is lost, as by a crash before it was written."""

    granted = 0

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        super().act(call, deed, now)
        self.granted += deed in NEW
        seat = seat_of(self, call)
        if deed in NEW and self.granted % 10 == 0 and seat is not None:
            self.pool.give_back_seat(seat, now)


class TwoCounters(Server):
    """Two servers, each with a count of its own: a pool split in two."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.other = Pool(self.rules)

    def serve(self, call: Operation, now: int) -> Operation:
        self.pool, self.other = (self.pool, self.other) if call.seat % 2 else (self.other, self.pool)
        answer = super().serve(call, now)
        self.pool, self.other = (self.pool, self.other) if call.seat % 2 else (self.other, self.pool)
        return answer


class CountsLate(Server):
    """Decides by a count that is some moments old, as a replica has it."""

    seen: int = 0
    since: int = 0

    def serve(self, call: Operation, now: int) -> Operation:
        self.pool.settle(now)
        if now - self.since > 15:
            self.seen, self.since = self.pool.used, now
        true, self.pool.used = self.pool.used, min(self.seen, self.pool.used)
        deed, why = self.pool.deed(call)
        self.pool.used = true
        if deed not in (Deed.NOTHING, Deed.REFUSED, Deed.GONE, Deed.TAKEN_OVER):
            self.pool._do(call, deed)
        return self.answer(call, deed, why, now)


# --- decisions ----------------------------------------------------------------------------------------------------------


class RefusesForNothing(Misjudging):
    """Now and then an activation is refused although there is room."""

    times = 0

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        self.times += deed is Deed.CLAIM
        return (Deed.REFUSED, FULL) if deed is Deed.CLAIM and self.times % 8 == 0 else (deed, why)


class RetakesWithoutRoom(Misjudging):
    """A refresh of an ended seat is granted although its place was given away."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        seat = seat_of(self, call)
        is_late = deed is Deed.GONE and call.kind is Kind.REFRESH and seat is not None and seat.standing is Standing.LAPSED
        return (Deed.RETAKE, "") if is_late else (deed, why)


class NeverRetakes(Misjudging):
    """A refresh of an ended seat is refused although there is room."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        return (Deed.GONE, "") if deed is Deed.RETAKE else (deed, why)


class LosesLateSeats(Misjudging):
    """A refresh within the margin finds the seat gone."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        seat = seat_of(self, call)
        return (Deed.GONE, "") if deed is Deed.REFRESH and seat is not None and seat.ends <= self.pool.now else (deed, why)


class RevivesReturned(Misjudging):
    """A refresh that comes after the return takes the seat again. (Programs here keep a returned token.)"""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        return (Deed.REPEAT, "") if deed is Deed.GONE and call.kind is Kind.CHECK_OUT else (deed, why)


class SaysTakenOver(Misjudging):
    """A seat's only copy is told that there is a newer one."""

    times = 0

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        self.times += deed is Deed.REFRESH
        return (Deed.TAKEN_OVER, "") if deed is Deed.REFRESH and self.times % 15 == 0 else (deed, why)


class ServesOlderCopies(Misjudging):
    """An older copy is refreshed after it was taken over."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        return (Deed.REFRESH, "") if deed is Deed.TAKEN_OVER and call.kind is Kind.REFRESH else (deed, why)


class LetsOlderCopiesReturn(Misjudging):
    """A return by an older copy gives the newer one's seat back."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        seat = seat_of(self, call)
        is_older = deed is Deed.NOTHING and seat is not None and seat.standing is Standing.HELD
        return (Deed.RETURN, "") if is_older else (deed, why)


class RepeatsTakeAgain(Misjudging):
    """An activation repeated under its key takes a second place."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        has_room = self.pool.used < self.rules.seats
        return (Deed.TAKE_OVER, "") if deed is Deed.REPEAT and call.kind is Kind.ACTIVATE and has_room else (deed, why)


class RepeatsDrawAgain(Misjudging):
    """A checkout repeated under its key draws twice."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        is_left = deed is Deed.REPEAT and call.kind is Kind.CHECK_OUT and self.pool.left_of(call.feature) >= call.amount
        return (Deed.DRAW, "") if is_left else (deed, why)


class RepeatsExtend(Misjudging):
    """A repeat moves the end of the lease."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        return (Deed.REFRESH, "") if deed is Deed.REPEAT else (deed, why)


class TakesOverForNothing(Server):
    """A take-over leaves no place to the older copy."""

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        super().act(call, deed, now)
        if deed is Deed.TAKE_OVER:
            self.pool._end(self.pool.left_behind)


class KeepsGeneration(Server):
    """A take-over does not raise the generation."""

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        super().act(call, deed, now)
        if deed is Deed.TAKE_OVER:
            self.pool.seats[call.seat].generation -= 1


class ResumesAsNew(Misjudging):
    """A program that shows its token is given a second place."""

    def misjudge(self, call: Operation, deed: Deed, why: str) -> Asked:
        return (Deed.TAKE_OVER, "") if deed is Deed.RESUME and self.pool.used < self.rules.seats else (deed, why)


class KeepsFeatures(Server):
    """What a seat had drawn does not come back with it."""

    def act(self, call: Operation, deed: Deed, now: int) -> None:
        seat = seat_of(self, call)
        drawn = dict(seat.units) if seat is not None else {}
        super().act(call, deed, now)
        if deed is Deed.RETURN:
            for key, n in drawn.items():
                self.pool.taken[key] += n


# --- leases -------------------------------------------------------------------------------------------------------------


@dataclass
class Signing(Server):
    """Signs leases that say something else; `sign` says what."""

    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def lease(self, seat: Seat, now: int) -> Lease:
        lease = super().lease(seat, now)
        return self.sign(lease, now) if self.chance.random() < 0.1 else lease

    def sign(self, lease: Lease, now: int) -> Lease:
        raise NotImplementedError


class RepeatsNumbers(Signing):
    """The number of an earlier lease is given again."""

    def sign(self, lease: Lease, now: int) -> Lease:
        self.sequence -= self.sequence > 1
        return replace(lease, sequence=self.sequence)


class FallsBack(Signing):
    """The numbers go on from an older state, as after a restored backup."""

    def sign(self, lease: Lease, now: int) -> Lease:
        self.sequence = max(1, self.sequence - 5)
        return lease


class MovesEndsBack(Signing):
    """A refresh brings the end of the lease forward."""

    def sign(self, lease: Lease, now: int) -> Lease:
        return replace(lease, ends=lease.ends - self.rules.lease // 2)


class PromisesMore(Signing):
    """A lease says that it lasts longer than the server counts it."""

    def sign(self, lease: Lease, now: int) -> Lease:
        return replace(lease, ends=lease.ends + self.rules.lease)


class IsAheadOfTime(Signing):
    """A lease is dated a little into the future."""

    def sign(self, lease: Lease, now: int) -> Lease:
        return replace(lease, issued=now + 40, ends=lease.ends + 40)


class SharesOneLife(Signing):
    """Two seats are given one activation and generation."""

    def sign(self, lease: Lease, now: int) -> Lease:
        return replace(lease, activation=0, generation=1)


class LosesFeatures(Signing):
    """A lease keeps silent about what was drawn."""

    def sign(self, lease: Lease, now: int) -> Lease:
        return replace(lease, features=())


def rules(**changes: object) -> Rules:
    """Give the usual rules with something changed."""
    return replace(RULES, **changes)


SLEEPY = Habits(sleeps=0.15)
FORGETFUL = Habits(repeats=0.25, dies=0.1, sleeps=0.02)


@dataclass(frozen=True)
class Fault:
    """A faulty server, the rules that it is said to keep, and the habits of programs that bring the fault to light."""

    make: Callable[[], Server]
    rules: Rules = RULES
    habits: Habits = field(default_factory=Habits)

    def history(self, seed: int) -> History:
        """Have a crowd ask it."""
        return crowd(self.make(), self.rules, random.Random(seed), calls=500, habits=self.habits)

    def without(self, seed: int) -> History:
        """Have the same crowd ask a server without the fault."""
        return crowd(Server(self.rules), self.rules, random.Random(seed), calls=500, habits=self.habits)


ROOMY = rules(seats=5, margin=150)
LINGERING = rules(linger=80)
ENDING = rules(ends=1500)
MORE_ELEMENTS = {**RULES.features, "render": Feature(RULES.features["render"].amount + 1, returnable=True)}
REFUNDING = {**RULES.features, "pages": Feature(6, returnable=True)}
FEW_PAGES = {**RULES.features, "pages": Feature(6, returnable=False)}

FAULTS = {
    "one seat above the limit is granted": Fault(lambda: Server(rules(seats=RULES.seats + 1))),
    "a place is free when its lease ends, without the margin": Fault(lambda: Server(rules(margin=0))),
    "a place is free before its lease has ended": Fault(lambda: EndsPlacesEarly(RULES)),
    "a place counts on after its margin": Fault(lambda: Server(rules(margin=RULES.margin + 100))),
    "a returned place counts to its lease's end": Fault(lambda: KeepsReturned(RULES)),
    "a returned place counts for ever": Fault(lambda: KeepsReturnedForEver(RULES)),
    "a returned place does not linger": Fault(lambda: Server(RULES), LINGERING, Habits(pairs=False)),
    "an acknowledged seat is lost": Fault(lambda: Forgets(RULES)),
    "two servers count for themselves": Fault(lambda: TwoCounters(RULES)),
    "a seat is granted by an old count": Fault(lambda: CountsLate(RULES)),
    "an activation is refused although there is room": Fault(lambda: RefusesForNothing(ROOMY), ROOMY),
    "a seat whose place was given away is refreshed": Fault(lambda: RetakesWithoutRoom(RULES), habits=SLEEPY),
    "a lapsed seat is gone although there is room": Fault(lambda: NeverRetakes(ROOMY), ROOMY, SLEEPY),
    "a late seat is gone within its margin": Fault(lambda: LosesLateSeats(ROOMY), ROOMY, SLEEPY),
    "a seat that is over serves on": Fault(lambda: RevivesReturned(RULES), habits=SLEEPY),
    "the only copy is told of a newer one": Fault(lambda: SaysTakenOver(RULES)),
    "an older copy is served after a take-over": Fault(lambda: ServesOlderCopies(RULES)),
    "a take-over leaves the older copy no place": Fault(lambda: TakesOverForNothing(RULES)),
    "a take-over does not raise the generation": Fault(lambda: KeepsGeneration(RULES)),
    "a token does not prove whose place it is": Fault(lambda: ResumesAsNew(ROOMY), ROOMY, FORGETFUL),
    "a keyed repeat takes a second place": Fault(lambda: RepeatsTakeAgain(ROOMY), ROOMY, FORGETFUL),
    "a keyed repeat draws twice": Fault(lambda: RepeatsDrawAgain(RULES), habits=FORGETFUL),
    "a keyed repeat extends the lease": Fault(lambda: RepeatsExtend(RULES), habits=FORGETFUL),
    "an element pool gives more than it has": Fault(lambda: Server(rules(features=MORE_ELEMENTS))),
    "a usage count comes back": Fault(lambda: Server(rules(features=REFUNDING)), rules(features=FEW_PAGES)),
    "what a seat had drawn does not come back": Fault(lambda: KeepsFeatures(RULES)),
    "a number is given twice": Fault(lambda: RepeatsNumbers(RULES)),
    "the numbers fall": Fault(lambda: FallsBack(RULES)),
    "a lease's end moves back": Fault(lambda: MovesEndsBack(RULES)),
    "a lease promises more than is counted": Fault(lambda: PromisesMore(RULES)),
    "a lease goes beyond the end of the entitlement": Fault(lambda: Server(RULES), ENDING),
    "a lease is dated into the future": Fault(lambda: IsAheadOfTime(RULES)),
    "two seats have one life": Fault(lambda: SharesOneLife(RULES)),
    "a lease keeps silent about a feature": Fault(lambda: LosesFeatures(RULES)),
}
