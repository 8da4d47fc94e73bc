"""Where the texts of a chat-completions body are, and where a text cannot be replaced.

Every string is read, but media in base64 and what only structures the request. Values stay encoded, so that what is not
replaced keeps its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from operator import is_
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw

from penstock.contract.guard.checks import TextOrigin
from penstock.contract.guard.places import ContentPlace
from services.worker.providers.encoded_data import is_base64, is_data_url
from services.worker.providers.raw_json import decode_any, decode_fields, decode_list, encoded

__all__ = ["ARGUMENTS", "NO_DOCUMENTS", "DocumentPlaces", "Places", "Source"]

Source = TextOrigin | Literal["arguments"]
"""The origin of a text; `arguments`: of the assistant, as JSON text."""
ARGUMENTS: Final = "arguments"
"""Also the key of the arguments of a tool call, which are JSON text if they are a string."""

DocumentPlaces = Mapping[int, Sequence[tuple[int, int, ContentPlace]]]
"""Where a body has texts of documents: by the index of a message, start and end of each in its content, and the passage
or turn that it belongs to. What else is in such a message was written by Penstock."""
NO_DOCUMENTS: Final[DocumentPlaces] = {}
"""Of a body without documents before its messages."""
_ORIGINS: Final[dict[str, TextOrigin]] = {
    "user": "user",
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Origins by the role of a message; any other role counts as the user's."""
_ORIGINS_OF_PARTS: Final[dict[str, TextOrigin]] = {"tool_result": "tool"}
_FIELDS: Final[dict[str, TextOrigin]] = {"prediction": "user", "documents": "tool"}
"""Fields of the body with texts as in messages."""
_SCHEMAS: Final = frozenset(("tools", "functions", "response_format", "tool_choice", "function_call"))
"""Fields of the body that say which functions there are and which form an answer has."""
_USUAL: Final = frozenset(("role", "content"))
"""The keys of most messages."""
_LABELS: Final = frozenset(
    (
        *("role", "id", "type", "index", "tool_call_id", "tool_use_id", "call_id", "file_id", "status"),
        *("format", "detail", "media_type", "mime_type", "model"),
    )
)
"""Keys of ids, which are echoed only, and of enumerations. Values that look otherwise are read."""
_ENCODED: Final = frozenset(
    ("b64_json", "data", "encrypted_content", "file_data", "signature", "thought_signature")
)
"""Keys of media and of encrypted data in base64."""
_URLS: Final = frozenset(("file_data", "file_url", "image_url", "url", "video_url"))
"""Keys of addresses, which may be `data:` URLs."""
_FIXED: Final = (_LABELS | _ENCODED | _URLS | {"name"}) - {"data"}
"""Keys of messages and parts for whose values nothing else can be put."""
_INPUTS: Final = frozenset((ARGUMENTS, "input"))
"""Keys of what a model has passed to a tool."""
_DESCRIPTIONS: Final = frozenset(
    ("$comment", "const", "default", "description", "enum", "example", "examples", "title")
)
"""Keys of tools and JSON schemas whose strings a model reads as text. The others are names, patterns and addresses,
which the provider needs unchanged."""
_CREDENTIALS: Final = frozenset(("authorization", "headers"))
"""Keys of a tool server with what the provider needs to call it."""
_TOOL_SERVER: Final = "mcp"
_DEEPEST: Final = 40
"""Levels below a field of the body or a message. Each level is scanned again for each level above it."""
_TOO_DEEP: Final = f"nested more than {_DEEPEST} levels deep"
_NO_FINDING: Final = r"[A-Za-z_$-]{0,64}|[0-9]{0,7}|[^\\]{0,5}"
"""Single words, short numbers and what is shorter than any finding."""
_is_plain: Final = re.compile(_NO_FINDING).fullmatch
_is_plain_value: Final = re.compile(rf'"(?:{_NO_FINDING})"'.encode()).fullmatch
_is_label: Final = re.compile(rb'"[A-Za-z0-9_.:/|=-]{0,128}"').fullmatch
_HOLDING: Final = b'{["'
"""How values begin that may hold a text."""
_OBJECT, _LIST, _STRING = _HOLDING


