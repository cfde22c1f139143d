"""Talks: how the client's logic speaks to the world without touching it.

A talk is a generator that yields what is to be sent (`Outgoing`) or how long to pause (`Pause`), is handed the reply or has
`Unreachable` thrown into it, and returns its result. A blocking and an asyncio driver run the same talks. `Runtime` is the
rest of the world: time and chance.
"""

import secrets
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final, TypeVar

from seatkeeper import _clock
from seatkeeper._clock import Instant
from seatkeeper._wire import Outgoing, Reply

PATIENT: Final = 10.0  # seconds for connecting, and again for an answer
BRISK: Final = 3.0  # seconds, when giving back: a program that ends must not hang


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for this many seconds, then go on with the talk."""

    seconds: float


Result = TypeVar("Result")
Talk = Generator[Outgoing | Pause, Reply | None, Result]


def _fresh_nonce() -> str:
    return secrets.token_urlsafe(18)


@dataclass(frozen=True)
class Runtime:
    """Time and chance, the only things the client takes from the world; tests hand in their own."""

    now: Callable[[], Instant] = _clock.now
    draw: Callable[[], float] = field(default_factory=lambda: SystemRandom().random)
    nonce: Callable[[], str] = _fresh_nonce
