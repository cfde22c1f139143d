"""True histories made untrue, one way each: what a recorded run would look like had the server not kept its word.

`STRICTER` judges a history by rules that the server was not asked to keep; `TAMPERED` changes what a client was told. Both
need a history of a pool that was full at times, in which all kinds of calls occur. The rules are changed by so much that it
shows where calls overlap: how many places are taken is known only up to those that are being returned.
"""

from collections.abc import Callable, Iterator
from random import Random

from msgspec.structs import replace

from tests.linear.history import Feature, History, Kind, Lease, Operation, Outcome, Rules

Tampered = Callable[[History, Random], History]


def _with_rules(change: Callable[[Rules], Rules]) -> Tampered:
    return lambda history, chance: History(rules=change(history.rules), operations=history.operations)


def _fewer(key: str) -> Callable[[Rules], Rules]:
    def change(rules: Rules) -> Rules:
        kept = rules.features[key]
        return replace(rules, features={**rules.features, key: Feature(kept.amount - 1, kept.returnable)})

    return change


STRICTER: dict[str, Tampered] = {
    "there was a seat less in ten": _with_rules(lambda rules: replace(rules, seats=rules.seats - 1 - rules.seats // 10)),
    "there was a seat more in ten": _with_rules(lambda rules: replace(rules, seats=rules.seats + 1 + rules.seats // 10)),
    "the margin was twice as long": _with_rules(lambda rules: replace(rules, margin=rules.margin * 2)),
    "there was no margin": _with_rules(lambda rules: replace(rules, margin=0)),
    "leases lasted a microsecond less": _with_rules(lambda rules: replace(rules, lease=rules.lease - 1)),
    "places lingered for half a lease": _with_rules(lambda rules: replace(rules, linger=rules.lease // 2)),
    "there was one element less": _with_rules(_fewer("render")),
    "usage that was used up came back": _with_rules(
        lambda rules: replace(rules, features={**rules.features, "pages": Feature(rules.features["pages"].amount, True)})
    ),
}


def _one(kind: Kind, outcome: Outcome, change: Callable[[Operation], Operation]) -> Tampered:
    """Change one call of a kind and outcome that repeats no other, anywhere in the middle of a history."""

    def tamper(history: History, chance: Random) -> History:
        calls = list(history.operations)
        first = {call.key: i for i, call in reversed(list(enumerate(calls)))}
        fitting = [i for i, call in enumerate(calls) if (call.kind, call.outcome) == (kind, outcome)]
        fitting = [i for i in fitting if calls[i].key is None or first[calls[i].key] == i]
        index = chance.choice(fitting[len(fitting) // 4 : -len(fitting) // 4] or fitting)
        calls[index] = change(calls[index])
        return History(rules=history.rules, operations=calls)

    return tamper


def _leased(change: Callable[[Lease], Lease]) -> Callable[[Operation], Operation]:
    return lambda call: replace(call, lease=change(call.lease)) if call.lease is not None else call


def _denied(outcome: Outcome, rule: str = "") -> Callable[[Operation], Operation]:
    return lambda call: replace(call, outcome=outcome, rule=rule, lease=None, is_new=None)


TAMPERED: dict[str, Tampered] = {
    "a running seat was gone": _one(Kind.REFRESH, Outcome.GRANTED, _denied(Outcome.GONE)),
    "a running seat was taken over by nobody": _one(Kind.REFRESH, Outcome.GRANTED, _denied(Outcome.TAKEN_OVER)),
    "a refresh was refused": _one(Kind.REFRESH, Outcome.GRANTED, _denied(Outcome.REFUSED, "pool-full")),
    "a seat was granted and not told": _one(Kind.ACTIVATE, Outcome.GRANTED, _denied(Outcome.REFUSED, "pool-full")),
    "an old place was called new, or a new one old": _one(
        Kind.ACTIVATE, Outcome.GRANTED, lambda call: replace(call, is_new=not call.is_new)
    ),
    "a number was given twice": _one(
        Kind.REFRESH, Outcome.GRANTED, _leased(lambda lease: replace(lease, sequence=lease.sequence - 1))
    ),
    "a number fell": _one(Kind.REFRESH, Outcome.GRANTED, _leased(lambda lease: replace(lease, sequence=lease.sequence // 2))),
    "a generation was left out": _one(
        Kind.ACTIVATE, Outcome.GRANTED, _leased(lambda lease: replace(lease, generation=lease.generation + 1))
    ),
    "a generation was given twice": _one(
        Kind.ACTIVATE, Outcome.GRANTED, _leased(lambda lease: replace(lease, generation=lease.generation - 1))
    ),
    "a lease was another seat's": _one(
        Kind.REFRESH, Outcome.GRANTED, _leased(lambda lease: replace(lease, activation=lease.activation + 1))
    ),
    "an end moved back": _one(Kind.REFRESH, Outcome.GRANTED, _leased(lambda lease: replace(lease, ends=lease.ends - 1))),
    "an end moved on by a checkout": _one(
        Kind.CHECK_OUT,
        Outcome.GRANTED,
        _leased(lambda lease: replace(lease, ends=lease.issued + (lease.ends - lease.issued) * 2)),
    ),
    "a lease was dated back": _one(
        Kind.REFRESH,
        Outcome.GRANTED,
        _leased(lambda lease: replace(lease, issued=lease.issued - (d := lease.ends - lease.issued), ends=lease.ends - d)),
    ),
    "a drawn element was forgotten": _one(
        Kind.CHECK_OUT, Outcome.GRANTED, _leased(lambda lease: replace(lease, features=lease.features[1:]))
    ),
    "more was given back than was held": _one(
        Kind.GIVE_BACK, Outcome.GRANTED, lambda call: replace(call, amount=call.amount + 100)
    ),
}


def all_of(history: History, chance: Random) -> Iterator[tuple[str, History]]:
    """Give a history tampered with in every way, with what is untrue of it."""
    for name, tamper in {**STRICTER, **TAMPERED}.items():
        yield name, tamper(history, chance)
