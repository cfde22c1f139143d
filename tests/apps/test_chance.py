"""Random bytes in gulps."""

import os

from seatkeeper_server.apps import chance
from seatkeeper_server.apps.chance import GULP, Chance


def test_it_gives_as_many_bytes_as_asked_for():
    """Across the end of a gulp and beyond the size of one."""
    draw = Chance()

    assert [len(draw(count)) for count in (16, GULP - 8, 16, 3 * GULP, 0)] == [16, GULP - 8, 16, 3 * GULP, 0]


def test_no_byte_is_given_out_twice(monkeypatch):
    """What was drawn is used once; what is too short for a request is thrown away."""
    number = iter(range(1_000_000))
    monkeypatch.setattr(
        chance.os, "urandom", lambda count: b"".join(next(number).to_bytes(4, "big") for _ in range(count // 4))
    )
    draw = Chance()
    given = [draw(16) for _ in range(2_000)]

    assert len({word[at : at + 4] for word in given for at in range(0, 16, 4)}) == 8_000


def test_the_system_is_asked_seldom(monkeypatch):
    """One system call serves hundreds of draws."""
    asked = []
    system = os.urandom
    monkeypatch.setattr(chance.os, "urandom", lambda count: asked.append(count) or system(count))
    draw = Chance()
    for _ in range(GULP // 16):
        draw(16)

    assert asked == [GULP]
