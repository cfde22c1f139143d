"""Whatever is lent, grown, shrunk, moved, ended, lost, doubled or crashed: nothing is believed in by more than bought it.

Three sites, one vendor, fifty seats, ten of a feature that is given back, a hundred of one that is used up. After each step,
those who believe in a seat are counted on all four servers: all who hold a lease that has not ended by their server's clock,
which may be behind. They take features with it, refresh, and take seats home. Documents arrive late, twice or never; servers
fail in the middle of what they do.
"""

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seatkeeper_server.domain.catalogue import Borrowing, Feature
from seatkeeper_server.domain.terms import Kind
from seatkeeper_server.service.calls import ActivateCall, Served, Who
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.verifying import verify
from seatkeeper_server.store.catalogue import Catalogue

from .town import DAY, MINUTE, RENDER, Server, Town, a_town

SEATS = 50
PAGES = Feature("pages", Kind.USAGE_COUNT, 100)
SITES = ("lab-1", "lab-2", "lab-3")
names = st.sampled_from(SITES)
servers = st.sampled_from(["cloud", *SITES])
parts = st.sampled_from([{}, {"render": 4}, {"render": 10, "pages": 30}, {"pages": 60}])  # of features, which are lent
wants = st.sampled_from([{}, {}, {"render": 1}, {"render": 3, "pages": 10}, {"pages": 25}])  # and asked for


HOUR = timedelta(hours=1)


class Crash(Exception):
    """The server was killed before its transaction was committed."""


class Lending(RuleBasedStateMachine):
    """A vendor, three sites, and programs everywhere."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.opened = a_town(self.directory)
        self.town: Town = self.opened.__enter__()
        self.town.sell(SEATS, features=(RENDER, PAGES), borrow=Borrowing(14 * DAY))
        for name in SITES:
            self.town.open_site(name)
        self.town.sites[SITES[2]].now -= 20 * HOUR  # less than the skew that it is allowed
        self.to_sites: list[tuple[str, str]] = []
        self.to_vendor: list[str] = []
        self.believing: list[tuple[str, Served]] = []
        self.programs = 0
        self.used_up = 0

    # --- what the vendor and sites do ------------------------------------------------------------------------------

    @rule(name=names, seats=st.sampled_from([None, 1, 10, 20, 30, 50]), days=st.sampled_from([1, 10, 30]), features=parts)
    def lend(self, name: str, seats: int | None, days: int, features: dict[str, int]) -> None:
        """The vendor lends, or changes what he has lent; the document is on its way."""
        with suppress(CannotDo):
            self.to_sites.append((name, self.town.lend(name, seats, days=days, carried=False, features=features)))

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

    @rule(name=servers, count=st.integers(1, 12), features=wants)
    def take(self, name: str, count: int, features: dict[str, int]) -> None:
        """Programs ask for seats, and for features with them."""
        for _ in range(count):
            self.programs += 1
            outcome = self.town.take(self.server(name), f"program-{self.programs}", features)
            if isinstance(outcome, Served):
                self.believing.append((name, outcome))
                self.used_up += features.get("pages", 0)

    @rule(name=servers, days=st.sampled_from([1, 7, 14]))
    def take_home(self, name: str, days: int) -> None:
        """A laptop takes a seat home, with one of a feature."""
        self.programs += 1
        server = self.server(name)
        call = ActivateCall(
            tenant_id=self.town.tenant,
            code_hash=server.keyring.code_hash(self.town.tenant, self.town.sold.code),
            code_hint="",
            product_id=self.town.sold.product_id,
            who=Who(seat_id=f"laptop-{self.programs}"),
            device=f"key of laptop-{self.programs}",
            borrow_until=server.now + days * DAY,
            features={"render": 1},
        )
        (outcome,) = server.ask(call)
        if isinstance(outcome, Served):
            self.believing.append((name, outcome))

    @precondition(lambda self: self.believing)
    @rule(which=st.integers(0, 99))
    def refresh(self, which: int) -> None:
        """A program refreshes; refused, it goes on as long as the lease that it has."""
        place = which % len(self.believing)
        name, served = self.believing[place]
        outcome = self.town.refresh(self.server(name), served)
        if isinstance(outcome, Served):
            self.believing[place] = name, outcome

    @precondition(lambda self: self.believing)
    @rule(which=st.integers(0, 99))
    def return_(self, which: int) -> None:
        """A program gives its seat back."""
        name, served = self.believing.pop(which % len(self.believing))
        self.town.return_(self.server(name), served)

    @rule(length=st.sampled_from([MINUTE, 3 * MINUTE, DAY, 9 * DAY]))
    def pass_(self, length: timedelta) -> None:
        """Time passes."""
        self.town.pass_(length)

    # --- what must always be so ------------------------------------------------------------------------------------

    def server(self, name: str) -> Server:
        return self.town.sites.get(name, self.town.cloud)

    @invariant()
    def no_seat_is_believed_in_twice(self) -> None:
        """Those whose lease has not ended are at most as many as seats were sold, and have no more of a feature than was."""
        self.believing = [(name, one) for name, one in self.believing if one.holding.expires_at > self.server(name).now]
        assert len(self.believing) <= SEATS
        assert sum(served.holding.rights.get("render", 0) for _, served in self.believing) <= (RENDER.amount or 0)

    @invariant()
    def nothing_is_used_up_twice(self) -> None:
        """All that programs have ever used up, anywhere, is no more than was sold."""
        assert self.used_up <= (PAGES.amount or 0)

    @invariant()
    def no_more_is_out_than_was_sold(self) -> None:
        """What sites may give away now, and what the vendor has given away himself, is no more than was sold."""
        given = self.town.cloud.used(self.town.key) - self.town.lent()
        may = 0
        for site in self.town.sites.values():
            with site.opened() as (catalogue, _):
                running = [lent for lent in catalogue.sites.lent(self.town.tenant) if lent.ended_at is None]
                if running and running[0].until > site.now:
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
