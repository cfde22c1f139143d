"""Files that are there whole or not at all: written beside, synced, then given their name, which is synced too."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seatkeeper_server.service.ports import StorageFull, StorageUnavailable


class AlreadyThere(Exception):
    """There is a file of that name, and it is not written over. Choose another name."""


def put(beside: Path, path: Path, *, over: bool = False) -> None:
    """Give a finished file, which lies on the same disk, its name; with `over` in place of what has that name.

    Raises:
        AlreadyThere: something has that name.
        StorageFull, StorageUnavailable: it can't be done; nothing has changed.
    """
    with told(path):
        sync(beside)
        if over:
            beside.replace(path)
        else:
            _take_name(beside, path)
        sync(path.parent)


def _take_name(beside: Path, path: Path) -> None:
    """Link, so that of two who want the name one gets it; where the file system knows no links, look first."""
    try:
        os.link(beside, path)
    except FileExistsError as error:
        raise AlreadyThere(f"{path} is there already") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise AlreadyThere(f"{path} is there already") from error
        beside.rename(path)
        return
    beside.unlink()


_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return  # Windows keeps names without being asked
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell trouble with a file in our own words.

    Raises:
        StorageFull, StorageUnavailable: instead of what the operating system says.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"{path}: {reason}") from error
        raise StorageUnavailable(f"{path}: {reason}") from error
