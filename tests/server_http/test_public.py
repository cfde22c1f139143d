"""What everybody may read: keys, health, metrics."""

import pytest

from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Trust
from seatkeeper_server.http.health import Health
from seatkeeper_server.http.metrics import OTHERS, PoolUse, Readers, bounded
from seatkeeper_server.service.calls import Refused
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable
from tests.server_http.front import TENANT, THIS_MACHINE, Client, refused, served

KEYS = "/.well-known/seatkeeper/keys"


# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"headers": {}}, {"headers": {"n-tenantid": None}, "query": f"tenant={TENANT}"}])
def test_a_tenants_keys_are_public(how):
    """By header or by query: the root, and certificates that it signed."""
    body = Client(served()).send("GET", KEYS, **how).json
    certificate = Trust((read_public_key(body["publicKey"]),)).certificate(body["certificates"][0])

    assert (body["tenantId"], certificate.tid) == (TENANT, TENANT)


@pytest.mark.parametrize("how", [{"headers": {"n-tenantid": "t_unknown"}}, {"headers": {"n-tenantid": None}}])
def test_an_unknown_tenant_has_none(how):
    """404, for a tenant that isn't there and for none."""
    assert Client(served()).send("GET", KEYS, **how).status == 404


# --- health --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health/ready"])
def test_a_server_that_serves_is_alive_and_ready(path):
    """Without a tenant, by GET and by HEAD, as load balancers ask."""
    client = Client(served())
    anonymous = {"n-tenantid": None}

    assert [client.send(method, path, None, anonymous).status for method in ("GET", "HEAD")] == [200, 200]


@pytest.mark.parametrize("trouble", [StorageFull("full"), StorageUnavailable("away")])
def test_a_server_whose_database_failed_is_alive_and_not_ready(trouble, capsys):
    """Starting it anew would not help, sending to it neither."""
    client = Client(trouble)
    client.activate()

    assert (client.send("GET", "/livez").status, client.send("GET", "/readyz").status) == (200, 503)


def test_readiness_comes_back_by_time_alone():
    """Nobody sends to a server that isn't ready, so no success could make it so."""
    now = [0.0]
    health = Health(lambda: now[0])
    health.storage_failed()
    before = health.trouble
    now[0] = 5.0

    assert (before, health.trouble) == ("The database has just failed.", None)


# --- metrics -------------------------------------------------------------------------------------------------------

SECRET = "a-token-for-prometheus"


@pytest.mark.parametrize("address", [THIS_MACHINE, "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_metrics_are_for_this_machine(address):
    """The page names vendors, products and entitlements; a program on the server's machine may read it as it is."""
    assert Client(served()).send("GET", "/metrics", address=address).status == 200


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "", "127.0.0.1.example"])
def test_other_machines_are_refused_the_metrics(address):
    """403 `forbidden`, and the pools aren't even read."""
    asked = []
    reply = Client(served(), pools=lambda: asked.append(1) or []).send("GET", "/metrics", address=address)

    assert (reply.status, reply.json["errorCode"], asked) == (403, "forbidden", [])


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for"])
def test_what_a_proxy_passes_on_is_not_from_this_machine(header):
    """A proxy beside the server has a loopback address, and whoever it asks for has not."""
    assert Client(served()).send("GET", "/metrics", None, {header: "for=192.0.2.7"}, address=THIS_MACHINE).status == 403


@pytest.mark.parametrize(
    ("shown", "status"), [(f"Bearer {SECRET}", 200), (f"bearer {SECRET}", 200), ("Bearer no", 403), (SECRET, 403), (None, 403)]
)
def test_a_token_opens_the_metrics(shown, status):
    """Whoever shows the token of the settings may read them from anywhere."""
    client = Client(served(), readers=Readers(token=SECRET))

    assert client.send("GET", "/metrics", None, {"authorization": shown}).status == status
    assert SECRET not in repr(Readers(token=SECRET))


def test_metrics_may_be_opened_to_everybody():
    """By a setting; nothing else does."""
    assert Client(served(), readers=Readers(everybody=True)).send("GET", "/metrics").status == 200


