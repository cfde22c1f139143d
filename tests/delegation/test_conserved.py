"""Whatever is lent, grown, shrunk, moved, ended, lost, doubled or crashed: nothing is believed in by more than bought it.

Three sites, one vendor, fifty seats, ten of a feature that is given back, sixty of one that is used up. After each step,
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
from seatkeeper_server.service.calls import ActivateCall, Outcome, Served, Who
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.verifying import verify
from seatkeeper_server.store.catalogue import Catalogue

from .town import DAY, MINUTE, RENDER, Server, Town, a_town

SEATS = 50
PAGES = Feature("pages", Kind.USAGE_COUNT, 60)
SITES = ("lab-1", "lab-2", "lab-3")
names = st.sampled_from([*SITES, *SITES[:1] * 3])  # one of them more often, so that something comes of it
servers = st.sampled_from(["cloud", "cloud", *SITES, SITES[0]])
parts = st.sampled_from([{}, {"render": 10}, {"pages": 60}, {"render": 5, "pages": 30}])  # of features, which are lent
wants = st.sampled_from([{}, {"render": 5}, {"pages": 30}])  # and asked for
seats = st.sampled_from([None, 10, 25, 50, 50])
lengths = st.sampled_from([1, 1, 10])  # days
lots = st.sampled_from([5, 50])
once = st.sampled_from([True, True, False])  # at once


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
        self.town.sites[SITES[0]].now -= 20 * HOUR  # less than the skew that it is allowed
        self.to_sites: list[tuple[str, str]] = []
        self.to_vendor: list[str] = []
        self.believing: list[tuple[str, Served]] = []
        self.programs = 0
        self.used_up = 0

    # --- what the vendor and sites do: few rules with several verbs each, since hypothesis leaves some out of each run ----

    @rule(
        verb=st.sampled_from(["lend", "lend", "lend", "fresh", "end"]),
        name=names,
        seats=seats,
        days=lengths,
        features=parts,
        at=once,
    )
    def vendor(self, verb: str, name: str, seats: int | None, days: int, features: dict[str, int], at: bool) -> None:
        """The vendor lends, changes what he has lent, or takes back what is over; his document arrives at once or not."""
        site_id = self.town.site_ids[name]
        with suppress(CannotDo):
            match verb:
                case "lend":
                    self.to_sites.append((name, self.town.lend(name, seats, days=days, carried=False, features=features)))
                case "fresh":
                    token = self.town.vendor(lambda lending: lending.fresh_token(self.town.key[1], site_id))
                    self.to_sites.append((name, token))
                case _:
                    self.town.vendor(lambda lending: lending.take_back(self.town.key[1], None, site_id))
                    return
            if at:
                self.town.sites[name].grants(lambda grants: grants.apply(self.to_sites[-1][1]))

    @rule(verb=st.sampled_from(["report", "give back"]), name=names, at=once)
    def site(self, verb: str, name: str, at: bool) -> None:
        """A site reports, or gives its share back; its document arrives at once or not."""
        with suppress(CannotDo):
            give = self.town.report if verb == "report" else self.town.give_back
            self.to_vendor.append(give(name, carried=False))
            if at:
                self.town.vendor(lambda lending: lending.apply(self.to_vendor[-1]))

    @precondition(lambda self: self.to_sites)
    @rule(which=st.integers(0, 99), to=st.sampled_from([None, None, *SITES]), crash=st.booleans())
    def arrive(self, which: int, to: str | None, crash: bool) -> None:
        """A document arrives, for the first time or again, at its site or at another one, which may be killed over it."""
        name, token = self.to_sites[which % len(self.to_sites)]

        def applied(grants) -> None:
            grants.apply(token)
            if crash:
                raise Crash

        with suppress(CannotDo, Crash):
            self.town.sites[to or name].grants(applied)

    @precondition(lambda self: self.to_vendor)
    @rule(which=st.integers(0, 99), crash=st.booleans())
    def hear(self, which: int, crash: bool) -> None:
        """The vendor hears from a site, for the first time or again, and his server may be killed over it."""
        token = self.to_vendor[which % len(self.to_vendor)]

        def applied(lending) -> None:
            lending.apply(token)
            if crash:
                raise Crash

        with suppress(CannotDo, Crash):
            self.town.vendor(applied)

    @rule(name=names, seats=st.sampled_from([10, 40]))
    def crash_at_the_vendor(self, name: str, seats: int) -> None:
        """The vendor's server is killed while it lends; the document was never handed out."""

        def lent_and_killed(lending) -> None:
            lending.lend(self.town.key[1], self.town.site_ids[name], seats=seats, until=self.town.now + DAY)
            raise Crash

        with suppress(CannotDo, Crash):
            self.town.vendor(lent_and_killed)

    # --- what programs do ------------------------------------------------------------------------------------------

    @rule(name=servers, count=lots, features=wants, home=st.sampled_from([None, None, None, 10]))
    def take(self, name: str, count: int, features: dict[str, int], home: int | None) -> None:
        """Programs ask for seats, and for features with them, without which they make do; some take them home for days."""
        server = self.server(name)
        for _ in range(count):
            self.programs += 1
            outcome = self.asked(server, features, home)
            if features and not isinstance(outcome, Served):
                outcome = self.asked(server, {}, home)
            if not isinstance(outcome, Served):
                return
            self.believing.append((name, outcome))
            self.used_up += outcome.holding.rights.get("pages", 0)

    def asked(self, server: Server, features: dict[str, int], home: int | None) -> Outcome:
        call = ActivateCall(
            tenant_id=self.town.tenant,
            code_hash=server.keyring.code_hash(self.town.tenant, self.town.sold.code),
            code_hint="",
            product_id=self.town.sold.product_id,
            who=Who(seat_id=f"program-{self.programs}"),
            device=f"key of program-{self.programs}",
            borrow_until=None if home is None else server.now + home * DAY,
            features=features,
        )
        return server.ask(call)[0]

    @precondition(lambda self: self.believing)
    @rule(which=st.integers(0, 99), stays=st.booleans())
    def refresh_or_return(self, which: int, stays: bool) -> None:
        """A program gives its seat back, or refreshes; refused, it goes on as long as the lease that it has."""
        place = which % len(self.believing)
        name, served = self.believing[place]
        if not stays:
            self.believing.pop(place)
            self.town.return_(self.server(name), served)
            return
        outcome = self.town.refresh(self.server(name), served)
        if isinstance(outcome, Served):
            self.believing[place] = name, outcome

    @rule(length=st.sampled_from([MINUTE, 3 * MINUTE, DAY, 12 * DAY]))
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
TestLending.settings = settings(max_examples=40, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))
