r"""Text that may be shown: what a name, a seat id or a feature's key may not contain, and how foreign text is printed.

A terminal obeys control characters, and format characters make one text look like another. So what names anything contains
neither them nor line separators (Unicode's categories Cc, Cf, Zl, Zp). Whoever prints escapes them all the same: what is shown
may have come from a file, from a server that is not ours, or from before this rule.

>>> visible("ada\x1b[2J")
'ada\\x1b[2J'
"""

import re

# Ranges rather than categories, since patterns know no categories. Those in use up to Unicode 17; 2065 is not assigned yet.
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0001\U000e0020-\U000e007f"
)

PRINTABLE = rf"^[^{_HIDDEN}]*$(?!\n)"  # in Python `$` alone would let a last newline pass

UNSHOWN = re.compile(rf"[{_HIDDEN}\ud800-\udfff]")  # half a surrogate pair can't be written at all


def visible(text: str) -> str:
    """Give a text for one line on a terminal: what would not be seen, or be obeyed, as an escape."""
    return UNSHOWN.sub(lambda found: ascii(found[0])[1:-1], text)
