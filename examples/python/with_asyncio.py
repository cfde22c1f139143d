"""A seat in an asyncio program, which stops its work when the seat is lost."""

import asyncio
import sys

import seatkeeper


async def work() -> None:
    """Stand for what the program is really for."""
    for step in range(3):
        print(f"step {step}", flush=True)
        await asyncio.sleep(0.1)


async def main() -> int:
    """Work as long as the seat is held; give the exit code."""
    task = asyncio.current_task()
    assert task is not None
    try:
        async with seatkeeper.async_seat(on_loss=lambda _: task.cancel()) as seat:
            try:
                await work()
            finally:
                seat.ensure_held()  # before results are handed out; raises SeatLost with the reason
    except seatkeeper.SeatkeeperError as error:
        print(error, file=sys.stderr)
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
