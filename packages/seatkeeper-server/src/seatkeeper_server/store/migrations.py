"""The steps of the schema: files beside this one, each numbered, named, and for one database.

schema/0001_seats.sqlite.sql        step 1, `seats`, for SQLite
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType


class SchemaTooNew(Exception):
    """The data was written by a newer Seatkeeper. Upgrade this one, or point it at other data."""


@cache
def steps(database: str) -> Mapping[int, tuple[str, str]]:
    """Give the steps for a database (`sqlite`, `postgres`) by number: each its name and its script."""
    suffix = f".{database}.sql"
    found: dict[int, tuple[str, str]] = {}
    for file in (files(__package__) / "schema").iterdir():
        if file.name.endswith(suffix):
            number, _, name = file.name.removesuffix(suffix).partition("_")
            found[int(number)] = (name, file.read_text(encoding="utf-8"))
    return MappingProxyType(found)
