"""JSON that msgspec refuses although every byte of it arrived: half a surrogate pair, NaN, Infinity.

JavaScript and Python servers that cut a text at UTF-16 code units escape each half of an emoji by itself. The standard
library reads such text; here it is made valid again. This is several times slower than msgspec and only used after it.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

__all__ = ["REPLACEMENT", "Halves", "mended"]

REPLACEMENT: Final = "\ufffd"
Halves = dict[tuple[Any, ...], str]
"""The first half of a surrogate pair with which a string ended, by the string's place in the JSON value."""


def mended(data: bytes, halves: Halves | None = None) -> bytes:
    """`data` as JSON that any decoder reads: numbers that are none become null, a lone half U+FFFD.

    With `halves`, a first half at the end of a string inside `choices` is kept there and put before the string at the
    same place of the next value. Raises ValueError or RecursionError for what is no JSON or no UTF-8.
    """
    value = json.loads(data.decode())
    if halves is not None and isinstance(value, dict) and isinstance(value.get("choices"), list):
        value["choices"] = _clean(value["choices"], halves, ("choices",))
    return json.dumps(_clean(value, None, ()), ensure_ascii=False, separators=(",", ":")).encode()


def _clean(value: Any, halves: Halves | None, place: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        return _whole_text(value, halves, place)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {
            _whole_text(name, None, ()): _clean(each, halves, (*place, name)) for name, each in value.items()
        }
    if isinstance(value, list):
        return [_clean(each, halves, (*place, _number(each, at))) for at, each in enumerate(value)]
    return value


def _number(element: Any, position: int) -> Any:
    """What tells the elements of a list apart from chunk to chunk: their `index`, or else the position."""
    index = element.get("index") if isinstance(element, dict) else None
    return position if index is None else str(index)


def _whole_text(text: str, halves: Halves | None, place: tuple[Any, ...]) -> str:
    if halves is not None:
        text = halves.pop(place, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            halves[place] = text[-1]
            text = text[:-1]
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