def test_the_pools_are_read_once_a_second_however_often_the_page_is():
    """Who asks all the time costs the database no more."""
    now, asked = [0.0], []
    client = Client(served(), pools=lambda: asked.append(now[0]) or [], clock=lambda: now[0])
    for now[0] in (0.0, 0.5, 0.9, 1.0, 1.9, 2.5):
        page(client)

    assert asked == [0.0, 1.0, 2.5]


def page(client):
    reply = client.send("GET", "/metrics", address=THIS_MACHINE)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    return reply.body.decode()


def test_seats_used_and_limit_are_shown_per_entitlement():
    """As they are when the page is asked for, or were a second ago."""
    text = page(
        Client(served(), pools=lambda: [PoolUse("vendor", "ent_1", "solver", 2, 3), PoolUse("v", "ent_2", "x", 1, None)])
    )

    assert 'seatkeeper_seats_used{entitlement="ent_1",product="solver",tenant="vendor"} 2.0' in text
    assert 'seatkeeper_seats_limit{entitlement="ent_1",product="solver",tenant="vendor"} 3.0' in text
    assert 'seatkeeper_seats_limit{entitlement="ent_2"' not in text


def test_the_fullest_are_named_and_the_rest_is_summed():
    """However many entitlements there are, labels are bounded; the sum is limited only if all of it is."""
    pools = [PoolUse("v", f"ent_{n}", "p", used=n, limit=10) for n in range(1, 6)]
    named = bounded(pools, 2)
    unlimited = bounded([*pools, PoolUse("v", "ent_0", "p", 0, None)], 2)

    assert [(pool.entitlement_id, pool.used, pool.limit) for pool in named] == [
        ("ent_5", 5, 10),
        ("ent_4", 4, 10),
        (OTHERS, 6, 30),
    ]
    assert unlimited[-1].limit is None


def test_refusals_are_counted_by_rule():
    """A pool's rule where a pool decided, else the problem; anything else shares one label."""
    client = Client(refused())
    client.activate()
    client.desk.outcome = Refused("seat.gone")
    client.activate()
    client.desk.outcome = refused(rule="invented")
    client.activate()
    text = page(client)

    assert 'seatkeeper_refusals_total{rule="pool-full"} 1.0' in text
    assert 'seatkeeper_refusals_total{rule="seat.gone"} 1.0' in text
    assert f'seatkeeper_refusals_total{{rule="{OTHERS}"}} 1.0' in text


def test_requests_are_timed_by_route_and_status():
    """Paths that aren't ours share one label, so that nobody can fill the memory with them."""
    client = Client(served(new_place=True))
    client.activate()
    client.send("GET", "/invented/1")
    client.send("GET", "/invented/2")
    text = page(client)

    assert 'seatkeeper_request_seconds_count{route="POST /api/v1/activate",status="201"} 1.0' in text
    assert 'seatkeeper_request_seconds_count{route="other",status="404"} 2.0' in text
    assert "invented" not in text


def test_batches_are_counted_and_timed():
    """The desk tells of each batch: how many calls, how long until they were durable."""
    client = Client(served())
    client.metrics.batch(12, 0.003)
    text = page(client)

    assert 'seatkeeper_batch_calls_bucket{le="16.0"} 1.0' in text
    assert 'seatkeeper_commit_seconds_bucket{le="0.005"} 1.0' in text


def test_the_other_counters_are_seen_when_the_database_is_away(capsys):
    """A monitor is needed most when something is broken."""

    def away():
        raise StorageUnavailable("away")

    client = Client(served(), pools=away)
    client.activate()
    text = page(client)

    assert "seatkeeper_request_seconds_count" in text
    assert "seatkeeper_seats_used{" not in text


def test_two_servers_in_one_process_count_apart():
    """The registry is an object of its own."""
    one, other = Client(refused()), Client(refused())
    one.activate()

    assert 'seatkeeper_refusals_total{rule="pool-full"} 0.0' in page(other)
