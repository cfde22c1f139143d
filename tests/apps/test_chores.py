"""Chores that several servers of one database do at the same moment."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seatkeeper_server.apps.chores import Chores
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.catalogue import Sale, Terms
from seatkeeper_server.keys import CERTIFICATE_LASTS, CURRENT, SIGNING
from seatkeeper_server.service import selling
from seatkeeper_server.service.tidying import Tidying
from seatkeeper_server.store.postgres import PostgresStore
from support.postgres import Clusters, servers

pytestmark = pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with")

SOON = 0.3  # seconds: long enough for whoever doesn't wait


@pytest.fixture
def database(clusters: Clusters) -> Iterator[str]:
    """Give the URL of an empty database."""
    with clusters[next(iter(servers()))].empty() as url:
        yield url


def test_a_worn_key_is_renewed_by_one_of_them(database: str, tmp_path: Path) -> None:
    """Each finds it worn at the same moment; the second sees what the first did, and neither fails."""
    with opened(tmp_path / "data", database, create=True) as place:
        with place.transaction() as desk:
            sale = Sale(customer="acme", product="solver", terms=Terms(seats=1))
            sold = selling.sell(desk.catalogue, place.vault(desk), sale, now=desk.now, starts_at=desk.now, random=os.urandom)
            seal, database_id = place.seal_key(desk), desk.catalogue.database_id()
        later = datetime.now(UTC) + CERTIFICATE_LASTS * 0.8
        tidying = Tidying(lambda tenant_id, payload: "")
        with ExitStack() as stack, ThreadPoolExecutor(2) as beside:
            stores = [stack.enter_context(closing(PostgresStore(database))) for _ in range(2)]
            made = [
                Chores(store=store, seal=seal, database_id=database_id, tidying=tidying, now=lambda: later) for store in stores
            ]
            with place.store.transaction() as tx:
                tx._connection.execute("SELECT 1 FROM tenant_key FOR UPDATE")  # type: ignore[attr-defined]
                done = [beside.submit(chores.renew_keys) for chores in made]
                time.sleep(SOON)  # in which both have found it worn, unless one waits for the other
            for one in done:
                one.result(30)
        kept = place.reader.read(lambda catalogue: catalogue.keys(sold.tenant_id))

    assert len([row for row in kept if row.purpose == SIGNING]) == 2
    assert len([row for row in kept if (row.purpose, row.state) == (SIGNING, CURRENT)]) == 1
