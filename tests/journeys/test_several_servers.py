"""Several servers on one PostgreSQL database, as real processes: to a program it makes no difference which one it asks."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.wire import Caller
from tests.support import pgbouncer
from tests.support.postgres import Clusters, servers
from tests.support.servers import CloudServer, Sold, seatkeeper

pytestmark = pytest.mark.skipif(not servers(), reason="there is no PostgreSQL to test with")


@pytest.fixture
def database(clusters: Clusters) -> Iterator[str]:
    """Give the URL of an empty database."""
    with clusters[next(iter(servers()))].empty() as url:
        yield url


@pytest.fixture
def pair(database: str, tmp_path: Path) -> Iterator[tuple[CloudServer, CloudServer]]:
    """Give two servers on one database; both have one directory, in which the sealing key lies."""
    with (
        CloudServer(tmp_path / "data", database=database) as one,
        CloudServer(tmp_path / "data", database=database) as other,
    ):
        yield one, other


def at(server: CloudServer, sold: Sold) -> Sold:
    """Give what was sold, to be asked for at another server."""
    return Sold(sold.tenant, sold.product, sold.entitlement, sold.code, sold.public_key, server.url)


@pytest.mark.anyio
async def test_a_programs_life_on_two_servers(pair: tuple[CloudServer, CloudServer]) -> None:
    """Activated on one, refreshed on the other, refused with the holders' names by both, returned on the first."""
    one, other = pair
    sold = await asyncio.to_thread(one.sell, "acme", "solver", seats=1)
    ann, ann_elsewhere, bob = Caller(sold, "ann"), Caller(at(other, sold), "ann"), Caller(at(other, sold), "bob")

    taken = await ann.activate()
    refreshed = await ann_elsewhere.refresh(taken.token)
    refused = await bob.activate()
    returned = await ann.give_back(refreshed.token)
    let_in = await bob.activate()
    for caller in (ann, ann_elsewhere, bob):
        caller.hang_up()

    assert (taken.status, refreshed.status, refused.status, returned.status, let_in.status) == (201, 200, 402, 204, 201)
    assert [holder["seatName"] for holder in refused.document["denial"]["holders"]] == ["ann@host"]


@pytest.mark.anyio
async def test_one_of_two_servers_dies_and_its_programs_go_on_at_the_other(pair: tuple[CloudServer, CloudServer]) -> None:
    """Nothing of a seat is kept in a server: what one granted is refreshed by another when the first is killed."""
    one, other = pair
    sold = await asyncio.to_thread(one.sell, "acme", "solver", seats=2)
    callers = [Caller(sold, name) for name in ("ann", "bob")]
    tokens = [(await caller.activate()).token for caller in callers]
    one.kill()
    there = [Caller(at(other, sold), caller.seat_id) for caller in callers]
    kept = [await caller.refresh(token) for caller, token in zip(there, tokens, strict=True)]
    eve = Caller(at(other, sold), "eve")
    refused = await eve.activate()
    for caller in (*callers, *there, eve):
        caller.hang_up()

    assert [reply.status for reply in kept] == [200, 200]
    assert refused.document["errorCode"] == "seats.exhausted"
    assert other.ask_json("verify")["holds"]


@pytest.mark.anyio
async def test_the_verbs_beside_two_servers(pair: tuple[CloudServer, CloudServer]) -> None:
    """What a verb changes, both servers follow at once; what programs did at either, every verb sees."""
    one, other = pair
    sold = await asyncio.to_thread(one.sell, "acme", "solver", seats=1)
    ann, bob = Caller(sold, "ann"), Caller(at(other, sold), "bob")
    await ann.activate()
    refused = await bob.activate()
    seats = other.ask_json("seats", "acme")[0]
    why = one.ask("why", refused.document["denial"]["id"])
    one.ask("change", "acme", "--seats", "2")
    grown = await bob.activate()
    freed = other.ask_json("free", "ann@host", "--now")
    for caller in (ann, bob):
        caller.hang_up()

    assert (seats["held"], seats["free"]) == (1, 0)
    assert "ann@host" in why
    assert grown.status == 201
    assert freed["countsUntil"] is None
    assert one.ask_json("ls")[0]["used"] == 1
    assert one.ask("code", "show", "acme").strip() == sold.code
    assert "took a seat" in other.ask("log")
    assert one.ask_json("vendor")["tenantId"] == sold.tenant
    assert "not behind" in other.ask("clock")
    assert one.ask_json("verify")["holds"]


