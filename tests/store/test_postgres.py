"""What is particular to PostgreSQL: several servers at once, connections that break, commits that get lost."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from msgspec import json

from seatkeeper.protocol.documents import LeaseClaims
from seatkeeper.protocol.ids import b64url
from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.service import selling
from seatkeeper_server.service.calls import Outcome, Refused, Served, Verb, Who
from seatkeeper_server.service.desk import Desk, Registrar
from seatkeeper_server.service.ports import CommitUnknown, Conflict, StorageFull, StorageUnavailable
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.postgres import PostgresStore
from seatkeeper_server.store.pruning import Pruning
from support import postgres
from support.cutting import line
from support.house import START, TENANT, Drawer, House, activate, held, make_house
from support.postgres import Cluster, HandTimedStore

Another = Callable[[House], House]

COMMIT = b"COMMIT\0"  # the statement, as it goes over the line
SOON = 0.3  # seconds: long enough for whoever doesn't wait


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    with closing(HandTimedStore(database)) as store:
        yield store


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Where other servers run."""
    with ThreadPoolExecutor(8) as beside:
        yield beside


def served(outcome: Outcome) -> Served:
    assert isinstance(outcome, Served)
    return outcome


@pytest.fixture
def another(database: str) -> Iterator[Callable[[House], House]]:
    """What starts another server on the same database."""
    with ExitStack() as opened:

        def start(house: House) -> House:
            return replace(house, store=opened.enter_context(closing(HandTimedStore(database))))

        yield start


def more_pools(store: PostgresStore, house: House, count: int) -> list[tuple[str, str]]:
    """Sell more of the same; the keys of all pools, in order."""
    with store.transaction() as tx:
        for number in range(count - 1):
            for table in ("entitlement", "pool", "pool_right"):
                found = tx._connection.execute(f"SELECT * FROM {table} WHERE entitlement_id = %s", (house.entitlement_id,))
                row = list(found.fetchone() or ())
                row[1] = f"ent_{number}"
                tx._connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    return sorted([(TENANT, house.entitlement_id), *((TENANT, f"ent_{number}") for number in range(count - 1))])


@contextmanager
def locked(store: PostgresStore, *keys: tuple[str, str]) -> Iterator[None]:
    """Have pools locked by another transaction."""
    with store.transaction() as tx:
        tx.pools(keys)
        yield


def waits(future: "Future[object]") -> bool:
    """Tell whether somebody waits."""
    time.sleep(SOON)
    return not future.done()


# --- one after the other ---------------------------------------------------------------------------------------------


def test_transactions_on_one_pool_happen_one_after_the_other(
    store: PostgresStore, another: Another, beside: ThreadPoolExecutor
) -> None:
    """Of two servers that decide about the last seat, the second sees what the first has done."""
    house = make_house(store, seats=1)
    other = another(house)
    with store.transaction() as tx:
        now = house.timekeeper.begin(tx, "first")
        first = house.leasing.decide(tx, [activate("a")], now)[0]
        second = beside.submit(other.one, activate("b"))
        waited = waits(second)

    assert waited
    assert isinstance(first, Served)
    assert isinstance(second.result(), Refused)


def test_transactions_on_different_pools_wait_for_nobody(
    store: PostgresStore, another: Another, beside: ThreadPoolExecutor
) -> None:
    """Several servers serve different entitlements at the same time, and neither the beat nor the batch's id is in the way."""
    house = make_house(store)
    pools = more_pools(store, house, 2)
    house.one(activate("a"))
    other = another(house)

    def serve() -> None:
        with other.store.transaction() as tx:
            other.timekeeper.begin(tx, "other")
            tx.pools(pools[1:])

    with store.transaction() as tx:
        house.clock.pass_(timedelta(seconds=2))
        house.timekeeper.begin(tx, "one")
        tx.pools(pools[:1])
        beside.submit(serve).result(5)


