"""The password of a local server's console: given by whoever runs the server, or made on the first start.

One that was made is kept as an Argon2 hash, in a file that only the server's user can read, and told once: on the terminal, or
where there is none, in a file beside it. It never goes into a log, and there is no default one.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from seatkeeper.protocol import codes
from seatkeeper_server.apps.serving import CannotServe
from seatkeeper_server.settings import LocalSettings

SHORTEST: Final = 8  # characters of a password that is given in a file
LONGEST: Final = 200

_hasher: Final = PasswordHasher()


class PasswordUnusable(CannotServe):
    """The console's password can't be used. The message says which file it was looked for in, and what to do."""


def first_words(settings: LocalSettings, *, is_terminal: bool | None = None) -> list[str]:
    """Make a password if none was given or made before, and say it, or where it is. The data directory must be there.

    Raises:
        PasswordUnusable: it can't be kept.
    """
    if _is_given(settings) or settings.console_hash_path.exists():
        return []
    password = codes.make_code(os.urandom(codes.RANDOM_BYTES))
    on_terminal = sys.stdout.isatty() if is_terminal is None else is_terminal
    try:
        if not on_terminal:
            _write(settings.first_password_path, f"{password}\n")
        _write(settings.console_hash_path, _hasher.hash(password))
    except OSError as error:
        raise PasswordUnusable(
            f"the console's password can't be kept in {settings.data}: {error.strerror or error}; give one in"
            " SEATKEEPER_CONSOLE_PASSWORD or SEATKEEPER_CONSOLE_PASSWORD_FILE"
        ) from error
    return [_told(settings, password if on_terminal else None)]


def proof_of(settings: LocalSettings) -> Callable[[str], bool]:
    """Give what tells the console's password from all others.

    Raises:
        PasswordUnusable: its file can't be read, or is no password.
    """
    given = _given(settings)
    hashed = _hasher.hash(given) if given is not None else _kept(settings)

    def proves(password: str) -> bool:
        try:
            return _hasher.verify(hashed, password)
        except VerificationError:
            return False

    return proves


def _is_given(settings: LocalSettings) -> bool:
    return settings.console_password is not None or settings.console_password_file is not None


def _given(settings: LocalSettings) -> str | None:
    path = settings.console_password_file
    if path is None:
        return None if settings.console_password is None else settings.console_password.get_secret_value()
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordUnusable(f"the console's password in {path} can't be read: {error}") from error
    if not SHORTEST <= len(text) <= LONGEST:
        raise PasswordUnusable(f"the console's password in {path} must have {SHORTEST} to {LONGEST} characters")
    return text


def _kept(settings: LocalSettings) -> str:
    path = settings.console_hash_path
    try:
        hashed = path.read_text(encoding="ascii").strip()
        _hasher.check_needs_rehash(hashed)
    except (OSError, UnicodeDecodeError, InvalidHashError) as error:
        raise PasswordUnusable(f"{path} holds no password: remove it, and the next start makes a new one") from error
    return hashed


def _told(settings: LocalSettings, password: str | None) -> str:
    user = settings.console_user
    if password is None:
        return f"console: log in as {user}; the password is in {settings.first_password_path}: read it, then remove that file"
    return f"console: log in as {user} with {password} (shown only now; remove {settings.console_hash_path} for a new one)"


def _write(path: Path, text: str) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
