"""Prints the part of requirements.lock that something needs: an image and a bundle hold no test tools.

    python scripts/lock_part.py packages/seatkeeper-server    # a folder with a pyproject.toml: what that depends on
    python scripts/lock_part.py hatchling                     # a package of the lock, with what it needs

Who needs whom stands in the lock itself (`# via …`). Needs nothing but Python, since an image is built from it.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Pinned:
    """A package of the lock: its lines, with hashes, and who needs it."""

    name: str
    text: str
    via: frozenset[str]


def part(lock: str, roots: Iterable[str]) -> str:
    """Give the entries that these roots need, as they stand in the lock, in its order.

    Raises:
        KeyError: a root is not in the lock.
    """
    pinned = read(lock)
    needed = set(roots)
    if missing := needed - {one.name for one in pinned}:
        raise KeyError(f"not in requirements.lock: {', '.join(sorted(missing))}; add it to requirements.in, then make lock")
    while more := {one.name for one in pinned if one.via & needed} - needed:
        needed |= more
    return "".join(one.text for one in pinned if one.name in needed)


def read(lock: str) -> list[Pinned]:
    """Take a lock apart into its entries; a package may have several, for different versions of Python."""
    entries = re.findall(r"^[A-Za-z0-9].*\n(?:[ \t]+.*\n)*", lock, re.MULTILINE)
    return [Pinned(_name(entry), entry, _via(entry)) for entry in entries]


def roots_of(wanted: Iterable[str]) -> set[str]:
    """Give the names that are wanted: a folder stands for what its pyproject.toml depends on but for our own."""
    names, projects = set[str](), set[str]()
    for one in wanted:
        if (project := Path(one) / "pyproject.toml").exists():
            told = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
            projects.add(_name(told["name"]))
            names |= {_name(dependency) for dependency in told["dependencies"]}
        else:
            names.add(_name(one))
    return names - projects


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    if found is None:
        raise ValueError(f"not the name of a package: {requirement}")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _via(entry: str) -> frozenset[str]:
    notes = re.findall(r"^ +#(?: +via)?(?: +(\S.*))?$", entry, re.MULTILINE)
    return frozenset(_name(note) for note in notes if note and not note.startswith("-r "))


if __name__ == "__main__":
    sys.stdout.write(part(LOCK.read_text(encoding="utf-8"), roots_of(sys.argv[1:])))
