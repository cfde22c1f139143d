"""An act: a running server and the data it serves, and what wrk's scripts are handed to ask it.

Requests are written to files, once for each server: templates in which wrk fills in what changes, or whole requests, a line
each.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.asking import Asking
from bench.cases import BULK, LARGE_POOL, SMALL_POOL, Cell, Place
from bench.house import House, Sold
from bench.load import Sample, measure
from bench.servers import Server

LATECOMERS = 1_000  # programs that ask a full pool
ACTIVATIONS_A_SECOND = 10_000  # that are written beforehand: more than are answered
NOBODY = Sold("t_2-6UvjrSW1QC2D64jPrWeQ", "prod_2-6UvjrSW1QC2D64jPrWeQ", "nobody's")


@dataclass(slots=True)
class Act:
    """A server and the house it serves, if any; `folder` is for its requests. One that is not ready answers too late."""

    place: Place
    server: Server
    house: House | None
    folder: Path
    is_ready: bool = True
    round: int = 0

    def measure(self, cell: Cell, seconds: int) -> Sample:
        """Let a case have its turn."""
        case = cell.asked
        handed = _HANDED[cell.case](self, cell.connections, seconds)
        return measure(self.server, case.script, handed, connections=cell.connections, seconds=seconds, alone=case.alone)

    @property
    def of(self) -> House:
        """The house, where there is one."""
        assert self.house is not None
        return self.house

    @property
    def mesher(self) -> Sold:
        """What was sold to programs of their own."""
        assert self.of.mesher is not None
        return self.of.mesher

    def asking(self, sold: Sold) -> Asking:
        """Give what writes requests about what was sold."""
        return Asking(self.server.url, sold)

    def file(self, name: str, text: Callable[[], str]) -> str:
        """Write a file, unless it is there."""
        path = self.folder / name
        if not path.exists():
            path.write_text(text(), newline="")
        return str(path)


Handed = Callable[[Act, int, int], list[str]]  # of an act, for so many connections and seconds


def _nothing(act: Act, connections: int, seconds: int) -> list[str]:
    return []


def _floor_sdk(act: Act, connections: int, seconds: int) -> list[str]:
    request = act.asking(NOBODY).refresh().replace("<<nonce>>", "n" * 24).replace("<<token>>", "t" * 75)
    return [act.file("refresh", lambda: _lines([request])), "200", "{}"]


def _refresh(act: Act, connections: int, seconds: int) -> list[str]:
    return [act.file("refresh", act.asking(act.of.full).refresh), str(act.of.tokens)]


def _refusal(act: Act, connections: int, seconds: int) -> list[str]:
    return [act.file("refusal", act.asking(act.of.full).activate), act.of.full.code]


def _pair(act: Act, connections: int, seconds: int) -> list[str]:
    return _taking(act, act.of.spare, str(act.of.codes))


def _pair_in_large(act: Act, connections: int, seconds: int) -> list[str]:
    assert act.of.large is not None
    return _taking(act, act.of.large)


def _pair_in_small(act: Act, connections: int, seconds: int) -> list[str]:
    return _taking(act, act.of.small[act.round])  # a new one each round: what a round leaves behind would soon fill it


def _taking(act: Act, sold: Sold, codes: str | None = None) -> list[str]:
    asking = act.asking(sold)
    code = codes or act.file(f"code-{sold.code}", lambda: f"{sold.code}\n")
    return [act.file(f"take-{sold.product}", asking.activate), act.file("give", asking.give_back), code]


def _checkout(act: Act, connections: int, seconds: int) -> list[str]:
    request = act.file("checkout", act.asking(act.mesher).checkout)
    return [request, str(act.of.programs), str(act.of.next_programs(connections))]


def _bulk(act: Act, connections: int, seconds: int) -> list[str]:
    return [act.file("bulk", lambda: _lines(_bulk_requests(act))), "200", "", '"errorCode"']


def _bulk_requests(act: Act) -> Iterable[str]:
    with act.of.tokens.open() as lines:
        tokens = (line.rstrip("\n") for line in lines)
        while len(some := list(islice(tokens, BULK))) == BULK:
            yield act.asking(act.of.full).bulk(some)


def _refresh_sdk(act: Act, connections: int, seconds: int) -> list[str]:
    text, length = act.asking(act.mesher).refresh_sdk()
    request = act.file("refresh-sdk", lambda: text)
    return [request, str(act.of.programs), str(act.of.next_programs(connections)), str(length)]


def _refusal_sdk(act: Act, connections: int, seconds: int) -> list[str]:
    seats = (f"latecomer-{number:014}" for number in range(LATECOMERS))
    return [act.file("refusal-sdk", lambda: _lines(map(act.asking(act.of.full).activate_sdk, seats))), "402", '"holders":[{']


def _activate_sdk(act: Act, connections: int, seconds: int) -> list[str]:
    """Write new ones for every round: a seat is taken once."""
    seats = (f"program-{act.round:04}-{number:011}" for number in range(ACTIVATIONS_A_SECOND * seconds))
    write = act.asking(act.of.spare).activate_sdk
    return [act.file(f"activate-sdk-{act.round}", lambda: _lines(map(write, seats))), "201", '"lease":"']


def _lines(requests: Iterable[str]) -> str:
    """Put requests into lines, for `prepared.lua`."""
    return "".join(request.replace("\r\n", "\t") + "\n" for request in requests)


_HANDED: Mapping[str, Handed] = {
    "floor": _nothing,
    "hello": _nothing,
    "floor-sdk": _floor_sdk,
    "refresh": _refresh,
    "baseline-refresh": _refresh,
    "refusal": _refusal,
    "baseline-refusal": _refusal,
    "activate+return": _pair,
    "baseline-activate+return": _pair,
    f"activate+return-{LARGE_POOL}": _pair_in_large,
    f"activate+return-{SMALL_POOL}": _pair_in_small,
    "checkout": _checkout,
    "bulk-refresh": _bulk,
    "refresh-sdk": _refresh_sdk,
    "refusal-sdk": _refusal_sdk,
    "activate-sdk": _activate_sdk,
}
