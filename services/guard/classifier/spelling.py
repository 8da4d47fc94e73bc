"""Plain spelling of texts whose letters are disguised: for the models, which know ordinary words only."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["plain"]

_INVISIBLE: Final = dict.fromkeys(
    (0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF), ""
)
_TAGS: Final = {0xE0000 + code: chr(code) for code in range(0x20, 0x7F)}
"""Invisible copies of ASCII, which models read."""
_HIDDEN: Final = {**_INVISIBLE, **_TAGS}
_LATIN: Final = "aceopxyikmthbnsjABCEHIKMOPTXYSJ"
_CYRILLIC: Final = "асеорхуікмтһвпѕјАВСЕНІКМОРТХУЅЈ"
_GREEK: Final = {"α": "a", "ε": "e", "ι": "i", "ο": "o", "ρ": "p", "υ": "u", "ν": "v", "κ": "k"}
_TO_LATIN: Final = str.maketrans({**dict(zip(_CYRILLIC, _LATIN, strict=True)), **_GREEK})
_TO_CYRILLIC: Final = str.maketrans(_LATIN, _CYRILLIC)
_OTHER_SCRIPT: Final = re.compile(r"[Ͱ-ӿ]")
_LATIN_LETTER: Final = re.compile(r"[a-zA-Z]")
_MIXED: Final = re.compile(r"[a-zA-Z]\d*[Ͱ-ӿ]|[Ͱ-ӿ]\d*[a-zA-Z]")
_WORD: Final = re.compile(r"\w+")
_SPACED: Final = re.compile(r"(?<!\w)(?:[^\W\d_][ .\-_*]){2,}[^\W\d_](?!\w)")
"""Three letters or more that stand alone."""
_SEPARATORS: Final = re.compile(r"[ .\-_*]")
_DIGIT_IN_WORD: Final = re.compile(r"[^\W\d_][013457]{1,2}[^\W\d_]")
_DIGITS: Final = str.maketrans("013457", "oieast")
_LONGEST: Final = 20
"""Characters of a word whose digits may stand for letters; longer ones are identifiers."""
_FEWEST_CAPITALS: Final = 12


def plain(text: str) -> str:
    """`text` without invisible characters, its compatibility forms, letters of other alphabets, digits in place of
    letters, spaced letters and capitals throughout replaced by ordinary ones. Ordinary text stays as it is.
    """
    text = unicodedata.normalize("NFKC", text)
    if not text.isascii():
        text = text.translate(_HIDDEN)
        if _MIXED.search(text):
            text = _WORD.sub(_in_one_script, text)
    text = _SPACED.sub(lambda spaced: _SEPARATORS.sub("", spaced[0]), text)
    if _DIGIT_IN_WORD.search(text):
        text = _WORD.sub(_in_letters, text)
    return _quiet(text)


def _in_one_script(word: re.Match[str]) -> str:
    latin, other = len(_LATIN_LETTER.findall(word[0])), len(_OTHER_SCRIPT.findall(word[0]))
    if not latin or not other:
        return word[0]
    return word[0].translate(_TO_LATIN if latin >= other else _TO_CYRILLIC)


def _in_letters(word: re.Match[str]) -> str:
    found = word[0]
    digits = sum(map(str.isdigit, found))
    if len(found) > _LONGEST or 2 * digits > len(found) or not _DIGIT_IN_WORD.search(found):
        return found
    return found.translate(_DIGITS)


def _quiet(text: str) -> str:
    """In small letters, where most letters are capitals."""
    capitals = sum(map(str.isupper, text))
    if capitals >= _FEWEST_CAPITALS and capitals > 2 * sum(map(str.islower, text)):
        return text.replace("İ", "i").lower()
    return text
