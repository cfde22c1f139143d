"""Whatever answers where a license server should: a proxy's page in some encoding, a body without end, nothing at all."""

import httpx2
import pytest

import seatkeeper
from seatkeeper._wire import Reply, is_final
from seatkeeper.testing import FakeServer

PAGES = {
    "a page in Latin-1": (502, "<h1>Störung</h1>".encode("latin-1")),
    "a page that says all is well": (200, b"<html>welcome</html>"),
    "bytes that are no text": (200, b"\xff\xfe\x00" * 40),
    "brackets without end": (402, b"[" * 100_000),
    "JSON of somebody else": (200, b'{"ok": true}'),
    "nothing": (200, b""),
}


@pytest.mark.parametrize(
    ("status", "decided"), [(503, False), (429, False), (408, False), (425, False), (402, True), (409, True)]
)
def test_who_is_too_busy_has_decided_nothing(status: int, decided: bool) -> None:
    """Such a call stays pending and is asked again; a refusal is a decision."""
    assert is_final(Reply(status)) is decided


@pytest.mark.parametrize("what", PAGES)
def test_an_answer_that_is_not_a_license_servers_is_told_as_such(what: str) -> None:
    """No foreign exception crosses our border: it is a SeatkeeperError that speaks of the server."""
    status, content = PAGES[what]
    stranger = httpx2.MockTransport(lambda request: httpx2.Response(status, content=content))
    settings = FakeServer().settings | {"transport": stranger}

    with pytest.raises(seatkeeper.SeatkeeperError):
        seatkeeper.seat(**settings).acquire()
