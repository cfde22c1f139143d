"""Reads bodies, and texts that nobody need look at twice only once.

That every text may be shown (`protocol/text.py`) is a pattern of each field, and each costs a search: together three times as
much as all the rest of reading a request. Nearly all bodies are of plain characters from end to end; then every text in them
is, and the same document is read without those patterns. What else a document asks for is asked for all the same.
"""

from functools import reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, defstruct, json
from msgspec import field as default_of
from msgspec.inspect import is_struct_type
from msgspec.structs import FieldInfo, fields

from seatkeeper.protocol.text import PRINTABLE

_PLAIN: Final = bytes(range(ord(" "), 0x7F)).replace(b"\\", b"")  # without what could stand for another character

Document = TypeVar("Document", bound=Struct)


class Reader(Generic[Document]):
    """Reads bodies that are one kind of document; `decode` raises what msgspec's decoder does."""

    def __init__(self, document: type[Document]) -> None:
        self.type = document
        self._any = json.Decoder(document).decode
        self._plain = json.Decoder(without_patterns(document)).decode

    def decode(self, body: bytes) -> Document:
        """Read a body."""
        read = self._any if body.translate(None, _PLAIN) else self._plain
        document: Document = read(body)
        return document


def without_patterns(kind: Any) -> Any:  # any annotation
    """Give a type without the patterns that hold of all plain texts; of a document, a kind of the same with the same names."""
    if is_struct_type(kind):
        return _plain_document(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return reduce(
            lambda plain, more: Annotated[plain, more], map(_plain_meta, kind.__metadata__), without_patterns(arguments[0])
        )
    if origin in (Union, UnionType):
        return reduce(or_, map(without_patterns, arguments))
    if origin is list:
        return list[without_patterns(arguments[0])]  # type: ignore[misc]  # it is a type
    return kind


def _plain_document(kind: type[Struct]) -> type[Struct]:
    hints = get_type_hints(kind, include_extras=True)
    plain = {each.name: without_patterns(hints[each.name]) for each in fields(kind)}
    changed = [(each.name, plain[each.name], _default(each)) for each in fields(kind) if plain[each.name] != hints[each.name]]
    if not changed:
        return kind
    return defstruct(kind.__name__, changed, bases=(kind,), module=kind.__module__, kw_only=True)


def _plain_meta(meta: Any) -> Any:
    if not isinstance(meta, Meta) or meta.pattern != PRINTABLE:
        return meta
    return Meta(min_length=meta.min_length, max_length=meta.max_length)


def _default(of: FieldInfo) -> Any:  # as msgspec's `field` takes and gives it
    return default_of(default=of.default) if of.default_factory is NODEFAULT else default_of(default_factory=of.default_factory)
