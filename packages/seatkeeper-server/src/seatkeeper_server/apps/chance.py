"""Random bytes, drawn from the operating system in gulps.

A system call for every nonce and id would let go of the interpreter each time, and under load the desk would have to wait to
get it back: three times a request. What is drawn is given out once; it is as random as the system's.
"""

import os

GULP = 8192  # bytes


class Chance:
    """Draws random bytes, for one thread."""

    def __init__(self) -> None:
        self._drawn = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        """Give so many random bytes."""
        if self._used + count > len(self._drawn):
            self._drawn, self._used = os.urandom(max(GULP, count)), 0
        self._used += count
        return self._drawn[self._used - count : self._used]
