"""The simulator's tokeniser: a token is up to six letters of a word, or one punctuation character."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["count", "estimate", "split"]

_PIECE: Final = re.compile(r"\s*(?:\w{1,6}|[^\w\s])|\s+$")
_COUNTED: Final = re.compile(r"\w{1,6}|[^\w\s]")


def split(text: str) -> list[str]:
    """Tokens whose concatenation is exactly `text`; white space belongs to the token that follows it."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """The exact number of tokens, which the usage reports."""
    return len(_COUNTED.findall(text))


def estimate(text: str) -> int:
    """The estimate charged at admission: four characters per token, rounded up."""
    return -(-len(text) // 4)
