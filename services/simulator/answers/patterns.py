"""A text that a regular expression of a JSON Schema matches."""

from __future__ import annotations

import importlib
import re
import warnings
from typing import Any, Final

__all__ = ["matching_text"]

_parser: Final[Any] = importlib.import_module("re._parser")
"""The parser of `re`: private, therefore every text that is made from its result is checked with `re` itself."""

_LONGEST: Final = 256
"""Upper bound of the characters that a repetition adds."""
_CATEGORIES: Final = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
_NOT_CATEGORIES: Final = {"CATEGORY_NOT_DIGIT": "a", "CATEGORY_NOT_SPACE": "a", "CATEGORY_NOT_WORD": "-"}
_CHARACTERS: Final = "a1A -_.~é"
"""Tried for a character that the pattern excludes others from."""


def matching_text(pattern: str, least: int, most: int | None) -> str | None:
    """A text of `least` to `most` characters that `pattern` matches; None if none was found.

    Found are those of patterns without assertions, in which every repetition may have the same length.
    """
    try:
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # of sets within sets, as in `[[a]`
            compiled = re.compile(pattern)
            parsed = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
    for extra in range(min(least, _LONGEST) + 1):
        text = _sequence(parsed, extra)
        if most is not None and len(text) > most:
            return None
        if len(text) >= least and compiled.search(text):
            return text
    return None


def _sequence(parsed: Any, extra: int) -> str:
    return "".join(_element(str(operation), value, extra) for operation, value in parsed)


def _element(operation: str, value: Any, extra: int) -> str:
    """`extra`: how often an element that may be repeated is repeated beyond its minimum."""
    text = ""  # anchors and assertions add no text
    match operation:
        case "LITERAL":
            text = chr(value)
        case "ANY":
            text = "a"
        case "NOT_LITERAL":
            text = next(each for each in _CHARACTERS if each != chr(value))
        case "IN":
            text = _of_class(value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = value
            text = _sequence(inner, extra) * min(least + extra, int(most), least + _LONGEST)
        case "SUBPATTERN":
            text = _sequence(value[-1], extra)
        case "BRANCH":
            text = _sequence(value[1][0], extra)
        case "ATOMIC_GROUP":
            text = _sequence(value, extra)
    return text


def _of_class(members: Any) -> str:
    """A character of the class `[…]`."""
    operations = [(str(operation), value) for operation, value in members]
    if operations[0][0] == "NEGATE":
        return next((each for each in _CHARACTERS if not _contains(operations[1:], each)), "a")
    operation, value = operations[0]
    if operation == "CATEGORY":
        return (_CATEGORIES | _NOT_CATEGORIES)[str(value)]
    return chr(value[0] if operation == "RANGE" else value)


def _contains(operations: list[tuple[str, Any]], character: str) -> bool:
    code = ord(character)
    for operation, value in operations:
        if operation == "LITERAL" and value == code:
            return True
        if operation == "RANGE" and value[0] <= code <= value[1]:
            return True
        if operation == "CATEGORY" and _in_category(str(value), character):
            return True
    return False


def _in_category(category: str, character: str) -> bool:
    kinds = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
    matches = re.match(kinds[category.rpartition("_")[2]], character) is not None
    return matches != category.startswith("CATEGORY_NOT")
