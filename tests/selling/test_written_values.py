"""How people who sell write intervals, features, overdrafts and ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatkeeper_server.domain.catalogue import (
    Feature,
    Sale,
    Terms,
    is_nearly,
    read_end,
    read_feature,
    read_overdraft,
    written_overdraft,
)
from seatkeeper_server.domain.intervals import read_interval, unit_and_count, written
from seatkeeper_server.domain.terms import Kind, Overdraft


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("0s", 0), (" 2m ", 120)]
)
def test_an_interval_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """An interval is written `90s`, `15m`, `12h`, `30d`."""
    assert read_interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "m", "1.5h", "-2m", "2 m", "2w", "1h30m", "٣m", "99999999d"])
def test_anything_else_is_no_interval(text: str) -> None:
    """Nothing is guessed at."""
    with pytest.raises(ValueError, match=r"interval|century"):
        read_interval(text)


@given(st.integers(0, 10**9))
def test_what_is_written_is_read_as_the_same(seconds: int) -> None:
    """Writing an interval and reading it again gives the interval."""
    interval = timedelta(seconds=seconds)

    assert read_interval(written(interval)) == interval


def test_an_interval_is_written_in_its_largest_whole_unit() -> None:
    """Two minutes are `2m`, ninety seconds stay `90s`."""
    written_as = [written(timedelta(seconds=seconds)) for seconds in (120, 90, 86_400, 7_200, 0)]

    assert written_as == ["2m", "90s", "1d", "2h", "0s"]
    assert unit_and_count(timedelta(hours=36)) == ("hour", 36)


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("export=bool", Feature("export", Kind.BOOL, 1)),
        ("render=elementPool:10", Feature("render", Kind.ELEMENT_POOL, 10)),
        ("render=elementPool:10+10%", Feature("render", Kind.ELEMENT_POOL, 10, Overdraft("percentage", 10))),
        ("pages=usageCount:500+unlimited", Feature("pages", Kind.USAGE_COUNT, 500, Overdraft("unlimited"))),
        ("pages=usageCount:unlimited", Feature("pages", Kind.USAGE_COUNT, None)),
    ],
)
def test_a_feature_is_a_key_a_kind_and_an_amount(text: str, feature: Feature) -> None:
    """`key=bool`, `key=elementPool:N`, `key=usageCount:N`, the counted ones with an overdraft if wanted."""
    assert read_feature(text) == feature


@pytest.mark.parametrize(
    "text",
    ["", "render", "render=", "render=elementPool", "render=elementPool:", "render=elementPool:-1", "export=bool:1",
     "=bool", "a b=bool", "render=seat:3", "render=elementPool:x", "render=elementPool:1+x", f"{'k' * 51}=bool"],
)  # fmt: skip
def test_anything_else_is_no_feature(text: str) -> None:
    """A feature that is written wrong is refused, never guessed at."""
    with pytest.raises(ValueError, match=r"feature|overdraft|amount"):
        read_feature(text)


@pytest.mark.parametrize("text", ["none", "unlimited", "10%", "5", "0%"])
def test_an_overdraft_is_written_as_it_is_read(text: str) -> None:
    """`10%`, `5`, `none` and `unlimited` mean what they say."""
    assert written_overdraft(read_overdraft(text)) == text


@pytest.mark.parametrize("text", ["", "-1", "ten", "10 %", "1.5%", "²"])
def test_anything_else_is_no_overdraft(text: str) -> None:
    """An overdraft that is written wrong is refused."""
    with pytest.raises(ValueError, match="overdraft"):
        read_overdraft(text)


def test_a_day_as_an_end_includes_that_day() -> None:
    """`--until 2027-01-31` still allows the whole 31st, in UTC."""
    assert read_end("2027-01-31") == datetime(2027, 2, 1, tzinfo=UTC)


def test_an_end_may_be_a_moment_or_never() -> None:
    """A moment names its time zone; `never` has no end."""
    assert read_end("2027-01-31T12:00:00+02:00") == datetime(2027, 1, 31, 10, tzinfo=UTC)
    assert read_end("never") is None


@pytest.mark.parametrize("text", ["soon", "2027-13-01", "2027-02-30", "31.1.2027", "2027-01-31T12:00:00", ""])
def test_an_end_that_is_no_date_is_refused(text: str) -> None:
    """A moment without a zone would be a different one on every machine."""
    with pytest.raises(ValueError, match=r"no date|time zone"):
        read_end(text)


def test_an_end_beyond_the_calendar_is_told_from_one_that_is_no_date() -> None:
    """The day after the last one can't be written."""
    with pytest.raises(ValueError, match="too far away: write 9999-12-30"):
        read_end("9999-12-31")

    assert read_end("9999-12-30") is not None


@pytest.mark.parametrize("read", [read_end, read_feature, read_overdraft, read_interval])
def test_a_long_value_is_cut_where_it_is_said_back(read: Callable[[str], object]) -> None:
    """The message stays readable."""
    with pytest.raises(ValueError, match=r"…") as refused:
        read("x" * 10_000)

    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(("one", "other"), [("ACME", "acme"), ("ACME Inc.", "acme, inc"), ("Straße", "STRASSE")])
def test_names_that_differ_in_spelling_only_are_nearly_the_same(one: str, other: str) -> None:
    """Case, blanks and punctuation are what fingers slip on."""
    assert is_nearly(one, other)


@pytest.mark.parametrize(("one", "other"), [("acme", "acne"), ("..", "--")])
def test_names_that_differ_in_letters_are_others(one: str, other: str) -> None:
    """Nothing is guessed at."""
    assert not is_nearly(one, other)


@pytest.mark.parametrize("wrong", [{"seats": 0}, {"seats": 3, "lease": timedelta(0)}, {"seats": 3, "days": 0}])
def test_terms_that_make_no_sense_cannot_be_built(wrong: dict[str, int]) -> None:
    """Nobody sells no seats, leases of no length, or no days."""
    with pytest.raises(ValueError, match=r"seats|lease|days"):
        Terms(**wrong)  # type: ignore[arg-type]


def test_a_feature_is_sold_once() -> None:
    """The same key twice would be two answers to one question."""
    with pytest.raises(ValueError, match="twice"):
        Terms(seats=1, features=(Feature("render", Kind.BOOL), Feature("render", Kind.ELEMENT_POOL, 3)))


@pytest.mark.parametrize("name", ["", "  ", "x" * 51, "a\nb"])
def test_a_name_is_one_to_fifty_printable_characters(name: str) -> None:
    """The public contract has names of at most fifty characters."""
    with pytest.raises(ValueError, match="name"):
        Sale(customer=name, product="solver", terms=Terms(seats=1))


def test_the_same_terms_have_the_same_sku() -> None:
    """A SKU stands for a product and its terms."""
    three = Terms(seats=3)

    assert three.sku("solver") == Terms(seats=3).sku("solver")
    assert (
        len({three.sku("solver"), three.sku("Solver 2"), Terms(seats=4).sku("solver"), Terms(seats=3, days=1).sku("solver")})
        == 4
    )
