"""`seatkeeper demo` tells its story to the end, and leaves nothing behind."""

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.support.servers import BIN, clean_environment, seatkeeper

STEPS = [
    "server-starts",
    "seats-are-sold",
    "three-work",
    "fourth-is-refused",
    "holder-dies",
    "fourth-gets-in",
    "server-dies",
    "seats-are-returned",
    "all-fits",
    "end",
]


def test_every_step_comes_about_as_told(tmp_path: Path) -> None:
    """It ends by itself with exit code 0, every step is ok, and the temporary directory is gone."""
    done = seatkeeper("demo", "--json", TMPDIR=str(tmp_path))
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, "")
    assert [step["step"] for step in told] == STEPS
    assert all(step["ok"] for step in told)
    assert told[3]["data"]["exitCode"] == 75
    assert len(told[3]["data"]["holders"]) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_start_ends_the_story(tmp_path: Path) -> None:
    """A step that does not come about is told as such, and the exit code is 1."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = seatkeeper("demo", "--json", "--port", str(taken.getsockname()[1]), TMPDIR=str(tmp_path))
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 1
    assert [(step["step"], step["ok"]) for step in told] == [("server-starts", False), ("end", False)]


def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C ends every process it started, and removes the temporary directory."""
    command = [BIN / "seatkeeper", "demo", "--json"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment(TMPDIR=str(tmp_path)), text=True)
    with demo:
        assert demo.stdout is not None
        told = [json.loads(demo.stdout.readline()) for _ in range(3)]  # by now a server and three programs run
        demo.send_signal(signal.SIGINT)
        code = demo.wait(30)

    assert code == 130
    assert not is_running(told[0]["data"]["pid"])
    assert list(tmp_path.iterdir()) == []


def is_running(pid: int) -> bool:
    """Tell whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
