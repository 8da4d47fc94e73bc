"""The texts of a chat-completions body that the guard checks, and the body with other texts in their places.

Everything is read field by field with values left encoded, so that what is not replaced keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from penstock.contract.guard.checks import CheckedText, TextOrigin
from services.worker.guard.encoded_data import is_base64, is_data_url
from services.worker.providers.raw_json import decode_any, decode_fields, decode_list, encoded

__all__ = ["RequestTexts", "rewritten", "texts_of"]

_Source = TextOrigin | Literal["arguments"]
"""The origin of a text; `arguments`: of the assistant, as JSON text."""
_Visit = Callable[[str, _Source], str]
"""Receives a text and its source, and returns the text to put in its place."""

_ORIGINS: Final[dict[str, TextOrigin]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Origins by the role of a message; any other role counts as the user's."""
_ORIGINS_OF_PARTS: Final[dict[str, _Source]] = {"tool_result": "tool"}
_LABELS: Final = frozenset(
    (
        *("role", "name", "id", "type", "index", "tool_call_id", "tool_use_id", "call_id", "status"),
        *("format", "detail", "media_type", "mime_type", "filename", "file_id", "cache_control"),
    )
)
"""Keys of messages and parts whose values no person and no model has written as text."""
_ENCODED: Final = frozenset(
    ("b64_json", "data", "encrypted_content", "file_data", "signature", "thought_signature")
)
"""Keys of media and of encrypted data in base64."""
_URLS: Final = frozenset(("file_data", "file_url", "image_url", "url", "video_url"))
"""Keys of addresses, which may be `data:` URLs."""
_ARGUMENTS: Final = "arguments"
"""The key of the arguments of a tool call, which are JSON text if they are a string."""
_DESCRIPTIONS: Final = frozenset(
    ("$comment", "const", "default", "description", "enum", "example", "examples", "title")
)
"""Keys of tools and JSON schemas whose strings a model reads as text. The others are names, addresses and credentials
of tool servers, which the provider needs unchanged."""
_DEEPEST: Final = 40
"""Values at deeper levels are passed over: each level is scanned again for each level above it."""
_OBJECT, _LIST, _STRING = b'{["'


class RequestTexts(Struct, frozen=True):
    """The texts of a body, in its order."""

    texts: tuple[CheckedText, ...]
    arguments: frozenset[int] = frozenset()
    """The indices of those that are JSON text."""


def texts_of(body: bytes) -> RequestTexts:
    """Every text of the body with its origin, in the order of the body.

    Texts are the contents of messages, tool-call arguments as JSON text, the results of tools, documents, a predicted
    output, and the descriptions of tools and response formats. Empty texts, and values of unexpected types, are passed
    over. Raises ValueError for a body that is not JSON, or is nested more deeply than JSON decoders accept.
    """
    found: list[CheckedText] = []
    arguments: list[int] = []

    def collect(text: str, source: _Source) -> str:
        if source == _ARGUMENTS:
            arguments.append(len(found))
        found.append(CheckedText(text=text, origin="assistant" if source == _ARGUMENTS else source))
        return text

    _visited(body, collect)
    return RequestTexts(tuple(found), frozenset(arguments))


def rewritten(body: bytes, texts: Sequence[str]) -> bytes:
    """The body with `texts` in place of those of `texts_of`, in the same order.

    Messages without a changed text keep their bytes. Raises ValueError as `texts_of`, and for another number of texts.
    """
    left = list(reversed(texts))

    def replace(_text: str, _source: _Source) -> str:
        if not left:
            raise ValueError("fewer texts than the body has")
        return left.pop()

    changed = _visited(body, replace)
    if left:
        raise ValueError("more texts than the body has")
    return changed


def _visited(body: bytes, visit: _Visit) -> bytes:
    try:
        fields = decode_fields(body)
    except msgspec.ValidationError:
        return body
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    try:
        changes = {name: _field(name, value, visit) for name, value in fields.items() if name in _FIELDS}
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    if all(fields[name] is value for name, value in changes.items()):
        return body
    return bytes(encoded({**fields, **changes}))


def _field(name: str, value: Raw, visit: _Visit) -> Raw:
    if name == "messages":
        return _each(value, lambda message: _message(message, visit))
    origin = _FIELDS[name]
    if origin == "system":
        return _descriptions(value, visit, _DEEPEST)
    return _texts(value, origin, visit, _DEEPEST)


