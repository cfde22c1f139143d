"""The cases: what is asked of which server, over how many connections, with how much in the database.

Cases that are compared take turns on servers that run at the same time: a *phase*. Nothing is compared across phases. Each
database has a main phase of its own, with its own floor: servers that only stand by cost the others a twentieth.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

SQLITE, POSTGRES, NONE = "sqlite", "postgres", "none"
STORES = (SQLITE, POSTGRES)

CONNECTIONS = (1, 16, 64, 256)
PROMISED_AT = 64  # connections
MAIN_LEASES = 10_000  # live leases of the main phase: ten bulk requests' worth
SCALES = (100, 1_000, 10_000, 100_000, 1_000_000)  # live leases that must make no difference
FEW_LEASES = 1_000  # beside which many entitlements, and many facts, are looked at
MANY_FACTS = 1_000_000
MANY_ENTITLEMENTS = 1_000
LARGE_POOL, SMALL_POOL = 50_000, 100  # seats


class Made(StrEnum):
    """What else there is in a database: what sets it apart from one hot entitlement with its leases."""

    PLAIN = ""
    FACTS = f"{MANY_FACTS:,} facts"
    MANY = f"{MANY_ENTITLEMENTS:,} entitlements"
    POOLS = f"pools of {LARGE_POOL:,} and of {SMALL_POOL}"


@dataclass(frozen=True, slots=True)
class Place:
    """A server and the data it serves; `floor` and `hello` serve none."""

    server: str  # floor, hello, ours, baseline
    store: str = NONE
    live_leases: int = 0
    made: Made = Made.PLAIN


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, by a script of wrk's.

    `many` is how many leases one answer is about. With `alone` every connection is a program of its own, with a thread of
    wrk's and a token to itself; else any connection asks for anybody.
    """

    server: str
    script: str
    connections: tuple[int, ...] = CONNECTIONS
    stores: tuple[str, ...] = STORES
    many: int = 1
    alone: bool = False


BULK = 1_000  # leases in one request

CASES = {
    "floor": Case("floor", "floor.lua", stores=(NONE,)),
    "hello": Case("hello", "floor.lua", stores=(NONE,)),
    "floor-sdk": Case("floor", "prepared.lua", connections=(PROMISED_AT,), stores=(NONE,)),
    "refresh": Case("ours", "refresh.lua"),
    "baseline-refresh": Case("baseline", "refresh.lua"),
    "refusal": Case("ours", "refusal.lua"),
    "baseline-refusal": Case("baseline", "refusal.lua"),
    "activate+return": Case("ours", "pair.lua"),
    "baseline-activate+return": Case("baseline", "pair.lua"),
    "checkout": Case("ours", "checkout.lua", connections=(1, PROMISED_AT), alone=True),
    "bulk-refresh": Case("ours", "prepared.lua", connections=(1, 4), many=BULK),
    "refresh-sdk": Case("ours", "refresh_sdk.lua", connections=(PROMISED_AT,), stores=(SQLITE,), alone=True),
    "refusal-sdk": Case("ours", "prepared.lua", connections=(PROMISED_AT,), stores=(SQLITE,)),
    "activate-sdk": Case("ours", "prepared.lua", connections=(PROMISED_AT,), stores=(SQLITE,)),
}
POOL_CASES = {  # like activate+return, in a pool of so many seats
    f"activate+return-{LARGE_POOL}": Case("ours", "pair.lua"),
    f"activate+return-{SMALL_POOL}": Case("ours", "pair.lua"),
}
AT_SCALE = {SQLITE: ("refresh", "refusal", "activate+return"), POSTGRES: ("refresh", "activate+return")}
SPREAD = ("refresh", "activate+return")


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the result: a case, on a server, over so many connections."""

    case: str
    place: Place
    connections: int

    @property
    def asked(self) -> Case:
        """What is asked."""
        return CASES.get(self.case) or POOL_CASES[self.case]


@dataclass(frozen=True, slots=True)
class Phase:
    """Cells that take turns, in this order."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def places(self) -> list[Place]:
        """The servers that run as long as the phase lasts."""
        return list(dict.fromkeys(cell.place for cell in self.cells))


def phases(
    cases: Collection[str], connections: Collection[int], stores: Collection[str], *, with_scales: bool = True
) -> list[Phase]:
    """Give what is measured. Phases in which nothing is left of a selection are left out."""
    planned = [_main(cases, connections, store) for store in stores]
    if with_scales:
        planned += [_growth(cases, store) for store in stores] + [_spread(cases, stores)]
    return [phase for phase in planned if phase.cells]


def main_phase(store: str) -> str:
    """Name the phase in which a database is compared with the floor."""
    return f"main-{store}"


def _main(cases: Collection[str], connections: Collection[int], store: str) -> Phase:
    """Everything side by side; what is compared with each other stands next to each other."""
    chosen = {name: _counts(case, connections) for name, case in CASES.items() if name in cases}
    return Phase(
        main_phase(store),
        tuple(
            Cell(name, _main_place(CASES[name].server, kept), count)
            for count in sorted({count for counts in chosen.values() for count in counts})
            for name, counts in chosen.items()
            if count in counts
            for kept in CASES[name].stores
            if kept in (store, NONE)
        ),
    )


def _main_place(server: str, store: str) -> Place:
    return Place(server) if store == NONE else Place(server, store, MAIN_LEASES)


def _counts(case: Case, connections: Collection[int]) -> Sequence[int]:
    """Give over how many connections a case is measured: those asked for, else as many as it takes at most."""
    return [count for count in case.connections if count in connections] or [max(case.connections)]


def _growth(cases: Collection[str], store: str) -> Phase:
    """Few live leases and many, and many facts; with 100 leases only where that was promised."""
    scales = [scale for scale in SCALES if scale >= FEW_LEASES or store == SQLITE]
    places = [Place("ours", store, scale) for scale in scales] + [Place("ours", store, FEW_LEASES, Made.FACTS)]
    chosen = [case for case in AT_SCALE[store] if case in cases]
    return Phase(f"growth-{store}", tuple(Cell(case, place, PROMISED_AT) for case in chosen for place in places))


def _spread(cases: Collection[str], stores: Collection[str]) -> Phase:
    """One hot entitlement and a thousand, a large pool and a small one."""
    chosen = [case for case in SPREAD if case in cases]
    cells = [
        Cell(case, Place("ours", store, FEW_LEASES, made), PROMISED_AT)
        for case in chosen
        for store in stores
        for made in (Made.PLAIN, Made.MANY)
    ]
    if "activate+return" in cases:
        pools = {store: Place("ours", store, LARGE_POOL, Made.POOLS) for store in stores}
        cells += [Cell(case, pools[store], PROMISED_AT) for store in stores for case in POOL_CASES]
    return Phase("spread", tuple(cells))
