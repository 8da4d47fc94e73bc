"""Text in the one spelling that the vocabulary is written in."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["composed", "fold"]

_PLAIN: Final = tuple(zip("ışğçöüёâîû’", "isgcoueaiu'", strict=True))


def composed(text: str) -> str:
    """`text` with each letter and its accents in one code point, as `fold` needs it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Lower case, with Turkish letters in their plain Latin form and ё as е: one character for one.

    Turkish is often typed on a keyboard without its letters, and its I lowers to ı where English has i: both
    come to the same here. `İ` goes first, as its lower case is two code points long.
    """
    if text.isascii():
        return text.lower()
    folded = text.replace("İ", "i").lower()
    for letter, plain in _PLAIN:
        folded = folded.replace(letter, plain)
    return folded
