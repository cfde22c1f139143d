"""What programs and the server say to each other in the model, and the network that loses, delays and doubles it."""

from dataclasses import dataclass, field
from random import Random

from msgspec import Struct

from seatkeeper_server.domain.requests import ShownLease


class Message(Struct, frozen=True, kw_only=True):
    """One call of a program. `call` names the logical call, `attempt` this sending of it.

    `body` stands for the client's nonce in the body: None is a body that is the same every time.
    """

    program: int
    attempt: int
    call: str
    verb: str  # activate, refresh, draw, read, return
    name: str
    activation: str | None = None  # the token's: which life of which seat
    generation: int | None = None
    nonce: str | None = None
    body: str | None = None
    shown: ShownLease | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What the server answered to one attempt. `issued` and `ends` are the signed `iat` and `exp`."""

    program: int
    attempt: int
    problem: str = ""
    activation: str = ""
    generation: int = 0
    nonce: str = ""
    sequence: int = 0
    issued: float = 0
    ends: float = 0
    history: int = 0  # how often the database had been restored when this was signed


@dataclass
class Network:
    """Delivers most things soon, some late, some twice, some never."""

    chance: Random
    faulty: bool = True
    under_way: list[tuple[float, int, Message | Answer]] = field(default_factory=list)
    sent: int = 0

    def send(self, what: Message | Answer, now: float) -> None:
        """Put something on its way."""
        if not self.faulty:
            return self._deliver(what, now)
        if self.chance.random() < 0.12:
            return None
        late = self.chance.random() < 0.15
        self._deliver(what, now + (self.chance.uniform(1, 25) if late else self.chance.uniform(0, 0.5)))
        if self.chance.random() < 0.08:
            self._deliver(what, now + self.chance.uniform(0, 25))
        return None

    def _deliver(self, what: Message | Answer, when: float) -> None:
        self.sent += 1
        self.under_way.append((when, self.sent, what))

    def arrived(self, now: float) -> list[Message | Answer]:
        """Take what has arrived by now, in the order of arrival."""
        there = sorted((item for item in self.under_way if item[0] <= now), key=lambda item: item[:2])
        self.under_way = [item for item in self.under_way if item[0] > now]
        return [what for _, _, what in there]