@pytest.mark.skipif(pgbouncer.program() is None, reason="there is no PgBouncer")
@pytest.mark.anyio
async def test_two_servers_behind_a_pgbouncer(database: str, tmp_path: Path) -> None:
    """Which lends connections for a transaction at a time, fewer than there are desks: nothing is kept in a connection."""
    told = {"SEATKEEPER_DATABASE_PREPARE": "false"}
    with (
        pgbouncer.bounced(database, connections=3) as url,
        CloudServer(tmp_path / "data", database=url, environment=told) as one,
        CloudServer(tmp_path / "data", database=url, environment=told, options=("--workers", "2")) as other,
    ):
        sold = await asyncio.to_thread(one.sell, "acme", "solver", seats=40)
        callers = [Caller(sold if number % 2 else at(other, sold), f"program-{number}") for number in range(50)]
        taken = await asyncio.gather(*(caller.activate() for caller in callers))
        kept = [(caller, reply) for caller, reply in zip(callers, taken, strict=True) if reply.status == 201]
        refreshed = await asyncio.gather(*(caller.refresh(reply.token) for caller, reply in kept))
        for caller in callers:
            caller.hang_up()

        assert sorted(reply.status for reply in taken) == [201] * 40 + [402] * 10
        assert {reply.status for reply in refreshed} == {200}
        assert other.ask_json("ls")[0]["used"] == 40
        assert one.ask_json("verify")["holds"]


def test_doctor_examines_postgresql(pair: tuple[CloudServer, CloudServer]) -> None:
    """Its version, durability, schema, connections and clock; that somebody serves, its beat says."""
    one, _ = pair
    one.sell("acme", "solver", seats=1)
    found = {finding["subject"]: finding for finding in examined(one)}

    assert {"database", "schema", "durability", "connections", "clocks", "server", "clock"} <= found.keys()
    assert "integrity" not in found
    assert found["durability"]["seen"] == "fsync off"  # of this PostgreSQL, which cuts no power
    assert found["durability"]["state"] == "failed"
    assert {finding["state"] for subject, finding in found.items() if subject != "durability"} == {"ok"}


def examined(server: CloudServer) -> list[dict[str, str]]:
    """Give what doctor says, whatever its exit code."""
    return json.loads(server.verb("doctor", "--json").stdout)


def test_a_host_with_another_sealing_key_is_refused(database: str, tmp_path: Path) -> None:
    """It would sell what no other could serve: neither a server nor a verb starts with it, and says what is needed."""
    there = ("--database", database, "--data", tmp_path / "there")
    seatkeeper("sell", "acme", "solver", "--seats", "1", *there)
    missing = seatkeeper("sell", "bolt", "solver", "--seats", "1", "--database", database, "--data", tmp_path / "here")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "seal.key").write_bytes(b"k" * 32)
    here = ("--database", database, "--data", tmp_path / "here")
    sold = seatkeeper("sell", "bolt", "solver", "--seats", "1", "--tenant", "another vendor", *here)
    served = seatkeeper("cloud", "--port", "0", *here)

    assert (missing.returncode, sold.returncode, served.returncode) == (3, 3, 3)
    assert "copy it from where it was made" in missing.stderr
    assert "needs the key file it was made with" in sold.stderr
    assert "does not fit" in served.stderr


def test_a_password_is_never_shown(clusters: Clusters, tmp_path: Path) -> None:
    """Not where the database can't be reached, nor where its URL can't be read, nor by a server that starts."""
    secret = "geheim-7"
    urls = [
        f"postgresql://ann:{secret}@127.0.0.1:1/seats",
        f"postgresql://ann:{secret}%zz@127.0.0.1:1/seats",
        f"postgresql://ann:more@{secret}@127.0.0.1:1/seats",
        f"postgresql://ann:more/{secret}@127.0.0.1:1/seats",
        f"mysql://ann:{secret}@127.0.0.1/seats",
    ]
    said = [
        seatkeeper(*verb, "--database", url, "--data", tmp_path / "data")
        for url in urls
        for verb in (("ls",), ("cloud", "--port", "0"))
    ]
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(
            tmp_path / "data", database=url.replace("///", f"//postgres:{secret}@/").replace("&user=postgres", "")
        ) as server,
    ):
        server.ask("sell", "acme", "solver", "--seats", "1")
        doctor = server.verb("doctor")

        assert secret not in server.start_line + server.log.read_text() + doctor.stdout + doctor.stderr
        assert "PostgreSQL own_" in server.start_line

    assert {done.returncode for done in said} == {2, 3}
    assert all(secret not in done.stdout + done.stderr for done in said)
