"""Makes the bundle: one file that installs, upgrades and rolls back on a machine without a network.

    python -m scripts.make_bundle        # build/seatkeeper-VERSION-linux-x86_64-cp311.run, for the Python that runs it

It is a shell script (scripts/bundle/header.sh) with a tar archive behind it: our two distributions and everything they need as
wheels, each checked against requirements.lock; pip, which installs them there; the installer; the sums of all of it. The same
tree and the same Python make the same file, byte for byte.
"""

import argparse
import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from scripts.lock_part import LOCK, part, roots_of

ROOT = Path(__file__).parent.parent
BUNDLE = Path(__file__).parent / "bundle"
OURS = ("seatkeeper", "seatkeeper-server")
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
PLATFORM = f"{platform.system().lower()}-{platform.machine()}"


def make(packages: Path, out: Path, *, wheels: Path | None = None) -> Path:
    """Make the bundle of the distributions in a folder. `wheels` are those of the dependencies, if they are there already."""
    version = tomllib.loads((packages / OURS[-1] / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder)
        (payload / "wheels").mkdir()
        if wheels is None:
            fetch(packages, payload / "wheels")
        else:
            shutil.copytree(wheels, payload / "wheels", dirs_exist_ok=True)
        build(packages, payload / "wheels")
        (payload / "installer.py").write_bytes((BUNDLE / "installer.py").read_bytes())
        (payload / "requirements.txt").write_text("".join(_requirements((payload / "wheels").glob("*.whl"))))
        told = {"version": version, "platform": PLATFORM, "python": PYTHON, "requirements": _sum(payload / "requirements.txt")}
        (payload / "bundle.json").write_text(json.dumps(told, indent=2) + "\n")
        files = sorted(path for path in payload.rglob("*") if path.is_file())
        sums = "".join(f"{_sum(file)}  {file.relative_to(payload)}\n" for file in files)
        (payload / "SHA256SUMS").write_text(sums)
        return _write(out / f"seatkeeper-{version}-{PLATFORM}-{PYTHON}.run", _archive(payload), version)


def fetch(packages: Path, into: Path) -> None:
    """Have pip fetch what the distributions need, and itself, as wheels with the hashes of the lock."""
    wanted = part(LOCK.read_text(), {*roots_of(str(packages / name) for name in OURS), "pip"})
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
        lock.write(wanted)
        lock.flush()
        _pip("download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-d", into, "-r", lock.name)


def build(packages: Path, into: Path) -> None:
    """Build our own wheels, with the hatchling that the lock has put here."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", into, *(packages / name for name in OURS))


def _requirements(wheels: Iterable[Path]) -> Iterable[str]:
    """Name every wheel, with its hash; pip itself only comes along."""
    for wheel in sorted(wheels):
        name, version = wheel.name.split("-")[:2]
        if name != "pip":
            yield f"{name}=={version} --hash=sha256:{_sum(wheel)}\n"


def _archive(payload: Path) -> bytes:
    """Pack a folder: sorted, without times and owners. Wheels are compressed already."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(payload.rglob("*")):
            member = tar.gettarinfo(path, str(path.relative_to(payload)))
            member.mtime = member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if path.is_dir() else 0o644
            member.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE
            member.size = 0 if path.is_dir() else path.stat().st_size
            tar.addfile(member, None if path.is_dir() else io.BytesIO(path.read_bytes()))
    return packed.getvalue()


def _write(path: Path, archive: bytes, version: str) -> Path:
    header = (BUNDLE / "header.sh").read_text()
    major, minor = sys.version_info[:2]
    for name, value in {
        "VERSION": version,
        "PLATFORM": PLATFORM,
        "SYSTEM": f"{platform.system()}-{platform.machine()}",
        "PYTHON": PYTHON,
        "PYTHON_VERSION": f"{major}.{minor}",
        "PYTHON_TUPLE": f"{major}, {minor}",
        "LINES": str(header.count("\n")),
        "SHA256": hashlib.sha256(archive).hexdigest(),
    }.items():
        header = header.replace(f"@{name}@", value)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(header.encode() + archive)
    beside.chmod(0o755)
    beside.replace(path)
    return path


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "-q", "--disable-pip-version-check"]
    subprocess.run(command, check=True)


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    """Make it, and say where it is and what its sum is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=ROOT / "packages")
    parser.add_argument("--wheels", type=Path, help="the dependencies' wheels, where they are there already")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    made = make(options.packages, options.out, wheels=options.wheels)
    print(f"{made}  {made.stat().st_size / (1 << 20):.0f} MiB\nSHA-256 {_sum(made)}")


if __name__ == "__main__":
    main()
