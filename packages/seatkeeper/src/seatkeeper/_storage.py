"""What a program remembers of its seat between lives: access token, nonce, the call under way, the last lease.

One small file per tenant, product and seat id, in the user's own state folder, mode 0600, replaced by atomic rename. It is
what lets a restarted program take its own seat back at once instead of asking for a second one. A lease stored here is
evidence for the server (`lastLease`), never a reason to start; a borrowed one is kept elsewhere (`_borrowed.py`). Where
nothing can be written (a read-only container), the memory lasts as long as the process; that costs a restarted program its
place, nothing else.
"""

import logging
import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, json

from seatkeeper._wire import Call
from seatkeeper.protocol.documents import UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger("seatkeeper")


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything remembered about one seat."""

    access_token: str | None = None
    nonce: str | None = None
    pending: Call | None = None  # sent, or about to be, and not answered yet
    last_lease: str | None = None
    server: str | None = None  # who gave the token; asked first


_read = json.Decoder(Kept).decode


class Memory:
    """The record of one seat, on disk if possible.

    Two programs may share a seat id, and with it the record. The newer one takes the seat over, and the record with its first
    write; the older one notices that it is no longer its own and leaves it alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._mark: tuple[int, ...] | None = None  # of the record as we last wrote it
        self.kept = self._load()

    def keep(self, kept: Kept) -> None:
        """Remember this from now on, also after a crash."""
        if kept == self.kept:
            return
        self.kept = kept
        if self._path is None:
            return
        if self._mark is not None and self._mark != _mark(self._path):
            self.let_go()
            return
        self._write(self._path, json.encode(kept))

    def let_go(self) -> None:
        """Write nothing from now on: the record is another program's."""
        self._path = None

    def forget(self) -> None:
        """Remove the record, if it is still ours, and write no other."""
        if self._path is not None and self._mark is not None and self._mark == _mark(self._path):
            with suppress(OSError):
                self._path.unlink()
        self.let_go()

    def _load(self) -> Kept:
        """Read the record; one that is missing or torn (power went before the rename reached the disk) is none."""
        if self._path is None:
            return Kept()
        try:
            return _read(self._path.read_bytes())
        except (OSError, *UNREADABLE):
            return Kept()

    def _write(self, path: Path, content: bytes) -> None:
        try:
            replace_file(path, content)
            self._mark = _mark(path)
        except OSError as error:
            log.warning("seat.memory-only path=%s reason=%s", path, error)
            self._path = None


def memory_of(*, tenant: str, product: str, seat_id: str, folder: Path | None = None) -> Memory:
    """Give the memory of one seat; `folder` is where seats are remembered, the user's state folder if not given."""
    name = sha256("\0".join((tenant, product, seat_id)).encode()).hexdigest()[:32]
    return Memory((folder or state_folder()) / "seats" / f"{name}.json")


def device_key(folder: Path | None = None) -> "Ed25519PrivateKey":
    """Give the key by which this user's programs on this device prove themselves; made when it is first wanted.

    Where it can't be kept, it lasts as long as the process: a lease must name the device it was given to in any case.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = (folder or key_folder()) / "device.key"
    try:
        _move_in(path)
        if not path.exists():
            _create_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        log.warning("device.memory-only path=%s reason=%s", path, error)
        return _unkept.setdefault(path, Ed25519PrivateKey.generate())


def stored_device_key() -> "Ed25519PrivateKey | None":
    """Give the device's key where it lies, also where an earlier version kept it; None if there is none. Makes nothing."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for folder in (key_folder(), state_folder()):
        with suppress(OSError, ValueError):
            return Ed25519PrivateKey.from_private_bytes((folder / "device.key").read_bytes())
    return None


_unkept: dict[Path, "Ed25519PrivateKey"] = {}  # keys of this process, by where they should have been kept


def key_folder() -> Path:
    """Give the folder of the device's key: not the state's, so that who copies what is remembered does not copy the key.

    With $SEATKEEPER_STATE_DIR everything is in one place.
    """
    chosen = os.environ.get("SEATKEEPER_STATE_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("seatkeeper", appauthor=False)


def _move_in(path: Path) -> None:
    """Bring a key to its place that an earlier version kept beside the seats."""
    earlier = state_folder() / path.name
    if path.parent == key_folder() and earlier != path and earlier.exists() and not path.exists():
        _create_once(path, earlier.read_bytes())
        earlier.unlink()


def state_folder() -> Path:
    """Give the user's folder for state: $SEATKEEPER_STATE_DIR, else where the system keeps such things."""
    chosen = os.environ.get("SEATKEEPER_STATE_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_state_path

    return user_state_path("seatkeeper", appauthor=False)


def make_private(folder: Path) -> None:
    """Make a folder that only its user can look into.

    Raises:
        OSError: it can't be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write beside it and rename, so that a reader sees the old or the new, never half. `mkstemp` makes it 0600."""
    make_private(path.parent)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _create_once(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; of two programs that do so at once, the first one's stays."""
    make_private(path.parent)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if not path.exists():
            _link_or_rename(beside, path)
    finally:
        with suppress(OSError):
            os.unlink(beside)


def _link_or_rename(source: str, path: Path) -> None:
    try:
        with suppress(FileExistsError):
            os.link(source, path)
    except OSError:  # a file system without links
        os.replace(source, path)


def _mark(path: Path) -> tuple[int, ...]:
    """Give what changes when somebody else replaces the record; nothing if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_ino, state.st_mtime_ns, state.st_size
