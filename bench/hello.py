"""A bare protocol: asyncio, httptools, an empty answer. What is left of a request when no server framework is in the way.

python -m bench.hello      prints its URL, serves until SIGTERM
"""

import asyncio
import signal
import socket
from typing import cast

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Hello(asyncio.Protocol):
    """Answers 200 with an empty JSON object, whatever is asked, on a connection that is kept."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Take in what arrived."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer a request that is whole."""
        self._transport.write(ANSWER)


async def serve(listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(Hello, sock=listener, backlog=2048)
    print(f"hello: http://127.0.0.1:{listener.getsockname()[1]} ", flush=True)
    await over.wait()
    server.close()


def main() -> None:
    """Serve on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        uvloop.run(serve(listener))


if __name__ == "__main__":
    main()
