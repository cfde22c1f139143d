"""The product's own decisions, held against the specification that was written without it."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from tests.linear.checker import check
from tests.linear.history import Kind
from tests.linear.model import RULES, Habits, crowd
from tests.linear.product import Product

SLOPPY = Habits(sleeps=0.1, repeats=0.1, pairs=False)
IN_TWOS = Habits(sleeps=0.1, repeats=0.1)
CUT_OFF = Habits(loses=0.05, sleeps=0.0, pairs=False)


@pytest.mark.parametrize(
    ("linger", "ends", "habits"),
    [(0, None, SLOPPY), (0, None, IN_TWOS), (0, None, CUT_OFF), (0, 1500, IN_TWOS), (20, None, SLOPPY), (100, 1500, SLOPPY)],
)
@pytest.mark.parametrize("seed", range(2))
def test_the_product_does_what_the_specification_says(
    tmp_path: Path, linger: int, ends: int | None, habits: Habits, seed: int
) -> None:
    """What a crowd is told by the product's pool machine and store, one pool of the specification tells it too."""
    rules = replace(RULES, linger=linger, ends=ends)
    product = Product(rules, tmp_path / "seats.db")
    try:
        history = crowd(product, rules, Random(seed), calls=120, habits=habits)
    finally:
        product.close()

    verdict = check(history)

    assert verdict.accepted, verdict


@pytest.mark.parametrize("seed", range(4))
def test_the_product_gives_downtime_back_as_the_specification_says(tmp_path: Path, seed: int) -> None:
    """A server that is away now and then keeps every place and every key for as much longer, the same for all that ask."""
    rules = replace(RULES, beat=20)
    product = Product(rules, tmp_path / "seats.db", away=((150, 260), (300, 320), (420, 600), (650, 720)))
    try:
        history = crowd(product, rules, Random(seed), calls=150, habits=CUT_OFF)
        history.operations.extend(product.downtimes())
    finally:
        product.close()

    verdict = check(history)

    assert verdict.accepted, verdict
    assert sum(call.kind is Kind.DOWNTIME for call in history.operations) >= 2
