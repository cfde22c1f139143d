"""The key that seals: what must not be readable from the database alone is encrypted under it.

It lies in a file beside the database, or wherever `SEATKEEPER_SEAL_KEY_FILE` says (a systemd credential, a mounted secret), is
made on first start, and is never written into the database. Whoever loses it has lost the keys of his tenants.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES: Final = 32

_SEALED_V1: Final = b"\x01"  # how a sealed text begins, so that another way of sealing can follow
_GCM_NONCE: Final = 12  # bytes


class SealKeyError(Exception):
    """The sealing key is unreadable or does not fit this database. Give the server the key file the database was made with."""


class SealKey:
    """Seals what must not be readable from the database alone: AES-256-GCM, the context as associated data.

    A sealed text opens only under the context it was sealed for, so that one row's content can't be moved to another.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != SECRET_BYTES:
            raise SealKeyError(f"a sealing key is {SECRET_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    @classmethod
    def load_or_create(cls, path: Path) -> "SealKey":
        """Read the key file; make it first if there is none. Two processes that make it at once end up with the same key.

        Raises:
            SealKeyError: it can't be read or made, or is not a key.
        """
        try:
            if not path.exists():
                _create_once(path, os.urandom(SECRET_BYTES))
            return cls(path.read_bytes())
        except OSError as error:
            raise SealKeyError(f"the sealing key {path} can't be read or made: {error.strerror or error}") from error
        except SealKeyError as error:
            raise SealKeyError(f"{path} is not a sealing key: {error}") from None

    def seal(self, plain: bytes, context: str) -> bytes:
        """Give the sealed text: a version byte, a random nonce, the ciphertext with its tag."""
        nonce = os.urandom(_GCM_NONCE)  # never an injected source: two equal nonces would give the key away
        return _SEALED_V1 + nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Give what was sealed.

        Raises:
            SealKeyError: another key, another context, or a changed text.
        """
        if sealed[:1] != _SEALED_V1:
            raise SealKeyError("the keys in this database are sealed in a format that this version doesn't know")
        nonce, text = sealed[1 : 1 + _GCM_NONCE], sealed[1 + _GCM_NONCE :]
        try:
            return self._cipher.decrypt(nonce, text, context.encode())
        except (InvalidTag, ValueError):
            raise SealKeyError(
                "the sealing key does not fit the keys in this database; use the key file it was made with"
            ) from None


def _create_once(path: Path, content: bytes) -> None:
    """Write beside it, sync, and link: the file is there whole or not at all, and the first of two writers wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
        _sync_folder(path.parent)
    finally:
        os.unlink(beside)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable: a database sealed under a key that a power cut took away is lost."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows keeps names without being asked
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
