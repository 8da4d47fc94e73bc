"""Repair of JSON that msgspec rejects although it arrived complete: lone surrogates, NaN, Infinity.

JavaScript and Python servers that split a text between UTF-16 code units escape each half of an emoji by itself. The
standard library decodes such text. It is several times slower than msgspec and only used after msgspec has failed.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

__all__ = ["REPLACEMENT", "PendingSurrogates", "repair_json"]

REPLACEMENT: Final = "\ufffd"
PendingSurrogates = dict[tuple[Any, ...], str]
"""The high surrogate at the end of each string that ended with one, by the string's path in the JSON value."""


def repair_json(data: bytes, pending: PendingSurrogates | None = None) -> bytes:
    """`data` as strict JSON: NaN and Infinity become null, a lone surrogate U+FFFD.

    With `pending`, a high surrogate at the end of a string inside `choices` is kept there and put before the string at
    the same path of the next value. Raises ValueError or RecursionError for invalid JSON or UTF-8.
    """
    value = json.loads(data.decode())
    if pending is not None and isinstance(value, dict) and isinstance(value.get("choices"), list):
        value["choices"] = _repair(value["choices"], pending, ("choices",))
    return json.dumps(_repair(value, None, ()), ensure_ascii=False, separators=(",", ":")).encode()


def _repair(value: Any, pending: PendingSurrogates | None, path: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        return _repair_text(value, pending, path)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {
            _repair_text(name, None, ()): _repair(each, pending, (*path, name))
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_repair(each, pending, (*path, _list_key(each, at))) for at, each in enumerate(value)]
    return value


def _list_key(element: Any, position: int) -> Any:
    """Identifies an element of a list across chunks: its `index`, or else its position."""
    index = element.get("index") if isinstance(element, dict) else None
    return position if index is None else str(index)


def _repair_text(text: str, pending: PendingSurrogates | None, path: tuple[Any, ...]) -> str:
    if pending is not None:
        text = pending.pop(path, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            pending[path] = text[-1]
            text = text[:-1]
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