def test_a_seat_is_read_under_its_pools_lock(store: PostgresStore, another: Another, beside: ThreadPoolExecutor) -> None:
    """A token says which seat, not which pool: what was read to find the pool is read again once that is locked."""
    house = make_house(store, seats=1)
    seat = served(house.one(activate("a")))
    other = another(house)
    with store.transaction() as tx:
        house.leasing.decide(tx, [held(Verb.RETURN, seat)], house.timekeeper.begin(tx, "return"))
        refresh = beside.submit(other.one, held(Verb.REFRESH, seat))
        waits(refresh)

    assert refresh.result() == Refused("seat.gone")
    assert house.used() == 0


def test_a_repeat_on_another_server_is_a_repeat(store: PostgresStore, another: Another, beside: ThreadPoolExecutor) -> None:
    """A program that got no answer asks the next server: it has one seat, whichever server comes first."""
    house = make_house(store, seats=5)
    others = [another(house) for _ in range(4)]
    start = Barrier(4)

    def ask(other: House) -> Served:
        start.wait()
        return served(other.one(activate("a", "key")))

    answers = list(beside.map(ask, others))

    assert len({answer.holding.activation_id for answer in answers}) == 1
    assert {answer.holding.generation for answer in answers} == {1}
    assert house.used() == 1


def test_no_seat_too_many_is_given_by_servers_in_a_hurry(
    store: PostgresStore, another: Another, beside: ThreadPoolExecutor
) -> None:
    """Four servers, forty programs, seven seats: seven are served, and the counter says so."""
    house = make_house(store, seats=7)
    start = Barrier(4)

    def serve(number: int) -> list[Outcome]:
        other = another(house)
        start.wait()
        return [other.one(activate(f"s{number}-{n}")) for n in range(10)]

    outcomes = [outcome for several in beside.map(serve, range(4)) for outcome in several]

    assert sum(isinstance(outcome, Served) for outcome in outcomes) == 7
    assert house.used() == 7
    assert house.rows("SELECT count(*) FROM holding WHERE occupies = 1") == [(7,)]


def test_a_seat_restored_by_two_servers_is_one_seat(store: PostgresStore, another: Another, beside: ThreadPoolExecutor) -> None:
    """A seat that a restored database forgot is restored once, also when its program asks two servers at the same time."""
    house = make_house(store, seats=3)
    seat = served(house.one(activate("a")))
    call = held(Verb.REFRESH, seat, last_lease=lease_of(house, seat))
    for table in ("holding", "fact", "holder"):
        house.rows(f"DELETE FROM {table}")
    house.rows(f"UPDATE pool SET sequence = 0, holders = 0, facts = 0, head = '{bytes(32).hex()}'")
    house.rows("UPDATE pool_right SET used = 0")
    other = another(house)
    with store.transaction() as tx:
        first = house.leasing.decide(tx, [call], house.timekeeper.begin(tx, "first"))[0]
        second = beside.submit(other.one, call)
        waits(second)

    assert isinstance(first, Served)
    assert isinstance(second.result(), Served)
    assert house.used() == 1


def test_a_change_sees_what_was_taken_meanwhile(store: PostgresStore, another: Another, beside: ThreadPoolExecutor) -> None:
    """Who shrinks an entitlement waits for who is just taking a seat of it, and is told that it is in use."""
    house = make_house(store, seats=2)
    house.one(activate("a"))
    other = another(house)

    def shrink() -> selling.Changed:
        with other.store.transaction() as tx:
            return selling.change(Catalogue(tx), house.entitlement_id, selling.Change(seats=1), START)

    with store.transaction() as tx:
        house.leasing.decide(tx, [activate("b")], house.timekeeper.begin(tx, "taking"))
        shrinking = beside.submit(shrink)
        waits(shrinking)

    with pytest.raises(selling.InUse):
        shrinking.result()


def test_who_comes_back_just_now_is_not_forgotten(store: PostgresStore, another: Another, beside: ThreadPoolExecutor) -> None:
    """A holder of whom nothing speaks any more is forgotten, unless a server is about to write something about him."""
    house = make_house(store)
    house.one(activate("a"))
    for table in ("holding", "fact"):
        house.rows(f"DELETE FROM {table}")
    house.rows("UPDATE pool_right SET used = 0")
    other = another(house)

    def forget() -> int:
        with other.store.transaction() as tx:
            return Pruning(tx).forget_holders(START, 10)

    with store.transaction() as tx:
        house.leasing.decide(tx, [activate("a")], house.timekeeper.begin(tx, "coming back"))
        forgetting = beside.submit(forget)
        waits(forgetting)

    assert forgetting.result() == 0
    assert house.rows("SELECT seat_id FROM holder") == [("a",)]


