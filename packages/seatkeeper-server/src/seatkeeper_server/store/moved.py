"""The mark that a data directory was moved to another database, so that nobody serves both.

It lies beside the database as `moved.json` and says where to and when. It is written in two steps, around the commit on the
other side: `moving` before it, `moved` after it. A directory that says `moving` may or may not have been moved: who asked for
it finds out by asking again (`seatkeeper migrate`), and until then nobody serves it either.
"""

import os
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from msgspec import DecodeError, Struct, ValidationError, json

from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.store import files

MARK = "moved.json"


class DirectoryMoved(Exception):
    """The data were moved to another database. Serve that one."""


class State(StrEnum):
    """How far the move has come."""

    MOVING = "moving"
    MOVED = "moved"


class Mark(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the data of a directory went, and which history they are. `to` holds no password."""

    state: State
    to: str
    at: datetime
    database_id: str
    epoch: int


def mark_of(directory: Path) -> Mark | None:
    """Give the mark of a directory, None if it was not moved.

    Raises:
        StorageUnavailable: there is one that can't be read.
    """
    path = directory / MARK
    try:
        with files.told(path):
            return json.decode(path.read_bytes(), type=Mark) if path.exists() else None
    except (DecodeError, ValidationError) as error:
        raise StorageUnavailable(f"{path} can't be read ({error}): was this directory moved?") from error


def set_mark(directory: Path, mark: Mark) -> None:
    """Mark a directory, durably.

    Raises:
        StorageFull, StorageUnavailable: it is not marked.
    """
    path = directory / MARK
    beside = path.with_suffix(".new")
    try:
        with files.told(path):
            beside.write_bytes(json.format(json.encode(mark)) + b"\n")
        files.put(beside, path, over=True)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def take_mark_off(directory: Path) -> None:
    """Take the mark off a directory: it turned out that nothing was moved."""
    path = directory / MARK
    with files.told(path):
        path.unlink(missing_ok=True)
        files.sync(directory)


def refuse(directory: str) -> None:
    """Refuse a directory that is marked. Costs a look at a name.

    Raises:
        DirectoryMoved: its data are in another database, or may be.
        StorageUnavailable: its mark can't be read.
    """
    if os.path.exists(os.path.join(directory, MARK)) and (mark := mark_of(Path(directory))) is not None:
        raise DirectoryMoved(_sentence(directory, mark))


def _sentence(directory: str, mark: Mark) -> str:
    if mark.state is State.MOVED:
        return (
            f"the data in {directory} were moved to {mark.to} on {mark.at:%Y-%m-%d %H:%M} UTC: name that database with"
            f" --database or SEATKEEPER_DATABASE (what lies here is a copy as of then; {MARK} says so)"
        )
    return (
        f"the data in {directory} were being moved to {mark.to} on {mark.at:%Y-%m-%d %H:%M} UTC, and it isn't known whether"
        " that was finished: ask once more with the same `seatkeeper migrate --to …`, which finds out and finishes it"
    )
