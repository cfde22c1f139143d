"""A cloud server of real parts: sold to on disk, asked over HTTP, stopped and started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Expected, Trust
from seatkeeper_server.apps import chores
from seatkeeper_server.apps.cloud import build, start_line
from seatkeeper_server.domain.catalogue import Sale, Sold, Terms, read_feature
from seatkeeper_server.domain.timekeeping import Alive
from seatkeeper_server.keys import CERTIFICATE_LASTS, SealKey, SealKeyError
from seatkeeper_server.service.ports import StorageUnavailable
from seatkeeper_server.service.selling import sell
from seatkeeper_server.service.timekeeping import ClockState
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.locking import DirectoryInUse
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault
from tests.server_http.running import PATIENCE, running

SERVE = "from seatkeeper_server.apps.cloud import serve; from seatkeeper_server.settings import Settings; serve(Settings())"


def sold(settings: Settings, seats: int = 2) -> Sold:
    """Sell to the server's database, as the command line does beside it."""
    store = SqliteStore(settings.database_path)
    try:
        with store.transaction() as tx:
            catalogue = Catalogue(tx)
            vault = KeyVault(catalogue, SealKey.load_or_create(settings.seal_key_path))
            terms = Terms(seats=seats, features=(read_feature("render=elementPool:10"), read_feature("export=bool")))
            now = datetime.now(UTC)
            sale = Sale(customer="acme", product="solver", terms=terms, another=True)
            return sell(catalogue, vault, sale, now=now, starts_at=now, random=os.urandom)
    finally:
        store.close()


@dataclass
class Program:
    """A program that takes a seat, with the least a client needs to remember."""

    url: str
    sale: Sold
    seat_id: str = "ada@ws/0"
    token: str = ""
    nonce: str | None = None

    @property
    def client_nonce(self):
        """A nonce of this program's own, 24 characters; always the same, so that activating twice is a repeat."""
        return self.seat_id.replace("@", "-").replace("/", "-").ljust(24, "n")

    def send(self, method, path, document=None, **headers):
        given = {"n-tenantid": self.sale.tenant_id, **headers}
        if self.token:
            given["authorization"] = f"Bearer {self.token}"
        if self.nonce and method != "POST":
            given["n-nonce"] = self.nonce
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
            reply = client.request(method, self.url + path, json=document, headers=given)
        self.nonce = reply.headers.get("n-nonce", self.nonce)
        return reply

    def activate(self, **changes):
        document = {
            "productId": self.sale.product_id,
            "seatId": self.seat_id,
            "activationCredentials": {"type": "activationCode", "code": self.sale.code},
            "clientNonce": self.client_nonce,
        }
        reply = self.send("POST", "/api/v1/activate", {**document, **changes})
        if reply.is_success:
            self.token = reply.json()["accessToken"]
        return reply

    def refresh(self, **document):
        return self.send("PATCH", "/api/v1/activation/refresh", {"clientNonce": self.client_nonce, **document})

    def believes(self, body):
        """The claims of the lease in an answer, if a client that pinned the root believes them."""
        trust = Trust((read_public_key(self.sale.public_key),))
        expected = Expected(
            tenant_id=self.sale.tenant_id, product_id=self.sale.product_id, seat_id=self.seat_id, nonce=self.client_nonce
        )
        return trust.lease(body["lease"], trust.certificate(body["certificate"]), expected)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A server of its own on a free port, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith("SEATKEEPER_")]:
        monkeypatch.delenv(name)
    return Settings(data=tmp_path / "cloud", port=0)


@contextmanager
def serving(settings):
    """The server, listening."""
    with build(settings) as cloud, running(cloud.app, settings) as server:
        yield server


