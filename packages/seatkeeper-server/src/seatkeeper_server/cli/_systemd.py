"""The machine's systemd as `seatkeeper service` sees it: a folder for unit files, and `systemctl`.

Under another root (`--root`, for images and tests) files are written and no command is run.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from seatkeeper_server.apps.unit import MADE_BY, Service
from seatkeeper_server.cli._failures import Unusable
from seatkeeper_server.store.files import put, told

UNITS = Path("/etc/systemd/system")
WANTED = UNITS / "multi-user.target.wants"


@dataclass(frozen=True, slots=True)
class Systemd:
    """systemd of the machine whose files lie under `root`; it runs if that is `/`."""

    root: Path = Path("/")

    @property
    def is_this_machine(self) -> bool:
        """Whether it is the one that runs here."""
        return self.root == Path("/")

    def check(self, command: str) -> None:
        """See that services can be changed here.

        Raises:
            Unusable: they can't; the message says what can be done instead.
        """
        if not self.is_this_machine:
            return
        if sys.platform != "linux" or shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
            raise Unusable(
                "systemd does not run this machine. `--print` shows the unit, `--root DIR` writes it into an image; in a"
                " container the server is the command itself (docs/howto/docker.md)"
            )
        if os.geteuid() != 0:
            raise Unusable(f"only root may do that: sudo {command}; `--print` shows the unit and needs nobody")

    def at(self, path: Path) -> Path:
        """Give where a path of that machine lies for us."""
        return self.root / path.relative_to("/")

    def unit_path(self, name: str) -> Path:
        """Give where a service's unit file lies for us."""
        return self.at(UNITS / f"{name}.service")

    def write(self, service: Service, *, force: bool) -> Path:
        """Write the unit file whole or not at all, in place of one that was made here.

        Raises:
            Unusable: there is one that somebody wrote by hand.
            StorageUnavailable: it can't be written.
        """
        path = self.unit_path(service.name)
        if path.exists() and not force and not path.read_text(encoding="utf-8").startswith(MADE_BY):
            raise Unusable(f"{path} was not made by `seatkeeper service install`; --force writes over it")
        with told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.new")
            beside.write_text(service.unit(), encoding="utf-8")
            beside.chmod(0o644)
        put(beside, path, over=True)
        return path

    def enable(self, name: str, *, start: bool) -> None:
        """Have the service started at every boot, and now.

        Raises:
            Unusable: systemd says no.
        """
        if not self.is_this_machine:
            link = self.at(WANTED / f"{name}.service")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(UNITS / f"{name}.service")
            return
        _systemctl("daemon-reload")
        _systemctl("enable", name)
        if start:
            _systemctl("restart", name)  # what was installed before may still run, with what it was told then

    def remove(self, name: str) -> bool:
        """Stop the service and forget it; tell whether there was one.

        Raises:
            Unusable: systemd says no.
        """
        path = self.unit_path(name)
        if not path.exists():
            return False
        if self.is_this_machine:
            _systemctl("disable", "--now", name)
        else:
            self.at(WANTED / f"{name}.service").unlink(missing_ok=True)
        with told(path):
            path.unlink()
        if self.is_this_machine:
            _systemctl("daemon-reload")
        return True


def _systemctl(*arguments: str) -> None:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607  (root's own path)
    if done.returncode != 0:
        raise Unusable(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
