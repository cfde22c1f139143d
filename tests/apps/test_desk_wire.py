"""What crosses between the front and the desk's process: the same comes out as went in, however the bytes were cut."""

from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from seatkeeper_server.apps import desk_wire as wire
from seatkeeper_server.apps.desk_wire import CallFailed, Frames
from seatkeeper_server.domain.admission import COUNTABLE, Outlook, Tally
from seatkeeper_server.domain.holdings import Holding, Nonces, State
from seatkeeper_server.domain.terms import Kind, Mode, NoncePolicy, Overdraft, Right, Standing, Switch, Terms
from seatkeeper_server.sealing import SealKeyError
from seatkeeper_server.service.calls import (
    ActivateCall,
    Done,
    Entitlement,
    HeldCall,
    HolderView,
    Key,
    LentOut,
    Occupancy,
    PoolStatus,
    PoolView,
    Refusal,
    Refused,
    Served,
    StatusCall,
    TokenClaims,
    Verb,
    Who,
)
from seatkeeper_server.service.ports import CommitUnknown, StorageFull, StorageUnavailable

NOBODY = Occupancy(holders=[], more=0, next_free_by=None)


def every(struct, **fields):
    """Values of a struct, every field of which is drawn: a new one must be named here, so that it can't be lost on the way."""
    assert set(fields) == set(struct.__struct_fields__)
    return st.builds(struct, **fields)


texts = st.text(max_size=12)
maybe_text = st.none() | texts
numbers = st.integers(0, COUNTABLE)
moments = st.datetimes(timezones=st.just(UTC))
maybe_moment = st.none() | moments
durations = st.timedeltas(timedelta(0), timedelta(days=400))
amounts = st.dictionaries(texts, numbers, max_size=3)
tokens = every(TokenClaims, activation_id=texts, generation=st.integers(1, 2**31))
keys = every(Key, scope=texts, key=texts, body=texts)
people = every(Who, seat_id=texts, **dict.fromkeys(Who.__struct_fields__[1:], maybe_text))

calls = st.one_of(
    every(
        ActivateCall,
        **dict.fromkeys(("tenant_id", "code_hash", "code_hint", "product_id"), texts),
        **dict.fromkeys(("edition_id", "last_lease", "device"), maybe_text),
        who=people,
        features=amounts,
        key=st.none() | keys,
        proof=st.none() | tokens,
        borrow_until=maybe_moment,
    ),
    every(
        HeldCall,
        verb=st.sampled_from(Verb),
        tenant_id=texts,
        token=tokens,
        **dict.fromkeys(("nonce", "last_lease", "device_proof"), maybe_text),
        fingerprint=st.none() | st.binary(max_size=32),
        key=st.none() | keys,
        feature=texts,
        amount=numbers,
    ),
    every(
        StatusCall,
        **dict.fromkeys(("tenant_id", "code_hash", "code_hint", "product_id"), texts),
        address=maybe_text,
    ),
)

overdrafts = st.builds(Overdraft, st.sampled_from(["none", "absolute", "percentage", "unlimited"]), st.integers(0, 1000))
rights = st.builds(Right, texts, st.sampled_from(Kind), st.none() | numbers, overdrafts)
tallies = st.builds(lambda right: Tally(right, used=right.cap if right.cap is not None else COUNTABLE), rights)
terms = every(
    Terms,
    mode=st.sampled_from(Mode),
    lease=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
    **dict.fromkeys(("linger", "margin", "grace", "borrow"), durations),
    nonce=st.sampled_from(NoncePolicy),
    switch=st.sampled_from(Switch),
    **dict.fromkeys(("starts_at", "ends_at"), maybe_moment),
)
views = every(PoolView, terms=terms, tallies=st.dictionaries(texts, tallies, max_size=3))
entitlements = every(
    Entitlement,
    **dict.fromkeys(("tenant_id", "entitlement_id", "group_id", "product_id", "edition_id", "product_name"), texts),
    has_maintenance=st.booleans(),
    maintenance_ends_at=maybe_moment,
)
pools = st.tuples(entitlements, views)
holders = every(HolderView, name=texts, since=moments, lease_ends_at=moments, borrowed=st.booleans())
lent = every(LentOut, name=texts, seats=numbers, counts_until=moments, last_report_at=maybe_moment)
rosters = every(
    Occupancy,
    holders=st.lists(holders, max_size=3),
    more=numbers,
    next_free_by=maybe_moment,
    group_id=maybe_text,
    lent=st.lists(lent, max_size=2),
)


