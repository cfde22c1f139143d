"""The stores to test on, by name."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from seatkeeper_server.store.sqlite import SqliteStore

from .house import AnyStore
from .postgres import Clusters, HandTimedStore, servers

ONE_OF_EACH = ["disk", *sorted(servers())[:1]]
ALL = ["memory", "disk", *sorted(servers())]


@contextmanager
def opened(name: str, directory: Path, clusters: Clusters) -> Iterator[AnyStore]:
    """Open a new store, in which time is moved by hand."""
    if name in ("memory", "disk"):
        with closing(SqliteStore(None if name == "memory" else directory / "seatkeeper.db")) as store:
            yield store
        return
    with clusters[name].lent() as uri, closing(HandTimedStore(uri)) as store:
        yield store
