"""`seatkeeper cloud & seatkeeper sell …`: two processes meet on a directory in which there is nothing yet."""

from contextlib import closing
from pathlib import Path

import pytest

from seatkeeper_server.store import sqlite
from tests.support.house import START


def test_a_schema_that_another_process_made_meanwhile_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looked before the other had committed finds the tables there, and goes on."""
    with closing(sqlite.SqliteStore(tmp_path / "seatkeeper.db")) as store:
        store.migrate(START)
        look, stale = sqlite._done, [dict[int, str]()]
        monkeypatch.setattr(sqlite, "_done", lambda connection: stale.pop() if stale else look(connection))
        store.migrate(START)

        assert stale == []
        assert store.found("db_1", START) == ("db_1", 1)
