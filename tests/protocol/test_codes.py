"""Activation codes: 120 random bits that survive being read aloud, typed and misread."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatkeeper.protocol import codes

RANDOMNESS = st.binary(min_size=15, max_size=15)
LENGTH = 25
FIXED = [bytes(15), b"\xff" * 15, *(sha256(bytes([number])).digest()[:15] for number in range(8))]


def plain(randomness: bytes) -> str:
    """Give a code without its hyphens."""
    return codes.canonical(codes.make_code(randomness))


def with_check(body: str) -> str:
    """Complete 24 characters by the one check character that fits."""
    (fitting,) = [body + character for character in codes.ALPHABET if codes.looks_right(body + character)]
    return fitting


def swapped_at(code: str, at: int) -> str:
    """Swap two neighbours."""
    return code[:at] + code[at + 1] + code[at] + code[at + 2 :]


@given(RANDOMNESS)
def test_a_code_as_made_looks_right(randomness: bytes) -> None:
    """The check character fits its own code."""
    assert codes.looks_right(codes.make_code(randomness))


@given(RANDOMNESS)
def test_a_code_is_five_groups_of_five(randomness: bytes) -> None:
    """It is printed so that people keep their place in it."""
    groups = codes.make_code(randomness).split("-")

    assert [len(group) for group in groups] == [5] * 5
    assert set("".join(groups)) <= set(codes.ALPHABET)


@given(RANDOMNESS, RANDOMNESS)
def test_different_randomness_gives_different_codes(one: bytes, other: bytes) -> None:
    """No bit of the 120 is lost."""
    assert (codes.make_code(one) == codes.make_code(other)) == (one == other)


@pytest.mark.parametrize("randomness", FIXED, ids=range(len(FIXED)))
def test_every_single_wrong_character_is_noticed(randomness: bytes) -> None:
    """At every position, every other character of the alphabet makes the code look wrong."""
    code = plain(randomness)
    wrong = [code[:at] + other + code[at + 1 :] for at in range(LENGTH) for other in codes.ALPHABET if other != code[at]]

    assert len(wrong) == LENGTH * 31
    assert not [spelling for spelling in wrong if codes.looks_right(spelling)]


@pytest.mark.parametrize("at", range(LENGTH - 1))
def test_every_swap_of_two_neighbours_is_noticed(at: int) -> None:
    """At every position, every two different characters, swapped, make the code look wrong.

    The check depends linearly on the characters, so one code per position and pair speaks for all codes. The last position
    swaps with the check character itself, which takes every value as the character two before it does.
    """
    base = plain(sha256(b"swaps").digest()[:15])[:-1]
    start = min(at, LENGTH - 3)
    bodies = [base[:start] + one + two + base[start + 2 :] for one in codes.ALPHABET for two in codes.ALPHABET]
    swaps = [(code, swapped_at(code, at)) for code in map(with_check, bodies) if code[at] != code[at + 1]]

    assert len(swaps) == 32 * 31
    assert not [code for code, swapped in swaps if codes.looks_right(swapped)]


@given(RANDOMNESS, st.integers(min_value=0, max_value=LENGTH - 2))
def test_a_swap_of_neighbours_in_any_code_is_noticed(randomness: bytes, at: int) -> None:
    """The last character before the check character and the check character itself included."""
    code = plain(randomness)
    swapped = swapped_at(code, at)

    assert codes.looks_right(swapped) == (swapped == code)


@given(RANDOMNESS, st.integers(min_value=0, max_value=LENGTH - 1))
def test_a_lost_or_doubled_character_is_noticed(randomness: bytes, at: int) -> None:
    """A code has 25 characters."""
    code = plain(randomness)

    assert not codes.looks_right(code[:at] + code[at + 1 :])
    assert not codes.looks_right(code[:at] + code[at] + code[at:])


@given(RANDOMNESS)
def test_reading_is_generous(randomness: bytes) -> None:
    """Lower case, missing hyphens, spaces and look-alikes are the same code."""
    code = codes.make_code(randomness)
    typed = f"  {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')}\n"

    assert codes.canonical(typed) == codes.canonical(code)
    assert codes.looks_right(typed)


@given(st.text(alphabet=f"{codes.ALPHABET}{codes.ALPHABET.lower()}OILUoilu- ", max_size=60))
def test_reading_once_is_reading_enough(text: str) -> None:
    """The canonical spelling of a canonical spelling is itself, whatever was typed."""
    once = codes.canonical(text)

    assert codes.canonical(once) == once


@pytest.mark.parametrize("length", [0, 14, 16])
def test_a_code_is_made_of_exactly_15_bytes(length: int) -> None:
    """Too little randomness is a mistake that must not pass silently."""
    with pytest.raises(ValueError, match="15 random bytes"):
        codes.make_code(bytes(length))


def test_only_the_last_four_may_be_logged() -> None:
    """They are the end of the canonical spelling."""
    assert codes.last_four("04106-1050r-3gg28-a1c60-t3gfz") == "3GFZ"
