"""Activation codes: 120 random bits that people can read to each other.

A code is 24 characters of Crockford's base32 and a check character out of the same 32, in five groups of five. The check
is a polynomial over GF(32), so that every single wrong character and every swap of two neighbours is found before
anything is sent. Reading is generous: lower case, missing hyphens, `O` for `0`, `I` and `L` for `1`.

>>> code = make_code(bytes(15))
>>> code
'00000-00000-00000-00000-00000'
>>> looks_right(code)
True
"""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_BYTES = 15
GROUP_LENGTH = 5

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_FIELD_POLYNOMIAL = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)


def make_code(randomness: bytes) -> str:
    """Give the activation code for 15 random bytes.

    Raises:
        ValueError: the randomness is not 15 bytes long.
    """
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"an activation code is made of {RANDOM_BYTES} random bytes, not {len(randomness)}")
    number = int.from_bytes(randomness, "big")
    body = "".join(ALPHABET[(number >> shift) & 31] for shift in range(115, -1, -5))
    whole = body + _check_character(body)
    return "-".join(whole[start : start + GROUP_LENGTH] for start in range(0, len(whole), GROUP_LENGTH))


def canonical(code: str) -> str:
    """Give the one spelling under which a code is looked up: upper case, no hyphens, no look-alikes."""
    return code.strip().upper().translate(_READ_AS)


def looks_right(code: str) -> bool:
    """Tell whether the check character of a code made by `make_code` fits; codes of a vendor's own need not."""
    plain = canonical(code)
    return len(plain) == 25 and all(character in _VALUE for character in plain) and _check_character(plain[:-1]) == plain[-1]


def is_mistyped(code: str) -> bool:
    """Tell whether a code has the shape of one made by `make_code`, but a check character that doesn't fit."""
    plain = canonical(code)
    return len(plain) == 25 and all(character in _VALUE for character in plain) and not looks_right(plain)


def last_four(code: str) -> str:
    """Give the part of a code that may appear in logs and facts."""
    return canonical(code)[-4:]


def _check_character(body: str) -> str:
    """Evaluate the body as a polynomial at the field's generator: each position gets a weight of its own."""
    total = 0
    for character in body:
        total = _times_generator(total ^ _VALUE[character])
    return ALPHABET[total]


def _times_generator(value: int) -> int:
    doubled = value << 1
    return doubled ^ _FIELD_POLYNOMIAL if doubled & 32 else doubled
