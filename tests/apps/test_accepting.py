"""Connections of a socket that several processes share: who takes the next one."""

import asyncio
import socket
from array import array
from contextlib import ExitStack

import pytest

from seatkeeper_server.apps.accepting import SLACK, Acceptor, Shares
from seatkeeper_server.apps.workers import AWAY

pytestmark = pytest.mark.anyio


def of_two() -> tuple[Shares, Shares]:
    """Give the shares of two processes that do not serve yet."""
    counts = memoryview(array("q", [AWAY, AWAY]))
    return Shares(counts, 0), Shares(counts, 1)


def test_who_has_more_lets_the_other_go_first() -> None:
    """Until the other has about as many; of one that does not serve nothing is expected."""
    one, other = of_two()
    alone = one.is_ahead(50)
    first_of_other = other.is_ahead(0)
    before = one.is_ahead(50)
    other.is_ahead(50 - SLACK)

    assert not alone
    assert not first_of_other
    assert before
    assert not one.is_ahead(50)


async def test_connections_that_nobody_else_takes_are_taken() -> None:
    """The other has none and takes none, because it is stuck: everybody is served all the same."""
    one, other = of_two()
    other.is_ahead(0)
    met: list[asyncio.BaseTransport] = []
    all_met = asyncio.Event()

    class Noted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            met.append(transport)
            if len(met) == 30:
                all_met.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, Noted, tls=None, connections=met, shares=one)
        callers = [await asyncio.open_connection(*listener.getsockname()) for _ in range(30)]
        await asyncio.wait_for(all_met.wait(), 20)
        acceptor.close()
        await acceptor.wait_closed()
        for _, writer in callers:
            writer.close()
            await writer.wait_closed()
        for transport in met:
            transport.close()
        await asyncio.sleep(0)

    assert len(met) == 30


async def test_a_closed_one_takes_no_more() -> None:
    """What comes later is for others, or waits."""
    one, _ = of_two()
    met: list[asyncio.Protocol] = []

    def noted() -> asyncio.Protocol:
        met.append(asyncio.Protocol())
        return met[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, noted, tls=None, connections=met, shares=one)
        acceptor.close()
        with socket.create_connection(listener.getsockname()):
            await asyncio.sleep(0.05)

    assert met == []


async def test_who_is_alone_takes_all_that_wait() -> None:
    """Under overload a turn of the loop lasts long: who has to connect anew must not wait for a turn of his own."""
    met: list[asyncio.Protocol] = []

    def noted() -> asyncio.Protocol:
        met.append(asyncio.Protocol())
        return met[-1]

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener, ExitStack() as callers:
        for _ in range(40):
            callers.enter_context(socket.create_connection(listener.getsockname()))
        acceptor = Acceptor(listener, noted, tls=None, connections=met)
        for _ in range(10):
            await asyncio.sleep(0)
        acceptor.close()
        await acceptor.wait_closed()

    assert len(met) == 40
