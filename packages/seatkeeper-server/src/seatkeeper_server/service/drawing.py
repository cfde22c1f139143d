"""Chance as text: ids, nonces and numbers of refusals are drawn by the thousand and handed out one by one."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from seatkeeper.protocol.codes import ALPHABET

CHARACTERS: Final = 22  # of base64url, six random bits each: 132 bits, as many as an id shows (`protocol/ids.py`)
DRAWN_AT_ONCE: Final = 256

_PART: Final = 33  # bytes that make two texts exactly
_TWO: Final = [low + high for high in ALPHABET for low in ALPHABET]  # ten bits as two characters


class Drawing:
    """Draws texts and short ids, for one thread. `random(count)` gives random bytes."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._texts: list[str] = []

    def text(self) -> str:
        """Give 22 random URL-safe characters."""
        if not self._texts:
            drawn = urlsafe_b64encode(self._random(_PART * DRAWN_AT_ONCE // 2)).decode("ascii")
            self._texts = [drawn[at : at + CHARACTERS] for at in range(0, len(drawn), CHARACTERS)]
        return self._texts.pop()

    def denial_id(self) -> str:
        """Give a short id by which a refusal can be quoted."""
        number = int.from_bytes(self._random(4), "big")
        return f"D-{_TWO[number & 1023]}{_TWO[number >> 10 & 1023]}{_TWO[number >> 20 & 1023]}"
