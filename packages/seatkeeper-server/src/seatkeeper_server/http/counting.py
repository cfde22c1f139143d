"""Counters for what happens at every request, made into Prometheus' families when it asks.

Prometheus' own counters take a lock and look for the bucket one by one, which is half a microsecond at each request. Here a
number in a row of a board is raised. A board lies in a process's own memory, or in memory that several processes share, each
with a part of its own: any of them reads the sum of all. Who reads may see a request in one number and not yet in the next.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any, Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

ROWS: Final = 768  # of one process; metrics and labels have fewer names together
NUMBERS: Final = 16  # in a row

_NAME: Final = 128  # bytes: the name's length, then the name
_ROW: Final = _NAME + NUMBERS * 8
_BETWEEN: Final = "\x1f"  # the parts of a name

PROCESS_BYTES: Final = ROWS * _ROW  # of a process's part

Row: TypeAlias = "memoryview[float]"  # of `NUMBERS`
Name = tuple[str, ...]


class Board:
    """Rows of numbers by name: this process's own, and the sums over all processes' parts.

    `memory` has `PROCESS_BYTES` for each process, zeroes at first; `place` is this one's. A process that takes the place of one
    that has ended counts on from there, so that no sum ever falls.
    """

    def __init__(self, memory: Any = None, place: int = 0) -> None:  # anything with a writable buffer
        self._memory = memoryview(bytearray(PROCESS_BYTES) if memory is None else memory).cast("B")
        self._own = self._memory[place * PROCESS_BYTES : (place + 1) * PROCESS_BYTES]
        self._lock = Lock()
        self._known = dict(_rows(self._own))
        self._free = len(self._known)

    def row(self, *name: str) -> Row:
        """Give this process's row of a name, which lasts; only one thread at a time may write into it.

        Raises:
            OverflowError: there are too many names, or it is too long: labels that have no bound.
        """
        with self._lock:
            row = self._known.get(name)
            if row is None:
                row = self._known[name] = self._taken(name)
            return row

    def _taken(self, name: Name) -> Row:
        text, start = _BETWEEN.join(name).encode(), self._free * _ROW
        if self._free >= ROWS or len(text) >= _NAME:
            raise OverflowError(f"there is no room to count {name}")
        self._own[start + 1 : start + 1 + len(text)] = text
        self._own[start] = len(text)  # last, so that nobody reads half a name
        self._free += 1
        return self._own[start + _NAME : start + _ROW].cast("d")

    def sums(self, metric: str) -> Mapping[Name, list[float]]:
        """Give the rows whose names begin with this, by the rest of their names, summed over all processes."""
        found: dict[Name, list[float]] = {}
        for start in range(0, len(self._memory), PROCESS_BYTES):
            for (first, *rest), row in _rows(self._memory[start : start + PROCESS_BYTES]):
                if first == metric:
                    before = found.get(tuple(rest), [0.0] * NUMBERS)
                    found[tuple(rest)] = [one + more for one, more in zip(before, row, strict=True)]
        return found


def _rows(part: memoryview) -> Iterator[tuple[Name, Row]]:
    for start in range(0, PROCESS_BYTES, _ROW):
        length = part[start]
        if not length:
            return
        name = bytes(part[start + 1 : start + 1 + length]).decode()
        yield tuple(name.split(_BETWEEN)), part[start + _NAME : start + _ROW].cast("d")


class Sizes:
    """A histogram for each set of labels' values. `bounds` are the upper bounds of its buckets, rising."""

    def __init__(self, board: Board, name: str, what: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        self._board, self._name, self._what, self._labels = board, name, what, labels
        self._bounds = tuple(bounds)
        self._shown_bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        self._rows: dict[tuple[object, ...], Row] = {}

    def observe(self, values: tuple[object, ...], size: float) -> None:
        """Count one more; one thread at a time."""
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = self._board.row(self._name, *map(str, values))
        row[bisect_left(self._bounds, size)] += 1
        row[-1] += size

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Name the metric."""
        return [HistogramMetricFamily(self._name, self._what, labels=self._labels)]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was counted."""
        family = HistogramMetricFamily(self._name, self._what, labels=self._labels)
        nothing: dict[Name, list[float]] = {} if self._labels else {(): [0.0] * NUMBERS}
        for values, numbers in {**nothing, **self._board.sums(self._name)}.items():
            counts = accumulate(numbers[: len(self._shown_bounds)])
            family.add_metric(values, list(zip(self._shown_bounds, counts, strict=True)), numbers[-1])
        yield family


class Counts:
    """A counter for each of a fixed set of labels; what is none of them counts as `others`, which is one."""

    def __init__(self, board: Board, name: str, what: str, label: str, values: Iterable[str], others: str) -> None:
        self._board, self._name, self._what, self._label, self._others = board, name, what, label, others
        self._rows = {value: board.row(name, value) for value in (*values, others)}

    def count(self, value: str) -> None:
        """Count one more; one thread at a time."""
        self._rows[value if value in self._rows else self._others][0] += 1

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Name the metric."""
        return [CounterMetricFamily(self._name, self._what, labels=(self._label,))]

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give what was counted."""
        family = CounterMetricFamily(self._name, self._what, labels=(self._label,))
        for (value,), numbers in self._board.sums(self._name).items():
            family.add_metric((value,), numbers[0])
        yield family
