"""A corner of this machine with mounts, or a network, of its own; it is gone with the test. Needs root.

with own_namespace("--net") as corner:
    corner.run("ip", "link", "set", "lo", "up")
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Finished = subprocess.CompletedProcess[str]


@cache
def are_allowed(*kinds: str) -> bool:
    """Tell whether we may make namespaces of these kinds: --mount, --net."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None or os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", *kinds, "true"], capture_output=True).returncode == 0


@dataclass(frozen=True)
class Corner:
    """Namespaces that live as long as the process that holds them; without kinds it is this machine as it is."""

    pid: int
    kinds: tuple[str, ...]

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """Give a command as it is run in there."""
        if not self.kinds:
            return list(arguments)
        return ["nsenter", "--target", str(self.pid), *self.kinds, "--", *arguments]

    def run(self, *arguments: str | Path, timeout: float = 60, environment: Mapping[str, str] | None = None) -> Finished:
        """Run a command in there to its end."""
        return subprocess.run(self.command(*arguments), env=environment, capture_output=True, text=True, timeout=timeout)

    def must(self, *arguments: str | Path, timeout: float = 60, environment: Mapping[str, str] | None = None) -> str:
        """Run a command that must succeed, and give what it printed."""
        done = self.run(*arguments, timeout=timeout, environment=environment)
        assert done.returncode == 0, f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def own_namespace(*kinds: str) -> Iterator[Corner]:
    """Make namespaces of these kinds."""
    if not kinds:
        yield Corner(os.getpid(), ())
        return
    holder = subprocess.Popen(["unshare", *kinds, "sh", "-c", "echo made; exec sleep 3600"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "made\n"
        yield Corner(holder.pid, kinds)
    finally:
        holder.kill()
        holder.communicate()
