"""The cases: what is asked of which server, over how many connections, with how many live leases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.house import House

AT_SCALE = ("refresh", "refusal")  # measured with few and with many live leases too
SCALE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A server and the data it serves; the floor has none."""

    name: str
    live_leases: int

    @property
    def is_baseline(self) -> bool:
        """Whether it commits once per request."""
        return self.name == "baseline"


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked: a script of wrk's and its arguments. `calls` is how many answers one unit of the case takes."""

    server: str
    script: str
    arguments: Callable[[House], Sequence[str]]
    calls: int = 1


def _tokens(house: House) -> Sequence[str]:
    return [house.full.tenant, str(house.tokens)]


def _full(house: House) -> Sequence[str]:
    return [house.full.tenant, house.full.product, house.full.code]


def _spare(house: House) -> Sequence[str]:
    return [house.spare.tenant, house.spare.product, house.spare.code]


CASES = {
    "floor": Case("floor", "floor.lua", lambda house: []),
    "refresh": Case("ours", "refresh.lua", _tokens),
    "refusal": Case("ours", "refusal.lua", _full),
    "activate+return": Case("ours", "pair.lua", _spare, calls=2),
    "baseline-refresh": Case("baseline", "refresh.lua", _tokens),
    "baseline-refusal": Case("baseline", "refusal.lua", _full),
    "baseline-activate+return": Case("baseline", "pair.lua", _spare, calls=2),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the result: a case, on a server, over so many connections; `at_scale` compares few leases with many."""

    case: str
    place: Place
    connections: int
    at_scale: bool = False


def cells(cases: Sequence[str], connections: Sequence[int], leases: int, scales: Sequence[int]) -> list[Cell]:
    """Give what is measured, in the order in which the cases take turns: what is compared stands side by side."""
    places = {case: Place(CASES[case].server, 0 if case == "floor" else leases) for case in cases}
    planned = [Cell(case, places[case], count) for count in connections for case in cases]
    for case in AT_SCALE:
        if case in cases:
            planned += [Cell(case, Place(CASES[case].server, scale), SCALE_CONNECTIONS, at_scale=True) for scale in scales]
    return planned
