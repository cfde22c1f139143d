"""What people typed, as it is said back to them: in quotes, and cut where it is long.

>>> quoted("nine lives")
"'nine lives'"
"""

MOST = 60  # characters; a longer value says nothing more of what is wrong with it


def quoted(text: str) -> str:
    """Give a value in quotes, the rest of a long one left out."""
    return repr(text) if len(text) <= MOST else f"{text[:MOST]!r}… ({len(text):,} characters)"
