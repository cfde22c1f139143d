"""Activation codes: how 15 random bytes are written, how people's spellings are read, which errors are found."""

from hashlib import sha256

from scripts.wire_vectors.world import Case

_GOOD = "04106-1050R-3GG28-A1C60-T3GFZ"  # the bytes 1 to 15
_PLAIN = _GOOD.replace("-", "")


def cases() -> list[Case]:
    """Give all code cases: the first make a code from bytes, the others read what a person typed."""
    return [
        _made("all-zero", "No bit is set.", bytes(15), "00000-00000-00000-00000-00000"),
        _made("all-one", "Every bit is set.", b"\xff" * 15, "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZW"),
        _made("counting", "Bytes 1 to 15; the first character holds the five highest bits.", bytes(range(1, 16)), _GOOD),
        _made("drawn", "As if drawn.", sha256(b"activation code").digest()[:15], "NW388-HRXBN-GXH39-8BHH7-QFDV3"),
        _read("as-printed", "As it was printed.", _GOOD, _PLAIN, right=True),
        _read("lower-case", "Lower case is read.", _GOOD.lower(), _PLAIN, right=True),
        _read("no-hyphens", "Hyphens are for the eye.", _PLAIN, _PLAIN, right=True),
        _read("spaces", "Spaces, inside and around, are left out.", f"  {_GOOD.replace('-', ' ')} ", _PLAIN, right=True),
        _read("other-groups", "Hyphens may stand anywhere.", "-0410-61050R3GG-28A1C60T3-GFZ", _PLAIN, right=True),
        _read("letter-o", "O is read as 0.", _GOOD.replace("0", "O"), _PLAIN, right=True),
        _read("letters-i-and-l", "I and L are read as 1.", _GOOD.replace("1", "I", 1).replace("1", "l"), _PLAIN, right=True),
        _read("one-wrong", "One character is wrong.", _GOOD.replace("R", "S"), _PLAIN.replace("R", "S"), right=False),
        _read("wrong-check", "The check character is wrong.", _GOOD[:-1] + "Y", _PLAIN[:-1] + "Y", right=False),
        _read(
            "neighbours-swapped",
            "Two neighbours are swapped.",
            _GOOD.replace("8-A", "A-8"),
            _PLAIN.replace("8A", "A8"),
            right=False,
        ),
        _read(
            "swapped-with-check",
            "The last two are swapped.",
            _GOOD.replace("FZ", "ZF"),
            _PLAIN.replace("FZ", "ZF"),
            right=False,
        ),
        _read("too-short", "A character is missing.", _GOOD[:-1], _PLAIN[:-1], right=False),
        _read("too-long", "A character too many.", _GOOD + "0", _PLAIN + "0", right=False),
        _read("letter-u", "U is not in the alphabet.", "U" + _GOOD[1:], "U" + _PLAIN[1:], right=False),
        _read(
            "vendors-own",
            "A vendor's own code needs no check: a client sends it all the same.",
            "Y64E-GJQP-56EW",
            "Y64EGJQP56EW",
            right=False,
        ),
        _read("empty", "Nothing is no code.", "", "", right=False),
    ]


def _made(name: str, why: str, randomness: bytes, code: str) -> Case:
    return {"name": name, "why": why, "randomHex": randomness.hex(), "result": {"code": code}}


def _read(name: str, why: str, text: str, canonical: str, *, right: bool) -> Case:
    return {"name": name, "why": why, "text": text, "result": {"canonical": canonical, "looksRight": right}}
