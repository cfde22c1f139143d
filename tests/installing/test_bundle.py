"""The bundle: whether it is whole, versions side by side, a switch by one rename. `make bundle-test` installs it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import make_bundle
from scripts.bundle import installer
from scripts.bundle.installer import Bundle, House, Refused

from tests.docs.pages import ROOT, blocks

PROGRAM = '#!/bin/sh\nexec sh "$SCHEMA_SAYS" "$@"\n'


@pytest.fixture(scope="module")
def bundle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle of our own wheels alone: it can't be installed, and is made in seconds."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "wheels").mkdir()
    return make_bundle.make(ROOT / "packages", folder, wheels=folder / "wheels")


def run(file: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a bundle as an administrator does."""
    return subprocess.run(["sh", file, *arguments], capture_output=True, text=True, timeout=60)


def test_it_says_what_it_is(bundle_file: Path) -> None:
    """Its name, `--version`, and help which needs nothing."""
    told = run(bundle_file, "--version").stdout.split()

    assert bundle_file.name == f"seatkeeper-{told[1]}-{told[2]}-{told[3]}.run"
    for verb in ("install", "upgrade", "rollback", "status", "remove", "check"):
        assert f"sh {bundle_file} {verb}" in run(bundle_file, "--help").stdout


def test_it_is_the_same_file_each_time(bundle_file: Path, tmp_path: Path) -> None:
    """The same tree makes the same bytes: whoever builds it again can compare."""
    again = make_bundle.make(ROOT / "packages", tmp_path, wheels=bundle_file.parent / "wheels")

    assert again.read_bytes() == bundle_file.read_bytes()


@pytest.mark.parametrize("where", [0.9, 0.5], ids=["late", "early"])
def test_a_damaged_one_installs_nothing(bundle_file: Path, where: float, tmp_path: Path) -> None:
    """One byte that isn't as it was, or an end that is missing, is found before anything is unpacked."""
    whole = bundle_file.read_bytes()
    at = int(len(whole) * where)
    damaged, cut = tmp_path / "damaged.run", tmp_path / "cut.run"
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    cut.write_bytes(whole[:at])

    assert run(bundle_file, "check").returncode == 0
    for file in (damaged, cut):
        done = run(file, "install", "--prefix", tmp_path / "there")
        assert done.returncode == 3
        assert "is damaged" in done.stderr
        assert not (tmp_path / "there").exists()


def test_another_python_is_not_taken(bundle_file: Path, tmp_path: Path) -> None:
    """The wheels are for one version of Python: another is refused in a sentence."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    done = run(bundle_file, "install", "--prefix", tmp_path / "there", "--python", other)

    assert done.returncode == 3
    assert f"{other} is not that" in done.stderr


def test_what_does_not_fit_together_is_not_installed(bundle_file: Path, tmp_path: Path) -> None:
    """This one lacks what it needs: that is told, and nothing is left that could be taken for an installation."""
    done = run(bundle_file, "install", "--prefix", tmp_path / "there", "--python", sys.executable)

    assert done.returncode == 3
    assert "there is no pip in it" in done.stderr
    assert list((tmp_path / "there").rglob("bundle.json")) == []
    assert not (tmp_path / "there" / "current").is_symlink()


Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Give the installer of any version, on a prefix of its own; what it installs only says what a test has it say."""
    monkeypatch.setattr(installer, "UNITS", tmp_path / "units")
    monkeypatch.setenv("SCHEMA_SAYS", str(tmp_path / "says"))
    (tmp_path / "says").write_text("exit 0\n")

    def put(bundle: Bundle, place: Path) -> None:
        (place / "bin").mkdir(parents=True)
        for command in installer.COMMANDS:
            (place / "bin" / command).write_text(PROGRAM)
            (place / "bin" / command).chmod(0o755)
        shutil.copy(bundle.folder / "bundle.json", place)

    monkeypatch.setattr(Bundle, "put", put)

    def of(version: str, verb: str, *arguments: str, file: str = "") -> int:
        folder = tmp_path / f"unpacked-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "bundle.json").write_text(f'{{"version": "{version}", "requirements": "{file}"}}')
        monkeypatch.setattr(installer, "HERE", folder)
        return installer.main([verb, *arguments, "--prefix", str(tmp_path / "there")])

    return of


def used(tmp_path: Path) -> str:
    """Give the version that PREFIX/bin/seatkeeper leads to."""
    return (tmp_path / "there" / "bin" / "seatkeeper").resolve().parent.parent.name


def test_there_and_back_again(call: Call, tmp_path: Path) -> None:
    """Install, upgrade, roll back, and forward again: the command's place stays, and both versions do."""
    seen = []
    for version, verb in (("1.0", "install"), ("1.1", "upgrade"), ("1.1", "rollback"), ("1.1", "rollback")):
        assert call(version, verb) == 0
        seen.append(used(tmp_path))

    assert seen == ["1.0", "1.1", "1.0", "1.1"]
    assert House(tmp_path / "there").versions == ["1.0", "1.1"]


