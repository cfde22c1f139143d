"""Looking tenants up: the event loop waits for no database because somebody invents tenants."""

import asyncio
import threading
from contextlib import closing, contextmanager

import pytest

from seatkeeper_server.http import tenants as under_test
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.keys import Keyring
from seatkeeper_server.service.calls import Refused
from seatkeeper_server.service.desk import Overloaded
from tests.server_http.front import _SEAL, CODE, DATABASE, PRODUCT, ROWS, TENANT, Client, served
from tests.server_http.running import PATIENCE

UNKNOWN = "t_unknown"


@contextmanager
def looking(load):
    """Tenants over a keyring that reads its rows by `load`."""
    with closing(Tenants(Keyring(load=load, seal=_SEAL, database_id=DATABASE, epoch=1))) as tenants:
        yield tenants


class Library:
    """Rows that can be held back; it notes which thread asked for which tenant."""

    def __init__(self):
        self.asked = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, tenant_id):
        self.asked.append((tenant_id, threading.get_ident()))
        assert self.open.wait(PATIENCE)
        return ROWS if tenant_id == TENANT else []

    @property
    def threads(self):
        return {thread for _, thread in self.asked}


def test_who_was_never_seen_is_looked_up_elsewhere():
    """No database is read on the loop's thread, neither for a tenant that is there nor for one that isn't."""
    library = Library()

    async def ask(tenants):
        return [await tenants.keys(each) for each in (UNKNOWN, TENANT)] + [await tenants.keys_for_code("t_other", CODE)]

    with looking(library) as tenants:
        unknown, known, (other, code_hash) = asyncio.run(ask(tenants))

    assert (unknown, known.tenant_id, other, len(code_hash)) == (None, TENANT, None, 64)
    assert [tenant for tenant, _ in library.asked] == [UNKNOWN, TENANT, "t_other"]
    assert threading.get_ident() not in library.threads


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.activate({"n-tenantid": UNKNOWN}),
        lambda client: client.held("PATCH", "/api/v1/activation/refresh", {}, {"n-tenantid": UNKNOWN}),
        lambda client: client.held("DELETE", "/api/v1/activation", None, {"n-tenantid": UNKNOWN}),
        lambda client: client.send(
            "POST", "/api/v1/status", {"productId": PRODUCT, "activationCode": CODE}, {"n-tenantid": UNKNOWN}
        ),
        lambda client: client.send("GET", "/.well-known/seatkeeper/keys", None, {"n-tenantid": UNKNOWN}),
    ],
    ids=["activate", "refresh", "return", "status", "keys"],
)
def test_no_route_reads_the_database_for_an_unknown_tenant_on_the_loop(ask):
    """Whatever an unknown tenant is named for."""
    library = Library()
    keyring = Keyring(load=library, seal=_SEAL, database_id=DATABASE, epoch=1)
    client = Client(Refused("credentials.unknown"), keyring=keyring, tenants=Tenants(keyring))

    assert ask(client).status in (401, 404)
    assert [tenant for tenant, _ in library.asked] == [UNKNOWN]
    assert threading.get_ident() not in library.threads


def test_who_was_seen_waits_for_nobody():
    """While the database hangs over invented tenants, and the line before it is full, those who are known are served."""
    library = Library()

    async def ask(tenants):
        await tenants.keys(TENANT)
        library.open.clear()
        invented = asyncio.create_task(tenants.keys(UNKNOWN))
        await asyncio.sleep(0)
        seen = await asyncio.wait_for(tenants.keys(TENANT), PATIENCE)
        library.open.set()
        return seen, await invented

    with looking(library) as tenants:
        seen, unknown = asyncio.run(ask(tenants))

    assert (seen.tenant_id, unknown) == (TENANT, None)


def test_the_line_of_look_ups_is_bounded(monkeypatch):
    """Who comes when it is full is told to come again; later there is room."""
    monkeypatch.setattr(under_test, "MOST_WAITING", 2)
    library = Library()

    async def ask(tenants):
        library.open.clear()
        waiting = [asyncio.create_task(tenants.keys(f"t_{number}")) for number in range(3)]
        await asyncio.sleep(0)
        library.open.set()
        return await asyncio.gather(*waiting, return_exceptions=True), await tenants.keys(TENANT)

    with looking(library) as tenants:
        (first, second, third), later = asyncio.run(ask(tenants))

    assert (first, second, isinstance(third, Overloaded)) == (None, None, True)
    assert later is not None


def test_a_full_line_is_503():
    """Not 401: whoever asked may well be known."""

    class Full(Tenants):
        async def keys(self, tenant_id):
            raise Overloaded

    client = Client(served())
    full = Client(served(), tenants=Full(client.keyring))
    reply = full.held("PATCH", "/api/v1/activation/refresh", {})

    assert (reply.status, reply.json["errorCode"]) == (503, "storage.unavailable")