def lease_of(house: House, seat: Served) -> str:
    """Give a lease that a program has, which the house recognises as its own."""
    holding = seat.holding
    claims = LeaseClaims(
        iss="db",
        tid=TENANT,
        prd="p",
        edn="e",
        ent=house.entitlement_id,
        act=holding.activation_id,
        gen=holding.generation,
        sub=seat.who.seat_id,
        feat={},
        iat=START.timestamp(),
        exp=holding.expires_at.timestamp(),
        epo=1,
        seq=holding.sequence,
    )
    lease = f"e30.{b64url(json.encode(claims))}.sig"
    house.signer.leases[lease] = claims
    return lease


# --- no circles ------------------------------------------------------------------------------------------------------


def test_what_is_locked_out_of_order_is_not_waited_for(store: PostgresStore, database: str, beside: ThreadPoolExecutor) -> None:
    """Nobody waits in a circle: who comes back for an earlier pool that another has fails at once, and does it again."""
    house = make_house(store)
    first, last = more_pools(store, house, 2)
    other = HandTimedStore(database)

    def both() -> None:
        with other.transaction() as tx:
            tx.pools([first, last])

    with pytest.raises(Conflict, match="out of order"), store.transaction() as tx:
        tx.pools([last])
        waiting = beside.submit(both)
        assert waits(waiting)
        tx.pools([first])
    waiting.result(5)
    other.close()


def test_an_earlier_pool_that_nobody_has_may_still_be_locked(store: PostgresStore) -> None:
    """Out of order is no fault as long as nobody would have to wait."""
    first, last = more_pools(store, make_house(store), 2)
    with store.transaction() as tx:
        tx.pools([last])
        found = tx.pools([first])

    assert [record.key for record in found] == [first]


def test_many_pools_at_once_are_locked_in_one_order(store: PostgresStore, database: str, beside: ThreadPoolExecutor) -> None:
    """However the batches of several servers overlap, none of them ends in a deadlock."""
    pools = more_pools(store, make_house(store), 8)

    def serve(number: int) -> None:
        with closing(HandTimedStore(database)) as other, other.transaction() as tx:
            tx.pools(pools if number % 2 else pools[::-1])

    for _ in range(10):
        with locked(store, pools[4]):  # so that all of them have some and wait for more
            serving = [beside.submit(serve, number) for number in range(4)]
            time.sleep(0.05)
        for done in serving:
            done.result(10)


def test_a_deadlock_with_somebody_else_is_a_conflict(store: PostgresStore, database: str, beside: ThreadPoolExecutor) -> None:
    """Who works on the tables by hand may lock as he likes: the transaction that PostgreSQL ends can be done again."""
    house = make_house(store)
    seat = served(house.one(activate("a")))
    key = (TENANT, house.entitlement_id)
    with psycopg.connect(database) as by_hand:
        by_hand.execute("SET deadlock_timeout = '20s'")  # so that it is the server's transaction that is ended
        by_hand.execute("SELECT 1 FROM holding WHERE activation_id = %s FOR UPDATE", (seat.holding.activation_id,))
        waiting = beside.submit(house.one, held(Verb.REFRESH, seat))
        assert waits(waiting)
        by_hand.execute("SELECT 1 FROM pool WHERE (tenant_id, entitlement_id) = (%s, %s) FOR UPDATE", key)

    with pytest.raises(Conflict):
        waiting.result(10)
    assert isinstance(house.one(held(Verb.REFRESH, seat)), Served)


