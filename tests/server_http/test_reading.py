"""Bodies of plain characters are read without looking at each text again; what comes out is the same."""

from json import dumps

from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, json, to_builtins

from seatkeeper.protocol.documents import ActivateRequest, FeatureRequest, StatusRequest
from seatkeeper_server.http.reading import Reader, without_patterns

ORDINARY = json.Decoder(ActivateRequest)
READER = Reader(ActivateRequest)

texts = st.text(st.sampled_from('aZ 0-_"\\/\x1b\x7f\x9f\xad\u200b\u2028\U000e0001äß𝄞'), max_size=4)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw what a program may send, and what none should; written with escapes or without."""
    holder = draw(st.dictionaries(st.sampled_from(["user", "host", "process", "group"]), texts))
    features = draw(st.lists(st.fixed_dictionaries({"key": texts}, optional={"amount": st.integers(-1, 3)}), max_size=2))
    said = {
        "productId": draw(texts),
        "seatId": draw(texts),
        "clientNonce": draw(st.sampled_from(["n" * 16, "n" * 15, "n" * 16 + "\n", "n!" * 8])),
        "seatName": draw(texts),
        "holder": holder,
        "features": features,
    }
    kept = {name: said[name] for name in said if draw(st.integers(0, 9))}
    return dumps(kept, ensure_ascii=draw(st.booleans())).encode()


def outcome(decode, body: bytes):
    """What a body is read as, or whether it is refused."""
    try:
        return to_builtins(decode(body))
    except ValidationError as error:
        return str(error)


@given(bodies())
def test_a_body_is_read_as_it_always_was(body: bytes) -> None:
    """Plain or not, right or wrong: the same document, or the same refusal."""
    assert outcome(READER.decode, body) == outcome(ORDINARY.decode, body)


def test_what_an_escape_stands_for_is_looked_at() -> None:
    r"""`\u001b` is written in plain characters, and is none."""
    assert "matching regex" in outcome(READER.decode, rb'{"productId":"p","seatId":"a\u001b[2J"}')


def test_what_else_a_text_has_to_be_is_asked_for() -> None:
    """A nonce is of few characters, in a plain body too."""
    assert "matching regex" in outcome(READER.decode, b'{"productId":"p","seatId":"a","clientNonce":"n!n!n!n!n!n!n!n!"}')


def test_a_document_without_such_patterns_is_read_as_itself() -> None:
    """There is nothing to leave out."""
    assert without_patterns(StatusRequest) is StatusRequest
    assert isinstance(Reader(FeatureRequest).decode(b'{"key":"render"}'), FeatureRequest)