def test_a_seat_from_activation_to_return(settings):
    """Activate, refresh, read, draw and give back a feature, use one, return: with real keys, desk and database."""
    with serving(settings) as server:
        program = Program(server.url, sold(settings))
        activated = program.activate()
        first = program.believes(activated.json())
        refreshed = program.refresh(lastLease=activated.json()["lease"])
        body = {**refreshed.json(), "certificate": activated.json()["certificate"]}
        second = program.believes(body)
        state = program.send("GET", "/api/v1/activation")
        features = "/api/v1/activation/features"
        drawn = program.send(
            "PATCH", f"{features}/checkout", {"key": "render", "amount": 4, "clientNonce": program.client_nonce}
        )
        back = program.send("PATCH", f"{features}/return", {"key": "render", "amount": 1, "clientNonce": program.client_nonce})
        used = program.send("PATCH", f"{features}/track-usage", {"key": "export"})
        bought = program.send("GET", "/api/v1/activation/entitlement")
        returned = program.send("DELETE", "/api/v1/activation")
        twice = program.send("DELETE", "/api/v1/activation")
        gone = program.refresh()

        assert [r.status_code for r in (activated, refreshed, state, drawn, back, used, bought)] == [
            201,
            200,
            200,
            200,
            200,
            204,
            200,
        ]
        assert (second.seq > first.seq, second.act == first.act, state.json()["status"]) == (True, True, "active")
        assert (drawn.json()["active"], back.json()["active"], back.json()["available"]) == (4, 3, 7)
        assert (bought.json()["customerName"], bought.json()["seatCount"]) == ("acme", 2)
        assert [returned.status_code, twice.status_code, gone.status_code] == [204, 204, 409]


def test_the_third_of_two_is_refused_and_told_why(settings):
    """402 with a denial that names the holders; status says the same to anybody with the code."""
    with serving(settings) as server:
        sale = sold(settings, seats=2)
        for name in ("a", "b"):
            Program(server.url, sale, seat_id=name).activate(seatName=f"{name}@ws")
        third = Program(server.url, sale, seat_id="c")
        reply = third.activate()
        denial = reply.json()["denial"]
        status = third.send("POST", "/api/v1/status", {"productId": sale.product_id, "activationCode": sale.code}).json()

        assert (reply.status_code, reply.json()["errorCode"], denial["rule"]) == (402, "seats.exhausted", "pool-full")
        assert sorted(holder["seatName"] for holder in denial["holders"]) == ["a@ws", "b@ws"]
        assert (denial["limit"], denial["used"], denial["id"].startswith("D-")) == (2, 2, True)
        assert (status["seats"], status["used"], status["free"], status["productName"]) == (2, 2, 0, "solver")


def test_a_repeat_gives_the_same_place_and_a_used_nonce_is_refused(settings):
    """The same activation is answered anew with the same seat; a nonce that was used for something else is 409."""
    with serving(settings) as server:
        program = Program(server.url, sold(settings))
        first, again = program.activate(), program.activate()
        old = program.nonce
        program.refresh()
        program.nonce = old
        stale = program.refresh(lastLease="other words")

        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["activation"]["id"] == again.json()["activation"]["id"]
        assert (stale.status_code, stale.json()["errorCode"]) == (409, "nonce.stale")


def test_wrong_credentials_are_one_and_the_same(settings):
    """A wrong code, product or tenant: the same 401."""
    with serving(settings) as server:
        sale = sold(settings)
        wrong = [
            replace(sale, code="00000-00000-00000-00000-00000"),
            replace(sale, product_id="prod_" + "x" * 22),
            replace(sale, tenant_id="t_" + "x" * 22),
        ]
        replies = [Program(server.url, each).activate() for each in wrong]

        assert [reply.status_code for reply in replies] == [401] * 3
        assert len({reply.content for reply in replies}) == 1


def test_a_tenant_sold_to_while_the_server_runs_is_served(settings):
    """Selling needs no restart, also after the tenant was asked for in vain."""
    with serving(settings) as server:
        with httpx2.Client(trust_env=False) as client:
            before = client.get(f"{server.url}/.well-known/seatkeeper/keys", params={"tenant": "t_unknown"}).status_code
        sale = sold(settings)

        assert (before, Program(server.url, sale).activate().status_code) == (404, 201)


