"""One server per data directory: a lock file says so, and the operating system lets go of it when the server dies."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType

LOCK_FILE = "server.lock"
LOOKS = 10  # times a server tries, since somebody may only be looking whether there is one (`is_served`)
BETWEEN_LOOKS = 0.03  # seconds


class DirectoryInUse(Exception):
    """Another server is serving this data directory. Stop it first, or choose another directory with --data."""


class DirectoryLock:
    """Holds a data directory for one server, as a context manager; the file names the process that holds it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        self._file = -1

    def __enter__(self) -> "DirectoryLock":
        """Take the directory.

        Raises:
            DirectoryInUse: another process has it.
        """
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not self._taken():
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
            os.close(self._file)
            who = f" (process {holder})" if holder else ""
            raise DirectoryInUse(
                f"{self._path.parent} is being served by another server{who}. Stop it, or choose another directory with --data."
            )
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode("ascii"))
        return self

    def _taken(self) -> bool:
        for _ in range(LOOKS):
            if _try_lock(self._file):
                return True
            time.sleep(BETWEEN_LOOKS)
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the directory."""
        os.close(self._file)


def is_served(directory: Path) -> bool:
    """Tell whether a server has the directory now. There is no way to look but to take the lock for an instant."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the text, which stays readable
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
