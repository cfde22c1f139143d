"""The image's steps, run as they stand in the Dockerfile, without Docker. `make image-steps`

Each stage gets this machine's root file system with a layer of its own above it and Python at /usr/local, as its base image has
it; nothing of our checkout is seen there but what COPY copies and .dockerignore lets through. Then the result is run as its
container would be: as the user of USER, on a root file system that is read-only, with one volume.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.support.dockerfile import Stage, is_ignored, stages
from tests.support.namespaces import Corner, are_allowed, own_namespace

PYTHON = Path(sys.base_prefix)
LAYERS = Path("/mnt")
ROLES = [role for role in ("cloud", "local") if find_spec(f"seatkeeper_server.cli.{role}") is not None]
HIDDEN = ("/work", "/srv", "/media")  # where a checkout may lie; the test has its own copy of what is copied
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
PIP = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # where this machine fetches from

pytestmark = pytest.mark.skipif(not are_allowed("--mount"), reason="needs root and mount namespaces")


@dataclass(frozen=True)
class Built:
    """A stage that was run: its root file system, in a corner where it is mounted."""

    corner: Corner
    stage: Stage
    root: Path

    def command(self, *arguments: str, user: str = "", environment: dict[str, str] | None = None) -> list[str | Path]:
        """Give a command as it runs in there, as the user that is named."""
        uid, _, gid = user.partition(":")
        plain = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
        told = {**BASE, **(environment or {}), **self.stage.environment}
        variables = [f"{name}={value}" for name, value in told.items()]
        return self.corner.command("chroot", self.root, *(plain if user else []), "env", "-i", *variables, *arguments)


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Run every stage of the Dockerfile; give the last one."""
    context = tmp_path_factory.mktemp("context")
    copy_context(context)
    with own_namespace("--mount") as corner:
        corner.must("mount", "--make-rprivate", "/")
        corner.must("mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", LAYERS)
        built: dict[str, Built] = {}
        for stage in stages((ROOT / "deploy/Dockerfile").read_text()):
            built[stage.name] = run(corner, stage, context, built)
        yield built[""]


def copy_context(context: Path) -> None:
    """Copy what `docker build` would be sent."""
    patterns = (ROOT / ".dockerignore").read_text()
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not is_ignored(name, patterns) and (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)


