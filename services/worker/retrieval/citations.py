"""Which passages the text of an answer cites: `[1]`, `[1][2]`, `[1, 2]`, `[1-3]` and `【1】`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

__all__ = ["cited_numbers"]

_NUMBER: Final = r"[0-9]{1,4}"
_ITEM: Final = rf"\^?{_NUMBER}(?:\s{{0,2}}[-–]\s{{0,2}}{_NUMBER})?"
_LIST: Final = rf"\s{{0,2}}{_ITEM}(?:\s{{0,2}}(?:[,;]|and|&)\s{{0,2}}{_ITEM})*\s{{0,2}}"
_citation: Final = re.compile(
    rf"(?:(?<![A-Za-z0-9_)\]\\$])|(?<=[0-9]\]))\[({_LIST})\](?!\()|【({_LIST})(?:†[^】\n]{{0,80}})?】"
)
"""Not in an index such as `rows[1]`, a link such as `[1](…)`, or TeX such as `\\[1\\]`; a bracket that follows another
citation is one."""
_item: Final = re.compile(rf"({_NUMBER})(?:\s*[-–]\s*({_NUMBER}))?")
_code: Final = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|(?<!`)(`{1,2})(?!`)[^\n]*?(?<!`)\1(?!`)", re.DOTALL
)
_WIDEST_RANGE: Final = 100


def cited_numbers(text: str, passages: int) -> frozenset[int]:
    """The numbers from 1 to `passages` to which the text refers, outside of code.

    In an answer that is a JSON document, only its strings are read: a list of numbers cites nothing.
    """
    if not passages or not ("[" in text or "【" in text):
        return frozenset()
    return frozenset(number for part in _prose(text) for number in _numbers(part) if 1 <= number <= passages)


def _prose(text: str) -> Iterable[str]:
    if text.lstrip().startswith(("{", "[")):
        try:
            return list(_strings(msgspec.json.decode(text.encode("utf-8", "surrogatepass"))))
        except (ValueError, RecursionError):
            pass
    return (_code.sub(" ` ", text),)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _numbers(text: str) -> Iterator[int]:
    cited_until = 0
    for found in _citation.finditer(text):
        if text[found.start() - 1 : found.start()] == "]" and found.start() != cited_until:
            continue  # the second index of `rows[0][1]`
        cited_until = found.end()
        for first, last in _item.findall(found[1] or found[2]):
            begin = int(first)
            end = int(last) if last else begin
            if begin <= end <= begin + _WIDEST_RANGE:
                yield from range(begin, end + 1)
