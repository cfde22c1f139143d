"""Closed networks on one machine, for `seatkeeper demo --air-gap`: what runs in one reaches nothing outside it.

Each is a network namespace of Linux's, which ends with the process that holds it. Where we may not make any (another system, a
container without the right), what would run in them runs side by side, and the story says so.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

HOLD: Final = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
print("made", flush=True)
sys.stdin.read()
"""
WAYS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (  # how one is made, and how one enters it
    (("unshare", "--net"), ("--net",)),
    (("unshare", "--net", "--map-root-user"), ("--net", "--user", "--preserve-credentials")),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A network to run commands in; without a holder it is this machine's own."""

    holder: int | None = None
    kinds: Sequence[str] = ()

    @property
    def is_closed(self) -> bool:
        """Whether nothing outside can be reached from it."""
        return self.holder is not None

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Give a command as it is run in there."""
        if self.holder is None:
            return list(arguments)
        return ["nsenter", f"--target={self.holder}", *self.kinds, "--", *arguments]

    def reaches(self, port: int) -> bool:
        """Tell whether a server on a port of this machine's loopback can be reached from in there."""
        ask = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2).close()"
        command = self.command([sys.executable, "-c", ask])
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0  # noqa: S603  our own commands


@contextmanager
def closed_network() -> Iterator[Network]:
    """Have a closed network, or this machine's own if none can be made."""
    for made, entered in WAYS:
        try:
            holder = subprocess.Popen(  # noqa: S603  our own commands
                [*made, sys.executable, "-c", HOLD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        except OSError:
            continue
        with holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            network = Network(holder.pid, entered)
            if holder.stdout.readline() == "made\n" and _can_enter(network):
                yield network
                holder.stdin.close()
                return
            holder.stdin.close()
    yield Network()


def _can_enter(network: Network) -> bool:
    try:
        return subprocess.run(network.command(["true"]), capture_output=True, timeout=10).returncode == 0  # noqa: S603
    except OSError:
        return False
