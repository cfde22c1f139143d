"""Restores a backup: into an empty data directory, or an empty PostgreSQL database. All of it is there at the end, or nothing.

    open and check the file → unpack beside → bring up to date → tell it that it was restored → verify → put in place

In place means: in a directory, the one file of the database gets its name; in PostgreSQL, the one transaction is committed.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import apsw

from seatkeeper_server.apps.backing_up import examined, key_file, keys_in, see_that_it_opens
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service import restoring, verifying
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.ports import CommitUnknown
from seatkeeper_server.service.restoring import Reopened
from seatkeeper_server.service.verifying import Verified
from seatkeeper_server.store import archive, files, migrations, moved
from seatkeeper_server.store.archive import BackupUnusable, Manifest
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.copying import NotEmpty, filled, sqlite_told
from seatkeeper_server.store.locking import LOCK_FILE, DirectoryLock
from seatkeeper_server.store.migrations import Phase, SchemaTooNew
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.restoring import Restoring
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.transaction import SqlTransaction

UNFINISHED = ".restoring-"  # how the folder is called in which a restore that was killed has left something

Result = TypeVar("Result")
Finish = Callable[[SqlTransaction], Result]


class DoesNotFit(CannotDo):
    """What was to be taken over does not verify. Take another backup, or use --force to have it as it is."""


class SealKeyIs(StrEnum):
    """How the sealing key stands after a restore."""

    THERE = "there"
    MISSING = "missing"
    ANOTHER = "another"  # there is one, which opens nothing in this database


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored, from what, and how it was found afterwards."""

    manifest: Manifest
    reopened: Reopened
    verified: Verified
    seal_key: SealKeyIs


# --- where to ------------------------------------------------------------------------------------------------------


class Place(Protocol):
    """Where a database is being put. What is written into `folder` is gone when it was, or wasn't."""

    @property
    def folder(self) -> Path:
        """A folder for what is being made."""
        ...

    def put(self, database: Path, finish: Finish[Result]) -> Result:
        """Put a database file in place, after a last transaction on it; all of it, or (on an exception) nothing."""
        ...


class Target(Protocol):
    """Where a database may be put."""

    def prepared(self) -> AbstractContextManager[Place]:
        """Have the place to oneself, after seeing that nothing is there yet."""
        ...


