"""The license server at a customer's site: a house that serves what it was lent, and answers the site's administrator."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom

from seatkeeper_server.apps import house
from seatkeeper_server.apps.chores import SiteChores
from seatkeeper_server.apps.console import first_words, proof_of
from seatkeeper_server.apps.deciding import LENT
from seatkeeper_server.apps.house import Fittings, House, Kind
from seatkeeper_server.apps.office import Office
from seatkeeper_server.apps.serving import Server
from seatkeeper_server.http.application import Further
from seatkeeper_server.http.counting import Board
from seatkeeper_server.http.later import Later
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.settings import LocalSettings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.connections import Connections
from seatkeeper_server.store.vault import KeyVault
from seatkeeper_server.upstream import Upstream, send


@dataclass(frozen=True, slots=True)
class Visit:
    """One transaction or snapshot of a site's data, and the use cases that work in it."""

    catalogue: Catalogue
    vault: KeyVault
    now: datetime
    today: datetime

    @property
    def grants(self) -> Grants:
        """What was lent to this server, and its own license."""
        return Grants(self.catalogue, self.vault, now=self.now, random=os.urandom)

    @property
    def connections(self) -> Connections:
        """Where vendors are found."""
        return self.catalogue.connections


def upstream_of(office: Office[Visit], every: timedelta) -> Upstream:
    """Give what keeps a local server in step with its vendors."""
    return Upstream(office, send, every=every, chance=SystemRandom().random)


def kind_of(settings: LocalSettings) -> Kind:
    """Give the kind of server that these settings make; it speaks to people, so it has a password."""

    def further(fittings: Fittings) -> Further:
        office = Office(fittings.store, fittings.reader, fittings.seal, Visit, after=fittings.keyring.forget)
        upstream = upstream_of(office, timedelta(seconds=settings.exchange_every))
        fittings.beside(upstream.at_work())
        proves, ca_file = proof_of(settings), None if settings.cloud_ca_file is None else str(settings.cloud_ca_file)

        def make() -> Further:
            from seatkeeper_server.http.site import site
            from seatkeeper_server.http.site.console import Console

            return site(office, Console(settings.console_user, proves, fittings.failures), upstream, ca_file=ca_file)

        return Later(make)

    return Kind(name="local", authority=LENT, further=further, chores=SiteChores, first_words=lambda _: first_words(settings))


def serve(
    settings: LocalSettings,
    *,
    announce: Callable[[str], None] = house.print_line,
    running: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until told to stop; see `house.serve`."""
    house.serve(kind_of(settings), settings, announce=announce, running=running)


def build(settings: LocalSettings, board: Board | None = None) -> AbstractContextManager[House]:
    """Open a local license server on its data; see `house.build`."""
    return house.build(kind_of(settings), settings, board)
