"""Moves everything from a data directory into an empty PostgreSQL database, so that nobody ever serves both.

    have the directory (no server) and its database (no verb) to oneself
    → copy in one transaction → compare, table by table → verify → mark `moving` → commit → mark `moved`

It is the same database afterwards, with the same id and in the same epoch: nothing that was signed is forgotten, numbers go on
from where they stood, and one side is closed before the other is opened. Killed before the first mark, nothing has happened.
Killed between the two, the next call finds out on the other side whether the commit happened, and finishes or begins anew.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from seatkeeper_server.apps.reading import Reader
from seatkeeper_server.apps.restoring import DoesNotFit, verified_in
from seatkeeper_server.service.ports import CommitUnknown, StorageFull, StorageUnavailable
from seatkeeper_server.service.verifying import Verified
from seatkeeper_server.store import moved, tables
from seatkeeper_server.store.archive import DATABASE
from seatkeeper_server.store.copying import (
    CannotCopy,
    CopyDiffers,
    Damaged,
    NotEmpty,
    NothingThere,
    address,
    damage,
    filled,
    history_in,
    history_of,
    whole,
)
from seatkeeper_server.store.health import is_behind
from seatkeeper_server.store.locking import DirectoryLock
from seatkeeper_server.store.moved import Mark, State
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.transaction import SqlTransaction

Committed = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was moved where to. `rows` and `verified` are None if it turned out to have been done by an earlier call."""

    to: str
    database_id: str
    epoch: int
    rows: dict[str, int] | None = None
    verified: Verified | None = None


def move(data: Path, target: PostgresStore, *, now: datetime, force: bool = False) -> Moved:
    """Move everything, and mark the directory. `force` moves what doesn't verify, as it is.

    Raises:
        DirectoryInUse: a server has it; nothing happened.
        DirectoryMoved: it was moved already.
        NotEmpty, CannotCopy, SchemaTooNew: see `store.copying.filled`; nothing happened.
        DoesNotFit: what is there doesn't verify, and `force` was not used; nothing happened.
        StorageFull, StorageUnavailable: nothing happened.
        CommitUnknown: it isn't known what happened; call again.
    """
    with DirectoryLock(data):
        to = address(target)
        if (mark := moved.mark_of(data)) is not None and (done := _found_out(data, mark, target, to)) is not None:
            return done
        with closing(SqliteStore(data / DATABASE)) as store:
            store.migrate(now)
            with store.transaction() as tx:  # verbs wait
                return _moved(data, tx, target, to, now, force)


def check(data: Path, target: PostgresStore, *, force: bool = False) -> Moved:
    """Copy everything, compare and verify as `move` does, beside a running server, and take it back.

    Raises:
        CannotCopy: or anything that `move` raises.
    """
    with closing(SqliteStore(data / DATABASE)) as store:
        if is_behind(store):
            raise CannotCopy(
                f"the data in {data} are older than this Seatkeeper: start its server once with this version, which brings them"
                " up to date"
            )
    to = address(target)
    with closing(Reader(data / DATABASE)) as reader:
        return reader.read(lambda catalogue: _copied(catalogue.tx, target, to, force, keep=False))


def _moved(data: Path, tx: SqlTransaction, target: PostgresStore, to: str, now: datetime, force: bool) -> Moved:
    mark = Mark(state=State.MOVING, to=to, at=now, database_id="", epoch=0)

    def about_to_commit(database_id: str, epoch: int) -> None:
        nonlocal mark
        mark = replace(mark, database_id=database_id, epoch=epoch)
        moved.set_mark(data, mark)

    try:
        done = _copied(tx, target, to, force, keep=True, about_to_commit=about_to_commit)
    except CommitUnknown as error:
        raise CommitUnknown(f"{error}. It isn't known whether that was committed: ask once more, to find out") from error
    except (StorageFull, StorageUnavailable):
        moved.take_mark_off(data)
        raise
    moved.set_mark(data, replace(mark, state=State.MOVED))
    return done


def _copied(
    tx: SqlTransaction,
    target: PostgresStore,
    to: str,
    force: bool,
    *,
    keep: bool,
    about_to_commit: Committed = lambda database_id, epoch: None,
) -> Moved:
    source = whole(tx)
    history = history_of(source)
    if history is None:
        raise NothingThere("there is nothing in this database yet: a new server can begin on PostgreSQL at once")
    if wrong := damage(source):
        raise Damaged(f"the database is damaged: {'; '.join(wrong)}. Nothing was moved; see `seatkeeper doctor`")
    verified = verified_in(tx)
    if not verified.holds and not force:
        raise DoesNotFit(
            f"facts, counters and seats here do not say the same ({verified.breaks[0].what}), so nothing was moved. See"
            " `seatkeeper verify`; to move them as they are, use --force"
        )
    with filled(target, source, keep=keep) as there:
        if verified_in(there) != verified:
            raise CopyDiffers(f"verify doesn't find the same in {to}")
        about_to_commit(*history)
    return Moved(to=to, database_id=history[0], epoch=history[1], rows=tables.counted(source), verified=verified)


def _found_out(data: Path, mark: Mark, target: PostgresStore, to: str) -> Moved | None:
    """Find out what became of an earlier move that was broken off: it was done, or (None) it can begin anew."""
    if mark.state is State.MOVED:
        moved.refuse(str(data))
    found = history_in(target)
    if found == (mark.database_id, mark.epoch):
        moved.set_mark(data, replace(mark, state=State.MOVED))
        return Moved(to=to, database_id=mark.database_id, epoch=mark.epoch)
    if mark.to != to:
        raise NotEmpty(
            f"the data in {data} were being moved to {mark.to}, and may be there: ask for that place once more. If you know"
            f" that they are not, remove {data / moved.MARK}"
        )
    moved.take_mark_off(data)
    return None
