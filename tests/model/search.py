"""Searches the model for a history in which a rule is broken.

python -m tests.model.search --seeds 2000          look at so many histories
python -m tests.model.search --seed 17             tell the story of one
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.model.servers import Broken
from tests.model.world import World

Make = Callable[[int], World]


@dataclass(frozen=True)
class Found:
    """A history in which a rule was broken."""

    seed: int
    problem: str
    log: list[str]

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.problem}   (python -m tests.model.search --seed {self.seed})"


def story(seed: int, make: Make = World) -> Found | None:
    """Live through one history; what was broken in it, if anything was."""
    world = make(seed)
    try:
        world.run()
    except Broken as broken:
        return Found(seed, str(broken), world.log)
    return None


def first(seeds: Iterable[int], make: Make = World) -> Found | None:
    """Find the first history in which a rule was broken."""
    return next((found for seed in seeds if (found := story(seed, make)) is not None), None)


def main() -> int:
    """Search, or tell one story."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500, help="how many histories to look at")
    parser.add_argument("--seed", type=int, help="the one history to tell")
    args = parser.parse_args()
    if args.seed is None:
        found = first(range(args.seeds))
    else:
        world = World(args.seed)
        found = story(args.seed, lambda _: world)
        print("\n".join(world.log))
    print(found or "no rule was broken")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
