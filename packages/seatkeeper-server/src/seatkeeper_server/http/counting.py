"""Counters for what happens at every request: plain lists and dictionaries, made into Prometheus' families when it asks.

Prometheus' own counters take a lock and look for the bucket one by one, which is half a microsecond at each request. Here one
thread counts, the event loop's; another may read meanwhile and see a request in one number and not yet in the next.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class Times:
    """A histogram of seconds for each pair of labels. `bounds` are the upper bounds of its buckets, rising."""

    def __init__(self, name: str, what: str, labels: tuple[str, str], bounds: Sequence[float]) -> None:
        self._name, self._what, self._labels = name, what, labels
        self._bounds = tuple(bounds)
        self._shown_bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        self._series: dict[tuple[str, int], _Series] = {}

    def observe(self, first: str, second: int, seconds: float) -> None:
        """Count one more."""
        series = self._series.get((first, second))
        if series is None:
            series = self._series[first, second] = _Series(len(self._shown_bounds))
        series.counts[bisect_left(self._bounds, seconds)] += 1
        series.seconds += seconds

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Name the metric."""
        return [HistogramMetricFamily(self._name, self._what, labels=self._labels)]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was counted."""
        family = HistogramMetricFamily(self._name, self._what, labels=self._labels)
        for (first, second), series in list(self._series.items()):
            buckets = list(zip(self._shown_bounds, accumulate(series.counts), strict=True))
            family.add_metric((first, str(second)), buckets, series.seconds)
        yield family


class _Series:
    __slots__ = ("counts", "seconds")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.seconds = 0.0


class Counts:
    """A counter for each of a fixed set of labels; what is none of them counts as `others`, which is one."""

    def __init__(self, name: str, what: str, label: str, values: Iterable[str], others: str) -> None:
        self._name, self._what, self._label, self._others = name, what, label, others
        self._counts = dict.fromkeys((*values, others), 0)

    def count(self, value: str) -> None:
        """Count one more."""
        self._counts[value if value in self._counts else self._others] += 1

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Name the metric."""
        return [CounterMetricFamily(self._name, self._what, labels=(self._label,))]

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give what was counted."""
        family = CounterMetricFamily(self._name, self._what, labels=(self._label,))
        for value, count in self._counts.items():
            family.add_metric((value,), count)
        yield family
