"""The programs of the model: each has a seat id, storage that outlives it, and a belief.

A program believes in its seat from the sending of the attempt that got the lease until `exp` − `iat` later, by its own clock.
It has one call on its way at a time, stores nonce and exact body before sending, repeats exactly that until it is
answered, and shows the last lease it got. A *sly* one reads the current nonce before each refresh and sends the same body
every time: that is how a copy would try to stay unnoticed.
"""

import dataclasses
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from seatkeeper_server.domain.requests import ShownLease
from tests.model.messages import Answer, Message
from tests.model.servers import Broken, at

if TYPE_CHECKING:
    from tests.model.world import World

PATIENCE = 3.0  # seconds until a call is sent again
REFRESH_EVERY = 4.0


@dataclass
class Storage:
    """What outlives a process: token, nonce and the last lease."""

    activation: str | None = None
    generation: int | None = None
    nonce: str | None = None
    last: ShownLease | None = None


@dataclass
class Program:
    """One process that runs the application."""

    world: "World"
    number: int
    family: int
    name: str
    sly: bool = False
    storage: Storage = field(default_factory=Storage)
    alive: bool = True
    phase: str = "wanting"  # wanting, holding, leaving, idle, over
    due: float = 0.0
    pending: Message | None = None
    sent_at: float = 0.0
    believes_until: float = 0.0
    lost: bool = False  # believes in a lease that the restored database has never heard of
    content_at: float = 0.0  # when it last was anything but wanting
    refreshes: int = 0
    found_out: bool = False

    @property
    def chance(self) -> Random:
        """The world's dice."""
        return self.world.chance

    def tick(self) -> None:
        """Do what is due."""
        if self.pending is not None:
            if self.world.now - self.sent_at >= PATIENCE:
                self._send(self.pending)
        elif self.world.now >= self.due and self.phase not in ("idle", "over"):
            self._next_call()

    def _next_call(self) -> None:
        if self.phase == "wanting":
            self._call("activate")
        elif self.phase == "leaving" or (self.chance.random() < 0.06 and not self.world.calm):
            self.phase, self.believes_until = "leaving", 0.0
            self._call("return")
        elif self.sly:
            self._call("read")
        else:
            draws = self.world.with_nonces and not self.world.calm
            self._call("draw" if draws and self.chance.random() < 0.2 else "refresh")

    def _call(self, verb: str) -> None:
        call = self.world.fresh(verb)
        body = None if self.sly and verb == "refresh" else call
        kept = self.storage
        message = Message(
            program=self.number,
            attempt=0,
            call=call,
            verb=verb,
            name=self.name,
            activation=kept.activation,
            generation=kept.generation,
            nonce=kept.nonce if verb != "activate" and self.world.with_nonces else None,
            body=body,
            shown=kept.last if verb in ("activate", "refresh") else None,
        )
        self._send(message)

    def _send(self, message: Message) -> None:
        self.pending = replace(message, attempt=self.world.count("attempt"))
        self.sent_at = self.world.now
        self.world.network.send(self.pending, self.world.now)

    # --- answers ---

    def hear(self, answer: Answer) -> None:
        """Take an answer to the attempt that is on its way; any other was given up."""
        asked = self.pending
        if asked is None or asked.attempt != answer.attempt:
            return
        self.pending = None
        if asked.verb == "return":
            self._left()
        elif answer.problem:
            self._refused(answer.problem)
        elif asked.verb == "read":
            self.storage.nonce = answer.nonce
            self._call("refresh")
        else:
            self._granted(asked, answer)

    def _granted(self, asked: Message, answer: Answer) -> None:
        kept = self.storage
        kept.activation, kept.generation, kept.nonce = answer.activation, answer.generation, answer.nonce
        self.due = self.world.now + (1.0 if asked.verb == "draw" else REFRESH_EVERY)
        if kept.last is None or answer.sequence > kept.last.sequence:
            self._believe(asked, answer)
        elif asked.shown is not None and answer.history >= self.world.restores:
            raise Broken(f"at {self.world.now:.1f}: {self.name} got lease {answer.sequence} after {kept.last.sequence}")

    def _believe(self, asked: Message, answer: Answer) -> None:
        """Believe in a lease from the sending of the attempt that got it; an older one than the last proves nothing."""
        self.storage.last = ShownLease(answer.sequence, answer.generation, {}, at(answer.ends), answer.activation)
        self.believes_until = self.sent_at + answer.ends - answer.issued
        self.lost = answer.history < self.world.restores
        self.phase = "holding"
        self.refreshes += asked.verb == "refresh"

    def _refused(self, problem: str) -> None:
        """Ask again for a seat; a program that is told to stop may still believe until its lease has ended."""
        self.found_out = self.found_out or (self.phase == "holding" and problem in ("nonce.stale", "seat.takenOver"))
        self.phase = "over" if problem == "seat.takenOver" else "wanting"
        self.due = self.world.now + self.chance.uniform(1, 4)

    def _left(self) -> None:
        self.storage = Storage(last=self.storage.last)
        self.phase = "idle"

    # --- life and death ---

    def crash(self) -> None:
        """End without a word; what was stored stays."""
        self.alive, self.pending, self.believes_until = False, None, 0.0

    def begin_again(self, *, with_storage: bool) -> None:
        """Start as a new process of the same program."""
        if not with_storage:
            self.storage = Storage()
        self.alive, self.phase, self.due, self.lost = True, "wanting", self.world.now, False
        self.refreshes, self.found_out = 0, False

    def copy(self, number: int) -> "Program":
        """Give a clone, as a snapshot of its machine makes one: memory, storage and all."""
        return dataclasses.replace(
            self, number=number, storage=dataclasses.replace(self.storage), refreshes=0, found_out=False, pending=None
        )
