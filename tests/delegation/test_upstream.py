"""A local server in step with its vendor: what each says and is answered, lost answers, and days of outage. Time is ours."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from seatkeeper_server import statements, tokens
from seatkeeper_server.domain.backoff import pause_after
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.calls import Served
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.connections import Connection, address
from seatkeeper_server.service.delegation import TokenRefused
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.service.use import MOST_HOURS
from seatkeeper_server.statements import HourOfUse, Reported, UseReported
from seatkeeper_server.upstream import Answer, NoAnswer, Upstream
from tests.support.postgres import Clusters, servers
from tests.support.stores import opened

from .town import DAY, RENDER, Server, Town, a_town

HOUR = timedelta(hours=1)
URL = "https://licenses.example.com"


@dataclass
class Visit:
    """One transaction of a local server's."""

    grants: Grants
    connections: object
    now: datetime


@dataclass
class Office:
    """Opens visits at a site."""

    site: Server

    @contextmanager
    def _visit(self):
        with self.site.opened() as (catalogue, vault):
            grants = Grants(catalogue, vault, now=self.site.now, random=os.urandom)
            yield Visit(grants, catalogue.connections, self.site.now)

    def do(self, work: Callable):
        """Do it."""
        with self._visit() as visit:
            return work(visit)

    read = do


@dataclass
class Line:
    """The line to the vendor: up, down, or losing what comes back."""

    town: Town
    is_down: bool = False
    loses_answers: bool = False
    sent: list[str] = field(default_factory=list)
    tried: int = 0

    def __call__(self, connection: Connection, token: str) -> Answer:
        """Send."""
        self.tried += 1
        if self.is_down:
            raise NoAnswer("it can't be reached")
        self.sent.append(token)
        try:
            told = self.town.vendor(lambda lending: lending.exchange(token))
        except TokenRefused as refused:
            raise NoAnswer(str(refused), refused.problem) from refused
        if self.loses_answers:
            raise NoAnswer("it hung up")
        return Answer(tokens=list(told.tokens), text=told.text, state=told.state.value)


@dataclass
class Connected:
    """A site, its line, and what keeps it in step."""

    town: Town
    site: Server
    line: Line
    upstream: Upstream

    @property
    def state(self) -> Connection:
        """How the connection stands."""
        found: Connection = Office(self.site).read(lambda visit: visit.connections.of(self.town.tenant))
        return found

    def pass_to_next(self) -> None:
        """Let time pass until the next exchange is due, and have it."""
        self.town.pass_(max(self.state.next_at - self.town.now, timedelta(0)))
        self.upstream.step()

    @property
    def lent(self) -> int:
        """How many seats the site says that it was lent."""
        found = self.site.grants(lambda grants: grants.entitlements(self.town.tenant))
        return sum(one.bought.pool.seats.right.bought or 0 for one in found)


def connect(town: Town, site: Server, name: str = "lab-1") -> Connected:
    """Connect a site."""
    line = Line(town)
    upstream = Upstream(Office(site), line, every=timedelta(minutes=5), chance=lambda: 0.5)
    upstream.connect(town.tenant, URL, code=town.code, name=name)
    town.site_ids[name] = site.grants(lambda grants: grants.license(town.tenant)).site_id
    return Connected(town, site, line, upstream)


@pytest.fixture
def town(tmp_path: Path):
    with a_town(tmp_path) as town:
        town.sell(50, features=(RENDER,))
        yield town


@pytest.fixture
def lab(town: Town) -> Connected:
    """A connected site to which thirty seats are lent."""
    lab = connect(town, town.unlicensed("lab-1"))
    town.lend("lab-1", 30, days=90, carried=False)
    lab.pass_to_next()
    assert lab.lent == 30
    return lab


def site_of(town: Town):
    """Give what the vendor knows of lab-1."""
    return town.vendor(lambda lending: lending.site("lab-1"))


def hours(town: Town) -> list[HourOfUse]:
    """Give what the vendor knows of the use of what he has lent."""
    with town.cloud.opened() as (catalogue, _):
        share = catalogue.sites.shares(town.tenant)[-1]
        return catalogue.sites.use(town.tenant, share.share_id)


def test_in_step_nothing_more_is_sent_down(town: Town, lab: Connected) -> None:
    """Every few minutes a report, and no answer but that it was heard; no document is made for nothing."""
    sent = site_of(town).sent
    for _ in range(5):
        lab.pass_to_next()

    assert site_of(town).sent == sent
    assert site_of(town).last_report_at == town.now
    assert lab.state.next_at - town.now == timedelta(minutes=5)


def test_a_shrunk_share_comes_back_within_one_exchange(town: Town, lab: Connected) -> None:
    """The smaller grant goes down and its confirmation up in one go."""
    town.lend("lab-1", 10, days=90, carried=False)
    before = town.lent()
    lab.pass_to_next()

    assert (before, lab.lent, town.lent()) == (30, 10, 10)


