"""A vendor's server for the tests of the Management API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seatkeeper_server.apps import cloud
from tests.server_http.vendor import Lending, Vendor, a_vendor


@pytest.fixture
def lending() -> Lending:
    """Lending as the test wants it."""
    return Lending()


@pytest.fixture
def vendor(tmp_path: Path, lending: Lending, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """A vendor whose server listens, with something sold."""
    monkeypatch.setattr(cloud.Visit, "lending", lambda visit, tenant_id: lending)
    with a_vendor(tmp_path / "vendor", lending) as made:
        yield made


@pytest.fixture
def token(vendor: Vendor) -> str:
    """An access token with every permission."""
    return vendor.add_client("erp")