nonces = every(Nonces, current=texts, previous=maybe_text, answered=st.none() | st.binary(max_size=32), bound=st.booleans())
holdings = st.booleans().flatmap(
    lambda occupies: every(
        Holding,
        activation_id=texts,
        past=numbers,
        generation=st.integers(1, 2**31),
        holder=numbers,
        state=st.sampled_from(State),
        occupies=st.just(occupies),
        rights=amounts,
        **dict.fromkeys(("activated_at", "refreshed_at", "expires_at", "noted_at"), moments),
        free_at=maybe_moment if occupies else st.none(),
        sequence=numbers,
        nonces=nonces,
        device=maybe_text,
        floored=st.booleans(),
    )
)


@st.composite
def batches(draw):
    """The outcomes of one batch, some of which share their pool and their roster."""
    some_pools, some_rosters = draw(st.lists(pools, min_size=1, max_size=3)), draw(st.lists(rosters, min_size=1, max_size=3))

    places, some = st.sampled_from(some_pools), st.sampled_from(some_rosters)
    served = places.flatmap(
        lambda place: every(
            Served,
            entitlement=st.just(place[0]),
            pool=st.just(place[1]),
            holding=holdings,
            who=people,
            at=moments,
            sign=st.booleans(),
            new_place=st.booleans(),
            feature=texts,
        )
    )
    why = every(
        Refusal,
        **dict.fromkeys(("denial_id", "rule", "feature", "product_name"), texts),
        limit=st.none() | numbers,
        **dict.fromkeys(("used", "overdraft", "wanted"), numbers),
        at=moments,
        occupancy=some,
        contact=maybe_text,
        outlook=st.sampled_from(Outlook),
        borrow=durations,
    )
    refused = every(Refused, problem=texts, refusal=st.none() | why)
    status = places.flatmap(
        lambda place: every(
            PoolStatus,
            entitlement=st.just(place[0]),
            standing=st.sampled_from(Standing),
            pool=st.just(place[1]),
            occupancy=some,
            at=moments,
        )
    )
    return draw(st.lists(served | refused | status | every(Done, nonce=maybe_text), max_size=8))


def crossed(results, seconds=0.25):
    """What the front reads of what the desk has sent."""
    [frame] = Frames().fed(wire.batch_frame(list(range(7, 7 + len(results))), results, seconds))
    return wire.read_batch(frame)


def plain(result):
    """The same to compare: an occupancy is equal to nothing but itself."""
    match result:
        case PoolStatus():
            roster, result = result.occupancy, replace(result, occupancy=NOBODY)
        case Refused() if result.refusal is not None:
            roster = result.refusal.occupancy
            result = replace(result, refusal=replace(result.refusal, occupancy=NOBODY))
        case _:
            roster = NOBODY
    return result, astuple(roster)


@given(st.lists(st.tuples(st.integers(0, 2**62), calls), max_size=5))
def test_calls_cross_unchanged(numbered):
    """Each call with its number, to the last field."""
    [frame] = Frames().fed(wire.calls_frame(numbered))

    assert list(wire.read_calls(frame)) == numbered


@given(batches())
def test_outcomes_cross_unchanged(results):
    """Each outcome under the number of its call, to the last field and microsecond."""
    seconds, read = crossed(results)

    assert seconds == 0.25
    assert [number for number, _ in read] == list(range(7, 7 + len(results)))
    assert [plain(result) for _, result in read] == [plain(result) for result in results]


@given(batches())
def test_what_a_batch_shares_is_still_shared(results):
    """Two answers speak of one pool, or of one roster, behind the wire exactly if they did before: what is made of it once
    need not be made again, and nobody is told of another's pool."""

    def shared(outcomes):
        views = [outcome.pool for outcome in outcomes if isinstance(outcome, Served | PoolStatus)]
        rosters = [outcome.occupancy for outcome in outcomes if isinstance(outcome, PoolStatus)]
        rosters += [outcome.refusal.occupancy for outcome in outcomes if isinstance(outcome, Refused) and outcome.refusal]
        return [[one is other for one in kind for other in kind] for kind in (views, rosters)]

    assert shared([result for _, result in crossed(results)[1]]) == shared(results)