async def test_the_desk_does_it_again_after_a_deadlock(store: PostgresStore, database: str) -> None:
    """The caller of a call that PostgreSQL ended is served by the next try, and notices nothing."""
    house = make_house(store)
    seat = served(house.one(activate("a")))
    key = (TENANT, house.entitlement_id)
    hour = timedelta(hours=1)
    desk = Desk(Registrar(store, house.leasing, house.timekeeper, Drawer()), beat=hour)
    desk.open()
    with psycopg.connect(database) as by_hand:
        by_hand.execute("SET deadlock_timeout = '20s'")
        by_hand.execute("SELECT 1 FROM holding WHERE activation_id = %s FOR UPDATE", (seat.holding.activation_id,))
        asked = asyncio.create_task(desk.ask(held(Verb.REFRESH, seat)))
        await asyncio.sleep(SOON)
        waited = not asked.done()
        locking = "SELECT 1 FROM pool WHERE (tenant_id, entitlement_id) = (%s, %s) FOR UPDATE"
        await asyncio.to_thread(by_hand.execute, locking, key)
        by_hand.rollback()
        outcome = await asked
    await asyncio.to_thread(desk.close)

    assert waited
    assert isinstance(outcome, Served)


# --- lost commits ----------------------------------------------------------------------------------------------------


def mark(store: PostgresStore, batch_id: str) -> None:
    with store.transaction() as tx:
        tx.mark_alive(Alive(START), batch_id)


@pytest.mark.parametrize("lost", [False, True], ids=["COMMIT arrived", "COMMIT got lost"])
def test_a_commit_whose_answer_is_lost_is_looked_up(store: PostgresStore, cluster: Cluster, lost: bool) -> None:
    """The line is cut while COMMIT is under way: nobody knows, until it is asked."""
    make_house(store)
    with line(cluster.directory) as cut, closing(HandTimedStore(cut.uri("lent"))) as server:
        mark(server, "before")
        cut.cut_at, cut.lost = COMMIT, lost
        cut.after.set()
        with pytest.raises(CommitUnknown):
            mark(server, "lost")

        assert cut.cuts == 1
        assert [server.was_committed(batch_id) for batch_id in ("before", "lost")] == [True, not lost]
        mark(server, "after")


def test_a_commit_that_is_still_under_way_is_waited_for(
    store: PostgresStore, cluster: Cluster, beside: ThreadPoolExecutor
) -> None:
    """The server may be slow to do what it was told: nobody says "it didn't happen" as long as it may."""
    make_house(store)
    with line(cluster.directory) as cut, closing(HandTimedStore(cut.uri("lent"))) as server:
        cut.cut_at = COMMIT
        with pytest.raises(CommitUnknown):
            mark(server, "slow")
        asked = beside.submit(server.was_committed, "slow")
        waited = waits(asked)
        cut.after.set()

        assert waited
        assert asked.result(10)


def test_what_did_not_happen_when_it_was_asked_about_never_will(store: PostgresStore) -> None:
    """A batch that was told lost and done again can't turn up afterwards."""
    make_house(store)
    assert not store.was_committed("late")
    with pytest.raises(psycopg.IntegrityError):
        mark(store, "late")

    assert not store.was_committed("late")


def test_a_backend_that_is_ended_before_the_commit_leaves_nothing(store: PostgresStore) -> None:
    """An administrator's pg_terminate_backend, a fail-over: nothing was recorded, and the next transaction works."""
    house = make_house(store)
    with pytest.raises(StorageUnavailable) as told, store.transaction() as tx:
        tx.mark_alive(Alive(START), "ended")
        end_backend(store, tx._connection)
        tx.tenants()

    assert not isinstance(told.value, CommitUnknown | Conflict)
    assert not store.was_committed("ended")
    assert isinstance(house.one(activate("a")), Served)


def test_a_connection_that_broke_while_it_lay_idle_is_replaced(store: PostgresStore) -> None:
    """A database that was restarted in between is not noticed."""
    house = make_house(store)
    with store.transaction() as tx:
        idle = tx._connection
    end_backend(store, idle)

    assert isinstance(house.one(activate("a")), Served)


def end_backend(store: PostgresStore, connection: "psycopg.Connection[tuple]") -> None:
    with psycopg.connect(store._conninfo, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))


