"""Installs what it was unpacked with, side by side with other versions; `current` says which one is used.

    PREFIX/bin/seatkeeper        → ../current/bin/seatkeeper
    PREFIX/current               → versions/0.2.0, changed by one rename
    PREFIX/previous              → versions/0.1.0, what `rollback` goes back to
    PREFIX/versions/0.2.0/       a virtual environment, whole once bundle.json is in it

It runs on a machine without a network and with nothing but Python, so pip comes along as a wheel. Data are never written to:
before a switch the version that would be used is asked whether it can work with them (`seatkeeper schema`).
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = ("seatkeeper", "seat")
UNITS = Path("/etc/systemd/system")
DONE, REFUSED, UNUSABLE = 0, 1, 3


class Refused(Exception):
    """It was not done, and nothing has changed. The message says why and what to do."""


class Broken(Exception):
    """This file, or this machine, can't be used."""


@dataclass(frozen=True)
class Bundle:
    """What this file brings."""

    folder: Path

    @property
    def told(self) -> dict[str, str]:
        """What it says of itself."""
        return dict(json.loads((self.folder / "bundle.json").read_text(encoding="utf-8")))

    @property
    def version(self) -> str:
        """Its version."""
        return self.told["version"]

    def put(self, place: Path) -> None:
        """Make a virtual environment of it, checked by hashes, whole or not there.

        Raises:
            Broken: pip says no.
        """
        pip = next((self.folder / "wheels").glob("pip-*.whl"), None)
        if pip is None:
            raise Broken("there is no pip in it")
        shutil.rmtree(place, ignore_errors=True)  # begun and not finished
        venv.create(place, with_pip=False, symlinks=True)
        requirements = ("--require-hashes", "-r", self.folder / "requirements.txt")
        offline = ("--no-index", "--no-cache-dir", "--disable-pip-version-check", "--find-links", self.folder / "wheels")
        command = [place / "bin" / "python", "-I", pip / "pip", "--isolated", "install", "-q", *offline, *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(place, ignore_errors=True)
            raise Broken(f"it can't be installed in {place}: {done.stderr.strip()}")
        shutil.copy(self.folder / "bundle.json", place / "bundle.json.new")
        (place / "bundle.json.new").rename(place / "bundle.json")


@dataclass(frozen=True)
class House:
    """The versions under one prefix."""

    prefix: Path

    @property
    def current(self) -> str | None:
        """The version in use."""
        return self._linked("current")

    @property
    def previous(self) -> str | None:
        """The version that was used before."""
        return self._linked("previous")

    @property
    def versions(self) -> list[str]:
        """Every version that is whole."""
        return sorted(told.parent.name for told in self.prefix.glob("versions/*/bundle.json"))

    def place(self, version: str) -> Path:
        """Give where a version lies."""
        return self.prefix / "versions" / version

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second installer out.

        Raises:
            Broken: the prefix can't be written to.
            Refused: another one is at work.
        """
        try:
            self.prefix.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.prefix / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise Broken(f"{self.prefix} can't be written to: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Refused(f"another installer is at work in {self.prefix}") from None
        finally:
            os.close(handle)

    def add(self, bundle: Bundle) -> None:
        """Put a version beside the others; one that is there from this very file stays.

        Raises:
            Refused: there is one of that number from another file.
        """
        told = self.place(bundle.version) / "bundle.json"
        if not told.exists():
            bundle.put(told.parent)
        elif json.loads(told.read_text(encoding="utf-8")) != bundle.told:
            raise Refused(f"{bundle.version} is there from another file: remove {bundle.version} first, if it is not in use")

    def switch(self, version: str) -> None:
        """Use a version from now on. One rename: whoever starts the command gets the old one or the new one."""
        if (old := self.current) not in (None, version):
            self._link("previous", f"versions/{old}")
        self._link("current", f"versions/{version}")
        (self.prefix / "bin").mkdir(exist_ok=True)
        for command in COMMANDS:
            self._link(f"bin/{command}", f"../current/bin/{command}")

    def drop(self, version: str) -> None:
        """Remove one version that is not in use.

        Raises:
            Refused: it is in use, or not there.
        """
        if version not in self.versions:
            raise Refused(f"{version} is not in {self.prefix}; there are: {', '.join(self.versions) or 'none'}")
        if version == self.current:
            raise Refused(f"{version} is in use: upgrade or roll back first, or remove everything (without a version)")
        if version == self.previous:
            (self.prefix / "previous").unlink()
        self._drop(version)

    def clear(self) -> None:
        """Remove everything that was installed, and nothing else that may lie there."""
        for link in ("current", "previous", *(f"bin/{command}" for command in COMMANDS)):
            (self.prefix / link).unlink(missing_ok=True)
        for version in self.versions:
            self._drop(version)
        (self.prefix / ".lock").unlink(missing_ok=True)
        for folder in (self.prefix / "versions", self.prefix / "bin", self.prefix):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _drop(self, version: str) -> None:
        (self.place(version) / "bundle.json").unlink()  # from here on it is not whole
        shutil.rmtree(self.place(version))

    def _linked(self, name: str) -> str | None:
        link = self.prefix / name
        return link.readlink().name if link.is_symlink() else None

    def _link(self, name: str, target: str) -> None:
        beside = self.prefix / f"{name}.new"
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(self.prefix / name)


@dataclass(frozen=True)
class Data:
    """Data that a switch must not make useless: how they are called, and the settings under which a command finds them."""

    name: str
    settings: Mapping[str, str]

    def check(self, program: Path) -> None:
        """See that a program can work with them.

        Raises:
            Refused: it can't, or that can't be found out.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEATKEEPER_")}
        done = subprocess.run(
            [program, "schema", "--json"], env={**clean, **self.settings}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 and "there is no Seatkeeper data" not in done.stderr:
            raise Refused(done.stderr.strip().removeprefix("seatkeeper: ") or f"exit code {done.returncode}")


def data_there(directories: list[Path]) -> Iterator[Data]:
    """Give the data of this machine: those named, those of the environment, those of its services."""
    for directory in directories:
        yield Data(str(directory), {"SEATKEEPER_DATA": str(directory)})
    if here := {name: value for name, value in os.environ.items() if re.fullmatch(r"SEATKEEPER_DATA(BASE)?", name)}:
        yield Data("the data named by SEATKEEPER_DATA or SEATKEEPER_DATABASE", here)
    for unit in sorted(UNITS.glob("seatkeeper-*.service")):
        yield Data(f"the data of {unit.stem}", _settings_of(unit))


def _settings_of(unit: Path) -> dict[str, str]:
    """Read what a service is told, from its unit and from the file of its further settings."""
    text = unit.read_text(encoding="utf-8")
    told = "\n".join(re.findall(r"^Environment=(.*)$", text, re.MULTILINE)).replace("%%", "%")
    for file in re.findall(r"^EnvironmentFile=-?(.*)$", text, re.MULTILINE):
        if os.access(file, os.R_OK):
            told += "\n" + Path(file).read_text(encoding="utf-8")
    found = re.findall(r"^(SEATKEEPER_\w+|PG\w+)=(.*)$", told, re.MULTILINE)
    return {name: value.strip("\"'") for name, value in found if "%d" not in value}


def install(house: House, bundle: Bundle, options: argparse.Namespace) -> str:
    """Put the first version there."""
    if house.current not in (None, bundle.version):
        raise Refused(f"{house.current} is installed in {house.prefix}: `upgrade` puts {bundle.version} beside it")
    house.add(bundle)
    house.switch(bundle.version)
    return f"seatkeeper {bundle.version} is installed: {house.prefix}/bin/seatkeeper"


def upgrade(house: House, bundle: Bundle, options: argparse.Namespace) -> str:
    """Put another version beside the one in use, and switch to it."""
    if (old := house.current) is None:
        raise Refused(f"nothing is installed in {house.prefix}: `install`")
    house.add(bundle)
    if old == bundle.version:
        return f"seatkeeper {bundle.version} is in use already"
    _check_data(house, bundle.version, options)
    house.switch(bundle.version)
    return f"seatkeeper {bundle.version} is in use, before it was {old}; {_restart()}. Back: rollback"


def rollback(house: House, bundle: Bundle, options: argparse.Namespace) -> str:
    """Back to the version before; once more, and it is the newer one again."""
    old, to = house.current, house.previous
    if old is None or to is None or to == old or to not in house.versions:
        raise Refused(f"there is no version before {old} in {house.prefix}")
    _check_data(house, to, options)
    house.switch(to)
    return f"seatkeeper {to} is in use again, no longer {old}; {_restart()}"


def status(house: House, bundle: Bundle, options: argparse.Namespace) -> str:
    """Say which versions are there."""
    uses = {house.previous: " (the one before)", house.current: " (in use)"}
    return "\n".join(f"{version}{uses.get(version, '')}" for version in house.versions) or f"nothing is in {house.prefix}"


def remove(house: House, bundle: Bundle, options: argparse.Namespace) -> str:
    """Remove an old version, or everything but data."""
    if options.version is not None:
        house.drop(options.version)
        return f"seatkeeper {options.version} is removed"
    for unit in sorted(UNITS.glob("seatkeeper-*.service")):
        if f"ExecStart={house.prefix}/" in unit.read_text(encoding="utf-8"):
            raise Refused(f"{unit.stem} runs it: {house.prefix}/bin/seatkeeper service remove {unit.stem.split('-')[1]}, first")
    house.clear()
    return "seatkeeper is removed; data and settings are where they were"


def _check_data(house: House, version: str, options: argparse.Namespace) -> None:
    program = house.place(version) / "bin" / "seatkeeper"
    for data in () if options.unchecked else data_there(options.data):
        try:
            data.check(program)
        except Refused as error:
            raise Refused(
                f"{version} can't work with {data.name}: {error}\n{house.current} stays in use. Data that a newer version has"
                " taken further go back by a backup made before: seatkeeper restore"
            ) from error


def _restart() -> str:
    units = " ".join(sorted(unit.stem for unit in UNITS.glob("seatkeeper-*.service")))
    return f"now systemctl restart {units}" if units else "now start the server anew"


VERBS = {"install": install, "upgrade": upgrade, "rollback": rollback, "status": status, "remove": remove}


def main(arguments: list[str]) -> int:
    """Do what was typed."""
    parser = argparse.ArgumentParser(prog="sh FILE", usage="sh FILE --help")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("version", nargs="?")
    parser.add_argument("--prefix", type=Path, default=Path("/opt/seatkeeper"))
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("--python")
    options = parser.parse_args(arguments)
    if options.version is not None and options.verb != "remove":
        parser.error(f"{options.version}: only `remove` is told a version")
    house = House(options.prefix.absolute())
    try:
        with house.locked() if options.verb != "status" else nullcontext():
            print(VERBS[options.verb](house, Bundle(HERE), options))
    except Refused as error:
        print(f"seatkeeper bundle: {error}", file=sys.stderr)
        return REFUSED
    except Broken as error:
        print(f"seatkeeper bundle: {error}", file=sys.stderr)
        return UNUSABLE
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
