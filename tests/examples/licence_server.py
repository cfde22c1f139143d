"""A running license server as the examples' tests see it: through its settings and the wire, whichever server it is."""

from dataclasses import dataclass

import seatkeeper
from seatkeeper.protocol.documents import StatusAnswer

SEATS = 2
LEASE = 2.0  # seconds: short, so that a refresh and a lapse are seen soon


@dataclass(frozen=True)
class LicenceServer:
    """A running server with 2 seats of 2 s lease and `render=elementPool:4`; known by its settings alone."""

    environment: dict[str, str]

    def status(self) -> StatusAnswer:
        """Ask how full the pool is, as anybody may."""
        return seatkeeper.status(
            self.environment["SEATKEEPER_PRODUCT"],
            tenant=self.environment["SEATKEEPER_TENANT"],
            server=self.environment["SEATKEEPER_SERVER"],
            code=self.environment["SEATKEEPER_CODE"],
        )

    def take(self, seat_id: str) -> seatkeeper.Seat:
        """Prepare a seat with the Python SDK; `with` takes it."""
        settings = {name.removeprefix("SEATKEEPER_").lower(): value for name, value in self.environment.items()}
        return seatkeeper.seat(
            settings["product"],
            tenant=settings["tenant"],
            public_key=settings["public_key"],
            server=settings["server"],
            code=settings["code"],
            seat_id=seat_id,
        )
