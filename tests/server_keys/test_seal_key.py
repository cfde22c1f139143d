"""The key that seals: made once, kept private, and clear about what doesn't fit."""

import os
import stat
import threading

import pytest

from seatkeeper_server.keys import SealKey, SealKeyError


def test_what_was_sealed_is_opened_in_its_context():
    """A sealed text opens under the same key and context."""
    seal = SealKey(bytes(32))

    assert seal.open(seal.seal(b"secret", "row 1"), "row 1") == b"secret"


def test_sealing_twice_gives_different_texts():
    """A nonce is never used twice: two would give the key away."""
    seal = SealKey(bytes(32))

    assert len({seal.seal(b"secret", "row 1") for _ in range(100)}) == 100


@pytest.mark.parametrize("other", [SealKey(bytes([1] * 32)), None])
def test_another_key_or_context_does_not_open(other):
    """Moving one row's content to another, or giving the wrong key file, is a clear error."""
    sealed = SealKey(bytes(32)).seal(b"secret", "row 1")
    key, context = (other, "row 1") if other else (SealKey(bytes(32)), "row 2")

    with pytest.raises(SealKeyError, match="does not fit"):
        key.open(sealed, context)


@pytest.mark.parametrize("position", [1, 12, 13, -1])
def test_a_changed_text_does_not_open(position):
    """Every bit is authenticated."""
    seal = SealKey(bytes(32))
    sealed = bytearray(seal.seal(b"secret", "row 1"))
    sealed[position] ^= 1

    with pytest.raises(SealKeyError):
        seal.open(bytes(sealed), "row 1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12), b"\x02" + bytes(40)])
def test_a_torn_or_unknown_text_is_a_clear_error(sealed):
    """Never a foreign exception."""
    with pytest.raises(SealKeyError):
        SealKey(bytes(32)).open(sealed, "row 1")


def test_a_key_is_made_once_and_found_again(tmp_path):
    """The first start makes it, mode 0600, 32 random bytes; every later one reads it."""
    path = tmp_path / "data" / "seal.key"
    sealed = SealKey.load_or_create(path).seal(b"secret", "row 1")

    assert SealKey.load_or_create(path).open(sealed, "row 1") == b"secret"
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert os.listdir(path.parent) == ["seal.key"]


def test_keys_are_random(tmp_path):
    """Two servers never share one."""
    SealKey.load_or_create(tmp_path / "a")
    SealKey.load_or_create(tmp_path / "b")

    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_who_makes_it_at_once_gets_the_same_key(tmp_path):
    """A server and a command started together on a new directory end up with one key."""
    start, seals = threading.Barrier(8), []

    def make():
        start.wait()
        seals.append(SealKey.load_or_create(tmp_path / "seal.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = seals[0].seal(b"secret", "row 1")

    assert [seal.open(sealed, "row 1") for seal in seals] == [b"secret"] * 8


def test_what_is_not_a_key_is_refused_by_name(tmp_path):
    """A file of another length is no key; the message names the file."""
    path = tmp_path / "seal.key"
    path.write_bytes(b"short")

    with pytest.raises(SealKeyError, match=r"seal\.key is not a sealing key: .* 32 bytes, not 5"):
        SealKey.load_or_create(path)


def test_a_place_where_no_key_can_be_made_is_named(tmp_path):
    """A foreign error is told in our words."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(SealKeyError, match="can't be read or made"):
        SealKey.load_or_create(tmp_path / "file" / "seal.key")