def test_a_failed_statement_is_not_committed_in_silence(store: PostgresStore) -> None:
    """Who swallows an error and goes on is told at the end that nothing was kept: PostgreSQL itself answers "ROLLBACK"."""
    make_house(store)
    with pytest.raises(StorageUnavailable, match="rolled back"), store.transaction() as tx:
        tx.mark_alive(Alive(START), "swallowed")
        with pytest.raises(psycopg.ProgrammingError):
            tx._connection.execute("SELECT no_such_column")

    assert not store.was_committed("swallowed")


# --- durable ---------------------------------------------------------------------------------------------------------


def test_commits_are_synchronous_whatever_the_database_says(store: PostgresStore, database: str) -> None:
    """synchronous_commit=on and limits to waiting are set in every transaction, and for no longer."""
    store.migrate(START)
    names = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("ALTER DATABASE lent SET synchronous_commit = off")
        try:
            with closing(HandTimedStore(database)) as server:
                with server.transaction() as tx:
                    inside = [tx._connection.execute(f"SHOW {name}").fetchone()[0] for name in names]
                    connection = tx._connection
                outside = [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]
        finally:
            admin.execute("ALTER DATABASE lent RESET synchronous_commit")

    assert inside == ["on", "5s", "10s", "20s"]
    assert outside == ["off", "0", "0", "0"]


