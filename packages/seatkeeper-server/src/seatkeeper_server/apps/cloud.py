"""The vendor's cloud server: a house that serves what was sold, and answers the vendor's own systems."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from seatkeeper_server.apps import house
from seatkeeper_server.apps.deciding import SOLD
from seatkeeper_server.apps.house import Fittings, House, Kind
from seatkeeper_server.apps.office import Office
from seatkeeper_server.apps.serving import Server
from seatkeeper_server.http.application import Further
from seatkeeper_server.http.counting import Board
from seatkeeper_server.http.later import Later
from seatkeeper_server.service.timekeeping import ClockState
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.clients import Clients
from seatkeeper_server.store.deeds import Deeds
from seatkeeper_server.store.vault import KeyVault

if TYPE_CHECKING:
    from seatkeeper_server.service.lending import Lending


@dataclass(frozen=True, slots=True)
class Visit:
    """One transaction or snapshot of a vendor's data, and the use cases that work in it."""

    catalogue: Catalogue
    vault: KeyVault
    now: datetime
    today: datetime

    @property
    def clients(self) -> Clients:
        """The API clients."""
        return Clients(self.catalogue.tx)

    @property
    def deeds(self) -> Deeds:
        """What was sold, with all that was agreed upon."""
        return Deeds(self.catalogue.tx)

    def lending(self, tenant_id: str) -> "Lending":
        """Lend on behalf of a vendor."""
        from seatkeeper_server.service.lending import Lending  # with JOSE, which a server that only serves seats does without

        return Lending(self.catalogue, self.vault, tenant_id=tenant_id, now=self.now, random=os.urandom)


def _further(fittings: Fittings) -> Further:
    office = Office(fittings.store, fittings.reader, fittings.seal, Visit)

    def make() -> Further:
        from seatkeeper_server.http.vendor import management

        return management(office, fittings.tenants, fittings.failures, random=os.urandom)

    return Later(make)


CLOUD: Final = Kind(name="cloud", authority=SOLD, further=_further)


def serve(
    settings: Settings,
    *,
    announce: Callable[[str], None] = house.print_line,
    running: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until told to stop; see `house.serve`."""
    house.serve(CLOUD, settings, announce=announce, running=running)


def build(settings: Settings, board: Board | None = None) -> AbstractContextManager[House]:
    """Open a cloud server on its data; see `house.build`."""
    return house.build(CLOUD, settings, board)


def start_line(settings: Settings, url: str, clock: ClockState) -> str:
    """Say where the server listens, for whom, and where its data lies."""
    return house.start_line(CLOUD, settings, url, clock)