class Places:
    """One pass over a body, which may put other texts in place of its own."""

    def __init__(self, visit: Callable[[str, Source], str], documents: DocumentPlaces = NO_DOCUMENTS) -> None:
        """`visit`: receives a text and its source, and returns the text to put in its place. `documents`: each is
        visited as a text of its own, and what is around it is not visited.
        """
        self._visit = visit
        self._documents = documents
        self._unique = False
        """No object of the body has a key twice."""
        self._body = b""
        self.place = ContentPlace(kind="field")
        """Where the text is that is visited."""
        self.fixed: dict[str, None] = {}
        """Strings that cannot be replaced: names, keys, ids of unusual form, and addresses."""

    def visited(self, body: bytes) -> bytes:
        """The body with the texts that `visit` returned; the same object if nothing changed.

        Raises ValueError for a body that is not JSON, is nested too deeply, or has a key twice in an object, as a
        provider might read the one and the guard the other.
        """
        self._body = body
        try:
            fields = self._fields(body)
            self._fix(fields)
            changes = {
                name: self._field(name, value) if _first_byte(value) in _HOLDING else value
                for name, value in fields.items()
            }
        except msgspec.ValidationError:
            return body
        except RecursionError as error:
            raise ValueError(_TOO_DEEP) from error
        if _unchanged(fields, changes):
            return body
        return bytes(encoded(changes))

    def _field(self, name: str, value: Raw) -> Raw:
        self.place = ContentPlace(kind="field", name=name if _is_plain(name) else "")
        if name == "messages" and _first_byte(value) == _LIST:
            numbers = count()
            return _each(value, lambda raw: self._message(raw, next(numbers)))
        if name == "messages" or name in _FIELDS:
            return self._texts(value, _FIELDS.get(name, "user"), _DEEPEST)
        if name in _SCHEMAS:
            return self._schema(value, _DEEPEST)
        return value if name == "model" and _is_label(value) else self._data(value, "system", _DEEPEST)

    def _message(self, raw: Raw, number: int) -> Raw:
        """`number`: its index in the body."""
        sent = number + 1 - sum(index < number for index in self._documents)
        self.place = ContentPlace(kind="message", number=sent)
        if _first_byte(raw) != _OBJECT:
            return self._texts(raw, "user", _DEEPEST)
        fields = self._fields(raw)
        role = _label(fields.get("role"))
        if number in self._documents:
            return self._documents_in(raw, fields, self._documents[number])
        origin = _ORIGINS.get(role, "user")
        if origin == "tool":
            self.place = ContentPlace(kind="tool_result", number=sent)
        if fields.keys() == _USUAL and role in _ORIGINS:
            content = self._texts(fields["content"], origin, _DEEPEST - 1)
            return _with(raw, fields, {**fields, "content": content})
        return self._texts_of_object(raw, fields, origin, _DEEPEST)

    def _documents_in(
        self, raw: Raw, fields: dict[str, Raw], documents: Sequence[tuple[int, int, ContentPlace]]
    ) -> Raw:
        text: str = decode_any(fields["content"])
        parts: list[str] = []
        before = 0
        for start, end, self.place in documents:
            parts += text[before:start], self._visit(text[start:end], "tool")
            before = end
        new = "".join((*parts, text[before:]))
        return raw if new == text else encoded({**fields, "content": encoded(new)})

    def _texts(self, raw: Raw, origin: Source, levels: int) -> Raw:
        """A message, a part of one, or several."""
        first = _first_byte(raw)
        if first == _STRING:
            return self._text(raw, origin)
        if first == _LIST:
            return _each(raw, lambda value: self._texts(value, origin, _lower(levels)))
        if first == _OBJECT:
            return self._texts_of_object(raw, self._fields(raw), origin, levels)
        return raw

    def _texts_of_object(self, raw: Raw, fields: dict[str, Raw], origin: Source, levels: int) -> Raw:
        inner: Source = _ORIGINS_OF_PARTS.get(_label(fields.get("type")), origin)
        below = _lower(levels)
        self._fix(fields)
        # The name of a function is fixed, that of the author of a message is not.
        authored = levels == _DEEPEST and origin != "tool"
        changes = {
            name: self._data(value, "system", below)
            if authored and name == "name"
            else self._part(name, value, inner, below)
            for name, value in fields.items()
        }
        return _with(raw, fields, changes)

    def _part(self, name: str, value: Raw, origin: Source, levels: int) -> Raw:
        if _first_byte(value) != _STRING:
            if name in _INPUTS or name in _LABELS:
                return self._data(value, "system" if name in _LABELS else origin, levels)
            return self._texts(value, origin, levels)
        if name == ARGUMENTS and origin == "assistant":
            return self._text(value, ARGUMENTS)
        if (name in _LABELS and _is_label(value)) or _is_encoded(name, value):
            return value
        return self._fixed_value(value) if name in _FIXED else self._text(value, origin)

    def _schema(self, raw: Raw, levels: int) -> Raw:
        """A tool or JSON schema, or a part of one: the strings under one of _DESCRIPTIONS are texts."""
        first = _first_byte(raw)
        if first == _STRING:
            return self._fixed_value(raw)
        if first == _LIST:
            return _each(raw, lambda value: self._schema(value, _lower(levels)))
        if first != _OBJECT:
            return raw
        below, fields = _lower(levels), self._fields(raw)
        self._fix(fields)
        server = not _CREDENTIALS.isdisjoint(fields) and _label(fields.get("type")) == _TOOL_SERVER
        changes = {
            name: value
            if _first_byte(value) not in _HOLDING or (server and name in _CREDENTIALS)
            else self._in_schema(name, value, below)
            for name, value in fields.items()
        }
        return _with(raw, fields, changes)

    def _in_schema(self, name: str, raw: Raw, levels: int) -> Raw:
        # A property may have one of these names; its value is a schema then.
        if name not in _DESCRIPTIONS or _first_byte(raw) == _OBJECT:
            return self._schema(raw, levels)
        return self._described(raw, levels)

    def _described(self, raw: Raw, levels: int) -> Raw:
        first = _first_byte(raw)
        if first == _STRING:
            return self._text(raw, "system")
        if first == _LIST:
            return _each(raw, lambda value: self._described(value, _lower(levels)))
        return self._data(raw, "system", levels)

    def _data(self, raw: Raw, origin: Source, levels: int) -> Raw:
        """A value of any form: each string in it is a text, each key is fixed."""
        first = _first_byte(raw)
        if first == _STRING:
            return raw if origin == "system" and _has_no_finding(raw) else self._text(raw, origin)
        if first == _LIST:
            return _each(raw, lambda value: self._data(value, origin, _lower(levels)))
        if first != _OBJECT:
            return raw
        below, fields = _lower(levels), self._fields(raw)
        self._fix(fields)
        return _with(raw, fields, {name: self._data(value, origin, below) for name, value in fields.items()})

    def _text(self, raw: Raw, source: Source) -> Raw:
        text: str = decode_any(raw)
        if not text:
            return raw
        new = self._visit(text, source)
        return raw if new == text else encoded(new)

    def _fixed_value(self, raw: Raw) -> Raw:
        if not _has_no_finding(raw):
            self._fix((decode_any(raw),))
        return raw

    def _fix(self, names: Iterable[str]) -> None:
        for name in names:
            if not (name.isalpha() or name in self.fixed or _is_plain(name)):
                self.fixed[name] = None

    def _fields(self, raw: Raw | bytes) -> dict[str, Raw]:
        fields = decode_fields(raw)
        if not (self._unique or _is_compact(raw, fields)):
            _refuse_repeated_keys(self._body)
            self._unique = True
        return fields


