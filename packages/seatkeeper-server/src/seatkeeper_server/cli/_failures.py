"""How the command line ends when it fails: one sentence on standard error that says what to do, and an exit code.

0  done                                    2  the command was typed wrong
1  refused, not found, or a check failed   3  data or address can't be used: missing, newer, in use, full …
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

DONE = 0
REFUSED = 1
USAGE = 2
UNUSABLE = 3

EXIT_CODES = "Exit codes: 0 done; 1 refused, not found or a check failed; 2 typed wrong; 3 data or address can't be used."


class Mistyped(Exception):
    """An argument has a value that can't be. The message says how to write it."""


class Unusable(Exception):
    """The data directory can't be used. The message says why and what to do."""


@contextmanager
def wrong_values_told() -> Iterator[None]:
    """Turn the refusal of a value into a message about how the command was typed."""
    try:
        yield
    except ValueError as error:
        raise Mistyped(_first_line(error)) from error


def end_with(error: Exception) -> int:
    """Say on standard error what went wrong, and give the exit code. An error of the program itself is raised again."""
    code = _exit_code(error)
    if code is None:
        raise error
    _say_on_stderr(f"seatkeeper: {error}")
    return code


def _say_on_stderr(text: str) -> None:
    """Print what may name what others sent; imported late, as below."""
    from seatkeeper.protocol.text import visible

    for line in text.split("\n"):
        print(visible(line), file=sys.stderr)


def _exit_code(error: Exception) -> int | None:
    # Imported here, so that `seatkeeper --help` doesn't wait for the whole server.
    from seatkeeper_server.apps.serving import CannotServe
    from seatkeeper_server.sealing import SealKeyError
    from seatkeeper_server.service.catalogue import CannotDo
    from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
    from seatkeeper_server.store.archive import BackupUnusable
    from seatkeeper_server.store.copying import CannotCopy
    from seatkeeper_server.store.files import AlreadyThere
    from seatkeeper_server.store.locking import DirectoryInUse
    from seatkeeper_server.store.migrations import SchemaTooNew
    from seatkeeper_server.store.moved import DirectoryMoved

    match error:
        case CannotDo():
            return REFUSED
        case Mistyped():
            return USAGE
        case (
            Unusable()
            | CannotServe()
            | SealKeyError()
            | StorageFull()
            | StorageUnavailable()
            | SchemaTooNew()
            | DirectoryInUse()
            | DirectoryMoved()
            | BackupUnusable()
            | CannotCopy()
            | AlreadyThere()
        ):
            return UNUSABLE
        case _:
            return None


def _first_line(error: ValueError) -> str:
    """Give a reason in one line; pydantic's lists are cut to their first."""
    listed = getattr(error, "errors", None)
    if listed is None:
        return str(error)
    first = listed()[0]
    field = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    reason = str(first["msg"]).removeprefix("Value error, ").replace("Input should", "it has to")
    return f"--{field}: {reason}" if field else reason
