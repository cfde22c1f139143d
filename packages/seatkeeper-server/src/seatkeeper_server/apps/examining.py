"""What `seatkeeper doctor` looks at in a database: how it stands, what was seen, and what to do about it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seatkeeper_server.store import health

OK, WARNING, FAILED = "ok", "warning", "failed"

LITTLE_SPACE: Final = 1 << 30  # bytes; below, a warning
NO_SPACE: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, how it stands, what was seen, and what to do if it isn't well."""

    subject: str
    state: str
    seen: str
    todo: str = ""


def of_sqlite(path: Path) -> Iterator[Finding]:
    """Examine a SQLite file and the disk it lies on.

    Raises:
        StorageUnavailable: it can't be read at all.
    """
    found = health.examine(path)
    yield Finding("schema", OK, f"{found.schema} of {found.schema_known}")
    if found.damage:
        yield Finding(
            "integrity",
            FAILED,
            "; ".join(found.damage[:3]),
            "stop the server and restore the newest backup (seatkeeper restore)",
        )
    else:
        yield Finding("integrity", OK, "every page and index is sound")
    durable = f"journal {found.journal_mode}, synchronous {found.synchronous}"
    if found.is_durable:
        yield Finding("durability", OK, durable)
    else:
        yield Finding("durability", FAILED, durable, "WAL needs a local disk: move the data off the network file system")
    yield _space(path.parent)


def _space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    seen = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_SPACE:
        return Finding("disk", FAILED, seen, "make room: a full disk refuses every seat (storage.full)")
    if free < LITTLE_SPACE:
        return Finding("disk", WARNING, seen, "make room before it is full")
    return Finding("disk", OK, seen)