def test_each_verb_has_its_place(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Upgrade needs an installation, install none, and a first version has nothing to go back to; twice is harmless."""
    assert call("1.0", "upgrade") == 1
    assert call("1.0", "rollback") == 1
    assert call("1.0", "install") == 0
    assert call("1.0", "install") == 0
    assert call("1.0", "upgrade") == 0
    assert call("1.1", "install") == 1
    assert "`upgrade`" in capsys.readouterr().err
    assert call("1.0", "upgrade", file="another") == 1
    assert used(tmp_path) == "1.0"


NEWER = 'test "$1" = schema || exit 2\necho "seatkeeper: schema 9, this Seatkeeper knows 3" >&2\nexit 3\n'
ABSENT = 'echo "seatkeeper: there is no Seatkeeper data in /x" >&2\nexit 3\n'


@pytest.mark.parametrize("verb", ["upgrade", "rollback"])
def test_nothing_goes_below_the_schema_of_the_data(
    verb: str, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the version that would be used can't read stops the switch, and is told with the way back; or is waived."""
    call("1.0", "install")
    call("1.1", "upgrade")
    (tmp_path / "says").write_text(NEWER)
    refused = call("1.2", verb, "--data", "/srv/seats")

    assert refused == 1
    assert used(tmp_path) == "1.1"
    said = capsys.readouterr().err
    assert "can't work with /srv/seats: schema 9, this Seatkeeper knows 3" in said
    assert "seatkeeper restore" in said
    assert call("1.2", verb, "--data", "/srv/seats", "--unchecked") == 0


def test_data_that_are_not_there_stop_nothing(call: Call, tmp_path: Path) -> None:
    """A service that was never started has none."""
    call("1.0", "install")
    (tmp_path / "says").write_text(ABSENT)

    assert call("1.1", "upgrade", "--data", "/srv/seats") == 0


def test_data_of_services_are_found(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where they are is read from the unit and its settings file; the way to restart is told."""
    (tmp_path / "units").mkdir()
    (tmp_path / "local.env").write_text("# ours\nSEATKEEPER_DATABASE='postgresql://s@db/seats'\nPGPASSWORD=x\n")
    (tmp_path / "units" / "seatkeeper-local.service").write_text(
        f"[Service]\nEnvironment=SEATKEEPER_DATA=/var/lib/seatkeeper-local\nEnvironment=SEATKEEPER_SEAL_KEY_FILE=%d/seal_key\n"
        f"EnvironmentFile=-{tmp_path}/local.env\nEnvironmentFile=-{tmp_path}/missing.env\n"
    )
    (tmp_path / "says").write_text(f"env | grep -E '^(SEATKEEPER|PG)' | sort > {tmp_path}/told\n")
    call("1.0", "install")
    assert call("1.1", "upgrade") == 0

    assert (tmp_path / "told").read_text().splitlines() == [
        "PGPASSWORD=x",
        "SEATKEEPER_DATA=/var/lib/seatkeeper-local",
        "SEATKEEPER_DATABASE=postgresql://s@db/seats",
    ]
    assert "systemctl restart seatkeeper-local" in capsys.readouterr().out


def test_removing_touches_nothing_but_what_was_installed(call: Call, tmp_path: Path) -> None:
    """An old version, then everything; what is in use goes only with all the rest; others' files and data stay."""
    call("1.0", "install")
    call("1.1", "upgrade")
    data = tmp_path / "there" / "data" / "seatkeeper.db"
    data.parent.mkdir()
    data.touch()

    assert call("1.1", "remove", "1.1") == 1
    assert call("1.1", "remove", "1.0") == 0
    assert call("1.1", "rollback") == 1
    assert call("1.1", "remove") == 0
    assert [path for path in (tmp_path / "there").rglob("*") if not path.is_dir()] == [data]


def test_what_a_service_runs_is_not_removed(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """First the service, by its own verb."""
    call("1.0", "install")
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "seatkeeper-cloud.service").write_text(f"ExecStart={tmp_path}/there/bin/seatkeeper cloud\n")

    assert call("1.0", "remove") == 1
    assert "service remove cloud" in capsys.readouterr().err
    assert used(tmp_path) == "1.0"


def test_two_installers_do_not_meet(call: Call, tmp_path: Path) -> None:
    """The second is refused while the first is at work."""
    with House(tmp_path / "there").locked(), pytest.raises(Refused), House(tmp_path / "there").locked():
        pass
    assert call("1.0", "install") == 0


def test_an_installation_that_was_cut_short_is_made_anew(call: Call, tmp_path: Path) -> None:
    """A folder without bundle.json was never whole."""
    begun = tmp_path / "there" / "versions" / "1.0" / "lib"
    begun.mkdir(parents=True)
    assert House(tmp_path / "there").versions == []
    os.rmdir(begun)
    os.rmdir(begun.parent)

    assert call("1.0", "install") == 0
    assert House(tmp_path / "there").versions == ["1.0"]


def test_the_page_about_it_types_what_there_is(bundle_file: Path) -> None:
    """Its verbs are the installer's, and the file's name is as it would be."""
    typed = [line for block in blocks(ROOT / "docs/howto/bundle.md", "text") for line in block.splitlines()]
    calls = [line.split() for line in typed if line.startswith("sh ")]

    assert {call[2] for call in calls} == {"install", "upgrade", "rollback"} <= set(installer.VERBS)
    assert {call[1].split("-", 2)[2] for call in calls} == {bundle_file.name.split("-", 2)[2]}
    assert "make bundle" in typed
