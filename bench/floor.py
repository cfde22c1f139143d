"""The floor: an empty route on stock uvicorn with uvloop and httptools. Whatever we ship, this stays as it is.

python -m bench.floor      prints its URL, serves until SIGTERM
"""

import socket
from typing import Any

import uvicorn


async def empty(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer 200 with an empty JSON object, whatever is asked."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def main() -> None:
    """Serve on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"floor: http://127.0.0.1:{listener.getsockname()[1]} ", flush=True)
    config = uvicorn.Config(
        empty,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
