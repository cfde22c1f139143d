"""Text that may be shown: what may stand in a name, and how foreign text is printed."""

import re
import sys
import unicodedata

import pytest

from seatkeeper.protocol.text import PRINTABLE, visible

HIDDEN = {"Cc", "Cf", "Zl", "Zp"}  # controls, formats, separators of lines and paragraphs
NOT_ASSIGNED = "Cn"
SURROGATE = "Cs"


def test_no_name_has_a_character_that_is_obeyed_or_unseen():
    """Refused is every control, format and separating character, and nothing that can be seen."""
    wrong = [
        f"U+{number:04X}"
        for number in range(sys.maxunicode + 1)
        if (category := unicodedata.category(chr(number))) not in {NOT_ASSIGNED, SURROGATE}
        and (re.search(PRINTABLE, chr(number)) is None) is not (category in HIDDEN)
    ]

    assert wrong == []


@pytest.mark.parametrize("name", ["ada\n", "\x1b[2J", "a\u009b2J", "ada\u202e", "a\u2028b"])
def test_one_is_enough_wherever_it_stands(name):
    """At the end as well: in Python `$` alone would let a last newline pass."""
    assert re.search(PRINTABLE, name) is None


@pytest.mark.parametrize("name", ["", "ada@node7/0", "Åsa Öberg", "山田@端末", "عمر", "a b", "🪑"])
def test_what_people_are_called_is_printable(name):
    """Letters of every script, blanks and signs."""
    assert re.search(PRINTABLE, name) is not None
    assert visible(name) == name


def test_foreign_text_is_shown_escaped():
    """A terminal is not told what to do by a name, and a line stays one line."""
    shown = visible("a\x1b[2Jb\u009b1mc\u202ed\ne\ud800f\U000e0001g")

    assert shown == r"a\x1b[2Jb\x9b1mc\u202ed\ne\ud800f\U000e0001g"
