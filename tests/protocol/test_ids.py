"""Identifiers: a type prefix and 22 URL-safe characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatkeeper.protocol import ids

PREFIXES = {name: value for name, value in vars(ids).items() if name.isupper() and isinstance(value, str)}


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_its_prefix_and_22_url_safe_characters(randomness: bytes) -> None:
    """The whole string is the id; nothing in it needs escaping in a path."""
    made = ids.make_id(ids.ACTIVATION, randomness)

    assert made.startswith("act_")
    assert len(made) == len("act_") + 22
    assert made.replace("-", "").replace("_", "").isalnum()


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_different_randomness_gives_different_ids(one: bytes, other: bytes) -> None:
    """No bit of the 128 is lost."""
    assert (ids.make_id("t_", one) == ids.make_id("t_", other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("TENANT", "t_"), ("PRODUCT", "prod_"), ("EDITION", "ed_"), ("PLAN", "plan_"), ("OFFERING", "off_"),
        ("FEATURE", "feat_"), ("CUSTOMER", "cust_"), ("GROUP", "egr_"), ("ENTITLEMENT", "ent_"), ("ACTIVATION", "act_"),
    ],
)  # fmt: skip
def test_prefixes_are_those_of_the_public_contract(name: str, prefix: str) -> None:
    """An integration that looks at the prefix goes on working."""
    assert PREFIXES[name] == prefix


def test_no_prefix_begins_another() -> None:
    """The type can be read off an id without doubt."""
    values = sorted(PREFIXES.values())

    assert not [(one, two) for one in values for two in values if one != two and two.startswith(one)]


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\x00", "AA"), (b"\xfb\xff", "-_8"), (b"\xff" * 3, "____")])
def test_base64url_is_without_padding(data: bytes, text: str) -> None:
    """RFC 7515, section 2."""
    assert ids.b64url(data) == text