def test_what_the_standby_was_not_waited_for_is_not_acknowledged(
    store: PostgresStore, cluster: Cluster, beside: ThreadPoolExecutor
) -> None:
    """If it is cancelled, PostgreSQL commits with a warning: here that is a commit of which nobody knows."""
    make_house(store)
    with no_standby(cluster):
        marking = beside.submit(mark, store, "unreplicated")
        assert waits(marking)
        cluster.admin("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        with pytest.raises(CommitUnknown, match="synchronous replication"):
            marking.result(5)

    assert store.was_committed("unreplicated")


def test_whether_it_happened_is_not_told_before_it_is_on_the_standby(database: str, cluster: Cluster) -> None:
    """As long as there is no standby, nobody is told that it happened: that could be lost with the primary."""
    with closing(Impatient(database)) as server:
        make_house(server)
        with no_standby(cluster):
            with pytest.raises(CommitUnknown, match="no answer"):
                mark(server, "unreplicated")
            with pytest.raises(StorageUnavailable):
                server.was_committed("unreplicated")

        assert server.was_committed("unreplicated")


class Impatient(HandTimedStore):
    """A server that waits for half a second."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(conninfo, patience=timedelta(seconds=0.5))
        self._sql = {**self._sql, "begin": self._sql["begin"].replace("'5s'", "'500ms'")}


@contextmanager
def no_standby(cluster: Cluster) -> Iterator[None]:
    """Have commits wait for a standby that isn't there."""
    set_standbys(cluster, "'nobody'")
    try:
        wait_until_commits_wait(cluster)
        yield
    finally:
        set_standbys(cluster, "''")


def set_standbys(cluster: Cluster, names: str) -> None:
    cluster.admin(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
    cluster.admin("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while cluster.admin("SHOW synchronous_standby_names") != [(names.strip("'"),)] and time.monotonic() < deadline:
        time.sleep(0.02)


def wait_until_commits_wait(cluster: Cluster) -> None:
    """See that the setting has arrived: commits go by what the checkpointer has read of it, which may be the last to do so."""
    deadline = time.monotonic() + 10
    with ThreadPoolExecutor(1) as beside:
        while time.monotonic() < deadline:
            commit = beside.submit(cluster.admin, "SELECT pg_logical_emit_message(true, 'probe', 'x')")
            while not commit.done():
                if cluster.admin("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
                    commit.result(5)
                    return
    raise AssertionError("commits don't wait for the standby")


def test_a_full_disk_is_told_and_nothing_is_kept(cluster: Cluster) -> None:
    """StorageFull, nothing recorded; and as soon as there is room again the next call is served."""
    with small_disk(cluster.directory) as place, cluster.database() as uri, closing(HandTimedStore(uri)) as store:
        house = make_house(store, seats=100_000)
        cluster.admin(f"CREATE TABLESPACE small LOCATION '{place}'")
        try:
            house.rows("ALTER TABLE fact SET TABLESPACE small")
            taken = 0
            with pytest.raises(StorageFull):
                while True:
                    house.ask(*(activate(f"s{taken + number}") for number in range(200)))
                    taken += 200

            assert house.used() == taken
            house.rows("ALTER TABLE fact SET TABLESPACE pg_default")
            assert isinstance(house.one(activate("after")), Served)
        finally:
            store.close()
            cluster.admin("DROP TABLESPACE small")


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """Give a small disk that the server may write to; skip where none can be mounted."""
    place = directory / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True, timeout=30
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here (that takes root): {mounted.stderr.strip()}")
    try:
        shutil.chown(place, postgres.USER)
        place.chmod(0o700)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=30)
        place.rmdir()


def test_two_servers_sweep_at_once_and_what_they_find_is_written_once(
    store: PostgresStore, another: Another, beside: ThreadPoolExecutor
) -> None:
    """Refusals that were counted, and a place whose lease has ended, become one fact each."""
    house = make_house(store, seats=1)
    house.ask(activate("a"))
    house.ask(activate("b"))
    house.ask(activate("b"))
    house.pass_(130)
    other = another(house)
    with store.transaction() as tx:
        house.leasing.sweep(tx, house.timekeeper.begin(tx, "sweep-of-one"))
        swept = beside.submit(other.sweep)
        time.sleep(SOON)  # in which the other finds the same
    swept.result(30)

    assert sorted(house.facts()) == ["Claimed", "Denied", "DeniedAgain", "Expired"]


# --- what else differs -----------------------------------------------------------------------------------------------


def test_a_report_waits_for_nobody_and_changes_nothing(store: PostgresStore) -> None:
    """A look sees one moment, while pools are locked by who decides, and can't write."""
    house = make_house(store)
    key = (TENANT, house.entitlement_id)
    with locked(store, key), store.snapshot() as look:
        assert [record.key for record in look.pools([key])] == [key]
        assert [ledger.tenant_id for ledger in look.ledgers([TENANT])] == [TENANT]
    with pytest.raises(StorageUnavailable, match="read-only"), store.snapshot() as look:
        look.execute("set_contact", tenant_id=TENANT, contact="nobody")


def test_a_character_that_postgresql_does_not_know_is_kept_as_another(store: PostgresStore) -> None:
    """A zero in a name spoils neither the batch nor what stands around it; a backslash before `u0000` is one."""
    house = make_house(store)
    served(house.one(activate("a", who=Who(seat_id="a\0\0b", seat_name=r"\u0000 \\u0000"))))

    assert house.rows("SELECT seat_id, seat_name FROM holder") == [("a\ufffd\ufffdb", r"\u0000 \\u0000")]
    assert isinstance(house.one(activate("x", product_id="no\0such")), Refused)


def test_growing_tables_are_taken_stock_of(store: PostgresStore) -> None:
    """PostgreSQL is not left to believe that tables are empty which have grown since: it would read all of them."""
    house = make_house(store, seats=1000)
    house.ask(*(activate(f"s{number}") for number in range(500)))
    house.rows("SELECT pg_stat_force_next_flush()")
    for _ in range(16):
        house.sweep()

    assert house.rows("SELECT reltuples FROM pg_class WHERE relname = 'holding'") == [(500,)]


@pytest.mark.parametrize("prepare", [False, True])
def test_statements_are_prepared_only_where_that_is_wanted(database: str, prepare: bool) -> None:
    """An old PgBouncer gives every transaction another connection, where a prepared statement isn't known."""
    with closing(PostgresStore(database, prepare=prepare)) as server:
        make_house(server)
        for _ in range(5):
            with server.transaction() as tx:
                tx.ledgers([TENANT])
                prepared = tx._connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()

    assert (prepared != (0,)) is prepare


def test_a_server_that_cannot_be_reached_is_trouble_told_in_our_words(tmp_path: Path) -> None:
    """Nothing is there: StorageUnavailable, without the password."""
    store = PostgresStore(f"host={tmp_path} dbname=seats password=secret")
    with pytest.raises(StorageUnavailable, match="PostgreSQL seats at") as told, store.transaction():
        pass

    assert "secret" not in str(told.value)
