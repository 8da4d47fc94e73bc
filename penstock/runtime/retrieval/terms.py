"""Normalised words for the full-text search: the same function for documents and questions.

A word is folded (compatibility forms, lower case, Turkish dotted and dotless i as one, no accents)
and cut to its first four characters. In Turkish and Russian one word has tens of endings; a prefix joins nearly
all of them in every language, without a dictionary and without knowing the language. Of the lengths that were compared
on tests/data/retrieval, four found the most: see the README there. What it joins too much, the vectors tell apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from penstock.runtime.retrieval.stop_words import STOP_WORDS

__all__ = ["MAX_QUESTION_TERMS", "question_terms", "terms"]

MAX_QUESTION_TERMS: Final = 64
_MAX_CHARACTERS: Final = 100_000
"""Of a text that count; a chunk has some thousands."""
_MAX_WORD: Final = 64
"""Characters of a word; a longer run counts as several words."""
_MAX_WHOLE: Final = 32
"""Characters that are kept of what is not cut: identifiers, and words with digits."""
_STEM: Final = 4

_UNSPACED: Final = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Thai, kana and Chinese characters, which are written without spaces: each pair of neighbours is a term."""
_WORD: Final = re.compile(rf"[^\W{_UNSPACED}]{{1,{_MAX_WORD}}}|[{_UNSPACED}]{{1,{_MAX_WORD}}}")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_UNSPACED_START: Final = re.compile(f"[{_UNSPACED}]")
_TURKISH_I: Final = str.maketrans({"İ": "i", "I": "i", "ı": "i"})


def terms(text: str) -> str:
    """The terms of a text in their order, separated by spaces; each is made of letters and digits only."""
    return " ".join(_words(text))


def question_terms(text: str) -> tuple[str, ...]:
    """The different terms of a question, at most MAX_QUESTION_TERMS; empty where it has stop words only."""
    found: dict[str, None] = {}
    for term in _words(text):
        found[term] = None
        if len(found) == MAX_QUESTION_TERMS:
            break
    return tuple(found)


def _words(text: str) -> Iterator[str]:
    text = text[:_MAX_CHARACTERS]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)[:_MAX_CHARACTERS]
    for match in _WORD.finditer(text):
        yield from _terms_of(match[0])


@lru_cache(20_000)
def _terms_of(word: str) -> tuple[str, ...]:
    if _UNSPACED_START.match(word):
        return tuple(word[at : at + 2] for at in range(max(len(word) - 1, 1)))
    parts = [part for part in _CAMEL.split(word) if part]
    folded = [_folded(part) for part in parts]
    found = [_stem(part) for part in folded if part and part not in _FOLDED_STOP_WORDS]
    if len(parts) > 1:
        found.insert(0, "".join(folded)[:_MAX_WHOLE])
    return tuple(found)


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", word.translate(_TURKISH_I).casefold())
    return "".join(character for character in decomposed if character.isalnum())


def _stem(word: str) -> str:
    if not word.isalpha():
        return word[:_MAX_WHOLE]
    if len(word) == _STEM and word.isascii() and word[-1] == "s" and word[-2] != "s":
        return word[:-1]  # "cars", as "car"
    return word[:_STEM]


_FOLDED_STOP_WORDS: Final = frozenset(map(_folded, STOP_WORDS))
