"""Credentials that nobody knows: unknown alike, limited per address, and never written down whole."""

import pytest
import structlog

from seatkeeper_server.http import licensing
from seatkeeper_server.http.identity import Failures, hint_of, network_of
from seatkeeper_server.service.calls import ActivateCall, Refused
from tests.server_http.front import CODE, PRODUCT, TENANT, Client, served

UNKNOWN = Refused("credentials.unknown")
ELSEWHERE = "198.51.100.1"


def test_an_unknown_tenant_is_refused_like_an_unknown_code():
    """Byte for byte the same answer; and the desk is asked in both cases, so that neither is faster."""
    client = Client(UNKNOWN)
    code = client.activate()
    tenant = client.activate({"n-tenantid": "t_unknown"})

    assert (code.status, code.body, code.headers) == (tenant.status, tenant.body, tenant.headers)
    assert [call.tenant_id for call in client.desk.calls] == [TENANT, "t_unknown"]


def test_an_unknown_tenants_code_fits_nothing():
    """It is hashed all the same, under a key that is nobody's."""
    client = Client(UNKNOWN)
    client.activate({"n-tenantid": "t_unknown"})

    assert len(client.desk.call.code_hash) == len(client.keys.code_hash(CODE))
    assert client.desk.call.code_hash != client.keys.code_hash(CODE)


def failing(client, times):
    return [client.activate().status for _ in range(times)]


def test_the_21st_failure_of_a_minute_is_429():
    """Twenty wrong codes a minute and address are told so; then only when to come back."""
    client = Client(UNKNOWN)
    statuses = failing(client, 21)
    reply = client.activate()

    assert statuses == [401] * 20 + [429]
    assert (reply.json["errorCode"], 1 <= int(reply.headers["retry-after"]) <= 60) == ("rate.limited", True)


def test_valid_codes_of_a_limited_address_go_on_working():
    """Behind one address sit many programs; one with a wrong code must not take the seats of the others."""

    def desk(call):
        return served() if isinstance(call, ActivateCall) and call.who.seat_id == "good" else UNKNOWN

    client = Client(desk)
    failing(client, 25)

    assert client.activate(seatId="good").status == 200
    assert client.activate().status == 429


def test_another_address_is_not_limited():
    """The limit is the address's own."""
    client = Client(UNKNOWN)
    failing(client, 25)
    document = {"productId": PRODUCT, "seatId": "s", "activationCode": CODE}

    assert client.send("POST", "/api/v1/activate", document, address=ELSEWHERE).status == 401


def test_guessing_through_status_counts_as_well():
    """A code can be guessed on every route that takes one."""
    client = Client(UNKNOWN)
    document = {"productId": PRODUCT, "activationCode": CODE}
    statuses = [client.send("POST", "/api/v1/status", document).status for _ in range(10)] + failing(client, 11)

    assert statuses == [401] * 20 + [429]


def test_success_is_never_counted():
    """Only failures are."""
    client = Client(served())
    failing(client, 30)
    client.desk.outcome = UNKNOWN

    assert client.activate().status == 401


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        (None, "unknown", True),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_what_counts_as_one_address(one, other, same):
    """One IPv6 machine has 2^64 addresses to itself; they count as one."""
    assert (network_of(one) == network_of(other)) is same


def test_failures_of_one_network_are_counted_together():
    """Moving on to the next address of one's own network wins nothing."""
    failures = Failures(2)

    assert [failures.count(f"2001:db8::{n}") is None for n in range(3)] == [True, True, False]


@pytest.mark.parametrize(("code", "hint"), [(CODE, "0000"), ("abcdefgh1234", "1234"), ("short-code", ""), ("1234", "")])
def test_a_hint_is_never_most_of_a_code(code, hint):
    """The last four of a long code may be shown; a vendor's own short code has no part that may."""
    assert hint_of(code) == hint


@pytest.mark.parametrize("end", ["\x1b[2J", "\x9b2J", "ab\u202ec", "AB\nC", "ÄÖÜ1", "12 4\x00"])
def test_a_hint_speaks_to_no_terminal(end):
    """Anybody may send a code that ends as he likes; of one that isn't digits and plain letters nothing is shown."""
    assert hint_of("A" * 20 + end) == ""


@pytest.mark.parametrize("tenant", ["t_\x9b2J", "t_\x1b[2J", "t 1", "t_" + "x" * 63, "ä"])
def test_what_can_be_no_tenants_id_is_looked_up_nowhere(tenant):
    """An id is 1 to 64 visible ASCII characters: others are refused before anything is asked, logged or remembered."""
    client = Client(served())
    document = {"productId": PRODUCT, "seatId": "s", "activationCode": CODE}
    statuses = [
        client.send("POST", "/api/v1/activate", document, {"n-tenantid": tenant}).status,
        client.held("PATCH", "/api/v1/activation/refresh", {}, {"n-tenantid": tenant}).status,
        client.send("GET", "/.well-known/seatkeeper/keys", None, {"n-tenantid": tenant}).status,
    ]

    assert (statuses, client.desk.calls) == ([401, 401, 404], [])


def test_a_code_is_never_logged(capsys, monkeypatch):
    """Not when it works and not when it fails."""
    to_stdout = structlog.wrap_logger(structlog.PrintLogger(), processors=[structlog.processors.JSONRenderer()])
    monkeypatch.setattr(licensing, "log", to_stdout)  # not the one that another test may have had configured
    client = Client(UNKNOWN)
    client.activate(activationCredentials={"type": "activationCode", "code": "SECRET-AZTEC-ZEBRA-FARMS-1234"})
    log = "".join(capsys.readouterr())

    assert ("1234" in log, "ZEBRA" in log.upper()) == (True, False)