def test_a_seat_outlives_the_server(settings):
    """Stopped and started again on the same data, the server knows the seat, its token and its nonce."""
    with serving(settings) as server:
        program = Program(server.url, sold(settings))
        program.activate()
    with serving(settings) as server:
        program.url = server.url

        assert program.refresh().status_code == 200


def test_a_clock_that_is_behind_is_noticed_at_the_start(settings):
    """Time goes on from the last moment that was recorded, and the start line says that the clock is suspect."""
    ahead = datetime.now(UTC) + timedelta(days=1)
    with build(settings):
        sale = sold(settings)
    store = SqliteStore(settings.database_path)
    with store.transaction() as tx:
        tx.mark_alive(Alive(ahead), "a day ahead")
    store.close()
    with build(settings) as cloud:
        state = cloud.clock_state
    with serving(settings) as server:
        expiry = Program(server.url, sale).activate().json()["activation"]["leaseExpiry"]

    assert state is ClockState.SUSPECT
    assert datetime.fromisoformat(expiry) > ahead


def test_metrics_tell_of_seats_batches_and_requests(settings):
    """Seats used and limit by entitlement, refusals by rule, latencies, batch sizes."""
    with serving(settings) as server:
        sale = sold(settings, seats=1)
        Program(server.url, sale, seat_id="a").activate()
        Program(server.url, sale, seat_id="b").activate()
        with httpx2.Client(trust_env=False) as client:
            text = client.get(f"{server.url}/metrics").text
        labels = f'{{entitlement="{sale.entitlement_id}",product="solver",tenant="default"}}'

        assert f"seatkeeper_seats_used{labels} 1.0" in text
        assert f"seatkeeper_seats_limit{labels} 1.0" in text
        assert 'seatkeeper_refusals_total{rule="pool-full"} 1.0' in text
        assert "seatkeeper_commit_seconds_count 2.0" in text
        assert "seatkeeper_batch_calls_sum 2.0" in text


def test_the_settings_say_who_may_read_the_metrics(settings):
    """This machine; behind a proxy only who shows the token, unless they are open to everybody."""
    proxied = {"x-forwarded-for": "192.0.2.7"}
    shown = {**proxied, "authorization": "Bearer prometheus-reads-here"}
    opened = [{}, {"metrics_token": "prometheus-reads-here"}, {"metrics_open": True}]
    statuses = []
    for changes in opened:
        with serving(replaced(settings, **changes)) as server, httpx2.Client(trust_env=False) as client:
            statuses.append([client.get(f"{server.url}/metrics", headers=how).status_code for how in ({}, proxied, shown)])

    assert statuses == [[200, 403, 403], [200, 403, 200], [200, 200, 200]]


# --- the data directory --------------------------------------------------------------------------------------------


def test_a_directory_has_one_server(settings):
    """A second server on the same data is refused."""
    with build(settings), pytest.raises(DirectoryInUse), build(settings):
        pass


def test_the_first_start_makes_what_it_needs(settings):
    """A directory that only its owner can look into, a database, a sealing key."""
    with build(settings):
        names = {path.name for path in settings.data.iterdir()}

    assert {"seatkeeper.db", "seal.key"} <= names
    assert settings.data.stat().st_mode & 0o077 == 0


