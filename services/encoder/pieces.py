"""Long texts in pieces: the model was trained on sentences, and a page is better represented by the mean of pieces."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["pieces"]

_MAX_PIECE: Final = 400
"""Characters. Of 200, 400 and 800 this found the most on tests/data/retrieval."""
_ENDS: Final = (("\n", ". ", "? ", "! ", "; ", "。"), (" ",))
"""Where a piece may end: behind a sentence or line if there is one in its second half, else behind a word."""


def pieces(text: str) -> list[str]:
    """At least one, in compatibility forms as the tokenizer reads them, without lone surrogates, which it rejects."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode()
    found: list[str] = []
    start = 0
    while len(text) - start > _MAX_PIECE:
        end = _end(text, start)
        _append(found, text[start:end])
        start = end
    _append(found, text[start:])
    return found or [""]


def _end(text: str, start: int) -> int:
    half, limit = start + _MAX_PIECE // 2, start + _MAX_PIECE
    for ends in _ENDS:
        places = [at + len(end) for end in ends if (at := text.rfind(end, half, limit)) >= 0]
        if places:
            return max(places)
    return limit


def _append(found: list[str], piece: str) -> None:
    if piece := piece.strip():
        found.append(piece)
