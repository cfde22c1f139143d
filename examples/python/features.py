"""A seat with features, and a refusal that is caught and shown to the person at the screen.

Two units of `render` are asked for together with the seat: all are granted, or nothing is. One more is checked out for a
while. A refusal says who has the seats, what would help, and an id to quote.
"""

import sys

import seatkeeper


def main() -> int:
    """Work with two renderers, for a while with three; give the exit code."""
    try:
        with seatkeeper.seat(features={"render": 2}) as seat:
            print(f"{seat.seat_name} renders with {seat.features['render']}")
            with seat.checkout("render", 1):
                print(f"and now with {seat.features['render']}")
    except seatkeeper.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
