"""Normalize text to the spelling of the vocabulary."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["compose", "fold"]

_PLAIN: Final = tuple(zip("ışğçöüёâîû’", "isgcoueaiu'", strict=True))


def compose(text: str) -> str:
    """`text` with each letter and its accents in one code point (NFC), as `fold` requires."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Lower-case `text`, with Turkish letters in their plain Latin form and ё as е; the length stays the same.

    Turkish is often typed without its own letters, and its I lowers to ı where English has i: both fold alike. `İ` is
    replaced first because its lower case is two code points long.
    """
    if text.isascii():
        return text.lower()
    folded = text.replace("İ", "i").lower()
    for letter, plain in _PLAIN:
        folded = folded.replace(letter, plain)
    return folded
