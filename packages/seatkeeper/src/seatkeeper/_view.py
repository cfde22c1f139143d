"""What both kinds of seat let a program see, and how both are put together from settings and environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from seatkeeper._borrowed import Borrowings
from seatkeeper._identity import By, identify
from seatkeeper._seat import State
from seatkeeper._session import Session
from seatkeeper._settings import Given, Settings, find_settings
from seatkeeper._storage import device_key, memory_of
from seatkeeper._talk import Runtime
from seatkeeper.errors import SeatkeeperError, SeatLost


@dataclass(frozen=True)
class Plan:
    """A seat that is yet to be taken: settings found and checked, nothing sent, no slot locked."""

    settings: Settings
    features: Mapping[str, int]
    seat_id: str | None
    by: By
    runtime: Runtime

    def session(self) -> Session:
        """Find out who asks, lock a slot if need be, and look up what is remembered of that seat."""
        tenant, product = self.settings.tenant, self.settings.product
        device = device_key()
        borrowings = Borrowings(tenant=tenant, product=product, device=device)
        identity = identify(tenant=tenant, product=product, seat_id=self.seat_id, by=self.by, first=borrowings.slots)
        memory = memory_of(tenant=tenant, product=product, seat_id=identity.seat_id)
        return Session(
            self.settings,
            identity,
            memory,
            features=self.features,
            runtime=self.runtime,
            device=device,
            borrowings=borrowings,
        )


def plan(
    given: Given, *, features: Mapping[str, int] | None, seat_id: str | None, by: By, runtime: Runtime | None = None
) -> Plan:
    """Find the settings for a seat.

    Raises:
        ConfigurationError: something is missing, most gravely the public key. Nothing has been sent.
    """
    return Plan(find_settings(given), dict(features or {}), seat_id, by, runtime or Runtime())


class SeatView:
    """A seat as its program sees it; everything here is answered from memory and the clocks, at once."""

    _session: Session | None = None

    @property
    def state(self) -> State:
        """How the seat stands right now: `held`, `at risk`, `lost` or `returned` (also: not taken yet)."""
        return "returned" if self._session is None else self._session.state()

    @property
    def features(self) -> dict[str, int]:
        """What this seat has of each feature, as the latest verified lease says."""
        claims = None if self._session is None else self._session.claims
        return {} if claims is None else dict(claims.feat)

    @property
    def expires_at(self) -> datetime | None:
        """When the lease ends if no refresh comes through; UTC, by this machine's clock. None before the seat is taken."""
        return None if self._session is None else self._session.expires_at()

    @property
    def seat_id(self) -> str | None:
        """The id under which this seat is counted."""
        return None if self._session is None else self._session.identity.seat_id

    @property
    def seat_name(self) -> str | None:
        """The name others are shown: user@host, and the window's number from the second one on."""
        return None if self._session is None else self._session.identity.seat_name

    @property
    def activation_id(self) -> str | None:
        """The server's id of this activation; `seatkeeper free` and support take it."""
        claims = None if self._session is None else self._session.claims
        return None if claims is None else claims.act

    @property
    def server(self) -> str | None:
        """The URL of the server that granted the seat."""
        return None if self._session is None else self._session.home()

    def ensure_held(self) -> None:
        """Raise unless the seat is held, if at risk.

        Raises:
            SeatLost: it is not; the error says why.
        """
        if self.state == "returned":
            raise SeatLost("the seat was given back")
        if self.state == "lost":
            raise self._taken().loss()

    def _taken(self) -> Session:
        if self._session is None:
            raise SeatkeeperError("the seat has not been taken yet: use `with`, or call acquire() first")
        return self._session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.seat_id or 'not taken'}: {self.state}>"
