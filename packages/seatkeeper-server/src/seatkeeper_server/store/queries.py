"""Finds SQL by its name. SQL lives in the files beside this one; each statement has a name and a sentence.

    -- pools: These pools, in one sorted order.
    SELECT …

Names are unique over the files of a store. Parameters are written `:name`; a driver that writes them otherwise gets the
statements translated, once.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

COMMON = (
    "common.sql",
    "catalogue.sql",
    "pruning.sql",
    "restoring.sql",
    "clients.sql",
    "deeds.sql",
    "sites.sql",
    "connections.sql",
    "usage.sql",
)  # the same on every database

_PARAMETER = re.compile(r"(?<!:):(?!:)([a-z_]+)")  # but for the casts of PostgreSQL, `::bigint`
_HEADER = re.compile(r"^-- (?P<name>[a-z_]+): (?P<sentence>\S.*)$", re.MULTILINE)


@cache
def load(*file_names: str) -> Mapping[str, str]:
    """Give the statements of these SQL files by name.

    Raises:
        ValueError: a name is used twice.
    """
    found: dict[str, str] = {}
    for file_name in file_names:
        for name, statement in _statements((files(__package__) / file_name).read_text(encoding="utf-8")):
            if name in found:
                raise ValueError(f"{file_name}: the query {name} is there twice")
            found[name] = statement
    return MappingProxyType(found)


@cache
def load_pyformat(*file_names: str) -> Mapping[str, str]:
    """Give the same with parameters written `%(name)s`."""
    statements = load(*file_names).items()
    return MappingProxyType({name: _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%")) for name, text in statements})


def _statements(text: str) -> list[tuple[str, str]]:
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--") or _HEADER.match(line))
    headers = list(_HEADER.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    return [(header["name"], text[header.end() : end].strip().rstrip(";")) for header, end in zip(headers, ends, strict=True)]
