"""Servers that really listen, on 127.0.0.1 and a free port, for as long as a block lasts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Any

from seatkeeper_server.apps import serving
from seatkeeper_server.apps.serving import Server
from seatkeeper_server.settings import Settings

PATIENCE = 20  # seconds; nothing here takes one, but the machine may be busy


@dataclass
class Running:
    """A server that listens."""

    url: str
    port: int
    server: Server
    thread: threading.Thread

    def stop(self) -> None:
        self.server.stop()

    def begin_to_stop(self) -> None:
        """Stop, and come back when no new connection is taken any more."""
        self.stop()
        deadline = time.monotonic() + PATIENCE
        while self.is_listening and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # connections are told in the same breath

    @property
    def is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        except OSError:
            return False
        return True

    def has_ended(self) -> bool:
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()


@contextmanager
def running(app: Any, settings: Settings, **how: Any) -> Iterator[Running]:
    """Serve an application in a thread of its own; `how` goes to `serve`."""
    told: Queue[Any] = Queue()

    def run() -> None:
        try:
            serving.serve(app, settings, told.put, running=told.put, **how)
        except BaseException as error:
            told.put(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    server, url = told.get(timeout=PATIENCE), told.get(timeout=PATIENCE)
    assert isinstance(server, Server), server
    assert isinstance(url, str), url
    ran = Running(url, int(url.rpartition(":")[2]), server, thread)
    try:
        yield ran
    finally:
        ran.stop()
        assert ran.has_ended()