def test_a_directory_that_can_not_be_made_is_a_clear_error(tmp_path):
    """No stack for people."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageUnavailable, match="can't be made"), build(Settings(data=tmp_path / "file" / "cloud")):
        pass


def test_a_lost_sealing_key_is_not_replaced_in_silence(settings):
    """A new one would open nothing; who lost it has to know before it is too late."""
    with build(settings):
        sold(settings)
    settings.seal_key_path.unlink()

    with pytest.raises(SealKeyError, match="put it back"), build(settings):
        pass
    assert not settings.seal_key_path.exists()


def test_another_sealing_key_is_refused_at_the_start(settings):
    """Not at the first request."""
    with build(settings):
        sold(settings)
    settings.seal_key_path.write_bytes(bytes(32))

    with pytest.raises(SealKeyError, match="does not fit"), build(settings):
        pass
    with build(replaced(settings, data=settings.data.parent / "other")):
        pass  # what was opened before the error has been let go of


def replaced(settings, **changes):
    return Settings(**{**settings.model_dump(), **changes})


def test_a_key_that_wears_out_is_renewed_at_the_start(settings):
    """A server that is started once in nine months never signs under a certificate that has ended."""
    with build(settings):
        sale = sold(settings)
    store = SqliteStore(settings.database_path)
    with store.transaction() as tx:
        ago = (CERTIFICATE_LASTS * 3 / 4) // timedelta(microseconds=1)
        tx._connection.execute(
            "UPDATE tenant_key SET created_at = created_at - ?1, expires_at = expires_at - ?1 WHERE purpose = 'signing'", (ago,)
        )
    store.close()
    with serving(settings) as server:
        program = Program(server.url, sale)
        body = program.activate().json()
        with httpx2.Client(trust_env=False) as client:
            keys = client.get(f"{server.url}/.well-known/seatkeeper/keys", params={"tenant": sale.tenant_id}).json()

        assert program.believes(body).seq == 1
        assert (keys["certificates"][0], len(keys["certificates"])) == (body["certificate"], 2)


def test_a_running_server_tidies(settings, monkeypatch):
    """What is of no use any more goes by itself: here a kept key whose time is over, next to one whose isn't."""
    monkeypatch.setattr(chores, "EVERY", timedelta(milliseconds=20))
    with build(settings):
        store = SqliteStore(settings.database_path)
        with store.transaction() as tx:
            for key, until in (("old", 1), ("new", 1 << 60)):
                tx._connection.execute("INSERT INTO keyed VALUES ('t', 's', ?, 'b', 'a', 1, ?)", (key, until))
        deadline = time.monotonic() + PATIENCE
        kept = ["old", "new"]
        while len(kept) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
            with store.transaction() as tx:
                kept = [row[0] for row in tx._connection.execute("SELECT key FROM keyed")]
        store.close()

    assert kept == ["new"]


# --- the process ---------------------------------------------------------------------------------------------------


def test_the_start_line_says_where_and_for_whom(settings):
    """URL, data directory, and whether other machines can connect."""
    local = start_line(settings, "http://127.0.0.1:6500", ClockState.OK)
    opened = start_line(replaced(settings, host="0.0.0.0"), "http://0.0.0.0:6500", ClockState.SUSPECT)

    assert local.startswith("seatkeeper cloud: http://127.0.0.1:6500 · for this machine only; --host")
    assert local.endswith(f"data {settings.data}")
    assert "WITHOUT TLS" in opened
    assert "clock-suspect" in opened


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_well_when_told_to(settings, stop):
    """One line on standard output; told to stop under load it answers, ends with 0, and what it acknowledged is on disk."""
    environment = {**os.environ, "SEATKEEPER_DATA": str(settings.data), "SEATKEEPER_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        url, sale = line.split()[2], sold(settings, seats=5_000)
        answered, warm = [], threading.Event()

        def take_seats(worker):
            for number in range(1_000):
                try:
                    reply = Program(url, sale, seat_id=f"seat-{worker}-{number}").activate()
                except httpx2.TransportError:
                    return  # the door is closed
                answered.append(reply.status_code)
                if len(answered) >= 20:
                    warm.set()

        workers = [threading.Thread(target=take_seats, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        assert warm.wait(PATIENCE)
        process.send_signal(stop)
        for worker in workers:
            worker.join(PATIENCE)
        output, log = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    store = SqliteStore(settings.database_path)
    with store.transaction() as tx:
        used = Catalogue(tx).bought()[0].pool.seats.used
    store.close()

    assert (process.returncode, output, line.count("\n")) == (0, "", 1)
    assert set(answered) == {201}
    assert len(answered) <= used <= len(answered) + 4
    assert "Traceback" not in log
