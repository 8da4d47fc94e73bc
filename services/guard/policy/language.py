"""The language of a short text: English, Russian or Turkish, in which refusals exist."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["language_of"]

_MOST_CHARACTERS: Final = 2_000
"""Characters that are read, from the end: a question often follows a pasted document."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_CYRILLIC: Final = re.compile(r"[а-яё]")
_NOT_RUSSIAN: Final = re.compile(r"[іїєґўјљњћђџқңғүұһәө]")
"""Letters of Ukrainian, Belarusian, Serbian, Kazakh and others that Russian does not have."""
_TURKISH_LETTERS: Final = re.compile(r"[ğşı]")
# fmt: off
_TURKISH_WORDS: Final = frozenset((
    "ama", "anlat", "bana", "benim", "bir", "bu", "cok", "çok", "daha", "degil", "değil", "gibi", "hangi",
    "icin", "için", "ile", "kadar", "lutfen", "lütfen", "merhaba", "misin", "mısın", "mı", "mi", "nasil",
    "nasıl", "neden", "nedir", "olan", "olarak", "olur", "sana", "senin", "söyle", "soyle", "ve", "yap",
    "yapmak", "yaz", "yok",
))
# fmt: on
_LEAST_RUSSIAN: Final = 0.3
"""Share of Cyrillic letters in a Russian text, which may quote English names and code."""
_LEAST_TURKISH: Final = 0.15
"""Share of words that only Turkish has; one foreign name in an English sentence is less."""
_LEAST_ENGLISH: Final = 0.8
"""Share of words in ASCII."""


def language_of(text: str) -> str:
    """`ru`, `tr`, `en`, or empty if it is another one or has no words."""
    # The lower case of İ is i and a combining dot, which ends a word.
    words = _WORD.findall(text[-_MOST_CHARACTERS:].replace("İ", "ı").lower())
    letters = sum(map(len, words))
    if not letters:
        return ""
    if all(map(str.isascii, words)):
        turkish = sum(word in _TURKISH_WORDS for word in words)
        return "tr" if turkish >= _LEAST_TURKISH * len(words) else "en"
    cyrillic = sum(len(_CYRILLIC.findall(word)) for word in words)
    if cyrillic >= _LEAST_RUSSIAN * letters:
        return "" if any(map(_NOT_RUSSIAN.search, words)) else "ru"
    turkish = sum(word in _TURKISH_WORDS or _TURKISH_LETTERS.search(word) is not None for word in words)
    if turkish >= _LEAST_TURKISH * len(words):
        return "tr"
    return "en" if sum(map(str.isascii, words)) >= _LEAST_ENGLISH * len(words) else ""
