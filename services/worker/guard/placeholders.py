"""Placeholders such as `[EMAIL_1]` in place of redacted values, and the values in their place again.

One request has one numbering for its texts and its answer: a value has the same placeholder wherever it occurs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Final

from penstock.contract.guard.checks import Finding

__all__ = ["JsonPosition", "Placeholders", "Restorer"]

_QUOTE: Final = '"'
_PLACEHOLDER: Final = re.compile(r"\[[A-Z][A-Z_]{0,40}_[1-9][0-9]{0,8}\]")
_JSON_QUOTES: Final = re.compile(r'\\.|"', re.DOTALL)


class JsonPosition:
    """Whether the place after the JSON text read so far is inside a string."""

    __slots__ = ("_escaped", "in_string")

    def __init__(self) -> None:
        self.in_string = False
        self._escaped = False

    def read(self, text: str) -> None:
        """Go on by `text`, which may end anywhere."""
        if not text:
            return
        start = 1 if self._escaped else 0
        self._escaped = False
        if '"' not in text and "\\" not in text:
            return
        end = start
        for found in _JSON_QUOTES.finditer(text, start):
            end = found.end()
            if found[0] == '"':
                self.in_string = not self.in_string
        # A backslash at the very end has no character after it, and is not matched.
        self._escaped = end < len(text) and text.endswith("\\")


class Placeholders:
    """The redacted values of one request and its answer, by placeholder."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts`: those of the request; a placeholder that they have already is not used for another value."""
        self._taken = {found for text in texts if "[" in text for found in _PLACEHOLDER.findall(text)}
        self._by_value: dict[tuple[str, str], str] = {}
        self._restorable: dict[str, str] = {}
        self._numbers: dict[str, Iterator[int]] = {}

    @property
    def restorable(self) -> dict[str, str]:
        """The values of the request by placeholder."""
        return self._restorable

    def replace(
        self,
        text: str,
        findings: Sequence[Finding],
        *,
        of_request: bool = False,
        position: JsonPosition | None = None,
    ) -> str:
        """The text with a placeholder in place of each of `findings`, which are findings in this text.

        `of_request`: the values are restored in the answer. `position`: the text is JSON text (arguments of a tool
        call) that begins at this position, which is moved to its end; a placeholder outside of a string gets quotes.
        """
        parts: list[str] = []
        done = 0
        for finding in sorted(findings, key=lambda each: (each.start, -each.end)):
            start, end = _span(finding, len(text))
            start = max(start, done)
            if start >= end:
                continue
            before, value = text[done:start], text[start:end]
            parts.append(before)
            parts.append(self._quoted(before, value, finding, position, of_request=of_request))
            done = end
        rest = text[done:]
        if position is not None:
            position.read(rest)
        return "".join((*parts, rest))

    def placeholder(self, kind: str, value: str, *, of_request: bool = False) -> str:
        """The placeholder of a value, a new one if the value is new."""
        kind = kind.upper()
        name = self._by_value.get((kind, value))
        if name is None:
            name = self._by_value[kind, value] = self._new(kind)
        if of_request:
            self._restorable[name] = value
        return name

    def hide(self, text: str) -> str:
        """The text with the placeholder of each known value in its place, the longest values first."""
        for (_, value), name in sorted(self._by_value.items(), key=lambda each: -len(each[0][1])):
            text = text.replace(value, name)
        return text

    def restore(self, text: str, *, json_text: bool = False) -> str:
        """The text with the values of the request in place of their placeholders."""
        if "[" not in text or not self._restorable:
            return text
        return _restored(text, self._restorable, json_text=json_text)

    def _quoted(
        self, before: str, value: str, finding: Finding, position: JsonPosition | None, *, of_request: bool
    ) -> str:
        kind = finding.kind or finding.category
        if position is None:
            return self.placeholder(kind, value, of_request=of_request)
        name = self.placeholder(kind, _unescaped(value), of_request=of_request)
        position.read(before)
        began_inside = position.in_string
        position.read(value)
        return f"{'' if began_inside else _QUOTE}{name}{'' if position.in_string else _QUOTE}"

    def _new(self, kind: str) -> str:
        numbers = self._numbers.setdefault(kind, count(1))
        return next(name for number in numbers if (name := f"[{kind}_{number}]") not in self._taken)


class Restorer:
    """`Placeholders.restore` for a text that comes in pieces, cut anywhere."""

    __slots__ = ("_held", "_json_text", "_longest", "_values")

    def __init__(self, placeholders: Placeholders, *, json_text: bool = False) -> None:
        """`json_text`: values are escaped as in a JSON string."""
        self._values = placeholders.restorable
        self._json_text = json_text
        self._longest = max(map(len, self._values), default=0)
        self._held = ""

    def push(self, text: str) -> str:
        """What is certain of the text so far; at most one beginning of a placeholder is held back."""
        if not self._held and "[" not in text:
            return text
        text = self._held + text
        held = text.rfind("[")
        if held < 0 or not self._may_go_on(text[held : held + self._longest + 1]):
            held = len(text)
        self._held = text[held:]
        return _restored(text[:held], self._values, json_text=self._json_text)

    def end(self) -> str:
        """The rest, after the last piece."""
        rest, self._held = self._held, ""
        return rest

    def _may_go_on(self, start: str) -> bool:
        return any(len(start) < len(name) and name.startswith(start) for name in self._values)


def _span(finding: Finding, length: int) -> tuple[int, int]:
    if finding.start == finding.end == 0:
        return 0, length
    return max(finding.start, 0), min(finding.end, length)


def _restored(text: str, values: dict[str, str], *, json_text: bool) -> str:
    def value_of(found: re.Match[str]) -> str:
        value = values.get(found[0])
        if value is None:
            return found[0]
        return json.dumps(value, ensure_ascii=False)[1:-1] if json_text else value

    return _PLACEHOLDER.sub(value_of, text)


def _unescaped(value: str) -> str:
    """The value of a part of a JSON string; the part itself if it is cut inside of an escape or has quotes."""
    if "\\" not in value:
        return value
    try:
        return str(json.loads(f'"{value}"', strict=False))
    except ValueError:
        return value
