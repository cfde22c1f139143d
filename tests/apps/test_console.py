"""The console's password: made once, told once, kept as a hash that nobody else can read; or given."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from seatkeeper_server.apps.console import PasswordUnusable, first_words, proof_of
from seatkeeper_server.settings import LocalSettings


@pytest.fixture
def settings(tmp_path: Path) -> LocalSettings:
    """A server whose data directory is there."""
    return LocalSettings(data=tmp_path)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_first_password_is_shown_on_the_terminal_and_nowhere_else(settings: LocalSettings) -> None:
    """Once; what is kept is a hash."""
    (line,) = first_words(settings, is_terminal=True)
    password = line.split(" with ")[1].split()[0]
    kept = [path.read_text() for path in settings.data.iterdir()]

    assert proof_of(settings)(password)
    assert first_words(settings, is_terminal=True) == []
    assert not any(password in text for text in kept)
    assert kept[0].startswith("$argon2id$")
    assert mode(settings.console_hash_path) == 0o600


def test_without_a_terminal_it_goes_into_a_file(settings: LocalSettings) -> None:
    """Only its path is said: what a service prints ends up in a log."""
    (line,) = first_words(settings, is_terminal=False)
    password = settings.first_password_path.read_text().strip()

    assert str(settings.first_password_path) in line
    assert password not in line
    assert (mode(settings.first_password_path), proof_of(settings)(password)) == (0o600, True)


def test_every_first_password_is_another(tmp_path: Path) -> None:
    """There is no default one."""
    words = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words |= {first_words(LocalSettings(data=tmp_path / name), is_terminal=True)[0].split(" with ")[1].split()[0]}

    assert len(words) == 2


def test_wrong_ones_are_not_proven(settings: LocalSettings) -> None:
    """Not even the hash."""
    first_words(settings, is_terminal=True)
    proves = proof_of(settings)

    assert not any(proves(text) for text in ("", "admin", settings.console_hash_path.read_text()))


def test_a_password_that_is_given_needs_none_to_be_made(tmp_path: Path) -> None:
    """By the environment, or in a file; nothing is written."""
    (tmp_path / "secret").write_text("a long password\n")
    data = tmp_path / "data"
    data.mkdir()
    given = [
        LocalSettings(data=data, console_password=SecretStr("a long password")),
        LocalSettings(data=data, console_password_file=tmp_path / "secret"),
    ]

    assert [first_words(settings, is_terminal=True) for settings in given] == [[], []]
    assert [(proof_of(settings)("a long password"), proof_of(settings)("another")) for settings in given] == [(True, False)] * 2
    assert not list(data.iterdir())


def test_a_password_in_two_places_is_refused(tmp_path: Path) -> None:
    """Nobody would know which one counts; and a short one is none. Neither is shown."""
    for wrong in (
        {"console_password": SecretStr("a long password"), "console_password_file": tmp_path},
        {"console_password": SecretStr("5h0r7")},
    ):
        with pytest.raises(ValidationError) as told:
            LocalSettings(data=tmp_path, **wrong)  # type: ignore[arg-type]  # each is what it says
        assert not {"a long password", "5h0r7"} & set(str(told.value).split("'"))


@pytest.mark.parametrize("content", [None, "short\n", "x" * 201, "\udcff"])
def test_a_file_without_a_password_is_told(tmp_path: Path, content: str | None) -> None:
    """By its path."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))

    with pytest.raises(PasswordUnusable, match="secret"):
        proof_of(LocalSettings(data=tmp_path, console_password_file=path))


def test_a_broken_hash_is_told(settings: LocalSettings) -> None:
    """With what to do about it."""
    settings.console_hash_path.write_text("nonsense")

    with pytest.raises(PasswordUnusable, match="remove it"):
        proof_of(settings)


def test_a_directory_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    """A password that isn't kept is none."""
    with pytest.raises(PasswordUnusable, match="SEATKEEPER_CONSOLE_PASSWORD"):
        first_words(LocalSettings(data=tmp_path / "missing"), is_terminal=True)
