"""A newcomer's shell: an empty folder, a home of his own, our commands on the path, a port that nobody else has."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.servers import clean_environment

Finished = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Runs scripts as they stand, one after the other, in one folder; servers they leave behind end with the test."""

    folder: Path
    environment: dict[str, str]
    _leaders: list[int] = field(default_factory=list)

    def run(self, script: str, **more: str) -> Finished:
        """Run a script to its end; what it left in the background goes on."""
        out, err = self.folder / "shell.out", self.folder / "shell.err"
        with out.open("w") as stdout, err.open("w") as stderr:  # a pipe would wait for the background, too
            process = subprocess.Popen(
                ["sh", "-eu"],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                text=True,
                cwd=self.folder,
                env={**self.environment, **more},
                start_new_session=True,
            )
            self._leaders.append(process.pid)
            process.communicate(script, timeout=60)
        return Finished(script, process.returncode, out.read_text(), err.read_text())

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder; a script may be run."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def end(self) -> None:
        """End what scripts left in the background."""
        for leader in self._leaders:
            try:
                os.killpg(leader, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Give a newcomer's shell. The port of the pages, 6500, may be taken on this machine; two variables move it."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    port = str(free_port())
    shell = Shell(
        folder,
        clean_environment(
            HOME=str(home),
            XDG_DATA_HOME=str(home / "data"),
            XDG_CONFIG_HOME=str(home / "config"),
            XDG_STATE_HOME=str(home / "state"),
            USER="ada",
            LOGNAME="ada",
            SEATKEEPER_PORT=port,
            SEATKEEPER_SERVER=f"http://127.0.0.1:{port}",
        ),
    )
    try:
        yield shell
    finally:
        shell.end()


def free_port() -> int:
    """Give a port that is free just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
