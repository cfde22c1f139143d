"""One server per data directory: a lock file says so, and the operating system lets go of it when the server dies."""

import os
import sys
from pathlib import Path
from types import TracebackType

LOCK_FILE = "server.lock"


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
        if not _try_lock(self._file):
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
            os.close(self._file)
            who = f" (process {holder})" if holder else ""
            raise DirectoryInUse(
                f"{self._path.parent} is being served by another server{who}. Stop it, or choose another directory with --data."
            )
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode("ascii"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the directory."""
        os.close(self._file)


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
