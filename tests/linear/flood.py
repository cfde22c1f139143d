"""Newcomers in numbers: activations at a rate of their own, whether they are answered or not. A process of its own.

python -m tests.linear.flood TENANT PRODUCT CODE PORT --rate 10000 --connections 2000 --seconds 60

Each newcomer takes a connection that is free, asks once, and waits for as long as his patience lasts; then he hangs up. If no
connection is free, he is counted and goes. What became of them is printed as JSON, one line.
"""

import errno
import json
import select
import socket
import time
from argparse import ArgumentParser
from collections import Counter, deque
from dataclasses import dataclass, field

READ = 65_536


@dataclass
class Flood:
    """Connections to one port, and what came of the calls. `rate` 0 asks again as soon as there was an answer."""

    port: int
    tenant: str
    product: str
    code: str
    rate: float
    connections: int
    patience: float
    told: Counter[str] = field(default_factory=Counter)
    _open: dict[int, socket.socket] = field(default_factory=dict)
    _free: deque[int] = field(default_factory=deque)
    _asked: dict[int, float] = field(default_factory=dict)  # when, in order
    _number: int = 0

    def __post_init__(self) -> None:
        self._poll = select.epoll()

    def run(self, seconds: float) -> Counter[str]:
        """Flood for so long; give how many calls came to what: a status, `gave up`, `no connection`, `cut off`."""
        for _ in range(self.connections):
            self._connect()
        self._wait_until_connected()
        began = time.monotonic()
        arrived = 0
        while (passed := time.monotonic() - began) < seconds:
            due = len(self._free) if self.rate == 0 else int(passed * self.rate) - arrived
            arrived += due
            self._arrive(due)
            self._listen(0.001)
            self._lose_patience()
        self.told["arrived"] = arrived
        self.told["waiting at the end"] = len(self._asked)
        for connection in self._open.values():
            connection.close()
        return self.told

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        failed = connection.connect_ex(("127.0.0.1", self.port))
        if failed not in (0, errno.EINPROGRESS):
            self.told["not connected"] += 1
            connection.close()
            return
        self._open[connection.fileno()] = connection
        self._poll.register(connection.fileno(), select.EPOLLOUT)

    def _wait_until_connected(self) -> None:
        until = time.monotonic() + 20
        while len(self._free) < len(self._open) and time.monotonic() < until:
            self._listen(0.05)

    def _arrive(self, newcomers: int) -> None:
        for number in range(newcomers):
            if not self._free:
                self.told["no connection"] += newcomers - number
                return
            self._ask(self._free.popleft())

    def _ask(self, number: int) -> None:
        self._number += 1
        said = {"productId": self.product, "activationCode": self.code, "seatId": f"newcomer-{self._number}"}
        body = json.dumps(said).encode()
        head = f"POST /api/v1/activate HTTP/1.1\r\nhost: x\r\nn-tenantid: {self.tenant}\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            self._open[number].send(head.encode() + body)
        except OSError:
            self._lose(number, "cut off")
        else:
            self._asked[number] = time.monotonic()

    def _listen(self, timeout: float) -> None:
        for number, event in self._poll.poll(timeout):
            if event & (select.EPOLLERR | select.EPOLLHUP):
                self._lose(number, "cut off")
            elif event & select.EPOLLOUT:
                self._poll.modify(number, select.EPOLLIN)
                self._free.append(number)
            else:
                self._read(number)

    def _read(self, number: int) -> None:
        try:
            answer = self._open[number].recv(READ)
        except OSError:
            answer = b""
        if not answer:
            self._lose(number, "cut off" if number in self._asked else "closed")
        elif answer.startswith(b"HTTP/1.1 ") and self._asked.pop(number, None) is not None:
            self.told[answer[9:12].decode()] += 1
            if b"\r\nconnection: close\r\n" in answer:
                self._lose(number, "closed")
            else:
                self._free.append(number)

    def _lose_patience(self) -> None:
        since = time.monotonic() - self.patience
        for number in [number for number, asked in self._first(200) if asked < since]:
            self._lose(number, "gave up")

    def _first(self, most: int) -> list[tuple[int, float]]:
        return [item for item, _ in zip(self._asked.items(), range(most), strict=False)]

    def _lose(self, number: int, why: str) -> None:
        self.told[why] += 1
        self._asked.pop(number, None)
        if (connection := self._open.pop(number, None)) is not None:
            self._poll.unregister(number)
            connection.close()
            self._connect()


def main() -> None:
    """Flood as the arguments say, and print what came of it."""
    parser = ArgumentParser(prog="python -m tests.linear.flood", description=(__doc__ or "").splitlines()[0])
    for name in ("tenant", "product", "code"):
        parser.add_argument(name)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=0.0, help="newcomers a second; 0: as fast as they are answered")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--patience", type=float, default=2.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    flood = Flood(
        port=asked.port,
        tenant=asked.tenant,
        product=asked.product,
        code=asked.code,
        rate=asked.rate,
        connections=asked.connections,
        patience=asked.patience,
    )
    print(json.dumps(flood.run(asked.seconds)))


if __name__ == "__main__":
    main()
