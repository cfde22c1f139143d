"""Looks at a SQLite database as a physician: nothing is changed, and a running server isn't held up.

It looks through a connection made as the server makes its own, so that what it reports is what serves.
"""

from dataclasses import dataclass
from pathlib import Path

import apsw

from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.store import migrations
from seatkeeper_server.store.migrations import Phase
from seatkeeper_server.store.sqlite import SqliteStore, _done

_FULL = 2  # `PRAGMA synchronous`: 0 off, 1 normal, 2 full, 3 extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found: `damage` is what SQLite's own check of the whole file says, nothing when it is sound."""

    schema: int
    schema_known: int
    journal_mode: str
    synchronous: int
    damage: list[str]

    @property
    def is_durable(self) -> bool:
        """Whether an acknowledged change survives a power cut."""
        return self.journal_mode == "wal" and self.synchronous >= _FULL


def is_behind(store: SqliteStore) -> bool:
    """Tell whether a database lacks steps of the schema; one that has none yet does not: nobody can be at work in it.

    Raises:
        SchemaTooNew: it was written by newer code.
        StorageUnavailable: it can't be read at all.
    """
    with store._told():
        connection = store._connected()
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone():
            return False
        done = _done(connection)
        return bool(done) and bool(store._missing(connection, Phase.PRE))


def examine(path: Path) -> Health:
    """Examine the database at a path, which must be there.

    Raises:
        StorageUnavailable: it can't be read at all.
    """
    store = SqliteStore(path)
    try:
        connection = store._connected()  # the very settings the server runs with; no transaction, so nobody waits for us
        told = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
        steps = [row[0] for row in connection.execute("SELECT number FROM migration")]
        return Health(
            schema=max(steps, default=0),
            schema_known=max(migrations.steps("sqlite")),
            journal_mode=connection.pragma("journal_mode"),
            synchronous=connection.pragma("synchronous"),
            damage=[] if told == ["ok"] else told,
        )
    except apsw.Error as error:
        raise StorageUnavailable(f"{path}: {error}") from error
    finally:
        store.close()
