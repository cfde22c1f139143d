"""Reading the pages: their code blocks, their links, their headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def pages() -> list[Path]:
    """Give every page that is written for people."""
    return [README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    """Give the page's fenced blocks of a language."""
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == language]


def links(page: Path) -> Iterator[str]:
    """Give the targets of the page's links, outside code."""
    prose = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text()))
    yield from _LINK.findall(prose)


def anchors(page: Path) -> set[str]:
    """Give the names by which the page's headings are linked to."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(page.read_text())}
