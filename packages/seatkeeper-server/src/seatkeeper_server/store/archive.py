"""The file of a backup: a plain tar archive, so that whoever has nothing but the file can look what it is.

    manifest.json     what it has: format, schema, which database, as of when, how many rows of each table
    seatkeeper.db     the database, a SQLite file, whatever it was made from
    seal.key          the sealing key, only if that was asked for
    SHA256SUMS        of everything before; `tar xf FILE && sha256sum -c SHA256SUMS` checks it without us

Every byte that matters is under a SHA-256. It is written beside its place, synced, read again and checked, and only then
given its name; it is readable by its owner alone. Nothing in here knows what the rows mean.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Final

from msgspec import DecodeError, Struct, json

from seatkeeper_server.store import files

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "seatkeeper.db"
SEAL_KEY: Final = "seal.key"
SUMS: Final = "SHA256SUMS"

_AT_ONCE = 1 << 20  # bytes
_SMALL = 1 << 20  # no member but the database is larger


class BackupUnusable(Exception):
    """The file is no backup, or it is damaged, or newer than this Seatkeeper. Take another one."""


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a backup has. `schema` are the steps by number; `made_from` is SQLite or PostgreSQL; `rows` are by table."""

    format: int
    made_by: str
    made_at: datetime
    made_from: str
    database_id: str
    epoch: int
    schema: dict[int, str]
    rows: dict[str, int]
    with_seal_key: bool = False


class _Format(Struct):
    format: int


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """Give a folder for what is being made, on the same disk as a file that is to be; it is gone at the end of the block.

    Raises:
        StorageFull, StorageUnavailable: it can't be made.
    """
    with files.told(path.parent):
        folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True)  # 0700
    with folder as name:
        yield Path(name)


def write(path: Path, manifest: Manifest, database: Path, seal_key: bytes | None = None, *, over: bool = False) -> str:
    """Write a backup of a database file beside `database`, check it, and give it its name; the SHA-256 of the whole.

    Raises:
        AlreadyThere: there is a file of that name, and it was not to be written over.
        BackupUnusable: what was written can't be read again.
        StorageFull, StorageUnavailable: it can't be written; nothing was left.
    """
    beside = database.with_name("backup.tar")
    small = {MANIFEST: json.format(json.encode(manifest)) + b"\n"}
    if seal_key is not None:
        small[SEAL_KEY] = seal_key
    with files.told(path):
        beside.touch(mode=0o600)
        with tarfile.open(beside, "w") as tar:
            _add(tar, MANIFEST, io.BytesIO(small[MANIFEST]), len(small[MANIFEST]), manifest.made_at)
            with database.open("rb") as file:
                _add(tar, DATABASE, file, database.stat().st_size, manifest.made_at)
            if seal_key is not None:
                _add(tar, SEAL_KEY, io.BytesIO(seal_key), len(seal_key), manifest.made_at)
            sums = _sums(small, database)
            _add(tar, SUMS, io.BytesIO(sums), len(sums), manifest.made_at)
        files.sync(beside)
    with opened(beside) as backup:
        backup.check()
    with files.told(path), beside.open("rb") as whole:
        digest = file_digest(whole, "sha256").hexdigest()
    files.put(beside, path, over=over)
    return digest


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, at: datetime) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(at.timestamp())
    tar.addfile(info, content)


def _sums(small: Mapping[str, bytes], database: Path) -> bytes:
    sums = {name: sha256(content).hexdigest() for name, content in small.items()}
    with database.open("rb") as file:
        sums[DATABASE] = file_digest(file, "sha256").hexdigest()
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode("ascii")


class Backup:
    """A backup that is open for reading. Its manifest has been checked; what else is read is checked while it is read."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path, self._tar = path, tar
        self._sums = dict(self._parted(line) for line in self._small(SUMS).decode("ascii").splitlines())
        text = self._checked(MANIFEST)
        if (written := json.decode(text, type=_Format).format) > FORMAT:
            raise BackupUnusable(f"{path} was made by a newer Seatkeeper (format {written}): upgrade this one")
        self.manifest = json.decode(text, type=Manifest)

    def seal_key(self) -> bytes | None:
        """Give the sealing key, None if it isn't in here.

        Raises:
            BackupUnusable: it is damaged.
        """
        return self._checked(SEAL_KEY) if self.manifest.with_seal_key else None

    def unpack(self, path: Path) -> None:
        """Write the database into a new file, which is good for nothing unless this returns.

        Raises:
            BackupUnusable: it is damaged.
            StorageFull, StorageUnavailable: the file can't be written.
        """
        with files.told(path), path.open("xb") as file:
            path.chmod(0o600)
            self._read(DATABASE, file)

    def check(self) -> None:
        """Read all of it.

        Raises:
            BackupUnusable: something is damaged.
        """
        self._read(DATABASE)
        self.seal_key()

    def _read(self, name: str, to: IO[bytes] | None = None) -> None:
        content, digest = self._member(name), sha256()
        with _doubted(self._path):
            while block := content.read(_AT_ONCE):
                digest.update(block)
                if to is not None:
                    to.write(block)
        self._compare(name, digest.hexdigest())

    def _checked(self, name: str) -> bytes:
        content = self._small(name)
        self._compare(name, sha256(content).hexdigest())
        return content

    def _small(self, name: str) -> bytes:
        with _doubted(self._path):
            return self._member(name).read(_SMALL)

    def _member(self, name: str) -> IO[bytes]:
        with _doubted(self._path):
            content = self._tar.extractfile(name)
        if content is None:
            raise BackupUnusable(f"{self._path} is damaged: {name} in it is no file")
        return content

    def _compare(self, name: str, found: str) -> None:
        if self._sums.get(name) != found:
            raise BackupUnusable(
                f"{self._path} is damaged: {name} in it is not what was written (SHA-256). Take another backup"
            )

    @staticmethod
    def _parted(line: str) -> tuple[str, str]:
        digest, _, name = line.partition("  ")
        return name, digest


@contextmanager
def opened(path: Path) -> Iterator[Backup]:
    """Open a backup.

    Raises:
        BackupUnusable: it is none, it is damaged, or newer than this code.
        StorageUnavailable: it can't be read.
    """
    with files.told(path):
        file = path.open("rb")
    with file:
        with _doubted(path), ExitStack() as kept:
            backup = Backup(path, kept.enter_context(tarfile.open(fileobj=file, mode="r:")))
            kept.pop_all()  # the archive ends with the file
        yield backup


@contextmanager
def _doubted(path: Path) -> Iterator[None]:
    """Take whatever goes wrong while reading for a sign that this is no backup of ours, or a damaged one."""
    try:
        yield
    except (tarfile.TarError, EOFError, KeyError, ValueError, DecodeError) as error:
        raise BackupUnusable(f"{path} is no backup of Seatkeeper, or it is damaged: {error}") from error
