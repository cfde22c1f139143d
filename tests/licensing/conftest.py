"""Every server there is: a vendor's and a local one as processes, on each database, and the SDK's FakeServer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import httpx2
import pytest

from licensing.program import Program, fresh
from licensing.target import Target
from seatkeeper.testing import FakeServer
from seatkeeper_server.cli._place import opened
from seatkeeper_server.domain.catalogue import Sale, Terms, read_feature
from seatkeeper_server.service import selling
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.service.lending import Lending, site_code
from support.postgres import Clusters, servers
from support.servers import CloudServer

SEATS = 2
LEASE = timedelta(minutes=2)
FEATURES = {"render": "elementPool:5", "points": "usageCount:1000", "export": "bool"}

_customers = count(1)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    """One real server for all tests; each test has a customer of its own."""
    with CloudServer(tmp_path_factory.mktemp("cloud") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def cloud_on_postgres(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    """The same on PostgreSQL, with two workers."""
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(
            tmp_path_factory.mktemp("cloud") / "data",
            database=url,
            options=("--workers", "2"),
            environment={"SEATKEEPER_DESKS": "2"},
        ) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def local(cloud: CloudServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    """A local license server, which is licensed; what each test needs is lent to it."""
    with CloudServer(tmp_path_factory.mktemp("local") / "data", kind="local") as server:
        _license(cloud, server)
        yield server


@pytest.fixture(scope="session")
def local_on_postgres(
    cloud: CloudServer, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CloudServer]:
    """The same on PostgreSQL."""
    with (
        clusters[next(iter(servers()))].empty() as url,
        CloudServer(tmp_path_factory.mktemp("local") / "data", database=url, kind="local") as server,
    ):
        _license(cloud, server)
        yield server


KINDS = {"real": "cloud", "postgres": "cloud_on_postgres"}
LOCAL = {"local": "local", "local-postgres": "local_on_postgres"}


@pytest.fixture(params=["real", "local", *(["postgres", "local-postgres"] if servers() else []), "fake"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Each server, with two seats that nobody has touched; `@pytest.mark.lease(seconds)` changes how long leases last."""
    asked = request.node.get_closest_marker("lease")
    lease = timedelta(seconds=asked.args[0]) if asked else LEASE
    if request.param in KINDS:
        yield _sold(request.getfixturevalue(KINDS[request.param]), lease)
    elif request.param in LOCAL:
        cloud: CloudServer = request.getfixturevalue("cloud")
        yield _lent(cloud, request.getfixturevalue(LOCAL[request.param]), _sold(cloud, lease))
    else:
        yield from _fake(lease)


def _sold(server: CloudServer, lease: timedelta) -> Target:
    features = tuple(read_feature(f"{key}={said}") for key, said in FEATURES.items())
    terms = Terms(seats=SEATS, lease=lease, features=features)
    sale = Sale(customer=f"customer-{next(_customers)}", product="solver", terms=terms)
    with opened(server.data, server.database or None) as place, place.transaction() as desk:
        vault = place.vault(desk)
        sold = selling.sell(desk.catalogue, vault, sale, now=desk.now, starts_at=desk.now, random=os.urandom)
    return Target(
        server.url,
        sold.tenant_id,
        sold.product_id,
        sold.code,
        sold.public_key,
        SEATS,
        lease.total_seconds(),
        sale.customer,
    )


def _license(cloud: CloudServer, local: CloudServer) -> None:
    """Have a local server licensed, by tokens that are carried."""
    with _grants(local) as grants, opened(cloud.data) as place, place.transaction() as desk:
        vault = place.vault(desk)
        tenant_id, code = site_code(desk.catalogue, vault, None, now=desk.now, random=os.urandom)
        lending = Lending(desk.catalogue, vault, tenant_id=tenant_id, now=desk.now, random=os.urandom)
        grants.apply(lending.license(grants.request(tenant_id, code, f"site-{next(_customers)}")))


def _lent(cloud: CloudServer, local: CloudServer, sold: Target) -> Target:
    """Lend everything that was sold to a local server: the same target but for its URL."""
    with _grants(local) as grants, opened(cloud.data) as place, place.transaction() as desk:
        own = grants.license(sold.tenant_id)
        assert own is not None
        assert own.site_id is not None
        lending = Lending(desk.catalogue, place.vault(desk), tenant_id=sold.tenant_id, now=desk.now, random=os.urandom)
        (bought,) = [one for one in desk.catalogue.bought(sold.tenant_id) if one.customer == sold.customer]
        grants.apply(lending.lend(bought.entitlement_id, own.site_id))
    return replace(sold, url=local.url)


@contextmanager
def _grants(local: CloudServer) -> Iterator[Grants]:
    with opened(local.data, local.database or None) as place, place.transaction() as desk:
        yield Grants(desk.catalogue, place.vault(desk), now=desk.now, random=os.urandom)


def _fake(lease: timedelta) -> Iterator[Target]:
    with FakeServer(seats=SEATS, lease=lease.total_seconds(), features=FEATURES) as server:
        said = server.environment
        yield Target(
            url=said["SEATKEEPER_SERVER"],
            tenant_id=said["SEATKEEPER_TENANT"],
            product_id=said["SEATKEEPER_PRODUCT"],
            code=said["SEATKEEPER_CODE"],
            public_key=said["SEATKEEPER_PUBLIC_KEY"],
            seats=SEATS,
            lease_seconds=lease.total_seconds(),
        )


@pytest.fixture
def http(target: Target) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=target.url, headers={"N-TenantId": target.tenant_id}, trust_env=False) as client:
        yield client


@pytest.fixture
def program(target: Target, http: httpx2.Client) -> Iterator[Program]:
    one = Program(target, http, f"seat-{fresh()}")
    yield one
    one.leave()


@pytest.fixture
def others(target: Target, http: httpx2.Client) -> Iterator[list[Program]]:
    """Programs that take every seat."""
    programs = [Program(target, http, f"other-{n}-{fresh()}") for n in range(target.seats)]
    for one in programs:
        assert one.activate().status_code == 201
    yield programs
    for one in programs:
        one.leave()