def _lower(levels: int) -> int:
    if not levels:
        raise ValueError(_TOO_DEEP)
    return levels - 1


def _has_no_finding(raw: Raw) -> bool:
    """Whether a string is plain."""
    return bool(_is_plain_value(raw) or _is_plain(decode_any(raw)))


def _is_encoded(name: str, value: Raw) -> bool:
    if not (name in _ENCODED or name in _URLS):
        return False
    text = str(decode_any(value))
    return (name in _ENCODED and is_base64(text)) or (name in _URLS and is_data_url(text))


def _label(raw: Raw | None) -> str:
    """The value of a `role` or `type`; empty for any other value."""
    return str(decode_any(raw)) if raw is not None and _first_byte(raw) == _STRING else ""


def _is_compact(raw: Raw | bytes, fields: dict[str, Raw]) -> bool:
    """Whether the object has no character beside these fields: so none of its keys is there twice."""
    size = sum(map(len, fields)) + sum(map(len, fields.values()))
    return len(raw) == size + 4 * len(fields) + 1 or not fields


def _refuse_repeated_keys(body: bytes) -> None:
    json.loads(bytes(body), object_pairs_hook=_count_keys, parse_int=_no_number, parse_float=_no_number)


def _count_keys(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is repeated in an object")


def _no_number(_: str) -> None:
    """Numbers do not matter, and the longest raise."""


def _each(raw: Raw, visited: Callable[[Raw], Raw]) -> Raw:
    values = decode_list(raw)
    new = list(map(visited, values))
    return raw if all(map(is_, values, new)) else encoded(new)


def _with(raw: Raw, fields: dict[str, Raw], changes: dict[str, Raw]) -> Raw:
    return raw if _unchanged(fields, changes) else encoded(changes)


def _unchanged(fields: dict[str, Raw], changes: dict[str, Raw]) -> bool:
    return all(map(is_, fields.values(), changes.values()))


def _first_byte(raw: Raw) -> int:
    return memoryview(raw)[0]
