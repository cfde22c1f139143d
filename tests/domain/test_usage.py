"""Usage: slots and what they add up to, periods of time zones, demands."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from seatkeeper_server.domain.periods import Period, edges
from seatkeeper_server.domain.usage import Demand, Level, Move, Slot, slot_of, slots, spans, waiting

START = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the day before clocks are put forward in Europe
SECOND = 1_000_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_what_is_held_is_cut_into_quarters_of_an_hour() -> None:
    """Two come and one goes: most, fewest, how long, and how it ended; a quarter in which nothing moved has no row."""
    moves = [Move(at(5), {"": 1}), Move(at(10), {"": 1}), Move(at(47), {"": -1})]

    assert slots({}, moves) == [
        Slot("", at(0), 2, 0, (5 * 1 + 5 * 2) * 60 * SECOND, 0, Level(2)),
        Slot("", at(45), 2, 1, (2 * 2 + 13 * 1) * 60 * SECOND, 0, Level(1)),
    ]


def test_what_is_held_above_what_was_bought_is_added_up_apart() -> None:
    """Of three seats two were bought, for the last five minutes one."""
    moves = [Move(at(0), bought={"": 2}), Move(at(0), {"": 3}), Move(at(10), bought={"": 1})]
    (slot,) = slots({}, moves)

    assert slot.over == (10 * 1 + 5 * 2) * 60 * SECOND
    assert slot.level == Level(3, 1)


def test_where_nothing_moved_it_goes_on_as_it_was() -> None:
    """Between two rows, before the first and after the last there is what was held; now cuts the last quarter."""
    found = slots({"": Level(1, 5)}, [Move(at(70), {"": 2})])
    hours = spans(Level(1, 5), found, [at(0), at(60), at(80)])

    assert [(span.high, span.low, span.mean, span.bought) for span in hours] == [(1, 1, 1.0, 5), (3, 1, 2.0, 5)]


def test_a_wish_that_is_repeated_is_one_demand() -> None:
    """Three tries in ten minutes, then the grant: one seat, waited for ten minutes; an hour later it would be another."""
    wish = Demand(1, "", 1, at(0), at(0)).refused(at(4), 1, 1, at(4)).refused(at(8), 1, 1, at(8))
    granted = wish.met(at(10))

    assert (wish.tries, wish.waited, granted.waited) == (3, timedelta(minutes=8), timedelta(minutes=10))
    assert (wish.goes_on(at(68)), wish.goes_on(at(69)), granted.goes_on(at(11))) == (True, False, False)


def test_who_waits_at_the_same_time_is_added_up() -> None:
    """Two wait for five minutes together; who gave up after one try waits for a moment, and counts in it."""
    demands = [
        Demand(1, "", 1, at(0), at(8), 3, at(10)),
        Demand(2, "", 2, at(5), at(12), 2),
        Demand(3, "", 1, at(70), at(70)),
    ]
    first, second = waiting(demands, [at(0), at(60), at(120)])

    assert (first.most, first.waited) == (3, (10 + 2 * 7) * 60 * SECOND)
    assert (second.most, second.waited) == (1, 0)


def test_who_follows_another_at_the_same_moment_waits_alone() -> None:
    """The one is granted as the other is refused."""
    demands = [Demand(1, "", 1, at(0), at(8), 3, at(10)), Demand(2, "", 1, at(10), at(12), 2)]

    assert waiting(demands, [at(0), at(60)])[0].most == 1


# --- periods -------------------------------------------------------------------------------------------------------


def test_a_day_is_what_people_there_call_one() -> None:
    """In Berlin the last Sunday of March has 23 hours, in Kathmandu a day begins at a quarter past six in the evening."""
    berlin = edges(START, START + timedelta(days=3), Period.DAY, ZoneInfo("Europe/Berlin"))
    kathmandu = edges(START, START + timedelta(days=1), Period.DAY, ZoneInfo("Asia/Kathmandu"))

    assert [f"{moment:%d %H:%M}" for moment in berlin] == ["28 12:00", "28 23:00", "29 22:00", "30 22:00", "31 12:00"]
    assert [f"{moment:%d %H:%M}" for moment in kathmandu] == ["28 12:00", "28 18:15", "29 12:00"]


@given(
    st.integers(0, 10 * 365 * 24 * 60).map(lambda minutes: START - timedelta(minutes=minutes)),
    st.timedeltas(timedelta(0), timedelta(days=70)),
    st.sampled_from(Period),
    st.sampled_from(ZONES),
)
def test_periods_follow_each_other_and_begin_quarters(since: datetime, length: timedelta, period: Period, zone: str) -> None:
    """No moment is left out or told twice; days and months begin at midnight."""
    begin = slot_of(since)
    found = edges(begin, begin + length, period, ZoneInfo(zone))

    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (begin, begin + length) if length else found == []
    assert all(slot_of(moment) == moment for moment in found[:-1])
    if period is not Period.HOUR:
        assert all(moment.astimezone(ZoneInfo(zone)).hour == 0 for moment in found[1:-1])


# --- against a slow recount ----------------------------------------------------------------------------------------

moved = st.tuples(st.integers(0, 400), st.integers(-2, 3), st.none() | st.integers(0, 4))


@given(st.lists(moved, max_size=20), st.sampled_from(ZONES), st.sampled_from(Period), st.integers(0, 399))
def test_spans_say_what_a_slow_recount_says(
    moves: list[tuple[int, int, int | None]], zone: str, period: Period, until: int
) -> None:
    """Whatever moved when, and whatever the zone: most, fewest and how long, minute by minute."""
    until = max([until, *(minute + 1 for minute, _, _ in moves)])
    ordered = sorted(moves, key=lambda each: each[0])
    said = [
        Move(at(minute), {"": n}) if bought is None else Move(at(minute), {"": n}, {"": bought}) for minute, n, bought in moves
    ]
    borders = edges(at(0), at(until), period, ZoneInfo(zone))
    found = spans(Level(0), slots({}, said), borders)

    for span in found:
        levels = [sum(n for minute, n, _ in ordered if at(minute) < span.start)]
        held = over = 0
        minute = span.start
        while minute < span.end:
            for n in (n for then, n, _ in ordered if at(then) == minute):
                levels.append(levels[-1] + n)
            bought = next((b for then, _, b in reversed(ordered) if at(then) <= minute and b is not None), None)
            held += levels[-1]
            over += 0 if bought is None else max(0, levels[-1] - bought)
            minute += timedelta(minutes=1)
        assert (span.high, span.low) == (max(levels), min(levels))
        assert (span.held, span.over) == (held * 60 * SECOND, over * 60 * SECOND)


@given(st.lists(moved, max_size=20), st.integers(0, 400))
def test_what_is_folded_anew_from_a_quarter_on_is_as_if_it_was_folded_at_once(
    moves: list[tuple[int, int, int | None]], minute: int
) -> None:
    """Rows before are kept, rows from there on are made again from the moves of that time and the level before it."""
    said = sorted((Move(at(m), {"": n}) for m, n, _ in moves), key=lambda move: move.at)
    since = slot_of(at(minute))
    kept = slots({}, [move for move in said if move.at < since])
    before = {"": kept[-1].level} if kept else {}

    assert [*kept, *slots(before, [move for move in said if move.at >= since])] == slots({}, said)