@given(entitlements, entitlements, views, holdings, people, moments)
def test_one_view_of_two_pools_is_told_apart(one, other, view, holding, who, at):
    """Should two entitlements ever share what is said of their pools, each answer still names its own."""
    results = [Served(entitlement=each, pool=view, holding=holding, who=who, at=at, sign=True) for each in (one, other, one)]

    assert [result.entitlement for _, result in crossed(results)[1]] == [one, other, one]


@pytest.mark.parametrize(
    ("error", "arrives_as"),
    [
        (StorageFull("no room"), StorageFull),
        (StorageUnavailable("away"), StorageUnavailable),
        (CommitUnknown("lost"), StorageUnavailable),
        (ZeroDivisionError("by zero"), CallFailed),
    ],
)
def test_what_went_wrong_crosses_as_what_it_is(error, arrives_as):
    """The disk is full, the database is away, or something that only the log explains."""
    [(_, result)] = crossed([error])[1]

    assert type(result) is arrives_as
    assert str(error) in str(result)


def test_an_outcome_without_words_fails_alone():
    """The others of its batch are answered."""
    results = [Done("a"), Done("\ud800"), Done("b")]

    [(_, first), (_, bad), (_, last)] = crossed(results)[1]

    assert (first, last) == (Done("a"), Done("b"))
    assert type(bad) is CallFailed


@pytest.mark.parametrize("error", [SealKeyError("put it back"), StorageFull("no room"), StorageUnavailable("gone")])
def test_why_a_desk_is_not_open_crosses(error):
    """The front says the same as if it had looked itself."""
    [frame] = Frames().fed(wire.opening_frame(error))
    told = wire.read_opening(frame)

    assert (type(told), str(told)) == (type(error), str(error))


def test_what_nobody_expected_is_told_as_well():
    """A fault of the program's own is a sentence too, with its name; the rest is in the log."""
    [frame] = Frames().fed(wire.opening_frame(ZeroDivisionError("by zero")))
    told = wire.read_opening(frame)

    assert isinstance(told, StorageUnavailable)
    assert "ZeroDivisionError: by zero" in str(told)


def test_that_a_desk_is_open_crosses():
    """Nothing went wrong."""
    [frame] = Frames().fed(wire.opening_frame(None))

    assert wire.read_opening(frame) is None


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_frames_are_whole_wherever_the_bytes_were_cut(bodies, data):
    """One byte at a time, or several frames at once: the same frames, in their order, each as soon as it is whole."""
    stream = b"".join(map(wire.framed, bodies))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    frames, read = Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += [bytes(frame) for frame in frames.fed(stream[start:end])]
        assert read == bodies[: len(read)]
        assert len(read) == sum(len(b"".join(map(wire.framed, bodies[: n + 1]))) <= end for n in range(len(bodies)))

    assert read == bodies


def test_a_frame_longer_than_any_is_refused():
    """Bytes that are no frame at all are found out before anybody waits for a gigabyte."""
    with pytest.raises(ValueError, match="a frame of"):
        Frames().fed(b"HTTP/1.1 200 OK\r\n")


def test_a_call_without_words_is_found():
    """A lone surrogate and a number beyond 64 bits have no words in MessagePack."""
    fine = ActivateCall(tenant_id="t", code_hash="c", code_hint="h", product_id="p", who=Who(seat_id="a"))
    lone, large = replace(fine, product_id="\ud800"), replace(fine, features={"a": 2**64})

    assert [wire.why_unsayable(call) is None for call in (fine, lone, large)] == [True, False, False]


def test_a_frame_of_many_pieces_is_put_together():
    """Megabytes that arrive in thousands of pieces."""
    body = bytes(range(256)) * 32_768
    stream, frames, whole = wire.framed(body), Frames(), []
    for start in range(0, len(stream), 4096):
        whole += frames.fed(stream[start : start + 4096])

    assert whole == [body]