_FIELDS: Final[dict[str, TextOrigin]] = {
    "messages": "user",
    "tools": "system",
    "functions": "system",
    "response_format": "system",
    "prediction": "user",
    "documents": "tool",
}
"""The fields of the body that hold texts."""


def _message(raw: Raw, visit: _Visit) -> Raw:
    if _first_byte(raw) != _OBJECT:
        return _texts(raw, "user", visit, _DEEPEST)
    fields = decode_fields(raw)
    origin = _ORIGINS.get(_label(fields.get("role")), "user")
    return _texts_of_object(raw, fields, origin, visit, _DEEPEST)


def _texts(raw: Raw, origin: _Source, visit: _Visit, levels: int) -> Raw:
    """All strings in a message or part but its labels."""
    first = _first_byte(raw)
    if first == _STRING:
        return _text(raw, origin, visit)
    if first == _LIST and levels:
        return _each(raw, lambda value: _texts(value, origin, visit, levels - 1))
    if first == _OBJECT and levels:
        return _texts_of_object(raw, decode_fields(raw), origin, visit, levels)
    return raw


def _texts_of_object(raw: Raw, fields: dict[str, Raw], origin: _Source, visit: _Visit, levels: int) -> Raw:
    inner = _ORIGINS_OF_PARTS.get(_label(fields.get("type")), origin)
    changes = {
        name: _texts(value, _source(name, value, inner), visit, levels - 1)
        for name, value in fields.items()
        if name not in _LABELS and not _is_data(name, value)
    }
    return _with(raw, fields, changes)


def _is_data(name: str, value: Raw) -> bool:
    if not (name in _ENCODED or name in _URLS) or _first_byte(value) != _STRING:
        return False
    text = str(decode_any(value))
    return (name in _ENCODED and is_base64(text)) or (name in _URLS and is_data_url(text))


def _source(name: str, value: Raw, origin: _Source) -> _Source:
    is_json = name == _ARGUMENTS and origin == "assistant" and _first_byte(value) == _STRING
    return _ARGUMENTS if is_json else origin


def _descriptions(raw: Raw, visit: _Visit, levels: int) -> Raw:
    """The strings of a tool or schema that are under one of _DESCRIPTIONS, at any depth."""
    first = _first_byte(raw)
    if first == _LIST and levels:
        return _each(raw, lambda value: _descriptions(value, visit, levels - 1))
    if first != _OBJECT or not levels:
        return raw
    fields = decode_fields(raw)
    changes = {name: _description(name, value, visit, levels - 1) for name, value in fields.items()}
    return _with(raw, fields, changes)


def _description(name: str, raw: Raw, visit: _Visit, levels: int) -> Raw:
    # A property may have one of these names; its value is a schema then.
    if name not in _DESCRIPTIONS or _first_byte(raw) == _OBJECT:
        return _descriptions(raw, visit, levels)
    return _strings(raw, visit, levels)


def _strings(raw: Raw, visit: _Visit, levels: int) -> Raw:
    first = _first_byte(raw)
    if first == _STRING:
        return _text(raw, "system", visit)
    if first == _LIST and levels:
        return _each(raw, lambda value: _strings(value, visit, levels - 1))
    return _descriptions(raw, visit, levels)


def _text(raw: Raw, source: _Source, visit: _Visit) -> Raw:
    text: str = decode_any(raw)
    if not text:
        return raw
    new = visit(text, source)
    return raw if new == text else encoded(new)


def _label(raw: Raw | None) -> str:
    """The value of a `role` or `type`; empty for any other value."""
    return str(decode_any(raw)) if raw is not None and _first_byte(raw) == _STRING else ""


def _each(raw: Raw, visited: Callable[[Raw], Raw]) -> Raw:
    if _first_byte(raw) != _LIST:
        return raw
    values = decode_list(raw)
    new = list(map(visited, values))
    return raw if all(map(is_, values, new)) else encoded(new)


def _with(raw: Raw, fields: dict[str, Raw], changes: dict[str, Raw]) -> Raw:
    if all(fields[name] is value for name, value in changes.items()):
        return raw
    return encoded({**fields, **changes})


def _first_byte(raw: Raw) -> int:
    return memoryview(raw)[0]
