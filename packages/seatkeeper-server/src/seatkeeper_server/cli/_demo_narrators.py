"""How a demo is told: a line for each step for people, an object for each for programs.

A step does something, looks whether it came about, and gives its sentence. One that did not come about raises `NotAsTold`,
which ends the story.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import httpx2

from seatkeeper_server.cli._demo_stage import NotAsTold
from seatkeeper_server.cli._output import print_json

Stage = TypeVar("Stage")


@dataclass(frozen=True, slots=True)
class Told:
    """What a step has to say: a sentence for people, and the same as data."""

    text: str
    data: dict[str, object] = field(default_factory=dict)


Steps = Sequence[tuple[str, Callable[[Stage], Told]]]


def narrator_for(intro: str, *, json: bool) -> "Narrator":
    """Give the one who tells; people are told what it will be about."""
    return _ForPrograms() if json else _ForPeople(intro)


class Narrator:
    """Has the steps done one after the other and tells how each went; how it sounds is left to `tell` and `meanwhile`."""

    def story(self, steps: Steps[Stage], stage: Stage) -> bool:
        """Tell a story up to its end, or up to the first step that did not come about; tell whether all did."""
        return all(self._step(name, stage, act) for name, act in steps)

    def end(self, *, ok: bool, seconds: float, kept: str) -> None:
        """Tell how it went altogether."""
        verdict = "All as told" if ok else "NOT as told"
        self.tell("end", Told(f"{verdict}, in {seconds:.0f} s.{kept}"), ok=ok, seconds=seconds)

    def meanwhile(self, text: str) -> None:
        """Show what is being waited for."""

    def tell(self, name: str, told: Told, *, ok: bool, seconds: float) -> None:
        """Tell one step."""
        raise NotImplementedError

    def _step(self, name: str, stage: Stage, act: Callable[[Stage], Told]) -> bool:
        began = time.monotonic()
        self.meanwhile(name.replace("-", " "))
        try:
            told, ok = act(stage), True
        except (NotAsTold, OSError, subprocess.TimeoutExpired, httpx2.HTTPError) as error:
            told, ok = Told(f"{name}: {error}"), False
        self.tell(name, told, ok=ok, seconds=time.monotonic() - began)
        return ok


class _ForPeople(Narrator):
    """A line for each step; on a terminal also what is being waited for."""

    def __init__(self, intro: str) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)
        self._waiting = self._console.status("")
        self._console.print(intro, style="bold")

    def meanwhile(self, text: str) -> None:
        self._waiting.update(f"[dim]{text} …[/]")
        self._waiting.start()

    def tell(self, name: str, told: Told, *, ok: bool, seconds: float) -> None:
        from rich.text import Text

        self._waiting.stop()
        mark = Text("✓" if ok else "✗", style="green" if ok else "bold red")
        self._console.print(mark, Text(f"{seconds:4.1f} s", style="dim"), Text(told.text))


class _ForPrograms(Narrator):
    """An object for each step, on a line of its own."""

    def tell(self, name: str, told: Told, *, ok: bool, seconds: float) -> None:
        print_json({"step": name, "ok": ok, "seconds": round(seconds, 2), "text": told.text, "data": told.data}, line=True)