def test_forty_days_of_outage(town: Town, lab: Connected) -> None:
    """Tried ever more seldom, up to once an hour, to the end; served all along; then all of its use is reported, once."""
    held = town.take(lab.site, "a")
    assert isinstance(held, Served)
    lab.pass_to_next()
    began, tried = town.now, lab.line.tried
    lab.line.is_down = True
    pauses = []
    while town.now < began + 40 * DAY:
        lab.pass_to_next()
        pauses.append(lab.state.next_at - town.now)
    failures = lab.line.tried - tried
    served = town.take(lab.site, "b")
    lab.line.is_down = False
    lab.pass_to_next()
    reported = [hour for hour in hours(town) if hour.hour >= began.timestamp()]

    assert pauses[0] < timedelta(seconds=15)
    assert max(pauses) <= HOUR
    assert min(pauses[-100:]) >= HOUR / 2
    assert 40 * 24 <= failures <= 2 * 40 * 24 + 20
    assert isinstance(served, Served)
    assert (lab.state.failures, lab.state.error) == (0, None)
    assert site_of(town).state is SiteState.OK
    assert [hour.seat_seconds for hour in reported if hour.high] == [120], "of the second, whose program did not refresh"
    assert len({hour.hour for hour in reported}) == len(reported)


def test_a_report_that_is_too_long_for_one_document_goes_in_several(
    town: Town, lab: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is lost, and facts go on where they ended."""
    monkeypatch.setattr("seatkeeper_server.service.use.MOST_HOURS", 10)
    town.take(lab.site, "a")
    lab.line.is_down = True
    lab.pass_to_next()
    town.pass_(3 * DAY)
    town.take(lab.site, "b")
    lab.line.is_down = False
    sent = len(lab.line.sent)
    lab.pass_to_next()

    assert len(lab.line.sent) - sent >= 8
    assert site_of(town).state is SiteState.OK
    used = [(hour.hour, hour.high, hour.seat_seconds) for hour in hours(town) if hour.high]
    assert used == [(town.now.timestamp() - 72 * 3600 - 600, 1, 120), (town.now.timestamp() - 600, 1, 0)]


def test_the_longest_report_fits_into_a_document(town: Town, lab: Connected) -> None:
    """As much as a report has at most, in numbers as large as they get."""
    use = [
        HourOfUse(hour=2_000_000_000, high=99_999, low=99_999, denials=9_999, seat_seconds=359_999_999)
        for _ in range(MOST_HOURS)
    ]
    share = UseReported(
        sid="shr_" + "x" * 22, number=1, settled=True, after=1, after_head="f" * 64, upto=9, head="f" * 64, used=1, hours=use
    )
    said = Reported(tid=town.tenant, site="lls_x", jti="j" * 22, iat=0, seq=1, state="ok", epoch=1, uses=[share])
    with lab.site.opened() as (_, vault):
        own = vault.own_signing_key(town.now)
    with town.cloud.opened() as (_, vault):
        receiver = statements.public_text(vault.sealing_key(town.tenant, town.now))

    assert len(tokens.sealed(said, signer=own, receiver=receiver)) <= statements.MAX_TOKEN


def test_parts_of_an_hour_add_up(town: Town, lab: Connected) -> None:
    """However often it is reported, a seat that is held for an hour is an hour of a seat."""
    town.pass_(town.now.replace(minute=0) + HOUR - town.now)
    lab.upstream.step()
    held = town.take(lab.site, "a")
    assert isinstance(held, Served)
    began = town.now
    while town.now < began + HOUR:
        town.pass_(timedelta(minutes=1))
        held = town.refresh(lab.site, held)
        assert isinstance(held, Served)
        lab.upstream.step()
    lab.pass_to_next()
    (hour,) = (one for one in hours(town) if one.hour == began.timestamp())

    assert (hour.high, hour.denials) == (1, 0)
    assert abs(hour.seat_seconds - 3600) <= 60


@pytest.mark.parametrize("times", [1, 2, 7])
def test_a_lost_answer_is_no_second_server(town: Town, lab: Connected, times: int) -> None:
    """The same document again changes nothing, and what it was answered is answered again to the next report."""
    town.lend("lab-1", 40, days=90, carried=False)
    lab.line.loses_answers = True
    for _ in range(times):
        lab.pass_to_next()
    lab.line.loses_answers = False
    lab.pass_to_next()

    assert lab.lent == 40
    assert site_of(town).state is SiteState.OK
    assert len(set(lab.line.sent[-2 - times : -2])) == 1, "the document that was not answered was sent again"


def test_a_lost_answer_to_the_first_request(town: Town) -> None:
    """Asked again by a new document, the server is the same one, and has one license."""
    site = town.unlicensed("lab-1")
    line = Line(town, loses_answers=True)
    upstream = Upstream(Office(site), line, every=HOUR, chance=lambda: 0.5)
    with pytest.raises(NoAnswer):
        upstream.connect(town.tenant, URL, code=town.code, name="lab-1")
    nothing = Office(site).read(lambda visit: visit.connections.all())
    line.loses_answers = False
    upstream.connect(town.tenant, URL, code=town.code, name="lab-1")
    (known,) = town.vendor(lambda lending: lending.sites())

    assert nothing == []
    assert (known.name, known.state, known.is_licensed) == ("lab-1", SiteState.OK, True)


def test_what_was_made_while_the_line_was_down_goes_in_order(town: Town, lab: Connected) -> None:
    """A report that waits, one by hand, a removal by hand: carried or not, in whatever order, nobody is suspected.

    And no use is lost.
    """
    lab.line.is_down = True
    town.take(lab.site, "a")
    lab.pass_to_next()
    town.pass_(HOUR)
    by_hand = town.report("lab-1", carried=False)
    town.pass_(HOUR)
    town.give_back("lab-1")
    town.pass_(HOUR)
    town.vendor(lambda lending: lending.report(by_hand))
    states = [site_of(town).state]
    lab.line.is_down = False
    lab.pass_to_next()
    states.append(site_of(town).state)

    assert states == [SiteState.OK, SiteState.OK]
    assert sum(hour.seat_seconds for hour in hours(town)) == 120
    assert town.lent() == 0
    assert Office(lab.site).read(lambda visit: visit.connections.unanswered(town.tenant)) == []


def test_a_removal_goes_up_by_itself(town: Town, lab: Connected) -> None:
    """Nobody carries it."""
    town.give_back("lab-1", carried=False)
    lab.pass_to_next()

    assert (lab.lent, town.lent()) == (0, 0)


def test_a_license_that_is_given_back_goes_up_by_itself(town: Town, lab: Connected) -> None:
    """And nothing is said after it."""
    town.give_back("lab-1", carried=False)
    lab.site.grants(lambda grants: grants.deactivate(town.tenant))
    lab.pass_to_next()
    (known,) = town.vendor(lambda lending: lending.sites())

    assert not known.is_licensed
    assert lab.state.error is None


def test_a_license_is_renewed_before_it_wears_out(town: Town, lab: Connected) -> None:
    """When less than a third of it is left; not before."""
    first = site_of(town).lease_ends_at
    while town.now < first - timedelta(days=125):
        town.pass_(20 * DAY)
        lab.pass_to_next()
    before = site_of(town).lease_ends_at
    town.pass_(10 * DAY)
    lab.pass_to_next()
    license_ = lab.site.grants(lambda grants: grants.license(town.tenant))

    assert before == first
    assert site_of(town).lease_ends_at > first
    assert license_.lease_ends_at == site_of(town).lease_ends_at


def test_a_site_that_was_set_back_is_found_out_and_told_where_it_stands(town: Town, lab: Connected) -> None:
    """The vendor notes it; the site goes on above what it had said, with a raised epoch, and is believed from then on."""
    old = town.copy_of("lab-1", "old")
    for seat in "abc":
        town.take(town.sites["lab-1"], seat)
        lab.pass_to_next()
    old.now = town.now
    restored = Connected(town, old, lab.line, Upstream(Office(old), lab.line, every=HOUR, chance=lambda: 0.5))
    town.take(old, "z")
    restored.pass_to_next()
    states = [site_of(town).state]
    for _ in range(6):
        town.take(old, "y")
        restored.pass_to_next()
        states.append(site_of(town).state)
    with town.cloud.opened() as (catalogue, _):
        notes = [fact.data for fact in catalogue.sites.facts_after((town.tenant, town.key[1]), 0) if "reportGap" in fact.data]

    assert set(states) == {SiteState.OK}
    assert len(notes) == 1


def test_two_copies_are_not_helped(town: Town, lab: Connected) -> None:
    """They are given nothing, and each is told: it serves as long as its grant says, unless the vendor decides."""
    copy = town.copy_of("lab-1", "copy")
    copy.now = town.now
    second = Connected(town, copy, Line(town), Upstream(Office(copy), Line(town), every=HOUR, chance=lambda: 0.5))
    town.take(town.sites["lab-1"], "a")
    lab.pass_to_next()
    town.take(copy, "b")
    second.upstream.begin()
    second.upstream.step()
    town.lend("lab-1", 40, days=90, carried=False)
    second.pass_to_next()
    lab.pass_to_next()
    there = [site.grants(lambda grants: grants.license(town.tenant)).state for site in (copy, lab.site)]
    withheld = (lab.lent, second.lent)

    assert site_of(town).state is SiteState.CLONED
    assert there == [SiteState.CLONED, SiteState.CLONED]
    assert withheld == (30, 30)

    site_id = site_of(town).site_id
    town.vendor(lambda lending: lending.renew_license(site_id))
    lab.pass_to_next()
    assert (site_of(town).state, lab.lent) == (SiteState.OK, 40)


def test_disconnected_it_gives_what_has_to_be_carried(town: Town, lab: Connected) -> None:
    """What was not answered is given; what was carried since is not answered by anybody else."""
    lab.line.is_down = True
    lab.pass_to_next()
    left = lab.upstream.disconnect(town.tenant)
    town.vendor(lambda lending: lending.exchange(left[0]))
    town.report("lab-1")

    assert len(left) == 1
    assert site_of(town).state is SiteState.OK
    with pytest.raises(CannotDo, match="not connected"):
        lab.upstream.disconnect(town.tenant)


def test_one_of_several_servers_takes_the_turn(town: Town, lab: Connected) -> None:
    """Two on one database don't both exchange."""
    due = lab.state.next_at
    town.pass_(due - town.now)
    took = [
        Office(lab.site).do(lambda visit: visit.connections.claim(town.tenant, visit.now, visit.now + HOUR)) for _ in range(2)
    ]

    assert took == [True, False]


def test_pauses_grow_and_are_bounded() -> None:
    """From a quarter of a minute to an hour, between a half and all of it, however long it takes."""
    whole = [pause_after(failures, 1.0) for failures in (1, 2, 3, 9, 10, 10**9)]

    assert whole == [timedelta(seconds=15), timedelta(seconds=30), timedelta(minutes=1), HOUR, HOUR, HOUR]
    assert pause_after(4, 0.0) == pause_after(4, 1.0) / 2


def test_who_exchanges_often_tries_again_soon() -> None:
    """The first pause is no longer than the time between two exchanges; later ones grow alike."""
    whole = [pause_after(failures, 1.0, timedelta(seconds=2)) for failures in (1, 2, 3, 10**9)]

    assert whole == [timedelta(seconds=2), timedelta(seconds=4), timedelta(seconds=8), HOUR]
    assert pause_after(1, 1.0, timedelta(minutes=5)) == timedelta(seconds=15)


@pytest.mark.parametrize("url", ["licenses.example.com", "ftp://x", "https://", "https://a:b@x", "https://x?y", "https://x:y"])
def test_what_is_no_address(url: str) -> None:
    """A vendor's server is named by http or https and a host, and by nothing that could be a secret."""
    with pytest.raises(CannotDo, match="is named by a URL"):
        address(url, is_plain=True)


def test_plain_http_only_where_it_is_meant() -> None:
    """To this machine; else only if it is said."""
    assert address("http://127.0.0.1:6500/", is_plain=False) == "http://127.0.0.1:6500"
    assert address("http://licenses.example.com", is_plain=True) == "http://licenses.example.com"
    with pytest.raises(CannotDo, match="--insecure-http"):
        address("http://licenses.example.com", is_plain=False)


@pytest.mark.parametrize("server", sorted(servers()))
def test_a_vendor_on_postgresql(tmp_path: Path, clusters: Clusters, server: str) -> None:
    """The same there: lent, shrunk, an answer lost."""
    with opened(server, tmp_path, clusters) as store, a_town(tmp_path, store) as town:
        town.sell(50)
        lab = connect(town, town.unlicensed("lab-1"))
        town.lend("lab-1", 30, days=90, carried=False)
        lab.line.loses_answers = True
        lab.pass_to_next()
        lab.line.loses_answers = False
        lab.pass_to_next()
        town.lend("lab-1", 10, days=90, carried=False)
        lab.pass_to_next()

        assert (lab.lent, town.lent()) == (10, 10)
        assert site_of(town).state is SiteState.OK


def test_a_document_again_is_no_refusal(town: Town, lab: Connected) -> None:
    """The vendor says that he has it; nothing is changed by it."""
    report = town.report("lab-1", carried=False)
    first = town.vendor(lambda lending: lending.exchange(report))
    heard = site_of(town).heard
    again = town.vendor(lambda lending: lending.exchange(report))

    assert (first.state, again.state, list(again.tokens)) == (SiteState.OK, SiteState.OK, [])
    assert site_of(town).heard == heard


def test_a_clock_that_was_wrong_keeps_nobody_waiting(town: Town, lab: Connected) -> None:
    """The next try was noted a year ahead, and the clock was put right since: it is due now."""
    lab.town.pass_(365 * DAY)
    lab.upstream.step()
    town.pass_(-365 * DAY)
    tried = lab.line.tried
    lab.upstream.step()

    assert lab.line.tried > tried