@dataclass(frozen=True, slots=True)
class DirectoryTarget:
    """A data directory, which is made if it isn't there; a sealing key may lie in it already."""

    path: Path

    @contextmanager
    def prepared(self) -> "Iterator[_Directory]":
        """Have the directory to oneself, after seeing that no database is in it.

        Raises:
            DirectoryInUse: a server has it.
            NotEmpty: there is a database in it, or was until it was moved.
            StorageFull, StorageUnavailable: it can't be written to.
        """
        with self._made(), DirectoryLock(self.path):
            self._see_that_it_is_empty()
            with files.told(self.path):
                folder = tempfile.TemporaryDirectory(dir=self.path, prefix=UNFINISHED, ignore_cleanup_errors=True)
            with folder as name:
                yield _Directory(Path(name), self.path / archive.DATABASE)

    @contextmanager
    def _made(self) -> Iterator[None]:
        """Make the directory, and take it away again if nothing comes into it."""
        is_new = not self.path.exists()
        with files.told(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            yield
        except BaseException:
            if is_new:
                with suppress(OSError):
                    (self.path / LOCK_FILE).unlink(missing_ok=True)
                    self.path.rmdir()
            raise

    def _see_that_it_is_empty(self) -> None:
        moved.refuse(str(self.path))
        if (self.path / archive.DATABASE).exists():
            raise NotEmpty(
                f"there is a database in {self.path} already, and nothing is written over: restore into another directory"
                " with --data, or move this one away first"
            )
        with files.told(self.path):
            for left in self.path.glob(f"{UNFINISHED}*"):  # nobody else is at work in here
                shutil.rmtree(left)


@dataclass(frozen=True, slots=True)
class _Directory:
    folder: Path
    path: Path

    def put(self, database: Path, finish: Finish[Result]) -> Result:
        with closing(SqliteStore(database)) as store, store.transaction() as tx:
            result = finish(tx)
        try:
            files.put(database, self.path)
        except files.AlreadyThere as error:  # `seatkeeper sell` needs no server to begin one
            raise NotEmpty(
                f"somebody else has just begun a database in {self.path.parent}; nothing was written over"
            ) from error
        return result


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """An empty PostgreSQL database."""

    store: PostgresStore

    @contextmanager
    def prepared(self) -> "Iterator[_Postgres]":
        """Have a folder to unpack in; whether the database is empty is seen in the transaction that fills it."""
        with tempfile.TemporaryDirectory(prefix="seatkeeper-") as name:
            yield _Postgres(Path(name), self.store)


@dataclass(frozen=True, slots=True)
class _Postgres:
    folder: Path
    store: PostgresStore

    def put(self, database: Path, finish: Finish[Result]) -> Result:
        try:
            with sqlite_told(database), closing(apsw.Connection(str(database))) as source, filled(self.store, source) as tx:
                result = finish(tx)
        except CommitUnknown as error:
            raise CommitUnknown(
                f"{error}. It isn't known whether everything was restored or nothing: ask once more, which is refused if it was"
            ) from error
        return result


# --- restoring -----------------------------------------------------------------------------------------------------


def restore(file: Path, target: Target, *, seal_key: Path, now: datetime, force: bool = False) -> Restored:
    """Restore a backup; `seal_key` is where the server will look for the sealing key, and where one in the backup goes.

    Raises:
        BackupUnusable: the file is no backup, damaged, or newer than this code.
        SchemaTooNew: the database in it is.
        DirectoryInUse, NotEmpty: nothing is written over.
        SealKeyError: the backup brings a sealing key, and another one lies where it belongs.
        DoesNotFit: it doesn't verify, and `force` was not used.
        StorageFull, StorageUnavailable: nothing was restored.
    """
    with archive.opened(file) as backup:
        manifest = backup.manifest
        _see_that_it_is_known(manifest, file)
        with target.prepared() as place:
            database, brought = place.folder / archive.DATABASE, backup.seal_key()
            _see_that_no_other_key_is_there(brought, seal_key)
            backup.unpack(database)
            _compare(database, manifest, file)
            with closing(SqliteStore(database)) as store:
                store.migrate(now)
            state = SealKeyIs.THERE if brought else _state_of(seal_key, database)

            def finish(tx: SqlTransaction) -> tuple[Reopened, Verified]:
                found = _reopened(tx, manifest, now, force)
                _put_key(brought, seal_key)
                return found

            reopened, verified = place.put(database, finish)
    return Restored(manifest=manifest, reopened=reopened, verified=verified, seal_key=state)


def _see_that_it_is_known(manifest: Manifest, file: Path) -> None:
    try:
        migrations.missing("sqlite", manifest.schema, Phase.PRE)
    except SchemaTooNew as error:
        raise SchemaTooNew(f"{file} has {error}") from error


def _compare(database: Path, manifest: Manifest, file: Path) -> None:
    """See that the database is sound, and the one that the manifest speaks of."""
    found = examined(database, manifest.made_from, manifest.made_at)
    if (found.database_id, found.epoch, found.rows) != (manifest.database_id, manifest.epoch, manifest.rows):
        raise BackupUnusable(f"{file} has another database in it than it says. Take another backup")


def _reopened(tx: SqlTransaction, manifest: Manifest, now: datetime, force: bool) -> tuple[Reopened, Verified]:
    reopened = restoring.reopen(tx, Restoring(tx), made_at=manifest.made_at, wall=tx.clock() or now)
    verified = verified_in(tx)
    if not verified.holds and not force:
        raise DoesNotFit(
            f"facts, counters and seats in this backup do not say the same ({verified.breaks[0].what}), so nothing was"
            " restored. Take another backup, or restore this one as it is with --force"
        )
    return reopened, verified


def verified_in(tx: SqlTransaction) -> Verified:
    """Verify what a transaction sees, before it is committed."""
    return verifying.verify(lambda question: question(Catalogue(tx)))


# --- the sealing key -----------------------------------------------------------------------------------------------


def _see_that_no_other_key_is_there(brought: bytes | None, path: Path) -> None:
    if brought is not None and path.exists() and path.read_bytes() != brought:
        raise SealKeyError(f"the backup brings its sealing key, and another one lies at {path}: move that away first")


def _put_key(brought: bytes | None, path: Path) -> None:
    """Put the sealing key that a backup brings where the server looks for it."""
    if brought is None or path.exists():
        return
    with files.told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as name:
            beside = Path(name) / path.name
            beside.touch(mode=0o600)
            beside.write_bytes(brought)
            files.put(beside, path)


def _state_of(path: Path, database: Path) -> SealKeyIs:
    """Tell whether the sealing key is where the server looks for it, and opens what is sealed."""
    if not path.exists():
        return SealKeyIs.MISSING
    try:
        see_that_it_opens(keys_in(database), key_file(path), path)
    except SealKeyError:
        return SealKeyIs.ANOTHER
    return SealKeyIs.THERE
