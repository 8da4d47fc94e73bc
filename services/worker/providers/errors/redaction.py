"""Redacts keys from text that a provider wrote, in any spelling. Pure.

A provider may repeat the key it was sent: whole, cut off at either end, percent-encoded, escaped as in JSON or HTML, in
other case, or with blanks in between. So text and keys are compared by their letters and digits alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["redact"]

_REPLACEMENT: Final = "…"
_MIN_SECRET_CHARACTERS: Final = 6
"""Characters of a key below which a fragment at the end of a text is not redacted."""
_RUN_LENGTH: Final = 8
"""Letters and digits in a row, shared with a key, that are redacted wherever they occur."""
_ESCAPED: Final = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u\{?0{0,2}([0-9a-f]{2})\}?|\\+x([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}(\d{2,3});"
    r"|\\+[nrtbf]",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret, and every recognizable part of one, replaced."""
    longest_first = sorted(secrets, key=len, reverse=True)
    for secret in longest_first:
        text = text.replace(secret, _REPLACEMENT)
    if not text or not longest_first:
        return text
    return _redact_truncated(_redact_runs(text, tuple(longest_first)), longest_first)


def _redact_truncated(text: str, secrets: list[str]) -> str:
    """Redact the beginning of a secret at the end of a text that was cut off."""
    for secret in secrets:
        for length in range(min(len(secret) - 1, len(text)), _MIN_SECRET_CHARACTERS - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + _REPLACEMENT
                break
    return text


def _redact_runs(text: str, secrets: tuple[str, ...]) -> str:
    letters, positions = _letters(text)
    kept: list[str] = []
    at = 0
    for begin, end in _spans(letters, _runs(secrets)):
        kept += (text[at : positions[begin][0]], _REPLACEMENT)
        at = positions[end - 1][1]
    return "".join((*kept, text[at:])) if kept else text


def _spans(letters: str, runs: frozenset[str]) -> list[tuple[int, int]]:
    """The spans of letters that are in a run, joined where they touch."""
    spans: list[tuple[int, int]] = []
    for length in sorted({len(run) for run in runs}):
        begins = range(len(letters) - length + 1)
        spans += [(at, at + length) for at in begins if letters[at : at + length] in runs]
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


@lru_cache(maxsize=64)
def _runs(secrets: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for secret in secrets:
        letters = "".join(character for character in secret.lower() if character.isalnum())
        if len(letters) >= _MIN_SECRET_CHARACTERS:
            length = min(_RUN_LENGTH, len(letters))
            found.update(letters[at : at + length] for at in range(len(letters) - length + 1))
    return frozenset(found)


def _letters(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The letters and digits of a text in lower case, escapes resolved, and the span of each in the text."""
    letters: list[str] = []
    positions: list[tuple[int, int]] = []
    at = 0
    for escape in (*_ESCAPED.finditer(text), None):
        until = len(text) if escape is None else escape.start()
        for position in range(at, until):
            folded = text[position].lower()
            if folded.isalnum() and len(folded) == 1:
                letters.append(folded)
                positions.append((position, position + 1))
        if escape is not None:
            at = escape.end()
            character = _unescaped(escape)
            if character.isalnum():
                letters.append(character)
                positions.append(escape.span())
    return "".join(letters), positions


def _unescaped(escape: re.Match[str]) -> str:
    digits = next((group for group in escape.groups()[:4] if group), None)
    if digits is not None:
        return chr(int(digits, 16)).lower()
    return chr(int(escape[5])).lower() if escape[5] else " "
