"""Takes keys out of text that a provider wrote, however they are spelt in it. Pure.

A provider may repeat what it was sent: whole, cut off at either end, percent-encoded, escaped as in JSON or HTML, in
other case, or with blanks between. Text and keys are compared by their letters and digits alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["without_secrets"]

_HIDDEN: Final = "…"
_TELLING_CHARACTERS: Final = 6
"""Fewer of a key at the end of a text tell nothing."""
_RUN: Final = 8
"""So many letters and digits in a row that are also in a key are hidden wherever they stand."""
_ESCAPED: Final = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u\{?0{0,2}([0-9a-f]{2})\}?|\\+x([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}(\d{2,3});"
    r"|\\+[nrtbf]",
    re.IGNORECASE,
)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret, and every telling part of one, replaced."""
    longest_first = sorted(secrets, key=len, reverse=True)
    for secret in longest_first:
        text = text.replace(secret, _HIDDEN)
    if not text or not longest_first:
        return text
    return _without_ends(_without_runs(text, tuple(longest_first)), longest_first)


def _without_ends(text: str, secrets: list[str]) -> str:
    """Without the beginning of a secret that was cut off."""
    for secret in secrets:
        for length in range(min(len(secret) - 1, len(text)), _TELLING_CHARACTERS - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + _HIDDEN
                break
    return text


def _without_runs(text: str, secrets: tuple[str, ...]) -> str:
    letters, places = _letters(text)
    kept: list[str] = []
    at = 0
    for begin, end in _spans(letters, _runs(secrets)):
        kept += (text[at : places[begin][0]], _HIDDEN)
        at = places[end - 1][1]
    return "".join((*kept, text[at:])) if kept else text


def _spans(letters: str, runs: frozenset[str]) -> list[tuple[int, int]]:
    """Where letters stand that are in a run, joined where they touch."""
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
        if len(letters) >= _TELLING_CHARACTERS:
            length = min(_RUN, len(letters))
            found.update(letters[at : at + length] for at in range(len(letters) - length + 1))
    return frozenset(found)


def _letters(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The letters and digits of a text in lower case, escapes resolved, and where each stands in it."""
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for found in (*_ESCAPED.finditer(text), None):
        until = len(text) if found is None else found.start()
        for place in range(at, until):
            folded = text[place].lower()
            if folded.isalnum() and len(folded) == 1:
                letters.append(folded)
                places.append((place, place + 1))
        if found is not None:
            at = found.end()
            character = _resolved(found)
            if character.isalnum():
                letters.append(character)
                places.append(found.span())
    return "".join(letters), places


def _resolved(found: re.Match[str]) -> str:
    digits = next((group for group in found.groups()[:4] if group), None)
    if digits is not None:
        return chr(int(digits, 16)).lower()
    return chr(int(found[5])).lower() if found[5] else " "