def run(corner: Corner, stage: Stage, context: Path, built: dict[str, Built]) -> Built:
    """Run a stage's COPY and RUN steps on a base of its own."""
    here = Built(corner, stage, mounted(corner, stage.name or "final"))
    folder = "/"
    for step in stage.steps:
        if step.word == "WORKDIR":
            folder = step.text
            corner.must("mkdir", "-p", f"{here.root}{folder}")
        elif step.word == "COPY":
            words = step.text.split()
            source = built[words.pop(0).removeprefix("--from=")].root if words[0].startswith("--from=") else context
            copy(corner, [Path(f"{source}/{word.lstrip('/')}") for word in words[:-1]], here.root, folder, words[-1])
        elif step.word == "RUN":
            done = subprocess.run(
                here.command("sh", "-ec", f"cd {folder}; {step.text}", environment=PIP),
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"RUN {step.text}\n{done.stdout}{done.stderr}"
    return here


def copy(corner: Corner, sources: list[Path], root: Path, folder: str, target: str) -> None:
    """Copy as COPY does: a folder's content, a file under its name if the target ends in a slash."""
    into = Path(f"{root}/{os.path.join(folder, target).lstrip('/')}")
    for source in sources:
        is_folder = corner.run("test", "-d", source).returncode == 0
        if is_folder or target.endswith(("/", ".")):
            corner.must("mkdir", "-p", into)
        corner.must("cp", "-a", f"{source}/." if is_folder else source, into)


def mounted(corner: Corner, name: str) -> Path:
    """Mount a base of its own: this machine's files below a layer that takes what is written, and Python at /usr/local."""
    root = LAYERS / name / "root"
    overlay(corner, Path("/"), LAYERS / name / "system", root)
    overlay(corner, PYTHON, LAYERS / name / "python", root / "usr/local")
    corner.must("mount", "--rbind", "/dev", root / "dev")
    corner.must("mount", "-t", "proc", "proc", root / "proc")
    for empty in ("/tmp", LAYERS, *filter(os.path.isdir, HIDDEN)):
        corner.must("mount", "-t", "tmpfs", "tmpfs", f"{root}{empty}")
    corner.must("chroot", root, "ldconfig")  # as the base image does, so that its libpython is found
    python = corner.must("chroot", root, "/usr/local/bin/python", "-c", "import sys; print(sys.prefix)")
    assert python == "/usr/local\n"
    return root


def overlay(corner: Corner, below: Path, above: Path, at: Path) -> None:
    """Lay an empty layer over a folder."""
    corner.must("mkdir", "-p", above / "upper", above / "work", at)
    layers = f"lowerdir={below},upperdir={above}/upper,workdir={above}/work"
    corner.must("mount", "-t", "overlay", "-o", layers, "overlay", at)


def test_the_image_is_small_and_holds_what_it_should(final: Built) -> None:
    """Below 150 MB beside its base; no pip, no test tools, no sources; nothing that is written by another than root."""
    size = int(final.corner.must("du", "-sm", final.root / "opt/seatkeeper").split()[0])
    packages = final.corner.must(
        "ls", final.root / f"opt/seatkeeper/lib/python{sysconfig.get_python_version()}/site-packages"
    ).split()

    assert size < 150
    assert {"seatkeeper", "seatkeeper_server", "psycopg_binary"} <= set(packages)
    assert set(packages) & {"pip", "pytest", "hatchling", "mypy"} == set()
    assert (
        final.corner.must("find", final.root / "opt/seatkeeper", "!", "-user", "root", "-o", "-perm", "/022", "!", "-type", "l")
        == ""
    )


@pytest.mark.parametrize("role", ROLES)
def test_it_serves_as_its_user_on_a_read_only_root(final: Built, role: str) -> None:
    """`docker run --read-only -v data:/data IMAGE`: ready by its health check, its verbs work, and it stops when told to."""
    user = final.stage.last("USER").text
    command = [*final.stage.last("ENTRYPOINT").listed, role]
    verb = ["sell", "acme", "solver", "--seats", "1"] if role == final.stage.last("CMD").listed[0] else ["doctor"]
    with read_only(final):
        assert subprocess.run(final.command("touch", "/opt/x", user="0:0"), capture_output=True).returncode != 0
        with subprocess.Popen(
            final.command(*command, "--port", "0", user=user), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as server:
            assert server.stdout is not None
            lines = [server.stdout.readline()]
            while lines[-1] and "http://" not in lines[-1]:
                lines.append(server.stdout.readline())
            asked = [final.stage.last("HEALTHCHECK").listed, ["seatkeeper", *verb]]
            done = [subprocess.run(final.command(*one, user=user), capture_output=True, text=True) for one in asked]
            server.terminate()
            lines.append(server.communicate()[0])
        owners = final.corner.must(
            "stat", "-c", "%u:%g %a", f"{final.root}/data", f"{final.root}/data/seatkeeper.db"
        ).splitlines()

    assert [one.returncode for one in done] == [0, 0], "".join(lines) + "".join(one.stdout + one.stderr for one in done)
    assert server.returncode == 0, "".join(lines)
    assert [owner.split()[0] for owner in owners] == [user, user]
    assert owners[0].endswith(" 700")


@contextmanager
def read_only(built: Built) -> Iterator[None]:
    """Make what was built read-only, with a new volume for each VOLUME, which takes its owner from the image."""
    volume = built.stage.last("VOLUME").text
    at = f"{built.root}{volume}"
    owner, mode = built.corner.must("stat", "-c", "%u:%g %a", at).split()
    uid, gid = owner.split(":")
    for root in (built.root / "usr/local", built.root):
        built.corner.must("mount", "-o", "remount,bind,ro", root)
    built.corner.must("mount", "-t", "tmpfs", "-o", f"uid={uid},gid={gid},mode={mode}", "tmpfs", at)
    try:
        yield
    finally:
        built.corner.must("umount", at)
