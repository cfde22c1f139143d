"""A remote desk whose program runs in a thread of the test: all of the wire, with a registrar that can be watched and fail."""

import socket
from collections.abc import Callable
from contextlib import nullcontext, suppress
from threading import Thread

from seatkeeper_server.apps.deciding import Order
from seatkeeper_server.apps.desk_process import attend
from seatkeeper_server.apps.remote_desk import RemoteDesk
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.service.desk import MAX_BATCH, Registrar


class InThread:
    """A program at the other end of a real connection, in the place of the desk's process."""

    pid = 0

    def __init__(self, theirs: socket.socket, program: Callable[[socket.socket], None]) -> None:
        self._connection = theirs.dup()
        self._thread = Thread(target=self._run, args=(program,), daemon=True)
        self._thread.start()

    def _run(self, program: Callable[[socket.socket], None]) -> None:
        with self._connection as connection, suppress(OSError):  # it was cut: a process would have ended too
            program(connection)

    def wait(self) -> int:
        """Wait for its end."""
        self._thread.join()
        return 0

    def kill(self) -> None:
        """Cut the connection, by which it ends."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


def behind_the_wire(registrar: Registrar, *, beat=BEAT, max_batch=MAX_BATCH, **how) -> RemoteDesk:
    """Give a remote desk that this registrar decides for."""
    order = Order(database="", seal_key="", database_id="", epoch=1, beat=beat, batch_limit=max_batch)

    def program(connection: socket.socket) -> None:
        attend(connection, lambda order: nullcontext(registrar))

    return RemoteDesk(order, start=lambda theirs: InThread(theirs, program), **how)
