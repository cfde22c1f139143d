"""Makes a backup beside a running server: one moment of the database in one file, checked before it gets its name.

    copy (SQLite or PostgreSQL → a SQLite file) → examine → pack → read again → name

Whatever goes wrong before the last step leaves nothing behind. The database in it is what was there, also where `verify` finds
that something does not fit: that is told, and better kept than lost.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import apsw

from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.apps.unsealing import unopened
from seatkeeper_server.keys import KeyRow
from seatkeeper_server.sealing import SealKey, SealKeyError
from seatkeeper_server.service import verifying
from seatkeeper_server.service.verifying import Verified
from seatkeeper_server.store import archive, migrations, tables
from seatkeeper_server.store.archive import Manifest
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.copying import Damaged, NothingThere, damage, history_of, sqlite_told
from seatkeeper_server.store.files import AlreadyThere, told
from seatkeeper_server.store.migrations import Phase
from seatkeeper_server.store.sqlite import SqliteStore

MADE_BY = "seatkeeper-server"


class Source(Protocol):
    """A database that can be copied while it is used. `kind` says which sort it is."""

    @property
    def kind(self) -> str:
        """SQLite or PostgreSQL."""
        ...

    def copy_to(self, path: Path) -> None:
        """Write one moment of it into a new SQLite file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made: its file, how large it is, the SHA-256 of the whole, what it has, and how that was found."""

    file: Path
    size: int
    sha256: str
    manifest: Manifest
    verified: Verified


def back_up(source: Source, file: Path, *, now: datetime, seal_key: Path | None = None, force: bool = False) -> Made:
    """Make a backup. The sealing key goes into it only if its path is given, `force` writes over an earlier file.

    Raises:
        AlreadyThere: there is something of that name.
        CannotCopy: there is nothing to be backed up, or the copy is not sound.
        SealKeyError: the sealing key is missing, or opens none of the keys.
        StorageFull, StorageUnavailable: it can't be read or written; nothing was left.
    """
    _see_that_it_is_free(file, force)
    sealing = None if seal_key is None else key_file(seal_key)
    with archive.workplace(file) as folder:
        database = folder / archive.DATABASE
        source.copy_to(database)
        manifest = examined(database, source.kind, now, with_seal_key=sealing is not None)
        with _up_to_date(database, manifest) as readable:
            if seal_key is not None and sealing is not None:
                see_that_it_opens(keys_in(readable), sealing, seal_key)
            verified = _verify(readable)
        digest = archive.write(file, manifest, database, sealing, over=force)
    return Made(file=file, size=file.stat().st_size, sha256=digest, manifest=manifest, verified=verified)


def _see_that_it_is_free(file: Path, force: bool) -> None:
    if file.is_dir():
        raise AlreadyThere(f"{file} is a directory: name a file, such as {file / 'seatkeeper.tar'}")
    if os.path.lexists(file) and not force:
        raise AlreadyThere(f"{file} is there already: name another file, or write over it with --force")


# --- what is in a file ---------------------------------------------------------------------------------------------


def examined(database: Path, kind: str, now: datetime, *, with_seal_key: bool = False) -> Manifest:
    """See that a database file is sound, and say what it has.

    Raises:
        CannotCopy: it is damaged, or has nothing in it.
        StorageUnavailable: it can't be read.
    """
    with sqlite_told(database), closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as file:
        if wrong := damage(file):
            raise Damaged(f"the database is damaged: {'; '.join(wrong)}. See `seatkeeper doctor`")
        if (history := history_of(file)) is None:
            raise NothingThere("there is nothing in this database yet: no server and no sale has begun it")
        return Manifest(
            format=archive.FORMAT,
            made_by=f"{MADE_BY} {version(MADE_BY)}",
            made_at=now,
            made_from=kind,
            database_id=history[0],
            epoch=history[1],
            schema=dict(file.execute("SELECT number, name FROM migration")),
            rows=tables.counted(file),
            with_seal_key=with_seal_key,
        )


@contextmanager
def _up_to_date(database: Path, manifest: Manifest) -> Iterator[Path]:
    """Give a database file that this code can read: itself, or where its schema is older a copy brought up to date."""
    if not migrations.missing("sqlite", manifest.schema, Phase.PRE):
        yield database
        return
    newer = database.with_name("newer.db")
    with told(newer):
        shutil.copyfile(database, newer)
    with closing(SqliteStore(newer)) as store:
        store.migrate(manifest.made_at)
    yield newer
    newer.unlink()


def _verify(database: Path) -> Verified:
    with closing(Reader(database)) as reader:
        return verifying.verify(reader.read)


# --- the sealing key -----------------------------------------------------------------------------------------------


def key_file(path: Path) -> bytes:
    """Read a sealing key that must be there.

    Raises:
        SealKeyError: it is missing, or isn't one.
    """
    try:
        key = path.read_bytes()
        SealKey(key)
    except OSError as error:
        raise SealKeyError(f"the sealing key {path} can't be read: {error.strerror or error}") from error
    except SealKeyError as error:
        raise SealKeyError(f"{path} is not a sealing key: {error}") from None
    return key


def keys_in(database: Path) -> list[list[KeyRow]]:
    """Give the keys of every tenant in a database file."""
    with closing(Reader(database)) as reader:
        return reader.read(_keys)


def _keys(catalogue: Catalogue) -> list[list[KeyRow]]:
    return [catalogue.keys(tenant.tenant_id) for tenant in catalogue.tenants()]


def see_that_it_opens(tenants: Iterable[list[KeyRow]], key: bytes, path: Path) -> None:
    """Open every tenant's keys with a sealing key.

    Raises:
        SealKeyError: it doesn't.
    """
    if (error := unopened(SealKey(key), tenants)) is not None:
        raise SealKeyError(f"{path} is not the sealing key of this database: {error}") from error
