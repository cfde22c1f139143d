"""Whatever is lent, grown, shrunk, moved, ended, lost, doubled or crashed: no seat is believed in by more than one.

Three sites, one vendor, fifty seats. After each step, those who believe in a seat are counted on all four servers: all who hold
a lease that has not ended. Documents arrive late, twice or never; servers fail in the middle of what they do.
"""

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.verifying import verify
from seatkeeper_server.store.catalogue import Catalogue

from .town import DAY, MINUTE, Town, a_town

SEATS = 50
SITES = ("lab-1", "lab-2", "lab-3")
names = st.sampled_from(SITES)


class Crash(Exception):
    """The server was killed before its transaction was committed."""


class Lending(RuleBasedStateMachine):
    """A vendor, three sites, and programs everywhere."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.opened = a_town(self.directory)
        self.town: Town = self.opened.__enter__()
        self.town.sell(SEATS)
        for name in SITES:
            self.town.open_site(name)
        self.to_sites: list[tuple[str, str]] = []
        self.to_vendor: list[str] = []
        self.believing: list[tuple[str, Served]] = []
        self.programs = 0

    # --- what the vendor and sites do ------------------------------------------------------------------------------

    @rule(name=names, seats=st.sampled_from([None, 1, 10, 20, 30, 50]), days=st.sampled_from([1, 10, 30]))
    def lend(self, name: str, seats: int | None, days: int) -> None:
        """The vendor lends, or changes what he has lent; the document is on its way."""
        with suppress(CannotDo):
            self.to_sites.append((name, self.town.lend(name, seats, days=days, carried=False)))

    @rule(name=names)
    def fresh(self, name: str) -> None:
        """The vendor makes a fresh document."""
        with suppress(CannotDo):
            site_id = self.town.site_ids[name]
            token = self.town.vendor(lambda lending: lending.fresh_token(self.town.key[1], site_id))
            self.to_sites.append((name, token))

    @precondition(lambda self: self.to_sites)
    @rule(which=st.integers(0, 99), to=st.none() | names)
    def arrive(self, which: int, to: str | None) -> None:
        """A document arrives, for the first time or again, at its site or at another one."""
        name, token = self.to_sites[which % len(self.to_sites)]
        with suppress(CannotDo):
            self.town.sites[to or name].grants(lambda grants: grants.apply(token))

    @rule(name=names)
    def give_back(self, name: str) -> None:
        """A site gives its share back; the document is on its way."""
        with suppress(CannotDo):
            self.to_vendor.append(self.town.give_back(name, carried=False))

    @rule(name=names)
    def report(self, name: str) -> None:
        """A site reports."""
        with suppress(CannotDo):
            self.to_vendor.append(self.town.report(name, carried=False))

    @precondition(lambda self: self.to_vendor)
    @rule(which=st.integers(0, 99))
    def hear(self, which: int) -> None:
        """The vendor hears from a site, for the first time or again."""
        token = self.to_vendor[which % len(self.to_vendor)]
        with suppress(CannotDo):
            self.town.vendor(lambda lending: lending.apply(token))

    @rule(name=names)
    def end(self, name: str) -> None:
        """The vendor takes back what should be over."""
        with suppress(CannotDo):
            site_id = self.town.site_ids[name]
            self.town.vendor(lambda lending: lending.take_back(self.town.key[1], None, site_id))

    @precondition(lambda self: self.to_sites)
    @rule(which=st.integers(0, 99))
    def crash_at_a_site(self, which: int) -> None:
        """A site is killed while it applies a document."""
        name, token = self.to_sites[which % len(self.to_sites)]

        def applied_and_killed(grants) -> None:
            grants.apply(token)
            raise Crash

        with suppress(CannotDo, Crash):
            self.town.sites[name].grants(applied_and_killed)

    @rule(name=names, seats=st.sampled_from([10, 40]))
    def crash_at_the_vendor(self, name: str, seats: int) -> None:
        """The vendor's server is killed while it lends; the document was never handed out."""

        def lent_and_killed(lending) -> None:
            lending.lend(self.town.key[1], self.town.site_ids[name], seats=seats, until=self.town.now + DAY)
            raise Crash

        with suppress(CannotDo, Crash):
            self.town.vendor(lent_and_killed)

    # --- what programs do ------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["cloud", *SITES]), count=st.integers(1, 12))
    def take(self, name: str, count: int) -> None:
        """Programs ask for seats."""
        for _ in range(count):
            self.programs += 1
            server = self.town.sites.get(name, self.town.cloud)
            outcome = self.town.take(server, f"program-{self.programs}")
            if isinstance(outcome, Served):
                self.believing.append((name, outcome))

    @precondition(lambda self: self.believing)
    @rule(which=st.integers(0, 99))
    def return_(self, which: int) -> None:
        """A program gives its seat back."""
        name, served = self.believing.pop(which % len(self.believing))
        self.town.return_(self.town.sites.get(name, self.town.cloud), served)

    @rule(length=st.sampled_from([MINUTE, 3 * MINUTE, DAY, 9 * DAY]))
    def pass_(self, length: timedelta) -> None:
        """Time passes."""
        self.town.pass_(length)

    # --- what must always be so ------------------------------------------------------------------------------------

    @invariant()
    def no_seat_is_believed_in_twice(self) -> None:
        """Those whose lease has not ended are at most as many as seats were sold."""
        self.believing = [(name, served) for name, served in self.believing if served.holding.expires_at > self.town.now]
        assert len(self.believing) <= SEATS

    @invariant()
    def no_more_is_out_than_was_sold(self) -> None:
        """What sites may give away now, and what the vendor has given away himself, is no more than was sold."""
        given = self.town.cloud.used(self.town.key) - self.town.lent()
        may = 0
        for site in self.town.sites.values():
            with site.opened() as (catalogue, _):
                running = [lent for lent in catalogue.sites.lent(self.town.tenant) if lent.ended_at is None]
                if running and running[0].until > self.town.now:
                    may += catalogue.bought(*self.town.key)[0].pool.seats.right.bought or 0
        assert may <= self.town.lent()
        assert self.town.lent() + given <= SEATS

    def teardown(self) -> None:
        for server in (self.town.cloud, *self.town.sites.values()):
            with server.store.transaction() as tx:
                found = verify(lambda question, tx=tx: question(Catalogue(tx)))
            assert found.holds, found.breaks
        self.opened.__exit__(None, None, None)
        shutil.rmtree(self.directory)


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
