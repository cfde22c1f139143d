"""A line to a PostgreSQL that can be cut at a chosen moment, as a network cuts it."""

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

SOCKET = ".s.PGSQL.5432"


@dataclass
class Line:
    """Forwards to the server's socket what comes to a port of this machine.

    `cut_at` is what the client sends last: when it passes by, the client's side is cut. The server gets it only `after` that
    event, and then, unless `lost`, goes on as if somebody were there.
    """

    directory: Path
    port: int = 0
    cut_at: bytes | None = None
    lost: bool = False
    after: Event = field(default_factory=Event)
    cuts: int = 0

    def uri(self, database: str) -> str:
        """Give how to connect through it."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user=postgres"

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as ready:
            server.connect(str(self.directory / SOCKET))
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.cut_at is not None and self.cut_at in data:
                        self._cut(client, server, data)
                        return
                    target.sendall(data)

    def _cut(self, client: socket.socket, server: socket.socket, last: bytes) -> None:
        self.cut_at, self.cuts = None, self.cuts + 1
        client.close()
        self.after.wait(20)
        if not self.lost:
            server.sendall(last)
            server.recv(65536)


@contextmanager
def line(directory: Path) -> Iterator[Line]:
    """Lay a line to the PostgreSQL whose socket lies in a directory."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        laid = Line(directory, listening.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                Thread(target=laid._serve, args=(client,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        yield laid
        laid.after.set()
        listening.shutdown(socket.SHUT_RDWR)
