"""Looks at a PostgreSQL database as a physician: nothing is changed, and nobody is held up."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seatkeeper_server.store import migrations
from seatkeeper_server.store.migrations import Phase
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.rows import moment

OLDEST = 13  # of the major versions that our statements were tried on


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found. `behind` are steps that a server applies when it starts, `leftovers` those that wait for all old code.

    `fsync` and `full_page_writes` are the server's settings, without which a power cut can lose what was acknowledged. `now` is
    the database's clock.
    """

    version: str
    major: int
    schema: int
    behind: int
    leftovers: int
    fsync: bool
    full_page_writes: bool
    standbys: str
    connections: int
    connections_most: int
    encrypted: bool
    now: datetime


def has_schema(store: PostgresStore) -> bool:
    """Tell whether the database has our tables, and a history.

    Raises:
        StorageUnavailable: it can't be known.
    """
    return all(
        row[0] for row in _asked(store, "SELECT to_regclass('migration') IS NOT NULL AND to_regclass('alive') IS NOT NULL")
    )


def examine(store: PostgresStore) -> Health:
    """Examine a database.

    Raises:
        StorageUnavailable: it can't be reached, or has none of our tables.
        SchemaTooNew: it was written by newer code.
    """
    done = dict(_asked(store, "SELECT number, name FROM migration"))
    (settings,) = _asked(store, _SETTINGS)
    version, number, fsync, pages, standbys, connections, most, encrypted, now = settings
    return Health(
        version=version,
        major=number // 10_000,
        schema=max(done, default=0),
        behind=len(migrations.missing("postgres", done, Phase.PRE)),
        leftovers=len(migrations.missing("postgres", done, Phase.POST)),
        fsync=fsync,
        full_page_writes=pages,
        standbys=standbys,
        connections=connections,
        connections_most=most,
        encrypted=encrypted,
        now=moment(now),
    )


def _asked(store: PostgresStore, question: str) -> list[tuple[Any, ...]]:
    with store._told():
        connection = store._connect()
    with store._given_back(connection), store._told():
        return connection.execute(question.encode(), prepare=False).fetchall()


_SETTINGS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('fsync')::bool,
    current_setting('full_page_writes')::bool, current_setting('synchronous_standby_names'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections')::int,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
"""
