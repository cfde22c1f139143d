"""Make the wire vectors under `tests/vectors/`: the same bytes every time, from fixed test keys.

Run as `python -m scripts.make_vectors` in the repository's root, after a case was added under `scripts/wire_vectors/`.
`tests/protocol/test_vectors.py` fails when the files and the cases differ, or when the production code disagrees with an
expected result. Expected results are written by hand there, never taken from what the code happens to do.
"""

import argparse
from json import dumps
from pathlib import Path
from typing import Any

from scripts.wire_vectors import activation_codes, answers, certificates, leases, requests, tree_leases, world

from seatkeeper.protocol.text import UNSHOWN

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"

_WARNING = "Test keys: their seeds are public. Never pin or use them."


def main() -> None:
    """Write all vector files to the folder named by `--to`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=VECTORS, help="folder to write to (default: %(default)s)")
    folder: Path = parser.parse_args().to
    for name, content in vectors().items():
        (folder / name).write_text(as_text(content), encoding="utf-8", newline="\n")


def as_text(content: dict[str, Any]) -> str:
    """Give a file's text: letters as they are, what an editor would not show as JSON's escapes."""
    lines = dumps(content, ensure_ascii=False, indent=1).split("\n")
    return "".join(UNSHOWN.sub(lambda found: dumps(found[0])[1:-1], line) + "\n" for line in lines)


def vectors() -> dict[str, dict[str, Any]]:
    """Give every vector file's name and content."""
    return {
        "leases.json": {"warning": _WARNING, "testKeys": world.test_keys(), "cases": leases.cases()},
        "tree_leases.json": {"warning": _WARNING, "testKeys": world.test_keys(), "cases": tree_leases.cases()},
        "certificates.json": {"warning": _WARNING, "testKeys": world.test_keys(), "cases": certificates.cases()},
        "activation_codes.json": {"cases": activation_codes.cases()},
        "requests.json": {"cases": requests.cases()},
        "answers.json": {"cases": answers.cases()},
    }


if __name__ == "__main__":
    main()
