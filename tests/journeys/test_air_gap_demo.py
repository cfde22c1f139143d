"""`seatkeeper demo --air-gap` tells its story to the end, with closed networks and without, and leaves nothing behind."""

import json
from pathlib import Path

from tests.support.namespaces import are_allowed
from tests.support.servers import seatkeeper

STEPS = [
    "servers-start",
    "seats-are-sold",
    "sites-are-licensed",
    "shares-are-lent",
    "all-work",
    "next-is-refused",
    "report-is-carried",
    "share-moves",
    "all-fits",
    "end",
]


def test_every_step_comes_about_as_told(tmp_path: Path) -> None:
    """Exit code 0, every step is ok, the seats are split 5, 30 and 15, and nothing is left."""
    done = seatkeeper("demo", "--air-gap", "--json", timeout=100, TMPDIR=str(tmp_path))
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, ""), told[-2:]
    assert [step["step"] for step in told] == STEPS
    assert all(step["ok"] for step in told)
    assert told[0]["data"]["closedNetworks"] is are_allowed("--net")
    assert told[4]["data"]["held"] == {"cloud": 5, "lab-1": 30, "lab-2": 15}
    assert list(tmp_path.iterdir()) == []
