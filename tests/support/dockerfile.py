"""Reading a Dockerfile and a .dockerignore: as much of them as ours use, and an error at anything else.

for stage in stages(text):
    for step in stage.steps: ...      # Step("RUN", "pip install …")
"""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

WORDS = frozenset(
    "ARG FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Step:
    """One instruction."""

    word: str
    text: str

    @property
    def listed(self) -> list[str]:
        """Its words, where it is written as a list, as ENTRYPOINT is."""
        return list(json.loads(self.text[self.text.index("[") :]))


@dataclass(frozen=True)
class Stage:
    """What is made from one base."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def last(self, word: str) -> Step:
        """Give the instruction of a word that counts."""
        return [step for step in self.steps if step.word == word][-1]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        told = " ".join(step.text for step in self.steps if step.word == "ENV")
        return dict(pair.split("=", 1) for pair in told.split())


def stages(text: str) -> list[Stage]:
    """Take a Dockerfile apart."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    steps = [Step(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]
    assert {step.word for step in steps} <= WORDS
    arguments = dict(step.text.split("=", 1) for step in steps if step.word == "ARG")
    starts = [at for at, step in enumerate(steps) if step.word == "FROM"]
    return [_stage(steps[start:end], arguments) for start, end in zip(starts, [*starts[1:], len(steps)], strict=True)]


def _stage(steps: list[Step], arguments: dict[str, str]) -> Stage:
    base, _, name = steps[0].text.partition(" AS ")
    return Stage(re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base), name, tuple(steps[1:]))


def is_ignored(path: str, patterns: str) -> bool:
    """Tell whether a .dockerignore keeps a file out of the build: the last line that matches counts."""
    ignored = False
    for line in patterns.splitlines():
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#") and _matches(path, pattern):
            ignored = not line.startswith("!")
    return ignored


def _matches(path: str, pattern: str) -> bool:
    """Tell whether a pattern names a path or a folder it lies in."""
    pure = PurePosixPath(path)
    above = [str(folder) for folder in (pure, *pure.parents) if str(folder) != "."]
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in pure.parts)
    return any(fnmatch(folder, pattern) and folder.count("/") == pattern.count("/") for folder in above)
