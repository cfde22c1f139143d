"""The sealing key of a database: read or made, and seen to fit before anything is sealed or served with it.

Where several hosts work with one database, each needs the same key. One that made its own would sell what no other can serve.
"""

from collections.abc import Iterable
from pathlib import Path

from seatkeeper_server.keys import KeyRow, TenantKeys
from seatkeeper_server.sealing import SealKey, SealKeyError


def key_at(path: Path, name: str, *, is_new: bool) -> SealKey:
    """Give the sealing key in a file. It is made only for a new database, in which nothing was sealed: else it opens nothing.

    Raises:
        SealKeyError: it is missing, or isn't a key.
    """
    if not is_new and not path.exists():
        raise SealKeyError(
            f"{path} is missing, and the keys in {name} are sealed with it: put it back, or copy it from where it was made"
        )
    return SealKey.load_or_create(path)


def unopened(seal: SealKey, kept: Iterable[list[KeyRow]]) -> SealKeyError | None:
    """Give why a sealing key does not open these tenants' keys; None if it opens all of them."""
    for rows in kept:
        try:
            TenantKeys(rows, seal)
        except SealKeyError as error:
            return error
    return None
